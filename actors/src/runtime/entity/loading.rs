//! Bringing an entity to life: at its first message, after a failure, after a failed write.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use ionveil_journal::StreamId;
use tokio::sync::oneshot;

use super::super::aggregate::Aggregate;
use super::super::incarnation::Incarnation;
use super::super::recovery::recover;
use super::super::shared::Shared;
use super::{Entity, Job, Stage};
use crate::error::Error;

impl<A: Aggregate> Entity<A> {
    pub(super) fn needs_loading(&self) -> bool {
        match &self.stage {
            Stage::Unloaded => true,
            Stage::Ready(_) => self.writes.failed.load(Ordering::Acquire) != self.failures_seen,
            Stage::Refusing { retry_at, .. } => retry_at.is_some_and(|retry_at| retry_at <= self.shared.steady.now()),
        }
    }

    pub(super) fn load_then(&mut self, job: Job<A>, ctx: &mut Context<Self>) {
        let loading = load(Arc::clone(&self.shared), self.stream.clone(), self.prepared.take());
        // Until this future is done the context hands over no further message.
        ctx.wait(loading.into_actor(self).map(move |loaded, entity, ctx| {
            entity.loaded(loaded);
            match entity.stage {
                Stage::Ready(_) => entity.catch_up_then(job, ctx),
                Stage::Unloaded | Stage::Refusing { .. } => entity.run(job, ctx),
            }
        }));
    }

    fn loaded(&mut self, loaded: Result<Incarnation<A>, Error>) {
        self.failures_seen = self.writes.failed.load(Ordering::Acquire);
        self.drop_effects_not_begun();
        match loaded {
            Ok(incarnation) => {
                self.pace.begin(incarnation.sequence, incarnation.stored_at);
                self.stage = Stage::Ready(incarnation);
                self.note_lag();
            }
            Err(error @ Error::Corrupt { .. }) => {
                tracing::error!(stream = %self.stream, %error, "the entity cannot be rebuilt; it is quarantined");
                self.shared.attention.set(&self.stream, None, None);
                self.stage = Stage::Refusing { error, retry_at: None };
            }
            Err(error) => {
                tracing::error!(stream = %self.stream, %error, "the entity cannot be rebuilt now");
                self.fail(error);
            }
        }
    }
}

/// Rebuilds an entity, on a thread that may block, after everything its former self wrote has settled. So many at a time as
/// the limits allow; the others wait in line.
async fn load<A: Aggregate>(
    shared: Arc<Shared>,
    stream: StreamId,
    prepared: Option<Box<Incarnation<A>>>,
) -> Result<Incarnation<A>, Error> {
    let permit = Arc::clone(&shared.recoveries).acquire_owned().await;
    let permit = permit.map_err(|_| Error::unavailable("the system is shutting down", true))?;
    shared.counters.recoveries.add(1);
    let recovered = match when_settled(&shared).await {
        Ok(()) => {
            let recovering = {
                let (shared, stream) = (Arc::clone(&shared), stream.clone());
                move || match prepared {
                    Some(prepared) if is_up_to_date(&shared, &stream, &prepared) => Ok(*prepared),
                    _ => recover::<A>(shared.journal.as_ref(), &stream),
                }
            };
            shared
                .blocking(recovering)
                .await
                .unwrap_or_else(|| Err(Error::unavailable("replaying the stream panicked", true)))
        }
        Err(error) => Err(error),
    };
    drop(permit);
    match recovered {
        Ok(mut incarnation) => {
            shared.release_from_quarantine(&stream);
            // Each incarnation writes under an epoch of its own; an earlier one that is still about is fenced off.
            incarnation.epoch += 1;
            Ok(incarnation)
        }
        Err(error) => {
            shared.counters.recoveries_failed.add(1);
            shared.quarantine(&stream, &error);
            Err(error)
        }
    }
}

/// Returns when everything that was handed to the journal before is durable.
pub(in super::super) async fn when_settled(shared: &Shared) -> Result<(), Error> {
    let (settled, has_settled) = oneshot::channel();
    shared.journal.when_durable(Box::new(move |durable| {
        let _ = settled.send(durable);
    }))?;
    has_settled.await.map_err(|_| Error::unavailable("the journal's writer stopped", true))??;
    Ok(())
}

fn is_up_to_date<A>(shared: &Shared, stream: &StreamId, prepared: &Incarnation<A>) -> bool {
    shared.journal.stream_head(stream).is_some_and(|head| head == (prepared.sequence, prepared.epoch))
}
