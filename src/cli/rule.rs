//! `ionveil rule`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ionveil::domain::OrgId;
use ionveil::rules::AlertRule;
use pollster::block_on;
use serde::Serialize;
use serde_json::json;

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
