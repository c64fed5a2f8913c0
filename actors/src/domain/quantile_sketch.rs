//! Percentiles of very many values without keeping them.

use super::statistics::percentile_rank;

/// Mantissa bits that are told apart: a bucket is at most 2⁻⁷ of its values wide, so that its middle is off by at most half
/// of that, 0.4 %.
const MANTISSA_BITS: u32 = 7;
const SHIFT: u32 = f64::MANTISSA_DIGITS - 1 - MANTISSA_BITS;
/// Scales numbers that are too small to be normal.
const SUBNORMAL_SCALE: f64 = (1u64 << 52) as f64;
const SUBNORMAL_BUCKETS: i32 = 52 << MANTISSA_BITS;

/// How often values fell into each of a fixed set of buckets, whose bounds grow by less than 0.8 %.
///
/// The counts are all there is, so the sketch depends on the values alone: not on their order, nor on how sketches of parts
/// of them were merged. Percentiles are off by at most [`QuantileSketch::RELATIVE_ERROR`].
///
/// ```
/// use ionveil_actors::domain::QuantileSketch;
/// let sketch: QuantileSketch = (1..=1_000_000).map(f64::from).collect();
/// let p90 = sketch.percentile(90).expect("a million");
/// assert!((p90 - 900_000.0).abs() <= 0.005 * 900_000.0);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QuantileSketch {
    /// Values that are 0.
    zeros: u64,
    /// The bucket that `counts` begins with.
    first: i32,
    /// From the lowest to the highest bucket that holds anything; neither end is 0.
    counts: Vec<u64>,
    count: u64,
    /// Least and greatest value; no percentile lies beyond.
    range: Option<(f64, f64)>,
}

impl QuantileSketch {
    /// The most that a percentile is off, as a share of the exact one.
    pub const RELATIVE_ERROR: f64 = 0.005;

    /// How many values it has taken in.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes in one finite value ≥ 0.
    pub fn add(&mut self, value: f64) {
        self.add_many(value, 1);
    }

    fn add_many(&mut self, value: f64, times: u64) {
        self.count += times;
        self.range = Some(self.range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))));
        if value == 0.0 {
            self.zeros += times;
        } else {
            *self.bucket(bucket_of(value)) += times;
        }
    }

    /// Takes in everything that another sketch has.
    pub fn merge(&mut self, other: &QuantileSketch) {
        let Some((low, high)) = other.range else { return };
        self.range = Some(self.range.map_or((low, high), |(least, most)| (least.min(low), most.max(high))));
        self.count += other.count;
        self.zeros += other.zeros;
        for (&count, bucket) in other.counts.iter().zip(other.first..).filter(|(count, _)| **count > 0) {
            *self.bucket(bucket) += count;
        }
    }

    /// The nearest-rank percentile, off by at most 0.5 % of it; `None` without values.
    ///
    /// # Panics
    /// When `percent` is not 1–100.
    pub fn percentile(&self, percent: u32) -> Option<f64> {
        let (low, high) = self.range?;
        let rank = percentile_rank(percent, self.count as usize) as u64;
        let mut seen = self.zeros;
        if rank <= seen {
            return Some(0.0);
        }
        let bucket = self.counts.iter().zip(self.first..).find(|&(&count, _)| {
            seen += count;
            rank <= seen
        });
        bucket.map(|(_, bucket)| middle_of(bucket).clamp(low, high))
    }

    fn bucket(&mut self, bucket: i32) -> &mut u64 {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let more = (self.first - bucket) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = bucket;
        }
        let index = (bucket - self.first) as usize;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        &mut self.counts[index]
    }
}

impl Extend<f64> for QuantileSketch {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.add(value));
    }
}

impl FromIterator<f64> for QuantileSketch {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sketch = QuantileSketch::default();
        sketch.extend(values);
        sketch
    }
}

/// The bucket of a positive value: exponent and leading mantissa bits, which order as the values do.
fn bucket_of(value: f64) -> i32 {
    if value.is_normal() {
        (value.to_bits() >> SHIFT) as i32
    } else {
        ((value * SUBNORMAL_SCALE).to_bits() >> SHIFT) as i32 - SUBNORMAL_BUCKETS
    }
}

fn middle_of(bucket: i32) -> f64 {
    // Half of the step between two buckets in the bits below.
    let middle = |bucket: i32| f64::from_bits(((bucket as u64) << SHIFT) + (1 << (SHIFT - 1)));
    let is_normal = bucket >= 1 << MANTISSA_BITS;
    if is_normal { middle(bucket) } else { middle(bucket + SUBNORMAL_BUCKETS) / SUBNORMAL_SCALE }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::percentile_sorted;

    #[track_caller]
    fn assert_close(values: &[f64]) {
        let sketch: QuantileSketch = values.iter().copied().collect();
        let mut ascending = values.to_vec();
        ascending.sort_by(f64::total_cmp);
        for percent in [1, 25, 50, 90, 95, 99, 100] {
            let (met, exact) = (sketch.percentile(percent), percentile_sorted(&ascending, percent));
            let off = met.zip(exact).map_or(0.0, |(met, exact)| (met - exact).abs() - 0.005 * exact);
            assert!(met.is_some() == exact.is_some() && off <= 0.0, "p{percent}: {met:?} instead of {exact:?}");
        }
    }

    /// Uniform in 0 to 1, by SplitMix64.
    fn uniform(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    #[test]
    fn percentiles_are_close_whatever_the_shape_of_the_data() {
        for seed in 0..20 {
            let mut next = uniform(seed);
            let mut normal = || (-2.0 * next().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * next()).cos();
            let lognormal: Vec<f64> = (0..5_000).map(|_| (1.0 + 0.8 * normal()).exp()).collect();
            assert_close(&lognormal);
            let bimodal: Vec<f64> =
                (0..5_000).map(|n| if n % 2 == 0 { 3.0 + 0.1 * normal() } else { 900.0 + normal() }).collect();
            assert_close(&bimodal);
            let mut next = uniform(seed);
            // Just above and below the bounds of buckets, over the whole range of what a number can be.
            let adversarial: Vec<f64> = (0..5_000)
                .map(|n| {
                    let bits = ((next() * 2046.0) as u64) << 52 | ((next() * 128.0) as u64) << SHIFT;
                    f64::from_bits((bits + n % 3).saturating_sub(1))
                })
                .collect();
            assert_close(&adversarial);
        }
        assert_close(&[]);
        assert_close(&[0.0; 1_000]);
        assert_close(&[f64::MAX, 5e-324, 0.0, f64::MIN_POSITIVE, 1.5e-310]);
    }

    #[test]
    fn what_is_constant_is_exact() {
        for value in [0.0, 0.1, 7.3, 1e-310, 1e300] {
            let sketch: QuantileSketch = std::iter::repeat_n(value, 10_000).collect();
            assert_eq!((sketch.percentile(50), sketch.percentile(99)), (Some(value), Some(value)));
        }
    }

    proptest! {
        #[test]
        fn order_and_merging_never_change_a_sketch(
            values in prop::collection::vec(prop_oneof![Just(0.0), 0.0f64..1e-3, 0.0f64..1e9, prop::num::f64::POSITIVE], 0..200),
            cuts in prop::collection::vec(0usize..200, 0..5),
        ) {
            let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
            let whole: QuantileSketch = values.iter().copied().collect();
            let backwards: QuantileSketch = values.iter().rev().copied().collect();
            prop_assert_eq!(&whole, &backwards);
            let mut parts = vec![QuantileSketch::default(); cuts.len() + 1];
            for (index, value) in values.iter().enumerate() {
                let part = cuts.iter().filter(|&&cut| cut <= index).count();
                parts[part].add(*value);
            }
            let mut merged = QuantileSketch::default();
            parts.iter().rev().for_each(|part| merged.merge(part));
            prop_assert_eq!(&whole, &merged);
            assert_close(&values);
        }
    }
}
