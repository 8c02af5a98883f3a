//! What the groups of a deployment send at the same time.

use super::{Deployment, StepShape};
use crate::experiment::representative::{Phase, Together, UNEVEN_GATE, expert_phases};
use crate::workload::{ExchangeKernels, ReachChoice};

/// Kernels of a layer on a GPU, software of communication included.
const KERNELS_PER_LAYER: u64 = 24;

impl Deployment<'_> {
    /// GPUs of a group that runs by itself: an expert-parallel group of whole tensor-parallel ones, or the other way round.
    pub(super) fn group_size(&self) -> usize {
        self.plan.ep().max(self.plan.tp()) as usize
    }

    /// The groups of the deployment, and what their ranks send to each other in a step.
    pub(super) fn together(&self, shape: &StepShape<'_>) -> Together {
        let (size, all) = (self.group_size(), self.cluster.gpus.len());
        let layers = u64::from(self.model.layers.get() + shape.drafted);
        let micro_batches = shape.batches.len() as u64;
        let exchanged = self.exchanges(shape);
        let mut phases = Vec::new();
        if exchanged {
            let kernels = shape.experts.kernels.unwrap_or(ExchangeKernels::LowLatency);
            let (ep, per_node) = (self.plan.ep() as usize, self.cluster.gpus_per_node as usize);
            phases.extend(expert_phases(kernels, size, ep, per_node, 2 * layers * micro_batches));
        }
        phases.extend(self.tensor_phases(layers * micro_batches));
        // One rank writes down the collectives of its whole group, whose other ranks would exchange tokens over the same scale-up ports
        // meanwhile.
        let by_rail = shape.experts.kernels == Some(ExchangeKernels::Normal);
        let beside = exchanged && by_rail && micro_batches > 1 && phases.iter().any(|phase| phase.unit > 1);
        let uneven = match exchanged && !shape.experts.gate.is_even() {
            true => Some(UNEVEN_GATE),
            false => beside.then_some("collectives of tensor-parallel groups run beside the exchange of tokens"),
        };
        Together {
            groups: (0..all / size).map(|group| (group * size..(group + 1) * size).collect()).collect(),
            phases,
            uneven,
            kernels: KERNELS_PER_LAYER * layers * micro_batches,
        }
    }

    /// Whether tokens travel to experts of other GPUs.
    pub(super) fn exchanges(&self, shape: &StepShape<'_>) -> bool {
        self.model.moe.is_some() && self.plan.ep() > 1 && shape.experts.reach != ReachChoice::AllReduce
    }

    /// Partial sums between the GPUs of a tensor-parallel group: to the next one in a ring, and to all in other algorithms.
    fn tensor_phases(&self, times: u64) -> Vec<Phase> {
        let (tp, size) = (self.plan.tp() as usize, self.group_size());
        if tp == 1 {
            return Vec::new();
        }
        // With the software of collectives, those of a whole group are written down at once.
        let unit = if self.scenario.hardware.communication.is_some() { tp } else { 1 };
        let ring = Phase::of(size, 1, 4 * (tp as u64 - 1) * times, |rank, _| rank - rank % tp + (rank + 1) % tp);
        let all = Phase::of(size, tp - 1, 0, |rank, turn| rank - rank % tp + (rank + turn + 1) % tp);
        let mut phases = vec![Phase { unit, ..ring }];
        if unit > 1 {
            phases.push(Phase { unit, ..all });
        }
        phases
    }
}
