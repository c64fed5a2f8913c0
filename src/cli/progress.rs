//! Progress on stderr: only on a terminal, and only for what takes more than a second.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less than this shows no bar.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// A bar that appears when the work turns out to be long.
pub(super) struct Progress {
    bar: ProgressBar,
    shown_at: Option<Instant>,
}

impl Progress {
    /// Progress towards `total` in bytes, or of unknown length.
    pub(super) fn bytes(what: &str, total: Option<u64>) -> Self {
        Progress::new(what, total, "{msg} [{wide_bar}] {bytes}/{total_bytes} {eta}", "{msg} {spinner} {bytes}")
    }

    /// Progress in events, of unknown length.
    pub(super) fn events(what: &str) -> Self {
        Progress::new(what, None, "", "{msg} {spinner} {human_pos} events")
    }

    fn new(what: &str, total: Option<u64>, with_total: &str, without: &str) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = if total.is_some() { with_total } else { without };
        bar.set_style(ProgressStyle::with_template(template).expect("the templates are constants"));
        bar.set_message(what.to_owned());
        let shown_at = std::io::stderr().is_terminal().then(|| Instant::now() + SHOWN_AFTER);
        Progress { bar, shown_at }
    }

    /// Says how far the work is.
    pub(super) fn set(&mut self, done: u64) {
        if self.shown_at.is_some_and(|at| Instant::now() >= at) {
            self.shown_at = None;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
