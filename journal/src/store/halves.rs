//! When the redo log may go on in its other half: the rule that keeps acknowledged commits from being written over.
//!
//! An entry may be written over only when a checkpoint has ended that began after the entry's last block was given to sled.
//! A checkpoint that begins amid a commit does not do for that commit: sled gets some of its blocks later.
//!
//! Pure bookkeeping, of which the test below is the proof. Who breaks the rule is told so and gets no other half.

/// Number of a commit that has an entry in the redo log; 0 is before the first.
pub(crate) type Commit = u64;

/// What a checkpoint makes durable: everything that sled had been given when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Covers(Commit);

/// Which half is written, and how far the entries in both have come on their way into sled.
#[derive(Debug)]
pub(crate) struct Halves {
    current: usize,
    /// The last commit that has an entry in each half.
    last: [Commit; 2],
    /// Sled was given all blocks of the commits up to this one.
    given: Commit,
    /// And is durable with those up to this one.
    durable: Commit,
}

impl Halves {
    /// Those of a log that was just opened, with entries in both halves, for all that is known, or with none.
    pub(crate) fn found(has_entries: bool) -> Self {
        Halves { current: 0, last: [has_entries.into(); 2], given: 0, durable: 0 }
    }

    /// 0 or 1.
    pub(crate) fn current(&self) -> usize {
        self.current
    }

    /// An entry was written into the current half.
    pub(crate) fn entered(&mut self) {
        self.last[self.current] = self.next();
    }

    /// Sled was given every block of every entry up to that of `commit`.
    pub(crate) fn gave(&mut self, commit: Commit) {
        self.given = self.given.max(commit);
    }

    /// A checkpoint begins now. What it covers is said when it has ended well.
    pub(crate) fn checkpoint(&self) -> Covers {
        Covers(self.given)
    }

    /// A checkpoint has ended well.
    pub(crate) fn checkpointed(&mut self, Covers(commit): Covers) {
        self.durable = self.durable.max(commit);
    }

    /// Goes on in the other half; false, and stays, while that one holds an entry that may be all there is of a commit.
    #[must_use]
    pub(crate) fn turn(&mut self) -> bool {
        let other = 1 - self.current;
        let is_free = self.last[other] <= self.durable;
        if is_free {
            self.current = other;
        }
        is_free
    }

    /// Whether nothing in either half is needed any more.
    pub(crate) fn are_free(&self) -> bool {
        self.latest() <= self.durable
    }

    /// The commit that gets the next entry.
    pub(crate) fn next(&self) -> Commit {
        self.latest() + 1
    }

    /// The last commit that has an entry.
    pub(crate) fn latest(&self) -> Commit {
        self.last[0].max(self.last[1])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What may happen next, in whatever order.
    #[derive(Debug, Clone)]
    enum Step {
        /// A commit of so many blocks: its entry is written, it is acknowledged.
        Commit {
            blocks: u64,
        },
        /// Sled gets the next block of that commit.
        Give,
        BeginCheckpoint,
        EndCheckpoint,
        Turn,
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1..4_u64).prop_map(|blocks| Step::Commit { blocks }),
            6 => Just(Step::Give),
            2 => Just(Step::BeginCheckpoint),
            2 => Just(Step::EndCheckpoint),
            3 => Just(Step::Turn),
            1 => Just(Step::Clear),
        ]
    }

    /// The disk and sled, as sets of blocks.
    #[derive(Default)]
    struct World {
        acknowledged: u64,
        /// The last block of each commit.
        ends: Vec<u64>,
        halves: [BTreeSet<u64>; 2],
        given: BTreeSet<u64>,
        durable: BTreeSet<u64>,
        under_way: Option<(Covers, BTreeSet<u64>)>,
    }

    impl World {
        /// A power cut now leaves what sled is durable with and what the redo log holds.
        fn survives_a_power_cut(&self) -> bool {
            (1..=self.acknowledged)
                .all(|block| self.durable.contains(&block) || self.halves.iter().any(|half| half.contains(&block)))
        }
    }

    fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
        let (mut halves, mut world) = (Halves::found(false), World::default());
        for step in steps {
            match step {
                Step::Commit { blocks } => {
                    world.halves[halves.current()].extend(world.acknowledged + 1..=world.acknowledged + blocks);
                    halves.entered();
                    world.acknowledged += blocks;
                    world.ends.push(world.acknowledged);
                }
                Step::Give => {
                    if world.given.len() < world.acknowledged as usize {
                        world.given.insert(world.given.len() as u64 + 1);
                    }
                    // The first commits whose blocks are all there.
                    halves.gave(world.ends.iter().filter(|&&end| end <= world.given.len() as u64).count() as u64);
                }
                Step::BeginCheckpoint => {
                    if world.under_way.is_none() {
                        world.under_way = Some((halves.checkpoint(), world.given.clone()));
                    }
                }
                Step::EndCheckpoint => {
                    if let Some((covers, blocks)) = world.under_way.take() {
                        world.durable.extend(blocks);
                        halves.checkpointed(covers);
                    }
                }
                Step::Turn => {
                    if halves.turn() {
                        world.halves[halves.current()].clear();
                    }
                }
                Step::Clear => {
                    if halves.are_free() {
                        world.halves = Default::default();
                    }
                }
            }
            prop_assert!(world.survives_a_power_cut());
        }
        // The rule is not kept by never turning: with everything durable both halves are free.
        world.under_way = None;
        halves.gave(halves.latest());
        halves.checkpointed(halves.checkpoint());
        prop_assert!(halves.are_free() && halves.turn() && halves.turn());
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn whatever_happens_in_whatever_order_no_acknowledged_block_is_written_over_before_sled_is_durable_with_it(
            steps in prop::collection::vec(step(), 0..60)
        ) {
            run(steps)?;
        }
    }

    /// A checkpoint amid a commit once went on in the other half. Two turns later that commit's entry was written over while
    /// sled was only being made durable with its last blocks.
    #[test]
    fn a_checkpoint_amid_a_commit_does_not_do_for_that_commit() {
        let mut halves = Halves::found(true);
        assert!(!halves.turn(), "who knows what is in the other half");
        halves.gave(halves.latest());
        halves.checkpointed(halves.checkpoint());
        halves.entered();
        let amid = halves.checkpoint();
        halves.gave(halves.latest());
        halves.checkpointed(amid);
        assert!(halves.turn(), "nothing is in the other half");
        halves.entered();
        halves.gave(halves.latest());
        let behind = halves.checkpoint();
        assert!(!halves.turn(), "the first half has blocks that only this checkpoint covers");
        halves.checkpointed(behind);
        assert!(halves.turn());
    }
}
