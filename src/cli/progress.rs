//! Progress on stderr: only on a terminal, and only for what takes more than a second.

use std::io::IsTerminal;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less than this shows no bar.
const SHOWN_AFTER: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

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

    /// Something that cannot say how far it is: a sign of life, until it is dropped.
    pub(super) fn waiting(what: &str) -> Waiting {
        if !std::io::stderr().is_terminal() {
            return Waiting { done: None, ticker: None };
        }
        let (done, is_done) = mpsc::channel::<()>();
        let what = what.to_owned();
        let ticker = std::thread::spawn(move || {
            if is_done.recv_timeout(SHOWN_AFTER) == Err(mpsc::RecvTimeoutError::Timeout) {
                let progress = Progress::new(&what, None, "", "{msg} {spinner}");
                progress.bar.set_draw_target(ProgressDrawTarget::stderr());
                progress.bar.enable_steady_tick(TICK);
                // Until the other end is dropped.
                let _ = is_done.recv();
            }
        });
        Waiting { done: Some(done), ticker: Some(ticker) }
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

/// Work that is waited for. See [`Progress::waiting`].
pub(super) struct Waiting {
    done: Option<mpsc::Sender<()>>,
    ticker: Option<JoinHandle<()>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(ticker) = self.ticker.take() {
            // What it shows is gone when it ends; a panic of it is nobody's concern.
            let _ = ticker.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
