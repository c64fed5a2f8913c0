//! The journal from outside: what it promises, one module per promise.

mod contract;
mod faults;
mod store;
mod support;
