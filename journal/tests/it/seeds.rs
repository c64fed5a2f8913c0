//! A journal on a disk that fails, against a plain model: whatever happens in whatever order, what was acknowledged is
//! there and right, nothing is there twice, an append is there whole or not at all, and a start heals.
//!
//! Each run follows from its seed. `IONVEIL_TEST_SEEDS` is how many there are; a failing one prints how to repeat it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;

use ionveil_journal::testing::{Fault, FaultyStore, Random};
use ionveil_journal::{
    Append, Error, Fold, Journal, LocalJournal, Outcome, Position, Sequence, SnapshotCriteria, StateSnapshot,
};

use crate::support::{Seen, all, append_to, count_from_env, event, stream};

const SEEDS_USUALLY: u64 = 200;
const STEPS: usize = 40;
const STREAMS: usize = 3;
const FOLD: Fold = Fold { schema: 1, version: 1 };

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_or_doubled() {
    let one = std::env::var("IONVEIL_TEST_SEED").is_ok().then(|| count_from_env("IONVEIL_TEST_SEED", 0));
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..count_from_env("IONVEIL_TEST_SEEDS", SEEDS_USUALLY),
    };
    let mut met = Met::default();
    for seed in seeds.clone() {
        let ran = catch_unwind(AssertUnwindSafe(|| Run::new(seed).go(&mut met)));
        if let Err(panic) = ran {
            eprintln!("repeat: IONVEIL_TEST_SEED={seed} cargo test -p ionveil-journal --test it seeds::");
            resume_unwind(panic);
        }
    }
    eprintln!("{} seeds: {met:?}", seeds.end - seeds.start);
    if one.is_none() {
        assert!(met.unknown > 0 && met.healed_whole > 0 && met.healed_without > 0, "the faults happen: {met:?}");
        assert!(met.cuts > 0 && met.full > 0 && met.retried > 0 && met.failed_starts > 0, "the faults happen: {met:?}");
    }
}

/// What the runs came across, so that nobody takes a run without faults for a proof.
#[derive(Debug, Default)]
struct Met {
    committed: u64,
    retried: u64,
    unknown: u64,
    /// Starts after an unknown outcome that found the events, or did not.
    healed_whole: u64,
    healed_without: u64,
    restarts: u64,
    cuts: u64,
    full: u64,
    failed_starts: u64,
    failed_reads: u64,
    snapshots_kept: u64,
    snapshots_lost: u64,
}

/// One journal, what is known of it, and the random numbers that decide what happens.
struct Run {
    random: Random,
    store: FaultyStore,
    journal: LocalJournal,
    /// What was acknowledged, in order.
    events: Vec<Seen>,
    asked: Vec<Append>,
    /// The appends of the failed group, in order, while nobody knows what became of them.
    unknown: Vec<Append>,
    is_fenced: bool,
    /// Snapshots that were saved, by stream and sequence: each may be lost, none may be another one.
    snapshots: BTreeMap<(usize, u64), Vec<StateSnapshot>>,
    number: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let store = FaultyStore::default();
        Run {
            random: Random::new(seed),
            journal: LocalJournal::on(store.clone()).expect("an empty store opens"),
            store,
            events: Vec::new(),
            asked: Vec::new(),
            unknown: Vec::new(),
            is_fenced: false,
            snapshots: BTreeMap::new(),
            number: 0,
        }
    }

    fn go(mut self, met: &mut Met) {
        for _ in 0..STEPS {
            match self.random.below(12) {
                0..=4 => self.append(met),
                5 | 6 => self.append_two_groups(met),
                7 => self.retry(met),
                8 => self.save_snapshot(),
                9 => self.plan_a_fault(),
                10 => self.read(met),
                _ => self.restart(met),
            }
        }
        self.store.fail_no_more();
        self.restart(met);
        self.check();
        let head = self.journal.head();
        let report = self.journal.verify(Some(head.hash), &mut |_| {}).expect("readable");
        assert_eq!((report.damage, report.head), (None, head));
    }

    fn plan_a_fault(&mut self) {
        let fault = match self.random.below(8) {
            0 => Fault::Nothing,
            1 | 2 => Fault::Half,
            3 => Fault::NotSynced,
            4 => Fault::All,
            5 => Fault::Full,
            6 => return self.store.fail_read(1 + self.random.below(4) as u64),
            _ => Fault::PowerCut(self.random.next_u64()),
        };
        self.store.fail_write(1 + self.random.below(3) as u64, fault);
    }

    fn heads(&self) -> [u64; STREAMS] {
        let mut heads = [0; STREAMS];
        for seen in &self.events {
            heads[stream_number(&seen.stream)] = seen.sequence;
        }
        heads
    }

    /// An append that follows what the model knows.
    fn new_append(&mut self, heads: &mut [u64; STREAMS]) -> Append {
        let of = self.random.below(STREAMS);
        let events: Vec<_> = (0..1 + self.random.below(3))
            .map(|_| {
                self.number += 1;
                // Now and then one that is larger than a block, so that groups have several.
                let len =
                    if self.random.chance(6) { 30_000 + self.random.below(70_000) } else { self.random.below(200) };
                event(self.number, len)
            })
            .collect();
        let append = append_to(&name(of), heads[of], events);
        heads[of] += append.events.len() as u64;
        self.asked.push(append.clone());
        append
    }

    fn append(&mut self, met: &mut Met) {
        let mut heads = self.heads();
        let append = self.new_append(&mut heads);
        let outcome = self.journal.append(append.clone());
        self.settle(vec![(append, outcome)], met);
    }

    /// The first append is one group, the others are the next.
    fn append_two_groups(&mut self, met: &mut Met) {
        let mut heads = self.heads();
        let appends: Vec<_> = (0..2 + self.random.below(4)).map(|_| self.new_append(&mut heads)).collect();
        if self.is_fenced {
            // Nothing is taken, so there is nothing to hold up.
            let outcomes = appends.into_iter().map(|append| (append.clone(), self.journal.append(append))).collect();
            return self.settle(outcomes, met);
        }
        let (sender, told) = mpsc::channel();
        let held = self.store.hold();
        for (index, append) in appends.iter().enumerate() {
            let sender = sender.clone();
            let done = Box::new(move |outcome| sender.send(outcome).expect("awaited"));
            self.journal.submit(append.clone(), done).expect("taken");
            if index == 0 {
                held.wait_for_commit();
            }
        }
        held.release();
        let outcomes = appends.into_iter().map(|append| (append, told.recv().expect("each has an outcome"))).collect();
        self.settle(outcomes, met);
    }

    /// Takes in what the journal said of appends that follow the model.
    fn settle(&mut self, outcomes: Vec<(Append, Outcome)>, met: &mut Met) {
        for (append, outcome) in outcomes {
            match outcome {
                Outcome::Committed(written) => {
                    assert!(!self.is_fenced, "a fenced journal acknowledges nothing");
                    self.note(&append);
                    let last = self.events.last().expect("just noted");
                    assert_eq!((written.position.get(), written.sequence.get()), (last.position, last.sequence));
                    met.committed += 1;
                }
                Outcome::Unknown { .. } => {
                    // All that is unknown is of the one group that failed, or waited behind it.
                    self.is_fenced = true;
                    self.unknown.push(append);
                    met.unknown += 1;
                }
                Outcome::Rejected(Error::Poisoned { .. }) => assert!(self.is_fenced, "refused without a reason"),
                other => panic!("{other:?}"),
            }
        }
    }

    fn note(&mut self, append: &Append) {
        for (event, sequence) in append.events.iter().zip(append.expected.get() + 1..) {
            self.events.push(Seen {
                position: self.events.len() as u64 + 1,
                stream: append.stream.to_string(),
                sequence,
                id: event.id,
                payload: event.payload.clone(),
            });
        }
    }

    /// An earlier append once more: it is not written a second time.
    fn retry(&mut self, met: &mut Met) {
        if self.is_fenced || self.asked.is_empty() {
            return;
        }
        let append = self.asked[self.random.below(self.asked.len())].clone();
        let of_stream: Vec<_> = self.events.iter().filter(|seen| seen.stream == append.stream.as_str()).collect();
        let is_there = of_stream
            .iter()
            .skip(append.expected.get() as usize)
            .map(|seen| seen.id)
            .take(append.events.len())
            .eq(append.events.iter().map(|event| event.id));
        let head = of_stream.len() as u64;
        let outcome = self.journal.append(append.clone());
        match outcome {
            Outcome::AlreadyCommitted(_) if is_there => met.retried += 1,
            // To know it, the journal has to read, and that fails now and then.
            Outcome::Rejected(Error::Io { .. }) if append.expected.get() != head => met.failed_reads += 1,
            Outcome::Conflict { head: told } if !is_there && append.expected.get() != head => {
                assert_eq!(told, Sequence::new(head));
            }
            other if !is_there && append.expected.get() == head => self.settle(vec![(append, other)], met),
            other => panic!("{other:?}"),
        }
    }

    fn save_snapshot(&mut self) {
        let of = self.random.below(STREAMS);
        let head = self.heads()[of];
        let snapshot = StateSnapshot {
            stream: name(of).parse().expect("a valid stream"),
            sequence: Sequence::new(head),
            fold: FOLD,
            taken_at_micros: self.random.below(1_000) as i64,
            codec: 1,
            payload: event(self.random.next_u64(), self.random.below(120_000)).payload,
        };
        match self.journal.save_snapshot(&snapshot) {
            Err(Error::Invalid { .. }) => assert_eq!(head, 0),
            // A write that failed may yet be there.
            Ok(()) | Err(Error::Io { .. }) => self.snapshots.entry((of, head)).or_default().push(snapshot),
            Err(other) => panic!("{other}"),
        }
    }

    /// Reads fail or give exactly what was acknowledged.
    fn read(&mut self, met: &mut Met) {
        let mut seen = Vec::new();
        let read = self.journal.read_all(Position::FIRST, Position::MAX, &mut |record| {
            seen.push(Seen::from(record));
            std::ops::ControlFlow::Continue(())
        });
        match read {
            Ok(()) => assert!(seen == self.events, "other events than those that were acknowledged"),
            Err(Error::Io { .. }) => met.failed_reads += 1,
            Err(other) => panic!("{other}"),
        }
    }

    /// A process that ends or is killed, or a power cut; then starts until one succeeds.
    fn restart(&mut self, met: &mut Met) {
        if self.random.chance(2) {
            self.store.cut_power(self.random.next_u64());
            met.cuts += 1;
        }
        met.restarts += 1;
        self.journal.close();
        self.store.start();
        let mut starts = 0;
        self.journal = loop {
            starts += 1;
            assert!(starts < 20, "it does not heal");
            match LocalJournal::on(self.store.clone()) {
                Ok(journal) => break journal,
                Err(Error::Io { .. }) if self.store.is_full() => {
                    self.store.free_space();
                    met.full += 1;
                }
                Err(Error::Io { .. }) => self.store.start(),
                Err(other) => panic!("what a failed write leaves is never damage: {other}"),
            }
            met.failed_starts += 1;
        };
        if self.store.is_full() {
            self.store.free_space();
            met.full += 1;
        }
        // Of the failed group everything is there or nothing. What waited behind it was never tried.
        let there = self.journal.head().position.get();
        let mut count = 0;
        while (self.events.len() as u64) < there {
            let append = self.unknown.get(count).expect("nothing but the unknown appends can be there").clone();
            self.note(&append);
            count += 1;
        }
        assert_eq!(self.events.len() as u64, there, "what was acknowledged is there, and no half append");
        match (self.unknown.is_empty(), count) {
            (true, _) => {}
            (false, 0) => met.healed_without += 1,
            (false, _) => met.healed_whole += 1,
        }
        self.unknown.clear();
        self.is_fenced = false;
        // Faults that are still planned would only tell of themselves.
        self.store.fail_no_more();
        self.check();
        self.check_snapshots(met);
        if self.random.chance(2) {
            // What a start has shown is durable, though nothing was written since: it synced what it found.
            self.store.cut_power(self.random.next_u64());
            met.cuts += 1;
            self.journal.close();
            self.store.start();
            self.journal = LocalJournal::on(self.store.clone()).expect("a sound store opens");
            self.check();
        }
    }

    fn check(&self) {
        assert!(all(&self.journal, 1, u64::MAX) == self.events, "other events than those that were acknowledged");
        for of in 0..STREAMS {
            let name = name(of);
            let expected: Vec<_> = self.events.iter().filter(|seen| seen.stream == name).cloned().collect();
            assert!(stream(&self.journal, &name, 1, u64::MAX) == expected, "{name} reads otherwise");
        }
        assert_eq!(self.journal.verify(None, &mut |_| {}).expect("readable").damage, None);
    }

    fn check_snapshots(&self, met: &mut Met) {
        for ((of, sequence), saved) in &self.snapshots {
            let criteria = SnapshotCriteria {
                sequence: (Sequence::new(*sequence), Sequence::new(*sequence)),
                ..SnapshotCriteria::ALL
            };
            let stream = name(*of).parse().expect("a valid stream");
            match self.journal.latest_snapshot(&stream, FOLD, &criteria).expect("readable") {
                // An older one in its place, when the newer one's write was lost.
                Some(found) => {
                    assert!(saved.contains(&found), "a snapshot that nobody saved");
                    met.snapshots_kept += 1;
                }
                None => met.snapshots_lost += 1,
            }
        }
    }
}

fn name(number: usize) -> String {
    format!("dispatch/{number}")
}

fn stream_number(name: &str) -> usize {
    name["dispatch/".len()..].parse().expect("a number")
}
