//! The answers to commands that may be sent again.

use std::collections::VecDeque;

use uuid::Uuid;

use super::notes::CommandAnswered;
use crate::domain::Timestamp;
use crate::error::{Error, Invalid, Kind};

/// As many answers are remembered per entity, the latest.
pub const ANSWERS_MAX: usize = 1_024;
/// An answer is forgotten when one that is a day younger comes.
pub const ANSWER_HOURS: i64 = 24;
/// Most bytes of remembered replies; beyond it the oldest go. A command whose reply alone takes more takes no id.
pub const REPLY_BYTES_MAX: usize = 1 << 20;

/// What an entity has answered lately. What changed something is kept in the stream; what changed nothing (a refusal, a
/// reply without events) is kept as long as the entity lives, since nothing of it may be journaled.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// In the order of the stream.
    stored: VecDeque<CommandAnswered>,
    stored_bytes: usize,
    fleeting: VecDeque<Fleeting>,
}

#[derive(Debug)]
struct Fleeting {
    command_id: Uuid,
    command: &'static str,
    answered_at: Timestamp,
    answer: Result<Vec<u8>, Error>,
}

impl Answers {
    /// The first answer to that command, if it is remembered: the reply as bytes, or the refusal.
    ///
    /// # Errors
    /// When the id was given to another command.
    pub(super) fn find(&self, command_id: Uuid, command: &str) -> Result<Option<Result<Vec<u8>, Error>>, Invalid> {
        let stored = self.stored.iter().rev().find(|it| it.command_id == command_id);
        let stored = stored.map(|it| (it.command.as_str(), Ok(&it.reply)));
        let fleeting = || self.fleeting.iter().rev().find(|it| it.command_id == command_id);
        let found = stored.or_else(|| fleeting().map(|it| (it.command, it.answer.as_ref())));
        match found {
            Some((of, _)) if of != command => {
                Err(Invalid::new("command_id", command_id, format!("one that was not given to a {of} before")))
            }
            Some((_, answer)) => Ok(Some(answer.cloned().map_err(Error::clone))),
            None => Ok(None),
        }
    }

    /// Takes in what the stream says was answered.
    pub(super) fn note(&mut self, answered: CommandAnswered) {
        let latest = answered.answered_at;
        self.stored_bytes += answered.reply.len();
        self.stored.push_back(answered);
        // By what the answers say of themselves, so that every replay forgets the same.
        while self.stored.len() > ANSWERS_MAX
            || self.stored_bytes > REPLY_BYTES_MAX && self.stored.len() > 1
            || self.stored.front().is_some_and(|oldest| is_old(oldest.answered_at, latest))
        {
            self.stored_bytes -= self.stored.pop_front().map_or(0, |oldest| oldest.reply.len());
        }
    }

    /// Remembers what changed nothing, unless the same command may fare better in a moment.
    pub(super) fn remember(
        &mut self,
        command_id: Uuid,
        command: &'static str,
        answered_at: Timestamp,
        answer: Result<Vec<u8>, Error>,
    ) {
        if answer.as_ref().is_err_and(|refusal| matches!(refusal.kind(), Kind::Overloaded | Kind::Unavailable)) {
            return;
        }
        self.fleeting.push_back(Fleeting { command_id, command, answered_at, answer });
        let bytes = |it: &Fleeting| it.answer.as_ref().map_or(0, Vec::len);
        while self.fleeting.len() > ANSWERS_MAX
            || self.fleeting.len() > 1 && self.fleeting.iter().map(bytes).sum::<usize>() > REPLY_BYTES_MAX
            || self.fleeting.front().is_some_and(|oldest| is_old(oldest.answered_at, answered_at))
        {
            self.fleeting.pop_front();
        }
    }

    /// What a snapshot has to keep.
    pub(super) fn stored(&self) -> impl Iterator<Item = &CommandAnswered> {
        self.stored.iter()
    }
}

fn is_old(answered_at: Timestamp, latest: Timestamp) -> bool {
    latest.as_micros().saturating_sub(answered_at.as_micros()) > ANSWER_HOURS * crate::domain::MICROS_PER_HOUR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_replies_push_the_oldest_out_and_one_stays_however_large() {
        let mut answers = Answers::default();
        let note = |answers: &mut Answers, id, reply_len| {
            let (command_id, command, reply) = (Uuid::from_u128(id), "Add".to_owned(), vec![0; reply_len]);
            answers.note(CommandAnswered { command_id, command, answered_at: Timestamp::EPOCH, reply });
        };
        let is_known = |answers: &Answers, id| matches!(answers.find(Uuid::from_u128(id), "Add"), Ok(Some(Ok(_))));
        (1..=3).for_each(|id| note(&mut answers, id, REPLY_BYTES_MAX / 2));
        assert_eq!([1, 2, 3].map(|id| is_known(&answers, id)), [false, true, true]);
        note(&mut answers, 4, 2 * REPLY_BYTES_MAX);
        assert_eq!([2, 3, 4].map(|id| is_known(&answers, id)), [false, false, true]);
        note(&mut answers, 5, 1);
        assert_eq!([4, 5].map(|id| is_known(&answers, id)), [false, true]);
    }
}
