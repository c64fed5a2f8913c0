//! The whole runtime in one thread, under virtual time, on a disk that fails: random messages, crashes at random points, slow
//! disks, entities leaving memory, timers, followers, effects. After each step and at the end it is checked that no
//! acknowledged event is lost, none counts twice, replies match states, timers neither get lost nor ring twice, followers
//! have heard everything once and in order, effects never run ahead of their events, and the chain is intact.
//!
//! Each run follows from its seed. `IONVEIL_TEST_SEEDS` is how many there are (200); a failing one prints how to repeat it.

#[path = "../runtime/support/counter.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod counter;
mod journal;
mod model;
#[path = "../runtime/support/reminder.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod reminder;
mod run;

use std::time::Duration;

use counter::{Counted, Counter};

/// For commands that hold their thread, of which there are none here.
const PATIENCE: Duration = Duration::from_secs(30);
const SEEDS_USUALLY: u64 = 200;

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[test]
fn whatever_happens_nothing_acknowledged_is_lost_or_doubled() {
    let one = from_env("IONVEIL_TEST_SEED");
    quiet_panics();
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..from_env("IONVEIL_TEST_SEEDS").unwrap_or(SEEDS_USUALLY),
    };
    let met = actix::System::new().block_on(async {
        let mut met = run::Met::default();
        for seed in seeds.clone() {
            match tokio::task::spawn_local(run::run(seed)).await {
                Ok(of_run) => met.add(&of_run),
                Err(error) => {
                    eprintln!("repeat: IONVEIL_TEST_SEED={seed} cargo test -p ionveil-actors --test simulation");
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
        met
    });
    eprintln!("{} seeds: {met:?}", seeds.end - seeds.start);
    if one.is_none() {
        met.assert_everything_happened();
    }
}

/// The runs panic on purpose, again and again; of those nothing is printed.
fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic.payload().downcast_ref::<&str>();
            if !text.is_some_and(|text| text.starts_with("a test's own panic")) {
                loud(panic);
            }
        }));
    });
}

/// The same seed is the same run.
#[test]
fn a_run_is_a_function_of_its_seed() {
    quiet_panics();
    let runs = || actix::System::new().block_on(async { (run::run(7).await, run::run(8).await) });
    let (first, second) = (runs(), runs());
    assert_eq!(first, second);
    assert_ne!(first.0, first.1);
}
