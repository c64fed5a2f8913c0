//! A power cut loses nothing that was acknowledged, and the guards around sled are what makes it so.
//!
//! The cut is simulated: the journal lies on an ext4 file system on a loop device, which is shut down without a flush of
//! its own log. What was not synced is gone when it is mounted again. The disk's own cache is not part of it. Needs root,
//! loop devices and `mkfs.ext4`; elsewhere the tests say that they are skipped, and why.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ionveil_journal::{Journal, LocalJournal, Outcome};

use crate::crash::{Writer, ack_count, acknowledged, lost_after};
use crate::support::{all, append_to, count_from_env, event, quieten_sled};

/// A mounted file system in a file, unmounted and gone when it is dropped, also when the test fails.
struct Disk {
    place: tempfile::TempDir,
    is_mounted: bool,
}

impl Disk {
    /// A fresh one, or why there can be none here.
    fn new(bytes: u64) -> Result<Self, String> {
        let place = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut disk = Disk { place, is_mounted: false };
        File::create(disk.image()).and_then(|image| image.set_len(bytes)).map_err(|error| error.to_string())?;
        std::fs::create_dir(disk.mount_point()).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    fn image(&self) -> PathBuf {
        self.place.path().join("image")
    }

    fn mount_point(&self) -> PathBuf {
        self.place.path().join("disk")
    }

    fn journal(&self) -> PathBuf {
        self.mount_point().join("journal")
    }

    /// Lies on the host's own disk: it survives.
    fn acks(&self) -> PathBuf {
        self.place.path().join("acks")
    }

    fn mount(&mut self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.mount_point()))?;
        self.is_mounted = true;
        Ok(())
    }

    /// Processes that other tests start share the open files for a moment, and sled ends its threads in its own time:
    /// while the disk is busy it is tried again.
    fn unmount(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            match run(Command::new("umount").arg(self.mount_point())) {
                Err(reason) if reason.contains("busy") && begin.elapsed() < BUSY_MAX => std::thread::yield_now(),
                Err(reason) => return Err(reason),
                Ok(()) => break,
            }
        }
        self.is_mounted = false;
        Ok(())
    }

    /// Cuts the power: from now on every access fails.
    fn cut(&self) -> Result<(), String> {
        let root = File::open(self.mount_point()).map_err(|error| error.to_string())?;
        shut_down(&root).map_err(|error| format!("the file system cannot be shut down: {error}"))
    }

    /// The power comes back: what is mounted now is what was durable.
    #[track_caller]
    fn restart(&mut self) {
        self.unmount().expect("nobody uses it any more");
        self.mount().expect("ext4 recovers");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted && self.unmount().is_err() {
            // Somebody still holds a file: detach it now, the kernel finishes when they let go.
            let _ = run(Command::new("umount").arg("-l").arg(self.mount_point()));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// `FS_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`.
#[allow(unsafe_code)]
fn shut_down(root: &File) -> rustix::io::Result<()> {
    const FS_IOC_SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
    const NO_LOG_FLUSH: u32 = 2;
    // SAFETY: the kernel reads one 32-bit integer through the pointer that `Setter` passes, and writes nothing.
    unsafe {
        let request = rustix::ioctl::Setter::<FS_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH);
        rustix::ioctl::ioctl(root, request)
    }
}

const DISK_BYTES: u64 = 1 << 30;
const BUSY_MAX: Duration = Duration::from_secs(10);

/// A disk whose power can be cut, unless this machine allows none.
fn disk_or_skip(test: &str) -> Option<Disk> {
    let disk = Disk::new(DISK_BYTES).and_then(|mut disk| {
        disk.cut()?;
        disk.unmount()?;
        disk.mount()?;
        Ok(disk)
    });
    disk.map_err(|reason| skipped(test, &reason)).ok()
}

/// Straight to the terminal, since what a passing test prints is not shown.
fn skipped(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "{test} is SKIPPED on this machine: {reason}");
}

#[test]
fn power_cuts_lose_nothing_acknowledged() {
    let Some(mut disk) = disk_or_skip("power_cuts_lose_nothing_acknowledged") else { return };
    let cycles = count_from_env("IONVEIL_TEST_CYCLES", 10);
    for cycle in 0..cycles {
        let before = ack_count(&disk.acks());
        let mut writer = Writer::start(&disk.journal(), &disk.acks(), true);
        writer.wait_for_acks(before, 100 + 100 * cycle as usize);
        disk.cut().expect("it worked before");
        writer.kill();
        disk.restart();
        let lost = lost_after(&disk.journal(), &disk.acks()).unwrap_or_else(|error| panic!("cycle {cycle}: {error}"));
        assert_eq!(lost, 0, "cycle {cycle}");
    }
    let acknowledged: u64 = acknowledged(&disk.acks()).values().sum();
    eprintln!("{acknowledged} acknowledged events outlived {cycles} power cuts");
}

#[test]
fn without_the_fdatasync_a_power_cut_loses_what_was_acknowledged() {
    let name = "without_the_fdatasync_a_power_cut_loses_what_was_acknowledged";
    for cycle in 0..10 {
        let Some(mut disk) = disk_or_skip(name) else { return };
        let mut writer = Writer::start(&disk.journal(), &disk.acks(), false);
        writer.wait_for_acks(0, 500);
        disk.cut().expect("it worked before");
        writer.kill();
        disk.restart();
        match lost_after(&disk.journal(), &disk.acks()) {
            Ok(0) => continue,
            Ok(lost) => eprintln!("unguarded, cycle {cycle}: {lost} acknowledged events are lost"),
            Err(error) => eprintln!("unguarded, cycle {cycle}: {error}"),
        }
        return;
    }
    panic!("ten power cuts lost nothing without the guard: either it is needless, or this test cuts no power");
}

#[test]
fn what_a_restarted_journal_shows_outlives_a_power_cut() {
    // A killed process leaves writes that only the kernel knows. The next start reads them, and answers retries with
    // "already committed": a power cut must not take them. (sled syncs its file in most starts of its own accord, so this
    // test alone does not show that the journal's own sync is there.)
    let Some(mut disk) = disk_or_skip("what_a_restarted_journal_shows_outlives_a_power_cut") else { return };
    quieten_sled();
    let mut writer = Writer::start(&disk.journal(), &disk.acks(), false);
    writer.wait_for_acks(0, 500);
    writer.kill();
    let journal = LocalJournal::open(&disk.journal()).expect("a killed writer leaves a sound journal");
    let head = journal.head();
    assert!(head.position.get() >= 500);
    disk.cut().expect("it worked before");
    drop(journal);
    disk.restart();
    let journal = LocalJournal::open(&disk.journal()).expect("opens after the cut");
    assert_eq!(journal.head(), head);
}

#[test]
fn a_full_disk_is_an_error_and_takes_nothing_acknowledged() {
    let name = "a_full_disk_is_an_error_and_takes_nothing_acknowledged";
    let disk = match Disk::new(48 << 20) {
        Ok(disk) => disk,
        Err(reason) => return skipped(name, &reason),
    };
    let ballast = disk.mount_point().join("ballast");
    std::fs::write(&ballast, vec![1; 12 << 20]).expect("there is room for it");
    let journal = LocalJournal::open(&disk.journal()).expect("opens");
    let mut acknowledged = 0;
    let failure = loop {
        match journal.append(append_to("dispatch/a", acknowledged, vec![event(acknowledged, 100_000)])) {
            Outcome::Committed(written) => acknowledged = written.sequence.get(),
            other => break other,
        }
        assert!(acknowledged < 1_000, "the disk never fills");
    };
    assert!(matches!(failure, Outcome::Unknown { .. }), "{failure:?}");
    assert_eq!(all(&journal, 1, u64::MAX).len() as u64, acknowledged, "what was acknowledged can still be read");
    drop(journal);
    std::fs::remove_file(&ballast).expect("removed");
    let journal = LocalJournal::open(&disk.journal()).expect("opens when there is room again");
    let events = all(&journal, 1, u64::MAX).len() as u64;
    assert!((acknowledged..=acknowledged + 1).contains(&events), "{acknowledged} acknowledged, {events} there");
    let retry = journal.append(append_to("dispatch/a", acknowledged, vec![event(acknowledged, 100_000)]));
    assert!(matches!(retry, Outcome::Committed(_) | Outcome::AlreadyCommitted(_)), "{retry:?}");
    assert!(journal.verify(None, &mut |_| {}).expect("readable").is_ok());
}

/// Nothing of a test stays mounted.
#[test]
fn a_failing_test_leaves_no_mount_behind() {
    let Some(disk) = disk_or_skip("a_failing_test_leaves_no_mount_behind") else { return };
    let mount_point = disk.mount_point();
    let is_mounted = |path: &Path| {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("readable");
        mounts.contains(path.to_str().expect("plain text"))
    };
    assert!(is_mounted(&mount_point));
    let failed = std::thread::spawn(move || {
        let _disk = disk;
        std::panic::resume_unwind(Box::new("failed"));
    })
    .join();
    assert!(failed.is_err());
    assert!(!is_mounted(&mount_point));
}
