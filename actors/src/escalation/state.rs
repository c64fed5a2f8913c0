//! The policy in force.

use super::command::{GetPolicy, PolicyVersion};
use crate::error::Error;
use crate::runtime::{Given, Query};

/// An org's escalation policy.
#[derive(Debug, Default)]
pub struct Escalation {
    pub(super) current: Option<PolicyVersion>,
}

impl Query<Escalation> for GetPolicy {
    type Answer = Option<PolicyVersion>;

    fn answer(self, state: &Escalation, _: &Given) -> Result<Option<PolicyVersion>, Error> {
        Ok(state.current.clone())
    }
}
