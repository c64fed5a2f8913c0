//! A sum of floating-point numbers without rounding on the way.

/// The exact sum of any number of finite values; [`ExactSum::value`] rounds once.
///
/// The sum is kept as a list of numbers that do not overlap, smallest first (Shewchuk's expansion), so that neither the
/// order of additions nor of merges can change the answer. What leaves the range of `f64` on the way is infinite and stays so;
/// there alone the order can show.
///
/// ```
/// use ionveil_actors::domain::ExactSum;
/// let sum: ExactSum = [1e16, 1.0, -1e16].into_iter().collect();
/// assert_eq!(sum.value(), 1.0);
/// ```
#[derive(Debug, Clone, Default)]
pub struct ExactSum {
    /// Values that are alike in size, added up as whole numbers of one unit: an addition each, where parts take several.
    units: i128,
    /// The unit is 2^(`exponent` − 1075): that of the last bit of numbers whose biased exponent it is. 0 before the first.
    exponent: i32,
    /// Everything else.
    parts: Vec<f64>,
}

/// Bits behind the leading one.
const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
/// How much smaller than the first value another one may be, as a power of two, to be added in its unit.
const SMALLER_MAX: i32 = 20;
/// How many bits a value is moved at most; together with its own 53 it leaves room for 2³⁴ values.
const SHIFT_MAX: i32 = 40;
/// The largest biased exponent of values that are added in units: no sum of them is beyond the range of `f64`.
const EXPONENT_MAX: i32 = 1_900;

impl ExactSum {
    /// Adds one finite value.
    pub fn add(&mut self, value: f64) {
        let shift = exponent_of(value) - self.exponent;
        if self.exponent != 0 && (0..=SHIFT_MAX).contains(&shift) {
            let mantissa = i128::from(value.to_bits() & ((1 << MANTISSA_BITS) - 1) | 1 << MANTISSA_BITS);
            let units = if value < 0.0 { -mantissa } else { mantissa } << shift;
            if let Some(sum) = self.units.checked_add(units) {
                self.units = sum;
                return;
            }
        }
        self.add_unlike(value);
    }

    /// Adds a value for which there is no unit yet, or that is too large or too small for it.
    #[cold]
    fn add_unlike(&mut self, value: f64) {
        if value == 0.0 {
            return;
        }
        let exponent = exponent_of(value);
        // Neither subnormal numbers nor very large ones have a unit.
        if self.exponent == 0 && (1..=EXPONENT_MAX).contains(&exponent) {
            self.exponent = (exponent - SMALLER_MAX).max(1);
            self.add(value);
        } else {
            self.add_part(value);
        }
    }

    fn add_part(&mut self, value: f64) {
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
        for part in other.parts.iter().copied().chain(other.units_in_parts()) {
            self.add(part);
        }
    }

    /// What was added up in units, as numbers that do not overlap.
    fn units_in_parts(&self) -> impl Iterator<Item = f64> {
        let (sign, magnitude) = (self.units.signum() as f64, self.units.unsigned_abs());
        let digits = f64::MANTISSA_DIGITS;
        let places = if self.units == 0 { 0 } else { 128u32.div_ceil(digits) };
        (0..places).map(move |place| {
            let part = (magnitude >> (place * digits)) & ((1 << digits) - 1);
            let exponent = self.exponent - 1_075 + (place * digits) as i32;
            sign * part as f64 * power_of_two(exponent)
        })
    }

    /// The sum, correctly rounded to the nearest `f64`, ties to even; 0 when nothing was added.
    pub fn value(&self) -> f64 {
        let mut all = ExactSum { parts: self.parts.clone(), ..ExactSum::default() };
        self.units_in_parts().for_each(|part| all.add_part(part));
        let mut parts = all.parts.iter().rev();
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

/// The biased exponent; 0 of zero and of subnormal numbers.
fn exponent_of(value: f64) -> i32 {
    ((value.to_bits() >> MANTISSA_BITS) & 0x7ff) as i32
}

/// 2^`exponent`, from −1074 on.
fn power_of_two(exponent: i32) -> f64 {
    let is_normal = exponent >= f64::MIN_EXP - 1;
    f64::from_bits(if is_normal { ((exponent + 1_023) as u64) << MANTISSA_BITS } else { 1 << (exponent + 1_074) })
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
            (vec![1.0, f64::MAX, f64::MAX, -1.0], f64::INFINITY),
            (vec![0.0, 5e-324, 0.0], 5e-324),
            (vec![-0.5, 0.25, -0.0], -0.25),
        ] {
            let sum: ExactSum = values.iter().copied().collect();
            assert_eq!(sum.value(), expected, "{values:?}");
        }
    }

    /// Numbers that have a unit in common, that do not, and the ends of what a number can be.
    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => 0.0f64..1e3,
            2 => -1e3f64..1e3,
            1 => prop::num::f64::NORMAL.prop_map(|x| x % 1e290),
            1 => prop::num::f64::SUBNORMAL,
            1 => prop::sample::select(vec![0.0, -0.0, f64::MIN_POSITIVE, 1e-300, 2f64.powi(60), -2f64.powi(-60), 1e250]),
        ]
    }

    proptest! {
        #[test]
        fn adding_in_units_is_adding(values in prop::collection::vec(number(), 0..200), cut in 0usize..200) {
            let mut parts = ExactSum::default();
            values.iter().for_each(|&value| parts.add_part(value));
            let sum: ExactSum = values.iter().copied().collect();
            prop_assert_eq!(sum.value(), parts.value());
            let mut merged: ExactSum = values[..cut.min(values.len())].iter().copied().collect();
            merged.merge(&values[cut.min(values.len())..].iter().copied().collect());
            prop_assert_eq!(merged.value(), parts.value());
        }

        #[test]
        fn sums_of_very_many_leave_their_unit_in_time(value in 1e-3f64..1e3, doublings in 60u32..100) {
            // By merging with itself a sum outgrows what can be counted in units.
            let mut sum: ExactSum = [value, -value / 3.0].into_iter().collect();
            let once = sum.value();
            for _ in 0..doublings {
                sum.merge(&sum.clone());
            }
            prop_assert_eq!(sum.value(), once * 2f64.powi(doublings as i32));
        }

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
