//! How people are told: the channels that carry notifications out of the system.
//!
//! The outbox decides what is sent, when, and how often it is tried; a [`Transport`] tries once and says what became of
//! it ([`Delivery`]). Nothing here is journaled, nothing waits for another attempt, and nothing personal is logged. What
//! operators set is in `docs/channels.md`.
//!
//! | file | answers |
//! | --- | --- |
//! | `message.rs` | what is told, and what can become of it |
//! | `callback.rs` `log.rs` `email.rs` `slack.rs` `pagerduty.rs` | the channel of that name |
//! | `bounded.rs` | how much of a mail server is read |
//! | `gateway.rs` | `webhook`, `sms`, `push`, `radio`; `sms.rs` cuts texts, `signature.rs` signs |
//! | `told.rs` | who has it already, of several recipients, also after a restart |
//! | `http.rs` `address.rs` | one request, its limits, what its answer means, where it may go |
//! | `template.rs` | the words, checked at load, escaped for where they go |
//! | `config.rs` `secret.rs` `place.rs` | what can be set, secrets, and where in the file something is wrong |

mod callback;
mod log;
mod message;

#[cfg(feature = "channels")]
mod address;
#[cfg(feature = "channels")]
mod bounded;
#[cfg(feature = "channels")]
mod config;
#[cfg(feature = "channels")]
mod email;
#[cfg(feature = "channels")]
mod gateway;
#[cfg(feature = "channels")]
mod http;
#[cfg(feature = "channels")]
mod pagerduty;
#[cfg(feature = "channels")]
mod place;
#[cfg(feature = "channels")]
mod secret;
#[cfg(feature = "channels")]
mod signature;
#[cfg(feature = "channels")]
mod slack;
#[cfg(feature = "channels")]
mod sms;
#[cfg(feature = "channels")]
mod template;
#[cfg(test)]
mod testing;
mod told;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ionveil_actors::domain::Channel;

pub use callback::Callback;
#[cfg(feature = "channels")]
pub use config::{
    Assignment, Auth, Config, EmailConfig, EmailTls, GatewayConfig, Limits, PagerdutyConfig, SlackConfig,
};
pub use log::Log;
pub use message::{Delivery, Message, MessageKind, Transport};
#[cfg(feature = "channels")]
pub use place::BadConfig;
#[cfg(feature = "channels")]
pub use secret::{Secret, Setting};
#[cfg(feature = "channels")]
pub use template::TemplateText;
pub use told::Told;

/// The channels that are set up, by name.
#[derive(Clone)]
pub struct Channels {
    transports: BTreeMap<Channel, Arc<dyn Transport>>,
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.transports.keys().map(|channel| channel.as_str())).finish()
    }
}

/// `log` alone, which needs no set-up.
impl Default for Channels {
    fn default() -> Self {
        Channels { transports: BTreeMap::from([(Channel::Log, Arc::new(Log) as Arc<dyn Transport>)]) }
    }
}

impl Channels {
    /// What carries messages of that channel; `None` when it is not set up.
    pub fn get(&self, channel: Channel) -> Option<&Arc<dyn Transport>> {
        self.transports.get(&channel)
    }

    /// Those that are set up, in the order of [`Channel::ALL`].
    pub fn names(&self) -> impl Iterator<Item = Channel> {
        self.transports.keys().copied()
    }

    /// Sets a channel up, or replaces what it was: a host's callback, or a host's own way of telling people.
    pub fn set(&mut self, channel: Channel, transport: impl Transport + 'static) {
        self.transports.insert(channel, Arc::new(transport));
    }
}

#[cfg(feature = "channels")]
mod set_up {
    use ionveil_actors::error::Invalid;

    use super::place::{Document, Fault};
    use super::secret::Environment;
    use super::{BadConfig, Channel, Channels, Config, Message, Transport};
    use super::{email, gateway, pagerduty, slack};

    impl Channels {
        /// Sets up what the configuration names, and `log`. Reads secrets, certificates and templates; connects nowhere.
        ///
        /// # Errors
        /// The key, dotted, what is wrong with it and what is allowed. Secrets are not shown.
        pub fn new(config: &Config) -> Result<Self, Invalid> {
            set_up(config, &|name| std::env::var(name).ok()).map_err(|fault| fault.invalid)
        }

        /// As [`Config::parse`] and [`Channels::new`], with the line of whatever is wrong.
        ///
        /// # Errors
        /// What is wrong first.
        pub fn parse(name: &str, text: &str) -> Result<Self, BadConfig> {
            Self::parse_with(name, text, &|name| std::env::var(name).ok())
        }

        /// As [`Channels::parse`], with variables of the environment from elsewhere.
        ///
        /// # Errors
        /// What is wrong first.
        pub fn parse_with(name: &str, text: &str, environment: Environment<'_>) -> Result<Self, BadConfig> {
            let config = Config::parse(name, text)?;
            set_up(&config, environment).map_err(|fault| Document { name, text }.locate(fault))
        }

        /// What the channel would send, for people to read: as it is set up, else with the texts that IonVeil ships.
        pub fn preview(&self, channel: Channel, message: &Message) -> String {
            if let Some(transport) = self.get(channel) {
                return transport.preview(message);
            }
            match channel {
                Channel::Callback => super::Callback::new(|_: &Message| super::Delivery::Delivered).preview(message),
                Channel::Log => super::Log.preview(message),
                Channel::Email => email::Content::shipped().preview(message, &message.recipients),
                Channel::Slack => slack::Content::shipped().write(message),
                Channel::Pagerduty => format!("{:#}", pagerduty::Content::shipped().write(message)),
                Channel::Webhook | Channel::Sms | Channel::Push | Channel::Radio => {
                    gateway::Content::shipped(channel).preview(message, &message.recipients)
                }
            }
        }
    }

    fn set_up(config: &Config, environment: Environment<'_>) -> Result<Channels, Fault> {
        let mut channels = Channels::default();
        if let Some(email) = &config.email {
            channels.set(Channel::Email, email::Email::new(email, environment)?);
        }
        if let Some(slack) = &config.slack {
            channels.set(Channel::Slack, slack::Slack::new(slack, environment)?);
        }
        if let Some(pagerduty) = &config.pagerduty {
            channels.set(Channel::Pagerduty, pagerduty::Pagerduty::new(pagerduty, environment)?);
        }
        let gateways = [
            (Channel::Webhook, &config.webhook),
            (Channel::Sms, &config.sms),
            (Channel::Push, &config.push),
            (Channel::Radio, &config.radio),
        ];
        for (channel, gateway) in gateways {
            if let Some(gateway) = gateway {
                channels.set(channel, gateway::Gateway::new(channel, gateway, environment)?);
            }
        }
        Ok(channels)
    }
}

/// The text as far as it may go, with an ellipsis where it was cut.
#[cfg(feature = "channels")]
fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some(_) => text.chars().take(chars_max - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}
