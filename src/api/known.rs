//! The rules and the policy an org goes by, kept at hand as long as nothing changes in the journal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ionveil_actors::alerts::Known;
use ionveil_actors::domain::OrgId;
use ionveil_actors::escalation::{Escalation, GetPolicy, PolicyVersion};
use ionveil_actors::rules::{self, GetRules, RuleSet, Rules};
use ionveil_actors::runtime::Aggregate;
use ionveil_journal::{Sequence, StreamId};

use crate::error::Error;
use crate::instance::IonVeil;

/// Orgs that are kept at hand; beyond them all are forgotten and asked for again.
const ORGS_MAX: usize = 10_000;

/// What was asked for last, per org, with the ends of the streams it came from.
#[derive(Default)]
pub(crate) struct KnownCache(Mutex<HashMap<OrgId, Entry>>);

struct Entry {
    ends: Ends,
    rules: Arc<RuleSet>,
    policy: Option<Arc<PolicyVersion>>,
}

pub(super) type Ends = [Option<Sequence>; 2];

/// What an org goes by now.
pub(super) async fn known(ionveil: &IonVeil, org: &OrgId) -> Result<Known, Error> {
    let inner = &ionveil.inner;
    // The ends are read first: what comes meanwhile makes the entry old, not wrong.
    let ends = known_ends(ionveil, org)?;
    {
        let cache = inner.known.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = cache.get(org).filter(|entry| entry.ends == ends) {
            let (rules, policy) = (Arc::clone(&entry.rules), entry.policy.clone());
            return Ok(Known { org_id: org.clone(), rules, policy });
        }
    }
    let question = GetRules { org_id: Some(org.clone()) };
    let rules = Arc::new(inner.rules.ask(rules::ALL, question, ionveil.caller.clone()).await?);
    let policy = inner.escalation.ask(org.as_str(), GetPolicy, ionveil.caller.clone()).await?.map(Arc::new);
    let mut cache = inner.known.0.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= ORGS_MAX {
        cache.clear();
    }
    cache.insert(org.clone(), Entry { ends, rules: Arc::clone(&rules), policy: policy.clone() });
    Ok(Known { org_id: org.clone(), rules, policy })
}

/// The ends of the streams that say what an org goes by: as long as they stay, that stays.
pub(super) fn known_ends(ionveil: &IonVeil, org: &OrgId) -> Result<Ends, Error> {
    Ok([end(ionveil, Rules::KIND, rules::ALL)?, end(ionveil, Escalation::KIND, org.as_str())?])
}

/// The last event of a stream.
pub(super) fn end(ionveil: &IonVeil, kind: ionveil_journal::StreamKind, id: &str) -> Result<Option<Sequence>, Error> {
    let stream = StreamId::new(kind, id)?;
    Ok(ionveil.inner.runtime.journal().stream_head(&stream).map(|(sequence, _)| sequence))
}
