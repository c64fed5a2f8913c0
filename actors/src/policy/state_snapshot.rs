//! The stored copy of an org's policy. The ladder is made anew of the scenario; texts of the history are stored once each.

use std::collections::HashMap;
use std::sync::Arc;

use ionveil_journal::Fold;
use ionveil_journal::codec::{self, BINCODE_2, DecodeError};
use serde::{Deserialize, Serialize};

use super::event::StoredScenario;
use super::machine::{Ladder, Machine, Reason};
use super::scenario::PolicyScenario;
use super::state::{OrgPolicy, Transition, TransitionReason};
use crate::domain::Timestamp;
use crate::runtime::Snapshotted;

/// Texts are borrowed when it is written and owned when it is read.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    scenario: StoredScenario,
    machine: Machine,
    last_at: Option<Timestamp>,
    /// Each once, in the order in which the history first names them; it names them by their place here.
    texts: Vec<T>,
    history: Vec<StoredTransition>,
}

#[derive(Serialize, Deserialize)]
struct StoredTransition {
    from: u32,
    to: u32,
    timestamp: Timestamp,
    reason: StoredReason,
    user: Option<u32>,
}

#[derive(Serialize, Deserialize)]
enum StoredReason {
    Outcomes(Reason),
    Manual(u32),
    Configured(u32),
}

impl Snapshotted for OrgPolicy {
    const FOLD: Fold = Fold { schema: 1, version: 1 };

    fn to_snapshot(&self) -> Vec<u8> {
        let OrgPolicy { scenario, ladder: _, machine, history, last_at } = self;
        let mut texts: Vec<&str> = Vec::new();
        let mut places: HashMap<&str, u32> = HashMap::new();
        let mut history_stored = Vec::with_capacity(history.len());
        for Transition { from, to, timestamp, reason, user } in history {
            let mut place = |text| {
                *places.entry(text).or_insert_with(|| {
                    texts.push(text);
                    (texts.len() - 1) as u32
                })
            };
            history_stored.push(StoredTransition {
                from: place(from),
                to: place(to),
                timestamp: *timestamp,
                reason: match reason {
                    TransitionReason::Outcomes(reason) => StoredReason::Outcomes(*reason),
                    TransitionReason::Manual(words) => StoredReason::Manual(place(words)),
                    TransitionReason::Configured(scenario) => StoredReason::Configured(place(scenario)),
                },
                user: user.as_deref().map(place),
            });
        }
        codec::encode(&Stored {
            scenario: StoredScenario::from(scenario),
            machine: *machine,
            last_at: *last_at,
            texts,
            history: history_stored,
        })
    }

    fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError> {
        let stored: Stored<Arc<str>> = codec::decode(BINCODE_2, bytes)?;
        let malformed = |what: String| DecodeError::Malformed(what);
        let scenario = PolicyScenario::from(&stored.scenario);
        let ladder = Ladder::new(&scenario).map_err(|invalid| malformed(invalid.to_string()))?;
        let machine = stored.machine;
        if machine.level > ladder.last() {
            return Err(malformed(format!("there is no level {}", machine.level)));
        }
        let text = |place: u32| {
            let text = stored.texts.get(place as usize).cloned();
            text.ok_or_else(|| malformed(format!("there is no text number {place}")))
        };
        let transition = |stored: StoredTransition| {
            Ok(Transition {
                from: text(stored.from)?,
                to: text(stored.to)?,
                timestamp: stored.timestamp,
                reason: match stored.reason {
                    StoredReason::Outcomes(reason) => TransitionReason::Outcomes(reason),
                    StoredReason::Manual(words) => TransitionReason::Manual(text(words)?),
                    StoredReason::Configured(scenario) => TransitionReason::Configured(text(scenario)?),
                },
                user: stored.user.map(text).transpose()?,
            })
        };
        let history = stored.history.into_iter().map(transition).collect::<Result<_, DecodeError>>()?;
        Ok(OrgPolicy { scenario, ladder, machine, history, last_at: stored.last_at })
    }
}
