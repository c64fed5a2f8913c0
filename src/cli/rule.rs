//! `ionveil rule`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ionveil::alerts::{WhatIf, WhatIfAlert};
use ionveil::domain::{OrgId, Timestamp};
use ionveil::rules::AlertRule;
use pollster::block_on;
use serde::Serialize;
use serde_json::json;

use super::acting::when_optional;
use super::failure::Failure;
use super::output::{Output, table};
use super::place::Place;
use super::positioned::Document;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Store rules, or new versions of those whose ids are known.
    #[command(after_help = "Example:\n  ionveil rule add examples/alert-rules.toml\n\n\
        A file is JSON or TOML (*.toml), one rule or a list (a JSON array, or [[rule]] tables). All of its rules are stored or \
        none.")]
    Add {
        /// The file.
        #[arg(value_name = "F")]
        file: PathBuf,
    },
    /// List rules: of every org, or of one with those of all.
    #[command(after_help = "Example:\n  ionveil rule list --org sffd")]
    List {
        /// Only those that judge this org.
        #[arg(long, value_name = "O")]
        org: Option<String>,
    },
    /// Remove a rule; its alerts stay.
    #[command(after_help = "Example:\n  ionveil rule remove sla-warning")]
    Remove {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Tell what other rules would have raised on an org's recorded incidents.
    #[command(after_help = "Example:\n  ionveil rule what-if stricter.toml --org sffd --from 2013-08-01T00:00:00Z\n\n\
        The org's checks, judged windows and suppressions are lived through again with these rules and the org's present \
        escalation policy, in a system that never was down; nothing is changed.")]
    WhatIf {
        /// The file of rules.
        #[arg(value_name = "F")]
        file: PathBuf,
        /// Whose incidents.
        #[arg(long, value_name = "O")]
        org: String,
        /// Only what is raised at this instant or later.
        #[arg(long, value_name = "T", allow_hyphen_values = true)]
        from: Option<String>,
    },
    /// Say whether a file of rules is good, and where it is not, without storing anything.
    #[command(after_help = "Example:\n  ionveil rule check examples/alert-rules.toml")]
    Check {
        /// The file.
        #[arg(value_name = "F")]
        file: PathBuf,
    },
}

#[derive(Serialize)]
struct Removed {
    removed: bool,
}

pub(super) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Add { file } => {
            let (rules, is_list) = read(file)?;
            let stored = block_on(place.open()?.sla_monitor_service().add_rules(rules))?;
            print(&stored, is_list, output)
        }
        Command::List { org } => {
            let org: Option<OrgId> = org.as_deref().map(str::parse).transpose()?;
            let rules = block_on(place.open_to_ask()?.sla_monitor_service().get_rules(org.as_ref()))?;
            print(&rules, true, output)
        }
        Command::Remove { id } => {
            let removed = block_on(place.open_existing_or_none()?.sla_monitor_service().remove_rule(id))?;
            output.document(&Removed { removed }, |_| {
                if removed { format!("removed {id}") } else { format!("there is no rule {id}") }
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::WhatIf { file, org, from } => {
            let org: OrgId = org.parse()?;
            let (rules, _) = read(file)?;
            let ionveil = place.open_to_ask()?;
            let from = when_optional(&ionveil, Some(&org), "from", from.as_deref(), None)?.unwrap_or(Timestamp::MIN);
            let what_if = block_on(ionveil.sla_monitor_service().what_if(&org, rules, from))?;
            output.document(&what_if, what_if_for_people)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { file } => {
            let (rules, is_list) = read(file)?;
            print(&rules, is_list, output)
        }
    }
}

/// The rules of a file, and whether it is a list.
pub(super) fn read(path: &Path) -> Result<(Vec<AlertRule>, bool), Failure> {
    let document = Document::read(path)?;
    let (parts, is_list) = document.parts(&["rules", "rule"]);
    let mut rules: Vec<AlertRule> = Vec::with_capacity(parts.len());
    for part in parts {
        let rule = AlertRule::from_json(&part.value).map_err(|invalid| document.refuse(part, invalid))?;
        if rules.iter().any(|earlier| earlier.rule_id == rule.rule_id) {
            let twice = ionveil::Invalid::new("rule_id", &rule.rule_id, "each rule once");
            return Err(document.refuse(part, twice));
        }
        rules.push(rule);
    }
    Ok((rules, is_list))
}

fn print(rules: &[AlertRule], is_list: bool, output: &mut Output) -> Result<ExitCode, Failure> {
    let document = match rules {
        [rule] if !is_list => json!(rule),
        rules => json!(rules),
    };
    output.document(&document, |_| rules_table(rules))?;
    Ok(ExitCode::SUCCESS)
}

fn what_if_for_people(what_if: &WhatIf) -> String {
    let row = |sign: &str, alert: &WhatIfAlert| {
        let incident = alert.incident_id.clone().unwrap_or_default();
        [sign.to_owned(), alert.at.to_string(), alert.rule_id.clone(), incident, alert.severity.to_string()]
    };
    let rows = what_if.added.iter().map(|alert| row("+", alert));
    let rows: Vec<_> = rows.chain(what_if.removed.iter().map(|alert| row("-", alert))).collect();
    let summary = format!(
        "{} checks of {}: {} alerts were raised, {} would have been, with {} escalations",
        what_if.checks,
        what_if.org_id,
        what_if.recorded.len(),
        what_if.proposed.len(),
        what_if.escalations,
    );
    if rows.is_empty() {
        return format!("{summary}: the same ones");
    }
    format!("{summary}\n{}", table(["", "at", "rule", "incident", "severity"], rows))
}

fn rules_table(rules: &[AlertRule]) -> String {
    if rules.is_empty() {
        return "no rules".into();
    }
    let row = |rule: &AlertRule| {
        let org = rule.org_id.as_ref().map_or("all", |org| org.as_str()).to_owned();
        let enabled = if rule.enabled { "yes" } else { "no" };
        [
            rule.rule_id.clone(),
            rule.version.to_string(),
            org,
            rule.condition.condition_type().to_owned(),
            rule.condition.threshold_config().to_string(),
            rule.severity.to_string(),
            enabled.to_owned(),
        ]
    };
    table(["rule", "version", "org", "condition", "settings", "severity", "enabled"], rules.iter().map(row))
}
