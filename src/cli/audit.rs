//! `ionveil audit`

use std::process::ExitCode;

use ionveil::domain::Timestamp;
use ionveil::{Audit, AuditEntry, AuditFilter, Error, Invalid};
use pollster::block_on;

use super::failure::Failure;
use super::output::Output;
use super::place::Place;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ionveil --json audit --org sffd --from 2026-01-31T00:00:00Z | head -3

All filters must match. --from and --to are about when an event was recorded.")]
pub(super) struct Args {
    /// Only events of this stream, such as dispatch/sffd.
    #[arg(long, value_name = "S")]
    stream: Option<String>,
    /// Only events of this org's streams and of the rules that are its own.
    #[arg(long, value_name = "O")]
    org: Option<String>,
    /// Only events about this incident or an alert of it.
    #[arg(long, value_name = "I")]
    incident: Option<String>,
    /// Only events about this alert.
    #[arg(long, value_name = "A")]
    alert: Option<String>,
    /// Only what this user did; system is the system itself.
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// Recorded at this instant or later: RFC 3339, now, or -1h.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    from: Option<String>,
    /// Recorded before this instant.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    to: Option<String>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let (from, to) = (instant("from", args.from.as_deref())?, instant("to", args.to.as_deref())?);
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return Err(Invalid::new("from", from, format!("before to, which is {to}")).into());
    }
    let filter = AuditFilter {
        stream: args.stream.as_deref().map(str::parse).transpose().map_err(Error::from)?,
        org: args.org.as_deref().map(str::parse).transpose()?,
        incident: args.incident.clone(),
        alert: args.alert.clone(),
        user: args.user.clone(),
        from,
        to,
        ..AuditFilter::default()
    };
    filter.check()?;
    let audit = place.open_to_ask()?.audit();
    print_all(&audit, &filter, output.is_json(), output)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints every matching entry on a line of its own.
pub(super) fn print_all(
    audit: &Audit,
    filter: &AuditFilter,
    as_json: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut filter = filter.clone();
    let mut after = 0;
    loop {
        let page = block_on(audit.page(filter.clone(), after))?;
        let Some(last) = page.last() else { break };
        after = last.position;
        if filter.stream.is_some() {
            // A stream is read by sequence: without this each page would read all the pages before it again.
            filter.from_sequence = Some(last.sequence + 1);
        }
        for entry in &page {
            if as_json {
                output.json_line(entry)?;
            } else {
                output.line(&for_people(entry))?;
            }
        }
    }
    Ok(output.flush()?)
}

fn for_people(entry: &AuditEntry) -> String {
    let AuditEntry { position, recorded_at, stream, sequence, event_type, by, payload, .. } = entry;
    format!("{position:>8}  {recorded_at}  {stream}#{sequence}  {event_type} by {by}  {payload}")
}

/// An instant of the wall clock: the journal's own times know no `latest`.
fn instant(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    use ionveil::dispatch::Instant;
    use ionveil::runtime::{Clock, SystemClock};
    let Some(text) = text else { return Ok(None) };
    match super::time::parse(field, text)? {
        Instant::At(at) => Ok(Some(at)),
        Instant::FromNow(micros) => Ok(Some(SystemClock.now().saturating_add_micros(micros))),
        Instant::Latest => Err(Invalid::new(field, text, "RFC 3339, now, or -1h; latest is of an org's events").into()),
    }
}
