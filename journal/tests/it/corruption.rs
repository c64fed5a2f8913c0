//! Whatever is changed in what is stored, somebody says so: `verify` with the first bad position, or the start with a
//! clear error. Never a panic, never other events than those that were written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ionveil_journal::{
    BlockKey, Damage, Error, Hash, Head, Journal, Kind, LocalJournal, Outcome, Position, Sequence, verify_copy,
};

use crate::support::{Seen, all, append_to, count_from_env, event, quieten_sled};
use ionveil_journal::testing::{Blocks, FaultyStore, Random, repetitive_event};

const HEADER_LEN: usize = 104;
const FRAME_PREFIX_LEN: usize = 8;
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// Some blocks of few bytes each.
const SMALL: [&[usize]; 12] =
    [&[5], &[30, 0, 12], &[1, 1], &[60], &[7, 7, 7], &[100], &[2], &[16, 40], &[33], &[9, 1, 9], &[80], &[21]];

/// Groups of several blocks, records in parts, and both at once, in and at the end of a journal.
const LARGE: [&[usize]; 9] = [
    &[200],
    &[20_000, 20_000, 20_000, 20_000, 9],
    &[50],
    &[130_000],
    &[300, 60_000, 300],
    &[10, 10],
    &[30_000, 30_000, 30_000],
    &[49_000, 49_000],
    &[40_000, 40_000, 100_000],
];

/// Writes the groups from `first_group` on, each a list of payload lengths, in turn to three streams. `salt` makes other
/// events of the same shape. Every third group, if it is large, is stored compressed.
fn write(journal: &dyn Journal, groups: &[&[usize]], first_group: usize, salt: u64) {
    let mut number = journal.head().position.get() + salt;
    for (group, lens) in groups.iter().enumerate().skip(first_group) {
        let stream = format!("dispatch/org{}", group % 3);
        let head = journal.stream_head(&stream.parse().expect("a stream")).map_or(0, |(head, _)| head.get());
        let events = lens.iter().map(|&len| {
            number += 1;
            if group % 3 == 1 { repetitive_event(number, len) } else { event(number, len) }
        });
        let outcome = journal.append(append_to(&stream, head, events.collect()));
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }
}

/// A store that holds a journal of those groups, and the journal open on it.
fn journal_of(groups: &[&[usize]]) -> (FaultyStore, LocalJournal) {
    let store = FaultyStore::default();
    let journal = LocalJournal::on(store.clone()).expect("an empty store opens");
    write(&journal, groups, 0, 0);
    assert_sound(&journal);
    (store, journal)
}

/// The history of `SMALL` up to some group, and then other events, with every hash and checksum as it should be.
fn rewritten_from(sound: &Blocks, first_group: usize) -> (FaultyStore, LocalJournal) {
    let store = FaultyStore::holding(sound.iter().take(first_group).map(|(k, b)| (*k, b.clone())).collect());
    let journal = LocalJournal::on(store.clone()).expect("a prefix opens");
    write(&journal, &SMALL, first_group, 1 << 40);
    assert_sound(&journal);
    (store, journal)
}

#[track_caller]
fn assert_sound(journal: &LocalJournal) {
    let report = journal.verify(None, &mut |_| {}).expect("readable");
    assert_eq!((report.damage, report.head), (None, journal.head()));
}

#[track_caller]
fn found_by_verify(journal: &LocalJournal) -> Damage {
    let report = journal.verify(None, &mut |_| {}).expect("damage is the answer, not an error");
    let damage = report.damage.expect("the damage is found");
    assert!(report.head.position < damage.position, "what is sound ends before the damage: {damage}");
    damage
}

#[track_caller]
fn refused_at_start(blocks: Blocks) -> Damage {
    match LocalJournal::on(FaultyStore::holding(blocks)) {
        Err(Error::Corrupt(damage)) => damage,
        Err(other) => panic!("refused, but as {other}"),
        Ok(_) => panic!("opened all the same"),
    }
}

/// Damages the store under the open journal and asks `verify`, then starts a new journal on the damaged blocks. Both must
/// name that position.
#[track_caller]
fn assert_found_at(what: &str, store: &FaultyStore, journal: &LocalJournal, damaged: Blocks, position: Position) {
    let sound = store.blocks();
    store.replace(damaged.clone());
    let damage = found_by_verify(journal);
    assert_eq!(damage.position, position, "{what}: verify says {damage}");
    let damage = refused_at_start(damaged);
    assert_eq!(damage.position, position, "{what}: the start says {damage}");
    store.replace(sound);
}

/// The position of a block's first record, as its header has it.
fn position_of(block: &[u8]) -> Position {
    Position::new(u64::from_le_bytes(block[8..16].try_into().expect("eight bytes")))
}

/// Which record each byte of a block belongs to; for the bytes of the header and of a compressed body it is the first.
fn positions_of_bytes(block: &[u8], is_part: bool) -> Vec<Position> {
    let first = position_of(block);
    let mut positions = vec![first; HEADER_LEN];
    if is_compressed(block) {
        return vec![first; block.len()];
    }
    let mut number = 0;
    while positions.len() < block.len() {
        let at = positions.len();
        let record_len = u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes")) as usize;
        let len = if is_part { block.len() - at } else { FRAME_PREFIX_LEN + record_len };
        positions.extend(std::iter::repeat_n(first.plus(number), len));
        number += 1;
    }
    positions
}

fn is_part(block: &[u8]) -> bool {
    u16::from_le_bytes([block[18], block[19]]) > 1
}

fn is_compressed(block: &[u8]) -> bool {
    block[5] == 1
}

#[test]
fn every_changed_byte_is_found_at_its_record() {
    let (store, journal) = journal_of(&SMALL);
    let sound = store.blocks();
    assert_eq!(sound.len(), SMALL.len());
    for (&key, block) in &sound {
        for (at, &position) in positions_of_bytes(block, false).iter().enumerate() {
            let mut damaged = sound.clone();
            damaged.get_mut(&key).expect("it is there")[at] ^= 1 << (at % 8);
            assert_found_at(&format!("{key:?} byte {at}"), &store, &journal, damaged, position);
        }
    }
}

#[test]
fn a_changed_byte_in_large_groups_and_parts_is_found_at_its_record() {
    let (store, journal) = journal_of(&LARGE);
    let sound = store.blocks();
    assert!(sound.len() >= 20 && sound.values().filter(|block| is_part(block)).count() >= 8, "{}", sound.len());
    let compressed = sound.values().filter(|block| is_compressed(block));
    assert!(compressed.clone().count() >= 5 && compressed.clone().any(|block| is_part(block)));
    for (&key, block) in &sound {
        let positions = positions_of_bytes(block, is_part(block));
        let sampled = (0..HEADER_LEN + 70).step_by(9).chain((0..block.len()).step_by(5_003)).chain([block.len() - 1]);
        for at in sampled.filter(|&at| at < block.len()) {
            let mut damaged = sound.clone();
            damaged.get_mut(&key).expect("it is there")[at] ^= 0x80;
            assert_found_at(&format!("{key:?} byte {at}"), &store, &journal, damaged, positions[at]);
        }
    }
}

#[test]
fn a_dropped_block_is_found_where_it_is_missing() {
    for groups in [&SMALL[..], &LARGE[..]] {
        let (store, journal) = journal_of(groups);
        let sound = store.blocks();
        let last_group = journal.head().position.get() - groups.last().expect("groups").len() as u64 + 1;
        for (key, block) in &sound {
            let position = position_of(block);
            let mut damaged = sound.clone();
            damaged.remove(key);
            if position.get() < last_group {
                assert_found_at(&format!("{key:?}"), &store, &journal, damaged, position);
                continue;
            }
            // Without a checkpoint, a start cannot tell a damaged last group from a write cut short. Verify can.
            store.replace(damaged.clone());
            assert_eq!(found_by_verify(&journal).position, position, "{key:?}");
            let journal_without_tail = match LocalJournal::on(FaultyStore::holding(damaged)) {
                Ok(reopened) => reopened,
                // A hole before the end of the last group.
                Err(Error::Corrupt(damage)) => {
                    assert_eq!(damage.position, position);
                    store.replace(sound.clone());
                    continue;
                }
                Err(other) => panic!("{other}"),
            };
            assert_eq!(journal_without_tail.head().position.get(), last_group - 1, "the whole group or nothing");
            let report = journal_without_tail.verify(Some(journal.head().hash), &mut |_| {}).expect("readable");
            let damage = report.damage.expect("a cut tail is found by the head's hash");
            assert_eq!(damage.position.get(), last_group - 1, "{damage}");
            store.replace(sound.clone());
        }
    }
}

#[test]
fn swapped_blocks_are_found_at_the_first_of_them() {
    for groups in [&SMALL[..], &LARGE[..]] {
        let (store, journal) = journal_of(groups);
        let sound = store.blocks();
        for (first, second) in sound.keys().zip(sound.keys().skip(1)) {
            let mut damaged = sound.clone();
            damaged.insert(*first, sound[second].clone());
            damaged.insert(*second, sound[first].clone());
            assert_found_at(&format!("{first:?}"), &store, &journal, damaged, position_of(&sound[first]));
        }
    }
}

#[test]
fn a_cut_or_lengthened_block_is_found() {
    for groups in [&SMALL[..], &LARGE[..]] {
        let (store, journal) = journal_of(groups);
        let sound = store.blocks();
        for (key, block) in &sound {
            let len = block.len();
            for cut in [0, 1, HEADER_LEN - 1, HEADER_LEN, HEADER_LEN + 5, len / 2, len - 1, len + 1] {
                let mut damaged = sound.clone();
                damaged.get_mut(key).expect("it is there").resize(cut, 0);
                assert_found_at(&format!("{key:?} cut to {cut}"), &store, &journal, damaged, position_of(block));
            }
        }
    }
}

#[test]
fn a_block_that_stands_somewhere_a_second_time_is_found() {
    for groups in [&SMALL[..], &LARGE[..]] {
        let (store, journal) = journal_of(groups);
        let sound = store.blocks();
        let end = journal.head().position;
        let after = sound.keys().last().expect("a block").plus(1);
        for block in sound.values() {
            for (place, position) in
                [(BlockKey::new(0), Position::FIRST), (after, end.plus(1)), (after.plus(9), end.plus(1))]
            {
                let mut damaged = sound.clone();
                damaged.insert(place, block.clone());
                let what = format!("{} also at {place:?}", position_of(block));
                assert_eq!(refused_at_start(damaged.clone()).position, position, "{what}");
                if position <= end {
                    store.replace(damaged);
                    let report = journal.verify(None, &mut |_| {}).expect("readable");
                    let damage = report.damage.unwrap_or_else(|| panic!("{what}: not found"));
                    assert_eq!(damage.position, position, "{what}: {damage}");
                    store.replace(sound.clone());
                }
            }
        }
    }
}

/// The blocks behind a doubled one get later numbers, those behind a lost one earlier numbers, so that the numbers fit.
#[test]
fn a_doubled_or_lost_block_is_found_though_the_numbers_fit() {
    for groups in [&SMALL[..], &LARGE[..]] {
        let (store, journal) = journal_of(groups);
        let sound = store.blocks();
        let numbered = |blocks: Vec<&Vec<u8>>| -> Blocks {
            blocks.into_iter().zip(1..).map(|(block, number)| (BlockKey::new(number), block.clone())).collect()
        };
        for at in 0..sound.len() - 1 {
            let mut doubled: Vec<&Vec<u8>> = sound.values().collect();
            doubled.insert(at, doubled[at]);
            // Where the next block should have been; a part is followed by another part of the same record.
            let next = position_of(&sound[&BlockKey::new(at as u64 + 2)]);
            assert_found_at(&format!("block {at} twice"), &store, &journal, numbered(doubled), next);
            let mut lost: Vec<&Vec<u8>> = sound.values().collect();
            let position = position_of(lost.remove(at));
            if next < position_of(sound.values().last().expect("a block")) {
                assert_found_at(&format!("block {at} lost"), &store, &journal, numbered(lost), position);
            }
        }
    }
}

#[test]
fn a_block_of_another_history_breaks_the_chain_where_it_joins() {
    let (store, journal) = journal_of(&SMALL);
    let sound = store.blocks();
    let other = rewritten_from(&sound, 4).0.blocks();
    assert!(sound.keys().eq(other.keys()));
    let keys: Vec<BlockKey> = sound.keys().copied().collect();
    for index in 4..keys.len() {
        let mut damaged = sound.clone();
        damaged.insert(keys[index], other[&keys[index]].clone());
        // The first other block follows the same past: it is the one behind it that does not fit.
        let breaks_at = if index == 4 { keys[5] } else { keys[index] };
        assert_found_at(&format!("{:?}", keys[index]), &store, &journal, damaged, position_of(&sound[&breaks_at]));
    }
}

#[test]
fn a_rewritten_history_is_found_by_a_hash_that_was_kept_elsewhere() {
    let (store, journal) = journal_of(&SMALL);
    let sound = store.blocks();
    let (rewritten, other) = rewritten_from(&sound, 4);
    let kept = journal.head();
    assert_eq!(kept.position, other.head().position);
    let damage = other.verify(Some(kept.hash), &mut |_| {}).expect("readable").damage.expect("found");
    assert_eq!(damage.position, kept.position, "{damage}");
    // A hash from the past that both share speaks against neither.
    let shared_past = FaultyStore::holding(sound.iter().take(4).map(|(key, block)| (*key, block.clone())).collect());
    let shared = LocalJournal::on(shared_past).expect("a prefix opens").head();
    for journal in [&journal, &other] {
        assert!(journal.verify(Some(shared.hash), &mut |_| {}).expect("readable").is_ok());
    }
    // The head that a running journal knows gives away what was changed under it.
    store.replace(rewritten.blocks());
    assert_eq!(found_by_verify(&journal).position, kept.position);
}

#[test]
fn bytes_that_only_the_hash_protects_are_protected() {
    let (store, journal) = journal_of(&SMALL);
    let sound = store.blocks();
    // Change a payload's last byte and make all checksums fit again: only the block's hash is left to notice.
    for (&key, block) in &sound {
        let mut forged = block.clone();
        let last = *positions_of_bytes(block, false).last().expect("a record");
        let at = positions_of_bytes(block, false).iter().position(|&position| position == last).expect("there");
        // For a block of one record the header's bytes count as its own.
        let at = at.max(HEADER_LEN);
        *forged.last_mut().expect("a record") ^= 1;
        let checksum = crc32fast::hash(&forged[at + FRAME_PREFIX_LEN..]);
        forged[at + 4..at + FRAME_PREFIX_LEN].copy_from_slice(&checksum.to_le_bytes());
        store.change(|blocks| {
            blocks.insert(key, forged);
        });
        assert_eq!(found_by_verify(&journal).position, position_of(block));
        store.replace(sound.clone());
    }
}

/// Opens the blocks below a sled journal that is closed.
fn sled_blocks(dir: &Path) -> sled::Db {
    let config = sled::Config::new().path(dir.join("sled")).segment_size(4 << 20);
    let begin = Instant::now();
    loop {
        match config.open() {
            // A process that another test is just starting shares sled's lock for a moment.
            Err(error) if error.to_string().contains("could not acquire lock") && begin.elapsed() < LOCK_WAIT => {
                std::thread::yield_now();
            }
            opened => return opened.expect("sled opens"),
        }
    }
}

/// The blocks that are stored there, each with its key and the position of its first record.
fn stored(blocks: &sled::Db) -> Vec<(sled::IVec, u64)> {
    let items = blocks.iter().map(|item| item.expect("readable")).filter(|(_, block)| !block.is_empty());
    items.map(|(key, block)| (key, position_of(&block).get())).collect()
}

fn sled_journal(groups: &[&[usize]], salt: u64) -> (tempfile::TempDir, Head, Vec<Seen>) {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = LocalJournal::open(dir.path()).expect("opens");
    write(&journal, groups, 0, salt);
    let (head, events) = (journal.head(), all(&journal, 1, u64::MAX));
    drop(journal);
    (dir, head, events)
}

/// The files of such a journal as they are while it is open.
fn killed_journal(groups: &[&[usize]]) -> (tempfile::TempDir, Head, BTreeMap<PathBuf, Vec<u8>>) {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = LocalJournal::open(dir.path()).expect("opens");
    write(&journal, groups, 0, 0);
    let (head, killed) = (journal.head(), files(dir.path()));
    drop(journal);
    (dir, head, killed)
}

fn verified(dir: &Path, expected: Option<Hash>) -> Option<Damage> {
    verify_copy(dir, expected, &mut |_| {}).expect("damage is the answer, not an error").damage
}

#[track_caller]
fn assert_start_refuses_at(dir: &Path, position: u64) {
    match LocalJournal::open(dir) {
        Err(Error::Corrupt(damage)) => assert_eq!(damage.position.get(), position, "{damage}"),
        Err(other) => panic!("refused, but as {other}"),
        Ok(_) => panic!("opened all the same"),
    }
}

#[test]
fn a_cut_last_group_is_found_by_the_head_checkpoint() {
    for groups in [&SMALL[..], &LARGE[..]] {
        let (dir, head, _) = sled_journal(groups, 0);
        assert_eq!(verified(dir.path(), Some(head.hash)), None);
        let first = head.position.get() - groups.last().expect("groups").len() as u64 + 1;
        let blocks = sled_blocks(dir.path());
        for (key, _) in stored(&blocks).into_iter().filter(|&(_, position)| position >= first) {
            blocks.remove(key).expect("removed");
        }
        drop(blocks);
        assert_eq!(verified(dir.path(), None).expect("found").position.get(), first);
        assert_start_refuses_at(dir.path(), first);
    }
}

#[test]
fn an_acknowledged_group_without_its_end_is_refused_and_left_as_it_is() {
    // It was once taken for a write cut short: the start removed what was left of it before it looked at the checkpoint.
    let (dir, head, _) = sled_journal(&LARGE, 0);
    let blocks = sled_blocks(dir.path());
    let (last, _) = stored(&blocks).pop().expect("a block");
    blocks.remove(last).expect("removed");
    let count = stored(&blocks).len();
    drop(blocks);
    assert_start_refuses_at(dir.path(), head.position.get());
    assert_start_refuses_at(dir.path(), head.position.get());
    assert_eq!(stored(&sled_blocks(dir.path())).len(), count, "nothing was removed");
    let damage = verified(dir.path(), None).expect("found");
    assert_eq!(damage.position.get(), head.position.get() - 2, "the group began there: {damage}");
}

#[test]
fn a_rewritten_history_is_found_by_the_head_checkpoint() {
    let (dir, head, _) = sled_journal(&SMALL, 0);
    let (rewritten, ..) = sled_journal(&SMALL, 1 << 40);
    assert_eq!(verified(rewritten.path(), None), None);
    fs::copy(dir.path().join("head"), rewritten.path().join("head")).expect("copied");
    assert_eq!(verified(rewritten.path(), None).expect("found").position, head.position);
    assert_start_refuses_at(rewritten.path(), head.position.get());
    // Also when the forger went on writing, so that the checkpoint lies in the past.
    let (longer, ..) = sled_journal(&[&SMALL[..], &[&[1], &[2, 3]]].concat(), 1 << 40);
    fs::copy(dir.path().join("head"), longer.path().join("head")).expect("copied");
    assert_eq!(verified(longer.path(), None).expect("found").position, head.position);
    assert_start_refuses_at(longer.path(), head.position.get());
}

/// Small commits are durable in the redo log before sled has them.
#[test]
fn the_latest_events_of_a_killed_journal_come_from_the_redo_log() {
    let (dir, head, killed) = killed_journal(&SMALL);
    let place = tempfile::tempdir().expect("a directory");
    write_files(dir.path(), place.path(), &killed);
    assert_eq!(verified(place.path(), Some(head.hash)), None);
    let journal = LocalJournal::open(place.path()).expect("opens");
    assert_eq!(journal.head(), head);
    // Sled has them from now on, and the redo log begins anew.
    write(&journal, &LARGE, 0, 1 << 20);
    write(&journal, &SMALL, 0, 1 << 21);
    let events = all(&journal, 1, u64::MAX);
    drop(journal);
    assert_eq!(all(&LocalJournal::open(place.path()).expect("opens"), 1, u64::MAX), events);

    // Without it, or with an entry of it damaged, they are missed.
    let redo = dir.path().join("sled/redo");
    for at in [5, 100, 1_000] {
        let mut damaged = killed.clone();
        damaged.get_mut(&redo).expect("it is there")[at] ^= 1;
        let place = tempfile::tempdir().expect("a directory");
        write_files(dir.path(), place.path(), &damaged);
        let damage = verified(place.path(), None).expect("found");
        assert_eq!(LocalJournal::open(place.path()).err().expect("refused").kind(), Kind::Corrupt, "{damage}");
    }
}

#[test]
fn an_older_checkpoint_of_the_same_history_is_a_true_witness() {
    let (dir, ..) = sled_journal(&SMALL, 0);
    let old_head = fs::read(dir.path().join("head")).expect("readable");
    let journal = LocalJournal::open(dir.path()).expect("opens");
    write(&journal, &LARGE, 0, 1 << 20);
    let events = all(&journal, 1, u64::MAX);
    drop(journal);
    fs::write(dir.path().join("head"), old_head).expect("written");
    assert_eq!(verified(dir.path(), None), None);
    assert_eq!(all(&LocalJournal::open(dir.path()).expect("opens"), 1, u64::MAX), events);
}

/// Every file below `dir` with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).expect("readable");
            found.insert(path, bytes);
        }
    }
    found
}

fn write_files(from: &Path, to: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in files {
        let path = to.join(path.strip_prefix(from).expect("it lies below"));
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, bytes).expect("written");
    }
}

#[test]
fn verify_leaves_the_evidence_as_it_is() {
    let (dir, head, _) = sled_journal(&LARGE, 0);
    let before = files(dir.path());
    assert_eq!(verified(dir.path(), Some(head.hash)), None);
    assert!(files(dir.path()) == before, "a sound journal is changed");
    // Damaged so that sled itself would repair it.
    let mut damaged = before.clone();
    let db = damaged.get_mut(&dir.path().join("sled/db")).expect("sled's file");
    let middle = db.iter().rposition(|&byte| byte != 0).expect("data") / 2;
    db[middle] ^= 0xff;
    write_files(dir.path(), dir.path(), &damaged);
    assert!(verified(dir.path(), None).is_some());
    assert!(files(dir.path()) == damaged, "a damaged journal is changed");
}

#[test]
fn any_changed_byte_of_any_file_is_found_or_changes_no_event() {
    quieten_sled();
    let seed = count_from_env("IONVEIL_TEST_SEED", 1);
    let mut random = Random::new(seed);
    let groups = [&SMALL[..], &LARGE[..], &SMALL[..]].concat();
    let (dir, head, events) = sled_journal(&groups, 0);
    let closed = files(dir.path());
    // The same journal as a killed process leaves it: its latest events are in the redo log, and sled may not have them.
    let (killed_dir, killed_head, killed) = killed_journal(&groups);
    assert_eq!(head.position, killed_head.position);
    let (mut found, mut harmless) = (0, 0);
    for round in 0..count_from_env("IONVEIL_TEST_FLIPS", 200) {
        let was_killed = round % 3 == 0;
        let (dir, sound) = if was_killed { (&killed_dir, &killed) } else { (&dir, &closed) };
        let expected = if was_killed { killed_head.hash } else { head.hash };
        let paths: Vec<&PathBuf> = sound.iter().filter(|(_, bytes)| !bytes.is_empty()).map(|(path, _)| path).collect();
        // Most of the bytes lie in one file; the others are to be met as well.
        let path = match round % 4 {
            0 => paths[random.below(paths.len())].clone(),
            // Sled may have none of it yet.
            _ if was_killed => dir.path().join("sled/redo"),
            _ => dir.path().join("sled/db"),
        };
        let end = sound[&path].iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1);
        let (at, bit) = (random.below(end), random.below(8));
        let what = format!("IONVEIL_TEST_SEED={seed}, round {round}: {} byte {at} bit {bit}", path.display());
        let mut damaged = sound.clone();
        damaged.get_mut(&path).expect("it is there")[at] ^= 1 << bit;
        let place = tempfile::tempdir().expect("a directory");
        write_files(dir.path(), place.path(), &damaged);

        let verified = verify_copy(place.path(), Some(expected), &mut |_| {}).unwrap_or_else(|e| panic!("{what}: {e}"));
        let opened = LocalJournal::open(place.path());
        match (&verified.damage, &opened) {
            (None, Err(error)) => panic!("{what}: verify says all is well, the start says {error}"),
            (Some(_), Err(error)) => assert_eq!(error.kind(), Kind::Corrupt, "{what}: {error}"),
            (_, Ok(journal)) => assert!(all(journal, 1, u64::MAX) == events, "{what}: other events"),
        }
        match verified.damage {
            Some(_) => found += 1,
            None => harmless += 1,
        }
    }
    eprintln!("{found} changes found, {harmless} changed nothing that counts");
    assert!(found > 20, "hardly any change was found: {found}");
}

/// sled only says that its files are corrupted; an auditor wants to know which event somebody has touched.
#[test]
fn a_changed_byte_of_a_stored_event_is_named_at_its_position() {
    quieten_sled();
    let (dir, head, events) = sled_journal(&[&SMALL[..], &LARGE[..]].concat(), 0);
    let sound = files(dir.path());
    let db = dir.path().join("sled/db");
    let (mut found, mut named) = (0, 0);
    for event in &events {
        // The id and the stream behind it; the ids of tests are mostly zeros, which lie about elsewhere too.
        let stream = event.stream.as_bytes();
        let stored = [event.id.as_bytes(), &(stream.len() as u16).to_le_bytes()[..], stream].concat();
        let windows = sound[&db].windows(stored.len()).enumerate();
        let places: Vec<usize> = windows.filter(|(_, window)| *window == stored).map(|(at, _)| at).collect();
        // In a compressed block they are not there as they were.
        found += usize::from(!places.is_empty());
        for at in places {
            let mut damaged = sound.clone();
            damaged.get_mut(&db).expect("it is there")[at] ^= 0x40;
            let place = tempfile::tempdir().expect("a directory");
            write_files(dir.path(), place.path(), &damaged);
            // Of a copy that sled has no use for any more it may not even notice.
            if let Some(damage) = verified(place.path(), Some(head.hash)) {
                assert_eq!(damage.position.get(), event.position, "byte {at}: {damage}");
                named += 1;
            }
        }
    }
    assert!(named >= found && found > events.len() * 3 / 4, "{named} of {found} of {} events", events.len());
}

#[test]
fn a_lost_file_is_missed_and_not_made_anew() {
    for lost in [&["journal.toml"][..], &["head"], &["sled/db"], &["sled/redo"], &["sled"], &["journal.toml", "sled"]] {
        let (dir, head, _) = sled_journal(&SMALL, 0);
        let paths: Vec<PathBuf> = lost.iter().map(|name| dir.path().join(name)).collect();
        for path in &paths {
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
        }
        let lost = lost.join(" and ");
        let damage = verified(dir.path(), None).unwrap_or_else(|| panic!("{lost}: verify says all is well"));
        // What the redo log held would come behind the rest.
        let position = if lost == "sled/redo" { head.position.plus(1) } else { Position::FIRST };
        assert_eq!(damage.position, position, "{lost}: {damage}");
        let error = LocalJournal::open(dir.path()).err().unwrap_or_else(|| panic!("{lost}: opened all the same"));
        assert_eq!(error.kind(), Kind::Corrupt, "{lost}: {error}");
        assert!(paths.iter().all(|path| !path.exists()), "{lost}: made anew");
    }
}

#[test]
fn a_refused_journal_can_be_put_right_and_opened_by_the_same_process() {
    quieten_sled();
    let (dir, _, events) = sled_journal(&LARGE, 0);
    let sound = files(dir.path());
    let mut damaged = sound.clone();
    let db = damaged.get_mut(&dir.path().join("sled/db")).expect("sled's file");
    for byte in db.iter_mut().skip(64).step_by(1_000) {
        *byte ^= 0xff;
    }
    write_files(dir.path(), dir.path(), &damaged);
    for _ in 0..5 {
        let error = LocalJournal::open(dir.path()).err().expect("refused");
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    }
    fs::remove_dir_all(dir.path().join("sled")).expect("removed");
    write_files(dir.path(), dir.path(), &sound);
    let journal = LocalJournal::open(dir.path()).expect("a journal put back opens");
    assert_eq!(all(&journal, 1, u64::MAX), events);
}

#[test]
fn readers_meet_damage_as_an_error_not_as_fewer_events() {
    let (store, journal) = journal_of(&SMALL);
    let sound = store.blocks();
    for (key, block) in &sound {
        store.change(|blocks| {
            blocks.remove(key);
        });
        let read = journal.read_all(Position::FIRST, Position::MAX, &mut |_| std::ops::ControlFlow::Continue(()));
        assert!(matches!(read, Err(Error::Corrupt(damage)) if damage.position == position_of(block)), "{key:?}");
        let mut refused = 0;
        for org in 0..3 {
            let stream = format!("dispatch/org{org}").parse().expect("a stream");
            let read = journal
                .read_stream(&stream, Sequence::FIRST, Sequence::MAX, &mut |_| std::ops::ControlFlow::Continue(()));
            refused += usize::from(read.is_err_and(|error| error.kind() == Kind::Corrupt));
        }
        assert_eq!(refused, 1, "{key:?}: its stream says so, the others can be read");
        store.replace(sound.clone());
    }
}
