//! Which minutes of which orgs changed behind a position, read off the journal.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use ionveil_actors::dispatch::{Dispatches, Event, Status};
use ionveil_actors::domain::{MICROS_PER_MINUTE, OrgId, Timestamp};
use ionveil_actors::runtime::{Aggregate as _, Event as _, is_note};
use ionveil_journal::{Journal, Position, Record};

use crate::error::Error;

/// What happened behind one position up to another.
pub(super) struct Changes {
    position: Position,
    events: usize,
    /// By org: the starts of the minutes in which a closed dispatch was accepted.
    minutes: HashMap<String, BTreeSet<Timestamp>>,
}

impl Changes {
    /// Nothing yet; what is read begins behind `position`.
    pub(super) fn since(position: Position) -> Self {
        Changes { position, events: 0, minutes: HashMap::new() }
    }

    /// Everything up to here was read.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Dispatch events that were accepted, whatever their status.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    pub(super) fn orgs(&self) -> impl Iterator<Item = (&str, &BTreeSet<Timestamp>)> {
        self.minutes.iter().map(|(org, minutes)| (org.as_str(), minutes))
    }

    /// Forgets what was read and goes on behind it.
    pub(super) fn forget(&mut self) {
        *self = Changes::since(self.position);
    }

    /// Reads on to the end of what is durable.
    pub(super) fn read(&mut self, journal: &dyn Journal) -> Result<(), Error> {
        self.read_where(journal, |_| true)
    }

    /// The same, of one org only.
    pub(super) fn read_org(&mut self, journal: &dyn Journal, org: &OrgId) -> Result<(), Error> {
        self.read_where(journal, |of| of == org.as_str())
    }

    fn read_where(&mut self, journal: &dyn Journal, is_meant: impl Fn(&str) -> bool) -> Result<(), Error> {
        let head = journal.head().position;
        if head <= self.position {
            return Ok(());
        }
        let mut fault = None;
        journal.read_all(self.position.plus(1), head, &mut |record| {
            let Some((kind, org)) = record.stream.split_once('/') else { return ControlFlow::Continue(()) };
            let is_dispatch = kind == Dispatches::KIND.as_str() && is_meant(org) && !is_note(record.event_type);
            if is_dispatch && let Err(error) = self.take(org, record) {
                fault = Some(error);
                return ControlFlow::Break(());
            }
            self.position = record.position;
            ControlFlow::Continue(())
        })?;
        match fault {
            Some(error) => Err(error),
            None => {
                self.position = head;
                Ok(())
            }
        }
    }

    fn take(&mut self, org: &str, record: &Record<'_>) -> Result<(), Error> {
        let decoded = Event::decode(record.event_type, record.version, record.codec, record.payload);
        let event = decoded.map_err(|error| ionveil_actors::error::Error::Corrupt {
            stream: record.stream.to_owned(),
            sequence: record.sequence.get(),
            cause: error.to_string(),
        })?;
        let Event::Recorded(event) = event else { return Ok(()) };
        self.events += 1;
        if event.status == Status::Closed {
            let minute = event.timestamp.as_micros().div_euclid(MICROS_PER_MINUTE) * MICROS_PER_MINUTE;
            let minute = Timestamp::EPOCH.saturating_add_micros(minute);
            match self.minutes.get_mut(org) {
                Some(minutes) => minutes.insert(minute),
                None => self.minutes.entry(org.to_owned()).or_default().insert(minute),
            };
        }
        Ok(())
    }
}
