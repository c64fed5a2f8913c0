//! `ionveil notifications`

use std::process::ExitCode;

use ionveil::domain::OrgId;
use ionveil::notification::{GetNotifications, Notification};
use pollster::block_on;

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
    /// Put a message that was given up back into the outbox.
    #[command(after_help = "Example:\n  ionveil notifications resend 0b9d9b0e-55b1-5e0c-a9f0-9a86d2a5a0d7")]
    Resend {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
    },
}

pub(super) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::List { org, pending, dead } => {
            let org: OrgId = org.parse()?;
            let question = GetNotifications { alert_id: None, pending: *pending, dead: *dead };
            let list = block_on(place.open_to_ask()?.notification_outbox().list(&org, question))?;
            output.document(&list, |list| notifications_table(list))?;
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
