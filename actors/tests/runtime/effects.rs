//! Effects: at least once, with the same id, and never before the events they follow from are durable.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use ionveil_actors::domain::Timestamp;
use ionveil_actors::runtime::{Caller, EffectHandler, Limits, ManualClock, Performing, Registry, Runtime};
use ionveil_journal::{Journal, LocalJournal};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::support::*;

const DUE: &str = "2026-03-01T13:00:00Z";

fn ids(world: &World) -> Vec<(String, i64)> {
    let delivered = world.outside.0.lock().expect("no panic while it is held");
    delivered
        .all
        .iter()
        .map(|(entity, id, due)| {
            assert_eq!(*id, effect_id(*due));
            (entity.clone(), due.as_micros())
        })
        .collect()
}

#[test]
fn an_effect_is_performed_once_its_event_is_durable_and_its_outcome_comes_back() {
    let world = World::new().with_background();
    assert_eq!(wait(world.schedule("a", DUE)), Ok(1));
    let begun = world.disk.begun();
    world.disk.hold();
    world.clock.set(instant(DUE));
    world.disk.await_begun(begun + 1);
    until("handled", || world.runtime.metrics().wakes == 1);
    assert!(ids(&world).is_empty(), "nothing is known of what a power cut could take back");
    world.disk.release();
    let rung = world.await_reminder("a", |it| it.rings.len() == 1 && it.undelivered.is_empty());
    assert_eq!(ids(&world), [("a".to_owned(), rung.rings[0].due.as_micros())]);
    assert_eq!(world.runtime.metrics().effects, 1);
}

#[test]
fn what_is_not_done_is_tried_again_with_the_same_id_after_a_while() {
    let world = World::new().with_background();
    {
        let mut outside = world.outside.0.lock().expect("no panic while it is held");
        (outside.failing, outside.panicking) = (2, 1);
    }
    assert_eq!(wait(world.schedule("a", DUE)), Ok(1));
    world.clock.set(instant(DUE));
    for tries in 1..=4 {
        until("tried", || ids(&world).len() == tries);
        assert_eq!(world.look("a").rings.len(), 1);
        assert_eq!(ids(&world).len(), tries, "not in a hot loop");
        // Moved before that, the clock would have moved the next try too.
        until("it is over", || tries == 4 || world.runtime.metrics().attention_waiting == 1);
        world.clock.advance(Duration::from_secs(2));
    }
    world.await_reminder("a", |it| it.undelivered.is_empty());
    world.clock.advance(Duration::from_secs(3_600));
    world.look("a");
    assert_eq!(ids(&world), vec![("a".to_owned(), instant(DUE).as_micros()); 4]);
}

#[test]
fn what_is_pending_is_handed_out_again_after_a_restart() {
    let world = World::new();
    assert_eq!(wait(world.schedule("a", DUE)), Ok(1));
    assert_eq!(wait(world.reminders.run_due(instant(DUE))), Ok(vec!["a".to_owned()]));
    assert!(ids(&world).is_empty(), "without background work nothing is performed");
    let world = world.reopened();
    world.outside.0.lock().expect("no panic while it is held").failing = usize::MAX;
    let world = world.with_background();
    until("handed out", || ids(&world).len() == 1);
    let world = world.reopened().with_background();
    until("handed out again", || ids(&world).len() == 1);
    world.await_reminder("a", |it| it.undelivered.is_empty());
}

/// A question that came before the entity was looked after for the first time made the runtime forget its outbox.
#[test]
fn what_is_pending_is_handed_out_however_often_the_entity_is_asked_meanwhile() {
    let clock = Arc::new(Unhurried::new());
    let limits = Limits { threads: 1, ..Limits::default() };
    let journal = Arc::new(LocalJournal::in_memory());
    let runtime = Runtime::start(journal, Arc::clone(&clock) as _, limits).expect("threads");
    let outside = Outside::default();
    let reminders: Registry<Reminder> = Registry::with_effects(&runtime, outside.clone());
    let counters: Registry<Counter> = Registry::new(&runtime);
    assert_eq!(wait(reminders.tell("a", RingFor(instant(DUE)), Caller::default())), Ok(()));
    // On the same thread, so the entity is through with what it was told before the background begins.
    assert_eq!(wait(counters.ask("b", Total, Caller::default())), Ok(0));
    clock.hold_next();
    wait(runtime.start_background()).expect("a survey");
    assert_eq!(wait(reminders.ask("a", Look, Caller::default())).expect("an answer").undelivered.len(), 1);
    clock.release();
    until("it is delivered", || !outside.0.lock().expect("no panic while it is held").all.is_empty());
    assert!(runtime.stop(PATIENCE));
}

#[test]
fn an_effect_whose_events_were_not_written_is_not_performed() {
    let world = World::new().with_background();
    assert_eq!(wait(world.schedule("a", DUE)), Ok(1));
    world.disk.fail(Failing::Lost);
    world.clock.set(instant(DUE));
    until("it failed", || world.runtime.metrics().commits_failed > 0);
    assert!(ids(&world).is_empty());
    world.disk.mend();
    let world = world.reopened().with_background();
    world.await_reminder("a", |it| it.rings.len() == 1 && it.undelivered.is_empty());
    assert_eq!(ids(&world).len(), 1);
}

#[test]
fn an_entity_with_an_effect_under_way_stays_in_memory_and_many_effects_wait_their_turn() {
    let world = World::new().with_background();
    for second in 0..50 {
        wait(world.schedule("a", &format!("2026-03-01T13:00:{second:02}Z"))).expect("scheduled");
    }
    world.clock.set(instant("2026-03-01T13:01:00Z"));
    world.await_reminder("a", |it| it.undelivered.is_empty() && it.rings.len() == 50);
    let mut performed = ids(&world);
    assert_eq!(performed.len(), 50);
    performed.sort();
    performed.dedup();
    assert_eq!(performed.len(), 50);
}

/// What was to begin with the state before was taken for begun, and so it never was.
#[test]
fn an_effect_that_was_to_follow_a_failed_write_begins_when_it_is_decided_anew() {
    let journal: Arc<dyn Journal> = Arc::new(LocalJournal::in_memory());
    let clock = Arc::new(Unhurried::new());
    let limits = Limits { threads: 1, ..Limits::default() };
    let runtime = Runtime::start(Arc::clone(&journal), Arc::clone(&clock) as _, limits).expect("threads");
    let outside = Outside::default();
    let reminders: Registry<Reminder> = Registry::with_effects(&runtime, outside.clone());
    wait(runtime.start_background()).expect("a survey");
    assert_eq!(wait(reminders.tell("a", Schedule(instant("2026-04-01T00:00:00Z")), Caller::default())), Ok(1));
    // So that nothing looks after it between the two.
    clock.hold();
    foreign_schedule(journal.as_ref(), "a", 1, "2026-05-01T00:00:00Z");
    let ring = || wait(reminders.tell("a", RingFor(instant(DUE)), Caller::default()));
    assert!(ring().is_err(), "its stream has moved");
    assert_eq!(ring(), Ok(()));
    until("it is delivered", || !outside.0.lock().expect("no panic while it is held").all.is_empty());
    clock.release();
    assert!(runtime.stop(PATIENCE));
}

/// A reminder with a delivery under way, which goes on when it is told.
fn delivering(limits: Limits) -> (World, Arc<Notify>) {
    let world = World::with(Disk::default(), limits).with_background();
    let go_on = Arc::new(Notify::new());
    world.outside.0.lock().expect("no panic while it is held").until = Some(Arc::clone(&go_on));
    assert_eq!(wait(world.reminders.tell("a", RingFor(instant(DUE)), Caller::default())), Ok(()));
    until("the delivery has begun", || ids(&world).len() == 1);
    (world, go_on)
}

#[test]
fn stop_waits_for_an_effect_under_way_and_for_what_came_of_it() {
    let (world, go_on) = delivering(Limits { threads: 1, ..Limits::default() });
    let stopping = std::thread::spawn({
        let runtime = Arc::clone(&world.runtime);
        move || runtime.stop(PATIENCE)
    });
    while wait(world.runtime.run_blocking(|| Ok(()))).is_ok() {
        std::thread::yield_now();
    }
    assert!(!stopping.is_finished(), "it waits for the delivery");
    go_on.notify_one();
    assert!(stopping.join().expect("does not panic"), "everything is over");
    let world = world.reopened();
    assert!(world.look("a").undelivered.is_empty(), "it is known that it was delivered");
}

/// Asks somebody else before it delivers, when it is told to go on, and tells somebody without waiting.
struct Inquiring {
    counters: Registry<Counter>,
    go_on: Arc<Notify>,
}

impl EffectHandler<Reminder> for Inquiring {
    fn perform(&self, _: &str, id: Uuid, _: Timestamp) -> Performing<Deliver> {
        let (counters, go_on) = (self.counters.clone(), Arc::clone(&self.go_on));
        Box::pin(async move {
            go_on.notified().await;
            drop(counters.tell("told", Add(2), Caller::default()));
            let unheard_of = counters.ask("unheard of", Total, Caller::default()).await;
            let asked = counters.tell("asked", Add(1), Caller::default()).await;
            Deliver(id, (unheard_of, asked) == (Ok(0), Ok(1)))
        })
    }
}

/// What it asked was turned away, so it failed, and that was noted as if it had been tried.
#[test]
fn an_effect_that_stop_waits_for_may_ask_and_tell_until_it_is_over() {
    let journal: Arc<dyn Journal> = Arc::new(LocalJournal::in_memory());
    let limits = Limits { threads: 1, ..Limits::default() };
    let (runtime, _) = runtime_on(Arc::clone(&journal), limits);
    let counters: Registry<Counter> = Registry::new(&runtime);
    let go_on = Arc::new(Notify::new());
    let handler = Inquiring { counters: counters.clone(), go_on: Arc::clone(&go_on) };
    let reminders: Registry<Reminder> = Registry::with_effects(&runtime, handler);
    wait(runtime.start_background()).expect("a survey");
    assert_eq!(wait(reminders.tell("a", RingFor(instant(DUE)), Caller::default())), Ok(()));
    until("it has begun", || runtime.metrics().effects == 1);
    let stopping = std::thread::spawn({
        let runtime = Arc::clone(&runtime);
        move || runtime.stop(PATIENCE)
    });
    while wait(counters.ask("asked", Total, Caller::default())).is_ok() {
        std::thread::yield_now();
    }
    go_on.notify_one();
    assert!(stopping.join().expect("does not panic"), "everything is over");
    let (runtime, _) = runtime_on(journal, limits);
    let (counters, reminders): (Registry<Counter>, Registry<Reminder>) =
        (Registry::new(&runtime), Registry::new(&runtime));
    let total = |id| wait(counters.ask(id, Total, Caller::default()));
    assert_eq!((total("asked"), total("told")), (Ok(1), Ok(2)));
    let a = wait(reminders.ask("a", Look, Caller::default())).expect("an answer");
    assert!(a.undelivered.is_empty(), "it is known that it was delivered");
    assert!(runtime.stop(PATIENCE));
}

#[test]
fn stop_without_time_leaves_an_effect_under_way_for_the_next_start() {
    let (world, _) = delivering(Limits { threads: 1, ..Limits::default() });
    assert!(!world.runtime.stop(Duration::ZERO), "the delivery is not over");
    let World { disk, journal, limits, .. } = world;
    journal.close();
    let world = World::with(disk, limits).with_background();
    world.await_reminder("a", |it| it.undelivered.is_empty());
    assert_eq!(ids(&world).len(), 1, "it was delivered again");
}

/// It left memory as soon as its effect was over, with what came of that still on its way.
#[test]
fn an_entity_stays_in_memory_until_what_came_of_its_effect_is_durable() {
    let (world, go_on) = delivering(Limits { threads: 1, entities_live_max: 1, ..Limits::default() });
    let begun = world.disk.begun();
    world.disk.hold();
    go_on.notify_one();
    world.disk.await_begun(begun + 1);
    let other = world.reminders.tell("b", Count, Caller::default());
    assert_eq!(world.runtime.metrics().passivations, 0, "there is no room for both, and yet it stays");
    world.disk.release();
    assert_eq!(wait(other), Ok(0));
    assert_eq!(wait(world.reminders.tell("c", Count, Caller::default())), Ok(0));
    until("it leaves", || {
        wait(world.reminders.tell("c", Count, Caller::default())).expect("accepted");
        world.runtime.metrics().passivations > 0
    });
}

/// Its reply had left before its effect was in hand, so it left memory with the effect on its list; and had the effect begun
/// just before that, what came of it would have been lost, and it would have been performed twice at once.
#[test]
fn an_entity_does_not_leave_with_its_reply_when_an_effect_follows() {
    let journal = Reluctant::new(Arc::new(LocalJournal::in_memory()));
    let limits = Limits { threads: 1, entities_live_max: 1, ..Limits::default() };
    let (runtime, _) = runtime_on(Arc::clone(&journal) as _, limits);
    let outside = Outside::default();
    let reminders: Registry<Reminder> = Registry::with_effects(&runtime, outside.clone());
    wait(runtime.start_background()).expect("a survey");
    assert_eq!(wait(reminders.tell("a", Count, Caller::default())), Ok(0));
    // Another one comes into memory, where there is room for one, as soon as that reply has left.
    let (left, has_left) = mpsc::channel();
    *journal.behind_next.lock().expect("no panic while it is held") = Some(Box::new({
        let (reminders, runtime) = (reminders.clone(), Arc::clone(&runtime));
        move || {
            drop(reminders.tell("b", Count, Caller::default()));
            let _ = left.send(runtime.metrics().passivations);
        }
    }));
    assert_eq!(wait(reminders.tell("a", RingFor(instant(DUE)), Caller::default())), Ok(()));
    assert_eq!(has_left.recv_timeout(PATIENCE), Ok(0), "it stays until its effect is over");
    until("one of them leaves", || runtime.metrics().passivations > 0);
    let a = || wait(reminders.ask("a", Look, Caller::default())).expect("an answer");
    until("it is known that it was delivered", || a().undelivered.is_empty());
    assert_eq!(outside.0.lock().expect("no panic while it is held").all.len(), 1);
    assert!(runtime.stop(PATIENCE));
}

/// Has another entity keep the thread busy, and panics.
struct Rash {
    counters: Registry<Counter>,
    block: Mutex<Option<Block>>,
}

impl EffectHandler<Reminder> for Rash {
    fn perform(&self, _: &str, id: Uuid, _: Timestamp) -> Performing<Deliver> {
        let block = self.block.lock().expect("no panic while it is held").take();
        let counters = self.counters.clone();
        Box::pin(async move {
            if let Some(block) = block {
                drop(counters.tell("blocked", block, Caller::default()));
                panic!("a test's own panic in an effect");
            }
            Deliver(id, true)
        })
    }
}

/// It left memory between the panic and the moment at which it heard of that.
#[test]
fn an_entity_stays_in_memory_until_it_knows_that_its_effect_has_panicked() {
    let limits = Limits { threads: 1, entities_live_max: 1, ..Limits::default() };
    let (runtime, clock) = runtime_on(Arc::new(LocalJournal::in_memory()), limits);
    let counters: Registry<Counter> = Registry::new(&runtime);
    let ((entered, has_entered), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    let block = Mutex::new(Some(Block(entered, may_go_on)));
    let reminders = Registry::with_effects(&runtime, Rash { counters: counters.clone(), block });
    wait(runtime.start_background()).expect("a survey");
    // On the same thread, where it is there already and comes first.
    assert_eq!(wait(counters.tell("blocked", AddEach(vec![]), Caller::default())), Ok(0));
    assert_eq!(wait(reminders.tell("a", RingFor(instant(DUE)), Caller::default())), Ok(()));
    has_entered.recv_timeout(PATIENCE).expect("the effect has begun");
    // There is room for one.
    let other = reminders.tell("b", Count, Caller::default());
    assert_eq!(runtime.metrics().passivations, 0, "it does not know yet");
    go_on.send(()).expect("it waits");
    assert_eq!(wait(other), Ok(0));
    clock.advance(Duration::from_secs(1));
    let a = || wait(reminders.ask("a", Look, Caller::default())).expect("an answer");
    until("it is tried again", || a().undelivered.is_empty());
    assert!(runtime.stop(PATIENCE));
}

/// It was looked after again and again in vain, as quickly as a processor can, until another effect was over.
#[test]
fn who_is_to_try_an_effect_again_while_there_is_no_room_waits_until_there_is() {
    actix::System::new().block_on(async {
        let clock = Arc::new(ManualClock::new(instant(DUE)));
        let journal = Arc::new(LocalJournal::in_memory());
        let runtime = Runtime::on_this_thread(journal, Arc::clone(&clock) as _, Limits::default());
        let outside = Outside::default();
        let delivered = || outside.0.lock().expect("no panic while it is held");
        let reminders: Registry<Reminder> = Registry::with_effects(&runtime, outside.clone());
        assert_eq!(runtime.start_background().await, Ok(()));
        let go_on = Arc::new(Notify::new());
        delivered().failing = 1;
        for number in 0..=72 {
            // The first one comes last in its list.
            let due = instant(DUE).saturating_add_micros(-number);
            assert_eq!(reminders.tell("a", RingFor(due), Caller::default()).await, Ok(()));
            while delivered().all.len() as i64 <= number {
                tokio::task::yield_now().await;
            }
            delivered().until = Some(Arc::clone(&go_on));
        }
        clock.advance(Duration::from_millis(125));
        looked_after(&runtime).await;
        assert_eq!((looked_after(&runtime).await, delivered().all.len()), (0, 73));
        delivered().until = None;
        go_on.notify_waiters();
        while !reminders.ask("a", Look, Caller::default()).await.expect("an answer").undelivered.is_empty() {
            looked_after(&runtime).await;
        }
        assert_eq!(delivered().all.len(), 74, "one of them twice");
    });
}
