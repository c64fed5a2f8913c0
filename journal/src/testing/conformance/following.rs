//! Following the journal: what was there, then what comes, without gap or repetition.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::{Engine, all, ids, ids_of, write};
use crate::error::Error;
use crate::journal::Journal;
use crate::position::Position;
use crate::stream_id::StreamKind;
use crate::subscribe::{Interest, Subscription};

/// What waiting says without waiting: more, the end, or nothing yet.
fn is_ready(subscription: &mut Subscription) -> Option<bool> {
    let waiting = std::pin::pin!(subscription.wait());
    match waiting.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(more) => Some(more),
        Poll::Pending => None,
    }
}

#[track_caller]
fn next_ids(subscription: &mut Subscription) -> Vec<uuid::Uuid> {
    ids(&subscription.page().expect("a sound journal"))
}

/// First what is there, then nothing until there is more, then that.
pub fn a_subscription_catches_up_and_then_follows(engine: &dyn Engine) {
    let journal = engine.open();
    write(journal.as_ref(), "dispatch/a", 0, 1..4);
    let mut all = Subscription::new(Arc::clone(&journal), Position::NONE, Interest::All).expect("open");
    assert!(all.lag() > 0);
    assert_eq!(is_ready(&mut all), Some(true));
    assert_eq!(next_ids(&mut all), ids_of(1..4));
    assert_eq!((next_ids(&mut all), is_ready(&mut all), all.lag()), (vec![], None, 0));
    let written = write(journal.as_ref(), "dispatch/b", 0, 4..6);
    assert_eq!(is_ready(&mut all), Some(true));
    assert_eq!((next_ids(&mut all), all.seen()), (ids_of(4..6), written.position));
}

/// Behind each event, and behind the end: what comes after it and nothing else.
pub fn a_subscription_begins_behind_any_position(engine: &dyn Engine) {
    let journal = engine.open();
    write(journal.as_ref(), "dispatch/a", 0, 0..5);
    write(journal.as_ref(), "dispatch/b", 0, 5..9);
    for (record, number) in all(journal.as_ref()).iter().zip(1..) {
        let mut rest = Subscription::new(Arc::clone(&journal), record.position, Interest::All).expect("open");
        assert_eq!(next_ids(&mut rest), ids_of(number..9), "behind {}", record.position);
        assert_eq!(next_ids(&mut rest).len(), 0);
    }
}

/// And need not look at them again.
pub fn a_subscription_of_one_kind_passes_over_the_others(engine: &dyn Engine) {
    let journal = engine.open();
    let kind = Interest::Kind(StreamKind::new("alerts"));
    let mut alerts = Subscription::new(Arc::clone(&journal), Position::NONE, kind).expect("open");
    for number in 0..300 {
        write(journal.as_ref(), "dispatch/a", 10 * number, 10 * number..10 * number + 10);
    }
    assert_eq!((next_ids(&mut alerts), alerts.lag()), (vec![], 0));
    write(journal.as_ref(), "alerts/a", 0, 9_000..9_002);
    assert_eq!(next_ids(&mut alerts), ids_of(9_000..9_002));
}

/// Readers that begin at any moment of a write see everything once, in order, whatever their pace.
pub fn there_is_no_seam_between_what_was_there_and_what_comes(engine: &dyn Engine) {
    const EVENTS: u64 = 2_000;
    let journal = engine.open();
    std::thread::scope(|scope| {
        for reader in 0..4u64 {
            let journal = Arc::clone(&journal);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
                let mut subscription = Subscription::new(journal, Position::NONE, Interest::All).expect("open");
                let mut next = 1;
                while next <= EVENTS {
                    for record in subscription.page().expect("a sound journal") {
                        assert_eq!(record.sequence.get(), next, "a gap or a repetition");
                        next += 1;
                    }
                    // The even ones wait to be told, the odd ones look again and again.
                    if reader % 2 == 0 && next <= EVENTS {
                        assert!(runtime.block_on(subscription.wait()), "the journal ended");
                    }
                }
            });
        }
        let _guard = ClosesOnPanic(journal.as_ref());
        let mut written = 0;
        while written < EVENTS {
            let end = (written + 1 + written % 37).min(EVENTS);
            write(journal.as_ref(), "dispatch/a", written, written..end);
            written = end;
        }
    });
}

/// Lets the readers of an engine end on which the writer of the test was refused.
struct ClosesOnPanic<'a>(&'a dyn Journal);

impl Drop for ClosesOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}

/// Who waits is told that nothing more will come, and no new one begins.
pub fn a_subscription_ends_with_the_journal(engine: &dyn Engine) {
    let journal = engine.open();
    write(journal.as_ref(), "dispatch/a", 0, 1..2);
    let mut all = Subscription::new(Arc::clone(&journal), Position::NONE, Interest::All).expect("open");
    assert_eq!(next_ids(&mut all), ids_of([1]));
    journal.close();
    assert_eq!(is_ready(&mut all), Some(false));
    assert!(matches!(Subscription::new(journal, Position::NONE, Interest::All), Err(Error::Closed)));
}
