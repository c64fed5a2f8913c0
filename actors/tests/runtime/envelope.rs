//! What is stored with every event, and what a decision is given from outside.

use std::collections::HashSet;
use std::ops::ControlFlow;

use ionveil_actors::runtime::{Caller, Clock};
use ionveil_journal::{Journal, Position, codec};
use uuid::Uuid;

use crate::support::*;

#[test]
fn events_carry_ids_of_their_own_and_who_and_why() {
    let world = World::new();
    let conversation = Uuid::from_u128(7);
    let ada = Caller { principal: Some("ada".into()), correlation_id: Some(conversation), ..Caller::default() };
    assert_eq!(wait(world.counters.tell("a", AddEach(vec![1; 1000]), ada.clone())), Ok(1000));
    assert_eq!(wait(world.counters.tell("a", AddEach(vec![1, 1]), ada)), Ok(1002));
    assert_eq!(wait(world.add("a", 1)), Ok(1003));
    let mut ids = HashSet::new();
    let mut causes = Vec::new();
    world
        .journal
        .read_all(Position::FIRST, Position::MAX, &mut |record| {
            assert_eq!(record.id.get_version_num(), 7);
            assert_eq!(record.id.get_variant(), uuid::Variant::RFC4122);
            assert!(ids.insert(record.id), "an id twice");
            let by_ada = record.position.get() <= 1002;
            assert_eq!(record.principal, by_ada.then_some("ada"));
            assert_eq!(record.correlation_id, by_ada.then_some(conversation));
            let cause = record.causation_id.expect("the command");
            if causes.last() != Some(&cause) {
                causes.push(cause);
            }
            assert_eq!((record.stream, record.epoch), ("counter/a", 1));
            assert_eq!((record.event_type, record.version, record.codec), ("added", 1, codec::BINCODE_2));
            ControlFlow::Continue(())
        })
        .expect("a sound journal");
    assert_eq!(ids.len(), 1003);
    assert_eq!(causes.len(), 3, "the events of one command share their cause, and no other has it");
    assert!(causes.iter().all(|cause| !ids.contains(cause) && cause.get_version_num() == 7));
}

#[test]
fn decisions_see_the_clock_of_the_runtime_and_the_caller() {
    let world = World::new();
    let ada = Caller { principal: Some("ada".into()), ..Caller::default() };
    let (now, caller) = wait(world.counters.ask("a", WhatIsGiven, ada.clone())).expect("an answer");
    assert_eq!((now.to_string().as_str(), &caller), (NOW, &ada));
    let later = "2031-01-01T00:00:00Z".parse().expect("an instant");
    world.clock.set(later);
    assert_eq!(world.clock.now(), later);
    let live = wait(world.counters.ask("a", WhatIsGiven, Caller::default()));
    assert_eq!(live, Ok((later, Caller::default())));
    let past = wait(world.counters.ask_at("a", position(0), WhatIsGiven, ada.clone()));
    assert_eq!(past, Ok((later, ada)));
}
