//! What an org's escalation can be told and asked.

use serde::{Deserialize, Serialize};

use super::policy::EscalationPolicy;

/// Puts a policy in force. Alerts that were raised before keep theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetPolicy {
    /// The policy.
    pub policy: EscalationPolicy,
}

/// Asks for the policy in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetPolicy;

/// A policy, and the how manyeth of its org it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// Counts from 1.
    pub revision: u64,
    /// The policy.
    pub policy: EscalationPolicy,
}
