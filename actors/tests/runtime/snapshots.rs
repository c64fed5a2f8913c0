//! Snapshots are a cache: deleting all of them, or spoiling them, changes how long a start takes and nothing else.

use std::sync::Arc;
use std::time::Duration;

use ionveil_actors::dispatch::{DispatchEvent, Dispatches, IngestBatch, SetRetention};
use ionveil_actors::runtime::{Caller, Limits, Registry, Snapshotted};
use ionveil_journal::{Fold, Journal, Sequence, SnapshotCriteria, StateSnapshot, StreamId, codec};
use serde_json::json;

use crate::support::*;

fn limits(snapshot_events: u64) -> Limits {
    Limits { threads: 1, snapshot_events, idle_after: Duration::from_secs(60), ..Limits::default() }
}

fn reminder(id: &str) -> StreamId {
    format!("reminder/{id}").parse().expect("a stream")
}

fn latest(world: &World, id: &str) -> Option<StateSnapshot> {
    world.journal.latest_snapshot(&reminder(id), Reminder::FOLD, &SnapshotCriteria::ALL).expect("readable")
}

fn schedule_many(world: &World, id: &str, count: usize) {
    let at = |n| instant("2026-03-02T00:00:00Z").saturating_add_micros(n as i64);
    let first = world.look(id).scheduled.len();
    let replies: Vec<_> =
        (first..first + count).map(|n| world.reminders.tell(id, Schedule(at(n)), Caller::default())).collect();
    for reply in replies {
        wait(reply).expect("scheduled");
    }
}

#[test]
fn one_is_taken_every_so_many_events_and_the_one_before_is_kept() {
    let world = World::with(Disk::default(), limits(100));
    schedule_many(&world, "a", 99);
    assert_eq!(latest(&world, "a"), None);
    schedule_many(&world, "a", 1);
    until("the first", || latest(&world, "a").is_some_and(|it| it.sequence == Sequence::new(100)));
    schedule_many(&world, "a", 100);
    until("the second", || latest(&world, "a").is_some_and(|it| it.sequence == Sequence::new(200)));
    // The state has grown to some 2,000 bytes, which are worth more than 100 events.
    schedule_many(&world, "a", 100);
    assert_eq!(latest(&world, "a").map(|it| it.sequence), Some(Sequence::new(200)));
    schedule_many(&world, "a", 100);
    until("the third", || latest(&world, "a").is_some_and(|it| it.sequence > Sequence::new(300)));
    until("the older ones are gone", || world.journal.stat().snapshots == 2);
    until("it is counted", || world.runtime.metrics().snapshots == 3);
}

#[test]
fn one_is_taken_when_the_entity_leaves_memory_if_it_is_worth_it() {
    let world = World::with(Disk::default(), limits(1_000)).with_background();
    schedule_many(&world, "a", 80);
    schedule_many(&world, "b", 10);
    world.clock.advance(Duration::from_secs(120));
    until("nobody in memory", || world.runtime.metrics().entities_live.values().all(|live| *live == 0));
    until("a is stored", || latest(&world, "a").is_some_and(|it| it.sequence == Sequence::new(80)));
    assert_eq!(latest(&world, "b"), None, "so few events are replayed sooner");
    assert_eq!(world.look("a").scheduled.len(), 80);
    world.clock.advance(Duration::from_secs(120));
    until("nobody in memory again", || world.runtime.metrics().entities_live.values().all(|live| *live == 0));
    assert_eq!(world.runtime.metrics().snapshots, 1, "nothing has happened since");
}

#[test]
fn none_is_stored_of_what_is_not_durable() {
    let world = World::with(Disk::default(), limits(10));
    schedule_many(&world, "a", 9);
    world.disk.hold();
    let tenth = world.schedule("a", "2027-01-01T00:00:00Z");
    world.disk.await_begun(world.disk.begun());
    assert!(wait(world.runtime.run_blocking(|| Ok(()))).is_ok());
    assert_eq!(latest(&world, "a"), None);
    world.disk.fail(Failing::Lost);
    world.disk.release();
    assert!(wait(tenth).is_err());
    world.disk.mend();
    let world = world.reopened();
    assert_eq!(latest(&world, "a"), None);
    assert_eq!(world.look("a").scheduled.len(), 9);
}

/// What an entity starts from: a snapshot that says something else than the events shows that it was used.
#[test]
fn a_start_reads_the_snapshot_and_what_came_after() {
    let world = World::with(Disk::default(), limits(50));
    schedule_many(&world, "a", 60);
    until("stored", || latest(&world, "a").is_some());
    let snapshot = latest(&world, "a").expect("just seen");
    // The last instant of the snapshot is taken out of its bytes.
    let mut state = Reminder::default();
    state.scheduled.extend((0..49).map(|n| instant("2026-03-02T00:00:00Z").saturating_add_micros(n)));
    let forged = codec::encode(&state);
    let mut payload = snapshot.payload.clone();
    let header_len = u32::from_le_bytes(payload[9..13].try_into().expect("four bytes")) as usize;
    payload.truncate(13 + header_len);
    payload.extend(forged);
    let world = world.reopened();
    world.journal.save_snapshot(&StateSnapshot { payload, ..snapshot }).expect("stored");
    assert_eq!(world.look("a").scheduled.len(), 59, "49 of the snapshot and 10 after it");
}

/// Its state would fit, but it ends with an event that this journal does not have there.
#[test]
fn one_of_another_history_is_passed_over() {
    let world = World::with(Disk::default(), limits(50));
    schedule_many(&world, "a", 60);
    until("stored", || latest(&world, "a").is_some());
    let world = world.reopened();
    let snapshot = latest(&world, "a").expect("just seen");
    let mut payload = snapshot.payload.clone();
    let header_len = u32::from_le_bytes(payload[9..13].try_into().expect("four bytes")) as usize;
    payload.truncate(13 + header_len);
    // The header begins with the last event's id: its length and 16 bytes.
    payload[13 + 16] ^= 1;
    payload.extend(codec::encode(&Reminder::default()));
    world.journal.save_snapshot(&StateSnapshot { payload, ..snapshot }).expect("stored");
    assert_eq!(world.look("a").scheduled.len(), 60);
}

#[test]
fn one_that_cannot_be_used_is_passed_over() {
    let stored = || {
        let world = World::with(Disk::default(), limits(50));
        schedule_many(&world, "a", 60);
        until("stored", || latest(&world, "a").is_some());
        let world = world.reopened();
        let snapshot = latest(&world, "a").expect("just seen");
        world.journal.delete_snapshots(&reminder("a"), &SnapshotCriteria::ALL).expect("deleted");
        (world, snapshot)
    };
    let cut = |by: usize| move |it: &mut StateSnapshot| it.payload.truncate(it.payload.len() - by);
    type Spoil = Box<dyn Fn(&mut StateSnapshot)>;
    let cases: [(&str, Spoil); 7] = [
        ("another schema", Box::new(|it| it.fold = Fold { schema: 2, ..it.fold })),
        ("another arithmetic", Box::new(|it| it.fold = Fold { version: 2, ..it.fold })),
        ("another form", Box::new(|it| it.payload[0] = 9)),
        ("a cut state", Box::new(cut(3))),
        ("nothing left", Box::new(|it| it.payload.clear())),
        ("a header of another length", Box::new(|it| it.payload[9] += 1)),
        ("another history", Box::new(|it| it.sequence = Sequence::new(49))),
    ];
    for (what, spoil) in cases {
        let (world, mut snapshot) = stored();
        spoil(&mut snapshot);
        world.journal.save_snapshot(&snapshot).expect("stored");
        assert_eq!(world.look("a").scheduled.len(), 60, "{what}");
        assert_eq!(wait(world.schedule("a", "2027-01-01T00:00:00Z")), Ok(61), "{what}");
        let world = world.with_background();
        assert_eq!(world.look("a").scheduled.len(), 61, "{what}");
    }
}

fn dispatches(count: usize) -> Vec<DispatchEvent> {
    (0..count)
        .map(|n| {
            DispatchEvent::from_json(&json!({
                "event_id": format!("e{n}"), "org_id": "org", "dispatch_id": format!("d{}", n / 2),
                "timestamp": format!("2026-03-01T{:02}:{:02}:00Z", 8 + n % 4, n % 60), "severity": 1 + n % 5,
                "response_time_minutes": (n % 17) as f64 * 0.7, "distance_km": 1.5, "region": format!("r{}", n % 9),
                "unit_type": (["engine", "medic"][n % 2]), "status": (["closed", "active"][usize::from(n % 7 == 0)]),
            }))
            .expect("well-formed")
        })
        .collect()
}

/// Every state of every entity, to the byte, with the snapshots and without any.
#[test]
fn deleting_all_of_them_changes_no_state() {
    let disk = Disk::default();
    let mut states = Vec::new();
    for round in 0..4 {
        let world = World::with(disk.clone(), limits(40));
        let orgs: Registry<Dispatches> = Registry::new(&world.runtime);
        if round == 0 {
            for org in ["org", "other"] {
                wait(orgs.tell(org, SetRetention { hours: 2 }, Caller::default())).expect("accepted");
                for chunk in dispatches(400).chunks(37) {
                    wait(orgs.tell(org, IngestBatch::from_iter(chunk.to_vec()), Caller::default())).expect("accepted");
                }
            }
            for (id, count) in [("a", 130), ("b", 3)] {
                schedule_many(&world, id, count);
            }
            wait(world.reminders.run_due(instant("2026-03-02T00:00:00.00005Z"))).expect("woken");
            until("all are stored", || world.runtime.metrics().messages_under_way == 0);
            assert!(world.journal.stat().snapshots >= 3, "{:?}", world.journal.stat());
        }
        if round == 2 {
            for stream in world.journal.streams() {
                world.journal.delete_snapshots(&stream.stream, &SnapshotCriteria::ALL).expect("deleted");
            }
            assert_eq!(world.journal.stat().snapshots, 0);
        }
        let bytes = |org: &str| wait(orgs.ask(org, StateBytes, Caller::default())).expect("an answer");
        states.push((bytes("org"), bytes("other"), codec::encode(&world.look("a")), codec::encode(&world.look("b"))));
        assert!(world.runtime.stop(PATIENCE));
        world.journal.close();
    }
    assert!(!states[0].0.is_empty());
    assert!(states.iter().all(|state| *state == states[0]), "live, from snapshots, without any, and once more");
}

/// The state as its snapshot would be.
struct StateBytes;

impl ionveil_actors::runtime::Query<Dispatches> for StateBytes {
    type Answer = Vec<u8>;

    fn answer(
        self,
        state: &Dispatches,
        _: &ionveil_actors::runtime::Given,
    ) -> Result<Vec<u8>, ionveil_actors::error::Error> {
        Ok(state.to_snapshot())
    }
}

#[test]
fn a_journal_that_stores_none_is_good_enough() {
    let journal = Reluctant::new(Arc::new(ionveil_journal::LocalJournal::in_memory()));
    journal.refuses_snapshots.store(true, std::sync::atomic::Ordering::SeqCst);
    let (runtime, _) = runtime_on(Arc::clone(&journal) as _, limits(5));
    let reminders: Registry<Reminder> = Registry::new(&runtime);
    for n in 0..20 {
        let at = instant("2026-03-02T00:00:00Z").saturating_add_micros(n);
        assert_eq!(wait(reminders.tell("a", Schedule(at), Caller::default())), Ok(n as usize + 1));
    }
    assert!(runtime.stop(PATIENCE));
}
