//! What happens when things go wrong or come all at once: failing disks, full queues, racing writers, restarts.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ionveil_journal::{
    Append, Error, Head, Journal, LocalJournal, OnOutcome, Outcome, Position, QUEUE_BYTES_MAX, Sequence, Written,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::support::{Seen, all, append_to, event, stream};
use ionveil_journal::testing::{Fault, FaultyStore};

/// Far longer than anything here takes: a test that waits so long has found a deadlock.
const NEVER: Duration = Duration::from_secs(60);

/// A callback that sends the outcome on.
fn to<T: Send + 'static>(sender: &mpsc::Sender<T>, wrap: impl FnOnce(Outcome) -> T + Send + 'static) -> OnOutcome {
    let sender = sender.clone();
    Box::new(move |outcome| sender.send(wrap(outcome)).expect("the test waits for it"))
}

/// Submits all of them so that the first is one group and the others are the next.
fn submit_as_two_groups(store: &FaultyStore, journal: &LocalJournal, appends: &[Append]) -> Vec<Outcome> {
    let (sender, outcomes) = mpsc::channel();
    let held = store.hold();
    for (index, append) in appends.iter().enumerate() {
        journal.submit(append.clone(), to(&sender, |outcome| outcome)).expect("taken");
        if index == 0 {
            held.wait_for_commit();
        }
    }
    held.release();
    appends.iter().map(|_| outcomes.recv_timeout(NEVER).expect("every append has an outcome")).collect()
}

#[test]
fn a_failed_commit_fences_the_journal_and_loses_nothing_acknowledged() {
    for fault in [Fault::Nothing, Fault::Half, Fault::All] {
        let store = FaultyStore::default();
        let journal = LocalJournal::on(store.clone()).expect("opens");
        // The second group is of several blocks, so that half of it can be stored.
        let appends = [
            append_to("dispatch/a", 0, vec![event(1, 10), event(2, 10)]),
            append_to("dispatch/a", 2, vec![event(3, 10), event(4, 60_000)]),
            append_to("dispatch/b", 0, vec![event(5, 10)]),
            append_to("dispatch/b", 1, vec![event(6, 40_000), event(7, 40_000)]),
            append_to("dispatch/b", 99, vec![event(8, 1)]),
        ];
        store.fail_write(2, fault);
        let (durable_sender, durable) = mpsc::channel();
        let held = store.hold();
        let (sender, outcomes) = mpsc::channel();
        for (index, append) in appends.iter().enumerate() {
            journal.submit(append.clone(), to(&sender, |outcome| outcome)).expect("taken");
            if index == 0 {
                held.wait_for_commit();
            }
        }
        journal.when_durable(Box::new(move |head| durable_sender.send(head).expect("awaited"))).expect("taken");
        held.release();
        let outcomes: Vec<Outcome> = appends.iter().map(|_| outcomes.recv_timeout(NEVER).expect("told")).collect();
        let written = Written { sequence: Sequence::new(2), position: Position::new(2) };
        assert_eq!(outcomes[0], Outcome::Committed(written));
        for outcome in &outcomes[1..] {
            assert!(matches!(outcome, Outcome::Unknown { .. }), "{fault:?}: {outcome:?}");
        }
        assert!(matches!(durable.recv_timeout(NEVER), Ok(Err(Error::Poisoned { .. }))));

        // From now on nothing is taken, and readers see what was acknowledged, whatever the store holds by now.
        let refused = journal.append(append_to("dispatch/c", 0, vec![event(9, 1)]));
        assert!(matches!(refused, Outcome::Rejected(Error::Poisoned { .. })), "{refused:?}");
        assert!(matches!(journal.when_durable(Box::new(|_| ())), Err(Error::Poisoned { .. })));
        assert_eq!(store.writes(), 2, "a failed commit is never tried again");
        assert_eq!(all(&journal, 1, u64::MAX).len(), 2, "{fault:?}");
        assert_eq!(journal.head().position.get(), 2);
        assert!(journal.verify(None, &mut |_| {}).expect("readable").is_ok());
        drop(journal);

        // A start finds what was acknowledged, and of the rest all or nothing. A retry settles which.
        let journal = LocalJournal::on(store.clone()).expect("what is stored is a journal");
        assert!(journal.verify(None, &mut |_| {}).expect("readable").is_ok());
        let is_there = fault == Fault::All;
        assert_eq!(all(&journal, 1, u64::MAX).len(), if is_there { 7 } else { 2 }, "{fault:?}");
        for append in &appends[1..4] {
            match journal.append(append.clone()) {
                Outcome::AlreadyCommitted(_) if is_there => {}
                Outcome::Committed(_) if !is_there => {}
                other => panic!("{fault:?}: {other:?}"),
            }
        }
        assert_eq!(all(&journal, 1, u64::MAX).iter().map(|seen| seen.id).collect::<Vec<_>>(), ids(1..=7));
        assert!(journal.verify(None, &mut |_| {}).expect("readable").is_ok());
    }
}

fn ids(numbers: impl Iterator<Item = u64>) -> Vec<Uuid> {
    numbers.map(|number| event(number, 0).id).collect()
}

#[test]
fn a_full_queue_refuses_at_once_and_takes_again_when_it_has_drained() {
    const APPEND_BYTES: usize = 8 << 20;
    let store = FaultyStore::default();
    let journal = LocalJournal::on(store.clone()).expect("opens");
    let (sender, outcomes) = mpsc::channel();
    let held = store.hold();
    journal.submit(append_to("dispatch/first", 0, vec![event(0, 10)]), to(&sender, |_| ())).expect("taken");
    held.wait_for_commit();
    let mut taken = 0u64;
    let refused = loop {
        let append = append_to(&format!("dispatch/{taken}"), 0, vec![event(taken + 1, APPEND_BYTES)]);
        match journal.submit(append, to(&sender, |outcome| assert!(matches!(outcome, Outcome::Committed(_))))) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Overloaded { waiting_bytes } if waiting_bytes <= QUEUE_BYTES_MAX), "{}", refused);
    assert_eq!(taken as usize, QUEUE_BYTES_MAX / APPEND_BYTES - 1, "with its envelope, one fewer than fit");
    // What is small still fits in the rest, and questions are never refused for want of room.
    journal.submit(append_to("dispatch/small", 0, vec![event(100, 10)]), to(&sender, |_| ())).expect("taken");
    let (head_sender, head) = mpsc::channel();
    journal.when_durable(Box::new(move |head| head_sender.send(head).expect("awaited"))).expect("taken");
    held.release();
    for _ in 0..taken + 2 {
        outcomes.recv_timeout(NEVER).expect("what was taken is written");
    }
    assert_eq!(head.recv_timeout(NEVER).expect("told").expect("durable").position.get(), taken + 2);
    assert!(matches!(
        journal.append(append_to("dispatch/last", 0, vec![event(200, APPEND_BYTES)])),
        Outcome::Committed(_)
    ));
}

#[test]
fn what_is_being_written_is_neither_seen_nor_taken_for_damage() {
    let store = FaultyStore::default();
    let journal = LocalJournal::on(store.clone()).expect("opens");
    assert!(matches!(journal.append(append_to("dispatch/a", 0, vec![event(1, 10)])), Outcome::Committed(_)));
    let (sender, outcomes) = mpsc::channel();
    let held = store.hold();
    let large = append_to("dispatch/a", 1, vec![event(2, 40_000), event(3, 40_000), event(4, 100_000)]);
    journal.submit(large, to(&sender, |outcome| outcome)).expect("taken");
    held.wait_for_commit();
    assert_eq!(store.blocks().len(), 2, "the last block of the group lies there alone");
    assert_eq!(all(&journal, 1, u64::MAX).len(), 1);
    assert_eq!(stream(&journal, "dispatch/a", 1, u64::MAX).len(), 1);
    assert_eq!(journal.verify(None, &mut |_| {}).expect("readable").damage, None);
    held.release();
    assert!(matches!(outcomes.recv_timeout(NEVER), Ok(Outcome::Committed(_))));
    assert_eq!(all(&journal, 1, u64::MAX).len(), 4);
}

/// A store may tear a failed commit at its end only. One that tears in its middle is refused, and loses nothing.
#[test]
fn a_commit_that_is_torn_in_its_middle_is_refused_as_damage() {
    let store = FaultyStore::default();
    let journal = LocalJournal::on(store.clone()).expect("opens");
    assert!(matches!(journal.append(append_to("dispatch/a", 0, vec![event(1, 10)])), Outcome::Committed(_)));
    store.fail_write(1, Fault::Scattered);
    let large = append_to("dispatch/a", 1, vec![event(2, 15_000), event(3, 15_000), event(4, 15_000)]);
    assert!(matches!(journal.append(large), Outcome::Unknown { .. }));
    drop(journal);
    let blocks = store.blocks();
    assert_eq!(blocks.len(), 3, "the first and the third of the group");
    for _ in 0..2 {
        match LocalJournal::on(store.clone()) {
            Err(Error::Corrupt(damage)) => assert_eq!(damage.position.get(), 3),
            Err(other) => panic!("refused, but as {other}"),
            Ok(_) => panic!("opened all the same"),
        }
        assert!(store.blocks() == blocks, "it is left as it is");
    }
}

#[test]
fn a_callback_that_panics_costs_nobody_else_an_answer() {
    let store = FaultyStore::default();
    let journal = LocalJournal::on(store.clone()).expect("opens");
    let (sender, outcomes) = mpsc::channel();
    let held = store.hold();
    journal.submit(append_to("dispatch/a", 0, vec![event(1, 1)]), to(&sender, |_| ())).expect("taken");
    held.wait_for_commit();
    // Quiet, since the test's own message would look like a failure.
    let clumsy: OnOutcome = Box::new(|_| std::panic::resume_unwind(Box::new("clumsy")));
    journal.submit(append_to("dispatch/b", 0, vec![event(2, 1)]), clumsy).expect("taken");
    journal.submit(append_to("dispatch/c", 0, vec![event(3, 1)]), to(&sender, |_| ())).expect("taken");
    held.release();
    for _ in 0..2 {
        outcomes.recv_timeout(NEVER).expect("told");
    }
    assert!(matches!(journal.append(append_to("dispatch/d", 0, vec![event(4, 1)])), Outcome::Committed(_)));
}

#[test]
fn the_last_handle_may_be_dropped_by_a_callback() {
    let store = FaultyStore::default();
    let journal = Arc::new(LocalJournal::on(store.clone()).expect("opens"));
    let (sender, dropped) = mpsc::channel();
    let held = store.hold();
    let last = Arc::clone(&journal);
    let done: OnOutcome = Box::new(move |_| {
        drop(last);
        sender.send(()).expect("awaited");
    });
    journal.submit(append_to("dispatch/a", 0, vec![event(1, 1)]), done).expect("taken");
    drop(journal);
    held.release();
    dropped.recv_timeout(NEVER).expect("the writer does not wait for itself");
    assert_eq!(all(&LocalJournal::on(store).expect("opens"), 1, 9).len(), 1);
}

#[test]
fn closing_and_opening_again_at_once_always_works() {
    // Other tests start processes meanwhile, which hold the locks of all open files for a moment: it once made this fail.
    let dir = tempfile::tempdir().expect("a directory");
    let mut number = 0;
    for round in 0..30 {
        let journal = LocalJournal::open(dir.path()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let (sender, outcomes) = mpsc::channel();
        for _ in 0..20 {
            let append = append_to("dispatch/a", number, vec![event(number, 30_000)]);
            journal.submit(append, to(&sender, |outcome| outcome)).expect("taken");
            number += 1;
        }
        drop(journal);
        assert!(outcomes.try_iter().all(|outcome| matches!(outcome, Outcome::Committed(_))));
    }
}

#[test]
fn sleds_own_lock_is_waited_for_but_not_for_ever() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(LocalJournal::open(dir.path()).expect("opens"));
    // Other tests start processes meanwhile, which share the closed file for a moment.
    let config = sled::Config::new().path(dir.path().join("sled")).segment_size(4 << 20);
    let deadline = Instant::now() + Duration::from_secs(60);
    let foreign = loop {
        match config.open() {
            Ok(db) => break db,
            Err(error) if Instant::now() < deadline => drop(error),
            Err(error) => panic!("{error}"),
        }
        std::thread::yield_now();
    };
    let refused = LocalJournal::open(dir.path()).err().expect("sled is open elsewhere");
    assert!(matches!(refused, Error::Held { .. }), "{refused}");
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| LocalJournal::open(dir.path()));
        drop(foreign);
        opening.join().expect("no panic").expect("it was let go");
    });
}

/// One thing that happens to a journal under test.
#[derive(Debug, Clone)]
enum Step {
    /// Appends, the second and later ones in one group.
    Appends(Vec<Ask>),
    Restart,
}

/// One append, described relative to what the stream is like by then.
#[derive(Debug, Clone)]
enum Ask {
    New {
        stream: usize,
        off_by: i64,
        epoch: u32,
        lens: Vec<usize>,
    },
    /// An earlier one again, perhaps with an event fewer or more.
    Again {
        which: usize,
        events_more: i64,
    },
}

fn asks() -> impl Strategy<Value = Ask> {
    let len = prop_oneof![8 => 0..300usize, 1 => 40_000..100_000usize];
    let off_by = prop_oneof![5 => Just(0i64), 1 => -3..4i64];
    let epoch = prop_oneof![6 => Just(2u32), 1 => 1..4u32];
    let new = (0..3usize, off_by, epoch, prop::collection::vec(len, 1..4));
    prop_oneof![
        3 => new.prop_map(|(stream, off_by, epoch, lens)| Ask::New { stream, off_by, epoch, lens }),
        1 => (any::<prop::sample::Index>(), -1..2i64)
            .prop_map(|(which, events_more)| Ask::Again { which: which.index(1 << 20), events_more }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(asks(), 1..6).prop_map(Step::Appends),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..14)
}

/// What a journal is, said in the plainest way.
#[derive(Default)]
struct Model {
    events: Vec<Seen>,
    epochs: [u32; 3],
}

impl Model {
    fn of_stream(&self, stream: &str) -> Vec<&Seen> {
        self.events.iter().filter(|seen| seen.stream == stream).collect()
    }

    fn append(&mut self, append: &Append) -> Outcome {
        let name = append.stream.as_str();
        let epoch = &mut self.epochs[append.stream.id().parse::<usize>().expect("a number")];
        let of_stream: Vec<&Seen> = self.events.iter().filter(|seen| seen.stream == name).collect();
        let head = of_stream.len() as u64;
        if append.expected.get() != head {
            let mut there = of_stream.iter().skip(append.expected.get() as usize).take(append.events.len());
            if there.clone().map(|seen| seen.id).eq(append.events.iter().map(|event| event.id)) {
                let last = there.next_back().expect("an append is never empty");
                let (sequence, position) = (Sequence::new(last.sequence), Position::new(last.position));
                return Outcome::AlreadyCommitted(Written { sequence, position });
            }
            return Outcome::Conflict { head: Sequence::new(head) };
        }
        if append.epoch < *epoch {
            return Outcome::Fenced { epoch: *epoch };
        }
        *epoch = append.epoch;
        for (event, sequence) in append.events.iter().zip(head + 1..) {
            self.events.push(Seen {
                position: self.events.len() as u64 + 1,
                stream: name.to_owned(),
                sequence,
                id: event.id,
                payload: event.payload.clone(),
            });
        }
        let sequence = Sequence::new(head + append.events.len() as u64);
        Outcome::Committed(Written { sequence, position: Position::new(self.events.len() as u64) })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_journal_does_what_a_plain_list_would(steps in steps()) {
        let store = FaultyStore::default();
        let mut journal = LocalJournal::on(store.clone()).expect("opens");
        let mut model = Model::default();
        let mut asked: Vec<Append> = Vec::new();
        let mut number = 0;
        for step in steps {
            let Step::Appends(asks) = step else {
                let head: Head = journal.head();
                drop(journal);
                journal = LocalJournal::on(store.clone()).expect("opens again");
                prop_assert_eq!(journal.head(), head);
                continue;
            };
            let mut appends = Vec::new();
            let mut expected = Vec::new();
            for ask in asks {
                let append = match ask {
                    Ask::New { stream, off_by, epoch, lens } => {
                        let name = format!("dispatch/{stream}");
                        let after = (model.of_stream(&name).len() as u64).saturating_add_signed(off_by);
                        let mut append = append_to(&name, after, Vec::new());
                        append.epoch = epoch;
                        append.events.extend(lens.into_iter().map(|len| { number += 1; event(number, len) }));
                        append
                    }
                    Ask::Again { .. } if asked.is_empty() => continue,
                    Ask::Again { which, events_more } => {
                        let mut append = asked[which % asked.len()].clone();
                        match events_more {
                            1 => { number += 1; append.events.push(event(number, 5)) }
                            -1 if append.events.len() > 1 => { append.events.pop(); }
                            _ => {}
                        }
                        append
                    }
                };
                // The first of a group must lead to a commit, or there is nothing to hold up.
                let outcome = model.append(&append);
                if appends.is_empty() && !matches!(outcome, Outcome::Committed(_)) {
                    prop_assert_eq!(journal.append(append.clone()), outcome);
                } else {
                    appends.push(append.clone());
                    expected.push(outcome);
                }
                asked.push(append);
            }
            prop_assert_eq!(submit_as_two_groups(&store, &journal, &appends), expected);
            prop_assert_eq!(all(&journal, 1, u64::MAX), model.events.clone());
            for name in ["dispatch/0", "dispatch/1", "dispatch/2"] {
                let of_stream: Vec<Seen> = model.of_stream(name).into_iter().cloned().collect();
                prop_assert_eq!(stream(&journal, name, 1, u64::MAX), of_stream);
            }
        }
        let report = journal.verify(Some(journal.head().hash), &mut |_| {}).expect("readable");
        prop_assert_eq!((report.damage, report.head), (None, journal.head()));
    }
}
