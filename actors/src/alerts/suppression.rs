//! Alerts that are not wanted for a while.

use regex::{Regex, RegexBuilder};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{MICROS_PER_MINUTE, OrgId, Timestamp};
use crate::error::Invalid;

/// Longest pattern, in characters.
pub(super) const PATTERN_CHARS_MAX: usize = 1_000;
/// Most memory that one compiled pattern may take, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Rules of an org whose alerts tell nobody until it ends.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suppression {
    /// Its id.
    pub suppression_id: Uuid,
    /// Whose rules.
    pub org_id: OrgId,
    /// A regular expression that has to match the whole rule id.
    pub rule_pattern: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when, exclusively, unless it is removed earlier.
    pub expires_at: Timestamp,
    /// Why.
    pub reason: String,
    /// Who wanted it.
    pub created_by: String,
    /// When it was removed early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
}

/// A suppression and its pattern, ready to match.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    pub(super) suppression: Suppression,
    regex: Regex,
}

impl Compiled {
    pub(super) fn new(suppression: Suppression) -> Result<Self, Invalid> {
        let regex = compile(&suppression.rule_pattern)?;
        Ok(Compiled { suppression, regex })
    }

    /// When it ends, or ended.
    pub(super) fn end(&self) -> Timestamp {
        self.suppression.removed_at.unwrap_or(self.suppression.expires_at).min(self.suppression.expires_at)
    }

    pub(super) fn is_active(&self, at: Timestamp) -> bool {
        self.suppression.created_at <= at && at < self.end()
    }

    pub(super) fn matches(&self, rule_id: &str) -> bool {
        self.regex.is_match(rule_id)
    }
}

/// The pattern as it matches a whole rule id.
pub(super) fn compile(pattern: &str) -> Result<Regex, Invalid> {
    let allowed = "a regular expression of at most 1,000 characters";
    if pattern.is_empty() || pattern.chars().count() > PATTERN_CHARS_MAX {
        return Err(Invalid::new("rule_pattern", format_args!("{pattern:?}"), allowed));
    }
    let build = |whole: &str| {
        RegexBuilder::new(whole).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| {
            let problem = error.to_string();
            let reason = problem.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Invalid::new("rule_pattern", format_args!("{pattern:?}"), format!("{allowed}: {reason}"))
        })
    };
    // By itself first: what only makes sense inside our own parentheses is no pattern.
    build(pattern)?;
    // A comment at the end of a pattern, which `(?x)` allows, goes on to the end of the line.
    build(&format!(r"\A(?:{pattern})\z")).or_else(|_| build(&format!("\\A(?:{pattern}\n)\\z")))
}

/// The end of a suppression that lasts so long.
pub(super) fn expiry(created_at: Timestamp, minutes: u32) -> Timestamp {
    created_at.saturating_add_micros(i64::from(minutes) * MICROS_PER_MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_id_or_not_at_all() {
        for (pattern, id, expected) in [
            ("sla", "sla", true),
            ("sla", "sla-1", false),
            ("sla", "my-sla", false),
            ("sla.*", "sla-1", true),
            (".*", "anything at all", true),
            ("a|ab", "ab", true),
            ("a|b", "ab", false),
            ("(?i)SLA-[0-9]+", "sla-42", true),
            ("sla$", "sla", true),
            ("sla", "sla\n", false),
            ("(?x) sla  # of all", "sla", true),
            ("(?x) sla  # of all", "sla-1", false),
        ] {
            assert_eq!(compile(pattern).expect(pattern).is_match(id), expected, "{pattern} on {id:?}");
        }
        let long = "a".repeat(PATTERN_CHARS_MAX + 1);
        for bad in ["", "(", "[z-a]", "a)(b", "(?P<", r"\p{nothing}", "a{100000}{1000}", long.as_str()] {
            let refusal = compile(bad).expect_err(bad);
            assert_eq!(refusal, Invalid::new("rule_pattern", format_args!("{bad:?}"), refusal.allowed.clone()));
        }
        // Where a backtracking engine would need longer than anybody lives.
        assert!(!compile("(a*)*b").expect("a pattern").is_match(&"a".repeat(5_000)));
    }
}
