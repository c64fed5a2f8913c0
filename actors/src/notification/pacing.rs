//! When an org's messages go out: several as one, not while people sleep, not more than a receiver takes.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hours::{Day, TimeOfDay};
use crate::domain::{Channel, Members, Timestamp};
use crate::error::Invalid;
use crate::rules::{AlertSeverity, channels};

/// Most entries of each list.
const ENTRIES_MAX: usize = 32;
/// Longest wait and interval of a group, in seconds: a day.
const GROUP_SECONDS_MAX: u32 = 86_400;
/// Most alerts that one message may tell of.
pub(super) const ALERTS_MAX: u32 = 1_000;
/// Most messages of a limit.
const LIMIT_MESSAGES_MAX: u32 = 1_000;
/// Longest span of a limit, in seconds: a day.
const LIMIT_SECONDS_MAX: u32 = 86_400;
/// Wait and interval of a group that names none, in seconds.
const GROUP_DEFAULT_SECONDS: (u32, u32) = (30, 300);

/// Channels that people read themselves.
const READ_BY_PEOPLE: [Channel; 5] = [Channel::Email, Channel::Slack, Channel::Sms, Channel::Push, Channel::Radio];
/// Channels on which each alert needs a message of its own: PagerDuty ends an incident by the alert's key, a callback is a
/// function of one alert, and a log has a line for each.
const NEVER_GROUPED: [Channel; 3] = [Channel::Pagerduty, Channel::Callback, Channel::Log];

/// How an org's messages are paced. [`Pacing::check`] says whether it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pacing {
    /// The IANA time zone in which the quiet hours are meant; default `UTC`.
    pub time_zone: String,
    /// What may be told together. The first entry that fits a message counts; one that none fits goes alone.
    pub groups: Vec<Grouping>,
    /// When who is left in peace.
    pub quiet_hours: Vec<QuietHours>,
    /// How much a channel is given. All that name a channel hold.
    pub limits: Vec<Limit>,
}

/// Messages that are told together: those of one channel, one kind and the same recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grouping {
    /// Where; default what people read: email, slack, sms, push, radio.
    pub channels: Vec<Channel>,
    /// Of which alerts; default all.
    pub severities: Vec<AlertSeverity>,
    /// For which levels; default all.
    pub levels: Vec<u8>,
    /// How long the first one waits for others; 0 to 86,400, default 30.
    pub wait_seconds: u32,
    /// How long after one left the next one leaves at the earliest; 0 to 86,400, default 300.
    pub interval_seconds: u32,
    /// Most alerts in one message; 2 to 1,000, default 1,000.
    pub alerts_max: u32,
}

/// A span of the day in which messages wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// Where; default what people read: email, slack, sms, push, radio.
    pub channels: Vec<Channel>,
    /// Of which alerts; default info and warning, so that critical and emergency break through.
    pub severities: Vec<AlertSeverity>,
    /// For which levels; default all.
    pub levels: Vec<u8>,
    /// The days on which it begins; default all.
    pub days: Vec<Day>,
    /// When it begins.
    pub from: TimeOfDay,
    /// When it ends: on the next day when that is not later than `from`.
    pub until: TimeOfDay,
    /// Whether what waited is told in one message at the end, instead of one by one.
    pub digest: bool,
}

/// As many messages of a channel in any span of that length, and no more; each try counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Where.
    pub channels: Vec<Channel>,
    /// How many; 1 to 1,000.
    pub messages: u32,
    /// The span's length; 1 to 86,400.
    pub per_seconds: u32,
}

/// What a message is to its pacing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Addressed {
    pub(super) channel: Channel,
    pub(super) severity: AlertSeverity,
    pub(super) level: u8,
}

/// Why a message waits, or waited last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// For others to go along with.
    Group,
    /// For the end of quiet hours.
    QuietHours,
    /// For the end of quiet hours, and then for one message with all the others.
    Digest,
    /// Until its channel may be given more.
    Limit,
    /// Until the receiver wants to be asked again.
    Receiver,
}

impl Pacing {
    /// Reads it from a JSON object.
    ///
    /// # Errors
    /// Names the first member that is unknown, missing, or out of range.
    pub fn from_json(value: &Value) -> Result<Self, Invalid> {
        let members = Members::of("pacing", value)?;
        members.only(&["time_zone", "groups", "quiet_hours", "limits"])?;
        let pacing = Pacing {
            time_zone: members.optional("time_zone", TIME_ZONE, Value::as_str)?.unwrap_or("UTC").to_owned(),
            groups: list(members, "groups", Grouping::from_json)?,
            quiet_hours: list(members, "quiet_hours", QuietHours::from_json)?,
            limits: list(members, "limits", Limit::from_json)?,
        };
        pacing.check()?;
        Ok(pacing)
    }

    /// Checks every field, and that no message is kept for ever.
    ///
    /// # Errors
    /// Names the first field that is out of range, its value and the range.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.time_zone.parse::<Tz>().is_err() {
            return Err(Invalid::new("time_zone", format_args!("{:?}", self.time_zone), TIME_ZONE));
        }
        let lengths = [self.groups.len(), self.quiet_hours.len(), self.limits.len()];
        for (field, length) in ["groups", "quiet_hours", "limits"].into_iter().zip(lengths) {
            if length > ENTRIES_MAX {
                return Err(Invalid::new(field, format_args!("{length} entries"), format!("at most {ENTRIES_MAX}")));
            }
        }
        for group in &self.groups {
            check_levels(&group.levels)?;
            if let Some(channel) = group.channels.iter().find(|channel| !can_be_grouped(**channel)) {
                let allowed =
                    "a channel on which several alerts can be told in one message: not pagerduty, callback, log";
                return Err(Invalid::new("channels", channel, allowed));
            }
            within("wait_seconds", group.wait_seconds, 0, GROUP_SECONDS_MAX)?;
            within("interval_seconds", group.interval_seconds, 0, GROUP_SECONDS_MAX)?;
            within("alerts_max", group.alerts_max, 2, ALERTS_MAX)?;
        }
        for hours in &self.quiet_hours {
            check_levels(&hours.levels)?;
            if hours.from.minutes() == 24 * 60 {
                return Err(Invalid::new("from", hours.from, "00:00 to 23:59"));
            }
            if hours.from == hours.until {
                return Err(Invalid::new(
                    "until",
                    hours.until,
                    "another time than from; a whole day is 00:00 to 24:00",
                ));
            }
        }
        for limit in &self.limits {
            within("messages", limit.messages, 1, LIMIT_MESSAGES_MAX)?;
            within("per_seconds", limit.per_seconds, 1, LIMIT_SECONDS_MAX)?;
        }
        self.check_that_all_leave()
    }

    /// Quiet hours that leave no minute of the week would keep messages for ever.
    fn check_that_all_leave(&self) -> Result<(), Invalid> {
        for channel in Channel::ALL {
            for severity in AlertSeverity::ALL {
                for level in 1..=4 {
                    let addressed = Addressed { channel, severity, level };
                    if super::hours::fill_the_week(self.quiet_hours.iter().filter(|hours| hours.fits(addressed))) {
                        let value = format_args!("every minute of the week for {severity} on {channel}, level {level}");
                        return Err(Invalid::new(
                            "quiet_hours",
                            value,
                            "hours that leave some time in which to tell it",
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// The entry by which a message is grouped.
    pub(super) fn grouping(&self, addressed: Addressed) -> Option<(usize, &Grouping)> {
        self.groups.iter().enumerate().find(|(_, group)| {
            let Grouping { channels, severities, levels, .. } = group;
            addressed.is_in(channels, severities, levels)
        })
    }

    /// Until when a message has to wait for people to be up, and why; `None` when it may go now.
    pub(super) fn quiet_until(&self, addressed: Addressed, now: Timestamp) -> Option<(Timestamp, Held)> {
        let zone: Tz = self.time_zone.parse().ok()?;
        let (mut until, mut held) = (now, Held::QuietHours);
        // One span may lead into the next. They leave some time of each week, so this ends; a bound costs nothing.
        for _ in 0..=7 * ENTRIES_MAX {
            let ends = self.quiet_hours.iter().filter(|hours| hours.fits(addressed)).filter_map(|hours| {
                let end = super::hours::quiet_until(zone, hours, until)?;
                Some((end, hours.digest))
            });
            let Some((end, is_digest)) = ends.max() else { break };
            until = end;
            if is_digest {
                held = Held::Digest;
            }
        }
        (until > now).then_some((until, held))
    }

    /// Whether any entry names the channel.
    pub(super) fn concerns(&self, channel: Channel) -> bool {
        self.groups.iter().any(|group| group.channels.contains(&channel))
            || self.quiet_hours.iter().any(|hours| hours.channels.contains(&channel))
            || self.limits(channel).next().is_some()
    }

    /// The limits of a channel.
    pub(super) fn limits(&self, channel: Channel) -> impl Iterator<Item = &Limit> + Clone {
        self.limits.iter().filter(move |limit| limit.channels.contains(&channel))
    }
}

/// Whether one message can tell of several alerts on the channel.
pub(super) fn can_be_grouped(channel: Channel) -> bool {
    !NEVER_GROUPED.contains(&channel)
}

const TIME_ZONE: &str = "a name of the IANA time zone database, such as Europe/Berlin";

impl Addressed {
    fn is_in(self, channels: &[Channel], severities: &[AlertSeverity], levels: &[u8]) -> bool {
        channels.contains(&self.channel) && severities.contains(&self.severity) && levels.contains(&self.level)
    }
}

impl Grouping {
    fn from_json(value: &Value) -> Result<Self, Invalid> {
        let members = Members::of("group", value)?;
        members.only(&["channels", "severities", "levels", "wait_seconds", "interval_seconds", "alerts_max"])?;
        let (wait_seconds, interval_seconds) = GROUP_DEFAULT_SECONDS;
        Ok(Grouping {
            channels: channels_of(members, &READ_BY_PEOPLE)?,
            severities: severities_of(members, &AlertSeverity::ALL)?,
            levels: levels_of(members)?,
            wait_seconds: members.whole("wait_seconds", 0, GROUP_SECONDS_MAX)?.unwrap_or(wait_seconds),
            interval_seconds: members.whole("interval_seconds", 0, GROUP_SECONDS_MAX)?.unwrap_or(interval_seconds),
            alerts_max: members.whole("alerts_max", 2, ALERTS_MAX)?.unwrap_or(ALERTS_MAX),
        })
    }
}

impl QuietHours {
    fn from_json(value: &Value) -> Result<Self, Invalid> {
        let members = Members::of("quiet hours", value)?;
        members.only(&["channels", "severities", "levels", "days", "from", "until", "digest"])?;
        let days = match members.optional("days", "an array of mon, tue, wed, thu, fri, sat, sun", Value::as_array)? {
            None => Day::ALL.to_vec(),
            Some(names) => distinct(names.iter().map(|name| name_of(name).parse()))?,
        };
        if days.is_empty() {
            return Err(Invalid::new("days", "[]", "at least one"));
        }
        Ok(QuietHours {
            channels: channels_of(members, &READ_BY_PEOPLE)?,
            severities: severities_of(members, &[AlertSeverity::Info, AlertSeverity::Warning])?,
            levels: levels_of(members)?,
            days,
            from: TimeOfDay::parse("from", members.text("from")?)?,
            until: TimeOfDay::parse("until", members.text("until")?)?,
            digest: members.optional("digest", "true or false", Value::as_bool)?.unwrap_or(false),
        })
    }

    fn fits(&self, addressed: Addressed) -> bool {
        addressed.is_in(&self.channels, &self.severities, &self.levels)
    }
}

impl Limit {
    fn from_json(value: &Value) -> Result<Self, Invalid> {
        let members = Members::of("limit", value)?;
        members.only(&["channels", "messages", "per_seconds"])?;
        let required = |name: &str, max: u32| {
            let missing = || Invalid::new(name, "missing", format!("a whole number, 1 to {max}"));
            members.whole(name, 1, max)?.ok_or_else(missing)
        };
        members.required("channels", "an array of channels", Value::as_array)?;
        Ok(Limit {
            channels: channels_of(members, &[])?,
            messages: required("messages", LIMIT_MESSAGES_MAX)?,
            per_seconds: required("per_seconds", LIMIT_SECONDS_MAX)?,
        })
    }
}

fn list<T>(members: Members<'_>, name: &str, read: fn(&Value) -> Result<T, Invalid>) -> Result<Vec<T>, Invalid> {
    let entries = members.optional(name, "an array of tables", Value::as_array)?;
    entries.into_iter().flatten().map(read).collect()
}

fn channels_of(members: Members<'_>, default: &[Channel]) -> Result<Vec<Channel>, Invalid> {
    match members.optional("channels", "an array of channels", Value::as_array)? {
        None => Ok(default.to_vec()),
        Some(names) if names.is_empty() => Err(Invalid::new("channels", "[]", "at least one")),
        names => channels(names),
    }
}

fn severities_of(members: Members<'_>, default: &[AlertSeverity]) -> Result<Vec<AlertSeverity>, Invalid> {
    match members.optional("severities", "an array of info, warning, critical, emergency", Value::as_array)? {
        None => Ok(default.to_vec()),
        Some(names) if names.is_empty() => Err(Invalid::new("severities", "[]", "at least one")),
        Some(names) => distinct(names.iter().map(|name| name_of(name).parse())),
    }
}

/// A name; of what is no text, how it is written.
fn name_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn levels_of(members: Members<'_>) -> Result<Vec<u8>, Invalid> {
    match members.optional("levels", "an array of levels, 1 to 4", Value::as_array)? {
        None => Ok(vec![1, 2, 3, 4]),
        Some(numbers) if numbers.is_empty() => Err(Invalid::new("levels", "[]", "at least one")),
        Some(numbers) => distinct(numbers.iter().map(|number| {
            let level = number.as_u64().and_then(|level| u8::try_from(level).ok());
            level.filter(|level| (1..=4).contains(level)).ok_or_else(|| Invalid::new("levels", number, "1 to 4"))
        })),
    }
}

fn distinct<T: PartialEq>(all: impl Iterator<Item = Result<T, Invalid>>) -> Result<Vec<T>, Invalid> {
    let mut distinct = Vec::new();
    for one in all {
        let one = one?;
        if !distinct.contains(&one) {
            distinct.push(one);
        }
    }
    Ok(distinct)
}

fn check_levels(levels: &[u8]) -> Result<(), Invalid> {
    match levels.iter().find(|level| !(1..=4).contains(*level)) {
        Some(level) => Err(Invalid::new("levels", level, "1 to 4")),
        None => Ok(()),
    }
}

fn within(field: &str, value: u32, min: u32, max: u32) -> Result<(), Invalid> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(field, value, format!("a whole number, {min} to {max}")))
}
