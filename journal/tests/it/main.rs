//! The journal from outside: what it promises, one module per promise.

mod contract;
mod corruption;
mod crash;
mod faults;
#[cfg(target_os = "linux")]
mod power_cut;
mod snapshots;
mod store;
mod subscriptions;
mod support;
