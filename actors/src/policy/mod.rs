//! `policy/{org}`: the live policy of one organisation, driven by the successes and failures it reports.
//!
//! It guards three things: the policy is what the state machine makes of the outcomes and manual steps that are journaled,
//! in their order; no instant is earlier than one before it; every change of policy is in the history with its reason.
//!
//! Reading order: [`PolicyScenario`] is a policy as people write it, [`Ladder`] and [`Machine`] the state machine that the
//! simulator runs too; `event` is what is journaled ([`OutcomeLog`]: outcomes in few bytes), `command` and `decide` what
//! may happen, `state` and `evolve` what is known, `state_snapshot` its stored copy, `query` what can be asked, [`metadata`] what the platform's policies mean
//! to those who work under them.

mod command;
mod decide;
mod event;
mod evolve;
mod machine;
pub mod metadata;
mod outcome_log;
mod query;
mod reply;
mod scenario;
mod state;
mod state_snapshot;
#[cfg(test)]
mod tests;

pub use command::{Configure, ManualAction, ManualStep, RecordBatch, RecordOutcomes, Recorded, RejectedOutcome};
pub use event::{Event, ManuallyMoved, OutcomesRecorded, PolicyConfigured, RELEASED, StoredScenario, StoredStep};
pub use machine::{Ladder, Machine, Reason, Step};
pub use outcome_log::{DamagedLog, OutcomeLog, OutcomeRun};
pub use query::{GetCurrent, GetHistory, GetLastInstant, GetPolicy, PolicyView};
pub use scenario::{
    DEESCALATION_THRESHOLDS_DEFAULT, ESCALATION_THRESHOLD_DEFAULT, POLICY_ORDER_DEFAULT, PolicyScenario,
    ScenarioBuilder,
};
pub use state::{OrgPolicy, Transition, TransitionReason};

use crate::runtime::{Abilities, Aggregate};
use ionveil_journal::StreamKind;

/// Most outcomes of one instant that are recorded at once.
pub const OUTCOMES_MAX: u64 = 10_000_000;
/// Most outcomes of one batch: what one append to the journal takes at the worst.
pub const BATCH_OUTCOMES_MAX: usize = 1_000_000;
/// Most outcomes of a batch that go into one event, which takes up some megabytes at the worst.
const EVENT_OUTCOMES_MAX: usize = 1 << 18;
/// Longest reason of a manual step, in characters.
pub const REASON_CHARS_MAX: usize = 1_000;

impl Aggregate for OrgPolicy {
    const KIND: StreamKind = StreamKind::new("policy");
    type Event = Event;
    const ABILITIES: Abilities<Self> = Abilities::NONE.with_snapshots();

    fn evolve(&mut self, event: &Event) -> Result<(), crate::error::Corrupt> {
        evolve::evolve(self, event)
    }
}
