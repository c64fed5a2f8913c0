//! Randomness that means the same on every machine: ChaCha8 with streams, and `libm` for what is not arithmetic.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How numbers are drawn. Recorded with everything that came of a seed; another way of drawing gets another number.
pub const GENERATOR_VERSION: u16 = 1;
/// The generator's name, for records.
pub const GENERATOR_NAME: &str = "ChaCha8";

/// Random numbers from a seed. The key is the seed's eight bytes, lowest first, then zeros.
pub(super) struct Random(ChaCha8Rng);

impl Random {
    /// The numbers of one of 2⁶⁴ streams of a seed; streams have nothing to do with one another.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(stream);
        Random(generator)
    }

    /// Uniform in [0, 1), in steps of 2⁻⁵³.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// True with that probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// The waiting time of a Poisson process with that rate; infinite at rate 0.
    pub(super) fn exponential(&mut self, rate: f64) -> f64 {
        // 1 − u lies in (0, 1], whose logarithm is finite.
        -libm::log(1.0 - self.uniform()) / rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The very numbers, as an implementation of ChaCha8 in another language gives them: they must not change, or recorded seeds
    /// would mean something else.
    #[test]
    fn a_seed_means_the_same_for_ever() {
        let numbers = |seed, stream, count| -> Vec<u64> {
            let mut random = Random::new(seed, stream);
            (0..count).map(|_| (random.uniform() * (1u64 << 53) as f64) as u64).collect()
        };
        assert_eq!(numbers(42, 0, 3), [3_136_797_389_566_453, 2_573_343_958_160_318, 4_444_804_812_152_722]);
        assert_eq!(numbers(42, 1, 1), [6_997_367_383_197_907]);
        assert_eq!(Random::new(7, 3).exponential(0.5).to_bits(), 0x4001_6627_bf2d_3e60);
        assert_eq!(Random::new(7, 3).exponential(0.0), f64::INFINITY);
    }
}
