//! Other rules on recorded incidents.

use super::*;

#[test]
fn what_was_told_late_is_judged_at_its_own_instant() {
    let known = known(1, &[warning(25.0)]);
    let mut life = Life::new();
    life.tell(CheckIncident { dispatch_time: m(1_000.0), ..check("other", &known, 1_000.0) });
    life.tell(check("i", &known, 3.9));
    let mut run = WhatIfRun::new(org_id(), vec![breach(), warning(25.0)], None, m(0.0)).expect("good rules");
    life.org().history().iter().for_each(|event| run.take(event).expect("it happened"));
    let what_if = run.finish(m(1_000.0)).expect("it goes on");
    let alerts = |of: &[WhatIfAlert]| of.iter().map(|it| (it.at, it.rule_id.clone())).collect::<Vec<_>>();
    assert_eq!(alerts(&what_if.recorded), [(m(3.9), "warning".into())]);
    assert_eq!(alerts(&what_if.proposed), [(m(3.9), "warning".into()), (m(5.0), "breach".into())]);
    assert_eq!(alerts(&what_if.added), [(m(5.0), "breach".into())]);
}
