//! `escalation/{org}`: who is told when nobody answers, in all its versions.
//!
//! Only the policy lives here. The timers and levels of an alert live with its status in `alerts/{org}`, since an
//! acknowledgement, a resolution and an escalation of one alert race with each other and have to be decided in one place;
//! `docs/decisions/0005-one-stream-for-alerts.md` says why.

mod chain;
mod command;
mod decide;
mod event;
mod evolve;
mod policy;
mod state;
#[cfg(test)]
mod tests;

pub use chain::{LEVEL_LAST, Next, STEPS_WITHOUT_POLICY, Step, after_acknowledgement, after_timeout, by_hand};
pub use command::{GetPolicy, PolicyVersion, SetPolicy};
pub use event::{Event, PolicySet, RELEASED};
pub use policy::{EscalationPolicy, PolicyLevel};
pub use state::Escalation;

use ionveil_journal::StreamKind;

use crate::runtime::Aggregate;

impl Aggregate for Escalation {
    const KIND: StreamKind = StreamKind::new("escalation");
    type Event = Event;

    fn evolve(&mut self, event: &Event) -> Result<(), crate::error::Corrupt> {
        evolve::evolve(self, event)
    }
}
