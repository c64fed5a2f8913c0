//! A store of any blocks is a journal that can be read and verified to its end, or it is refused.

#![no_main]

use std::ops::ControlFlow;
use std::sync::LazyLock;

use ionveil_journal::testing::bytes::with_checksums;
use ionveil_journal::testing::{Blocks, FaultyStore, append_to, event};
use ionveil_journal::{BlockKey, Journal, LocalJournal, Outcome, Position, Sequence};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    check(if kind % 4 == 0 { any_blocks(rest) } else { changed(SOUND.clone(), rest) });
});

/// A journal of several streams, a group of several blocks, and a record in parts.
static SOUND: LazyLock<Blocks> = LazyLock::new(|| {
    let store = FaultyStore::default();
    let journal = LocalJournal::on(store.clone()).expect("an empty store opens");
    for (number, lens) in [&[5usize, 0][..], &[30], &[40_000, 40_000], &[60_000], &[9, 9, 9]].iter().enumerate() {
        let events = lens.iter().zip(0..).map(|(&len, i)| event(10 * number as u64 + i, len)).collect();
        let outcome = journal.append(append_to(&format!("dispatch/{number}"), 0, events));
        assert!(matches!(outcome, Outcome::Committed(_)));
    }
    store.blocks()
});

/// Blocks one after the other, each with its length in front.
fn any_blocks(mut rest: &[u8]) -> Blocks {
    let mut blocks = Blocks::new();
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let (block, after) = after.split_at(usize::from(u16::from_le_bytes(*len)).min(after.len()));
        put(&mut blocks, with_checksums(block.to_vec()));
        rest = after;
    }
    blocks
}

/// Behind the others.
fn put(blocks: &mut Blocks, block: Vec<u8>) {
    let last = blocks.keys().last().copied().unwrap_or(BlockKey::new(0));
    blocks.insert(last.plus(1), block);
}

/// Changes of single bytes with the checksums made to fit, cuts, and lost and moved blocks.
fn changed(mut blocks: Blocks, mut rest: &[u8]) -> Blocks {
    while let Some((&[action, which, at0, at1, value], after)) = rest.split_first_chunk::<5>() {
        let Some((&key, _)) = blocks.iter().nth(usize::from(which) % blocks.len().max(1)) else { return blocks };
        let mut block = blocks.remove(&key).expect("it is there");
        let at = usize::from(u16::from_le_bytes([at0, at1])) % block.len().max(1);
        match action % 5 {
            0 => {}
            1 => block.truncate(at),
            2 => put(&mut blocks, block.clone()),
            _ => {
                if let Some(byte) = block.get_mut(at) {
                    *byte = value;
                }
            }
        }
        if action % 5 > 0 {
            let key = if action % 5 == 4 { key.plus(1) } else { key };
            blocks.insert(key, with_checksums(block));
        }
        rest = after;
    }
    blocks
}

fn check(blocks: Blocks) {
    let Ok(journal) = LocalJournal::on(FaultyStore::holding(blocks)) else { return };
    let end = journal.head().position;
    let mut count = 0;
    let read = journal.read_all(Position::FIRST, Position::MAX, &mut |_| {
        count += 1;
        ControlFlow::Continue(())
    });
    assert!(read.is_ok() && count == end.get(), "what opens can be read");
    for of in journal.streams() {
        let mut count = 0;
        let read = journal.read_stream(&of.stream, Sequence::FIRST, Sequence::MAX, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        assert!(read.is_ok() && count == of.events, "and every stream of it");
    }
    // Nobody can make the hashes fit by accident, so verification may find damage. It must only not panic.
    journal.verify(None, &mut |_| {}).expect("readable");
}
