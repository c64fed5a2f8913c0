//! Event-sourced actors: the runtime, and the entities of IonVeil as pure functions.

pub mod dispatch;
pub mod domain;
pub mod error;
