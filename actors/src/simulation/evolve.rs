//! State and event to state.

use std::sync::Arc;

use super::event::{Event, StoredPattern};
use super::generator::Generator;
use super::state::{Created, RunInput, Simulation, Stage, StoredResult};
use crate::error::Corrupt;
use crate::policy::{Ladder, OutcomeLog, PolicyScenario};

pub(super) fn evolve(state: &mut Simulation, event: &Event) -> Result<(), Corrupt> {
    let Some(simulation) = &mut state.created else {
        let Event::Created(created) = event else { return Err(Corrupt("it was never created".into())) };
        Ladder::new(&PolicyScenario::from(&created.scenario)).map_err(|invalid| Corrupt(invalid.to_string()))?;
        if let StoredPattern::Generated { generator, .. } = &created.pattern {
            generator.parse::<Generator>().map_err(|invalid| Corrupt(invalid.to_string()))?;
        }
        let input = RunInput { created: created.clone(), outcomes: Vec::new() };
        state.created = Some(Created { input: Arc::new(input), stage: Stage::Pending, steps: Vec::new() });
        return Ok(());
    };
    match (&simulation.stage, event) {
        (Stage::Pending, Event::OutcomesAdded(part)) => {
            check_times(&part.outcomes)?;
            Arc::make_mut(&mut simulation.input).outcomes.push(part.outcomes.clone());
        }
        (Stage::Pending, Event::Queued(_)) => simulation.stage = Stage::Queued,
        (Stage::Queued, Event::Started(_)) => simulation.stage = Stage::Running,
        (Stage::Pending | Stage::Queued | Stage::Running, Event::Cancelled(_)) => {
            simulation.steps.clear();
            simulation.stage = Stage::Cancelled;
        }
        (Stage::Running, Event::TransitionsAdded(part)) => {
            check_times(&part.steps)?;
            simulation.steps.push(part.steps.clone());
        }
        (Stage::Running, Event::Completed(completed)) => {
            let steps = std::mem::take(&mut simulation.steps);
            let ladder = Ladder::new(&simulation.input.scenario()).map_err(|invalid| Corrupt(invalid.to_string()))?;
            check_path(&ladder, &steps, completed.final_level)?;
            if completed.micros_by_level.len() != ladder.len() {
                return Err(Corrupt("the times are those of another ladder".into()));
            }
            let result = StoredResult::Completed { completed: completed.clone(), steps };
            simulation.stage = Stage::Finished(Arc::new(result));
        }
        (Stage::Running, Event::Failed(failed)) => {
            simulation.stage = Stage::Finished(Arc::new(StoredResult::Failed(failed.error_message.clone())));
        }
        (stage, event) => {
            let event_type = crate::runtime::Event::event_type(event);
            return Err(Corrupt(format!("{event_type} cannot follow when it is {}", stage.status())));
        }
    }
    Ok(())
}

fn check_times(log: &OutcomeLog) -> Result<(), Corrupt> {
    for run in log.runs() {
        for at in [run.first, run.time_of(run.count - 1)] {
            if super::Offset::from_micros(at).is_none() {
                return Err(Corrupt(format!("{at} µs is no offset")));
            }
        }
    }
    Ok(())
}

/// Steps stay on the ladder, lead down only where a threshold is, and end where the run did.
fn check_path(ladder: &Ladder, steps: &[OutcomeLog], final_level: u32) -> Result<(), Corrupt> {
    let mut level = 0u32;
    for (_, is_up) in steps.iter().flat_map(OutcomeLog::outcomes) {
        let next = match (is_up, level) {
            (true, level) if level < ladder.last() => Some(level + 1),
            (false, 1..) if ladder.deescalation_threshold(level).is_some() => Some(level - 1),
            _ => None,
        };
        level = next.ok_or_else(|| Corrupt("a step leads off the ladder".into()))?;
    }
    if level == final_level { Ok(()) } else { Err(Corrupt("the steps do not lead to the last level".into())) }
}
