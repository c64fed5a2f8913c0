//! Alerts are not wanted for a while, and wanted again.

use ionveil_journal::codec;

use super::{check_note, check_user, instant};
use crate::alerts::command::{AddSuppression, RemoveSuppression};
use crate::alerts::event::{Event, SuppressionAdded, SuppressionRemoved};
use crate::alerts::snapshot::StoredSuppression;
use crate::alerts::state::Alerts;
use crate::alerts::suppression::{Suppression, compile, expiry};
use crate::error::{Error, Invalid};
use crate::rules::MINUTES_MAX;
use crate::runtime::{Command, Decision, Given, ReplyCodec};

impl Command<Alerts> for AddSuppression {
    type Reply = Suppression;
    const REPLY: Option<ReplyCodec<Suppression>> = Some(ReplyCodec::stored_as::<StoredSuppression, 1>());

    fn content(&self) -> Option<Vec<u8>> {
        // Its id is a fresh one each time.
        let AddSuppression { rule_pattern, duration_minutes, reason, created_by, at, .. } = self;
        Some(codec::encode(&(rule_pattern, duration_minutes, reason, created_by, at)))
    }

    fn decide(self, state: &Alerts, given: &Given) -> Result<Decision<Event, Suppression>, Error> {
        compile(&self.rule_pattern)?;
        if !(1..=MINUTES_MAX).contains(&self.duration_minutes) {
            let allowed = format!("a whole number, 1 to {MINUTES_MAX}");
            return Err(Invalid::new("duration_minutes", self.duration_minutes, allowed).into());
        }
        check_note("reason", &self.reason)?;
        check_user("created_by", &self.created_by)?;
        let at = instant(self.at, given, None)?;
        // The same id again is the same suppression, told twice.
        if let Some(known) = state.suppressions.get(&self.suppression_id) {
            return Ok(Decision { events: vec![], reply: known.suppression.clone() });
        }
        let expires_at = expiry(at, self.duration_minutes);
        let added = SuppressionAdded {
            suppression_id: self.suppression_id,
            org_id: self.org_id,
            rule_pattern: self.rule_pattern,
            at,
            expires_at,
            reason: self.reason,
            by: self.created_by,
        };
        let reply = Suppression {
            suppression_id: added.suppression_id,
            org_id: added.org_id.clone(),
            rule_pattern: added.rule_pattern.clone(),
            created_at: at,
            expires_at,
            reason: added.reason.clone(),
            created_by: added.by.clone(),
            removed_at: None,
        };
        Ok(Decision { events: vec![Event::SuppressionAdded(added)], reply })
    }
}

impl Command<Alerts> for RemoveSuppression {
    type Reply = bool;
    const REPLY: Option<ReplyCodec<bool>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&(self.suppression_id, self.at)))
    }

    fn decide(self, state: &Alerts, given: &Given) -> Result<Decision<Event, bool>, Error> {
        let Some(known) = state.suppressions.get(&self.suppression_id) else {
            return Ok(Decision { events: vec![], reply: false });
        };
        let at = instant(self.at, given, Some(known.suppression.created_at))?;
        if !known.is_active(at) {
            return Ok(Decision { events: vec![], reply: false });
        }
        let by = given.caller.principal.as_deref().unwrap_or(crate::alerts::SYSTEM).to_owned();
        let removed = SuppressionRemoved { suppression_id: self.suppression_id, at, by };
        Ok(Decision { events: vec![Event::SuppressionRemoved(removed)], reply: true })
    }
}
