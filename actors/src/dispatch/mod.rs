//! `dispatch/{org}`: the dispatches of one organisation and what they add up to.

mod dispatch_event;

pub use dispatch_event::{DispatchEvent, Status};
