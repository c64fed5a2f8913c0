//! `ionveil notifications`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ionveil::Invalid;
use ionveil::channels::{Channels, Message, MessageKind};
use ionveil::domain::{Channel, OrgId};
use ionveil::notification::{GetNotifications, Notification};
use pollster::block_on;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::acting::id;
use super::failure::Failure;
use super::output::{Output, table};
use super::place::Place;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List messages: all of them, those to be sent, or those that were given up.
    #[command(after_help = "Example:\n  ionveil notifications list --org sffd --dead")]
    List {
        /// Whose.
        #[arg(long)]
        org: String,
        /// Those that are to be sent.
        #[arg(long)]
        pending: bool,
        /// Those that were given up.
        #[arg(long)]
        dead: bool,
    },
    /// Show what would be told of an alert on a channel, as it stands.
    #[command(
        after_help = "Example:\n  ionveil notifications preview --alert 0b9d9b0e-55b1-5e0c-a9f0-9a86d2a5a0d7 --channel sms"
    )]
    Preview {
        /// The alert.
        #[arg(long, value_name = "ID")]
        alert: String,
        /// callback, log, email, webhook, slack, pagerduty, sms, push or radio.
        #[arg(long, value_name = "C")]
        channel: String,
        /// A file with a table [channels], for set-up and templates of your own.
        #[arg(long, value_name = "F")]
        config: Option<PathBuf>,
    },
    /// Put a message that was given up back into the outbox.
    #[command(after_help = "Example:\n  ionveil notifications resend 0b9d9b0e-55b1-5e0c-a9f0-9a86d2a5a0d7")]
    Resend {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Serialize)]
struct Preview {
    alert_id: Uuid,
    channel: Channel,
    kind: MessageKind,
    level: u8,
    preview: String,
}

/// The channels as a file sets them up.
fn set_up(config: Option<&Path>) -> Result<Channels, Failure> {
    let Some(path) = config else { return Ok(Channels::default()) };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| Invalid::new("config", &name, format!("a text file that can be read ({source})")))?;
    Channels::parse(&name, &text).map_err(|bad| {
        let place = format!("{}:{}:{}", bad.name, bad.line, bad.column);
        let Invalid { field, value, allowed } = bad.invalid;
        Invalid::new(field, value, format!("{allowed} ({place})")).into()
    })
}

pub(super) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::List { org, pending, dead } => {
            let org: OrgId = org.parse()?;
            let question = GetNotifications { alert_id: None, pending: *pending, dead: *dead };
            let list = block_on(place.open_to_ask()?.notification_outbox().list(&org, question))?;
            output.document(&list, |list| notifications_table(list))?;
        }
        Command::Preview { alert, channel, config } => {
            let channel: Channel = channel.parse()?;
            let channels = set_up(config.as_deref())?;
            let alert_id = id("alert", alert)?;
            let alert = block_on(place.open_to_ask()?.sla_monitor_service().get_alert(alert_id))?;
            let message = Message::of_alert(json!(alert))?;
            let (kind, level) = (message.kind, message.level);
            let preview = Preview { alert_id, channel, kind, level, preview: channels.preview(channel, &message) };
            output.document(&preview, |preview| preview.preview.clone())?;
        }
        Command::Resend { id: text } => {
            let id = id("notification", text)?;
            let notification = block_on(place.open_existing_or_none()?.notification_outbox().resend(id))?;
            output.document(&notification, |one| notifications_table(std::slice::from_ref(one)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Messages for people, one a row.
pub(super) fn notifications_table(notifications: &[Notification]) -> String {
    if notifications.is_empty() {
        return "no notifications".into();
    }
    let row = |notification: &Notification| {
        let status = serde_json::json!(notification.status);
        [
            notification.notification_id.to_string(),
            notification.kind.to_string(),
            notification.channel.to_string(),
            format!("L{}", notification.level),
            notification.cycle.to_string(),
            status.as_str().unwrap_or_default().to_owned(),
            notification.attempts.to_string(),
            notification.delivered_at.unwrap_or(notification.due_at).to_string(),
            notification.last_error.clone().unwrap_or_default(),
        ]
    };
    let headings = ["notification", "kind", "channel", "level", "cycle", "status", "tries", "at", "last error"];
    table(headings, notifications.iter().map(row))
}
