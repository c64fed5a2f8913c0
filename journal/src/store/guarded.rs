//! Calls of sled, which panics where others return an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;

/// Runs `work` and turns a panic into its message. sled's state is not used again after a panic, hence the assertion.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        format!("sled panicked: {}", message.lines().next().unwrap_or_default())
    })
}

pub(super) fn write_failed(error: &sled::Error) -> Error {
    Error::io("writing to sled", std::io::Error::other(error.to_string()))
}
