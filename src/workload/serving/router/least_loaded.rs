//! The worker with the fewest requests, of equals the one with the fewest positions of prompts to compute, then the first.

use super::{Router, WorkerLoad};
use crate::workload::serving::sequence::Sequence;

/// Routes to whoever has least to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastLoaded;

impl Router for LeastLoaded {
    fn route(&mut self, _: &Sequence, workers: &mut dyn ExactSizeIterator<Item = WorkerLoad>) -> usize {
        let least = workers.enumerate().min_by_key(|(_, load)| (load.requests, load.queued));
        least.map_or(0, |(place, _)| place)
    }
}
