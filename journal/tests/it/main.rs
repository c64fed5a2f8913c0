//! The journal from outside: what it promises, one module per promise.

mod contract;
mod corruption;
mod faults;
mod store;
mod support;
