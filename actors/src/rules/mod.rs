//! `rules/all`: when alerts are raised, for one org or for all of them.
//!
//! It guards that a rule's id stays its own, that each change of it has a number of its own, and that no rule is stored
//! that could not be judged. Orgs take their rules from here; what an org's alerts were judged by stands in
//! `alerts/{org}` itself.

mod command;
mod decide;
mod event;
mod evolve;
mod reply;
mod rule;
mod state;
#[cfg(test)]
mod tests;

pub use command::{AddRules, GetRules, RemoveRule, RuleSet};
pub use event::{Event, RELEASED, RuleRemoved, RuleSet as RuleSetEvent, StoredRule};
pub(crate) use rule::channels;
pub use rule::{AlertRule, AlertSeverity, Comparison, Condition, MINUTES_MAX, Pattern, Threshold};
pub use state::Rules;

use ionveil_journal::StreamKind;

use crate::runtime::Aggregate;

/// The id of the one stream of rules.
pub const ALL: &str = "all";

impl Aggregate for Rules {
    const KIND: StreamKind = StreamKind::new("rules");
    type Event = Event;

    fn evolve(&mut self, event: &Event) -> Result<(), crate::error::Corrupt> {
        evolve::evolve(self, event)
    }
}
