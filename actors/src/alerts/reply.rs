//! Replies as they are remembered for whoever sends a command again: [`crate::runtime::ReplyCodec`].

use serde::{Deserialize, Serialize};

use super::command::CheckReport;
use super::snapshot::StoredSuppression;
use super::suppression::Suppression;

/// [`CheckReport`], with what people are not shown.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredReport(CheckReport, bool);

impl From<CheckReport> for StoredReport {
    fn from(reply: CheckReport) -> Self {
        let is_known = reply.is_known;
        StoredReport(reply, is_known)
    }
}

impl From<StoredReport> for CheckReport {
    fn from(StoredReport(reply, is_known): StoredReport) -> Self {
        CheckReport { is_known, ..reply }
    }
}

impl From<Suppression> for StoredSuppression {
    fn from(reply: Suppression) -> Self {
        StoredSuppression::from(&reply)
    }
}

/// A JSON object that is stored as text: the journal's codec takes none.
pub(super) mod object_as_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
    use serde_json::{Map, Value};

    pub(in crate::alerts) fn serialize<S: Serializer>(
        object: &Map<String, Value>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return object.serialize(serializer);
        }
        serializer.serialize_str(&serde_json::to_string(object).map_err(ser::Error::custom)?)
    }

    pub(in crate::alerts) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Map<String, Value>, D::Error> {
        if deserializer.is_human_readable() {
            return Map::deserialize(deserializer);
        }
        serde_json::from_str(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
