//! The runtime's own threads: one actix system and its arbiters, apart from whatever the host runs.

use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle, System};

/// A running actix system with some arbiter threads.
pub(super) struct Threads {
    arbiters: Vec<ArbiterHandle>,
    system: System,
    thread: Option<JoinHandle<()>>,
    /// Disconnected when all threads have ended.
    ended: mpsc::Receiver<()>,
    is_this: bool,
}

impl Threads {
    /// Starts `count` arbiter threads, and one that watches over them.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (running, ended) = mpsc::channel();
        let thread = std::thread::Builder::new().name("ionveil-system".into()).spawn(move || {
            let runner = System::new();
            let arbiters: Vec<Arbiter> = runner.block_on(async move { (0..count).map(|_| Arbiter::new()).collect() });
            let handles = arbiters.iter().map(Arbiter::handle).collect();
            let started: (Vec<ArbiterHandle>, System) = (handles, System::current());
            if sender.send(started).is_ok()
                && let Err(error) = runner.run()
            {
                tracing::error!(%error, "the actor system stopped with an error");
            }
            for arbiter in arbiters {
                arbiter.stop();
                if arbiter.join().is_err() {
                    tracing::error!("an actor thread panicked");
                }
            }
            drop(running);
        })?;
        let (arbiters, system) = receiver.recv().map_err(|_| io::Error::other("the actor threads did not start"))?;
        Ok(Threads { arbiters, system, thread: Some(thread), ended, is_this: false })
    }

    /// The arbiter that the entity with this hash lives on.
    pub(super) fn arbiter(&self, hash: u64) -> &ArbiterHandle {
        &self.arbiters[(hash % self.arbiters.len() as u64) as usize]
    }

    /// No threads: everything on this one, whose actix system is the host's.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn this() -> Self {
        let (_, ended) = mpsc::channel();
        Threads { arbiters: vec![Arbiter::current()], system: System::current(), thread: None, ended, is_this: true }
    }

    /// Whether everything happens on the thread that it was made on.
    pub(super) fn is_this(&self) -> bool {
        self.is_this
    }

    /// The thread that no entity lives on, so that none can keep it busy.
    pub(super) fn apart(&self) -> &ArbiterHandle {
        self.system.arbiter()
    }

    /// Stops all actors and joins all threads; those that are still at work after `timeout` are left to end by themselves.
    /// False when there are any.
    pub(super) fn stop(&mut self, timeout: Duration) -> bool {
        if self.is_this {
            return true;
        }
        self.system.stop();
        let Some(thread) = self.thread.take() else { return true };
        if self.ended.recv_timeout(timeout) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("an actor thread is still at work; it ends when that is done");
            return false;
        }
        if thread.join().is_err() {
            tracing::error!("the actor system panicked");
        }
        true
    }
}

impl Drop for Threads {
    /// Tells the threads to end and waits for none of them: the last owner may be one of them.
    fn drop(&mut self) {
        if !self.is_this {
            self.system.stop();
        }
    }
}
