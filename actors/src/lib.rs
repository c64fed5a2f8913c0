//! Event-sourced actors: the runtime, and the entities of IonVeil as pure functions.
//!
//! Data flows one way: a message reaches the actor of one entity, its `decide` gives events, the journal makes them
//! durable, `evolve` takes them in, and only then does the reply leave. Reading order: [`domain`] has the values that all
//! share, [`runtime`] the contract of an entity and the one actor around it, then a module per entity: [`dispatch`],
//! [`policy`], [`simulation`].
//! [`catalogue`] knows every event there is.

pub mod alerts;
pub mod catalogue;
pub mod dispatch;
pub mod domain;
pub mod error;
pub mod escalation;
pub mod notification;
pub mod policy;
pub mod rules;
pub mod runtime;
pub mod simulation;
