//! Live updates: what changed since the last flush, told to whoever subscribed.
//!
//! Nothing here is on the way of an ingest. A flush reads the journal behind the position of the last one, so that it sees
//! every event however it was sent, and only events that are on disk; then it asks the orgs' entities what the changed
//! minutes add up to, and puts the answers into rings that subscribers read at their own pace.

mod changes;
mod ring;
mod subscription;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ionveil_actors::dispatch::{AggregatedMetric, Dispatches, GetMinutes, Metric};
use ionveil_actors::domain::{OrgId, Timestamp};
use ionveil_actors::error::Invalid;
use ionveil_actors::runtime::{Caller, Registry};
use ionveil_journal::{Journal, Position};
use pollster::block_on;
use serde::{Serialize, Serializer};

use self::changes::Changes;
use self::ring::Ring;
pub use self::subscription::{MetricUpdates, Update};
use crate::error::Error;

/// Updates that a subscriber may be behind before it loses the oldest.
pub const BUFFERED_UPDATES_MAX: usize = 1_024;

/// A metric of an org over one minute that has changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricUpdate {
    /// Everything up to this position of the journal is in the value. Never falls from update to update; resume from here.
    #[serde(serialize_with = "as_number")]
    pub position: Position,
    /// The metric over the minute: the mean, or the count for `dispatch_count`.
    #[serde(flatten)]
    pub metric: AggregatedMetric,
}

/// The updates of some minutes, each with its metric.
type ByMetric = Vec<(Metric, Arc<MetricUpdate>)>;

/// What a subscription is about. Equal ones share their updates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Topic {
    org: OrgId,
    metrics: BTreeSet<Metric>,
}

/// Follows the journal and tells subscribers.
pub(crate) struct Updates {
    journal: Arc<dyn Journal>,
    dispatches: Registry<Dispatches>,
    /// Read and not yet told. Held through a flush, so that there is one at a time.
    changes: Mutex<Changes>,
    rings: Mutex<HashMap<Topic, Arc<Ring>>>,
    timer: Mutex<Timer>,
    stopping: Condvar,
}

#[derive(Default)]
struct Timer {
    stopped: bool,
    thread: Option<JoinHandle<()>>,
}

impl Updates {
    /// Follows `journal` from its present head on. With an interval it flushes by itself, on a thread of its own.
    pub(crate) fn start(
        journal: Arc<dyn Journal>,
        dispatches: Registry<Dispatches>,
        interval: Option<Duration>,
    ) -> std::io::Result<Arc<Self>> {
        let changes = Mutex::new(Changes::since(journal.head().position));
        let updates = Arc::new(Updates {
            journal,
            dispatches,
            changes,
            rings: Mutex::default(),
            timer: Mutex::default(),
            stopping: Condvar::new(),
        });
        if let Some(interval) = interval {
            let flushing = Arc::clone(&updates);
            let thread = std::thread::Builder::new()
                .name("ionveil-flush".into())
                .spawn(move || flushing.flush_every(interval))?;
            locked(&updates.timer).thread = Some(thread);
        }
        Ok(updates)
    }

    /// Ends the thread, and every subscription once it has read what is there.
    pub(crate) fn stop(&self) {
        let thread = {
            let mut timer = locked(&self.timer);
            timer.stopped = true;
            self.stopping.notify_all();
            timer.thread.take()
        };
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the flushing thread panicked");
        }
        locked(&self.rings).drain().for_each(|(_, ring)| ring.close());
    }

    fn flush_every(&self, interval: Duration) {
        let mut timer = locked(&self.timer);
        while !timer.stopped {
            let (woken, waited) = self.stopping.wait_timeout(timer, interval).unwrap_or_else(PoisonError::into_inner);
            timer = woken;
            if waited.timed_out() && !timer.stopped {
                drop(timer);
                if let Err(error) = self.flush() {
                    tracing::warn!(%error, "live updates could not be made; they are with the next flush");
                }
                timer = locked(&self.timer);
            }
        }
    }

    /// Events accepted since the last flush. Reads them off the journal.
    pub(crate) fn buffered(&self) -> Result<usize, Error> {
        let mut changes = locked(&self.changes);
        changes.read(self.journal.as_ref())?;
        Ok(changes.events())
    }

    /// Tells subscribers of every minute that changed, and says how many updates that makes, heard or not.
    pub(crate) fn flush(&self) -> Result<usize, Error> {
        let mut changes = locked(&self.changes);
        changes.read(self.journal.as_ref())?;
        let position = changes.position();
        let told: usize = changes.orgs().map(|(_, minutes)| minutes.len() * Metric::ALL.len()).sum();
        for (org, minutes) in changes.orgs() {
            self.tell(org, minutes, position)?;
        }
        changes.forget();
        Ok(told)
    }

    fn tell(&self, org: &str, minutes: &BTreeSet<Timestamp>, position: Position) -> Result<(), Error> {
        let rings: Vec<(Topic, Arc<Ring>)> = {
            let mut rings = locked(&self.rings);
            rings.retain(|_, ring| ring.is_heard());
            let of_org = rings.iter().filter(|(topic, _)| topic.org.as_str() == org);
            of_org.map(|(topic, ring)| (topic.clone(), Arc::clone(ring))).collect()
        };
        if rings.is_empty() || minutes.is_empty() {
            return Ok(());
        }
        let (updates, unheard) = self.updates_of(org, minutes, position)?;
        for (topic, ring) in rings {
            let about = updates.iter().filter(|(metric, _)| topic.metrics.contains(metric));
            ring.publish(unheard * topic.metrics.len() as u64, about.map(|(_, update)| Arc::clone(update)));
        }
        Ok(())
    }

    /// The updates of the latest minutes that a ring can hold, and how many minutes before them are left out.
    fn updates_of(
        &self,
        org: &str,
        minutes: &BTreeSet<Timestamp>,
        position: Position,
    ) -> Result<(ByMetric, u64), Error> {
        let unheard = minutes.len().saturating_sub(BUFFERED_UPDATES_MAX);
        let asked = GetMinutes { minutes: minutes.iter().skip(unheard).copied().collect() };
        let values = block_on(self.dispatches.ask(org, asked, Caller::default()))?;
        let update = |metric: AggregatedMetric| Arc::new(MetricUpdate { position, metric });
        let of_minute = |values: [AggregatedMetric; 4]| Metric::ALL.into_iter().zip(values.map(update));
        Ok((values.into_iter().flat_map(of_minute).collect(), unheard as u64))
    }

    /// Subscribes: to what is flushed from now on, or also to what changed behind a position.
    pub(crate) fn subscribe(
        &self,
        org: &OrgId,
        metrics: &[Metric],
        from: Option<Position>,
    ) -> Result<MetricUpdates, Error> {
        let metrics: BTreeSet<Metric> = metrics.iter().copied().collect();
        if metrics.is_empty() {
            return Err(Invalid::new("metrics", "none", "at least one metric").into());
        }
        let topic = Topic { org: org.clone(), metrics };
        // First the ring, then what was before: a change in between comes twice, which says the same, and is never lost.
        let mut subscription = {
            // Entered under the lock, since a flush drops rings that nobody reads.
            let mut rings = locked(&self.rings);
            let ring = rings.entry(topic.clone()).or_insert_with(|| Arc::new(Ring::new()));
            MetricUpdates::new(Arc::clone(ring), self.journal.head().position)
        };
        if locked(&self.timer).stopped {
            subscription.close();
        }
        if let Some(from) = from {
            let mut changes = Changes::since(from);
            changes.read_org(self.journal.as_ref(), org)?;
            let position = changes.position();
            for (org, minutes) in changes.orgs() {
                let (updates, unheard) = self.updates_of(org, minutes, position)?;
                let about = updates.into_iter().filter(|(metric, _)| topic.metrics.contains(metric));
                let about = about.map(|(_, update)| update);
                subscription.catch_up(from, unheard * topic.metrics.len() as u64, about);
            }
        }
        Ok(subscription)
    }
}

fn as_number<S: Serializer>(position: &Position, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(position.get())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
