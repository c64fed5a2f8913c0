//! What can be seen from outside: figures and spans.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ionveil_actors::runtime::Caller;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use uuid::Uuid;

use crate::support::*;

#[test]
fn commits_groups_and_latency_are_counted() {
    let world = World::new();
    assert_eq!(world.runtime.metrics().commits, 0);
    world.disk.hold();
    let first = world.add("a", 1);
    world.disk.await_begun(1);
    let more: Vec<_> = (0..9).map(|_| world.counters.tell("a", AddEach(vec![1, 1]), Caller::default())).collect();
    world.let_handle("a");
    assert_eq!(
        (world.runtime.metrics().messages_under_way, world.runtime.metrics().mailbox_len_longest),
        (11, 11),
        "the signal waits for the disk too"
    );
    world.disk.release();
    assert_eq!(wait(first), Ok(1));
    for reply in more {
        assert!(wait(reply).is_ok());
    }
    until("the signal too", || world.runtime.metrics().messages_under_way == 0);
    let metrics = world.runtime.metrics();
    assert_eq!((metrics.commits, metrics.events, metrics.groups), (10, 19, 2));
    assert!((metrics.events_per_group() - 9.5).abs() < 1e-9);
    assert_eq!(metrics.commit_latency.count(), 10);
    assert!(metrics.commit_latency.at_permille(500) > Duration::ZERO);
    assert_eq!((metrics.messages_under_way, metrics.recoveries, metrics.entities_live["counter"]), (0, 1, 1));
    world.disk.fail(Failing::Lost);
    assert!(wait(world.add("a", 1)).is_err());
    assert_eq!(world.runtime.metrics().commits_failed, 1);
}

/// Notes the fields of every span.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("ionveil_actors")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        self.0.lock().expect("no panic while it is held").push(fields.0);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// On threads of the runtime's own, so that the subscriber has to be everybody's: this is the one test that sets it.
#[test]
fn each_message_has_a_span_with_stream_command_and_conversation() {
    let spans = Spans::default();
    tracing::subscriber::set_global_default(spans.clone()).expect("no other test sets one");
    let world = World::new();
    let conversation = Uuid::from_u128(77);
    let caller = Caller { correlation_id: Some(conversation), ..Caller::default() };
    wait(world.counters.tell("spanned", Add(1), caller.clone())).expect("accepted");
    wait(world.counters.ask("spanned", Total, caller)).expect("an answer");
    wait(world.reminders.ask("spanned", Look, Caller::default())).expect("an answer");
    let seen = spans.0.lock().expect("no panic while it is held").clone();
    let of_it: Vec<_> = seen.iter().filter(|span| span.contains("/spanned")).collect();
    for expected in [
        &format!("command stream=counter/spanned command=\"Add\" correlation_id=Some({conversation})"),
        &format!("query stream=counter/spanned query=\"Total\" correlation_id=Some({conversation})"),
        "follow stream=reminder/spanned source=\"counter/spanned\" position=1",
    ] {
        assert!(of_it.iter().any(|span| span.as_str() == expected), "{expected} in {of_it:#?}");
    }
}
