//! `ionveil trend`

use std::process::ExitCode;

use ionveil::AnalyzeTrend;
use ionveil::dispatch::{LOOKBACK_DEFAULT, TrendAnalysis, TrendDirection};
use pollster::block_on;

use super::failure::Failure;
use super::output::{Output, number, table};
use super::place::Place;
use super::progress::Progress;
use super::time;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ionveil trend --org sffd --metric response_time --window 1d --lookback 30 --as-of latest
  ionveil --json trend --org sffd --metric dispatch_count --window 1h

The mean of each window counts (for dispatch_count its count, empty windows as 0 between the first and the last), over the
last --lookback windows that have a value. The window that holds --as-of is not finished and left out. Slopes are per hour.")]
pub(super) struct Args {
    /// Whose dispatches.
    #[arg(long)]
    org: String,
    /// response_time, distance, sla_compliance or dispatch_count.
    #[arg(long)]
    metric: String,
    /// 1m, 5m, 15m, 1h, 6h or 1d.
    #[arg(long)]
    window: String,
    /// How many windows with a value, 1 to 10000.
    #[arg(long, value_name = "N", default_value_t = LOOKBACK_DEFAULT)]
    lookback: usize,
    /// Ask as if it were then, on all that is known now.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    as_of: Option<String>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let org = args.org.parse()?;
    let question = AnalyzeTrend {
        metric: args.metric.parse()?,
        window: args.window.parse()?,
        lookback_periods: args.lookback,
        as_of: time::parse_optional("as_of", args.as_of.as_deref())?,
    };
    let analyzer = place.open_to_ask()?.trend_analyzer();
    let working = Progress::waiting("replaying");
    let trend = block_on(analyzer.analyze_trend(&org, question))?;
    drop(working);
    output.document(&trend, for_people)?;
    Ok(ExitCode::SUCCESS)
}

fn for_people(trend: &TrendAnalysis) -> String {
    if trend.points.is_empty() {
        return format!("{} has no values", trend.metric_name);
    }
    let direction = match trend.trend_direction {
        TrendDirection::Increasing => "increasing",
        TrendDirection::Decreasing => "decreasing",
        TrendDirection::Stable => "stable",
    };
    let mut lines = vec![
        format!("{} is {direction} (Mann–Kendall Z {:.2})", trend.metric_name, trend.mann_kendall.z),
        format!(
            "line         {} per hour, next hour {}, R² {:.2}",
            number(Some(trend.slope)),
            number(trend.forecast_next_hour),
            trend.confidence
        ),
    ];
    if let Some(theil_sen) = trend.theil_sen {
        let (slope, next) = (number(Some(theil_sen.slope)), number(Some(theil_sen.forecast_next_hour)));
        lines.push(format!("Theil–Sen    {slope} per hour, next hour {next}"));
    }
    if let Some(seasonal) = trend.seasonal {
        let tried = match seasonal.backtests {
            0 => "not tried yet".to_owned(),
            n => format!(
                "off by {} on average in {n} past windows, the line by {}",
                number(seasonal.backtest_error),
                number(seasonal.line_backtest_error)
            ),
        };
        lines.push(format!("hour of week next hour {}, {tried}", number(Some(seasonal.forecast_next_hour))));
    }
    let rows = trend.points.iter().zip(&trend.smoothed).map(|(point, smoothed)| {
        [point.timestamp.to_string(), number(Some(point.value)), number(Some(smoothed.value))]
    });
    format!("{}\n\n{}", lines.join("\n"), table(["window start", "value", "smoothed"], rows))
}
