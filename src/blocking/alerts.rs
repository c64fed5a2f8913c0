//! Alerts without async.

use ionveil_actors::alerts::{
    Alert, AlertStatus, CheckReport, IncidentStatus, PolicyWhatIf, SlaViolation, Suppression, Wanted, WhatIf,
};
use ionveil_actors::domain::{Channel, OrgId, Timestamp};
use ionveil_actors::escalation::EscalationPolicy;
use ionveil_actors::notification::{GetNotifications, Notification, Pacing};
use ionveil_actors::rules::{AlertRule, AlertSeverity};
use pollster::block_on;
use uuid::Uuid;

use crate::api::{self, Explanation, IncidentCheck};
use crate::error::Error;
use crate::instance::IonVeil;

/// As [`api::SlaMonitorService`], whose documentation holds here.
#[derive(Clone)]
pub struct SlaMonitorService(api::SlaMonitorService);

#[allow(missing_docs, reason = "each method is documented on the service of the same name")]
#[allow(clippy::missing_errors_doc)]
impl SlaMonitorService {
    pub fn new(ionveil: &IonVeil) -> Self {
        SlaMonitorService(api::SlaMonitorService::new(ionveil))
    }

    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        SlaMonitorService(self.0.with_command_id(command_id))
    }

    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        SlaMonitorService(self.0.at(now))
    }

    pub fn start(&self) -> Result<(), Error> {
        block_on(self.0.start())
    }

    pub fn stop(&self) {
        self.0.stop();
    }

    pub fn add_rule(&self, rule: AlertRule) -> Result<AlertRule, Error> {
        block_on(self.0.add_rule(rule))
    }

    pub fn add_rules(&self, rules: Vec<AlertRule>) -> Result<Vec<AlertRule>, Error> {
        block_on(self.0.add_rules(rules))
    }

    pub fn remove_rule(&self, rule_id: &str) -> Result<bool, Error> {
        block_on(self.0.remove_rule(rule_id))
    }

    pub fn get_rules(&self, org: Option<&OrgId>) -> Result<Vec<AlertRule>, Error> {
        block_on(self.0.get_rules(org))
    }

    pub fn check_incident(&self, check: IncidentCheck) -> Result<CheckReport, Error> {
        block_on(self.0.check_incident(check))
    }

    pub fn get_active_alerts(
        &self,
        org: &OrgId,
        severity: Option<AlertSeverity>,
        status: Option<AlertStatus>,
    ) -> Result<Vec<Alert>, Error> {
        block_on(self.0.get_active_alerts(org, severity, status))
    }

    pub fn get_alerts(
        &self,
        org: &OrgId,
        severity: Option<AlertSeverity>,
        wanted: Wanted,
    ) -> Result<Vec<Alert>, Error> {
        block_on(self.0.get_alerts(org, severity, wanted))
    }

    pub fn get_alert(&self, alert_id: Uuid) -> Result<Alert, Error> {
        block_on(self.0.get_alert(alert_id))
    }

    pub fn acknowledge_alert(&self, alert_id: Uuid, user_id: &str, note: Option<&str>) -> Result<Alert, Error> {
        block_on(self.0.acknowledge_alert(alert_id, user_id, note))
    }

    pub fn resolve_alert(&self, alert_id: Uuid, user_id: &str, resolution_note: &str) -> Result<Alert, Error> {
        block_on(self.0.resolve_alert(alert_id, user_id, resolution_note))
    }

    pub fn open_incidents(&self, org: &OrgId) -> Result<Vec<IncidentStatus>, Error> {
        block_on(self.0.open_incidents(org))
    }

    pub fn violations(
        &self,
        org: &OrgId,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<SlaViolation>, Error> {
        block_on(self.0.violations(org, from, to))
    }

    pub fn explain(&self, org: &OrgId, incident_id: &str) -> Result<Explanation, Error> {
        block_on(self.0.explain(org, incident_id))
    }

    pub fn what_if(&self, org: &OrgId, rules: Vec<AlertRule>, from: Timestamp) -> Result<WhatIf, Error> {
        block_on(self.0.what_if(org, rules, from))
    }
}

/// As [`api::EscalationManager`], whose documentation holds here.
#[derive(Clone)]
pub struct EscalationManager(api::EscalationManager);

#[allow(missing_docs, reason = "each method is documented on the service of the same name")]
#[allow(clippy::missing_errors_doc)]
impl EscalationManager {
    pub fn new(ionveil: &IonVeil) -> Self {
        EscalationManager(api::EscalationManager::new(ionveil))
    }

    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        EscalationManager(self.0.with_command_id(command_id))
    }

    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        EscalationManager(self.0.at(now))
    }

    pub fn set_policy(&self, org: &OrgId, policy: EscalationPolicy) -> Result<EscalationPolicy, Error> {
        block_on(self.0.set_policy(org, policy))
    }

    pub fn get_policy(&self, org: &OrgId) -> Result<Option<EscalationPolicy>, Error> {
        block_on(self.0.get_policy(org))
    }

    pub fn check_escalations(&self) -> Result<Vec<Alert>, Error> {
        block_on(self.0.check_escalations())
    }

    pub fn what_if(&self, org: &OrgId, policy: EscalationPolicy, from: Timestamp) -> Result<PolicyWhatIf, Error> {
        block_on(self.0.what_if(org, policy, from))
    }

    pub fn escalate_alert(&self, alert_id: Uuid, user_id: &str, reason: &str) -> Result<Alert, Error> {
        block_on(self.0.escalate_alert(alert_id, user_id, reason))
    }
}

/// As [`api::AlertSuppressionManager`], whose documentation holds here.
#[derive(Clone)]
pub struct AlertSuppressionManager(api::AlertSuppressionManager);

#[allow(missing_docs, reason = "each method is documented on the service of the same name")]
#[allow(clippy::missing_errors_doc)]
impl AlertSuppressionManager {
    pub fn new(ionveil: &IonVeil) -> Self {
        AlertSuppressionManager(api::AlertSuppressionManager::new(ionveil))
    }

    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        AlertSuppressionManager(self.0.with_command_id(command_id))
    }

    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        AlertSuppressionManager(self.0.at(now))
    }

    pub fn add_suppression(
        &self,
        org: &OrgId,
        rule_pattern: &str,
        duration_minutes: u32,
        reason: &str,
        created_by: &str,
    ) -> Result<Suppression, Error> {
        block_on(self.0.add_suppression(org, rule_pattern, duration_minutes, reason, created_by))
    }

    pub fn is_suppressed(&self, org: &OrgId, rule_id: &str) -> Result<bool, Error> {
        block_on(self.0.is_suppressed(org, rule_id))
    }

    pub fn remove_suppression(&self, suppression_id: Uuid) -> Result<bool, Error> {
        block_on(self.0.remove_suppression(suppression_id))
    }

    pub fn get_active_suppressions(&self, org: &OrgId, all: bool) -> Result<Vec<Suppression>, Error> {
        block_on(self.0.get_active_suppressions(org, all))
    }
}

/// As [`api::NotificationOutbox`], whose documentation holds here.
#[derive(Clone)]
pub struct NotificationOutbox(api::NotificationOutbox);

#[allow(missing_docs, reason = "each method is documented on the service of the same name")]
#[allow(clippy::missing_errors_doc)]
impl NotificationOutbox {
    pub fn new(ionveil: &IonVeil) -> Self {
        NotificationOutbox(api::NotificationOutbox::new(ionveil))
    }

    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        NotificationOutbox(self.0.with_command_id(command_id))
    }

    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        NotificationOutbox(self.0.at(now))
    }

    pub fn list(&self, org: &OrgId, question: GetNotifications) -> Result<Vec<Notification>, Error> {
        block_on(self.0.list(org, question))
    }

    pub fn resend(&self, notification_id: Uuid) -> Result<Notification, Error> {
        block_on(self.0.resend(notification_id))
    }

    pub fn is_set_up(&self, channel: Channel) -> bool {
        self.0.is_set_up(channel)
    }

    pub fn set_pacing(&self, org: &OrgId, pacing: Pacing) -> Result<Pacing, Error> {
        block_on(self.0.set_pacing(org, pacing))
    }

    pub fn get_pacing(&self, org: &OrgId) -> Result<Option<Pacing>, Error> {
        block_on(self.0.get_pacing(org))
    }

    pub fn companions(&self, org: &OrgId, alert_id: Uuid, channel: Channel) -> Result<Vec<Uuid>, Error> {
        block_on(self.0.companions(org, alert_id, channel))
    }
}
