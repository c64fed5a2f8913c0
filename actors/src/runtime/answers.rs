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
    content: Option<Uuid>,
    answered_at: Timestamp,
    answer: Result<Vec<u8>, Error>,
}

/// A command under its id: its type, and a digest of what it says if that is compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeatable {
    pub(super) command_id: Uuid,
    pub(super) command: &'static str,
    pub(super) content: Option<Uuid>,
}

impl Repeatable {
    pub(super) fn new(command_id: Uuid, command: &'static str, content: Option<&[u8]>) -> Self {
        Repeatable { command_id, command, content: content.map(|content| Uuid::new_v5(&Uuid::nil(), content)) }
    }
}

impl Answers {
    /// The first answer to that command, if it is remembered: the reply as bytes, or the refusal.
    ///
    /// # Errors
    /// When the id was given to another command, or to one that said something else.
    pub(super) fn find(&self, repeatable: Repeatable) -> Result<Option<Result<Vec<u8>, Error>>, Invalid> {
        let Repeatable { command_id, command, content } = repeatable;
        let stored = self.stored.iter().rev().find(|it| it.command_id == command_id);
        let stored = stored.map(|it| (it.command.as_str(), it.content, Ok(&it.reply)));
        let fleeting = || self.fleeting.iter().rev().find(|it| it.command_id == command_id);
        let found = stored.or_else(|| fleeting().map(|it| (it.command, it.content, it.answer.as_ref())));
        match found {
            Some((of, ..)) if of != command => {
                Err(Invalid::new("command_id", command_id, format!("one that was not given to a {of} before")))
            }
            // An earlier release did not keep what it was.
            Some((of, before, _)) if before.is_some() && content.is_some() && before != content => {
                let allowed = format!("one that was not given to a {of} with other content before");
                Err(Invalid::new("command_id", command_id, allowed))
            }
            Some((.., answer)) => Ok(Some(answer.cloned().map_err(Error::clone))),
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
        Repeatable { command_id, command, content }: Repeatable,
        answered_at: Timestamp,
        answer: Result<Vec<u8>, Error>,
    ) {
        if answer.as_ref().is_err_and(|refusal| matches!(refusal.kind(), Kind::Overloaded | Kind::Unavailable)) {
            return;
        }
        self.fleeting.push_back(Fleeting { command_id, command, content, answered_at, answer });
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
            answers.note(CommandAnswered { command_id, command, answered_at: Timestamp::EPOCH, reply, content: None });
        };
        let add = |id| Repeatable::new(Uuid::from_u128(id), "Add", None);
        let is_known = |answers: &Answers, id| matches!(answers.find(add(id)), Ok(Some(Ok(_))));
        (1..=3).for_each(|id| note(&mut answers, id, REPLY_BYTES_MAX / 2));
        assert_eq!([1, 2, 3].map(|id| is_known(&answers, id)), [false, true, true]);
        note(&mut answers, 4, 2 * REPLY_BYTES_MAX);
        assert_eq!([2, 3, 4].map(|id| is_known(&answers, id)), [false, false, true]);
        note(&mut answers, 5, 1);
        assert_eq!([4, 5].map(|id| is_known(&answers, id)), [false, true]);
    }

    #[test]
    fn what_was_kept_without_its_content_is_the_answer_to_whatever_the_command_says() {
        let (id, by) = (Uuid::from_u128(1), |content: &'static [u8]| Some(content));
        for (kept, asked, is_found) in [
            (by(b"1"), by(b"1"), true),
            (by(b"1"), by(b"2"), false),
            (by(b"1"), None, true),
            (None, by(b"2"), true),
            (None, None, true),
        ] {
            let Repeatable { command_id, command, content } = Repeatable::new(id, "Add", kept);
            let answered_at = Timestamp::EPOCH;
            let mut stored = Answers::default();
            stored.note(CommandAnswered { command_id, command: command.into(), answered_at, reply: vec![7], content });
            let mut fleeting = Answers::default();
            fleeting.remember(Repeatable::new(id, "Add", kept), answered_at, Ok(vec![7]));
            for answers in [stored, fleeting] {
                let found = answers.find(Repeatable::new(id, "Add", asked));
                assert_eq!(found.is_ok_and(|found| found == Some(Ok(vec![7]))), is_found, "{kept:?} {asked:?}");
            }
        }
    }
}
