//! Where the data is, and how it is opened.

use std::path::PathBuf;

use ionveil::channels::Channels;
use ionveil::{Config, IonVeil, Kind, SlaMonitorService};

use super::acting::At;
use super::failure::Failure;
use super::progress::Progress;

/// Who stands in the audit trail for what a command line changes.
const PRINCIPAL: &str = "command-line";

/// The data directory.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) data: PathBuf,
}

impl Place {
    /// Opens for a command that changes something; makes the directory when there is none.
    pub(super) fn open(&self) -> Result<IonVeil, Failure> {
        let _working = Progress::waiting("opening the journal");
        Ok(IonVeil::open(Config::at(&self.data).without_background())?.acting_as(PRINCIPAL)?)
    }

    /// Opens for a command that changes only what is there: where there is no journal nothing is created.
    pub(super) fn open_existing_or_none(&self) -> Result<IonVeil, Failure> {
        Ok(self.open_to_ask()?.acting_as(PRINCIPAL)?)
    }

    /// As [`Place::open_existing_or_none`], for a command that tells people.
    pub(super) fn open_to_tell(&self, channels: Channels) -> Result<IonVeil, Failure> {
        Ok(self.open_there(Config::at(&self.data).with_channels(channels))?.acting_as(PRINCIPAL)?)
    }

    /// The monitor, acting at the instant that `--now` names.
    pub(super) fn monitor_at(&self, at: &At) -> Result<SlaMonitorService, Failure> {
        let ionveil = self.open_existing_or_none()?;
        let monitor = ionveil.sla_monitor_service();
        Ok(at.instant(&ionveil, None)?.map_or(monitor.clone(), |at| monitor.at(at)))
    }

    /// Opens for a command that only asks. Where there is no journal nothing is known, and nothing is created.
    pub(super) fn open_to_ask(&self) -> Result<IonVeil, Failure> {
        self.open_there(Config::at(&self.data))
    }

    fn open_there(&self, config: Config) -> Result<IonVeil, Failure> {
        let _working = Progress::waiting("opening the journal");
        match IonVeil::open(config.existing().without_background()) {
            Err(error) if error.kind() == Kind::NotFound => {
                eprintln!("note: there is no journal in {}, so nothing is known", self.data.display());
                Ok(IonVeil::open(Config::in_memory().without_background())?)
            }
            opened => Ok(opened?),
        }
    }
}
