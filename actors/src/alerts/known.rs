//! The rules as an org has taken them over.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::{MICROS_PER_MINUTE, Timestamp};
use crate::rules::{AlertRule, Condition};

/// A rule by the number that the org gave its id.
pub(super) type RuleNumber = u32;

/// The rules that judge the org's incidents.
#[derive(Debug, Clone, Default)]
pub(super) struct RuleBook {
    /// That of the rules when they were taken over; 0 for never.
    pub(super) revision: u64,
    /// How many times they were taken over.
    pub(super) takes: u32,
    pub(super) rules: Vec<KnownRule>,
    /// Every id that ever was in the book, so that what is known of a rule outlives its changes.
    numbers: HashMap<Arc<str>, RuleNumber>,
}

/// One rule and when it came.
#[derive(Debug, Clone)]
pub(super) struct KnownRule {
    pub(super) rule: Arc<AlertRule>,
    pub(super) number: RuleNumber,
    /// The takeover that brought this version.
    pub(super) since: u32,
    /// The takeover that brought the condition it has: what was counted before does not count.
    pub(super) counts_since: u32,
    /// When this version was taken over.
    pub(super) taken_at: Timestamp,
}

impl KnownRule {
    /// When the suppression window of an alert that was raised at `raised_at` is over.
    pub(super) fn window_end(&self, raised_at: Timestamp) -> Timestamp {
        raised_at.saturating_add_micros(i64::from(self.rule.suppression_window_minutes) * MICROS_PER_MINUTE)
    }
}

impl RuleBook {
    /// The book after a takeover.
    pub(super) fn after(&self, revision: u64, rules: impl IntoIterator<Item = AlertRule>, at: Timestamp) -> RuleBook {
        let mut book = RuleBook { revision, takes: self.takes + 1, rules: Vec::new(), numbers: self.numbers.clone() };
        for rule in rules {
            let former = self.rules.iter().find(|known| known.rule.rule_id == rule.rule_id);
            let known = match former {
                Some(former) if *former.rule == rule => former.clone(),
                former => {
                    let same = |former: &&KnownRule| {
                        former.rule.condition == rule.condition && former.rule.enabled && rule.enabled
                    };
                    let counts_since = former.filter(same).map_or(book.takes, |former| former.counts_since);
                    let number = book.number(&rule.rule_id);
                    KnownRule { rule: Arc::new(rule), number, since: book.takes, counts_since, taken_at: at }
                }
            };
            book.rules.push(known);
        }
        book
    }

    /// A book as it was.
    pub(super) fn restored(
        revision: u64,
        takes: u32,
        rules: Vec<KnownRule>,
        numbers: BTreeMap<Arc<str>, RuleNumber>,
    ) -> RuleBook {
        RuleBook { revision, takes, rules, numbers: numbers.into_iter().collect() }
    }

    /// The numbers in the order of the ids.
    pub(super) fn numbers(&self) -> BTreeMap<Arc<str>, RuleNumber> {
        self.numbers.iter().map(|(id, &number)| (Arc::clone(id), number)).collect()
    }

    fn number(&mut self, rule_id: &str) -> RuleNumber {
        if let Some(&number) = self.numbers.get(rule_id) {
            return number;
        }
        let number = RuleNumber::try_from(self.numbers.len()).expect("memory ends before four billion rules");
        self.numbers.insert(rule_id.into(), number);
        number
    }

    /// The number of a rule that is or was in the book.
    pub(super) fn number_of(&self, rule_id: &str) -> Option<RuleNumber> {
        self.numbers.get(rule_id).copied()
    }

    pub(super) fn enabled(&self) -> impl Iterator<Item = &KnownRule> {
        self.rules.iter().filter(|known| known.rule.enabled)
    }

    pub(super) fn patterns(&self) -> impl Iterator<Item = (&KnownRule, crate::rules::Pattern)> {
        self.enabled().filter_map(|known| match known.rule.condition {
            Condition::Pattern(pattern) => Some((known, pattern)),
            _ => None,
        })
    }

    pub(super) fn by_number(&self, number: RuleNumber) -> Option<&KnownRule> {
        self.rules.iter().find(|known| known.number == number)
    }

    pub(super) fn by_id(&self, rule_id: &str) -> Option<&KnownRule> {
        self.rules.iter().find(|known| known.rule.rule_id == rule_id)
    }
}
