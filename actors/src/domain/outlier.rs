//! Which values of a series stand out from the others: by mean and deviation, by median, or as a count.

use super::ExactSum;
use super::regression::median_sorted;

/// How a value is told to stand out from the *others*, it itself left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OutlierTest {
    /// By the mean of the others and their sample standard deviation.
    #[default]
    ZScore,
    /// By the median of the others and the median of their distances from it (MAD), which a few wild ones do not move. The
    /// MAD is scaled by 1.4826 to be a standard deviation where values are normal, and is at least 1 % of the median.
    Robust,
    /// For counts: by how improbable a count so high or so low is (Poisson) at the rate of the others, which is their mean or
    /// their median, whichever is nearer to the count: so one burst does not make all other counts look low. Sees a drop to
    /// zero where a deviation is too wide for it.
    Poisson,
}

/// A value against the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// What the others say it should be: their mean or their median.
    pub expected: f64,
    /// The distance from it in deviations; `None` when the others have none.
    pub z_score: Option<f64>,
    /// Whether it stands out.
    pub is_outlier: bool,
}

/// With fewer others nothing stands out.
pub const OTHERS_MIN: usize = 3;
/// Makes a standard deviation of a MAD where values are normal: 1 over the normal distribution's upper quartile.
const MAD_SCALE: f64 = 1.482_602_218_505_602;
/// The least deviation of the robust test, as a share of the median.
const ROBUST_FLOOR: f64 = 0.01;

/// Compares each of `values` with the others; `sensitivity` is a number of deviations, finite and ≥ 0. For
/// [`OutlierTest::Poisson`] it is turned into the probability of a normal value that far out on one side. Empty when there
/// are fewer than [`OTHERS_MIN`] others.
///
/// ```
/// use ionveil_actors::domain::{OutlierTest, outliers};
/// let compared = outliers(&[10.0, 11.0, 9.0, 10.0, 30.0], OutlierTest::ZScore, 2.0);
/// assert!(compared[4].is_outlier && compared[4].expected == 10.0);
/// ```
pub fn outliers(values: &[f64], test: OutlierTest, sensitivity: f64) -> Vec<Comparison> {
    if values.len() <= OTHERS_MIN {
        return Vec::new();
    }
    match test {
        OutlierTest::ZScore => in_range(values, |values| by_deviation(values, sensitivity)),
        OutlierTest::Robust => in_range(values, |values| by_median(values, sensitivity)),
        OutlierTest::Poisson => by_probability(values, sensitivity),
    }
}

/// Values above have squares, and sums of them, that no `f64` holds.
const LARGE: f64 = 1e150;
/// Brings whatever an `f64` can be below that. A power of two changes no digit.
const SMALLER: f64 = f64::from_bits((1023 - 600) << 52);

/// Compares values as they are, or, when some are so large that their squares would be infinite, smaller ones in the same
/// proportions: scores are the same.
fn in_range(values: &[f64], compare: impl Fn(&[f64]) -> Vec<Comparison>) -> Vec<Comparison> {
    if values.iter().all(|value| value.abs() <= LARGE) {
        return compare(values);
    }
    let smaller: Vec<f64> = values.iter().map(|value| value * SMALLER).collect();
    let as_they_are = |it: Comparison| Comparison { expected: it.expected / SMALLER, ..it };
    compare(&smaller).into_iter().map(as_they_are).collect()
}

/// Count, mean and sum of squared distances from it: mergeable, and never computed as a difference of large numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn merged(self, other: Moments) -> Moments {
        if other.count == 0.0 {
            return self;
        }
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        Moments {
            count,
            mean: self.mean + delta * (other.count / count),
            squares: self.squares + other.squares + delta * delta * (self.count * other.count / count),
        }
    }

    fn with(self, value: f64) -> Moments {
        self.merged(Moments { count: 1.0, mean: value, squares: 0.0 })
    }
}

/// The mean of all values but one.
fn mean_without(sum: &ExactSum, count: usize, value: f64) -> f64 {
    let mut others = sum.clone();
    others.add(-value);
    others.value() / (count - 1) as f64
}

fn by_deviation(values: &[f64], sensitivity: f64) -> Vec<Comparison> {
    // The others are those before and those after; taking one out of the whole would lose what a wild one hides.
    let mut after = vec![Moments::default(); values.len() + 1];
    for (index, &value) in values.iter().enumerate().rev() {
        after[index] = after[index + 1].with(value);
    }
    let sum: ExactSum = values.iter().copied().collect();
    let mut before = Moments::default();
    let compared = values.iter().enumerate().map(|(index, &value)| {
        let others = before.merged(after[index + 1]);
        before = before.with(value);
        let deviation = (others.squares / (others.count - 1.0)).sqrt();
        if deviation == 0.0 {
            // All others are equal, and their mean is their value, without rounding.
            return Comparison { expected: others.mean, z_score: None, is_outlier: value != others.mean };
        }
        let expected = mean_without(&sum, values.len(), value);
        let distance = value - expected;
        let is_outlier = distance.abs() > sensitivity * deviation;
        Comparison { expected, z_score: Some(distance / deviation), is_outlier }
    });
    compared.collect()
}

fn by_median(values: &[f64], sensitivity: f64) -> Vec<Comparison> {
    let mut ascending = values.to_vec();
    ascending.sort_unstable_by(f64::total_cmp);
    // Taking one value out leaves one of three medians at most, so that the distances are sorted three times at most.
    let mut distances_from: Vec<(f64, Vec<f64>)> = Vec::new();
    let compared = values.iter().map(|&value| {
        let expected = median_without(&ascending, value);
        let known = distances_from.iter().position(|(median, _)| *median == expected);
        let known = known.unwrap_or_else(|| {
            let mut distances: Vec<f64> = values.iter().map(|other| (other - expected).abs()).collect();
            distances.sort_unstable_by(f64::total_cmp);
            distances_from.push((expected, distances));
            distances_from.len() - 1
        });
        let mad = median_without(&distances_from[known].1, (value - expected).abs());
        let deviation = (MAD_SCALE * mad).max(ROBUST_FLOOR * expected.abs());
        let distance = value - expected;
        let z_score = (mad > 0.0).then_some(distance / deviation);
        Comparison { expected, z_score, is_outlier: distance.abs() > sensitivity * deviation }
    });
    compared.collect()
}

/// The median of values in ascending order when one of them, `value`, is taken out.
fn median_without(ascending: &[f64], value: f64) -> f64 {
    let out = ascending.partition_point(|other| other.total_cmp(&value).is_lt());
    let at = |rank: usize| ascending[if rank < out { rank } else { rank + 1 }];
    let count = ascending.len() - 1;
    let upper = at(count / 2);
    if count % 2 == 1 { upper } else { median_sorted(&[at(count / 2 - 1), upper]).expect("two values") }
}

fn by_probability(values: &[f64], sensitivity: f64) -> Vec<Comparison> {
    let improbable = libm::erfc(sensitivity / std::f64::consts::SQRT_2) / 2.0;
    let sum: ExactSum = values.iter().copied().collect();
    let mut ascending = values.to_vec();
    ascending.sort_unstable_by(f64::total_cmp);
    let compared = values.iter().map(|&value| {
        let (mean, median) = (mean_without(&sum, values.len(), value), median_without(&ascending, value));
        let expected = if (value - median).abs() < (value - mean).abs() { median } else { mean };
        let z_score = (expected > 0.0).then(|| (value - expected) / expected.sqrt());
        // Between the two there is nothing to wonder at.
        let is_between = mean.min(median) <= value && value <= mean.max(median);
        let is_outlier = !is_between && poisson_tail(value, expected) < improbable;
        Comparison { expected, z_score, is_outlier }
    });
    compared.collect()
}

/// The probability of a count at least as far out as `count`, on its side of the `rate`.
fn poisson_tail(count: f64, rate: f64) -> f64 {
    if rate <= 0.0 {
        return if count > 0.0 { 0.0 } else { 1.0 };
    }
    let probability = |n: f64| libm::exp(n * libm::log(rate) - rate - libm::lgamma(n + 1.0));
    // Outwards from the count each term is a smaller part of the one before, so that few of them matter.
    let mut term = probability(count);
    let mut tail = term;
    let mut n = count;
    loop {
        if count > rate {
            n += 1.0;
            term *= rate / n;
        } else if n > 0.0 {
            term *= n / rate;
            n -= 1.0;
        } else {
            return tail;
        }
        tail += term;
        if term <= tail * f64::EPSILON {
            return tail;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{mean, sample_stddev};

    fn others(values: &[f64], index: usize) -> Vec<f64> {
        let mut others = values.to_vec();
        others.remove(index);
        others
    }

    #[test]
    fn fewer_than_three_others_say_nothing() {
        for test in [OutlierTest::ZScore, OutlierTest::Robust, OutlierTest::Poisson] {
            assert_eq!(outliers(&[1.0, 1.0, 900.0], test, 2.0), []);
            let four = outliers(&[1.0, 1.0, 1.0, 900.0], test, 2.0);
            assert_eq!(
                four.iter().map(|it| it.is_outlier).collect::<Vec<_>>(),
                [false, false, false, true],
                "{test:?}"
            );
        }
    }

    #[test]
    fn among_equal_ones_any_different_value_stands_out_and_has_no_score() {
        let compared = outliers(&[0.1, 0.1, 0.1, 0.1, 0.1 + 1e-9], OutlierTest::ZScore, 2.0);
        let last = compared[4];
        assert_eq!((last.expected, last.z_score, last.is_outlier), (0.1, None, true));
        assert!(compared[..4].iter().all(|it| !it.is_outlier && it.z_score.is_some()));
        let equal = outliers(&[0.1; 7], OutlierTest::ZScore, 2.0);
        assert!(equal.iter().all(|it| !it.is_outlier && it.z_score.is_none() && it.expected == 0.1));
    }

    #[test]
    fn a_wild_value_does_not_hide_how_close_the_others_are() {
        let values = [10.001, 10.002, 10.003, 10.004, 1e15];
        let compared = outliers(&values, OutlierTest::ZScore, 2.0);
        let deviation = sample_stddev(&values[..4]).expect("four values");
        let score = compared[4].z_score.expect("a score");
        assert!((score / ((1e15 - 10.0025) / deviation) - 1.0).abs() < 1e-9, "{score}");
    }

    #[test]
    fn values_whose_squares_no_number_holds_are_compared_like_any() {
        for scale in [2f64.powi(500), 2f64.powi(510), 2f64.powi(1020)] {
            for test in [OutlierTest::ZScore, OutlierTest::Robust] {
                let values = [3.0, 4.0, 5.0, 4.5, 12.0];
                let large = values.map(|value| value * scale);
                for (small, large) in outliers(&values, test, 2.0).iter().zip(outliers(&large, test, 2.0)) {
                    let expected = Comparison { expected: small.expected * scale, ..*small };
                    assert_eq!(large, expected, "{test:?} at {scale:e}");
                }
            }
        }
    }

    #[test]
    fn more_than_the_sensitivity_and_not_as_much() {
        // The others of the last have mean 2 and deviation exactly 1.
        let values = [1.0, 2.0, 3.0, 4.0];
        assert!(!outliers(&values, OutlierTest::ZScore, 2.0)[3].is_outlier);
        assert!(outliers(&values, OutlierTest::ZScore, 1.999)[3].is_outlier);
    }

    #[test]
    fn two_wild_values_hide_each_other_from_the_deviation_and_not_from_the_median() {
        let values = [10.0, 11.0, 9.0, 10.0, 12.0, 8.0, 90.0, 95.0];
        let found = |test| -> Vec<usize> {
            let compared = outliers(&values, test, 3.0);
            (0..values.len()).filter(|&index| compared[index].is_outlier).collect()
        };
        assert_eq!(found(OutlierTest::ZScore), [0usize; 0]);
        assert_eq!(found(OutlierTest::Robust), [6, 7]);
    }

    #[test]
    fn the_robust_deviation_has_a_floor() {
        let compared = outliers(&[10.0, 10.0, 10.0, 10.0, 10.15, 10.3], OutlierTest::Robust, 2.0);
        assert_eq!(
            compared.iter().map(|it| it.is_outlier).collect::<Vec<_>>(),
            [false, false, false, false, false, true]
        );
        assert_eq!(compared[5].z_score, None, "the others' MAD is 0");
        let of_zeros = outliers(&[0.0, 0.0, 0.0, 0.0, 1e-6], OutlierTest::Robust, 2.0);
        assert!(of_zeros[4].is_outlier);
    }

    #[test]
    fn a_drop_to_zero_is_seen_by_count() {
        // Around 9, widely spread: zero is within two deviations and yet all but impossible as a count.
        let values = [3.0, 18.0, 4.0, 15.0, 2.0, 17.0, 5.0, 14.0, 0.0];
        assert!(!outliers(&values, OutlierTest::ZScore, 2.0)[8].is_outlier);
        assert!(outliers(&values, OutlierTest::Poisson, 2.0)[8].is_outlier);
    }

    #[test]
    fn one_burst_among_counts_is_one_outlier_also_where_most_are_zero() {
        for values in [[9.0, 11.0, 8.0, 10.0, 12.0, 900.0, 9.0, 10.0], [0.0, 0.0, 1.0, 0.0, 0.0, 50.0, 0.0, 1.0]] {
            let compared = outliers(&values, OutlierTest::Poisson, 3.0);
            let found: Vec<usize> = (0..values.len()).filter(|&index| compared[index].is_outlier).collect();
            assert_eq!(found, [5], "{values:?}");
        }
    }

    #[test]
    fn poisson_tails_are_those_of_tables() {
        for (count, rate, tail) in [
            (0.0, 5.0, 0.006_737_946_999_085_467),
            (2.0, 5.0, 0.124_652_019_483_081_1),
            (10.0, 5.0, 0.031_828_057_306_204_81),
            (0.0, 0.0, 1.0),
            (1.0, 0.0, 0.0),
            (1_100.0, 1_000.0, 0.000_962_630_405_866_280_4),
        ] {
            let met = poisson_tail(count, rate);
            assert!((met - tail).abs() <= 1e-6 * tail, "P of {count} at {rate} is {met}, not {tail}");
        }
    }

    proptest! {
        #[test]
        fn each_value_is_compared_with_the_others_alone(
            values in prop::collection::vec(prop_oneof![0.0f64..10.0, Just(3.0), 0.0f64..1e9], 4..30),
        ) {
            let by_mean = outliers(&values, OutlierTest::ZScore, 2.0);
            let by_median = outliers(&values, OutlierTest::Robust, 2.0);
            for index in 0..values.len() {
                let mut others = others(&values, index);
                let (center, deviation) = (mean(&others).expect("some"), sample_stddev(&others).expect("some"));
                prop_assert!((by_mean[index].expected - center).abs() <= 1e-12 * center.abs());
                if let Some(score) = by_mean[index].z_score {
                    let expected = (values[index] - center) / deviation;
                    prop_assert!((score - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{} {}", score, expected);
                }
                others.sort_by(f64::total_cmp);
                let median = median_sorted(&others).expect("some");
                prop_assert_eq!(by_median[index].expected, median);
                let mut distances: Vec<f64> = others.iter().map(|other| (other - median).abs()).collect();
                distances.sort_by(f64::total_cmp);
                let mad = median_sorted(&distances).expect("some");
                let deviation = (MAD_SCALE * mad).max(ROBUST_FLOOR * median);
                prop_assert_eq!(by_median[index].z_score, (mad > 0.0).then(|| (values[index] - median) / deviation));
            }
        }
    }
}
