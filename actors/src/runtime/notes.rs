//! What the runtime itself notes in an entity's stream, in the same append as the entity's own events.
//!
//! Stored like any event, under names that no entity uses. Whoever reads a stream for an entity's events passes them over:
//! [`is_note`].

use ionveil_journal::codec::{self, DecodeError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::aggregate::Event;
use crate::domain::Timestamp;

/// An event of the runtime's own.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// A command that may be sent again was answered.
    Answered(CommandAnswered),
    /// Other streams' events have been taken in.
    Followed(SourcesFollowed),
}

/// The forms of `runtime-answered` that are only read any more.
mod v1 {
    use serde::{Deserialize, Serialize};
    use uuid::Uuid;

    use crate::domain::Timestamp;

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct CommandAnswered {
        command_id: Uuid,
        command: String,
        answered_at: Timestamp,
        reply: Vec<u8>,
    }

    impl From<CommandAnswered> for super::CommandAnswered {
        fn from(CommandAnswered { command_id, command, answered_at, reply }: CommandAnswered) -> Self {
            super::CommandAnswered { command_id, command, answered_at, reply, content: None }
        }
    }
}

/// `runtime-answered`, version 2: the reply that went with the events before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandAnswered {
    /// What the caller called it.
    pub command_id: Uuid,
    /// The command's type, so that an id is not taken for that of another command.
    pub command: String,
    /// By the clock that the command was decided with.
    pub answered_at: Timestamp,
    /// As its [`super::ReplyCodec`] encodes it.
    pub reply: Vec<u8>,
    /// A digest of what the command said, if that is compared: [`super::Command::content`].
    pub content: Option<Uuid>,
}

/// `runtime-followed`, version 1: how far a follower has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcesFollowed {
    /// Streams and the last sequence that is taken in, by address.
    pub sources: Vec<(String, u64)>,
}

const ANSWERED: &str = "runtime-answered";
const FOLLOWED: &str = "runtime-followed";

/// Every form of a note that was ever released, as of an entity's events.
pub const RELEASED: &[(&str, u16)] = &[(ANSWERED, 1), (ANSWERED, 2), (FOLLOWED, 1)];

/// Whether an event of that type is the runtime's, whatever stream it lies in.
pub fn is_note(event_type: &str) -> bool {
    event_type.starts_with("runtime-")
}

impl Event for Note {
    fn event_type(&self) -> &'static str {
        match self {
            Note::Answered(_) => ANSWERED,
            Note::Followed(_) => FOLLOWED,
        }
    }

    fn version(&self) -> u16 {
        match self {
            Note::Answered(_) => 2,
            Note::Followed(_) => 1,
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Note::Answered(answered) => codec::encode(answered),
            Note::Followed(followed) => codec::encode(followed),
        }
    }

    fn decode(event_type: &str, version: u16, codec: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        match (event_type, version) {
            (ANSWERED, 1) => {
                codec::decode::<v1::CommandAnswered>(codec, payload).map(CommandAnswered::from).map(Note::Answered)
            }
            (ANSWERED, 2) => codec::decode(codec, payload).map(Note::Answered),
            (FOLLOWED, 1) => codec::decode(codec, payload).map(Note::Followed),
            _ => Err(DecodeError::UnknownType { event_type: event_type.to_owned(), version }),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Note::Answered(answered) => {
                let mut shown = json!({
                    "command_id": answered.command_id,
                    "command": answered.command,
                    "answered_at": answered.answered_at,
                    "reply_bytes": answered.reply.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
                });
                if let Some(content) = answered.content {
                    shown["content"] = json!(content);
                }
                shown
            }
            Note::Followed(followed) => {
                let sources = followed.sources.iter().map(|(stream, sequence)| (stream.clone(), json!(sequence)));
                json!({ "sources": sources.collect::<serde_json::Map<_, _>>() })
            }
        }
    }
}
