//! The journal from outside: what it promises, one module per promise.

mod broken_engines;
mod churn;
mod contract;
mod corruption;
mod crash;
mod faults;
#[cfg(target_os = "linux")]
mod power_cut;
mod seeds;
mod snapshots;
mod support;
