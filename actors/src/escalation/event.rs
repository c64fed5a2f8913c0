//! What can have happened to an org's escalation policy, as it is stored.

use ionveil_journal::codec::{self, DecodeError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::policy::EscalationPolicy;
use crate::runtime;

/// Something that has happened to an org's escalation policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A policy came into force.
    PolicySet(PolicySet),
}

/// `escalation-policy-set`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySet {
    /// All of it.
    pub policy: EscalationPolicy,
}

const POLICY_SET: &str = "escalation-policy-set";

/// Every form that was ever released. Golden files: `actors/tests/fixtures/escalation`.
pub const RELEASED: &[(&str, u16)] = &[(POLICY_SET, 1)];

impl runtime::Event for Event {
    fn event_type(&self) -> &'static str {
        match self {
            Event::PolicySet(_) => POLICY_SET,
        }
    }

    fn version(&self) -> u16 {
        1
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Event::PolicySet(event) => codec::encode(event),
        }
    }

    fn decode(event_type: &str, version: u16, codec: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        match (event_type, version) {
            (POLICY_SET, 1) => codec::decode(codec, payload).map(Event::PolicySet),
            _ => Err(DecodeError::UnknownType { event_type: event_type.to_owned(), version }),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Event::PolicySet(event) => json!(event.policy),
        }
    }
}
