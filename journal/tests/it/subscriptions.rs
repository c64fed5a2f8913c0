//! Following the journal: what was there, then what comes, without gap or repetition, and never in the writer's way.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ionveil_journal::{Error, Interest, Journal, LocalJournal, Outcome, Position, StreamKind, Subscription};

use crate::support::{append_to, event};

#[track_caller]
fn append(journal: &dyn Journal, stream: &str, expected: u64, numbers: std::ops::Range<u64>) {
    let events = numbers.map(|number| event(number, 10)).collect();
    let outcome = journal.append(append_to(stream, expected, events));
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
}

fn is_ready(subscription: &mut Subscription) -> Option<bool> {
    let waiting = std::pin::pin!(subscription.wait());
    match waiting.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(more) => Some(more),
        Poll::Pending => None,
    }
}

#[track_caller]
fn positions(subscription: &mut Subscription) -> Vec<u64> {
    subscription.page().expect("a sound journal").iter().map(|record| record.position.get()).collect()
}

#[test]
fn a_reader_catches_up_and_then_follows() {
    let journal: Arc<dyn Journal> = Arc::new(LocalJournal::in_memory());
    append(journal.as_ref(), "dispatch/a", 0, 1..4);
    let mut all = Subscription::new(Arc::clone(&journal), Position::NONE, Interest::All).expect("open");
    let mut rest = Subscription::new(Arc::clone(&journal), Position::new(2), Interest::All).expect("open");
    assert_eq!((all.lag(), rest.lag()), (3, 1));
    assert_eq!(is_ready(&mut all), Some(true));
    assert_eq!((positions(&mut all), positions(&mut rest)), (vec![1, 2, 3], vec![3]));
    assert_eq!((positions(&mut all), is_ready(&mut all), all.lag()), (vec![], None, 0));
    append(journal.as_ref(), "dispatch/b", 0, 4..6);
    assert_eq!((is_ready(&mut all), all.lag()), (Some(true), 2));
    assert_eq!((positions(&mut all), all.seen()), (vec![4, 5], Position::new(5)));
    journal.close();
    assert_eq!(is_ready(&mut all), Some(false), "nothing more will come");
    assert!(matches!(Subscription::new(journal, Position::NONE, Interest::All), Err(Error::Closed)));
}

#[test]
fn a_reader_of_one_kind_passes_over_the_others() {
    let journal: Arc<dyn Journal> = Arc::new(LocalJournal::in_memory());
    let kind = Interest::Kind(StreamKind::new("alerts"));
    let mut alerts = Subscription::new(Arc::clone(&journal), Position::NONE, kind).expect("open");
    for number in 0..3_000 {
        append(journal.as_ref(), "dispatch/a", number, number..number + 1);
    }
    assert_eq!((positions(&mut alerts), alerts.lag()), (vec![], 0), "it need not look at them again");
    append(journal.as_ref(), "alerts/a", 0, 9_000..9_002);
    assert_eq!(positions(&mut alerts), [3_001, 3_002]);
}

/// Readers that begin at any moment of a write see everything once, in order, whatever their pace.
#[test]
fn there_is_no_seam_between_what_was_there_and_what_comes() {
    const EVENTS: u64 = 4_000;
    let dir = tempfile::tempdir().expect("a directory");
    let journal: Arc<dyn Journal> = Arc::new(LocalJournal::open(dir.path()).expect("opens"));
    std::thread::scope(|scope| {
        for reader in 0..4u64 {
            let journal = Arc::clone(&journal);
            scope.spawn(move || {
                let mut subscription = Subscription::new(journal, Position::NONE, Interest::All).expect("open");
                let mut next = 1;
                while next <= EVENTS {
                    for record in subscription.page().expect("a sound journal") {
                        assert_eq!((record.position.get(), record.sequence.get()), (next, next));
                        next += 1;
                    }
                    // The even ones wait to be told, the odd ones look again and again.
                    if reader % 2 == 0 && next <= EVENTS {
                        assert!(pollster::block_on(subscription.wait()));
                    }
                }
            });
        }
        let mut written = 0;
        while written < EVENTS {
            let count = 1 + written % 37;
            let end = (written + count).min(EVENTS);
            append(journal.as_ref(), "dispatch/a", written, written..end);
            written = end;
        }
    });
}
