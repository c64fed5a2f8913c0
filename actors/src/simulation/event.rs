//! What can have happened to a simulation, as it is stored. Catalogue: `docs/events.md`.

use ionveil_journal::codec::{self, DecodeError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pattern::Offset;
use super::result::SimulationStatus;
use crate::domain::Timestamp;
use crate::policy::{OutcomeLog, PolicyScenario, StoredScenario};
use crate::runtime;

/// An event of a `simulation/{id}` stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It was made; outcomes of a given pattern follow.
    Created(SimulationCreated),
    /// Outcomes of its pattern.
    OutcomesAdded(OutcomesAdded),
    /// It was asked for and waits its turn.
    Queued(StageReached),
    /// Its turn came.
    Started(StageReached),
    /// Steps of its result, which follows.
    TransitionsAdded(TransitionsAdded),
    /// It is done.
    Completed(SimulationCompleted),
    /// It could not be done.
    Failed(SimulationFailed),
    /// It was called off.
    Cancelled(StageReached),
}

/// `simulation-created`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulationCreated {
    /// When.
    pub at: Timestamp,
    /// What is tried.
    pub scenario: StoredScenario,
    /// What it is tried against.
    pub pattern: StoredPattern,
    /// Virtual seconds.
    pub duration_seconds: u64,
    /// The virtual start.
    pub start: Timestamp,
    /// The version of the software that made it.
    pub software: String,
}

/// Where the pattern comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredPattern {
    /// Its outcomes follow in events of their own.
    Given {
        /// The pattern's id.
        pattern_id: String,
        /// The pattern's description.
        description: String,
        /// How many outcomes there are.
        events_len: u64,
    },
    /// A rule that makes it again.
    Generated {
        /// The rule with its parameters and seed.
        generator: String,
        /// How numbers are drawn; see [`super::GENERATOR_VERSION`].
        version: u16,
    },
}

/// `simulation-outcomes-added`, version 1: in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomesAdded {
    /// Times are microseconds from the virtual start.
    pub outcomes: OutcomeLog,
}

/// `simulation-queued`, `simulation-started` and `simulation-cancelled`, version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageReached {
    /// When.
    pub at: Timestamp,
}

/// `simulation-transitions-added`, version 1: changes of policy, a level up or down each; levels and reasons follow from the
/// scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitionsAdded {
    /// Microseconds from the virtual start; what is a success there is a step up here.
    pub steps: OutcomeLog,
}

/// `simulation-completed`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulationCompleted {
    /// When.
    pub at: Timestamp,
    /// Microseconds in each level.
    pub micros_by_level: Vec<i64>,
    /// The level at the end, from 0.
    pub final_level: u32,
    /// Steps up.
    pub escalations: u64,
    /// Steps down.
    pub deescalations: u64,
    /// Successes that did not meet suspended operations.
    pub compliant: u64,
    /// Failures that met the first level.
    pub exposed: u64,
    /// Events that the policy met.
    pub events_simulated: u64,
    /// Events at or after the duration.
    pub events_ignored: u64,
    /// Failures among those that the policy met.
    pub failures: u64,
}

/// `simulation-failed`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulationFailed {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub error_message: String,
}

const CREATED: &str = "simulation-created";
const OUTCOMES_ADDED: &str = "simulation-outcomes-added";
const QUEUED: &str = "simulation-queued";
const STARTED: &str = "simulation-started";
const TRANSITIONS_ADDED: &str = "simulation-transitions-added";
const COMPLETED: &str = "simulation-completed";
const FAILED: &str = "simulation-failed";
const CANCELLED: &str = "simulation-cancelled";

/// Every form that was ever released; see [`crate::dispatch::RELEASED`]. Golden files: `actors/tests/fixtures/simulation`.
pub const RELEASED: &[(&str, u16)] = &[
    (CREATED, 1),
    (OUTCOMES_ADDED, 1),
    (QUEUED, 1),
    (STARTED, 1),
    (TRANSITIONS_ADDED, 1),
    (COMPLETED, 1),
    (FAILED, 1),
    (CANCELLED, 1),
];

impl Event {
    /// Where a simulation stands whose last event has this type, if it was asked for and is not finished.
    pub fn unfinished_after(event_type: &str) -> Option<SimulationStatus> {
        match event_type {
            QUEUED => Some(SimulationStatus::Pending),
            // The rest of a result that was begun is in the same append; a crash leaves all of it or nothing.
            STARTED => Some(SimulationStatus::Running),
            _ => None,
        }
    }
}

impl runtime::Event for Event {
    fn event_type(&self) -> &'static str {
        match self {
            Event::Created(_) => CREATED,
            Event::OutcomesAdded(_) => OUTCOMES_ADDED,
            Event::Queued(_) => QUEUED,
            Event::Started(_) => STARTED,
            Event::TransitionsAdded(_) => TRANSITIONS_ADDED,
            Event::Completed(_) => COMPLETED,
            Event::Failed(_) => FAILED,
            Event::Cancelled(_) => CANCELLED,
        }
    }

    fn version(&self) -> u16 {
        1
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Event::Created(event) => codec::encode(event),
            Event::OutcomesAdded(event) => codec::encode(event),
            Event::Queued(event) | Event::Started(event) | Event::Cancelled(event) => codec::encode(event),
            Event::TransitionsAdded(event) => codec::encode(event),
            Event::Completed(event) => codec::encode(event),
            Event::Failed(event) => codec::encode(event),
        }
    }

    fn decode(event_type: &str, version: u16, codec: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        let checked = |log: &OutcomeLog| log.check().map_err(|damaged| DecodeError::Malformed(damaged.to_string()));
        match (event_type, version) {
            (CREATED, 1) => codec::decode(codec, payload).map(Event::Created),
            (OUTCOMES_ADDED, 1) => {
                let event: OutcomesAdded = codec::decode(codec, payload)?;
                checked(&event.outcomes).map(|()| Event::OutcomesAdded(event))
            }
            (QUEUED, 1) => codec::decode(codec, payload).map(Event::Queued),
            (STARTED, 1) => codec::decode(codec, payload).map(Event::Started),
            (TRANSITIONS_ADDED, 1) => {
                let event: TransitionsAdded = codec::decode(codec, payload)?;
                checked(&event.steps).map(|()| Event::TransitionsAdded(event))
            }
            (COMPLETED, 1) => codec::decode(codec, payload).map(Event::Completed),
            (FAILED, 1) => codec::decode(codec, payload).map(Event::Failed),
            (CANCELLED, 1) => codec::decode(codec, payload).map(Event::Cancelled),
            _ => Err(DecodeError::UnknownType { event_type: event_type.to_owned(), version }),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Event::Created(event) => {
                let SimulationCreated { at, scenario, pattern, duration_seconds, start, software } = event;
                let pattern = match pattern {
                    StoredPattern::Given { pattern_id, description, events_len } => {
                        json!({ "pattern_id": pattern_id, "description": description, "events_len": events_len })
                    }
                    StoredPattern::Generated { generator, version } => {
                        json!({ "generator": generator, "random": super::GENERATOR_NAME, "generator_version": version })
                    }
                };
                json!({
                    "at": at, "scenario": PolicyScenario::from(scenario), "pattern": pattern,
                    "duration_seconds": duration_seconds, "start": start, "software": software,
                })
            }
            Event::OutcomesAdded(event) => {
                let pair = |(at, is_success)| json!([Offset::from_micros(at), is_success]);
                json!({ "events": event.outcomes.outcomes().map(pair).collect::<Vec<_>>() })
            }
            Event::Queued(event) | Event::Started(event) | Event::Cancelled(event) => json!({ "at": event.at }),
            Event::TransitionsAdded(event) => {
                let step = |(at, is_up)| json!({ "offset_seconds": Offset::from_micros(at), "is_escalation": is_up });
                json!({ "transitions": event.steps.outcomes().map(step).collect::<Vec<_>>() })
            }
            Event::Completed(event) => serde_json::to_value(event).expect("numbers and an instant"),
            Event::Failed(event) => serde_json::to_value(event).expect("a text and an instant"),
        }
    }
}
