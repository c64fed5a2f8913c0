//! A subscriber's end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use ionveil_journal::Position;

use super::MetricUpdate;
use super::ring::{Found, Ring};

/// What a subscriber hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// A metric over a minute has changed.
    Metric(Arc<MetricUpdate>),
    /// The subscriber was too slow: the oldest updates are gone. Nothing else is lost; subscribing from that position gives
    /// the present values of everything that changed behind it.
    Missed {
        /// How many.
        updates: u64,
        /// The last position that the subscriber has heard of.
        resume_from: Position,
    },
}

/// The live updates of a subscription, as a [`Stream`] that any executor can drive. It ends when IonVeil shuts down.
pub struct MetricUpdates {
    ring: Arc<Ring>,
    reader: u64,
    place: u64,
    heard: Position,
    /// What came before the subscription, when it was resumed.
    before: VecDeque<Update>,
    is_closed: bool,
}

impl MetricUpdates {
    pub(super) fn new(ring: Arc<Ring>, heard: Position) -> Self {
        let (reader, place) = ring.enter();
        MetricUpdates { ring, reader, place, heard, before: VecDeque::new(), is_closed: false }
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn catch_up(&mut self, from: Position, missed: u64, updates: impl Iterator<Item = Arc<MetricUpdate>>) {
        if missed > 0 {
            self.before.push_back(Update::Missed { updates: missed, resume_from: from });
        }
        self.before.extend(updates.map(Update::Metric));
    }

    /// Everything up to here was heard of, unless updates were missed; a later subscription goes on behind it.
    pub fn position(&self) -> Position {
        self.heard
    }

    /// The next update; `None` when IonVeil shuts down.
    pub async fn next(&mut self) -> Option<Update> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Update>> {
        if let Some(update) = self.before.pop_front() {
            return Poll::Ready(Some(update));
        }
        if self.is_closed {
            return Poll::Ready(None);
        }
        Poll::Ready(match self.ring.look(self.reader, self.place, context.waker()) {
            Found::Update(update) => {
                self.place += 1;
                self.heard = update.position;
                Some(Update::Metric(update))
            }
            Found::Missed(updates) => {
                self.place += updates;
                Some(Update::Missed { updates, resume_from: self.heard })
            }
            Found::Closed => None,
            Found::Waiting => return Poll::Pending,
        })
    }
}

impl Stream for MetricUpdates {
    type Item = Update;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Update>> {
        Poll::Ready(ready!(self.get_mut().poll(context)))
    }
}

impl Drop for MetricUpdates {
    fn drop(&mut self) {
        self.ring.leave(self.reader);
    }
}
