//! What a simulation can be asked.

use std::sync::Arc;

use super::result::SimulationStatus;
use super::state::{RunInput, Simulation, Stage};
use crate::error::Error;
use crate::runtime::{Given, Query};

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetSimulationStatus {
    /// Its id.
    pub id: String,
}

/// What it depends on, and its stage with the result, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetSimulation {
    /// Its id.
    pub id: String,
}

impl Query<Simulation> for GetSimulationStatus {
    type Answer = SimulationStatus;

    fn answer(self, state: &Simulation, _: &Given) -> Result<SimulationStatus, Error> {
        state.stage().map(Stage::status).ok_or_else(|| Simulation::missing(&self.id))
    }
}

impl Query<Simulation> for GetSimulation {
    type Answer = (Arc<RunInput>, Stage);

    fn answer(self, state: &Simulation, _: &Given) -> Result<Self::Answer, Error> {
        let created = state.created.as_ref().ok_or_else(|| Simulation::missing(&self.id))?;
        Ok((Arc::clone(&created.input), created.stage.clone()))
    }
}
