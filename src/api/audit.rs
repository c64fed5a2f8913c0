//! The journal as an auditor reads it: what changed, when, by whom, why, and whether it is all as it was written.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use ionveil_actors::alerts::Alerts;
use ionveil_actors::catalogue::payload_json;
use ionveil_actors::domain::{OrgId, Timestamp, check_id, check_label};
use ionveil_actors::error::{Error as ServiceError, Invalid};
use ionveil_actors::rules::Rules;
use ionveil_actors::runtime::Aggregate as _;
use ionveil_journal::{Hash, Journal, Position, Record, Sequence, StreamId, StreamSummary, VerifyReport, verify_copy};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::audit_entries::AuditEntries;
use crate::error::Error;
use crate::instance::{IonVeil, journal_dir};

/// Who stands in the trail for what IonVeil does by itself.
pub(crate) const SYSTEM: &str = "system";

/// Entries of one page at most.
pub(super) const PAGE_ENTRIES_MAX: usize = 1_000;

/// Reads and verifies the journal of a running IonVeil.
#[derive(Clone)]
pub struct Audit {
    ionveil: IonVeil,
}

/// Which entries are wanted: all that match everything given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of that stream.
    pub stream: Option<StreamId>,
    /// With that sequence or a later one.
    pub from_sequence: Option<u64>,
    /// With that sequence or an earlier one.
    pub to_sequence: Option<u64>,
    /// Of the streams of that org, and of the rules that are its own.
    pub org: Option<OrgId>,
    /// About that incident or an alert of it.
    pub incident: Option<String>,
    /// About that alert.
    pub alert: Option<String>,
    /// Done by that principal; `system` is the system itself.
    pub user: Option<String>,
    /// Recorded at that instant or later.
    pub from: Option<Timestamp>,
    /// Recorded before that instant.
    pub to: Option<Timestamp>,
}

/// One event as an auditor sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditEntry {
    /// Place in the journal.
    pub position: u64,
    /// The stream's address.
    pub stream: String,
    /// Place in the stream.
    pub sequence: u64,
    /// When it was written, by the machine's clock.
    pub recorded_at: Timestamp,
    /// Its identity.
    pub event_id: Uuid,
    /// The name of its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The version of its type.
    pub version: u16,
    /// Who acted; `system` is the system itself.
    pub by: String,
    /// What all events of one conversation share.
    pub correlation_id: Option<Uuid>,
    /// The command or event that it follows from.
    pub causation_id: Option<Uuid>,
    /// The event itself.
    pub payload: Value,
}

/// Figures about the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JournalStat {
    /// The store it lies in.
    pub engine: &'static str,
    /// Events.
    pub events: u64,
    /// Blocks they are packed in.
    pub blocks: u64,
    /// Streams.
    pub streams: u64,
    /// The end.
    #[serde(flatten)]
    pub head: JournalHead,
    /// Bytes taken up, with all that surrounds the events.
    pub bytes_on_disk: u64,
    /// Stored snapshots of state.
    pub snapshots: u64,
}

/// The end of the journal. Kept elsewhere, the hash proves later that nothing before it was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct JournalHead {
    /// The last event's position; 0 in an empty journal.
    pub head_position: u64,
    /// The hash chain there: 64 hexadecimal digits.
    #[serde(serialize_with = "as_text")]
    pub head_hash: Hash,
}

fn as_text<S: serde::Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(hash)
}

/// One stream and its length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamEntry {
    /// Its address.
    pub stream: String,
    /// How many events it holds.
    pub events: u64,
    /// The sequence of the last one.
    pub last_sequence: u64,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Whether every event is as it was written, and none is missing.
    pub ok: bool,
    /// Events that were checked and are sound.
    pub events: u64,
    /// Blocks that were checked.
    pub blocks: u64,
    /// The last sound position, and the hash chain there as computed from the events.
    #[serde(flatten)]
    pub head: JournalHead,
    /// The first position that is missing or cannot be trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_bad_position: Option<u64>,
    /// What is wrong there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Audit {
    /// The audit of a running IonVeil.
    pub fn new(ionveil: &IonVeil) -> Self {
        Audit { ionveil: ionveil.clone() }
    }

    /// The next matching entries after a position (0 to begin with), in the order of positions: at most 1,000, and fewer
    /// than that only at the end.
    ///
    /// # Errors
    /// `invalid` when the filter asks for what nothing can be called. `corrupt` when an event on the way is damaged.
    pub async fn page(&self, filter: AuditFilter, after: u64) -> Result<Vec<AuditEntry>, Error> {
        filter.check()?;
        let journal = Arc::clone(self.ionveil.inner.runtime.journal());
        let read = move || read_page(journal.as_ref(), &filter, after);
        Ok(self.ionveil.inner.runtime.run_blocking(read).await?)
    }

    /// The matching entries after a position (0 to begin with): those that are there, then those that come, each once they are
    /// on disk. For hosts that act on what happens.
    ///
    /// # Errors
    /// `invalid` when the filter asks for what nothing can be called, `unavailable` after the shutdown.
    pub fn subscribe(&self, filter: AuditFilter, after: u64) -> Result<AuditEntries, Error> {
        filter.check()?;
        Ok(AuditEntries::new(Arc::clone(&self.ionveil.inner.runtime), filter, after)?)
    }

    /// Every stream with its length, by address.
    pub fn streams(&self) -> Vec<StreamEntry> {
        let streams = self.ionveil.inner.runtime.journal().streams().into_iter();
        let entry = |summary: ionveil_journal::StreamSummary| StreamEntry {
            stream: summary.stream.to_string(),
            events: summary.events,
            last_sequence: summary.last_sequence.get(),
        };
        streams.map(entry).collect()
    }

    /// How many events a stream holds.
    ///
    /// # Errors
    /// `not_found` when nothing was ever written to it.
    pub fn stream_len(&self, stream: &StreamId) -> Result<u64, Error> {
        match self.ionveil.inner.runtime.journal().stream_head(stream) {
            Some((head, _)) => Ok(head.get()),
            None => Err(ServiceError::NotFound { what: "stream", id: stream.to_string() }.into()),
        }
    }

    /// Figures about the journal. Asks the file system for its size, so it may block for as long as that takes.
    pub fn stat(&self) -> JournalStat {
        let stat = self.ionveil.inner.runtime.journal().stat();
        JournalStat {
            engine: stat.engine,
            events: stat.events,
            blocks: stat.blocks,
            streams: stat.streams,
            head: head_of(stat.head),
            bytes_on_disk: stat.bytes_on_disk,
            snapshots: stat.snapshots,
        }
    }

    /// Checks every durable event of the running journal against the hash chain, the head checkpoint and, if given, a
    /// head hash that was kept elsewhere. It goes on running meanwhile.
    ///
    /// # Errors
    /// When the store cannot be read at all; damage is not an error but the answer.
    pub async fn verify(&self, expected: Option<Hash>) -> Result<Verification, Error> {
        let journal = Arc::clone(self.ionveil.inner.runtime.journal());
        let verify = move || Ok(journal.verify(expected, &mut |_| {})?);
        Ok(verification(self.ionveil.inner.runtime.run_blocking(verify).await?))
    }
}

/// Verifies the journal of a data directory that nobody has open, on a copy, so that the evidence stays as it is.
/// `progress` is called now and then with the number of events checked.
///
/// # Errors
/// `not_found` when there is no journal, `unavailable` when a process holds it or it cannot be copied. Damage is not an
/// error but the answer.
pub fn verify_data(
    data_dir: &Path,
    expected: Option<Hash>,
    progress: &mut dyn FnMut(u64),
) -> Result<Verification, Error> {
    Ok(verification(verify_copy(&journal_dir(data_dir), expected, progress)?))
}

fn verification(report: VerifyReport) -> Verification {
    Verification {
        ok: report.is_ok(),
        events: report.events,
        blocks: report.blocks,
        head: head_of(report.head),
        first_bad_position: report.damage.as_ref().map(|damage| damage.position.get()),
        problem: report.damage.map(|damage| damage.problem),
    }
}

fn head_of(head: ionveil_journal::Head) -> JournalHead {
    JournalHead { head_position: head.position.get(), head_hash: head.hash }
}

fn read_page(journal: &dyn Journal, filter: &AuditFilter, after: u64) -> Result<Vec<AuditEntry>, ServiceError> {
    let Some(stream) = &filter.stream else { return read_behind(journal, filter, after) };
    let from = Sequence::new(filter.from_sequence.unwrap_or(1));
    let to = Sequence::new(filter.to_sequence.unwrap_or(u64::MAX));
    matching(journal, filter, after, |visit| journal.read_stream(stream, from, to, visit))
}

/// As [`read_page`], but never looks at what lies before the position: for who follows the journal.
pub(super) fn read_behind(
    journal: &dyn Journal,
    filter: &AuditFilter,
    after: u64,
) -> Result<Vec<AuditEntry>, ServiceError> {
    let from = Position::new(after).plus(1);
    matching(journal, filter, after, |visit| journal.read_all(from, Position::MAX, visit))
}

fn matching(
    journal: &dyn Journal,
    filter: &AuditFilter,
    after: u64,
    read: impl FnOnce(&mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<(), ionveil_journal::Error>,
) -> Result<Vec<AuditEntry>, ServiceError> {
    let named = Named::by(filter, journal)?;
    let mut entries = Vec::new();
    read(&mut |record| {
        if record.position.get() > after
            && let Some(entry) = filter.entry(record, &named)
        {
            entries.push(entry);
        }
        if entries.len() == PAGE_ENTRIES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(entries)
}

/// What events are about that say so by the id of something else: an acknowledgement names its alert and not the incident,
/// the removal of a rule names the rule and not its org.
#[derive(Default)]
struct Named {
    /// The ids of the incident's alerts.
    alerts: BTreeSet<String>,
    /// The positions at which a rule of the org was set or removed.
    rules: BTreeSet<u64>,
}

impl Named {
    fn by(filter: &AuditFilter, journal: &dyn Journal) -> Result<Self, ServiceError> {
        let mut named = Named::default();
        if filter.incident.is_none() && filter.org.is_none() {
            return Ok(named);
        }
        for StreamSummary { stream, .. } in journal.streams() {
            let kind = stream.kind();
            let is_of_org = filter.org.as_ref().is_none_or(|org| is_stream_of(stream.as_str(), org));
            let all = |visit: &mut dyn FnMut(&Record<'_>)| {
                journal.read_stream(&stream, Sequence::new(1), Sequence::new(u64::MAX), &mut |record| {
                    visit(record);
                    ControlFlow::Continue(())
                })
            };
            match (&filter.incident, &filter.org) {
                (Some(incident), _) if is_of_org && kind == Alerts::KIND.as_str() => {
                    all(&mut |record| named.alerts.extend(alert_about(incident, record)))?;
                }
                (_, Some(org)) if kind == Rules::KIND.as_str() => {
                    let mut of_org = BTreeSet::new();
                    all(&mut |record| {
                        if is_rule_of(org, record, &mut of_org) {
                            named.rules.insert(record.position.get());
                        }
                    })?;
                }
                _ => {}
            }
        }
        Ok(named)
    }
}

fn is_stream_of(stream: &str, org: &OrgId) -> bool {
    stream.split_once('/').is_some_and(|(_, id)| id == org.as_str())
}

fn alert_about(incident: &str, record: &Record<'_>) -> Option<String> {
    let payload = payload_json(record);
    let is_about = payload.get("incident_id").and_then(Value::as_str) == Some(incident);
    is_about.then(|| payload.get("alert_id").and_then(Value::as_str).map(str::to_owned)).flatten()
}

/// Whether the record sets or removes a rule of the org, or takes one from it; `of_org` are the org's rules so far.
fn is_rule_of(org: &OrgId, record: &Record<'_>, of_org: &mut BTreeSet<String>) -> bool {
    let payload = payload_json(record);
    let Some(rule_id) = payload.get("rule_id").and_then(Value::as_str) else { return false };
    if payload.get("org_id").and_then(Value::as_str) == Some(org.as_str()) {
        of_org.insert(rule_id.to_owned());
        return true;
    }
    of_org.remove(rule_id)
}

impl AuditFilter {
    /// Checks the names that it asks for, for whoever has work to do before the first page.
    ///
    /// # Errors
    /// Names the first that nothing and nobody can bear.
    pub fn check(&self) -> Result<(), Invalid> {
        self.incident.as_deref().map_or(Ok(()), |incident| check_id("incident", incident))?;
        self.alert.as_deref().map_or(Ok(()), |alert| check_label("alert", alert))?;
        self.user.as_deref().map_or(Ok(()), |user| check_label("user", user))
    }

    /// The record as an entry, if it matches. What the envelope can tell is asked first; payloads are read last.
    fn entry(&self, record: &Record<'_>, named: &Named) -> Option<AuditEntry> {
        let recorded_at = Timestamp::EPOCH.saturating_add_micros(record.recorded_at_micros);
        let by = record.principal.unwrap_or(SYSTEM);
        let sequence = record.sequence.get();
        let envelope_fits = self.stream.as_ref().is_none_or(|stream| stream.as_str() == record.stream)
            && self.from_sequence.is_none_or(|from| sequence >= from)
            && self.to_sequence.is_none_or(|to| sequence <= to)
            && self
                .org
                .as_ref()
                .is_none_or(|org| is_stream_of(record.stream, org) || named.rules.contains(&record.position.get()))
            && self.user.as_ref().is_none_or(|user| user == by)
            && self.from.is_none_or(|from| recorded_at >= from)
            && self.to.is_none_or(|to| recorded_at < to);
        if !envelope_fits {
            return None;
        }
        let payload = payload_json(record);
        let text = |name: &str| payload.get(name).and_then(Value::as_str);
        let alert = text("alert_id");
        let incident_fits = self.incident.as_ref().is_none_or(|incident| {
            text("incident_id") == Some(incident) || alert.is_some_and(|alert| named.alerts.contains(alert))
        });
        let alert_fits = self.alert.as_ref().is_none_or(|wanted| alert == Some(wanted));
        if !incident_fits || !alert_fits {
            return None;
        }
        Some(AuditEntry {
            position: record.position.get(),
            stream: record.stream.to_owned(),
            sequence,
            recorded_at,
            event_id: record.id,
            event_type: record.event_type.to_owned(),
            version: record.version,
            by: by.to_owned(),
            correlation_id: record.correlation_id,
            causation_id: record.causation_id,
            payload,
        })
    }
}
