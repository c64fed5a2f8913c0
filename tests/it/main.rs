//! What IonVeil promises to its users, one module per promise: the binary as it is called, the library as it is embedded.
//!
//! The command line is run as the real binary in directories of its own. Nothing sleeps for effect; what is random comes
//! from a seed that a failing test prints.

mod alert_history;
mod alerts;
mod command_ids;
mod command_line;
mod damage;
mod embedding;
mod export;
mod field;
mod following;
mod ingest_input;
mod outbox;
mod pacing;
mod policies;
mod real_data;
mod restart;
mod simulations;
mod simulator;
mod support;
mod surface;
mod tidy;
mod transcripts;
mod trends;
mod updates;
mod windows;
