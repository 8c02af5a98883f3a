//! Samples of gates that are drawn once and looked at by many steps: those of a table of steps, or of the points of a sweep.
//!
//! What is drawn depends on seed, name and gate alone, so that the answer is the same whoever asked before.

use super::{Gate, GateChoice, GateSample, GateShape};
use crate::rng::{RandomStream, Seed};
use std::sync::{Arc, Mutex};

/// All samples that were asked for so far. A memo of a pure function, so that threads cannot disturb each other.
#[derive(Default)]
pub struct GateDraws(Mutex<Vec<Draw>>);

/// The tokens that passed a gate so far.
struct Draw {
    seed: Seed,
    name: String,
    shape: GateShape,
    choice: GateChoice,
    gate: Gate,
    rng: RandomStream,
    sample: Arc<GateSample>,
}

impl GateDraws {
    /// A sample that begins with the `tokens` first tokens called `name`; it may go on with others. All samples with one seed are of
    /// the same gate: where chance decides what it prefers, it decides it once.
    pub fn sample(
        &self,
        (seed, name): (Seed, &str),
        shape: GateShape,
        choice: &GateChoice,
        tokens: usize,
    ) -> Arc<GateSample> {
        let mut draws = self.0.lock().expect("no holder panics");
        let is_asked =
            |draw: &Draw| draw.seed == seed && draw.name == name && draw.shape == shape && draw.choice == *choice;
        let at = draws.iter().position(is_asked).unwrap_or_else(|| {
            draws.push(Draw::new((seed, name), shape, choice));
            draws.len() - 1
        });
        draws[at].reach(tokens)
    }
}

impl Draw {
    fn new((seed, name): (Seed, &str), shape: GateShape, choice: &GateChoice) -> Draw {
        Draw {
            seed,
            name: name.to_owned(),
            shape,
            choice: choice.clone(),
            gate: Gate::new(shape, choice, &mut seed.stream("gate")),
            rng: seed.stream(&format!("gate {name}")),
            sample: Arc::new(GateSample { per_token: shape.per_token, experts: Vec::new() }),
        }
    }

    fn reach(&mut self, tokens: usize) -> Arc<GateSample> {
        let missing = tokens.saturating_sub(self.sample.len());
        if missing > 0 {
            self.gate.pass(missing, &mut self.rng, Arc::make_mut(&mut self.sample));
        }
        Arc::clone(&self.sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_before_changes_nothing() {
        let shape = GateShape { experts: 64, per_token: 4, groups: 8, groups_per_token: 4 };
        for choice in [GateChoice::Uniform, GateChoice::Balanced, GateChoice::Zipf { offset: crate::units::Count::ONE }]
        {
            let first = |draws: &GateDraws, tokens: usize| -> Vec<Vec<u32>> {
                let sample = draws.sample((Seed(1), "now"), shape, &choice, tokens);
                sample.tokens().take(tokens).map(<[u32]>::to_vec).collect()
            };
            let (once, twice) = (GateDraws::default(), GateDraws::default());
            let few = first(&twice, 10);
            let (whole, later) = (first(&once, 100), first(&twice, 100));
            assert_eq!(whole, later);
            assert_eq!((few.as_slice(), first(&twice, 10).as_slice()), (&whole[..10], &whole[..10]));
        }
    }
}
