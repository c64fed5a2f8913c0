//! Any host: a plain thread, tokio of either kind, an actix system, and two runtimes side by side.

use ionveil_actors::runtime::Caller;

use crate::support::*;

async fn use_and_stop(world: World) -> i64 {
    for by in 1..=10 {
        world.add("a", by).await.expect("accepted");
    }
    let many: Vec<_> = (0..50).map(|_| world.add("b", 1)).collect();
    let mut last = 0;
    for reply in many {
        last = reply.await.expect("accepted");
    }
    assert_eq!(last, 50);
    let past = world.counters.ask_at("a", position(2), Total, Caller::default()).await;
    assert_eq!(past, Ok(3));
    let total = world.total("a").await.expect("an answer");
    // Timers, followers and effects work in any host, and by themselves.
    world.runtime.start_background().await.expect("a survey");
    world.reminders.tell("a", Schedule(instant("2026-03-01T13:00:00Z")), Caller::default()).await.expect("accepted");
    world.clock.set(instant("2026-03-01T13:00:00Z"));
    let (sender, rung) = tokio::sync::oneshot::channel();
    std::thread::spawn({
        let (clock, reminders) = (std::sync::Arc::clone(&world.clock), world.reminders.clone());
        move || {
            until("delivered", || {
                clock.advance(std::time::Duration::from_millis(1));
                let seen = wait(reminders.ask("a", Look, Caller::default())).expect("an answer");
                seen.rings.len() == 1 && seen.undelivered.is_empty()
            });
            sender.send(()).expect("the host waits");
        }
    });
    rung.await.expect("delivered");
    assert!(world.runtime.stop(PATIENCE));
    assert!(world.total("a").await.is_err());
    total
}

#[test]
fn a_plain_thread() {
    assert_eq!(wait(use_and_stop(World::new())), 55);
}

#[test]
fn tokio_with_many_threads() {
    let host = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let total = host.block_on(async { tokio::spawn(use_and_stop(World::new())).await.expect("does not panic") });
    assert_eq!(total, 55);
}

#[test]
fn tokio_with_one_thread() {
    let host = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    assert_eq!(host.block_on(use_and_stop(World::new())), 55);
}

#[test]
fn inside_an_actix_system() {
    let host = actix::System::new();
    let total = host.block_on(async {
        let own = actix::System::current();
        let total = use_and_stop(World::new()).await;
        assert_eq!(actix::System::current().id(), own.id(), "the host's system is left alone");
        total
    });
    assert_eq!(total, 55);
}

#[test]
fn two_runtimes_in_one_process_know_nothing_of_each_other() {
    let (one, other) = (World::new(), World::new());
    assert_eq!((wait(one.add("a", 1)), wait(other.add("a", 10))), (Ok(1), Ok(10)));
    one.disk.hold();
    let held = one.add("a", 1);
    assert_eq!(wait(other.add("a", 10)), Ok(20), "one's slow disk does not slow the other");
    one.disk.release();
    assert_eq!(wait(held), Ok(2));
    assert!(one.runtime.stop(PATIENCE));
    assert_eq!(wait(other.add("a", 10)), Ok(30), "nor does its end");
    assert!(other.runtime.stop(PATIENCE));
}
