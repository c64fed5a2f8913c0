//! Checking the whole journal, in one pass, without changing it.

use std::fs::Permissions;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::blocks::Walk;
use crate::chain::Hash;
use crate::directory::{Directory, Head, HeadCheckpoint};
use crate::error::{Damage, Error};
use crate::position::{Position, Sequence};
use crate::record::Record;
use crate::salvage::Salvaged;
use crate::store::{Guards, SledStore, Store};

/// What a verification found. `damage` is `None` when everything is as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// Events checked: all of them, or those before the damage.
    pub events: u64,
    /// Blocks checked.
    pub blocks: u64,
    /// The last position that is sound, and the chain there as computed from the events.
    pub head: Head,
    /// The first thing that is wrong.
    pub damage: Option<Damage>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.damage.is_none()
    }
}

/// Called now and then with the number of events checked so far.
pub type VerifyProgress<'a> = dyn FnMut(u64) + 'a;

/// How often progress is told, in events.
const PROGRESS_EVERY: u64 = 8_192;

/// Checks blocks, records, positions, sequences, epochs and the chain, up to `end` (a running journal has not
/// acknowledged what lies beyond), then the end itself against `checkpoint`, and the whole against `expected`.
pub(crate) fn verify_store(
    store: &dyn Store,
    end: Option<Position>,
    checkpoint: Option<Head>,
    expected: Option<Hash>,
    progress: &mut VerifyProgress<'_>,
) -> Result<VerifyReport, Error> {
    let mut head = Head::default();
    // The ends of the last block and of the last group that are sound.
    let (mut block_end, mut group_end) = (head, head);
    let mut streams = LastOfStreams::new();
    let mut expected_at = (expected == Some(Hash::GENESIS)).then_some(Position::NONE);
    let mut walk = Walk::whole().strict().until(end.unwrap_or(Position::MAX));
    let walked = walk.run(store, &mut |header, bytes, record| {
        streams.check(record)?;
        let hash = head.hash.then(bytes);
        let ends_block = record.position.plus(1) == header.next_position();
        if ends_block && hash != header.hash_after {
            let first = header.position;
            let problem = format!("the events {first} to {} do not have the hash of their block", record.position);
            head = block_end;
            return Err(Damage { position: first, problem });
        }
        if let Some(checkpoint) = checkpoint
            && checkpoint.position == record.position
            && checkpoint.hash != hash
        {
            let problem = "the hash is not the one that was acknowledged here: history was rewritten".into();
            return Err(Damage { position: record.position, problem });
        }
        head = Head { position: record.position, hash };
        if expected == Some(hash) {
            expected_at = Some(head.position);
        }
        if ends_block {
            block_end = head;
            if header.ends_group() {
                group_end = head;
            }
        }
        if head.position.get() % PROGRESS_EVERY == 0 {
            progress(head.position.get());
        }
        Ok(ControlFlow::Continue(()))
    });
    progress(head.position.get());
    let damage = match walked {
        Err(Error::Corrupt(damage)) => Some(damage),
        Err(other) => return Err(other),
        Ok(()) => {
            if end.is_none() && walk.unfinished_group().is_some() {
                tracing::info!(position = %group_end.position.plus(1), "an unfinished write lies at the end; the next start drops it");
                head = group_end;
            }
            let missing_hash = expected.filter(|_| expected_at.is_none_or(|position| position > head.position));
            end_damage(head, checkpoint, missing_hash)
        }
    };
    Ok(VerifyReport { events: head.position.get(), blocks: walk.blocks, head, damage })
}

/// The last event of each stream, of as many streams as there are places: verification takes the same memory for any
/// journal, however many streams it has.
///
/// Two streams may fall on one place. The later one takes it, and the earlier one's next event is then taken as it stands:
/// that one step is not checked. With no more streams than places few do, with many more most. Nothing that was changed
/// after it was written slips through there: whatever is missing, added, moved or altered breaks the chain, whose hashes
/// hold every record with its sequence and epoch. What is left for this check is a writer that put a wrong number into a
/// sound chain, and that also meets the index, which every start builds of all streams and without such gaps.
struct LastOfStreams {
    places: Vec<Last>,
    /// Keyed anew each time, so that nobody can choose names that fall on one place.
    hasher: RandomState,
}

#[derive(Clone, Default)]
struct Last {
    stream: String,
    sequence: Sequence,
    epoch: u32,
}

impl LastOfStreams {
    /// With the longest addresses 10 MiB, commonly one.
    const PLACES: usize = 16_384;

    fn new() -> Self {
        LastOfStreams { places: vec![Last::default(); Self::PLACES], hasher: RandomState::new() }
    }

    fn check(&mut self, record: &Record<'_>) -> Result<(), Damage> {
        let Record { position, stream, sequence, epoch, .. } = *record;
        let place = self.hasher.hash_one(stream) as usize % Self::PLACES;
        let last = &mut self.places[place];
        let is_known = last.stream == stream;
        // An empty place says that no event of the stream was met, so this is its first.
        if is_known || last.stream.is_empty() {
            if sequence != last.sequence.plus(1) {
                let problem = format!("stream {stream} goes from sequence {} to {sequence}", last.sequence);
                return Err(Damage { position, problem });
            }
            if epoch < last.epoch {
                let problem = format!("stream {stream} goes back from epoch {} to {epoch}", last.epoch);
                return Err(Damage { position, problem });
            }
        }
        if !is_known {
            // Into the memory of the one before.
            last.stream.clear();
            last.stream.push_str(stream);
        }
        (last.sequence, last.epoch) = (sequence, epoch);
        Ok(())
    }
}

/// What is wrong with the end of a journal whose events are all sound.
fn end_damage(head: Head, checkpoint: Option<Head>, missing_hash: Option<Hash>) -> Option<Damage> {
    if let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.position > head.position) {
        let problem = format!("the journal ends here, but the head checkpoint is at position {}", checkpoint.position);
        return Some(Damage { position: head.position.plus(1), problem });
    }
    missing_hash.map(|hash| {
        let problem = format!(
            "no position up to {} has the expected hash {hash}: the history before it was rewritten, or its end is cut",
            head.position
        );
        Damage { position: Position::FIRST.max(head.position), problem }
    })
}

/// Verifies the journal in `dir` without opening it for writing: sled rewrites its files as it opens them, so a copy is
/// made in the directory for temporary files (`TMPDIR`), and that is read. The evidence is left as it is.
///
/// # Errors
/// When there is no journal, another process holds it (ask that one), or it cannot be copied. Damage, also one that sled
/// refuses to open, is not an error but the answer.
pub fn verify_copy(
    dir: &Path,
    expected: Option<Hash>,
    progress: &mut VerifyProgress<'_>,
) -> Result<VerifyReport, Error> {
    let directory = Directory::new(dir);
    if !directory.holds_journal()? {
        return Err(Error::NoJournal { path: dir.to_owned() });
    }
    let _lock = directory.lock(false)?;
    let copy = tempfile::Builder::new()
        .prefix("ionveil-verify-")
        .permissions(Permissions::from_mode(0o700)) // it holds what the journal holds
        .tempdir()
        .map_err(|error| Error::io("making a directory for the copy", error))?;
    directory.copy_to(copy.path())?;
    let copied = Directory::new(copy.path());
    let checkpoint = match copied.check_header().and_then(|()| HeadCheckpoint::read(&copied)) {
        Ok(checkpoint) => checkpoint,
        // The store may be sound, but nobody can say what it should hold: the damage begins with the first position.
        Err(Error::Unreadable { problem, .. }) => return Ok(nothing_sound(problem)),
        Err(other) => return Err(other),
    };
    let checked = SledStore::open(&copied.store(), Guards::ON)
        .and_then(|store| verify_store(&store, None, Some(checkpoint), expected, progress));
    let (report, problem) = match checked {
        Ok(report) if report.is_ok() => return Ok(report),
        Ok(report) => (Some(report), String::new()),
        Err(Error::Unreadable { problem, .. }) => (None, problem),
        Err(other) => return Err(other),
    };
    // sled names no place, and has dropped from the copy what it did not believe. The evidence itself still has it.
    let located = locate(&directory, checkpoint, expected, &problem, report.is_none());
    Ok(located.or(report).unwrap_or_else(|| nothing_sound(problem)))
}

fn nothing_sound(problem: String) -> VerifyReport {
    let damage = Some(Damage { position: Position::FIRST, problem });
    VerifyReport { events: 0, blocks: 0, head: Head::default(), damage }
}

/// What the blocks in sled's file say without sled, if they say that something is damaged, or if nobody else says anything.
fn locate(
    directory: &Directory,
    checkpoint: Head,
    expected: Option<Hash>,
    problem: &str,
    must_say: bool,
) -> Option<VerifyReport> {
    let salvaged = Salvaged::open(&directory.store()).ok()?;
    let mut report = verify_store(&salvaged, None, Some(checkpoint), expected, &mut |_| {}).ok()?;
    let because = if problem.is_empty() { String::new() } else { format!(" ({problem})") };
    if let Some(damage) = &mut report.damage {
        damage.problem.push_str(&because);
        return Some(report);
    }
    // Every event can still be read, if not by sled. Where a copy of one is damaged is where somebody has been.
    let beyond = must_say.then(|| report.head.position.plus(1));
    let position = salvaged.first_damaged_copy.or(beyond)?;
    let problem = format!("the store's file is damaged, though every event is still in it{because}");
    report.damage = Some(Damage { position, problem });
    Some(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(position: u64, stream: &str, sequence: u64, epoch: u32) -> Record<'_> {
        Record {
            position: Position::new(position),
            stream,
            sequence: Sequence::new(sequence),
            epoch,
            recorded_at_micros: 0,
            id: uuid::Uuid::nil(),
            event_type: "tested",
            version: 1,
            codec: 1,
            principal: None,
            correlation_id: None,
            causation_id: None,
            payload: &[],
        }
    }

    #[test]
    fn a_wrong_sequence_or_epoch_is_found_at_its_event() {
        for (sequence, epoch, is_sound) in [(3, 5, true), (3, 6, true), (2, 5, false), (4, 5, false), (3, 4, false)] {
            let mut streams = LastOfStreams::new();
            assert_eq!(streams.check(&record(1, "dispatch/a", 1, 5)), Ok(()));
            assert_eq!(streams.check(&record(2, "dispatch/a", 2, 5)), Ok(()));
            let checked = streams.check(&record(3, "dispatch/a", sequence, epoch));
            assert_eq!(checked.is_ok(), is_sound, "{sequence} {epoch}");
        }
        let damage = LastOfStreams::new().check(&record(7, "dispatch/a", 2, 1)).expect_err("it has no first event");
        assert_eq!(damage.position.get(), 7);
    }

    #[test]
    fn many_more_streams_than_places_are_never_taken_for_damage() {
        let mut streams = LastOfStreams::new();
        let names: Vec<String> = (0..3 * LastOfStreams::PLACES).map(|number| format!("dispatch/{number}")).collect();
        let mut position = 0;
        for sequence in 1..4 {
            for name in &names {
                position += 1;
                assert_eq!(streams.check(&record(position, name, sequence, 1)), Ok(()));
            }
        }
        assert_eq!(streams.places.len(), LastOfStreams::PLACES);
    }
}
