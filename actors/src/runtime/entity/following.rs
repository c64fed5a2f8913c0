//! Followers: what other streams say is taken in before anything else is handled, each event once.

use std::ops::ControlFlow;
use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use ionveil_journal::{Journal, Origin, OwnedRecord, Position, Sequence, StreamId};

use super::super::aggregate::{Aggregate, Caller};
use super::super::shared::Shared;
use super::deciding::Write;
use super::loading::when_settled;
use super::{Entity, Job, Stage, Work};
use crate::domain::Timestamp;
use crate::error::Error;

/// Most events of one source that are read at a time.
const PAGE_EVENTS_MAX: usize = 1_024;
/// Events that led to nothing are read again after a restart; after so many of them the offset is noted all the same.
const UNNOTED_EVENTS_MAX: u64 = 4_096;

/// What was read of all sources together, in the order of positions.
struct Page {
    records: Vec<OwnedRecord>,
    /// Whether it reaches the end that the sources had when reading began.
    is_last: bool,
}

impl<A: Aggregate> Entity<A> {
    /// Takes in what the sources hold, then handles the message.
    pub(super) fn catch_up_then<W: Work<A>>(&mut self, job: Job<A, W>, ctx: &mut Context<Self>) {
        let Some(sources) = self.sources_behind() else { return self.run(job, ctx) };
        let job = job.boxed();
        let reading = read(Arc::clone(&self.shared), sources);
        ctx.wait(reading.into_actor(self).map(move |page, entity, ctx| {
            let is_last = match page {
                Ok(Page { records, is_last }) => {
                    entity.contain(|entity| entity.follow(records, job.now, ctx));
                    is_last
                }
                Err(error) => {
                    tracing::error!(stream = %entity.stream, %error, "a source cannot be read");
                    entity.fail(error);
                    true
                }
            };
            match entity.stage {
                Stage::Ready(_) if !is_last => entity.catch_up_then(job, ctx),
                _ => entity.run(job, ctx),
            }
        }));
    }

    /// All sources with the first sequence that was not taken in, if any of them holds it.
    ///
    /// All of them, since one that holds nothing new now may hold the next event when it comes to reading.
    pub(super) fn sources_behind(&self) -> Option<Vec<(StreamId, Sequence)>> {
        let (Some(follows), Stage::Ready(ready)) = (A::ABILITIES.follows, &self.stage) else { return None };
        let streams = follows.streams(self.stream.id()).into_iter();
        let next: Vec<(StreamId, Sequence)> = streams
            .map(|stream| {
                let next = ready.offsets.of(&stream).plus(1);
                (stream, next)
            })
            .collect();
        let holds_next = |(stream, next): &(StreamId, Sequence)| {
            self.shared.journal.stream_head(stream).is_some_and(|(head, _)| head >= *next)
        };
        next.iter().any(holds_next).then_some(next)
    }

    fn follow(&mut self, records: Vec<OwnedRecord>, now: Option<Timestamp>, ctx: &mut Context<Self>) {
        let Some(follows) = A::ABILITIES.follows else { return };
        for record in records {
            let given = self.given(Caller { correlation_id: record.correlation_id, now, ..Caller::default() });
            let Stage::Ready(ready) = &mut self.stage else { return };
            let span = tracing::debug_span!("follow", stream = %self.stream, source = record.stream, position = %record.position);
            let taken = span.in_scope(|| {
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    (follows.on_record)(&ready.state, &record, &given)
                }))
            });
            let events = match taken {
                Ok(Ok(events)) => events,
                Ok(Err(corrupt)) => return self.stop_following(&record, corrupt.to_string()),
                Err(_) => return self.stop_following(&record, "following it panicked".into()),
            };
            let source = record.stream.parse().expect("the journal checks its streams");
            ready.offsets.advance(source, record.sequence);
            if events.is_empty() && ready.offsets.unnoted() < UNNOTED_EVENTS_MAX {
                continue;
            }
            let origin =
                Origin { principal: None, correlation_id: record.correlation_id, causation_id: Some(record.id) };
            self.write(
                Write { id: given.id, origin, events: &events, answered: None },
                |_| Ok(()),
                drop::<Option<Error>>,
                ctx,
            );
        }
        self.note_lag();
    }

    fn stop_following(&mut self, record: &OwnedRecord, cause: String) {
        let error = Error::Corrupt { stream: record.stream.clone(), sequence: record.sequence.get(), cause };
        tracing::error!(stream = %self.stream, %error, "the entity cannot follow its source; it is quarantined");
        self.shared.quarantine(&self.stream, &error);
        self.shared.attention.set(&self.stream, None, None);
        self.stage = Stage::Refusing { error, retry_at: None };
    }

    pub(super) fn note_lag(&self) {
        if let (Some(follows), Stage::Ready(ready)) = (A::ABILITIES.follows, &self.stage) {
            let streams = follows.streams(self.stream.id()).into_iter();
            let read = streams.map(|stream| (stream.clone(), ready.offsets.of(&stream)));
            self.shared.note_lag(&self.stream, read.collect());
        }
    }
}

/// Reads on, when what was made of the page before is durable: so what is under way stays bounded.
async fn read(shared: Arc<Shared>, sources: Vec<(StreamId, Sequence)>) -> Result<Page, Error> {
    when_settled(&shared).await?;
    let journal = Arc::clone(&shared.journal);
    let reading = move || read_page(journal.as_ref(), &sources);
    shared.blocking(reading).await.unwrap_or_else(|| Err(Error::unavailable("reading the sources panicked", true)))
}

fn read_page(journal: &dyn Journal, sources: &[(StreamId, Sequence)]) -> Result<Page, Error> {
    let mut records: Vec<OwnedRecord> = Vec::new();
    // Nothing behind this may be taken in yet: a source that was not read to its end could hold something before it.
    let mut complete_up_to = Position::MAX;
    // All sources are read up to the same end, so that what is read is a prefix of what has happened.
    let end = journal.head().position;
    for (stream, from) in sources {
        let mut len = 0;
        journal.read_stream(stream, *from, Sequence::MAX, &mut |record| {
            if record.position > end {
                return ControlFlow::Break(());
            }
            records.push(record.into());
            len += 1;
            if len < PAGE_EVENTS_MAX {
                return ControlFlow::Continue(());
            }
            complete_up_to = complete_up_to.min(record.position);
            ControlFlow::Break(())
        })?;
    }
    records.retain(|record| record.position <= complete_up_to);
    records.sort_unstable_by_key(|record| record.position);
    Ok(Page { records, is_last: complete_up_to == Position::MAX })
}
