//! An escalation policy: levels in order, each with a timeout and channels.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{Channel, Members, check_id, check_label};
use crate::error::Invalid;
use crate::rules::{MINUTES_MAX, channels};

/// What stands for `max_escalations` when it is not given.
const MAX_ESCALATIONS_DEFAULT: u32 = 3;
/// Most steps that a policy may allow.
const MAX_ESCALATIONS_MAX: u32 = 1_000;

/// Who is told, in which order, when nobody answers. [`EscalationPolicy::check`] says whether it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscalationPolicy {
    /// Its id; 1–128 characters, no control characters, no `/`.
    pub policy_id: String,
    /// What people call it; 1–128 characters.
    pub name: String,
    /// One to four, in order, counted from 1.
    pub levels: Vec<PolicyLevel>,
    /// Minutes after the last level's timeout until the chain starts again; without it the last level is the end.
    pub repeat_after_minutes: Option<u32>,
    /// Most steps of one alert, 0 to 1,000.
    pub max_escalations: u32,
    /// Minutes after an acknowledgement until an alert that is not resolved starts again at level 1.
    pub ack_timeout_minutes: Option<u32>,
}

/// One level of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLevel {
    /// 1 operator, 2 supervisor, 3 manager, 4 executive.
    pub level: u8,
    /// Minutes until the next level; 1 to a year.
    pub timeout_minutes: u32,
    /// Where its people are told; without any it is passed at once.
    pub channels: Vec<Channel>,
}

impl EscalationPolicy {
    /// Reads a policy from a JSON object.
    ///
    /// # Errors
    /// Names the first member that is unknown, missing, or out of range.
    pub fn from_json(value: &Value) -> Result<Self, Invalid> {
        let members = Members::of("policy", value)?;
        members.only(&[
            "policy_id",
            "name",
            "levels",
            "repeat_after_minutes",
            "max_escalations",
            "ack_timeout_minutes",
        ])?;
        let levels = members.required("levels", "an array of 1 to 4 levels", Value::as_array)?;
        let policy = EscalationPolicy {
            policy_id: members.text("policy_id")?.to_owned(),
            name: members.text("name")?.to_owned(),
            levels: levels.iter().map(PolicyLevel::from_json).collect::<Result<_, _>>()?,
            repeat_after_minutes: members.whole("repeat_after_minutes", 1, MINUTES_MAX)?,
            max_escalations: members
                .whole("max_escalations", 0, MAX_ESCALATIONS_MAX)?
                .unwrap_or(MAX_ESCALATIONS_DEFAULT),
            ack_timeout_minutes: members.whole("ack_timeout_minutes", 1, MINUTES_MAX)?,
        };
        policy.check()?;
        Ok(policy)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// Names the first field that is out of range, its value and the range.
    pub fn check(&self) -> Result<(), Invalid> {
        check_id("policy_id", &self.policy_id)?;
        check_label("name", &self.name)?;
        if !(1..=4).contains(&self.levels.len()) {
            return Err(Invalid::new("levels", format_args!("{} levels", self.levels.len()), "1 to 4 levels"));
        }
        for (level, expected) in self.levels.iter().zip(1..) {
            if level.level != expected {
                let allowed = format!("{expected}, since levels stand in order from 1");
                return Err(Invalid::new("level", level.level, allowed));
            }
            check_minutes("timeout_minutes", level.timeout_minutes)?;
        }
        if let Some(minutes) = self.repeat_after_minutes {
            check_minutes("repeat_after_minutes", minutes)?;
        }
        if self.max_escalations > MAX_ESCALATIONS_MAX {
            let allowed = format!("a whole number, 0 to {MAX_ESCALATIONS_MAX}");
            return Err(Invalid::new("max_escalations", self.max_escalations, allowed));
        }
        self.ack_timeout_minutes.map_or(Ok(()), |minutes| check_minutes("ack_timeout_minutes", minutes))
    }

    /// The level of that number.
    pub fn level(&self, level: u8) -> Option<&PolicyLevel> {
        self.levels.iter().find(|known| known.level == level)
    }

    /// The number of the last level.
    pub fn last_level(&self) -> u8 {
        self.levels.last().map_or(1, |level| level.level)
    }
}

impl PolicyLevel {
    fn from_json(value: &Value) -> Result<Self, Invalid> {
        let members = Members::of("level", value)?;
        members.only(&["level", "timeout_minutes", "channels"])?;
        let required = |name: &str, min, max| {
            let missing = || Invalid::new(name, "missing", format!("a whole number, {min} to {max}"));
            members.whole(name, min, max)?.ok_or_else(missing)
        };
        Ok(PolicyLevel {
            level: u8::try_from(required("level", 1, 4)?).unwrap_or(u8::MAX),
            timeout_minutes: required("timeout_minutes", 1, MINUTES_MAX)?,
            channels: channels(members.optional("channels", "an array of channels", Value::as_array)?)?,
        })
    }
}

fn check_minutes(field: &str, minutes: u32) -> Result<(), Invalid> {
    if (1..=MINUTES_MAX).contains(&minutes) {
        return Ok(());
    }
    Err(Invalid::new(field, minutes, format!("a whole number, 1 to {MINUTES_MAX}")))
}
