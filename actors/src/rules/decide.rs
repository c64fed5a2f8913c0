//! State and command to decision or refusal.

use ionveil_journal::codec;

use super::command::{AddRules, RemoveRule};
use super::event::{Event, RuleRemoved, RuleSet, StoredRule};
use super::reply::StoredRules;
use super::rule::AlertRule;
use super::state::Rules;
use crate::error::{Error, Invalid};
use crate::runtime::{Command, Decision, Given, ReplyCodec};

impl Command<Rules> for AddRules {
    type Reply = Vec<AlertRule>;
    const REPLY: Option<ReplyCodec<Vec<AlertRule>>> = Some(ReplyCodec::stored_as::<StoredRules, 1>());

    fn content(&self) -> Option<Vec<u8>> {
        // The version is not for the asker to say.
        let said = |rule: &AlertRule| StoredRule::from(AlertRule { version: 0, ..rule.clone() });
        Some(codec::encode(&self.rules.iter().map(said).collect::<Vec<_>>()))
    }

    fn decide(self, state: &Rules, _: &Given) -> Result<Decision<Event, Vec<AlertRule>>, Error> {
        let mut stored: Vec<AlertRule> = Vec::with_capacity(self.rules.len());
        for mut rule in self.rules {
            rule.check()?;
            if stored.iter().any(|earlier| earlier.rule_id == rule.rule_id) {
                return Err(Invalid::new("rule_id", rule.rule_id, "a rule once").into());
            }
            rule.version = state.last_version(&rule.rule_id) + 1;
            stored.push(rule);
        }
        let set = |rule: &AlertRule| Event::Set(RuleSet { rule: rule.clone().into() });
        Ok(Decision { events: stored.iter().map(set).collect(), reply: stored })
    }
}

impl Command<Rules> for RemoveRule {
    type Reply = bool;
    const REPLY: Option<ReplyCodec<bool>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&self.rule_id))
    }

    fn decide(self, state: &Rules, _: &Given) -> Result<Decision<Event, bool>, Error> {
        let is_there = state.rule(&self.rule_id).is_some();
        let removed = Event::Removed(RuleRemoved { rule_id: self.rule_id });
        Ok(Decision { events: if is_there { vec![removed] } else { vec![] }, reply: is_there })
    }
}
