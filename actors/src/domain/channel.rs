//! The ways in which people are told.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;

/// A notification channel by its name. Whether it is set up is another matter: one that is not gives a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A function of the host that embeds IonVeil.
    Callback,
    /// The log of the process.
    Log,
    /// SMTP.
    Email,
    /// An HTTP request, signed.
    Webhook,
    /// An incoming webhook of Slack.
    Slack,
    /// PagerDuty's Events API, version 2.
    Pagerduty,
    /// A text message, by way of an HTTP gateway.
    Sms,
    /// A push message, by way of a webhook.
    Push,
    /// The radio dispatcher, by way of a webhook.
    Radio,
}

impl Channel {
    /// Every channel there is.
    pub const ALL: [Channel; 9] = [
        Channel::Callback,
        Channel::Log,
        Channel::Email,
        Channel::Webhook,
        Channel::Slack,
        Channel::Pagerduty,
        Channel::Sms,
        Channel::Push,
        Channel::Radio,
    ];

    /// Its name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Callback => "callback",
            Channel::Log => "log",
            Channel::Email => "email",
            Channel::Webhook => "webhook",
            Channel::Slack => "slack",
            Channel::Pagerduty => "pagerduty",
            Channel::Sms => "sms",
            Channel::Push => "push",
            Channel::Radio => "radio",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Channel {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Channel::ALL.into_iter().find(|channel| channel.as_str() == text).ok_or_else(|| {
            let names = Channel::ALL.map(Channel::as_str).join(", ");
            Invalid::new("channel", format_args!("{text:?}"), names)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_also_as_json() {
        for channel in Channel::ALL {
            assert_eq!(channel.to_string().parse::<Channel>(), Ok(channel));
            assert_eq!(serde_json::to_value(channel).expect("a name"), channel.as_str());
        }
        let refusal = "fax".parse::<Channel>().expect_err("no such channel");
        assert_eq!((refusal.field.as_str(), refusal.value.as_str()), ("channel", "\"fax\""));
    }
}
