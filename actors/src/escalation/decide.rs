//! State and command to decision or refusal.

use ionveil_journal::codec;

use super::command::{PolicyVersion, SetPolicy};
use super::event::{Event, PolicySet};
use super::state::Escalation;
use crate::error::Error;
use crate::runtime::{Command, Decision, Given, ReplyCodec};

impl Command<Escalation> for SetPolicy {
    type Reply = PolicyVersion;
    const REPLY: Option<ReplyCodec<PolicyVersion>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&self.policy))
    }

    fn decide(self, state: &Escalation, _: &Given) -> Result<Decision<Event, PolicyVersion>, Error> {
        self.policy.check()?;
        match &state.current {
            // The same again is no new version, so that setting it twice is safe.
            Some(current) if current.policy == self.policy => Ok(Decision { events: vec![], reply: current.clone() }),
            current => {
                let revision = current.as_ref().map_or(0, |current| current.revision) + 1;
                let event = Event::PolicySet(PolicySet { policy: self.policy.clone() });
                Ok(Decision { events: vec![event], reply: PolicyVersion { revision, policy: self.policy } })
            }
        }
    }
}
