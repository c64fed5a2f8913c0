//! The journal as somebody follows it: what is there, then what comes.
//!
//! It reads at the pace of whoever asks, so nothing is buffered for one who is slow, nothing is lost to him, and no writer
//! waits. It keeps nothing alive: when the last handle of the host goes, it ends.

use std::collections::VecDeque;
use std::sync::Arc;

use ionveil_actors::error::Error as ServiceError;
use ionveil_actors::runtime::Runtime;
use ionveil_journal::Head;
use tokio::sync::watch;

use super::audit::{AuditEntry, AuditFilter, PAGE_ENTRIES_MAX, read_behind};
use crate::error::Error;

/// The entries of a subscription, in the order of positions. Any executor can drive it.
pub struct AuditEntries {
    runtime: Arc<Runtime>,
    filter: AuditFilter,
    head: watch::Receiver<Head>,
    /// Everything up to here was looked at.
    read: u64,
    page: VecDeque<AuditEntry>,
}

impl AuditEntries {
    pub(super) fn new(runtime: Arc<Runtime>, filter: AuditFilter, after: u64) -> Result<Self, ServiceError> {
        let head = runtime.journal().watch_head()?;
        Ok(AuditEntries { runtime, filter, head, read: after, page: VecDeque::new() })
    }

    /// The next entry, as soon as there is one; `None` when IonVeil shuts down. May be dropped and called again.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, or `corrupt` when an event on the way is damaged; asked again it goes on where it was.
    pub async fn next(&mut self) -> Option<Result<AuditEntry, Error>> {
        loop {
            if let Some(entry) = self.page.pop_front() {
                return Some(Ok(entry));
            }
            let read = self.read;
            // What is written while a page is read lies behind it, or comes with the next one.
            let head = match self.head.wait_for(|head| head.position.get() > read).await {
                Ok(head) => head.position.get(),
                Err(_) => return None,
            };
            match self.page().await {
                Ok(page) if page.len() == PAGE_ENTRIES_MAX => self.take(page, read),
                Ok(page) => self.take(page, head),
                // The end of the head's view is the end of the journal.
                Err(_) if self.head.has_changed().is_err() => return None,
                Err(error) => return Some(Err(error.into())),
            }
        }
    }

    async fn page(&self) -> Result<Vec<AuditEntry>, ServiceError> {
        let journal = Arc::clone(self.runtime.journal());
        let (filter, after) = (self.filter.clone(), self.read);
        self.runtime.run_blocking(move || read_behind(journal.as_ref(), &filter, after)).await
    }

    /// Takes a page over, of which at least everything up to `read` was looked at.
    fn take(&mut self, page: Vec<AuditEntry>, read: u64) {
        self.read = page.last().map_or(read, |last| last.position.max(read));
        self.page = page.into();
    }
}
