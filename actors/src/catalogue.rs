//! Every kind of stream with its events, for whoever reads the journal without knowing what is in it.

use ionveil_journal::Record;
use serde_json::{Value, json};

use crate::dispatch;
use crate::runtime::{Aggregate, Event};

/// A stored event's payload as an auditor sees it. One that cannot be read is shown as `{"unreadable": why}`.
pub fn payload_json(record: &Record<'_>) -> Value {
    let kind = record.stream.split('/').next().unwrap_or_default();
    let decoded = if kind == dispatch::Dispatches::KIND.as_str() {
        decoded_json::<dispatch::Event>(record)
    } else {
        Err(format!("streams of kind {kind} are not known"))
    };
    decoded.unwrap_or_else(|why| json!({ "unreadable": why }))
}

fn decoded_json<E: Event>(record: &Record<'_>) -> Result<Value, String> {
    E::decode(record.event_type, record.version, record.codec, record.payload)
        .map(|event| event.to_json())
        .map_err(|error| error.to_string())
}
