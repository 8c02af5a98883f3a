//! How much more than others the busiest GPU of an expert-parallel group has to do, where experts are not equally liked.
//!
//! A gate that is balanced over all of training is not so within a sequence, which is about something that some experts know
//! best. Sequences are about different things: over those of a micro-batch, loads lie apart by the spread within one divided by
//! the root of their number, and those of a GPU with several experts by less again. Loads are drawn as normal and independent
//! from layer to layer. This module must not know what a unit of load costs.

use crate::rng::RandomStream;
use crate::units::Fraction;

/// Draws of a chunk over which the busiest GPU is averaged.
const DRAWS: usize = 128;

/// How far loads of GPUs lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uneven {
    /// GPUs, or groups of GPUs that hold slices of the same experts.
    gpus: usize,
    /// Standard deviation of the load of one of them in one layer, over the mean.
    deviation: f64,
}

impl Uneven {
    /// `gpus` GPUs with `experts` each, over `sequences` sequences, within each of which loads of experts have the standard deviation
    /// `spread`, as a part of their mean.
    pub fn new(spread: Fraction, gpus: usize, experts: u64, sequences: u64) -> Uneven {
        Uneven { gpus, deviation: spread.get() / ((experts * sequences).max(1) as f64).sqrt() }
    }

    /// The same for groups of `gpus` GPUs, such as those of a node.
    pub fn together(&self, gpus: usize) -> Uneven {
        Uneven { gpus: self.gpus / gpus, deviation: self.deviation / (gpus as f64).sqrt() }
    }

    /// Loads of each GPU in each of `layers` layers, over the mean of all GPUs.
    pub fn draw(&self, layers: usize, rng: &mut RandomStream) -> Vec<Vec<f64>> {
        let mut loads = vec![Vec::with_capacity(layers); self.gpus];
        for _ in 0..layers {
            let drawn: Vec<f64> = loads.iter().map(|_| self.load(rng)).collect();
            let mean = drawn.iter().sum::<f64>() / self.gpus as f64;
            loads
                .iter_mut()
                .zip(drawn)
                .for_each(|(of_gpu, load)| of_gpu.push(if mean > 0.0 { load / mean } else { 1.0 }));
        }
        loads
    }

    fn load(&self, rng: &mut RandomStream) -> f64 {
        (1.0 + self.deviation * normal(rng)).max(0.0)
    }

    /// The load of the busiest GPU over layers that weigh `weights`, over the mean of all GPUs, on average of many draws.
    pub fn busiest(&self, weights: &[f64], rng: &mut RandomStream) -> f64 {
        let sum: f64 = weights.iter().sum();
        if self.gpus < 2 || self.deviation == 0.0 || sum == 0.0 {
            return 1.0;
        }
        let of_gpu = |rng: &mut RandomStream| weights.iter().map(|weight| weight * self.load(rng)).sum::<f64>() / sum;
        let most = |rng: &mut RandomStream| {
            let drawn: Vec<f64> = (0..self.gpus).map(|_| of_gpu(rng)).collect();
            let mean = drawn.iter().sum::<f64>() / self.gpus as f64;
            if mean > 0.0 { drawn.into_iter().fold(0.0, f64::max) / mean } else { 1.0 }
        };
        (0..DRAWS).map(|_| most(rng)).sum::<f64>() / DRAWS as f64
    }
}

/// Loads of the experts of one GPU, over the mean of all.
#[derive(Clone, Debug, PartialEq)]
pub struct Loads {
    /// Drawn ones, by pass (forward, backward) and by block of the pass.
    pub drawn: [Vec<f64>; 2],
    /// What holds elsewhere.
    pub otherwise: f64,
    /// That of the node that decides how long an exchange takes, where one GPU stands for all.
    pub of_node: f64,
}

impl Loads {
    /// The same load everywhere.
    pub const fn alike(load: f64) -> Loads {
        Loads { drawn: [Vec::new(), Vec::new()], otherwise: load, of_node: load }
    }

    /// The load in a block of a pass.
    pub(super) fn of(&self, pass: u32, block: u32) -> f64 {
        self.drawn[pass as usize].get(block as usize).copied().unwrap_or(self.otherwise)
    }
}

/// Loads of all GPUs of a group of `gpus`, `per_node` of them on each node, of which `of` are simulated at `places`: theirs, or, where one
/// stands for all, its own, those that make its node the busiest, and what is left for the others.
pub(super) fn of_group(of: &[Loads], places: &[usize], (gpus, per_node): (usize, usize), side: (u32, u32)) -> Vec<f64> {
    let (pass, block) = side;
    if of.len() == gpus {
        return of.iter().map(|loads| loads.of(pass, block)).collect();
    }
    let (loads, place) = (&of[0], places[0]);
    let (own, node) = (loads.of(pass, block), place / per_node);
    let share = |all: f64, among: usize| if among > 0 { (all / among as f64).max(0.0) } else { 0.0 };
    let beside = share(loads.of_node * per_node as f64 - own, per_node - 1);
    let elsewhere = share(gpus as f64 - loads.of_node * per_node as f64, gpus - per_node);
    let load = |gpu: usize| match gpu {
        _ if gpu == place => own,
        _ if gpu / per_node == node => beside,
        _ => elsewhere,
    };
    (0..gpus).map(load).collect()
}

/// A number of mean 0 and variance 1: the sum of twelve uniform ones, whose variance is a twelfth each.
fn normal(rng: &mut RandomStream) -> f64 {
    (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    fn busiest(uneven: Uneven, weights: &[f64]) -> f64 {
        uneven.busiest(weights, &mut Seed(1).stream("load"))
    }

    #[test]
    fn the_busiest_of_many_is_where_order_statistics_say() {
        // Mean and standard deviation of how far the largest of 64 normal numbers lies above their mean, and the larger of two:
        // half of their difference, 1/sqrt(pi) and sqrt(1/2 - 1/pi).
        for (gpus, mean, deviation) in [(64, 2.344, 0.434), (2, 0.564, 0.426)] {
            let uneven = Uneven::new(Fraction::new(0.8).unwrap(), gpus, 4, 64);
            let found = (busiest(uneven, &[1.0]) - 1.0) / 0.05;
            let error = deviation / (DRAWS as f64).sqrt();
            assert!((found - mean).abs() < 3.0 * error, "{gpus}: {found}");
        }
    }

    #[test]
    fn layers_even_each_other_out() {
        let uneven = Uneven::new(Fraction::ONE, 64, 4, 64);
        let (one, four) = (busiest(uneven, &[1.0]) - 1.0, busiest(uneven, &[1.0; 4]) - 1.0);
        assert!((one / four - 2.0).abs() < 0.1, "{one} and {four}");
    }

    #[test]
    fn what_one_gpu_has_more_of_another_has_less() {
        let loads = Uneven::new(Fraction::ONE, 8, 4, 64).draw(3, &mut Seed(1).stream("load"));
        for layer in 0..3 {
            let of_layer: Vec<f64> = loads.iter().map(|of_gpu| of_gpu[layer]).collect();
            assert!((of_layer.iter().sum::<f64>() - 8.0).abs() < 1e-9);
            assert!(of_layer.iter().any(|&load| load > 1.01) && of_layer.iter().any(|&load| load < 0.99));
        }
    }

    #[test]
    fn who_stands_for_all_leaves_the_rest_to_others() {
        let loads = Loads { of_node: 1.05, ..Loads::alike(1.2) };
        let all = of_group(&[loads], &[9], (64, 8), (0, 0));
        assert_eq!((all.len(), all[9]), (64, 1.2));
        assert!((all.iter().sum::<f64>() - 64.0).abs() < 1e-9);
        assert!((all[8..16].iter().sum::<f64>() - 8.0 * 1.05).abs() < 1e-9);
        let own = [Loads { drawn: [vec![0.9], vec![1.1]], ..Loads::alike(1.0) }, Loads::alike(1.3)];
        assert_eq!(of_group(&own, &[0, 1], (2, 2), (1, 0)), [1.1, 1.3]);
    }

    #[test]
    fn balanced_experts_make_no_gpu_busier() {
        assert_eq!(busiest(Uneven::new(Fraction::ZERO, 64, 4, 64), &[1.0, 2.0]), 1.0);
        assert_eq!(busiest(Uneven::new(Fraction::ONE, 64, 4, 64), &[]), 1.0);
        assert_eq!(busiest(Uneven::new(Fraction::ONE, 1, 256, 1), &[1.0]), 1.0);
    }
}
