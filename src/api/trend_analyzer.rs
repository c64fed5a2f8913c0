//! Which way metrics go, and which windows stand out.

use ionveil_actors::dispatch::{
    Anomaly, GetSeries, Instant, LOOKBACK_DEFAULT, Metric, SENSITIVITY_DEFAULT, TrendAnalysis, Which, analyze_trend,
    check_anomaly_test, check_lookback, detect_anomalies, windows_of_interest,
};
use ionveil_actors::domain::{OrgId, OutlierTest, TimeWindow};

use crate::error::Error;
use crate::instance::IonVeil;

/// Reads trends and anomalies off an org's metrics.
///
/// The series is asked of the org's entity; what is then computed from it runs apart, so that a long lookback keeps no
/// ingest waiting.
#[derive(Clone)]
pub struct TrendAnalyzer {
    ionveil: IonVeil,
}

/// A trend that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalyzeTrend {
    /// What is measured: its mean, or the count for `dispatch_count`.
    pub metric: Metric,
    /// How wide the windows are; `all` has no trend.
    pub window: TimeWindow,
    /// The latest windows with a value that count, 1 to 10,000.
    pub lookback_periods: usize,
    /// Takes the place of now; the window that holds it is not finished and left out.
    pub as_of: Option<Instant>,
}

impl AnalyzeTrend {
    /// Over the last 24 windows that have a value.
    pub fn new(metric: Metric, window: TimeWindow) -> Self {
        AnalyzeTrend { metric, window, lookback_periods: LOOKBACK_DEFAULT, as_of: None }
    }
}

/// Anomalies that are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectAnomalies {
    /// What is measured: its mean, or the count for `dispatch_count`.
    pub metric: Metric,
    /// How wide the windows are; `all` has none to compare.
    pub window: TimeWindow,
    /// How many deviations are too many; finite, ≥ 0.
    pub sensitivity: f64,
    /// How values are compared.
    pub test: OutlierTest,
    /// From the window that holds this instant; by default the first that holds anything.
    pub start: Option<Instant>,
    /// To the window that holds the last instant before this one; by default the last that holds anything. Where counts are
    /// compared as such ([`OutlierTest::Poisson`]), empty windows up to a bound that is given count as 0.
    pub end: Option<Instant>,
}

impl DetectAnomalies {
    /// More than two deviations from the mean of the others, over all that is retained.
    pub fn new(metric: Metric, window: TimeWindow) -> Self {
        DetectAnomalies {
            metric,
            window,
            sensitivity: SENSITIVITY_DEFAULT,
            test: OutlierTest::ZScore,
            start: None,
            end: None,
        }
    }
}

impl TrendAnalyzer {
    /// The analyzer of a running IonVeil.
    pub fn new(ionveil: &IonVeil) -> Self {
        TrendAnalyzer { ionveil: ionveil.clone() }
    }

    /// A metric's latest windows, their direction, and forecasts. Of an org that nothing is known of there are no points.
    ///
    /// # Errors
    /// `invalid` when the window is `all` or the lookback out of range. As every method: `overloaded`, `unavailable`,
    /// `corrupt`.
    pub async fn analyze_trend(&self, org: &OrgId, question: AnalyzeTrend) -> Result<TrendAnalysis, Error> {
        let AnalyzeTrend { metric, window, lookback_periods, as_of } = question;
        check_lookback(lookback_periods)?;
        let which = Which::Latest(windows_of_interest(window, lookback_periods));
        let inner = &self.ionveil.inner;
        let asked = GetSeries { metric, window, which, as_of };
        let series = inner.dispatches.ask(org.as_str(), asked, self.ionveil.caller.clone()).await?;
        let analysis = inner.runtime.run_blocking(move || Ok(analyze_trend(metric, window, &series, lookback_periods)));
        Ok(analysis.await?)
    }

    /// The windows whose value stands out from the others', oldest first.
    ///
    /// # Errors
    /// `invalid` when the window is `all`, the sensitivity out of range, start not before end, or there would be more than
    /// 100,000 windows.
    pub async fn detect_anomalies(&self, org: &OrgId, question: DetectAnomalies) -> Result<Vec<Anomaly>, Error> {
        let DetectAnomalies { metric, window, sensitivity, test, start, end } = question;
        check_anomaly_test(metric, test, sensitivity)?;
        let which = Which::Between { start, end, in_full: test == OutlierTest::Poisson };
        let inner = &self.ionveil.inner;
        let asked = GetSeries { metric, window, which, as_of: None };
        let series = inner.dispatches.ask(org.as_str(), asked, self.ionveil.caller.clone()).await?;
        let detected = inner.runtime.run_blocking(move || Ok(detect_anomalies(&series, test, sensitivity)));
        Ok(detected.await?)
    }
}
