//! A PostgreSQL of one's own: a cluster in a temporary directory, reached through a socket in it, gone afterwards.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

pub struct Cluster {
    programs: PathBuf,
    dir: TempDir,
    /// PostgreSQL does not run as root; then it runs as the user that its package has made.
    user: Option<u32>,
}

impl Cluster {
    /// `None`, with a message, where there is no PostgreSQL or it does not start.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("PostgreSQL is not installed; it is left out");
            return None;
        };
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on the disk of the build");
        let user =
            (id(&["-u"]) == Some(0)).then(|| id(&["-u", "postgres"]).expect("the user that Debian's package makes"));
        if user.is_some() {
            std::os::unix::fs::chown(dir.path(), user, None).expect("root may");
        }
        let cluster = Cluster { programs, dir, user };
        let data = cluster.data();
        let socket = format!("-k {} -c listen_addresses= -c max_connections=100", cluster.dir.path().display());
        let log = cluster.dir.path().join("log");
        let started = cluster
            .run("initdb", &["-D".as_ref(), &data, "-A".as_ref(), "trust".as_ref(), "-U".as_ref(), "peer".as_ref()])
            .and_then(|()| {
                let start = [socket.as_ref(), "-l".as_ref(), log.as_path(), "start".as_ref()];
                cluster.run(
                    "pg_ctl",
                    &[&["-D".as_ref(), data.as_path(), "-w".as_ref(), "-o".as_ref()], &start[..]].concat(),
                )
            });
        match started {
            Ok(()) => Some(cluster),
            Err(problem) => {
                eprintln!("PostgreSQL does not start and is left out: {problem}");
                None
            }
        }
    }

    /// How to get to a database of it.
    pub fn database(&self, name: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass().host(&self.dir.path().to_string_lossy()).username("peer").database(name)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn run(&self, program: &str, arguments: &[&Path]) -> Result<(), String> {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).current_dir(self.dir.path());
        if let Some(user) = self.user {
            command.uid(user);
        }
        // A server that was started keeps what it was given, so nothing of it may be waited for.
        let status = command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("{program}: {other:?}")),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What never ran says so, and is gone with its directory all the same.
        let _ =
            self.run("pg_ctl", &["-D".as_ref(), &self.data(), "-m".as_ref(), "immediate".as_ref(), "stop".as_ref()]);
    }
}

/// Where the programs of the newest release lie: Debian keeps them out of `PATH`.
fn programs() -> Option<PathBuf> {
    let mut releases: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin")).collect();
    releases.retain(|programs| programs.join("initdb").exists());
    releases.sort_by_key(|programs| programs.parent()?.file_name()?.to_str()?.parse::<u32>().ok());
    releases.pop()
}

fn id(arguments: &[&str]) -> Option<u32> {
    let Output { status, stdout, .. } = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(stdout).ok().filter(|_| status.success())?.trim().parse().ok()
}
