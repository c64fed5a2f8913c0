//! What sled has not stored yet: the latest commits, in a small file that is written over and over.
//!
//! A commit of few bytes is written here and synced, which takes one write of space that was written before: no thread of
//! sled's is woken, and the file's size stays as it is, so that the file system has nothing else to make durable. sled gets
//! the blocks too, and is made durable once for many commits (a *checkpoint*).
//!
//! The file has two halves. While sled is being made durable with what is in one, commits go to the other; when that is
//! full too and the checkpoint is done, the first is written anew. A start gives sled whatever entries are in either,
//! whether or not it has them already: no key ever gets a second block.
//!
//! Each entry's checksum goes over that of the entry before, so that what is left of an earlier round never follows an
//! entry of this one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::halves::Halves;
use super::synced::SyncedFile;
use crate::format::{BLOCK_LEN_MAX, BlockKey};

const MAGIC: [u8; 4] = *b"IVJR";
const HEADER_LEN: usize = 24;
/// Length of a half.
const HALF_LEN: u64 = 1 << 20;
/// The file grows by this much, with zeros, until it is as large as it gets. More make the sync that stores them slow.
const GROWTH: u64 = 256 << 10;
/// The largest commit that is written here: a few of them have room in a half.
pub(crate) const COMMIT_LEN_MAX: usize = 512 << 10;

/// A block with its key.
pub(crate) type Keyed = (BlockKey, Vec<u8>);

/// The file, and where its next entry goes.
pub(crate) struct RedoLog {
    pub(super) file: SyncedFile,
    /// How much of it was written once, at least with zeros.
    len: u64,
    /// Which half is written, and when that may change.
    pub(crate) halves: Halves,
    /// Where in it the next entry goes.
    next: u64,
    /// The checksum of the entry before, 0 before the first.
    checksum: u32,
    /// Reused from entry to entry.
    entry: Vec<u8>,
}

impl RedoLog {
    /// Opens the file, or creates it, and reads what it holds. Whatever a killed process has written is synced first, since
    /// it is about to be shown.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<Keyed>)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.sync_all()?;
        let blocks = read(&file)?;
        let len = file.metadata()?.len();
        let halves = Halves::found(!blocks.is_empty());
        Ok((RedoLog { file: SyncedFile::new(file), len, halves, next: 0, checksum: 0, entry: Vec::new() }, blocks))
    }

    /// Whether a commit has room in this half. The largest one has it in an empty half.
    pub(crate) fn has_room_for(&self, blocks: &[Keyed]) -> bool {
        let len = HEADER_LEN + blocks.iter().map(|(_, bytes)| 4 + bytes.len()).sum::<usize>();
        self.next + len as u64 <= HALF_LEN
    }

    /// Writes one commit and returns when it is on stable storage; false when there is no room for it in this half.
    pub(crate) fn append(&mut self, blocks: &[Keyed]) -> io::Result<bool> {
        if !self.has_room_for(blocks) {
            return Ok(false);
        }
        let first = blocks.first().map_or(BlockKey::FIRST, |(key, _)| *key);
        self.write(first, blocks)?;
        self.file.sync_data()?;
        self.halves.entered();
        Ok(true)
    }

    /// Begins the other half anew. The old entries stay until they are written over.
    ///
    /// # Errors
    /// When one of them is needed still.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        if !self.halves.turn() {
            return Err(io::Error::other("the redo log would be written over before sled is durable with it"));
        }
        (self.next, self.checksum) = (0, 0);
        Ok(())
    }

    /// Forgets the entries, durably: a closed journal has none.
    ///
    /// # Errors
    /// When one of them is needed still, or the file cannot be written.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        if !self.halves.are_free() {
            return Err(io::Error::other("the redo log would be cleared before sled is durable with it"));
        }
        for half in [0, HALF_LEN] {
            if half < self.len {
                self.file.write_all_at(&[0; HEADER_LEN], half)?;
            }
        }
        (self.next, self.checksum) = (0, 0);
        self.file.sync_data()
    }

    fn write(&mut self, first: BlockKey, blocks: &[Keyed]) -> io::Result<()> {
        let Self { file, len, halves, next, checksum, entry } = self;
        let half = halves.current() as u64 * HALF_LEN;
        entry.clear();
        entry.extend_from_slice(&MAGIC);
        entry.extend_from_slice(&[0; 4]);
        entry.extend_from_slice(&first.get().to_le_bytes());
        entry.extend_from_slice(&(blocks.len() as u32).to_le_bytes());
        entry.extend_from_slice(&[0; 4]);
        for (_, bytes) in blocks {
            entry.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            entry.extend_from_slice(bytes);
        }
        let rest = (entry.len() - HEADER_LEN) as u32;
        entry[20..24].copy_from_slice(&rest.to_le_bytes());
        let sum = checksum_of(*checksum, &entry[8..]);
        entry[4..8].copy_from_slice(&sum.to_le_bytes());
        let at = half + *next;
        let end = at + entry.len() as u64;
        if end > *len {
            let grown = end.next_multiple_of(GROWTH);
            file.write_all_at(&vec![0; (grown - *len) as usize], *len)?;
            // First the space and only then what goes there. Of new space a file system notes that it is used after the data is
            // written; when it goes away in between, the sync may call it done, but not the next one.
            file.sync_data()?;
            *len = grown;
        }
        file.write_all_at(entry, at)?;
        (*next, *checksum) = (end - half, sum);
        Ok(())
    }
}

fn checksum_of(before: u32, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&before.to_le_bytes());
    hasher.update(rest);
    hasher.finalize()
}

/// The blocks of the entries that follow one another from the beginning of each half. What is behind them is a write that
/// was cut short, or of an earlier round.
fn read(file: &File) -> io::Result<Vec<Keyed>> {
    let len = file.metadata()?.len().min(2 * HALF_LEN);
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)?;
    let mut blocks = Vec::new();
    for mut rest in bytes.chunks(HALF_LEN as usize) {
        let mut checksum = 0;
        while let Some((sum, entry, after)) = split_entry(rest) {
            if sum != checksum_of(checksum, entry) || !take_blocks(entry, &mut blocks) {
                break;
            }
            (rest, checksum) = (after, sum);
        }
    }
    // The later half may be the first one.
    blocks.sort_by_key(|(key, _)| *key);
    Ok(blocks)
}

/// An entry's checksum, what it goes over, and what comes behind.
fn split_entry(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (header, _) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let len = HEADER_LEN.checked_add(number(20) as usize)?;
    if header[..4] != MAGIC || number(16) == 0 {
        return None;
    }
    let (entry, after) = bytes.split_at_checked(len)?;
    Some((number(4), &entry[8..], after))
}

/// Adds an entry's blocks, or nothing and false when they are none.
fn take_blocks(entry: &[u8], blocks: &mut Vec<Keyed>) -> bool {
    let Some((first, rest)) = entry.split_first_chunk::<8>() else { return false };
    let Some((count, mut rest)) = rest.split_first_chunk::<8>() else { return false };
    let first = BlockKey::new(u64::from_le_bytes(*first));
    let count = u32::from_le_bytes([count[0], count[1], count[2], count[3]]);
    let before = blocks.len();
    for number in 0..u64::from(count) {
        let block = rest.split_first_chunk::<4>().and_then(|(len, behind)| {
            let len = u32::from_le_bytes(*len) as usize;
            if len > BLOCK_LEN_MAX { None } else { behind.split_at_checked(len) }
        });
        let Some((block, behind)) = block else {
            blocks.truncate(before);
            return false;
        };
        blocks.push((first.plus(number), block.to_vec()));
        rest = behind;
    }
    rest.is_empty()
}

/// The blocks in the file of a journal that nobody has open, which is not changed.
pub(crate) fn blocks_in(path: &Path) -> io::Result<Vec<Keyed>> {
    match File::open(path) {
        Ok(file) => read(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::power::Power;

    fn block(number: u64, len: usize) -> Keyed {
        (BlockKey::new(number), (0..len).map(|at| (at as u64 * 31 + number) as u8).collect())
    }

    /// Goes on in the other half, as when sled is durable with everything.
    fn turn(log: &mut RedoLog) {
        make_durable(log);
        log.turn().expect("the other half is free");
    }

    fn make_durable(log: &mut RedoLog) {
        log.halves.gave(log.halves.latest());
        log.halves.checkpointed(log.halves.checkpoint());
    }

    fn reopened(path: &Path) -> Vec<Keyed> {
        RedoLog::open(path).expect("opens").1
    }

    #[test]
    fn what_was_appended_is_read_back_until_it_begins_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("redo");
        let (mut log, found) = RedoLog::open(&path).expect("created");
        assert_eq!(found, []);
        let groups =
            [vec![block(1, 100)], vec![block(2, 0), block(3, BLOCK_LEN_MAX)], vec![block(4, 300_000 % BLOCK_LEN_MAX)]];
        for group in &groups {
            assert!(log.append(group).expect("written"));
        }
        assert_eq!(reopened(&path), groups.concat());
        turn(&mut log);
        assert!(log.append(&[block(5, 100)]).expect("written"));
        assert_eq!(reopened(&path), [groups.concat(), vec![block(5, 100)]].concat(), "both halves are there");
        turn(&mut log);
        assert!(log.append(&[block(6, 100)]).expect("written"));
        assert_eq!(reopened(&path), [block(5, 100), block(6, 100)], "entries of the round before do not follow");
        log.clear().expect_err("the last entry may be all there is");
        make_durable(&mut log);
        log.clear().expect("written");
        assert_eq!(reopened(&path), []);
    }

    #[test]
    fn an_entry_of_an_earlier_round_never_follows_one_of_this_round() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("redo");
        let (mut log, _) = RedoLog::open(&path).expect("created");
        assert!(log.append(&[block(1, 100)]).expect("written") && log.append(&[block(2, 100)]).expect("written"));
        turn(&mut log);
        turn(&mut log);
        // Of the same size and number as the one it takes the place of.
        let mut other = block(1, 100);
        other.1[50] ^= 1;
        assert!(log.append(std::slice::from_ref(&other)).expect("written"));
        assert_eq!(reopened(&path), [other]);
    }

    #[test]
    fn a_half_is_full_at_its_limit_and_stays_within_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("redo");
        let (mut log, _) = RedoLog::open(&path).expect("created");
        let mut written = 0;
        for half in 1..=2 {
            while log.append(&[block(written + 1, 15_000)]).expect("written") {
                written += 1;
            }
            assert_eq!(written, half * (HALF_LEN / (15_000 + 4 + HEADER_LEN as u64)));
            turn(&mut log);
        }
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 2 * HALF_LEN);
        assert_eq!(reopened(&path).len() as u64, written);
    }

    /// ext4 once lost an acknowledged group like this: see `docs/durability.md`.
    #[test]
    fn a_power_cut_amid_any_sync_takes_nothing_acknowledged() {
        let commit = |number: u64| -> Vec<Keyed> {
            (0..12).map(|place| block(12 * number + place, BLOCK_LEN_MAX - place as usize)).collect()
        };
        for syncs_before in 0.. {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("redo");
            let (mut log, _) = RedoLog::open(&path).expect("created");
            let power = Power::cut_after(syncs_before);
            log.file.connect(&power);
            // Through both halves and into the first one again.
            let mut halves = [Vec::new(), Vec::new()];
            for number in 0..12 {
                match log.append(&commit(number)) {
                    Ok(true) => {}
                    Ok(false) => {
                        turn(&mut log);
                        halves[log.halves.current()].clear();
                        if log.append(&commit(number)).is_err() {
                            break;
                        }
                    }
                    Err(_) => break,
                }
                halves[log.halves.current()].extend(commit(number));
            }
            std::fs::write(&path, &power.durable()[0]).expect("written");
            let found = reopened(&path);
            for (key, bytes) in halves.concat() {
                let is_there = found.binary_search_by_key(&key, |(key, _)| *key).is_ok_and(|at| found[at].1 == bytes);
                assert!(is_there, "{key:?} was acknowledged, and cut off in sync {syncs_before}");
            }
            if !power.is_cut() {
                assert_eq!(syncs_before, 8 + 12, "one for each 256 KiB of space, one for each commit");
                break;
            }
        }
    }

    #[test]
    fn whatever_bytes_it_holds_it_gives_the_entries_before_the_first_wrong_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("redo");
        let (mut log, _) = RedoLog::open(&path).expect("created");
        let groups = [vec![block(1, 30)], vec![block(2, 5), block(3, 9)], vec![block(4, 70)]];
        for group in &groups {
            assert!(log.append(group).expect("written"));
        }
        let sound = std::fs::read(&path).expect("readable");
        let mut end = 0;
        let mut ends = groups.iter().map(|group| {
            end += HEADER_LEN + group.iter().map(|(_, bytes)| 4 + bytes.len()).sum::<usize>();
            end
        });
        let ends: Vec<usize> = ends.by_ref().collect();
        for at in 0..ends[2] {
            for change in [1, 0x80] {
                let mut damaged = sound.clone();
                damaged[at] ^= change;
                std::fs::write(&path, &damaged).expect("written");
                let whole = ends.iter().take_while(|&&end| end <= at).count();
                assert_eq!(reopened(&path), groups[..whole].concat(), "byte {at}");
            }
            std::fs::write(&path, &sound[..at]).expect("written");
            let whole = ends.iter().take_while(|&&end| end <= at).count();
            assert_eq!(reopened(&path), groups[..whole].concat(), "cut to {at}");
        }
    }
}
