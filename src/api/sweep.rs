//! The safety sweep beside the deadlines: every so often it makes sure that nothing was overlooked.
//!
//! Deadlines come due by themselves, rules are told to every org as they change, and windows are judged by the dispatch that
//! closes them. What a crash between two of these steps, or a mistake in them, has left out is found here: an org that does
//! not know the newest rules and policy learns them, closed windows are judged, and what is due is done. What was done
//! already is not done again. An org is looked at only when something has changed since the last sweep, or is overdue.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use ionveil_actors::alerts::{Alerts, GetNextDue, RunDue, TakeKnown};
use ionveil_actors::dispatch::Dispatches;
use ionveil_actors::domain::{OrgId, Timestamp};
use ionveil_actors::runtime::Aggregate;
use ionveil_journal::{Sequence, StreamKind};
use pollster::block_on;

use super::known::{Ends, end, known, known_ends};
use super::window_judging::judge_windows;
use crate::error::Error;
use crate::instance::{Inner, IonVeil};

/// Incidents and alerts that are seen to at a time, as a wake does.
const ITEMS_MAX: usize = 1_000;

/// What the last sweep saw, and the thread that makes the next.
pub(crate) struct Sweeper {
    interval: Duration,
    seen: Mutex<HashMap<OrgId, Seen>>,
    timer: Mutex<Timer>,
    stopping: Condvar,
}

/// An org as the last sweep left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    known: Ends,
    alerts: Option<Sequence>,
    dispatches: Option<Sequence>,
    next_due: Option<Timestamp>,
}

#[derive(Default)]
struct Timer {
    stopped: bool,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// One that sweeps every `interval` once it is started; never by itself when that is zero.
    pub(crate) fn new(interval: Duration) -> Arc<Self> {
        Arc::new(Sweeper { interval, seen: Mutex::default(), timer: Mutex::default(), stopping: Condvar::new() })
    }

    /// Starts the thread, if it does not run yet. It sweeps at once, and then again and again while background work is on.
    pub(crate) fn start(self: &Arc<Self>, inner: &Arc<Inner>) -> std::io::Result<()> {
        let mut timer = locked(&self.timer);
        if timer.stopped || timer.thread.is_some() || self.interval.is_zero() {
            return Ok(());
        }
        let (sweeper, inner) = (Arc::clone(self), Arc::downgrade(inner));
        let thread = std::thread::Builder::new().name("ionveil-sweep".into());
        timer.thread = Some(thread.spawn(move || sweeper.sweep_every(&inner))?);
        Ok(())
    }

    /// Ends the thread, when it has finished what it is at.
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
            tracing::error!("the sweeping thread panicked");
        }
    }

    fn sweep_every(&self, inner: &Weak<Inner>) {
        loop {
            match inner.upgrade() {
                None => return,
                Some(inner) => {
                    let ionveil = IonVeil::of(inner);
                    let goes_on = || ionveil.is_in_background() && !locked(&self.timer).stopped;
                    if let Err(error) = block_on(self.sweep(&ionveil, &goes_on)) {
                        tracing::warn!(%error, "the sweep did not get to its end; the next one begins anew");
                    }
                }
            }
            let timer = locked(&self.timer);
            let waiting = self.stopping.wait_timeout_while(timer, self.interval, |timer| !timer.stopped);
            if waiting.unwrap_or_else(PoisonError::into_inner).0.stopped {
                return;
            }
        }
    }

    /// Looks at every org that has changed or is overdue, as long as `goes_on` says so. Of several errors the first one is
    /// told, when all were looked at.
    async fn sweep(&self, ionveil: &IonVeil, goes_on: &impl Fn() -> bool) -> Result<(), Error> {
        let mut failed = None;
        let inner = &ionveil.inner;
        let mut orgs: Vec<String> = inner.alerts.ids().into_iter().chain(inner.dispatches.ids()).collect();
        orgs.sort_unstable();
        orgs.dedup();
        for org in orgs {
            if !goes_on() {
                break;
            }
            let swept = match org.parse() {
                Ok(org) => self.sweep_org(ionveil, org, goes_on).await,
                Err(invalid) => Err(Error::from(invalid)),
            };
            failed = failed.or(swept.err());
        }
        failed.map_or(Ok(()), Err)
    }

    async fn sweep_org(&self, ionveil: &IonVeil, org: OrgId, goes_on: &impl Fn() -> bool) -> Result<(), Error> {
        let length = |kind: StreamKind| end(ionveil, kind, org.as_str());
        let last = locked(&self.seen).get(&org).copied();
        let mut seen = Seen {
            known: known_ends(ionveil, &org)?,
            alerts: length(Alerts::KIND)?,
            dispatches: length(Dispatches::KIND)?,
            next_due: last.and_then(|last| last.next_due),
        };
        if last == Some(seen) && seen.next_due.is_none_or(|due| due > ionveil.now()) {
            return Ok(());
        }
        // First, since it reads on from where it stopped: also what was closed before the alerts began.
        if last.is_none_or(|last| (last.known, last.dispatches) != (seen.known, seen.dispatches)) {
            judge_windows(ionveil, &org).await?;
        }
        let (alerts, caller) = (&ionveil.inner.alerts, || ionveil.caller.clone());
        if length(Alerts::KIND)?.is_some() {
            if last.is_none_or(|last| last.known != seen.known) {
                let known = known(ionveil, &org).await?;
                alerts.tell(org.as_str(), TakeKnown { known, at: None }, caller()).await?;
            }
            seen.next_due = alerts.ask(org.as_str(), GetNextDue, caller()).await?;
            while seen.next_due.is_some_and(|due| due <= ionveil.now()) && goes_on() {
                let done = alerts.tell(org.as_str(), RunDue { items_max: ITEMS_MAX }, caller()).await?;
                seen.next_due = alerts.ask(org.as_str(), GetNextDue, caller()).await?;
                if !done.has_more {
                    break;
                }
            }
        }
        // What happened meanwhile is looked at next time.
        locked(&self.seen).insert(org, seen);
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use ionveil_actors::domain::OrgId;
    use ionveil_actors::rules::{AlertRule, AlertSeverity, Condition};
    use ionveil_actors::runtime::{Clock as _, ManualClock};

    use super::*;
    use crate::{Config, IncidentCheck};

    fn org() -> OrgId {
        "org".parse().expect("an id")
    }

    fn rule(id: &str, condition: Condition) -> AlertRule {
        AlertRule::new(id, id, condition, AlertSeverity::Critical)
    }

    fn events(ionveil: &IonVeil) -> u64 {
        ionveil.audit().stat().events
    }

    /// An open incident of the first priority.
    fn dispatched(org_id: OrgId, dispatch_time: Timestamp) -> IncidentCheck {
        IncidentCheck {
            incident_id: "i".into(),
            org_id,
            priority: 1,
            dispatch_time,
            arrival_time: None,
            closed_time: None,
            current_time: None,
        }
    }

    #[test]
    fn what_is_due_and_what_is_new_is_found_once() {
        let noon = "2026-03-01T12:00:00Z".parse().expect("an instant");
        let clock = Arc::new(ManualClock::new(noon));
        let ionveil = IonVeil::open(Config::in_memory().without_background().with_clock(Arc::clone(&clock) as _));
        let ionveil = ionveil.expect("it opens");
        let monitor = ionveil.sla_monitor_service();
        let sweeper = Sweeper::new(Duration::from_secs(30));
        let raised = || {
            block_on(sweeper.sweep(&ionveil, &|| true)).expect("swept");
            let alerts = block_on(monitor.get_active_alerts(&org(), None, None)).expect("a list");
            alerts.into_iter().map(|alert| alert.rule_id).collect::<Vec<_>>()
        };
        assert_eq!(raised(), [""; 0], "nothing is known of anybody");
        block_on(monitor.add_rule(rule("breach", Condition::SlaBreach))).expect("stored");
        block_on(monitor.check_incident(dispatched(org(), noon))).expect("checked");
        assert_eq!(raised(), [""; 0]);
        // A deadline that nobody was woken for.
        clock.set(noon.saturating_add_micros(300_000_000));
        assert_eq!(raised(), ["breach"]);
        let written = events(&ionveil);
        assert_eq!(raised(), ["breach"]);
        assert_eq!(events(&ionveil), written, "a sweep that finds nothing writes nothing");
        // A rule that nobody told the org of; the incident is open still.
        block_on(monitor.add_rule(rule("late", Condition::SlaBreach))).expect("stored");
        assert_eq!(raised(), ["breach", "late"]);
        assert_eq!(block_on(monitor.get_active_alerts(&org(), None, None)).expect("a list")[0].occurrences, 1);
        assert_eq!(clock.now(), noon.saturating_add_micros(300_000_000));
    }

    #[test]
    fn a_sweep_that_is_stopped_leaves_the_rest_to_the_next_one() {
        let noon: Timestamp = "2026-03-01T12:00:00Z".parse().expect("an instant");
        let clock = Arc::new(ManualClock::new(noon));
        let ionveil = IonVeil::open(Config::in_memory().without_background().with_clock(Arc::clone(&clock) as _));
        let ionveil = ionveil.expect("it opens");
        let monitor = ionveil.sla_monitor_service();
        block_on(monitor.add_rule(rule("breach", Condition::SlaBreach))).expect("stored");
        let orgs = ["a", "b", "c"].map(|org| org.parse::<OrgId>().expect("an id"));
        for org_id in orgs.clone() {
            block_on(monitor.check_incident(dispatched(org_id, noon))).expect("checked");
        }
        clock.set(noon.saturating_add_micros(300_000_000));
        let raised =
            || orgs.each_ref().map(|org| block_on(monitor.get_active_alerts(org, None, None)).expect("a list").len());
        let sweeper = Sweeper::new(Duration::from_secs(30));
        // Once it has raised anything it is to stop.
        block_on(sweeper.sweep(&ionveil, &|| raised() == [0; 3])).expect("swept");
        assert_eq!(raised(), [1, 0, 0]);
        block_on(sweeper.sweep(&ionveil, &|| true)).expect("swept");
        assert_eq!(raised(), [1; 3]);
    }

    #[test]
    fn it_keeps_nothing_alive_and_ends_with_the_last_handle() {
        let dir = tempfile::tempdir().expect("a directory");
        for _ in 0..5 {
            let config = Config::at(dir.path()).with_check_interval(Duration::from_nanos(1));
            let ionveil = IonVeil::open(config).expect("nobody holds the journal any more");
            let rule = rule("breach", Condition::SlaBreach);
            block_on(ionveil.sla_monitor_service().add_rule(rule)).expect("stored");
            let sweeper = Arc::clone(ionveil.sweeper());
            drop(ionveil);
            let timer = locked(&sweeper.timer);
            assert!(timer.stopped && timer.thread.is_none());
        }
    }
}
