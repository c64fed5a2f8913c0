//! State and event to state.

use super::event::Event;
use super::rule::AlertRule;
use super::state::Rules;
use crate::domain::OrgId;
use crate::error::Corrupt;

pub(super) fn evolve(state: &mut Rules, event: &Event) -> Result<(), Corrupt> {
    state.changes += 1;
    match event {
        Event::Set(event) => {
            let rule = AlertRule::from(event.rule.clone());
            let last = state.last_version(&rule.rule_id);
            if rule.version != last + 1 {
                return Err(Corrupt(format!("rule {} has version {} after {last}", rule.rule_id, rule.version)));
            }
            state.versions.insert(rule.rule_id.clone(), rule.version);
            touch(state, rule.org_id.clone());
            // A rule that changes hands is a change for its former org as well.
            if let Some(former) = state.rules.insert(rule.rule_id.clone(), rule) {
                touch(state, former.org_id);
            }
        }
        Event::Removed(event) => match state.rules.remove(&event.rule_id) {
            Some(rule) => touch(state, rule.org_id),
            None => return Err(Corrupt(format!("rule {} is removed and was not there", event.rule_id))),
        },
    }
    Ok(())
}

fn touch(state: &mut Rules, whose: Option<OrgId>) {
    state.touched.insert(whose, state.changes);
}
