//! The store through its halves, places and threads.

use std::sync::mpsc;

use super::*;
use crate::store::extents::tests::{RANDOM, history};
use crate::store::power::Power;
use crate::store::tree::Break;
use crate::testing::{Random, append_to, event};
use crate::{Journal, LocalJournal, Outcome};

#[test]
fn a_new_store_goes_through_both_halves_of_the_redo_log_without_any_other_checkpoint() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SledStore::open(dir.path(), Guards::ON).expect("opens");
    for number in 1..=200 {
        store.commit(vec![(BlockKey::new(number), vec![7; 16_000])]).expect("written");
    }
}

/// A checkpoint amid a commit once went on in the other half of the redo log; see `halves.rs`. The store refuses a
/// commit for which an entry would have to be written over that may be all there is of another one.
#[test]
fn checkpoints_amid_commits_leave_the_redo_log_where_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SledStore::open(dir.path(), Guards::ON).expect("opens");
    let mut next = BlockKey::FIRST;
    let mut commit = |blocks: u64| {
        let keyed = (0..blocks).map(|number| (next.plus(number), vec![7; 16_000]));
        store.commit(keyed.collect()).expect("no entry would be written over too early");
        next = next.plus(blocks);
    };
    // Room for 30 blocks is left before sled has to be made durable, so that is amid the second commit.
    let part = SideChange::Put(vec![1], vec![1; UNSYNCED_MAX - 30 * 16_000]);
    store.change_side(vec![part]).expect("written");
    commit(20);
    let before = store.writing().unsynced;
    commit(20);
    assert!(store.writing().unsynced < before, "a checkpoint was made amid it");
    (0..5).for_each(|_| commit(25));
}

/// All blocks, one by one and in order.
fn read_both_ways(store: &SledStore, blocks: &[Keyed]) -> (Vec<Keyed>, Vec<Keyed>) {
    let mut one_by_one = Vec::new();
    for (key, _) in blocks {
        store.read(*key, &mut |bytes| one_by_one.push((*key, bytes.to_vec()))).expect("readable");
    }
    let mut in_order = Vec::new();
    let scanned = store.scan(BlockKey::new(0), &mut |key, bytes| {
        in_order.push((key, bytes.to_vec()));
        ControlFlow::Continue(())
    });
    scanned.expect("readable");
    (one_by_one, in_order)
}

#[test]
fn a_block_that_is_not_where_it_lay_comes_from_the_tree() {
    let dir = tempfile::tempdir().expect("a directory");
    let blocks = history(&[&[9_000; 3], &[5_000; 30]], 0);
    let store = SledStore::open(dir.path(), Guards::ON).expect("opens");
    store.commit(blocks.clone()).expect("written");
    assert_eq!(read_both_ways(&store, &blocks), (blocks.clone(), blocks.clone()), "none is in the file yet");
    drop(store);
    let store = SledStore::open(dir.path(), Guards::ON).expect("opens");
    assert_eq!(read_both_ways(&store, &blocks), (blocks.clone(), blocks.clone()));
    assert!(blocks.iter().all(|(key, _)| store.extents.read(*key).is_some()), "all of them came from the file");
    for misplaced in [1, 4, 5, blocks.len() as u64] {
        store.extents.misplace(BlockKey::new(misplaced));
        assert_eq!(store.extents.read(BlockKey::new(misplaced)), None);
    }
    assert_eq!(read_both_ways(&store, &blocks), (blocks.clone(), blocks.clone()));
}

#[test]
fn the_file_is_looked_through_again_when_many_blocks_were_added() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SledStore::open(dir.path(), Guards::ON).expect("opens");
    let blocks = history(&[&[RANDOM + 12_000; 800]], 0);
    for commit in blocks.chunks(20) {
        store.commit(commit.to_vec()).expect("written");
    }
    assert_eq!(read_both_ways(&store, &blocks), (blocks.clone(), blocks.clone()));
    let from_file = blocks.iter().filter(|(key, _)| store.extents.knows(*key)).count();
    assert!(from_file > 500, "{from_file} of {}", blocks.len());
}

/// sled's iterators see a leaf as it was when they came to it, and the next one as it is.
#[test]
fn a_scan_gives_no_block_without_the_ones_before_while_they_come_into_the_tree() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SledStore::open(dir.path(), Guards::ON).expect("opens");
    let mut committed = 0;
    let mut commit = || {
        committed += 1;
        store.commit(vec![(BlockKey::new(committed), vec![7; 100])]).expect("written");
    };
    commit();
    for scan in [SledStore::scan, SledStore::scan_strictly] {
        let mut next = BlockKey::FIRST;
        let scanned = scan(&store, next, &mut |key, _| {
            assert_eq!(key, next);
            next = next.plus(1);
            (0..40).for_each(|_| commit());
            if key.get() < 20 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        scanned.expect("readable");
        assert_eq!(next.get(), 21);
    }
}

/// The kernel may report a write that failed once and then call the same pages clean.
#[test]
fn after_a_checkpoint_that_failed_no_commit_is_taken_whoever_met_the_failure() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SledStore::open(dir.path(), Guards::ON).expect("opens");
    store.commit(vec![(BlockKey::FIRST, vec![7; 100])]).expect("written");
    let failing = || Err(Error::io("syncing the journal", std::io::Error::other("the disk said so")));
    let checkpoint = Checkpoint {
        covers: store.writing().redo.halves.checkpoint(),
        last: BlockKey::FIRST,
        thread: std::thread::spawn(failing),
    };
    store.writing().checkpoint = Some(checkpoint);
    let large = vec![SideChange::Put(vec![1], vec![1; UNSYNCED_MAX + 1])];
    store.change_side(large).expect_err("it meets the failure");
    store.commit(vec![(BlockKey::new(2), vec![7; 100])]).expect_err("what is in sled's file nobody knows");
    drop(store);
    let store = SledStore::open(dir.path(), Guards::ON).expect("opens");
    assert!(store.read(BlockKey::FIRST, &mut |_| {}).expect("readable"), "the redo log had it");
}

/// A copy of the files is what a kill leaves.
#[test]
fn the_last_block_is_the_last_one_though_the_redo_log_has_only_older_ones() {
    let (dir, copy) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let store = SledStore::open(dir.path(), Guards::ON).expect("opens");
    store.commit(vec![(BlockKey::FIRST, vec![7; 100])]).expect("written");
    let large = (2..=COMMIT_LEN_MAX as u64 / 16_000 + 3).map(|number| (BlockKey::new(number), vec![7; 16_000]));
    let large: Vec<Keyed> = large.collect();
    store.commit(large.clone()).expect("written past the redo log");
    for file in ["conf", "db", REDO_FILE] {
        fs::copy(dir.path().join(file), copy.path().join(file)).expect("copied");
    }
    let killed = SledStore::open(copy.path(), Guards::ON).expect("opens");
    assert_eq!(killed.in_file.load(Ordering::Acquire), large.len() as u64 + 1);
}

/// What is left of the files when the power is cut amid each of the store's syncs, one after the other. Commits of a few
/// blocks and of 20 go to the redo log, larger ones to sled's file alone, which grows for them.
#[test]
fn a_power_cut_amid_any_sync_takes_nothing_acknowledged() {
    let commits: [u64; 9] = [1, 3, 40, 20, 2, 60, 35, 20, 1];
    for syncs_before in 0.. {
        let (dir, copy) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let mut store = SledStore::open(dir.path(), Guards::ON).expect("opens");
        let power = Power::cut_after(syncs_before);
        store.log.connect(&power);
        store.writing().redo.file.connect(&power);
        let mut acknowledged: Vec<Keyed> = Vec::new();
        for blocks in commits {
            let next = acknowledged.len() as u64 + 1;
            let commit = (next..next + blocks).map(|number| (BlockKey::new(number), vec![number as u8; 16_000]));
            let commit: Vec<Keyed> = commit.collect();
            if store.commit(commit.clone()).is_err() {
                break;
            }
            acknowledged.extend(commit);
        }
        let is_cut = power.is_cut();
        let [db, redo] = &power.durable()[..] else { panic!("two files were supplied") };
        fs::copy(dir.path().join("conf"), copy.path().join("conf")).expect("copied");
        fs::write(copy.path().join("db"), db).expect("written");
        fs::write(copy.path().join(REDO_FILE), redo).expect("written");
        let store = SledStore::open(copy.path(), Guards::ON).expect("opens");
        let expected = (acknowledged.clone(), acknowledged.clone());
        let (one_by_one, mut in_order) = read_both_ways(&store, &acknowledged);
        in_order.truncate(acknowledged.len());
        assert!((one_by_one, in_order) == expected, "some of {} is lost with sync {syncs_before}", acknowledged.len());
        if !is_cut {
            assert_eq!(acknowledged.len() as u64, commits.iter().sum::<u64>());
            assert!(syncs_before > commits.len(), "{syncs_before}");
            break;
        }
    }
}

/// Far longer than anything here takes: a test that waits so long has found a deadlock.
const NEVER: Duration = Duration::from_secs(60);

/// Runs `work` and fails when it hangs.
#[track_caller]
fn in_time(work: impl FnOnce() + Send + 'static) {
    let (sender, done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        work();
        let _ = sender.send(());
    });
    assert_ne!(done.recv_timeout(NEVER), Err(mpsc::RecvTimeoutError::Timeout), "it hangs");
    thread.join().expect("the work does what it should");
}

/// A journal of two acknowledged appends, the second of which is large. The thread that puts its blocks into sled's tree
/// fails, `how`, amid them.
fn journal_with_a_broken_feeder(dir: &Path, how: Break) -> LocalJournal {
    let store = SledStore::open(dir, Guards::ON).expect("opens");
    store.writing().tree().expect("it is there").breaks_at = Some((BlockKey::new(4), how));
    let journal = LocalJournal::on(store).expect("opens");
    for (expected, append) in [(0, vec![event(1, 100)]), (1, vec![event(2, 100_000)])] {
        let outcome = journal.append(append_to("dispatch/a", expected, append));
        assert!(matches!(outcome, Outcome::Committed(_)), "the redo log has it: {outcome:?}");
    }
    journal
}

#[track_caller]
fn assert_holds(journal: &LocalJournal, events: u64) {
    let mut ids = Vec::new();
    let read = journal.read_all(Position::FIRST, Position::MAX, &mut |record| {
        ids.push(record.id.as_u128());
        ControlFlow::Continue(())
    });
    read.expect("readable");
    assert_eq!(ids, (1..=u128::from(events)).collect::<Vec<_>>());
    assert!(journal.verify(None, &mut |_| {}).expect("readable").is_ok());
}

#[test]
fn a_failure_of_the_feeder_fences_the_journal_and_takes_nothing_acknowledged() {
    for how in [Break::Error, Break::Panic] {
        in_time(move || {
            let dir = tempfile::tempdir().expect("a directory");
            let journal = journal_with_a_broken_feeder(dir.path(), how);
            let third = append_to("dispatch/a", 2, vec![event(3, 100)]);
            let outcome = journal.append(third.clone());
            assert!(matches!(outcome, Outcome::Unknown { .. }), "{how:?}: {outcome:?}");
            let outcome = journal.append(append_to("dispatch/b", 0, vec![event(4, 100)]));
            assert!(matches!(outcome, Outcome::Rejected(Error::Poisoned { .. })), "{how:?}: {outcome:?}");
            assert_holds(&journal, 2);
            journal.close();
            let journal = LocalJournal::on(SledStore::open(dir.path(), Guards::ON).expect("opens")).expect("sound");
            let outcome = journal.append(third);
            assert!(matches!(outcome, Outcome::Committed(_) | Outcome::AlreadyCommitted(_)), "{how:?}: {outcome:?}");
            assert_holds(&journal, 3);
        });
    }
}

#[test]
fn a_failure_of_the_feeder_that_only_the_end_meets_takes_nothing_acknowledged() {
    for how in [Break::Error, Break::Panic] {
        in_time(move || {
            let dir = tempfile::tempdir().expect("a directory");
            drop(journal_with_a_broken_feeder(dir.path(), how));
            let journal = LocalJournal::on(SledStore::open(dir.path(), Guards::ON).expect("opens")).expect("sound");
            assert_holds(&journal, 2);
        });
    }
}

/// Sled is given a large commit while its entry is being written, which may fail.
#[test]
fn a_large_commit_that_sled_has_and_the_redo_log_has_not_is_there_as_a_whole_or_not_at_all() {
    in_time(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SledStore::open(dir.path(), Guards::ON).expect("opens");
        // The first commit syncs the space and its entry, the second one its entry, and then no write succeeds.
        store.writing().redo.file.connect(&Power::cut_after(2));
        let journal = LocalJournal::on(store).expect("opens");
        let append = |number| append_to("dispatch/a", number - 1, vec![event(number, 100_000)]);
        for number in [1, 2] {
            assert!(matches!(journal.append(append(number)), Outcome::Committed(_)));
        }
        let outcome = journal.append(append(3));
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
        assert_holds(&journal, 2);
        drop(journal);
        let journal = LocalJournal::on(SledStore::open(dir.path(), Guards::ON).expect("opens")).expect("sound");
        let there = journal.head().position.get();
        assert!((2..=3).contains(&there), "{there}");
        assert_holds(&journal, there);
        let outcome = journal.append(append(3));
        assert!(matches!(outcome, Outcome::Committed(_) | Outcome::AlreadyCommitted(_)), "{outcome:?}");
        assert_holds(&journal, 3);
    });
}

/// A power cut while sled writes its file: of the pages that were not durable some are there and others are not. The last
/// commit is large, sled has some of its blocks or all, and the redo log has no entry of it.
#[test]
fn whatever_a_power_cut_leaves_of_a_large_commit_that_sled_alone_has_a_start_heals() {
    const SEEDS: u64 = 16;
    let (mut whole, mut removed) = (0, 0);
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let last = vec![RANDOM + 15_000; 6 + random.below(26)];
        let before = (0..2 + random.below(24)).map(|_| {
            let events = if random.chance(3) { 8 + random.below(24) } else { 1 + random.below(4) };
            vec![RANDOM + 15_000; events]
        });
        let mut groups: Vec<Vec<usize>> = before.collect();
        groups.push(last);
        // One event a block.
        let blocks = history(&groups.iter().map(Vec::as_slice).collect::<Vec<_>>(), seed);
        let unknown = groups.pop().expect("the last one").len();
        let acknowledged = blocks.len() - unknown;
        let copy = tempfile::tempdir().expect("a directory");
        leave_torn(copy.path(), &blocks, &groups, &mut random);
        let open = || LocalJournal::on(SledStore::open(copy.path(), Guards::ON).expect("opens"));
        let journal = open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let there = journal.head().position.get() as usize;
        assert!(there == acknowledged || there == blocks.len(), "seed {seed}: {there} of {acknowledged} and {unknown}");
        *(if there == acknowledged { &mut removed } else { &mut whole }) += 1;
        assert!(journal.verify(None, &mut |_| {}).expect("readable").is_ok(), "seed {seed}");
        // Others take the place of what was removed, and stay.
        let outcome = journal.append(append_to("dispatch/b", 0, vec![event(seed, 100_000)]));
        assert!(matches!(outcome, Outcome::Committed(_)), "seed {seed}: {outcome:?}");
        drop(journal);
        let journal = open().unwrap_or_else(|error| panic!("seed {seed}, once more: {error}"));
        assert_eq!(journal.head().position.get() as usize, there + 1, "seed {seed}");
        assert!(journal.verify(None, &mut |_| {}).expect("readable").is_ok(), "seed {seed}");
    }
    assert!(whole > 0 && removed > 0, "both happen: {whole}, {removed}");
}

/// Commits the groups, gives sled some of the blocks behind them, and copies to `copy` what a power cut leaves of the files.
fn leave_torn(copy: &Path, blocks: &[Keyed], groups: &[Vec<usize>], random: &mut Random) {
    const PAGE_LEN: usize = 4 << 10;
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = SledStore::open(dir.path(), Guards::ON).expect("opens");
    let power = Power::cut_after(usize::MAX);
    store.log.connect(&power);
    let mut rest = blocks;
    for group in groups {
        let (commit, behind) = rest.split_at(group.len());
        store.commit(commit.to_vec()).expect("written");
        rest = behind;
    }
    let given = if random.chance(2) { rest.len() } else { 1 + random.below(rest.len()) };
    let len = rest.iter().map(|(_, bytes)| bytes.len()).sum();
    let given = store.write(|writing| {
        store.make_room(len, writing)?;
        let tree = writing.tree()?;
        rest[..given].iter().try_for_each(|(key, bytes)| tree.insert(*key, bytes))
    });
    given.expect("given");
    let durable = power.durable().remove(0);
    store.db().flush().expect("written");
    let written = fs::read(dir.path().join("db")).expect("readable");
    let mut torn = durable;
    torn.resize(written.len(), 0);
    let lost_one_in = [1, 2, 10, usize::MAX][random.below(4)];
    for (page, page_written) in torn.chunks_mut(PAGE_LEN).zip(written.chunks(PAGE_LEN)) {
        if !random.chance(lost_one_in) {
            page.copy_from_slice(page_written);
        }
    }
    fs::write(copy.join("db"), torn).expect("written");
    for file in ["conf", REDO_FILE] {
        fs::copy(dir.path().join(file), copy.join(file)).expect("copied");
    }
}
