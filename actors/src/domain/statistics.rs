//! The platform's statistics, as pure functions.

use super::ExactSum;

/// The rank of the `percent`-th percentile among `count` values, from 1: `ceil(percent · count / 100)` in whole numbers.
///
/// # Panics
/// When `count` is 0 or `percent` is not 1–100.
pub fn percentile_rank(percent: u32, count: usize) -> usize {
    assert!(count > 0 && (1..=100).contains(&percent), "no rank for p{percent} of {count}");
    (percent as usize * count).div_ceil(100)
}

/// The nearest-rank percentile of values in ascending order; `None` when there are none.
///
/// ```
/// use ionveil_actors::domain::percentile_sorted;
/// assert_eq!(percentile_sorted(&[1.0, 2.0, 3.0, 4.0], 50), Some(2.0));
/// assert_eq!(percentile_sorted(&[], 50), None);
/// ```
pub fn percentile_sorted(ascending: &[f64], percent: u32) -> Option<f64> {
    match ascending.len() {
        0 => None,
        count => Some(ascending[percentile_rank(percent, count) - 1]),
    }
}

/// The mean: the exact sum, rounded once, divided by the count; `None` when there are no values.
pub fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let sum: ExactSum = values.iter().copied().collect();
    Some(sum.value() / values.len() as f64)
}

/// The sample standard deviation (n − 1); `None` with fewer than two values.
pub fn sample_stddev(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let center = mean(values)?;
    let squares: ExactSum = values.iter().map(|value| (value - center) * (value - center)).collect();
    Some((squares.value() / (values.len() - 1) as f64).sqrt())
}

/// The mean of each value and up to `width − 1` before it; as many results as values.
///
/// # Panics
/// When `width` is 0.
pub fn moving_average(values: &[f64], width: usize) -> Vec<f64> {
    assert!(width > 0, "a moving average needs a width of at least 1");
    (0..values.len())
        .map(|last| {
            let first = (last + 1).saturating_sub(width);
            mean(&values[first..=last]).expect("the slice holds at least the last value")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank_in_whole_numbers() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        for (values, percent, expected) in [
            (&hundred[..], 50, 50.0),
            (&hundred[..], 99, 99.0),
            (&hundred[..], 100, 100.0),
            (&hundred[..7], 90, 7.0),
            (&hundred[..1], 1, 1.0),
            // 0.95 · 20 is 19.000000000000004 in floating point; whole numbers give rank 19.
            (&hundred[..20], 95, 19.0),
        ] {
            assert_eq!(percentile_sorted(values, percent), Some(expected), "p{percent} of {}", values.len());
        }
    }

    #[test]
    fn mean_deviation_and_moving_average_follow_the_platform() {
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[1.0, 2.0, 6.0]), Some(3.0));
        assert_eq!(sample_stddev(&[1.0]), None);
        assert_eq!(sample_stddev(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), Some((32.0_f64 / 7.0).sqrt()));
        assert_eq!(moving_average(&[2.0, 4.0, 6.0, 8.0], 2), [2.0, 3.0, 5.0, 7.0]);
    }
}
