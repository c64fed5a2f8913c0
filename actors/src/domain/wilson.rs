//! The confidence interval of a share.

/// The normal deviate of a two-sided 95 % interval.
const Z_95: f64 = 1.959_963_984_540_054;

/// Wilson's 95 % interval of the share `part` of `count`: right also for small counts and for shares near 0 and 1. `None`
/// when there is nothing to take a share of.
///
/// ```
/// use ionveil_actors::domain::wilson_interval;
/// let (low, high) = wilson_interval(90, 100).expect("a hundred");
/// assert!((low - 0.8256).abs() < 1e-4 && (high - 0.9448).abs() < 1e-4);
/// ```
///
/// # Panics
/// When the part is greater than the whole.
pub fn wilson_interval(part: u64, count: u64) -> Option<(f64, f64)> {
    assert!(part <= count, "{part} of {count} is no share");
    if count == 0 {
        return None;
    }
    let n = count as f64;
    let share = part as f64 / n;
    let z2 = Z_95 * Z_95;
    let center = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    // At the ends the interval touches 0 and 1, which rounding must not hide.
    let low = if part == 0 { 0.0 } else { (center - half).max(0.0) };
    let high = if part == count { 1.0 } else { (center + half).min(1.0) };
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_published_examples() {
        // Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3.
        for (part, count, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let met = wilson_interval(part, count).expect("some");
            assert!((met.0 - low).abs() < 5e-5 && (met.1 - high).abs() < 5e-5, "{part} of {count}: {met:?}");
        }
        assert_eq!(wilson_interval(0, 0), None);
        assert_eq!(wilson_interval(20, 20).map(|interval| interval.1), Some(1.0));
    }
}
