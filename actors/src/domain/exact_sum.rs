//! A sum of floating-point numbers without rounding on the way.

/// The exact sum of any number of finite values; [`ExactSum::value`] rounds once.
///
/// The sum is kept as a list of numbers that do not overlap, smallest first (Shewchuk's expansion), so that neither the
/// order of additions nor of merges can change the answer. A sum beyond the range of `f64` is infinite and stays so.
///
/// ```
/// use ionveil_actors::domain::ExactSum;
/// let sum: ExactSum = [1e16, 1.0, -1e16].into_iter().collect();
/// assert_eq!(sum.value(), 1.0);
/// ```
#[derive(Debug, Clone, Default)]
pub struct ExactSum {
    parts: Vec<f64>,
}

impl ExactSum {
    /// Adds one finite value.
    pub fn add(&mut self, value: f64) {
        let mut carry = value;
        let mut kept = 0;
        for index in 0..self.parts.len() {
            let part = self.parts[index];
            let (large, small) = if carry.abs() < part.abs() { (part, carry) } else { (carry, part) };
            let sum = large + small;
            if sum.is_infinite() {
                // The error term would be NaN. Infinity is the right answer of a sum that no f64 can hold.
                self.parts.clear();
                self.parts.push(sum);
                return;
            }
            let rest = small - (sum - large);
            if rest != 0.0 {
                self.parts[kept] = rest;
                kept += 1;
            }
            carry = sum;
        }
        self.parts.truncate(kept);
        self.parts.push(carry);
    }

    /// Adds everything another sum holds.
    pub fn merge(&mut self, other: &ExactSum) {
        for &part in &other.parts {
            self.add(part);
        }
    }

    /// The sum, correctly rounded to the nearest `f64`, ties to even; 0 when nothing was added.
    pub fn value(&self) -> f64 {
        let mut parts = self.parts.iter().rev();
        let Some(&first) = parts.next() else { return 0.0 };
        let mut high = first;
        let mut low = 0.0;
        for &part in parts.by_ref() {
            let sum = high + part;
            low = part - (sum - high);
            high = sum;
            if low != 0.0 {
                break;
            }
        }
        // A tie between two neighbours is decided by what lies below the tie.
        if let Some(&below) = parts.next()
            && ((low < 0.0 && below < 0.0) || (low > 0.0 && below > 0.0))
        {
            let doubled = low * 2.0;
            let rounded = high + doubled;
            if doubled == rounded - high {
                high = rounded;
            }
        }
        high
    }
}

impl Extend<f64> for ExactSum {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        for value in values {
            self.add(value);
        }
    }
}

impl FromIterator<f64> for ExactSum {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sum = ExactSum::default();
        sum.extend(values);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_sums_round_once() {
        for (values, expected) in [
            (vec![], 0.0),
            (vec![0.1; 10], 1.0),
            (vec![1e100, 1.0, -1e100], 1.0),
            (vec![1.0, 2f64.powi(-53), 2f64.powi(-106)], 1.0 + f64::EPSILON),
            (vec![1.0, 2f64.powi(-53)], 1.0),
            (vec![f64::MAX, f64::MAX, -1.0], f64::INFINITY),
        ] {
            let sum: ExactSum = values.iter().copied().collect();
            assert_eq!(sum.value(), expected, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn order_and_grouping_never_change_the_sum(
            values in prop::collection::vec(prop::num::f64::NORMAL.prop_map(|x| x % 1e12), 0..60),
            cut in 0usize..60,
        ) {
            let forward: ExactSum = values.iter().copied().collect();
            let backward: ExactSum = values.iter().rev().copied().collect();
            let cut = cut.min(values.len());
            let mut merged: ExactSum = values[cut..].iter().copied().collect();
            merged.merge(&values[..cut].iter().copied().collect());
            prop_assert_eq!(forward.value().to_bits(), backward.value().to_bits());
            prop_assert_eq!(forward.value().to_bits(), merged.value().to_bits());
        }
    }
}
