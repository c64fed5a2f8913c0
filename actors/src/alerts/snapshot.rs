//! The whole state as bytes, and back. What can be computed from the rest (indices, deadlines, compiled patterns) is not
//! stored but made anew.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use ionveil_journal::Fold;
use ionveil_journal::codec::{self, DecodeError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::alert::{AlertBook, AlertIndex, AlertState};
use super::forget::{self, Forgotten, ForgottenIds, Over};
use super::incident::{Incidents, NO_INCIDENT, Next, Slot};
use super::known::{KnownRule, RuleBook, RuleNumber};
use super::pattern::Counter;
use super::places::StoredPlaces;
use super::state::{Alerts, JudgedWindow};
use super::suppression::{Compiled, Suppression};
use super::watch::Watch;
use crate::domain::{OrgId, Timestamp};
use crate::escalation::EscalationPolicy;
use crate::rules::StoredRule;
use crate::runtime::Snapshotted;

impl Snapshotted for Alerts {
    const FOLD: Fold = Fold { schema: 3, version: 3 };

    fn to_snapshot(&self) -> Vec<u8> {
        codec::encode(&Stored {
            org_id: self.org_id.clone(),
            revision: self.book.revision,
            takes: self.book.takes,
            rules: self.book.rules.iter().map(StoredKnown::from).collect(),
            numbers: self.book.numbers(),
            policies: Cow::Borrowed(&self.policies),
            incidents: StoredPlaces::Borrowed(self.incidents.places()),
            org_due: self.org_due,
            alerts: Cow::Borrowed(self.alerts.all()),
            next_alert: self.alerts.next(),
            watches: Cow::Borrowed(&self.watches),
            suppressions: self.suppressions.values().map(|known| StoredSuppression::from(&known.suppression)).collect(),
            counters: Cow::Borrowed(&self.counters),
            windows: Cow::Borrowed(&self.windows),
            forgotten: self.forgotten,
            forgotten_ids: Cow::Borrowed(&self.forgotten_ids),
        })
    }

    fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError> {
        let stored: Stored<'static> = codec::decode(codec::BINCODE_2, bytes)?;
        let incidents = Incidents::at(stored.incidents.into_places());
        let alerts = AlertBook::restored(stored.alerts.into_owned(), stored.next_alert);
        let (mut deadlines, mut over) = (Vec::new(), Vec::new());
        for (slot, incident) in incidents.iter() {
            match incident.next {
                Next::Nothing => {}
                Next::Judged(due) => deadlines.push((due, slot)),
                Next::Forgotten(at) => over.push((at, Over::Incident(slot))),
            }
        }
        deadlines.extend(stored.org_due.map(|due| (due, NO_INCIDENT)));
        let of_org = alerts.about(NO_INCIDENT).filter_map(|index| Some((index, alerts.get(index)?)));
        let of_org = of_org.filter(|(_, alert)| !alert.status.is_unresolved());
        over.extend(of_org.map(|(index, alert)| (forget::kept_until(alert.updated_at), Over::Alert(index))));
        let timers = alerts.iter().filter_map(|(index, alert)| Some((alert.timer?, index))).collect();
        let mut suppressions = BTreeMap::new();
        for suppression in stored.suppressions {
            // A pattern was compiled before it was stored.
            let compiled =
                Compiled::new(suppression.into()).map_err(|invalid| DecodeError::Malformed(invalid.to_string()))?;
            suppressions.insert(compiled.suppression.suppression_id, compiled);
        }
        let rules = stored.rules.into_iter().map(KnownRule::from).collect();
        Ok(Alerts {
            org_id: stored.org_id,
            book: RuleBook::restored(stored.revision, stored.takes, rules, stored.numbers),
            policies: stored.policies.into_owned(),
            incidents,
            deadlines: deadlines.into_iter().collect(),
            org_due: stored.org_due,
            alerts,
            timers,
            watches: stored.watches.into_owned(),
            suppressions,
            counters: stored.counters.into_owned(),
            windows: stored.windows.into_owned(),
            over: over.into_iter().collect(),
            forgotten: stored.forgotten,
            forgotten_ids: stored.forgotten_ids.into_owned(),
            archive: None,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    org_id: Option<OrgId>,
    revision: u64,
    takes: u32,
    rules: Vec<StoredKnown>,
    numbers: BTreeMap<Arc<str>, RuleNumber>,
    policies: Cow<'a, BTreeMap<u64, EscalationPolicy>>,
    incidents: StoredPlaces<'a>,
    org_due: Option<Timestamp>,
    alerts: Cow<'a, BTreeMap<AlertIndex, AlertState>>,
    next_alert: AlertIndex,
    watches: Cow<'a, BTreeMap<(Slot, RuleNumber), Watch>>,
    suppressions: Vec<StoredSuppression>,
    counters: Cow<'a, BTreeMap<RuleNumber, Counter>>,
    windows: Cow<'a, BTreeMap<RuleNumber, JudgedWindow>>,
    forgotten: Forgotten,
    forgotten_ids: Cow<'a, ForgottenIds>,
}

#[derive(Serialize, Deserialize)]
struct StoredKnown {
    rule: StoredRule,
    number: RuleNumber,
    since: u32,
    counts_since: u32,
    taken_at: Timestamp,
}

impl From<&KnownRule> for StoredKnown {
    fn from(known: &KnownRule) -> Self {
        let KnownRule { rule, number, since, counts_since, taken_at } = known.clone();
        StoredKnown { rule: rule.as_ref().clone().into(), number, since, counts_since, taken_at }
    }
}

impl From<StoredKnown> for KnownRule {
    fn from(stored: StoredKnown) -> Self {
        let StoredKnown { rule, number, since, counts_since, taken_at } = stored;
        KnownRule { rule: Arc::new(rule.into()), number, since, counts_since, taken_at }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredSuppression {
    suppression_id: Uuid,
    org_id: OrgId,
    rule_pattern: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    reason: String,
    created_by: String,
    removed_at: Option<Timestamp>,
}

impl From<&Suppression> for StoredSuppression {
    fn from(suppression: &Suppression) -> Self {
        let Suppression {
            suppression_id,
            org_id,
            rule_pattern,
            created_at,
            expires_at,
            reason,
            created_by,
            removed_at,
        } = suppression.clone();
        StoredSuppression {
            suppression_id,
            org_id,
            rule_pattern,
            created_at,
            expires_at,
            reason,
            created_by,
            removed_at,
        }
    }
}

impl From<StoredSuppression> for Suppression {
    fn from(stored: StoredSuppression) -> Self {
        Suppression {
            suppression_id: stored.suppression_id,
            org_id: stored.org_id,
            rule_pattern: stored.rule_pattern,
            created_at: stored.created_at,
            expires_at: stored.expires_at,
            reason: stored.reason,
            created_by: stored.created_by,
            removed_at: stored.removed_at,
        }
    }
}
