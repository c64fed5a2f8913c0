//! The rules as they stand.

use std::collections::BTreeMap;

use super::command::{GetRules, RuleSet};
use super::rule::AlertRule;
use crate::domain::OrgId;
use crate::error::Error;
use crate::runtime::{Given, Query};

/// Every rule, in its present version.
#[derive(Debug, Default)]
pub struct Rules {
    pub(super) rules: BTreeMap<String, AlertRule>,
    /// The last version of every rule there ever was: one that comes back counts on.
    pub(super) versions: BTreeMap<String, u32>,
    /// The number of the last change to the rules of one org, or (`None`) of all orgs.
    pub(super) touched: BTreeMap<Option<OrgId>, u64>,
    /// How many changes there were.
    pub(super) changes: u64,
}

impl Rules {
    /// The present version of a rule.
    pub fn rule(&self, rule_id: &str) -> Option<&AlertRule> {
        self.rules.get(rule_id)
    }

    /// The last version of a rule, also of one that was removed; 0 when there was never one.
    pub fn last_version(&self, rule_id: &str) -> u32 {
        self.versions.get(rule_id).copied().unwrap_or_default()
    }

    fn revision_of(&self, org: &OrgId) -> u64 {
        let last = |whose: &Option<OrgId>| self.touched.get(whose).copied().unwrap_or_default();
        last(&None).max(last(&Some(org.clone())))
    }
}

impl Query<Rules> for GetRules {
    type Answer = RuleSet;

    fn answer(self, state: &Rules, _: &Given) -> Result<RuleSet, Error> {
        Ok(match &self.org_id {
            None => RuleSet { revision: state.changes, rules: state.rules.values().cloned().collect() },
            Some(org) => RuleSet {
                revision: state.revision_of(org),
                rules: state.rules.values().filter(|rule| rule.is_of(org)).cloned().collect(),
            },
        })
    }
}
