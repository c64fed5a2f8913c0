//! Given, when, then for simulations; the rules of the simulator and of what is computed with runs as tables and properties.

mod computing;
mod counterfactual;
mod life;
mod runs;

use super::*;
use crate::domain::Timestamp;
use crate::policy::{PolicyScenario, ScenarioBuilder};
use crate::runtime::testing::Observed;

impl Observed for Simulation {
    fn observed(&self) -> String {
        format!("{self:?}")
    }
}

#[track_caller]
fn t(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn at(seconds: f64) -> Offset {
    Offset::from_seconds(seconds).expect("an offset")
}

/// A ladder of these, up at one threshold, down from each but the first at another.
fn scenario(name: &str, order: &[&str], up: i64, down: i64) -> PolicyScenario {
    let builder = ScenarioBuilder::new(name).with_policy_order(order.iter().copied()).with_escalation_threshold(up);
    let down = |builder: ScenarioBuilder, policy: &&str| builder.with_deescalation_threshold(*policy, down);
    order[1..].iter().fold(builder, down).build().expect("a good scenario")
}

/// Events a second apart, `F` and `S`.
fn pattern(text: &str) -> FailurePattern {
    let events = text.chars().enumerate().map(|(second, outcome)| (at(second as f64), outcome == 'S')).collect();
    FailurePattern { pattern_id: "p".into(), description: String::new(), events }
}

fn prepared(pattern: &FailurePattern, seconds: u64) -> PreparedPattern {
    PreparedPattern::new(&pattern.events, seconds, &Cancel::default()).expect("nobody has the flag")
}
