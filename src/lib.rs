//! IonVeil: monitoring of emergency dispatch, as a library.

pub mod ingest;
