//! What people read: whole sessions at the command line, compared word for word with the files in `transcripts`.
//!
//! A line that begins with `$` is a command, run where `examples` lies; below it stands what it prints, errors
//! included, and its exit code unless that is 0; after `| head -3` only the first three lines of it. Ids and hashes differ
//! from run to run: `id-2` is the second one that came up, `hash-1` the first hash, and commands may name them; `(now)` is an
//! instant of the machine's clock, `#…` a position behind one. With `IONVEIL_TRANSCRIBE=1` the files are written anew.

use std::fmt::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::{Captures, Regex};

use crate::support::*;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    top().join("tests/it/transcripts")
}

/// What stands for what differs from run to run.
struct Names {
    varying: Regex,
    /// By number, from 1 on.
    ids: Vec<String>,
    hashes: Vec<String>,
}

impl Names {
    fn new() -> Self {
        let varying = "(?<hash>[0-9a-f]{64})|(?<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?<gap>  )?\
                       |(?<speed>, in [0-9.]+ s \\([0-9]+ rows/s\\))|(?<size>[0-9]+ bytes on disk)\
                       |(?<recorded>20(?:2[6-9]|[3-9][0-9])-[-0-9]{5}T[:0-9]{8}\\.[0-9]{1,6}Z)(?<position>  #[0-9]+)?";
        Names { varying: Regex::new(varying).expect("a good pattern"), ids: Vec::new(), hashes: Vec::new() }
    }

    /// The text with names in the place of ids and hashes.
    fn put(&mut self, text: &str) -> String {
        let Names { varying, ids, hashes } = self;
        let name = |kind: &str, known: &mut Vec<String>, found: &str| {
            let number = known.iter().position(|other| other == found).unwrap_or_else(|| {
                known.push(found.to_owned());
                known.len() - 1
            });
            format!("{kind}-{}", number + 1)
        };
        let named = varying.replace_all(text, |found: &Captures<'_>| {
            if let Some(id) = found.name("id") {
                let name = name("id", ids, id.as_str());
                // In a table it is as wide as what it stands for.
                found.name("gap").map_or(name.clone(), |_| format!("{name:<38}"))
            } else if let Some(hash) = found.name("hash") {
                name("hash", hashes, hash.as_str())
            } else if found.name("size").is_some() {
                "… bytes on disk".to_owned()
            } else if found.name("speed").is_some() {
                ", in … s (… rows/s)".to_owned()
            } else {
                // What several streams write at the same time lies in any order.
                format!("(now){}", found.name("position").map_or("", |_| "  #…"))
            }
        });
        named.into_owned()
    }

    /// The argument that a word of a command stands for.
    #[track_caller]
    fn take(&self, word: &str) -> String {
        for (kind, known) in [("id-", &self.ids), ("hash-", &self.hashes)] {
            if let Some(number) = word.strip_prefix(kind).and_then(|number| number.parse::<usize>().ok()) {
                return known.get(number - 1).unwrap_or_else(|| panic!("there is no {word} yet")).clone();
            }
        }
        word.to_owned()
    }
}

/// The words of a command line; quotes hold several together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for char in line.chars() {
        match (char, quote) {
            ('\'' | '"', None) => quote = Some(char),
            (char, Some(open)) if char == open => quote = None,
            (' ', None) => words.push(String::new()),
            (char, _) => words.last_mut().expect("one at least").push(char),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Runs the commands of a transcript, and gives it as it has to be.
fn transcribed(transcript: &str) -> String {
    let (home, mut names) = (Home::new(), Names::new());
    symlink(top().join("examples"), home.path("examples")).expect("a link");
    let mut text = String::new();
    for line in transcript.lines().filter(|line| line.starts_with('$')) {
        let (command, lines_max) = match line.split_once(" | head -") {
            Some((command, lines_max)) => (command, lines_max.parse().expect("a number")),
            None => (line, usize::MAX),
        };
        let words = words(command.strip_prefix("$ ionveil ").expect("a command of ours"));
        let args: Vec<String> = words.iter().map(|word| names.take(word)).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ionveil"));
        command.env_remove("IONVEIL_LOG").current_dir(home.path(".")).arg("--data").arg(home.data()).args(&args);
        let ran = Ran::of(command, &[line], b"");
        let printed: Vec<&str> = ran.stdout.lines().chain(ran.stderr.lines()).take(lines_max).collect();
        let printed = names.put(&printed.join("\n"));
        let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
        let code = if ran.code == 0 { String::new() } else { format!("\n[exit code {}]", ran.code) };
        writeln!(text, "{line}\n{}{code}\n", lines.join("\n")).expect("there is memory");
    }
    text
}

#[track_caller]
fn is_as_written(name: &str) {
    let path = folder().join(name);
    let written = std::fs::read_to_string(&path).expect("a transcript");
    let now = transcribed(&written);
    if std::env::var_os("IONVEIL_TRANSCRIBE").is_some() {
        std::fs::write(&path, &now).expect("it can be written");
        return;
    }
    for (index, (was, is)) in written.lines().zip(now.lines()).enumerate() {
        assert_eq!(is, was, "{name}, line {}; IONVEIL_TRANSCRIBE=1 writes it anew", index + 1);
    }
    assert_eq!(now, written, "{name}");
}

#[test]
fn what_is_asked_about_dispatches() {
    is_as_written("dispatches.txt");
}

#[test]
fn what_is_tried_with_policies() {
    is_as_written("policies.txt");
}

#[test]
fn what_is_told_of_alerts() {
    is_as_written("alerts.txt");
}

#[test]
fn what_the_trail_says() {
    is_as_written("trail.txt");
}

/// Nobody had run what the README says since it was written.
#[test]
fn every_command_of_the_readme_is_in_a_transcript() {
    let read = |path: &Path| std::fs::read_to_string(path).expect("a text");
    let entries = std::fs::read_dir(folder()).expect("the folder");
    let transcripts: Vec<String> = entries.map(|entry| read(&entry.expect("an entry").path())).collect();
    let readme = read(&top().join("README.md")).replace("\\\n", " ");
    let mut commands = 0;
    // What the shell does with the answer, and remarks, are not the program's.
    let command_of = |line: &str| words(line.split(['#', '|', '>']).next().unwrap_or_default());
    for line in readme.lines().filter(|line| line.starts_with("ionveil ")) {
        let command = command_of(line);
        let is_same = |other: &[String]| {
            other.len() == command.len()
                && other
                    .iter()
                    .zip(&command)
                    .all(|(is, said)| is == said || (said == "HASH" && is.starts_with("hash-")))
        };
        let known = transcripts.iter().flat_map(|transcript| transcript.lines());
        let is_known = known.filter_map(|line| line.strip_prefix("$ ")).any(|other| is_same(&command_of(other)));
        assert!(is_known, "no transcript has: {line}");
        commands += 1;
    }
    assert!(commands > 20, "{commands} commands found");
}
