//! Who acts, and when: what `--now` means, and the instants that are written relative to it.

use ionveil::dispatch::Instant;
use ionveil::domain::{OrgId, Timestamp};
use ionveil::runtime::{Clock, SystemClock};
use ionveil::{Invalid, IonVeil};
use pollster::block_on;

use super::failure::Failure;
use super::time;

/// `--now T`, for commands that change something at an instant.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct At {
    /// Act at this instant instead of the machine's: RFC 3339, now, latest, or -1h.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    now: Option<String>,
}

impl At {
    /// The instant to act at, if one is given.
    pub(super) fn instant(&self, ionveil: &IonVeil, org: Option<&OrgId>) -> Result<Option<Timestamp>, Failure> {
        when_optional(ionveil, org, "now", self.now.as_deref(), None)
    }
}

/// An instant as it is written; relative to `now`, or to the machine's clock.
pub(super) fn when(
    ionveil: &IonVeil,
    org: Option<&OrgId>,
    field: &str,
    text: &str,
    now: Option<Timestamp>,
) -> Result<Timestamp, Failure> {
    match time::parse(field, text)? {
        Instant::At(at) => Ok(at),
        Instant::FromNow(micros) => Ok(now.unwrap_or_else(|| SystemClock.now()).saturating_add_micros(micros)),
        Instant::Latest => {
            let Some(org) = org else {
                let allowed = "RFC 3339, now, or -1h; latest is of one org's dispatches";
                return Err(Invalid::new(field, text, allowed).into());
            };
            match block_on(ionveil.dispatch_aggregator().get_watermark(org))? {
                Some(watermark) => Ok(watermark.saturating_add_micros(1)),
                None => Err(Invalid::new(field, text, "an instant, since the org has no dispatches").into()),
            }
        }
    }
}

/// As [`when`], for an option that may be left out.
pub(super) fn when_optional(
    ionveil: &IonVeil,
    org: Option<&OrgId>,
    field: &str,
    text: Option<&str>,
    now: Option<Timestamp>,
) -> Result<Option<Timestamp>, Failure> {
    text.map(|text| when(ionveil, org, field, text, now)).transpose()
}

/// An id as a user writes it. One that is no UUID belongs to nothing.
pub(super) fn id(what: &'static str, text: &str) -> Result<uuid::Uuid, Failure> {
    use ionveil::{Error, ServiceError};
    text.parse().map_err(|_| Failure::from(Error::from(ServiceError::NotFound { what, id: text.to_owned() })))
}
