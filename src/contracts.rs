//! The contracts of the platform's services: who listens where, and who needs whom.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::{Error, Invalid};
use ionveil_actors::domain::check_id;

/// What a service promises to the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceContract {
    /// Its name, which others name in their `deps`.
    pub id: String,
    /// The TCP port it listens on; never 0.
    pub port: NonZeroU16,
    /// The path that tells whether it is well.
    pub health: String,
    /// What it is for.
    pub description: String,
    /// The services that have to be there before it.
    pub deps: Vec<String>,
}

/// The services that are known, in the order in which they were named, and the order in which they can start.
///
/// ```
/// let services = ionveil::ServiceRegistry::platform();
/// assert_eq!(services.get("alerts")?.port.get(), 8112);
/// assert_eq!(services.topological_order()[0], "gateway");
/// # Ok::<(), ionveil::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceRegistry {
    services: Vec<ServiceContract>,
    topological_order: Vec<String>,
}

impl ServiceRegistry {
    /// The 13 services of the platform; IonVeil itself is `simulator`, `dashboard` and `alerts`.
    pub fn platform() -> Self {
        let services = PLATFORM.map(|(id, port, description, deps)| ServiceContract {
            id: id.into(),
            port: NonZeroU16::new(port).expect("no port of the table is 0"),
            health: "/health".into(),
            description: description.into(),
            deps: deps.iter().map(|&dep| dep.into()).collect(),
        });
        Self::new(services.into()).expect("the platform's contracts fit each other")
    }

    /// Takes in contracts that fit each other.
    ///
    /// # Errors
    /// Invalid, naming the field: an id that is none or is there twice, a port that two services claim, a health path
    /// that does not begin with `/`, a dependency that is unknown, is named twice, or leads back to where it began.
    pub fn new(services: Vec<ServiceContract>) -> Result<Self, Error> {
        let mut ids = BTreeMap::new();
        let mut ports = BTreeMap::new();
        for service in &services {
            let id = service.id.as_str();
            check_id("id", id)?;
            if ids.insert(id, service).is_some() {
                return Err(Invalid::new("id", id, "an id that no other service has").into());
            }
            if let Some(other) = ports.insert(service.port, id) {
                let allowed = format!("a port of its own; {other} has this one");
                return Err(Invalid::new(format!("{id}.port"), service.port, allowed).into());
            }
            if !service.health.starts_with('/') {
                return Err(Invalid::new(format!("{id}.health"), &service.health, "a path that begins with '/'").into());
            }
        }
        for service in &services {
            for (at, dep) in service.deps.iter().enumerate() {
                let field = || format!("{}.deps", service.id);
                if !ids.contains_key(dep.as_str()) {
                    let known: Vec<&str> = ids.keys().copied().collect();
                    return Err(Invalid::new(field(), dep, format!("known services: {}", known.join(", "))).into());
                }
                if service.deps[..at].contains(dep) {
                    return Err(Invalid::new(field(), dep, "each service once").into());
                }
            }
        }
        let topological_order = start_order(&services)?;
        Ok(ServiceRegistry { services, topological_order })
    }

    /// The contracts, in the order in which they were given.
    pub fn services(&self) -> &[ServiceContract] {
        &self.services
    }

    /// The contract of one service.
    ///
    /// # Errors
    /// Not found, when there is no such service.
    pub fn get(&self, id: &str) -> Result<&ServiceContract, Error> {
        let found = self.services.iter().find(|service| service.id == id);
        found.ok_or_else(|| crate::ServiceError::NotFound { what: "service", id: id.into() }.into())
    }

    /// An order in which each service comes after all that it depends on: always the smallest name among those that can
    /// be next.
    pub fn topological_order(&self) -> &[String] {
        &self.topological_order
    }
}

/// Takes out, again and again, the smallest service whose dependencies are all out.
fn start_order(services: &[ServiceContract]) -> Result<Vec<String>, Invalid> {
    let mut left: BTreeMap<&str, &[String]> =
        services.iter().map(|service| (service.id.as_str(), service.deps.as_slice())).collect();
    let mut order = Vec::with_capacity(services.len());
    while !left.is_empty() {
        let next = left.iter().find(|(_, deps)| deps.iter().all(|dep| !left.contains_key(dep.as_str())));
        let Some((&id, _)) = next else {
            let circle = circle_in(&left).join(" → ");
            return Err(Invalid::new("deps", circle, "dependencies that do not lead back to where they began"));
        };
        left.remove(id);
        order.push(id.to_owned());
    }
    Ok(order)
}

/// A way that leads back to its first service, among services each of which needs another of them.
fn circle_in<'a>(left: &BTreeMap<&'a str, &'a [String]>) -> Vec<&'a str> {
    let mut way: Vec<&str> = left.keys().copied().take(1).collect();
    while let Some(&last) = way.last() {
        let next = left[last].iter().find(|dep| left.contains_key(dep.as_str())).expect("none of them can be next");
        let next = next.as_str();
        let met = way.iter().position(|&id| id == next);
        way.push(next);
        if let Some(from) = met {
            return way.split_off(from);
        }
    }
    way
}

/// Id, port, description, dependencies.
const PLATFORM: [(&str, u16, &str, &[&str]); 13] = [
    ("gateway", 8100, "API gateway and request router", &[]),
    ("identity", 8101, "Authentication and authorisation service", &["gateway"]),
    ("intake", 8102, "Incident intake and triage", &["identity"]),
    ("dispatch", 8103, "Resource dispatch and assignment engine", &["identity", "intake"]),
    ("routing", 8104, "Geospatial routing and ETA calculation", &["dispatch"]),
    ("policy", 8105, "Escalation policy and SLA enforcement", &["identity"]),
    ("notifications", 8106, "Multi-channel notification delivery", &["identity"]),
    ("analytics", 8107, "Response-time analytics and reporting", &["dispatch", "routing"]),
    ("audit", 8108, "Compliance audit trail and event store", &["identity"]),
    ("security", 8109, "Threat detection and access control", &["identity"]),
    ("simulator", 8110, "Policy simulation and testing service", &["policy"]),
    ("dashboard", 8111, "Real-time dispatch analytics dashboard backend", &["analytics", "dispatch"]),
    ("alerts", 8112, "SLA monitoring and alerting service", &["policy", "notifications", "audit"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(id: &str, port: u16, deps: &[&str]) -> ServiceContract {
        ServiceContract {
            id: id.into(),
            port: NonZeroU16::new(port).expect("not 0"),
            health: "/health".into(),
            description: String::new(),
            deps: deps.iter().map(|&dep| dep.into()).collect(),
        }
    }

    fn refusal(services: Vec<ServiceContract>) -> Invalid {
        ServiceRegistry::new(services).expect_err("do not fit").invalid().expect("invalid")
    }

    #[test]
    fn the_platform_starts_in_the_order_of_its_dependencies() {
        let platform = ServiceRegistry::platform();
        assert_eq!(platform.services().len(), 13);
        let order = "gateway identity audit intake dispatch notifications policy alerts routing analytics dashboard \
                     security simulator";
        assert_eq!(platform.topological_order(), order.split(' ').collect::<Vec<_>>());
        for service in platform.services() {
            let place = |id: &str| platform.topological_order().iter().position(|named| named == id);
            assert!(service.deps.iter().all(|dep| place(dep) < place(&service.id)), "{}", service.id);
            assert_eq!(platform.get(&service.id).expect("it is there"), service);
        }
        assert_eq!(platform.get("gate").expect_err("no such service").kind(), crate::Kind::NotFound);
    }

    #[test]
    fn contracts_that_do_not_fit_are_refused_by_name() {
        let a = || contract("a", 1, &[]);
        let without_slash = ServiceContract { health: "health".into(), ..contract("b", 2, &[]) };
        for (services, field, value) in [
            (vec![a(), contract("", 2, &[])], "id", "\"\""),
            (vec![a(), contract("a", 2, &[])], "id", "a"),
            (vec![a(), contract("b", 1, &[])], "b.port", "1"),
            (vec![a(), without_slash], "b.health", "health"),
            (vec![a(), contract("b", 2, &["c"])], "b.deps", "c"),
            (vec![a(), contract("b", 2, &["a", "a"])], "b.deps", "a"),
            (vec![a(), contract("b", 2, &["b"])], "deps", "b → b"),
            (
                vec![
                    contract("a", 1, &["b"]),
                    contract("b", 2, &["d", "c"]),
                    contract("c", 3, &["b"]),
                    contract("d", 4, &[]),
                ],
                "deps",
                "b → c → b",
            ),
        ] {
            let refused = refusal(services);
            assert_eq!((refused.field.as_str(), refused.value.as_str()), (field, value), "{refused}");
        }
    }

    #[test]
    fn no_service_is_a_registry_too() {
        let none = ServiceRegistry::new(Vec::new()).expect("nothing does not fit");
        assert!(none.services().is_empty() && none.topological_order().is_empty());
    }
}
