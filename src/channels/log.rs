//! The channel `log`: a line in the log of the process.

use serde_json::Value;
use tracing::{error, info, warn};

use super::message::{Delivery, Message, Transport};

/// Writes one line per message, with ids and values that are nobody's name: no title, no note, no user.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log;

impl Transport for Log {
    fn send(&self, message: &Message) -> Delivery {
        macro_rules! tell {
            ($level:ident) => {
                $level!(
                    target: "ionveil::notification",
                    notification_id = %message.notification_id,
                    idempotency_key = message.idempotency_key,
                    kind = message.kind.as_str(),
                    org_id = message.org_id.as_str(),
                    alert_id = %message.alert_id,
                    severity = text(&message.alert, "severity"),
                    rule_id = text(&message.alert, "rule_id"),
                    incident_id = text(&message.alert, "incident_id"),
                    level = message.level,
                    cycle = message.cycle,
                    alerts = 1 + message.others.len(),
                    "alert"
                )
            };
        }
        match text(&message.alert, "severity") {
            "emergency" | "critical" => tell!(error),
            "warning" => tell!(warn),
            _ => tell!(info),
        }
        Delivery::Delivered
    }

    fn preview(&self, message: &Message) -> String {
        format!(
            "alert notification_id={} idempotency_key={:?} kind={} org_id={} alert_id={} severity={} rule_id={} \
             incident_id={} level={} cycle={} alerts={}",
            message.notification_id,
            message.idempotency_key,
            message.kind,
            message.org_id,
            message.alert_id,
            text(&message.alert, "severity"),
            text(&message.alert, "rule_id"),
            text(&message.alert, "incident_id"),
            message.level,
            message.cycle,
            1 + message.others.len(),
        )
    }
}

fn text<'a>(alert: &'a Value, field: &str) -> &'a str {
    alert[field].as_str().unwrap_or("")
}
