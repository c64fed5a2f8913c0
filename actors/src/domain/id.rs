//! Identifiers and labels that users give.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;

/// Longest identifier and label, in characters.
pub const ID_CHARS_MAX: usize = 128;

/// Checks an identifier: 1–128 characters, no control characters, no `/`.
///
/// # Errors
/// Names `field`, the value and what is allowed.
pub fn check_id(field: &str, value: &str) -> Result<(), Invalid> {
    check(field, value, |c| c != '/', "1 to 128 characters, none of them a control character or '/'")
}

/// Checks a label such as a region: as an identifier, but `/` is fine, since nothing is addressed by it.
///
/// # Errors
/// Names `field`, the value and what is allowed.
pub fn check_label(field: &str, value: &str) -> Result<(), Invalid> {
    check(field, value, |_| true, "1 to 128 characters, none of them a control character")
}

fn check(field: &str, value: &str, fits: impl Fn(char) -> bool, allowed: &str) -> Result<(), Invalid> {
    // Bytes first: a label is at least as many bytes as characters, and most are short.
    let short_enough = value.len() <= ID_CHARS_MAX || value.chars().count() <= ID_CHARS_MAX;
    let clean = value.chars().all(|c| !c.is_control() && fits(c));
    if !value.is_empty() && short_enough && clean {
        Ok(())
    } else {
        Err(Invalid::new(field, format_args!("{value:?}"), allowed))
    }
}

/// An organisation: a tenant whose dispatches, policy and alerts are its own.
///
/// ```
/// use ionveil_actors::domain::OrgId;
/// assert_eq!("sffd".parse::<OrgId>()?.as_str(), "sffd");
/// assert!("a/b".parse::<OrgId>().is_err());
/// # Ok::<(), ionveil_actors::error::Invalid>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrgId(Arc<str>);

impl OrgId {
    /// The identifier as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OrgId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        check_id("org_id", text)?;
        Ok(OrgId(text.into()))
    }
}

impl TryFrom<String> for OrgId {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<OrgId> for String {
    fn from(org: OrgId) -> String {
        org.0.as_ref().to_owned()
    }
}

impl fmt::Display for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_printable_and_have_no_slash() {
        let long_enough = "é".repeat(ID_CHARS_MAX);
        let too_long = "é".repeat(ID_CHARS_MAX + 1);
        for good in ["a", "org 1", "zürich", long_enough.as_str()] {
            check_id("org_id", good).expect(good);
        }
        for bad in ["", "a/b", "a\u{7}", "a\nb", too_long.as_str()] {
            let refusal = check_id("org_id", bad).expect_err(bad);
            assert_eq!(refusal.field, "org_id");
        }
        check_label("region", "north/east").expect("labels may have a slash");
        check_label("region", "").expect_err("but not be empty");
    }
}
