//! A process that is killed in the middle of writing loses nothing that it had acknowledged, and leaves no hole.
//!
//! The tests start this very test binary again as the writer: [`writes_until_it_is_killed`] does nothing in a normal run.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ionveil_journal::{Append, Error, Journal, LocalJournal, NewEvent, Outcome, Position};

use crate::support::{Seen, append_to, count_from_env, event};

const DIR_VAR: &str = "IONVEIL_TEST_WRITER_DIR";
const ACKS_VAR: &str = "IONVEIL_TEST_WRITER_ACKS";
const UNGUARDED_VAR: &str = "IONVEIL_TEST_WRITER_UNGUARDED";

pub(crate) const PRODUCERS: u64 = 64;
/// An acknowledgement: the producer and the sequence of the last event, in one write, so that a kill cannot halve it.
const ACK_LEN: usize = 16;
const TOO_LONG: Duration = Duration::from_secs(60);

/// The event that a producer writes at a sequence: known from nothing but the two, so that whoever reads can check it.
fn event_at(producer: u64, sequence: u64) -> NewEvent {
    let len = match sequence % 97 {
        _ if producer == 0 => 60_000, // in parts, and enough for the thread that feeds sled
        50 => 60_000,
        _ => 150 + (sequence % 100) as usize,
    };
    event((producer << 32) | sequence, len)
}

fn append_of(producer: u64, expected: u64) -> Append {
    // Mostly one event, now and then a batch, and sometimes one that is too large for the redo log.
    let count = match expected % 20 {
        19 if producer == 0 => 12,
        9 | 19 => 5,
        _ => 1,
    };
    let events = (1..=count).map(|number| event_at(producer, expected + number)).collect();
    append_to(&format!("dispatch/{producer}"), expected, events)
}

/// The body of the writing process: each producer appends to its own stream, and notes in the file of acknowledgements
/// what is committed, after it is.
#[test]
fn writes_until_it_is_killed() {
    let (Some(dir), Some(acks)) = (std::env::var_os(DIR_VAR), std::env::var_os(ACKS_VAR)) else { return };
    let dir = PathBuf::from(dir);
    let journal = match std::env::var_os(UNGUARDED_VAR) {
        None => LocalJournal::open(&dir),
        Some(_) => LocalJournal::open_without_fdatasync(&dir),
    }
    .expect("opens");
    let acks = OpenOptions::new().append(true).create(true).open(acks).expect("the acknowledgements can be written");
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (journal, acks) = (&journal, &acks);
            scope.spawn(move || produce(journal, acks, producer));
        }
    });
}

fn produce(journal: &LocalJournal, mut acks: &File, producer: u64) {
    let stream = format!("dispatch/{producer}").parse().expect("a stream");
    let mut expected = journal.stream_head(&stream).map_or(0, |(head, _)| head.get());
    // A failed write ends the producer: the disk is gone.
    while let Outcome::Committed(written) = journal.append(append_of(producer, expected)) {
        expected = written.sequence.get();
        let mut ack = [0; ACK_LEN];
        ack[..8].copy_from_slice(&producer.to_le_bytes());
        ack[8..].copy_from_slice(&expected.to_le_bytes());
        acks.write_all(&ack).expect("the acknowledgements lie on a sound disk");
    }
}

/// A writing process, killed at the latest when the test is over.
pub(crate) struct Writer {
    child: Child,
    acks: PathBuf,
}

impl Writer {
    pub(crate) fn start(dir: &Path, acks: &Path, is_guarded: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test binary"));
        command.args(["--exact", "crash::writes_until_it_is_killed"]).env(DIR_VAR, dir).env(ACKS_VAR, acks);
        if !is_guarded {
            command.env(UNGUARDED_VAR, "1");
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        Writer { child, acks: acks.to_owned() }
    }

    /// Waits until so many more acknowledgements are there than there were.
    #[track_caller]
    pub(crate) fn wait_for_acks(&mut self, before: usize, more: usize) {
        let acks = self.acks.clone();
        self.wait_until("acknowledge", || ack_count(&acks) >= before + more);
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, is_so: impl Fn() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            if let Some(status) = self.child.try_wait().expect("its state can be asked") {
                panic!("the writer ended before it could {what}: {status}");
            }
            assert!(begin.elapsed() < TOO_LONG, "the writer does not {what}");
            std::thread::yield_now();
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself when its disk went away.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) fn ack_count(acks: &Path) -> usize {
    std::fs::metadata(acks).map_or(0, |meta| meta.len() as usize / ACK_LEN)
}

/// The last acknowledged sequence of each producer.
pub(crate) fn acknowledged(acks: &Path) -> BTreeMap<u64, u64> {
    let mut last = BTreeMap::new();
    for ack in std::fs::read(acks).unwrap_or_default().chunks_exact(ACK_LEN) {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let sequence: &mut u64 = last.entry(number(&ack[..8])).or_default();
        *sequence = number(&ack[8..]).max(*sequence);
    }
    last
}

/// Opens and verifies what the writer left, asserts that it holds whole appends without a hole, and returns how many
/// acknowledged events are not there.
#[track_caller]
pub(crate) fn lost_after(dir: &Path, acks: &Path) -> Result<u64, Error> {
    let journal = LocalJournal::open(dir)?;
    let report = journal.verify(None, &mut |_| {}).expect("readable");
    if let Some(damage) = report.damage {
        return Err(damage.into());
    }
    let mut heads: BTreeMap<u64, u64> = BTreeMap::new();
    let mut next = 1;
    journal.read_all(Position::FIRST, Position::MAX, &mut |record| {
        let seen = Seen::from(record);
        assert_eq!(seen.position, next, "no position is missing");
        next += 1;
        let producer = seen.stream["dispatch/".len()..].parse().expect("a producer's stream");
        let head = heads.entry(producer).or_default();
        *head += 1;
        let written = event_at(producer, *head);
        assert_eq!((seen.sequence, seen.id), (*head, written.id), "stream {producer} has no hole");
        assert!(seen.payload == written.payload, "stream {producer} sequence {head} has other content");
        ControlFlow::Continue(())
    })?;
    for (&producer, &head) in &heads {
        let mut whole = 0;
        while whole < head {
            whole += append_of(producer, whole).events.len() as u64;
        }
        assert_eq!(whole, head, "stream {producer} ends with half an append");
    }
    let lost = |(producer, sequence): (u64, u64)| sequence.saturating_sub(heads.get(&producer).copied().unwrap_or(0));
    Ok(acknowledged(acks).into_iter().map(lost).sum())
}

#[test]
fn kills_amid_writing_lose_nothing_acknowledged() {
    let place = tempfile::tempdir().expect("a directory");
    let (dir, acks) = (place.path().join("journal"), place.path().join("acks"));
    for cycle in 0..count_from_env("IONVEIL_TEST_CYCLES", 10) {
        let before = ack_count(&acks);
        let mut writer = Writer::start(&dir, &acks, true);
        writer.wait_for_acks(before, 100 + 150 * cycle as usize);
        writer.kill();
        assert_eq!(lost_after(&dir, &acks).expect("opens"), 0, "cycle {cycle}");
    }
    let acknowledged = acknowledged(&acks);
    assert_eq!(acknowledged.len() as u64, PRODUCERS, "all producers took part");
    eprintln!("{} acknowledged events outlived the kills", acknowledged.values().sum::<u64>());
}

/// sled writes its settings in two goes; a start killed between them left a journal that no start could open.
#[test]
fn settings_that_a_killed_first_start_left_half_written_are_written_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(LocalJournal::open(dir.path()).expect("opens"));
    let conf = dir.path().join("sled/conf");
    let whole = std::fs::read(&conf).expect("sled's settings");
    std::fs::remove_file(dir.path().join("sled/db")).expect("sled's log, which comes after the settings");
    std::fs::write(&conf, &whole[..whole.len() - 4]).expect("settings without their checksum");
    drop(LocalJournal::open(dir.path()).expect("opens as if for the first time"));
    assert_eq!(std::fs::read(&conf).expect("sled's settings"), whole);
}

#[test]
fn a_first_start_that_is_killed_can_be_repeated() {
    // From the first file to the last: whatever was there when the process died, the next start copes with it.
    for file in
        ["lock", "sled", "head", "journal.toml.new", "journal.toml", "sled/redo", "sled/conf", "sled/db", "sled/blobs"]
    {
        let place = tempfile::tempdir().expect("a directory");
        let (dir, acks) = (place.path().join("journal"), place.path().join("acks"));
        let mut writer = Writer::start(&dir, &acks, true);
        // The writer may be past it already, `journal.toml.new` is even gone by then.
        let path = dir.join(file);
        writer.wait_until("create its files", || path.exists() || ack_count(&acks) > 0);
        writer.kill();
        assert_eq!(lost_after(&dir, &acks).unwrap_or_else(|error| panic!("{file}: {error}")), 0, "{file}");
    }
}
