//! Nothing grows without end. In a process of its own, since it looks at the memory of the whole.

#[path = "../runtime/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the other tests use all of it")]
mod support;

use ionveil_actors::runtime::{Caller, Limits};

use support::*;

fn resident_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1_024)
}

/// Nobody drives the replies, the disk stands still, and senders go on and on.
#[test]
fn a_flood_is_turned_away_and_takes_no_memory() {
    let limits = Limits { threads: 1, system_messages_max: 5_000, ..Limits::default() };
    let world = World::with(Disk::default(), limits).with_background();
    wait(world.add("a", 1)).expect("accepted");
    world.disk.hold();
    let mut refused = 0;
    let mut flood = |count: usize| {
        for n in 0..count {
            let reply = world.counters.tell(&format!("e{}", n % 50), AddEach(vec![1; 20]), Caller::default());
            refused += usize::from(!is_pending(&mut { reply }));
        }
    };
    flood(20_000);
    let before = resident_mib();
    flood(100_000);
    let after = resident_mib();
    assert!(world.runtime.metrics().messages_under_way <= 5_000);
    assert!(refused >= 115_000, "{refused}");
    assert!(world.runtime.metrics().messages_refused >= 115_000);
    if let (Some(before), Some(after)) = (before, after) {
        // 100,000 messages of 20 events would take far more.
        assert!(after < before + 30, "from {before} to {after} MiB");
    }
    world.disk.release();
    until("all are through", || world.runtime.metrics().messages_under_way == 0);
    assert!(wait(world.add("a", 1)).is_ok(), "and then it goes on");
}
