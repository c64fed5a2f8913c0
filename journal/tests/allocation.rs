//! What a record claims costs no memory, only what it holds; and a journal takes no more the larger it is, but for its
//! index. A binary of its own, since it counts every allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use ionveil_journal::codec::{BINCODE_2, decode, encode};
use ionveil_journal::{Append, Journal, LocalJournal, NewEvent, Origin, Outcome, Position, Sequence, StreamId};

/// Passes everything on and remembers how many bytes were asked for, and how many were held at most.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);
static HELD_MOST: AtomicUsize = AtomicUsize::new(0);
/// One test at a time: another one would allocate meanwhile.
static ONE: Mutex<()> = Mutex::new(());

// SAFETY: every call goes to the system's allocator as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        HELD_MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocated_by(work: impl FnOnce()) -> usize {
    let before = ALLOCATED.load(Ordering::Relaxed);
    work();
    ALLOCATED.load(Ordering::Relaxed) - before
}

/// bincode's longest way to write a length: 15 MiB, in nine bytes.
fn claim(rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![253];
    bytes.extend_from_slice(&(15u64 << 20).to_le_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

#[test]
fn a_record_that_claims_much_and_holds_little_costs_little() {
    const LITTLE: usize = 4_096;
    let _one = ONE.lock();
    let bytes = claim(b"short");
    let nested = [vec![1, 1], claim(b"short")].concat();
    let costs = [
        ("text", allocated_by(|| assert!(decode::<String>(BINCODE_2, &bytes).is_err()))),
        ("boxed text", allocated_by(|| assert!(decode::<Box<str>>(BINCODE_2, &bytes).is_err()))),
        ("bytes", allocated_by(|| assert!(decode::<Vec<u8>>(BINCODE_2, &bytes).is_err()))),
        ("numbers", allocated_by(|| assert!(decode::<Vec<f64>>(BINCODE_2, &bytes).is_err()))),
        ("texts", allocated_by(|| assert!(decode::<Vec<String>>(BINCODE_2, &bytes).is_err()))),
        ("a map", allocated_by(|| assert!(decode::<BTreeMap<String, u64>>(BINCODE_2, &bytes).is_err()))),
        ("a text deep inside", allocated_by(|| assert!(decode::<Vec<Option<String>>>(BINCODE_2, &nested).is_err()))),
    ];
    for (what, cost) in costs {
        assert!(cost < LITTLE, "{what}: {cost} bytes for a record of {}", nested.len());
    }
    // And what is there is read without waste: each text once, the sequence at most twice as long as needed.
    let texts: Vec<String> = (0..1_000).map(|number| format!("{number:0100}")).collect();
    let bytes = encode(&texts);
    let cost = allocated_by(|| assert!(decode::<Vec<String>>(BINCODE_2, &bytes).is_ok()));
    let sequence_grown = 4 * 1_024 * size_of::<String>();
    assert!(cost < bytes.len() + sequence_grown, "{cost} bytes for a record of {}", bytes.len());
}

/// SplitMix64, so that nothing can be compressed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
}

#[test]
fn a_journal_larger_than_its_cache_is_opened_read_and_verified_in_bounded_memory() {
    const EVENTS: u64 = 14_000;
    const PAYLOAD_LEN: usize = 15_000;
    const BOUND: usize = 112 << 20;
    let _one = ONE.lock();
    let dir = tempfile::tempdir().expect("a directory");
    let stream: StreamId = "dispatch/a".parse().expect("a stream");
    let held = HELD.load(Ordering::Relaxed);
    HELD_MOST.store(held, Ordering::Relaxed);
    let journal = LocalJournal::open(dir.path()).expect("opens");
    for first in (0..EVENTS).step_by(20) {
        let event = |number| NewEvent {
            id: uuid::Uuid::from_u128(number as u128 + 1),
            event_type: "made".into(),
            version: 1,
            codec: BINCODE_2,
            payload: noise(number, PAYLOAD_LEN),
        };
        let append = Append {
            stream: stream.clone(),
            expected: Sequence::new(first),
            expected_id: None,
            epoch: 1,
            events: (first..first + 20).map(event).collect(),
            origin: Origin::default(),
        };
        assert!(matches!(journal.append(append), Outcome::Committed(_)));
    }
    let read_it_all = |journal: &LocalJournal| {
        let mut events = 0;
        let mut count = |_: &ionveil_journal::Record<'_>| {
            events += 1;
            ControlFlow::Continue(())
        };
        journal.read_all(Position::FIRST, Position::MAX, &mut count).expect("readable");
        journal.read_stream(&stream, Sequence::FIRST, Sequence::MAX, &mut count).expect("readable");
        assert_eq!(events, 2 * EVENTS);
        assert!(journal.verify(None, &mut |_| {}).expect("readable").is_ok());
    };
    read_it_all(&journal);
    assert!(journal.stat().bytes_on_disk > EVENTS * PAYLOAD_LEN as u64, "nothing was compressed");
    drop(journal);
    read_it_all(&LocalJournal::open(dir.path()).expect("opens"));
    let most = HELD_MOST.load(Ordering::Relaxed) - held;
    assert!(most < BOUND, "{} MiB for a journal of {} MiB", most >> 20, (EVENTS * PAYLOAD_LEN as u64) >> 20);
}

#[test]
fn what_waits_for_a_commit_is_held_once() {
    const EVENTS: u64 = 40;
    const PAYLOAD_LEN: usize = 1 << 20;
    const BOUND: usize = EVENTS as usize * PAYLOAD_LEN * 5 / 4;
    let _one = ONE.lock();
    let journal = LocalJournal::in_memory();
    let append = |number: u64, len| Append {
        stream: "dispatch/a".parse().expect("a stream"),
        expected: Sequence::new(number),
        expected_id: None,
        epoch: 1,
        events: vec![NewEvent {
            id: uuid::Uuid::from_u128(number as u128 + 1),
            event_type: "made".into(),
            version: 1,
            codec: BINCODE_2,
            payload: noise(number, len),
        }],
        origin: Origin::default(),
    };
    // Large enough for the committer's thread, which has nothing else done until this callback returns.
    let (release, held) = mpsc::channel();
    let held = Box::new(move |_| held.recv().expect("released"));
    journal.submit(append(0, 100_000), held).expect("taken");
    let before = HELD.load(Ordering::Relaxed);
    HELD_MOST.store(before, Ordering::Relaxed);
    for number in 1..=EVENTS {
        journal.submit(append(number, PAYLOAD_LEN), Box::new(|_| ())).expect("taken");
    }
    release.send(()).expect("awaited");
    journal.close();
    assert_eq!(journal.head().position.get(), EVENTS + 1);
    let most = HELD_MOST.load(Ordering::Relaxed) - before;
    assert!(most < BOUND, "{} MiB for {} MiB", most >> 20, (EVENTS as usize * PAYLOAD_LEN) >> 20);
}
