//! What one rule has raised about one incident.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::alert::AlertIndex;
use crate::domain::Timestamp;

/// What is known of a rule and an incident (or the org as a whole) once something was due.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watch {
    /// Alerts recorded, suppressed ones included: the next one's number is one more.
    pub(super) recorded: u32,
    /// When the last alert that was not suppressed was raised, and its id: it may be forgotten before its window ends.
    pub(super) raised: Option<(Timestamp, Uuid)>,
    /// The alert that is not resolved.
    pub(super) current: Option<AlertIndex>,
    /// Whether the condition was seen false since the last raise, and not true again while that alert stood.
    pub(super) was_false: bool,
    /// What was held back is judged again then.
    pub(super) pending: Option<Timestamp>,
    /// The suppression that holds it back, if one does.
    pub(super) suppressed_by: Option<Uuid>,
}
