//! Files turned into dispatch events: CSV by way of a [`Mapping`], or NDJSON with one event a line; plain or gzip.
//!
//! A row that cannot be turned into an event is handed out as a [`Rejection`] with its line, and reading goes on. Only
//! what makes the whole file unreadable is an [`Error`]. Ranges are not checked here: an event may carry a severity of
//! 9 or a response time of NaN until `DispatchEvent::check` sees it, which whoever takes the event does once.
//!
//! ```
//! use std::ops::ControlFlow;
//! use std::sync::atomic::AtomicU64;
//! use ionveil::ingest::{self, Mapping};
//!
//! let mapping = Mapping::parse("example.toml", r#"
//!     event_id = { column = "id" }
//!     dispatch_id = { column = "call" }
//!     timestamp = { column = "at", pattern = "%Y-%m-%d %H:%M", time_zone = "Europe/Berlin" }
//!     severity = { column = "severity" }
//!     response_time_minutes = { column = "minutes" }
//!     distance_km = { constant = 0.0 }
//!     region = { column = "district" }
//!     unit_type = { constant = "AMBULANCE" }
//! "#)?;
//! let file = "id,call,at,severity,minutes,district\n\
//!             e-1,c-1,2026-01-31 09:15,4,6.5,Mitte\n\
//!             e-2,c-1,2026-01-31 09:15,4,soon,Mitte\n";
//!
//! let org = "berlin".parse()?;
//! let mut met = Vec::new();
//! let summary = ingest::read_from("calls.csv", file.as_bytes(), &org, Some(&mapping), &AtomicU64::new(0), &mut |row| {
//!     met.push(match row.outcome {
//!         Ok(event) => event.timestamp.to_string(),
//!         Err(rejection) => rejection.to_string(),
//!     });
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!((summary.rows, summary.rejected), (2, 1));
//! assert_eq!(met, [
//!     "2026-01-31T08:15:00Z",
//!     r#"line 3, column minutes: response_time_minutes is "soon", allowed: a number"#,
//! ]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod csv;
mod error;
mod lines;
mod mapping;
mod ndjson;
mod policy_input;
mod reader;
mod source;
#[cfg(test)]
mod testing;

pub use error::{BadInput, BadMapping, Error, FieldError, Rejection};
pub use mapping::{BoundMapping, Mapping};
pub use policy_input::{parse_pattern, read_pattern, read_scenario};
pub use reader::{ROW_BYTES_MAX, ReadSummary, Row, probe, read, read_from};
pub use source::Source;
