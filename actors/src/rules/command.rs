//! What the rules can be told and asked.

use super::rule::AlertRule;
use crate::domain::OrgId;

/// Stores rules: new ones, and new versions of those whose id is known. All of them or, when one is refused, none.
/// Replies with the rules as they are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct AddRules {
    /// Their `version` is not looked at.
    pub rules: Vec<AlertRule>,
}

/// Removes a rule; false when there is none of that id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveRule {
    /// Its id.
    pub rule_id: String,
}

/// Asks for rules: those of an org, with those of all orgs, or every rule there is. In the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GetRules {
    /// Whose; `None` is every rule.
    pub org_id: Option<OrgId>,
}

/// Rules as they stand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleSet {
    /// Grows with each change of one of these rules, and with no other; 0 when there was never one.
    pub revision: u64,
    /// In the order of their ids.
    pub rules: Vec<AlertRule>,
}
