//! Running a policy against a pattern.

use super::pattern::{Cancel, Cancelled, Offset, PreparedPattern};
use crate::policy::{Ladder, Machine, Step};

/// What a run adds up to, in whole numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Microseconds in each level, from the most permissive; their sum is the duration.
    pub micros_by_level: Vec<i64>,
    /// The level at the end.
    pub final_level: u32,
    /// Steps up.
    pub escalations: u64,
    /// Steps down.
    pub deescalations: u64,
    /// Successes that did not meet suspended operations.
    pub compliant: u64,
    /// Failures that met the first level.
    pub exposed: u64,
}

/// Gets each step as it happens.
pub trait OnStep {
    /// A step at the time of the event that led to it.
    fn on_step(&mut self, offset: Offset, step: Step);
}

/// Steps are not wanted, only what they add up to.
impl OnStep for () {
    #[inline]
    fn on_step(&mut self, _: Offset, _: Step) {}
}

/// The steps in order, with their times.
impl OnStep for Vec<(Offset, Step)> {
    #[inline]
    fn on_step(&mut self, offset: Offset, step: Step) {
        self.push((offset, step));
    }
}

/// Runs between two looks at the flag: some hundred microseconds of work.
const CANCEL_STRIDE: u32 = 1 << 15;

/// Runs the ladder's state machine, from its first level, over a pattern.
///
/// # Errors
/// When it was cancelled.
pub fn simulate(
    ladder: &Ladder,
    pattern: &PreparedPattern,
    cancel: &Cancel,
    steps: &mut impl OnStep,
) -> Result<Totals, Cancelled> {
    let offsets = pattern.offsets_micros();
    let mut totals = Totals {
        micros_by_level: vec![0; ladder.len()],
        final_level: 0,
        escalations: 0,
        deescalations: 0,
        compliant: 0,
        exposed: 0,
    };
    let mut machine = Machine::default();
    let (mut index, mut since) = (0, 0);
    let mut until_check = 0;
    for (is_success, count) in pattern.runs() {
        if until_check == 0 {
            cancel.check_at(index as u64)?;
            until_check = CANCEL_STRIDE;
        }
        until_check -= 1;
        let count = u64::from(count);
        // Events of the run that arrived before the present level was reached.
        let mut arrived = 0;
        machine.apply_run(ladder, is_success, count, |number, step| {
            let offset = offsets[index + number as usize];
            // The event that leads to a step meets the level before it.
            totals.arrive(ladder, step.from, is_success, number + 1 - arrived);
            arrived = number + 1;
            totals.micros_by_level[step.from as usize] += offset - since;
            since = offset;
            if step.to > step.from {
                totals.escalations += 1;
            } else {
                totals.deescalations += 1;
            }
            steps.on_step(Offset::from_micros(offset).expect("the offset of an event"), step);
        });
        totals.arrive(ladder, machine.level, is_success, count - arrived);
        index += count as usize;
    }
    totals.micros_by_level[machine.level as usize] += pattern.duration_micros() - since;
    totals.final_level = machine.level;
    Ok(totals)
}

impl Totals {
    #[inline]
    fn arrive(&mut self, ladder: &Ladder, level: u32, is_success: bool, count: u64) {
        if is_success {
            self.compliant += if ladder.is_suspended(level) { 0 } else { count };
        } else {
            self.exposed += if level == 0 { count } else { 0 };
        }
    }
}
