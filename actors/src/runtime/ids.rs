//! Fresh ids: version 7 UUIDs, each greater than the one before.

use std::sync::Mutex;

use uuid::{ContextV7, Uuid};

use crate::domain::Timestamp;

/// Where they come from. Their time is that of the runtime's clock, which has been read anyway.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<ContextV7>);

impl Ids {
    /// An id of that instant, or of the last one's if the clock was set back.
    pub(super) fn next(&self, now: Timestamp) -> Uuid {
        // Their time begins with 1970, and what differs by chance with its second millisecond.
        let micros = now.as_micros().max(1_000) as u64;
        let (seconds, micros) = (micros / 1_000_000, (micros % 1_000_000) as u32);
        Uuid::new_v7(uuid::Timestamp::from_unix(&self.0, seconds, micros * 1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_the_order_in_which_they_were_made_whatever_the_clock_shows() {
        let ids = Ids::default();
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let shown =
            ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.001Z", "1969-01-01T00:00:00Z"];
        let made: Vec<Uuid> = shown.iter().map(|text| ids.next(at(text))).collect();
        assert!(made.is_sorted_by(|one, next| one < next), "{made:?}");
        let of = |id: &Uuid| id.get_timestamp().map(|it| it.to_unix());
        assert_eq!(of(&made[0]), Some((at(shown[0]).as_micros() as u64 / 1_000_000, 0)));
        assert!(made.iter().all(|id| id.get_version_num() == 7), "{made:?}");
    }

    #[test]
    fn any_number_of_ids_of_one_instant_are_in_order_also_from_many_threads() {
        let ids = Ids::default();
        let now = "2026-01-01T00:00:00Z".parse::<Timestamp>().expect("an instant");
        let make = || (0..10_000).map(|_| ids.next(now)).collect::<Vec<Uuid>>();
        let made: Vec<Vec<Uuid>> = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(make));
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(made.iter().all(|made| made.is_sorted_by(|one, next| one < next)), "each thread's own");
        let different: std::collections::HashSet<&Uuid> = made.iter().flatten().collect();
        assert_eq!(different.len(), 40_000);
    }

    #[test]
    fn ids_of_the_same_instant_differ_between_runtimes_also_before_1970() {
        for now in [Timestamp::MIN, Timestamp::EPOCH, Timestamp::MAX] {
            assert_ne!(Ids::default().next(now).as_u128() >> 32, Ids::default().next(now).as_u128() >> 32, "{now}");
        }
    }
}
