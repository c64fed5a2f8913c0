//! How fast a journal is verified, of a million events, and how much memory that takes whatever the number of streams.
//! `cargo bench -p ionveil-journal --bench verify`.

#![allow(clippy::print_stdout)] // the figures are what a benchmark is for

use std::time::Instant;

use ionveil_journal::testing::event;
use ionveil_journal::{Append, Journal, LocalJournal, Origin, Outcome, Sequence};

const EVENTS: u64 = 1_000_000;
const BATCH: u64 = 10;
const PAYLOAD_LEN: usize = 200;
const REPETITIONS: usize = 5;

fn main() {
    for streams in [100, 100_000] {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk of the build");
        let journal = LocalJournal::open(place.path()).expect("opens");
        for number in 0..EVENTS / BATCH {
            let first = number * BATCH;
            let append = Append {
                stream: format!("bench/{}", number % streams).parse().expect("a valid stream"),
                expected: Sequence::new(number / streams * BATCH),
                expected_id: None,
                epoch: 1,
                origin: Origin::default(),
                events: (first..first + BATCH).map(|number| event(number, PAYLOAD_LEN)).collect(),
            };
            // Every thousandth is waited for, so that the queue never fills.
            if number % 1_000 == 999 {
                assert!(matches!(journal.append(append), Outcome::Committed(_)));
            } else {
                journal.submit(append, Box::new(|_| ())).expect("taken");
            }
        }
        assert_eq!(journal.streams().len() as u64, streams);
        let resident_before = resident_kib();
        let mut seconds: Vec<f64> = (0..REPETITIONS)
            .map(|_| {
                let begin = Instant::now();
                let report = journal.verify(None, &mut |_| {}).expect("readable");
                assert_eq!((report.damage, report.events), (None, EVENTS));
                begin.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        let median = seconds[REPETITIONS / 2];
        let on_disk = journal.stat().bytes_on_disk;
        println!(
            "{streams:>7} streams: {:.2} M events/s, {:.0} MB/s of payload, {:.0} MB/s of disk; memory {resident_before} → {} KiB",
            EVENTS as f64 / median / 1e6,
            (EVENTS * PAYLOAD_LEN as u64) as f64 / median / 1e6,
            on_disk as f64 / median / 1e6,
            resident_kib()
        );
    }
}

/// What the process takes up; 0 where the kernel does not say.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
