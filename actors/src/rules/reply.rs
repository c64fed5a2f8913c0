//! Replies as they are remembered for whoever sends a command again: [`crate::runtime::ReplyCodec`].

use serde::{Deserialize, Serialize};

use super::event::StoredRule;
use super::rule::AlertRule;

/// Rules as they were stored.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredRules(Vec<StoredRule>);

impl From<Vec<AlertRule>> for StoredRules {
    fn from(reply: Vec<AlertRule>) -> Self {
        StoredRules(reply.into_iter().map(StoredRule::from).collect())
    }
}

impl From<StoredRules> for Vec<AlertRule> {
    fn from(stored: StoredRules) -> Self {
        stored.0.into_iter().map(AlertRule::from).collect()
    }
}
