//! What a record claims costs no memory, only what it holds. A binary of its own, since it counts every allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use ionveil_journal::codec::{BINCODE_2, decode, encode};

/// Passes everything on and remembers how many bytes were asked for.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
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

/// The only test of this binary: a second one would allocate at the same time.
#[test]
fn a_record_that_claims_much_and_holds_little_costs_little() {
    const LITTLE: usize = 4_096;
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
