//! State and event to state.

use super::command::PolicyVersion;
use super::event::Event;
use super::state::Escalation;
use crate::error::Corrupt;

pub(super) fn evolve(state: &mut Escalation, event: &Event) -> Result<(), Corrupt> {
    match event {
        Event::PolicySet(event) => {
            let revision = state.current.as_ref().map_or(0, |current| current.revision) + 1;
            state.current = Some(PolicyVersion { revision, policy: event.policy.clone() });
        }
    }
    Ok(())
}
