//! Many dispatches on their way to disk at once, within a bound.

use std::collections::{HashMap, VecDeque};

use ionveil_actors::dispatch::{DispatchEvent, IngestBatch, IngestReport, METADATA_DEPTH_MAX};
use ionveil_actors::domain::OrgId;
use ionveil_actors::runtime::{Caller, Reply};
use serde_json::Value;
use uuid::Uuid;

use super::window_judging::judge_windows;
use crate::error::Error;
use crate::instance::IonVeil;

/// Events of one message at most, so that no single one holds an entity for long.
const MESSAGE_EVENTS_MAX: usize = 1_000;
/// A message is sent when it has grown to this, whatever the number of its events.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// What is held and under way: half of what the journal's queue takes, so that a stream never crowds itself out.
const BYTES_MAX: usize = ionveil_journal::QUEUE_BYTES_MAX / 2;
/// Messages under way at a time, if the runtime's limits allow as many.
const UNDER_WAY_MAX: usize = 16;
/// Orgs whose events are held at a time.
const ORGS_MAX: usize = 1_000;

/// Takes in events one by one, sends them in messages per org, keeps several of those under way, and gives back what
/// became of each in the order in which they were sent. Every event carries a tag of the caller's, such as its line.
///
/// Push events; whenever [`IngestStream::is_full`] says so, settle; at the end [`IngestStream::flush`] and settle until
/// nothing is left. What is dropped unsettled may have been counted.
pub struct IngestStream<T> {
    ionveil: IonVeil,
    messages_max: usize,
    filling: HashMap<OrgId, Filling<T>>,
    under_way: VecDeque<UnderWay<T>>,
    /// Of what is filling and of what is under way.
    bytes: usize,
    is_flushing: bool,
    messages_sent: u64,
}

struct Filling<T> {
    tags: Vec<T>,
    batch: IngestBatch,
    /// The events' ids, when the message has an id that follows from them.
    names: Vec<u8>,
    bytes: usize,
}

struct UnderWay<T> {
    org: OrgId,
    tags: Vec<T>,
    bytes: usize,
    reply: Reply<IngestReport>,
}

/// One message that is done: indices in the report are those of the tags.
#[derive(Debug)]
pub struct Settled<T> {
    /// The tags of the message's events.
    pub tags: Vec<T>,
    /// What became of them. What was accepted is on disk.
    pub report: IngestReport,
}

impl<T> IngestStream<T> {
    pub(super) fn new(ionveil: &IonVeil) -> Self {
        let limits = ionveil.inner.runtime.limits();
        let messages_max = limits.entity_messages_max.min(limits.system_messages_max).clamp(1, UNDER_WAY_MAX);
        IngestStream {
            ionveil: ionveil.clone(),
            messages_max,
            filling: HashMap::new(),
            under_way: VecDeque::new(),
            bytes: 0,
            is_flushing: false,
            messages_sent: 0,
        }
    }

    /// Takes one event in. It may be sent now or with later ones.
    pub fn push(&mut self, tag: T, event: DispatchEvent) {
        let filling = match self.filling.get_mut(&event.org_id) {
            Some(filling) => filling,
            None => self.filling.entry(event.org_id.clone()).or_default(),
        };
        let bytes = stored_len(&event);
        self.bytes += bytes;
        filling.bytes += bytes;
        filling.tags.push(tag);
        if self.ionveil.caller.command_id.is_some() {
            filling.names.extend_from_slice(event.event_id.as_bytes());
            filling.names.push(0);
        }
        let is_full = filling.tags.len() == MESSAGE_EVENTS_MAX || filling.bytes >= MESSAGE_BYTES_MAX;
        let full = is_full.then(|| event.org_id.clone());
        filling.batch.push(event);
        if let Some(org) = full
            && let Some(full) = self.filling.remove(&org)
        {
            self.send(&org, full);
        }
    }

    /// Whether so much is held or under way that the caller should settle before it pushes more.
    pub fn is_full(&self) -> bool {
        self.under_way.len() >= self.messages_max || self.bytes >= BYTES_MAX || self.filling.len() > ORGS_MAX
    }

    /// Says that no more is pushed: what is held to be sent with later events is sent as well.
    pub fn flush(&mut self) {
        self.is_flushing = true;
    }

    /// Waits until the oldest message under way is done; `None` when none is, and none is to be sent.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`: then some of that message's events may have been counted. Sending them again
    /// is safe.
    pub async fn settle(&mut self) -> Result<Option<Settled<T>>, Error> {
        while self.under_way.is_empty() || (self.is_flushing && self.under_way.len() < self.messages_max) {
            // Always the same one, so that what is sent again goes in the same messages.
            let Some(org) = self.filling.keys().min().cloned() else { break };
            if let Some(filling) = self.filling.remove(&org) {
                self.send(&org, filling);
            }
        }
        let Some(UnderWay { org, tags, bytes, reply }) = self.under_way.pop_front() else { return Ok(None) };
        let report = reply.await;
        self.bytes -= bytes;
        let report = report?;
        if report.accepted > 0 {
            // What these dispatches have closed is judged before anybody hears that they are counted.
            judge_windows(&self.ionveil, &org).await?;
        }
        Ok(Some(Settled { tags, report }))
    }

    fn send(&mut self, org: &OrgId, filling: Filling<T>) {
        let Filling { tags, batch, names, bytes } = filling;
        let caller = Caller { command_id: self.command_id(&names), ..self.ionveil.caller.clone() };
        self.messages_sent += 1;
        let reply = self.ionveil.inner.dispatches.tell(org.as_str(), batch, caller);
        self.under_way.push_back(UnderWay { org: org.clone(), tags, bytes, reply });
    }
}

impl<T> IngestStream<T> {
    /// The id of the next message of a stream that was given one. It follows from the events in it too, so that the report it
    /// brings back is never that of others.
    fn command_id(&self, names: &[u8]) -> Option<Uuid> {
        let of_stream = self.ionveil.caller.command_id?;
        Some(Uuid::new_v5(&of_stream, &[&self.messages_sent.to_le_bytes(), names].concat()))
    }
}

impl<T> Default for Filling<T> {
    fn default() -> Self {
        Filling { tags: Vec::new(), batch: IngestBatch::default(), names: Vec::new(), bytes: 0 }
    }
}

/// Bytes that an event takes up in the journal, about.
fn stored_len(event: &DispatchEvent) -> usize {
    const ENVELOPE_AND_NUMBERS: usize = 200;
    let texts = [&event.event_id, &event.dispatch_id, &event.region, &event.unit_type];
    let metadata: usize = event.metadata.iter().map(|(name, value)| text_len(name) + json_len(value, 1)).sum();
    ENVELOPE_AND_NUMBERS + texts.iter().map(|text| text.len()).sum::<usize>() + metadata
}

fn json_len(value: &Value, depth: usize) -> usize {
    const PUNCTUATION: usize = 4;
    // What is nested deeper is rejected anyway; here it must not use up the stack.
    if depth > METADATA_DEPTH_MAX {
        return PUNCTUATION;
    }
    PUNCTUATION
        + match value {
            Value::Null | Value::Bool(_) => 8,
            Value::Number(_) => 24,
            Value::String(text) => text_len(text),
            Value::Array(values) => values.iter().map(|value| json_len(value, depth + 1)).sum(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| text_len(name) + json_len(value, depth + 1)).sum()
            }
        }
}

/// The length of a text as JSON, where a control character takes six bytes.
fn text_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}
