//! Replies as they are remembered for whoever sends a command again: [`crate::runtime::ReplyCodec`]. A shape that changes gets
//! a new version where the commands name it, in `decide`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::command::{Recorded, RejectedOutcome};
use super::machine::Reason;
use super::state::{Transition, TransitionReason};
use crate::domain::Timestamp;
use crate::error::Invalid;

/// [`Recorded`].
#[derive(Serialize, Deserialize)]
pub(super) struct StoredRecorded {
    accepted: u64,
    rejected: Vec<(usize, Invalid)>,
    policy: Arc<str>,
    transitions: Vec<StoredTransition>,
}

/// [`Transition`].
#[derive(Serialize, Deserialize)]
pub(super) struct StoredTransition {
    from: Arc<str>,
    to: Arc<str>,
    timestamp: Timestamp,
    reason: StoredReason,
    user: Option<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
enum StoredReason {
    Outcomes(Reason),
    Manual(Arc<str>),
    Configured(Arc<str>),
}

impl From<Recorded> for StoredRecorded {
    fn from(reply: Recorded) -> Self {
        let Recorded { accepted, rejected, policy, transitions } = reply;
        StoredRecorded {
            accepted,
            rejected: rejected.into_iter().map(|RejectedOutcome { index, because }| (index, because)).collect(),
            policy,
            transitions: transitions.into_iter().map(StoredTransition::from).collect(),
        }
    }
}

impl From<StoredRecorded> for Recorded {
    fn from(stored: StoredRecorded) -> Self {
        let StoredRecorded { accepted, rejected, policy, transitions } = stored;
        Recorded {
            accepted,
            rejected: rejected.into_iter().map(|(index, because)| RejectedOutcome { index, because }).collect(),
            policy,
            transitions: transitions.into_iter().map(Transition::from).collect(),
        }
    }
}

impl From<Transition> for StoredTransition {
    fn from(reply: Transition) -> Self {
        let Transition { from, to, timestamp, reason, user } = reply;
        let reason = match reason {
            TransitionReason::Outcomes(reason) => StoredReason::Outcomes(reason),
            TransitionReason::Manual(words) => StoredReason::Manual(words),
            TransitionReason::Configured(scenario) => StoredReason::Configured(scenario),
        };
        StoredTransition { from, to, timestamp, reason, user }
    }
}

impl From<StoredTransition> for Transition {
    fn from(stored: StoredTransition) -> Self {
        let StoredTransition { from, to, timestamp, reason, user } = stored;
        let reason = match reason {
            StoredReason::Outcomes(reason) => TransitionReason::Outcomes(reason),
            StoredReason::Manual(words) => TransitionReason::Manual(words),
            StoredReason::Configured(scenario) => TransitionReason::Configured(scenario),
        };
        Transition { from, to, timestamp, reason, user }
    }
}
