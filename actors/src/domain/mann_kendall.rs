//! The Mann–Kendall test: do values rise or fall as time goes on, whatever the shape of the curve?

/// |Z| above this is a trend at the 5 % level, two-sided.
pub const Z_SIGNIFICANT: f64 = 1.959964;

/// What the test says of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannKendall {
    /// Pairs that rise less pairs that fall.
    pub s: i64,
    /// S less 1 towards zero (continuity), in standard deviations of S (with ties taken into account); 0 when S is 0.
    pub z: f64,
}

impl MannKendall {
    /// The test on values in the order of time. Looks at every pair.
    ///
    /// ```
    /// use ionveil_actors::domain::MannKendall;
    /// let rising = MannKendall::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
    /// assert_eq!(rising.s, 10);
    /// assert!(rising.is_increasing());
    /// ```
    pub fn of(values: &[f64]) -> Self {
        let sign_sum = |index: usize| -> i64 {
            let later = values[index + 1..].iter();
            later.map(|later| i64::from(*later > values[index]) - i64::from(*later < values[index])).sum()
        };
        let s: i64 = (0..values.len()).map(sign_sum).sum();
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let term = |count: usize| {
            let n = count as f64;
            n * (n - 1.0) * (2.0 * n + 5.0)
        };
        let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|tied| term(tied.len())).sum();
        let variance = (term(values.len()) - ties) / 18.0;
        // Without variance all values are equal, and S is 0.
        let z = if s == 0 { 0.0 } else { (s - s.signum()) as f64 / variance.sqrt() };
        MannKendall { s, z }
    }

    /// Whether the values rise, significantly.
    pub fn is_increasing(&self) -> bool {
        self.z > Z_SIGNIFICANT
    }

    /// Whether the values fall, significantly.
    pub fn is_decreasing(&self) -> bool {
        self.z < -Z_SIGNIFICANT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_and_z_are_those_of_worked_examples() {
        // Variance without ties is n(n−1)(2n+5)/18; a group of t ties takes t(t−1)(2t+5)/18 away.
        for (values, s, variance) in [
            (&[][..], 0, 1.0),
            (&[1.0], 0, 1.0),
            (&[3.0, 3.0, 3.0, 3.0], 0, 1.0),
            (&[1.0, 2.0, 3.0, 4.0], 6, 156.0 / 18.0),
            (&[4.0, 3.0, 2.0, 1.0], -6, 156.0 / 18.0),
            (&[1.0, 2.0], 1, 18.0 / 18.0),
            (&[1.0, 1.0, 2.0, 2.0, 3.0], 8, (300.0 - 18.0 - 18.0) / 18.0),
            (&[5.0, 1.0, 4.0, 2.0, 3.0, 3.0], -2, (510.0 - 18.0) / 18.0),
        ] {
            let test = MannKendall::of(values);
            let z = (s - i64::signum(s)) as f64 / f64::sqrt(variance);
            assert_eq!((test.s, test.z), (s, z), "{values:?}");
        }
    }

    #[test]
    fn four_rising_values_are_too_few_and_five_are_enough() {
        for (count, is_increasing) in [(3, false), (4, false), (5, true), (6, true)] {
            let rising: Vec<f64> = (0..count).map(f64::from).collect();
            let falling: Vec<f64> = rising.iter().map(|value| -value).collect();
            assert_eq!(MannKendall::of(&rising).is_increasing(), is_increasing, "{count}");
            assert_eq!(MannKendall::of(&falling).is_decreasing(), is_increasing, "{count}");
            assert!(!MannKendall::of(&rising).is_decreasing() && !MannKendall::of(&falling).is_increasing());
        }
    }
}
