//! Running the binary and building events: few helpers, each of which fails at the line that calls it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ionveil::DispatchEvent;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory of a test's own: the data directory of the binary, and files beside it.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Home { dir: TempDir::new().expect("a temporary directory") }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file beside the data and gives its path as the binary takes it.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, contents).expect("a file in the temporary directory");
        path.to_str().expect("temporary paths are UTF-8").to_owned()
    }

    /// The binary with `--json` on this data directory, standard streams not yet set.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ionveil"));
        command.env_remove("IONVEIL_LOG").env("RUST_BACKTRACE", "0");
        command.current_dir(self.dir.path()).arg("--data").arg(self.data()).arg("--json").args(args);
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, b"")
    }

    /// Runs with `input` on standard input.
    #[track_caller]
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        Ran::of(self.command(args), args, input)
    }

    /// Runs without `--json`.
    #[track_caller]
    pub(crate) fn run_for_people(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ionveil"));
        command.env_remove("IONVEIL_LOG").current_dir(self.dir.path()).arg("--data").arg(self.data()).args(args);
        Ran::of(command, args, b"")
    }

    /// Takes in events as NDJSON, of the org `sffd`, kept for ever.
    #[track_caller]
    pub(crate) fn ingest(&self, lines: &str) -> Value {
        let args = ["ingest", "--org", "sffd", "--retention-hours", "0", "-"];
        self.run_with(&args, lines.as_bytes()).document()
    }

    #[track_caller]
    pub(crate) fn stat(&self) -> Value {
        self.run(&["journal", "stat"]).document()
    }
}

/// How a run of the binary ended.
pub(crate) struct Ran {
    what: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn of(mut command: Command, args: &[&str], input: &[u8]) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("a piped stdin");
        let output = std::thread::scope(|scope| {
            // A command that takes no input closes the pipe, which is fine.
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output().expect("the binary ends")
        });
        Ran::ended(&args.join(" "), &output)
    }

    #[track_caller]
    pub(crate) fn ended(what: &str, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("output is UTF-8");
        let ran = Ran {
            what: what.to_owned(),
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        assert!(!ran.stderr.contains("panicked"), "{ran}");
        assert!(!ran.stderr.contains('\u{1b}'), "colours, and no terminal\n{ran}");
        ran
    }

    /// The one document on stdout of a run that was done.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        assert_eq!(self.code, 0, "{self}");
        self.document_with(0)
    }

    /// The one document on stdout of a run that ended with `code`.
    #[track_caller]
    pub(crate) fn document_with(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }

    /// The documents on stdout of a run that was done, one a line.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        assert_eq!(self.code, 0, "{self}");
        let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(read).collect()
    }

    /// The error of a run that ended with `code`: nothing on stdout, and the last line of stderr tells.
    #[track_caller]
    pub(crate) fn error(&self, code: i32, kind: &str) -> Value {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{self}");
        let last = self.stderr.lines().last().unwrap_or_default();
        let document: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}\n{self}"));
        assert_eq!(keys(&document), ["error"], "{self}");
        let error = document["error"].clone();
        assert_eq!(error["kind"], kind, "{self}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{self}");
        let known = ["allowed", "field", "kind", "message", "value"];
        assert!(keys(&error).iter().all(|key| known.contains(&key.as_str())), "{self}");
        error
    }

    /// An error of kind `invalid` that names field, value and what is allowed.
    #[track_caller]
    pub(crate) fn invalid(&self, field: &str, value: &str) -> Value {
        let error = self.error(2, "invalid");
        assert_eq!((error["field"].as_str(), error["value"].as_str()), (Some(field), Some(value)), "{self}");
        assert!(error["allowed"].as_str().is_some_and(|allowed| !allowed.is_empty()), "{self}");
        error
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ran { what, code, stdout, stderr } = self;
        write!(f, "ionveil {what}\nended with {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// The names of an object's members, sorted.
#[track_caller]
pub(crate) fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> =
        value.as_object().unwrap_or_else(|| panic!("{value} is no object")).keys().cloned().collect();
    keys.sort_unstable();
    keys
}

/// A dispatch as JSON; `changes` replaces members or adds some.
pub(crate) fn dispatch_json(id: &str, at: &str, changes: Value) -> Value {
    let mut event = json!({
        "event_id": id, "org_id": "sffd", "dispatch_id": format!("call-{id}"), "timestamp": at, "severity": 4,
        "response_time_minutes": 2.5, "distance_km": 1.25, "region": "B04", "unit_type": "TRUCK",
    });
    if let (Value::Object(event), Value::Object(changes)) = (&mut event, changes) {
        event.extend(changes);
    }
    event
}

#[track_caller]
pub(crate) fn dispatch(id: &str, at: &str, changes: Value) -> DispatchEvent {
    DispatchEvent::from_json(&dispatch_json(id, at, changes)).expect("a well-formed event")
}

/// `count` dispatches a minute apart from noon on, as NDJSON; their ids are `PREFIX-0` and on.
pub(crate) fn dispatches_ndjson(prefix: &str, count: usize) -> String {
    let line = |number: usize| {
        let at = format!("2026-01-31T{:02}:{:02}:30Z", 12 + number / 60 % 12, number % 60);
        let changes =
            json!({ "response_time_minutes": (number % 16) as f64 / 2.0, "region": format!("B0{}", 1 + number % 4) });
        format!("{}\n", dispatch_json(&format!("{prefix}-{number}"), &at, changes))
    };
    (0..count).map(line).collect()
}

/// Every file below `dir` with its bytes, by its path.
pub(crate) fn files_below(dir: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.insert(path.clone(), std::fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

/// Copies a directory with all below it.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    for (path, bytes) in files_below(from) {
        let target = to.join(path.strip_prefix(from).expect("it lies below"));
        std::fs::create_dir_all(target.parent().expect("it lies in a directory")).expect("a directory");
        std::fs::write(target, bytes).expect("a file");
    }
}

/// Puts items in an order that only `seed` decides.
pub(crate) fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for last in (1..items.len()).rev() {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        items.swap(last, ((mixed ^ (mixed >> 31)) % (last as u64 + 1)) as usize);
    }
}

/// Tests that run themselves again as a process of its own.
pub(crate) mod child {
    use std::process::{Command, Stdio};

    const ROLE: &str = "IONVEIL_TEST_CHILD";

    /// Whether this process is the child that plays that role.
    pub(crate) fn is(role: &str) -> bool {
        std::env::var_os(ROLE).is_some_and(|played| played == role)
    }

    /// Runs the calling test, whose full name is `test`, in a process where no other test runs; true in that process, and
    /// false in this one when it has passed there.
    #[track_caller]
    pub(crate) fn alone(test: &str) -> bool {
        if is(test) {
            return true;
        }
        let output = command(test, test).output().expect("the child ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        assert!(text(&output.stdout).contains("1 passed"), "there is no test {test}");
        false
    }

    /// This very program, to run only the test of that name, in that role.
    pub(crate) fn command(role: &str, test: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("a running program has a path"));
        command.args([test, "--exact", "--test-threads=1", "--nocapture"]).env(ROLE, role).stdin(Stdio::null());
        command
    }
}
