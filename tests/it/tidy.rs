//! Facts about the layout that nobody should have to remember.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file of the workspace.
fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> =
        ["src", "tests", "benches", "examples", "journal", "actors"].iter().map(|dir| root().join(dir)).collect();
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue }; // benches may not be there
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 50, "the workspace lies elsewhere");
    files
}

/// The folders of the actors: those of `actors/src` that have a `decide.rs`.
fn actor_folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("actors/src")).expect("a directory");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|path| path.join("decide.rs").exists());
    assert!(!folders.is_empty(), "there are no actors");
    folders
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = rust_files().into_iter().filter(|path| !read(path).starts_with("//! ")).collect();
    assert!(silent.is_empty(), "these do not open with //!: {silent:?}");
}

#[test]
fn what_rebuilds_state_reads_no_clock_and_no_random_source() {
    let banned =
        ["Utc::now", "Local::now", "SystemTime", "Instant::now", "now_v7", "new_v4", "rand::", "env::", "actix"];
    for folder in actor_folders() {
        for file in ["decide", "evolve", "state", "event", "cell", "answer", "query", "command", "dispatch_event"] {
            let path = folder.join(file).with_extension("rs");
            let Ok(text) = std::fs::read_to_string(&path) else { continue }; // an actor leaves out what it does not need
            for (number, line) in text.lines().enumerate() {
                for word in banned {
                    assert!(!line.contains(word), "{}:{}: {word}", path.display(), number + 1);
                }
            }
        }
    }
}

#[test]
fn every_actor_folder_has_the_files_that_a_reader_looks_for() {
    for folder in actor_folders() {
        for file in ["mod.rs", "command.rs", "event.rs", "state.rs", "decide.rs", "evolve.rs", "tests.rs"] {
            assert!(folder.join(file).exists(), "{} has no {file}", folder.display());
        }
    }
}

#[test]
fn crates_depend_in_one_direction() {
    for (manifest, banned) in
        [("journal/Cargo.toml", &["ionveil-actors", "ionveil "][..]), ("actors/Cargo.toml", &["ionveil "])]
    {
        let text = read(&root().join(manifest));
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let names = |name: &&str| line.replace(['=', '.'], " ").starts_with(*name);
            assert!(!(section.contains("dependencies") && banned.iter().any(names)), "{manifest}: {line}");
        }
    }
}

#[test]
fn every_event_type_is_in_the_catalogue() {
    let mut types = BTreeSet::new();
    for folder in actor_folders() {
        // Type names are constants of their own line: const NAME: &str = "type-name";
        for line in read(&folder.join("event.rs")).lines() {
            if let Some((_, name)) = line.split_once(": &str = \"") {
                types.insert(name.trim_end_matches("\";").to_owned());
            }
        }
    }
    for known in ["dispatch-recorded", "retention-set"] {
        assert!(types.contains(known), "{known} is not found any more, only {types:?}");
    }
    let catalogue = read(&root().join("docs/events.md"));
    let missing: Vec<_> = types.iter().filter(|name| !catalogue.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/events.md does not list {missing:?}");
}
