//! Damage to the files of a journal: found and named, or refused at the door; never a crash, never a silent "ok".

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Home, copy_dir, dispatches_ndjson, files_below, shuffle};

const ROWS: usize = 1_200;

/// A journal of several blocks, closed.
fn whole() -> Home {
    let home = Home::new();
    let lines = dispatches_ndjson("needle", ROWS);
    let lines: Vec<&str> = lines.split_inclusive('\n').collect();
    // Three runs, so that there are groups of blocks that do not depend on each other's timing.
    for part in lines.chunks(ROWS / 3) {
        home.ingest(&part.concat());
    }
    home
}

fn db(home: &Home) -> PathBuf {
    home.data().join("journal/sled/db")
}

/// Where the bodies of stored blocks lie that hold the event at `position`, in every copy that sled keeps of one. Bodies may be
/// compressed, so an event is not to be found by its own bytes; `docs/journal-format.md` draws the header.
fn bodies_holding(bytes: &[u8], position: u64) -> Vec<Range<usize>> {
    const HEADER_LEN: usize = 104;
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let headers = bytes.windows(HEADER_LEN).enumerate().filter(|(_, header)| header.starts_with(b"IVJB"));
    let bodies = headers.filter_map(|(at, header)| {
        let first = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
        let holds_it = (first..first + u64::from(number(at + 20))).contains(&position);
        holds_it.then(|| at + HEADER_LEN..at + HEADER_LEN + number(at + 24) as usize)
    });
    bodies.filter(|body| body.end <= bytes.len()).collect()
}

/// A copy of `from` with its sled file changed.
fn copy_with(from: &Home, change: impl FnOnce(&mut Vec<u8>)) -> Home {
    let home = Home::new();
    copy_dir(&from.data(), &home.data());
    let mut bytes = std::fs::read(db(&home)).expect("a file");
    let before = bytes.clone();
    change(&mut bytes);
    assert_ne!(bytes, before, "nothing was changed");
    std::fs::write(db(&home), bytes).expect("a file");
    home
}

/// `journal verify` finds damage and leaves the files alone. Gives the first bad position.
#[track_caller]
fn assert_found(home: &Home, what: &str) -> u64 {
    let before = files_below(&home.data());
    let ran = home.run(&["journal", "verify"]);
    let verified = ran.document_with(1);
    assert_eq!(verified["ok"], false, "{what}\n{ran}");
    let position = verified["first_bad_position"].as_u64().unwrap_or_else(|| panic!("{what}\n{ran}"));
    assert!(position >= 1, "{what}\n{ran}");
    assert!(verified["problem"].as_str().is_some_and(|problem| !problem.is_empty()), "{what}\n{ran}");
    assert!(verified["events"].as_u64().is_some_and(|events| events < position.max(1)), "{what}\n{ran}");
    assert_same_files(&before, &files_below(&home.data()), what);
    position
}

#[track_caller]
fn assert_same_files(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>, what: &str) {
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(before), names(after), "{what}: verifying added or removed files");
    for (path, bytes) in before {
        assert!(after[path] == *bytes, "{what}: verifying changed {}", path.display());
    }
}

/// Commands that open the journal refuse with `corrupt`, or never get to see the damage; they do not crash.
#[track_caller]
fn assert_no_command_crashes(home: &Home, what: &str) {
    for args in [&["journal", "stat"][..], &["audit"], &["snapshot", "--org", "sffd", "--as-of", "latest"]] {
        let ran = home.run(args); // which looks for panics
        assert!(ran.code == 0 || (ran.code == 1 && ran.stderr.contains("\"kind\":\"corrupt\"")), "{what}\n{ran}");
    }
    // What is damaged stays damaged, whoever opened it meanwhile.
    let again = home.run(&["journal", "verify"]);
    assert_eq!(again.code, 1, "{what}, after commands had opened it\n{again}");
}

#[test]
fn a_changed_byte_of_any_stored_event_is_found() {
    let home = whole();
    let bytes = std::fs::read(db(&home)).expect("a file");
    for position in [1, 2, 58, 400, 401, 778, ROWS as u64] {
        let held = bodies_holding(&bytes, position);
        assert!(!held.is_empty(), "position {position} is stored somewhere");
        for (of, bit) in [(0.0, 0x01), (0.5, 0x20), (1.0, 0x80)] {
            let at = |body: &Range<usize>| body.start + ((body.len() - 1) as f64 * of) as usize;
            // sled may keep an older version of a page in the same file; with all of them changed, the live one is.
            let damaged = copy_with(&home, |bytes| held.iter().for_each(|body| bytes[at(body)] ^= bit));
            let in_block = bodies_holding(&bytes, assert_found(&damaged, &format!("position {position}, {of}")));
            assert!(in_block.iter().all(|body| held.contains(body)), "another block is named than that of {position}");
        }
    }
    let held = bodies_holding(&bytes, 58);
    let damaged = copy_with(&home, |bytes| held.iter().for_each(|body| bytes[body.start + 3] ^= 0x20));
    assert_no_command_crashes(&damaged, "a changed byte");
}

#[test]
fn a_cut_file_is_found() {
    let home = whole();
    let bytes = std::fs::read(db(&home)).expect("a file");
    let last = bodies_holding(&bytes, ROWS as u64).last().expect("it is stored").start;
    let first = bodies_holding(&bytes, 1)[0].start;
    for (what, len) in [("in the last block", last + 3), ("in the first block", first + 3), ("to nothing", 0)] {
        let cut = copy_with(&home, |bytes| bytes.truncate(len));
        assert_found(&cut, what);
        assert_no_command_crashes(&cut, what);
    }
}

#[test]
fn zeroed_and_swapped_regions_are_found() {
    let home = whole();
    let bytes = std::fs::read(db(&home)).expect("a file");
    let place = |position: u64| bodies_holding(&bytes, position)[0].start;
    let (one, other) = (place(100), place(900));
    let swapped = copy_with(&home, |bytes| {
        let part = bytes[one..one + 64].to_vec();
        bytes.copy_within(other..other + 64, one);
        bytes[other..other + 64].copy_from_slice(&part);
    });
    assert_found(&swapped, "swapped");
    assert_no_command_crashes(&swapped, "swapped");
    let zeroed = copy_with(&home, |bytes| bytes[other..other + 512].fill(0));
    assert_found(&zeroed, "zeroed");
    assert_no_command_crashes(&zeroed, "zeroed");
}

#[test]
fn a_journal_of_another_format_is_refused_by_its_number() {
    let home = whole();
    let header = home.data().join("journal/journal.toml");
    let text = std::fs::read_to_string(&header).expect("the header");
    std::fs::write(&header, text.replace("format = 2", "format = 1")).expect("a file");
    assert_found(&home, "format 1");
    let verified = home.run(&["journal", "verify"]).document_with(1);
    assert_eq!(verified["problem"], "it is of format 1, and this release reads format 2");
    let error = home.run(&["journal", "stat"]).error(1, "corrupt");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("format 1")), "{error}");
}

#[test]
fn missing_and_damaged_files_beside_the_store_are_found() {
    let home = whole();
    for (name, replacement) in [
        ("journal/head", None),
        ("journal/head", Some(vec![0x55; 128])),
        ("journal/head", Some(vec![])),
        ("journal/journal.toml", None),
        ("journal/journal.toml", Some(b"format = 99\n".to_vec())),
        ("journal/sled/db", None),
        ("journal/sled/conf", None),
        ("journal/sled/conf", Some(vec![])),
    ] {
        let damaged = Home::new();
        copy_dir(&home.data(), &damaged.data());
        let path = damaged.data().join(name);
        match &replacement {
            None => std::fs::remove_file(&path).expect("it was there"),
            Some(bytes) => std::fs::write(&path, bytes).expect("a file"),
        }
        let what = format!("{name} {}", if replacement.is_some() { "changed" } else { "missing" });
        // sled writes its settings anew when they are missing: with the same ones nothing is lost.
        if name == "journal/sled/conf" && damaged.run(&["journal", "verify"]).code == 0 {
            let verified = damaged.run(&["journal", "verify"]).document();
            assert_eq!([&verified["ok"], &verified["events"]], [&Value::from(true), &Value::from(ROWS + 1)], "{what}");
            continue;
        }
        assert_found(&damaged, &what);
        let before = files_below(&damaged.data());
        let ran = damaged.run_with(&["ingest", "--org", "sffd", "-"], dispatches_ndjson("new", 1).as_bytes());
        ran.error(1, "corrupt");
        for (path, bytes) in before.iter().filter(|(path, _)| path.ends_with("head") || path.ends_with("journal.toml"))
        {
            assert!(std::fs::read(path).expect("a file") == *bytes, "{what}: {} was written to", path.display());
        }
        assert_found(&damaged, &format!("{what}, after an attempt to write"));
    }
}

#[test]
fn an_older_store_under_a_newer_head_is_found_and_refuses_writes() {
    let home = whole();
    let older = Home::new();
    copy_dir(&home.data(), &older.data());
    home.ingest(&dispatches_ndjson("more", 5));
    std::fs::copy(home.data().join("journal/head"), older.data().join("journal/head")).expect("a copy");
    assert_eq!(assert_found(&older, "an older store"), ROWS as u64 + 2);
    older.run_with(&["ingest", "--org", "sffd", "-"], dispatches_ndjson("new", 1).as_bytes()).error(1, "corrupt");
}

/// Where nothing of the events lies a change may do no harm; then every event is as it was, and so is the head.
#[test]
fn a_changed_byte_anywhere_is_found_or_harmless() {
    const SEED: u64 = 7;
    eprintln!("seed {SEED}");
    let home = whole();
    let head = home.stat()["head_hash"].clone();
    let bytes = std::fs::read(db(&home)).expect("a file");
    let mut used: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
    shuffle(&mut used, SEED);
    let mut found = 0;
    for &at in &used[..40] {
        let damaged = copy_with(&home, |bytes| bytes[at] ^= 0x10);
        let ran = damaged.run(&["journal", "verify"]);
        let verified = ran.document_with(ran.code);
        if ran.code == 0 {
            assert_eq!(
                [&verified["events"], &verified["head_hash"]],
                [&Value::from(ROWS + 1), &head],
                "byte {at}\n{ran}"
            );
        } else {
            assert_found(&damaged, &format!("byte {at}"));
            found += 1;
        }
    }
    assert!(found > 10, "only {found} of 40");
}

#[test]
fn the_head_of_another_journal_of_the_same_length_is_found() {
    let (one, other) = (Home::new(), Home::new());
    for home in [&one, &other] {
        home.ingest(&dispatches_ndjson("a", 50));
    }
    std::fs::copy(other.data().join("journal/head"), one.data().join("journal/head")).expect("a copy");
    assert_found(&one, "a foreign head");
    one.run(&["journal", "stat"]).error(1, "corrupt");
}

#[test]
fn a_head_hash_kept_elsewhere_proves_what_was_there_then() {
    let home = Home::new();
    let genesis = "0".repeat(64);
    home.ingest(&dispatches_ndjson("a", 50));
    let old = home.stat()["head_hash"].as_str().expect("a text").to_owned();
    home.ingest(&dispatches_ndjson("b", 50));
    let new = home.stat()["head_hash"].as_str().expect("a text").to_owned();
    assert_ne!(old, new);
    let verify = |hash: &str| home.run(&["journal", "verify", "--expect-head", hash]);
    for hash in [&old, &new, &genesis, &old.to_uppercase()] {
        assert_eq!(verify(hash).document()["ok"], true, "{hash}");
    }
    let foreign = Home::new();
    foreign.ingest(&dispatches_ndjson("a", 50));
    let foreign = foreign.stat()["head_hash"].as_str().expect("a text").to_owned();
    assert_ne!(foreign, old, "ids and times of writing differ");
    let ran = verify(&foreign);
    let found = ran.document_with(1);
    assert_eq!(found["ok"], false, "{ran}");
    assert!(found["problem"].as_str().is_some_and(|problem| problem.contains(&foreign)), "{ran}");
    for malformed in ["", "abc", &old[1..], &format!("{old}0"), &old.replace(|c: char| c.is_ascii_digit(), "g")] {
        let error = verify(malformed).error(2, "invalid");
        assert_eq!(error["value"], malformed);
    }
}

#[test]
fn verifying_leaves_every_file_of_a_sound_journal_alone() {
    let home = whole();
    let before = files_below(&home.data());
    assert_eq!(home.run(&["journal", "verify"]).document()["events"], ROWS + 1);
    assert_same_files(&before, &files_below(&home.data()), "a sound journal");
}
