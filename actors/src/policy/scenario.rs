//! A policy as it is proposed or in force: a ladder of policies and the thresholds between them. Not yet checked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Invalid;

/// The platform's ladder, most permissive first.
pub const POLICY_ORDER_DEFAULT: [&str; 4] = ["normal", "watch", "restricted", "halted"];
/// The platform's failure burst that leads one level up.
pub const ESCALATION_THRESHOLD_DEFAULT: i64 = 3;
/// The platform's success streaks that lead one level down.
pub const DEESCALATION_THRESHOLDS_DEFAULT: [(&str, i64); 3] = [("halted", 20), ("restricted", 10), ("watch", 5)];

const AT_LEAST_ONE: &str = "a whole number, at least 1";

/// A policy configuration. Any value may stand in any field; [`PolicyScenario::check`] says whether it can be used.
///
/// The default is the platform's own ladder with its thresholds, under the name `platform`.
///
/// ```
/// use ionveil_actors::policy::PolicyScenario;
/// let mut scenario = PolicyScenario::default();
/// scenario.check()?;
/// scenario.deescalation_thresholds.insert("normal".into(), 5);
/// assert_eq!(scenario.check().expect_err("nothing is below the first").field, "deescalation_thresholds.normal");
/// # Ok::<(), ionveil_actors::error::Invalid>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyScenario {
    /// Not empty.
    pub name: String,
    /// At least one name, each of them not empty and unique; most permissive first.
    pub policy_order: Vec<String>,
    /// The failure burst that leads one level up; at least 1.
    pub escalation_threshold: i64,
    /// By policy, the success streak that leads from it one level down; at least 1. Not of the first policy. A policy that
    /// is left out never de-escalates by itself.
    pub deescalation_thresholds: BTreeMap<String, i64>,
    /// Anything else worth keeping. Stored, not interpreted.
    pub metadata: Map<String, Value>,
}

impl Default for PolicyScenario {
    fn default() -> Self {
        PolicyScenario {
            name: "platform".into(),
            policy_order: POLICY_ORDER_DEFAULT.map(String::from).into(),
            escalation_threshold: ESCALATION_THRESHOLD_DEFAULT,
            deescalation_thresholds: DEESCALATION_THRESHOLDS_DEFAULT.map(|(name, streak)| (name.into(), streak)).into(),
            metadata: Map::new(),
        }
    }
}

impl PolicyScenario {
    /// Checks every field, in the order of the struct.
    ///
    /// # Errors
    /// Names the first field that is out of range, its value and the range.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.name.is_empty() {
            return Err(Invalid::new("name", "\"\"", "a text that is not empty"));
        }
        self.check_order()?;
        if self.escalation_threshold < 1 {
            return Err(Invalid::new("escalation_threshold", self.escalation_threshold, AT_LEAST_ONE));
        }
        for (policy, &threshold) in &self.deescalation_thresholds {
            let field = format!("deescalation_thresholds.{policy}");
            match self.policy_order.iter().position(|name| name == policy) {
                Some(1..) if threshold >= 1 => {}
                Some(1..) => return Err(Invalid::new(field, threshold, AT_LEAST_ONE)),
                _ => {
                    let others = match &self.policy_order[1..] {
                        [] => "no threshold, since there is only one policy".into(),
                        others => format!("thresholds of {}", others.join(", ")),
                    };
                    return Err(Invalid::new(field, threshold, others));
                }
            }
        }
        Ok(())
    }

    fn check_order(&self) -> Result<(), Invalid> {
        if self.policy_order.is_empty() {
            return Err(Invalid::new("policy_order", "[]", "at least one policy"));
        }
        let mut seen = BTreeSet::new();
        for (index, name) in self.policy_order.iter().enumerate() {
            let field = || format!("policy_order[{index}]");
            if name.is_empty() {
                return Err(Invalid::new(field(), "\"\"", "a text that is not empty"));
            }
            if !seen.insert(name) {
                return Err(Invalid::new(field(), format_args!("{name:?}"), "each policy once"));
            }
        }
        Ok(())
    }

    /// Reads a scenario from a JSON object with exactly the fields of the struct, of which only `metadata` may be left out.
    /// Ranges are left to [`PolicyScenario::check`].
    ///
    /// # Errors
    /// Names the first field that is missing, not of its type, or not one of a scenario.
    pub fn from_json(value: &Value) -> Result<Self, Invalid> {
        const FIELDS: [&str; 5] =
            ["name", "policy_order", "escalation_threshold", "deescalation_thresholds", "metadata"];
        let Value::Object(object) = value else {
            return Err(Invalid::new("scenario", value, "a JSON object"));
        };
        if let Some((unknown, value)) = object.iter().find(|(name, _)| !FIELDS.contains(&name.as_str())) {
            return Err(Invalid::new(unknown, value, format!("the fields {}", FIELDS.join(", "))));
        }
        let required = |name: &str, allowed: &str| match object.get(name) {
            Some(value) => Ok(value),
            None => Err(Invalid::new(name, "missing", allowed)),
        };
        Ok(PolicyScenario {
            name: text("name", required("name", "a string")?)?,
            policy_order: {
                const ALLOWED: &str = "an array of strings";
                let value = required("policy_order", ALLOWED)?;
                let names = value.as_array().ok_or_else(|| Invalid::new("policy_order", value, ALLOWED))?;
                let name = |(index, name)| text(&format!("policy_order[{index}]"), name);
                names.iter().enumerate().map(name).collect::<Result<_, _>>()?
            },
            escalation_threshold: whole(
                "escalation_threshold".into(),
                required("escalation_threshold", AT_LEAST_ONE)?,
            )?,
            deescalation_thresholds: {
                const ALLOWED: &str = "an object of whole numbers by policy";
                let value = required("deescalation_thresholds", ALLOWED)?;
                let streaks =
                    value.as_object().ok_or_else(|| Invalid::new("deescalation_thresholds", value, ALLOWED))?;
                let threshold = |(policy, streak): (&String, &Value)| {
                    Ok((policy.clone(), whole(format!("deescalation_thresholds.{policy}"), streak)?))
                };
                streaks.iter().map(threshold).collect::<Result<_, Invalid>>()?
            },
            metadata: match object.get("metadata") {
                None | Some(Value::Null) => Map::new(),
                Some(Value::Object(metadata)) => metadata.clone(),
                Some(other) => return Err(Invalid::new("metadata", other, "a JSON object")),
            },
        })
    }
}

fn text(field: &str, value: &Value) -> Result<String, Invalid> {
    value.as_str().map(str::to_owned).ok_or_else(|| Invalid::new(field, value, "a string"))
}

fn whole(field: String, value: &Value) -> Result<i64, Invalid> {
    value.as_i64().ok_or_else(|| Invalid::new(field, value, AT_LEAST_ONE))
}

/// Builds a [`PolicyScenario`] step by step, from the platform's ladder and thresholds on.
///
/// ```
/// use ionveil_actors::policy::ScenarioBuilder;
/// let scenario = ScenarioBuilder::new("calm")
///     .with_escalation_threshold(5)
///     .with_deescalation_threshold("watch", 3)
///     .build()?;
/// assert_eq!(scenario.policy_order, ["normal", "watch", "restricted", "halted"]);
/// assert_eq!((scenario.deescalation_thresholds["watch"], scenario.deescalation_thresholds["halted"]), (3, 20));
/// # Ok::<(), ionveil_actors::error::Invalid>(())
/// ```
#[derive(Debug, Clone)]
pub struct ScenarioBuilder {
    scenario: PolicyScenario,
    /// Those that were asked for, as opposed to the platform's.
    thresholds: BTreeMap<String, i64>,
}

impl ScenarioBuilder {
    /// Starts with the platform's ladder and thresholds under this name.
    pub fn new(name: impl Into<String>) -> Self {
        let scenario = PolicyScenario { name: name.into(), ..PolicyScenario::default() };
        ScenarioBuilder { scenario, thresholds: BTreeMap::new() }
    }

    /// Sets the ladder, most permissive first. The platform's thresholds stay for those of its policies that are in it.
    #[must_use]
    pub fn with_policy_order<S: Into<String>>(mut self, order: impl IntoIterator<Item = S>) -> Self {
        self.scenario.policy_order = order.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the failure burst that leads one level up.
    #[must_use]
    pub fn with_escalation_threshold(mut self, threshold: i64) -> Self {
        self.scenario.escalation_threshold = threshold;
        self
    }

    /// Sets the success streak that leads from `policy` one level down.
    #[must_use]
    pub fn with_deescalation_threshold(mut self, policy: impl Into<String>, success_streak: i64) -> Self {
        self.thresholds.insert(policy.into(), success_streak);
        self
    }

    /// Sets what else is to be kept with the scenario.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.scenario.metadata = metadata;
        self
    }

    /// The scenario, checked.
    ///
    /// # Errors
    /// As [`PolicyScenario::check`].
    pub fn build(self) -> Result<PolicyScenario, Invalid> {
        let ScenarioBuilder { mut scenario, thresholds } = self;
        let order = &scenario.policy_order;
        scenario.deescalation_thresholds.retain(|policy, _| order.iter().skip(1).any(|name| name == policy));
        scenario.deescalation_thresholds.extend(thresholds);
        scenario.check()?;
        Ok(scenario)
    }
}
