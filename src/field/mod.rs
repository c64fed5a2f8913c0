//! The trade's own figures: compliance with published response standards, and how busy units are.
//!
//! Pure functions over dispatches as they are recorded. What a standard demands is data (`standards/*.toml`), never code.
//! [`crate::FieldPerformance`] reads the dispatches of an org from the journal, so that what retention has forgotten counts
//! as well.
//!
//! | file | answers |
//! | --- | --- |
//! | `unit_times.rs` | which moments of a response are known, and which interval lies between which two |
//! | `standard.rs` | what a standard demands, and whether a file says so properly |
//! | `compliance.rs` | how many responses met it, and how sure that is |
//! | `utilisation.rs` | how much of their time units spend on calls |

mod compliance;
mod standard;
#[cfg(test)]
mod tests;
mod unit_times;
mod utilisation;

pub use compliance::{Compliance, ComplianceGroup, ComplianceReport, GroupBy, RequirementReport};
pub use standard::{Counted, Requirement, Standard, embedded_standards};
pub use unit_times::{Interval, MOMENTS, Moment, UNIT_ID, UnitTimes};
pub use utilisation::{StaffedHours, UnitBusy, UnitTypeUtilisation, Utilisation, UtilisationReport};
