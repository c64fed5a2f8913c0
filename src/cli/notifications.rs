//! `ionveil notifications`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ionveil::Invalid;
use ionveil::channels::{Channels, Message, MessageKind};
use ionveil::domain::{Channel, OrgId};
use ionveil::notification::{GetNotifications, Grouping, Notification, Pacing, QuietHours};
use pollster::block_on;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::acting::id;
use super::failure::Failure;
use super::output::{Output, table};
use super::place::Place;
use super::positioned::Document;

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
    /// Show what would be told of an alert on a channel, as it stands, with what is told in the same message.
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
    /// Try a message that was given up again: once now, if its channel is set up, and further ones in a system that runs by
    /// itself.
    #[command(
        after_help = "Example:\n  ionveil notifications resend 0b9d9b0e-55b1-5e0c-a9f0-9a86d2a5a0d7 --config channels.toml"
    )]
    Resend {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
        /// A file with a table [channels], which sets channels up; without it there is only log.
        #[arg(long, value_name = "F")]
        config: Option<PathBuf>,
    },
    /// Say when an org's messages go out: several as one, not in quiet hours, not more than a receiver takes.
    #[command(after_help = "Example:\n  ionveil notifications configure --org sffd examples/notification-pacing.toml")]
    Configure {
        /// Whose.
        #[arg(long)]
        org: String,
        /// The file, JSON or TOML (*.toml).
        #[arg(value_name = "F")]
        file: PathBuf,
    },
    /// Show when an org's messages go out.
    #[command(after_help = "Example:\n  ionveil notifications settings --org sffd")]
    Settings {
        /// Whose.
        #[arg(long)]
        org: String,
    },
}

#[derive(Serialize)]
struct Preview {
    alert_id: Uuid,
    channel: Channel,
    kind: MessageKind,
    level: u8,
    /// Alerts that are told in the same message.
    others: Vec<Uuid>,
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
            let ionveil = place.open_to_ask()?;
            let monitor = ionveil.sla_monitor_service();
            let alert = block_on(monitor.get_alert(alert_id))?;
            let others = block_on(ionveil.notification_outbox().companions(&alert.org_id, alert_id, channel))?;
            let mut message = Message::of_alert(json!(alert))?;
            for other in &others {
                message.others.push(json!(block_on(monitor.get_alert(*other))?));
                message.other_keys.push(format!("{other}/preview"));
            }
            let (kind, level) = (message.kind, message.level);
            let preview = channels.preview(channel, &message);
            let preview = Preview { alert_id, channel, kind, level, others, preview };
            output.document(&preview, |preview| preview.preview.clone())?;
        }
        Command::Resend { id: text, config } => {
            let channels = set_up(config.as_deref())?;
            let id = id("notification", text)?;
            let outbox = place.open_to_tell(channels)?.notification_outbox();
            let notification = block_on(outbox.resend(id))?;
            if !outbox.is_set_up(notification.channel) {
                let channel = notification.channel;
                eprintln!("note: channel {channel} is not set up here (--config F); the message waits in the outbox");
            }
            output.document(&notification, |one| notifications_table(std::slice::from_ref(one)))?;
        }
        Command::Configure { org, file } => {
            let org: OrgId = org.parse()?;
            let document = Document::read(file)?;
            let pacing = Pacing::from_json(&document.root.value).map_err(|invalid| refused(&document, invalid))?;
            let pacing = block_on(place.open()?.notification_outbox().set_pacing(&org, pacing))?;
            output.document(&pacing, pacing_for_people)?;
        }
        Command::Settings { org } => {
            let org: OrgId = org.parse()?;
            let pacing = block_on(place.open_to_ask()?.notification_outbox().get_pacing(&org))?;
            output.document(&pacing, |pacing| match pacing {
                Some(pacing) => pacing_for_people(pacing),
                None => "each message goes at once, alone".into(),
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is wrong with a pacing, by the place of the entry that is wrong by itself, if one is.
fn refused(document: &Document, invalid: Invalid) -> Failure {
    for key in ["groups", "quiet_hours", "limits"] {
        let (entries, _) = document.parts(&[key]);
        let is_it = |entry: &Value| Pacing::from_json(&json!({key: [entry]})).is_err_and(|alone| alone == invalid);
        if let Some(entry) = entries.into_iter().find(|entry| is_it(&entry.value)) {
            return document.refuse(entry, invalid);
        }
    }
    document.refuse(&document.root, invalid)
}

fn pacing_for_people(pacing: &Pacing) -> String {
    fn names<T: serde::Serialize>(all: &[T]) -> String {
        let names = all.iter().map(|one| json!(one).as_str().map_or_else(|| json!(one).to_string(), str::to_owned));
        names.collect::<Vec<_>>().join(" ")
    }
    let groups = pacing.groups.iter().map(|group| {
        let Grouping { channels, severities, levels, wait_seconds, interval_seconds, alerts_max } = group;
        let how = format!("wait {wait_seconds} s, interval {interval_seconds} s, at most {alerts_max} alerts");
        ["together".to_owned(), names(channels), names(severities), names(levels), how]
    });
    let quiet_hours = pacing.quiet_hours.iter().map(|hours| {
        let QuietHours { channels, severities, levels, days, from, until, digest } = hours;
        let digest = if *digest { ", then one digest" } else { "" };
        let how = format!("{from} to {until} {}, from {}{digest}", pacing.time_zone, names(days));
        ["quiet".to_owned(), names(channels), names(severities), names(levels), how]
    });
    let limits = pacing.limits.iter().map(|limit| {
        let how = format!("{} in {} s", limit.messages, limit.per_seconds);
        ["at most".to_owned(), names(&limit.channels), String::new(), String::new(), how]
    });
    table(["what", "channels", "severities", "levels", "how"], groups.chain(quiet_hours).chain(limits))
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
            notification.held_by.map_or_else(String::new, |held| json!(held).as_str().unwrap_or_default().to_owned()),
            notification.sent_with.map_or_else(String::new, |lead| lead.to_string()),
            notification.last_error.clone().unwrap_or_default(),
        ]
    };
    let headings = [
        "notification",
        "kind",
        "channel",
        "level",
        "cycle",
        "status",
        "tries",
        "at",
        "held by",
        "sent with",
        "last error",
    ];
    table(headings, notifications.iter().map(row))
}
