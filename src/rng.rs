//! Named random streams drawn from one seed.
//!
//! A stream depends on the seed and on its own name only, so that a new consumer never shifts the numbers of another.
//! This is the only module that knows the generator.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// The scenario's seed, from which every stream is derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

/// A portable, reproducible sequence of random numbers.
pub struct RandomStream(ChaCha8Rng);

impl Seed {
    /// The stream called `name`.
    pub fn stream(self, name: &str) -> RandomStream {
        let mut rng = ChaCha8Rng::seed_from_u64(self.0);
        rng.set_stream(fnv1a(name));
        RandomStream(rng)
    }
}

impl RandomStream {
    /// A number drawn uniformly from `0..bound`; `bound` is at least 1.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "nothing to draw from");
        // Lemire's multiply-and-reject: exact, and without the modulo bias.
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.0.next_u32()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number drawn uniformly from `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An exponentially distributed number with mean 1, by comparisons alone (von Neumann, "Various techniques used in connection
    /// with random digits", 1951): a uniform number is taken where the falling run that it starts has odd length.
    pub fn exponential(&mut self) -> f64 {
        let mut whole = 0.0;
        loop {
            let first = self.unit();
            let (mut last, mut length) = (first, 1);
            loop {
                let next = self.unit();
                if next >= last {
                    break;
                }
                (last, length) = (next, length + 1);
            }
            if length % 2 == 1 {
                return whole + first;
            }
            whole += 1.0;
        }
    }
}

/// FNV-1a, 64 bit: a stable name-to-stream mapping that no library may change under us.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: u64, name: &str) -> Vec<u32> {
        let mut stream = Seed(seed).stream(name);
        (0..8).map(|_| stream.below(1000)).collect()
    }

    #[test]
    fn a_stream_depends_on_seed_and_name_only() {
        assert_eq!(draws(1, "gate"), draws(1, "gate"));
        assert_ne!(draws(1, "gate"), draws(2, "gate"));
        assert_ne!(draws(1, "gate"), draws(1, "arrivals"));
    }

    #[test]
    fn draws_cover_the_range_evenly() {
        let mut stream = Seed(1).stream("even");
        let mut seen = [0_u32; 7];
        (0..70_000).for_each(|_| seen[stream.below(7) as usize] += 1);
        assert!(seen.iter().all(|&n| (9_500..10_500).contains(&n)), "{seen:?}");
    }
}
