//! The kernels that no GPU of a deployment is spared in a step, whatever the gate picks. It draws no samples and knows no peers.

use super::kernels::Shapes;
use super::{Batch, ExpertsSpec, ReachChoice, RunOn, SharedOn};
use crate::model::{ModelSpec, PrecisionSpec};
use crate::parallelism::Plan;
use crate::workload::Kernel;
use crate::workload::kernel::RowLayout;

/// A step of a deployment, without its traffic.
#[derive(Clone, Copy, Debug)]
pub struct LeastStep<'a> {
    /// The model.
    pub model: &'a ModelSpec,
    /// Its formats.
    pub precision: &'a PrecisionSpec,
    /// How it is spread.
    pub plan: &'a Plan,
    /// The batch of each micro-batch, of one tensor-parallel group.
    pub batches: &'a [Batch],
    /// Modules that draft.
    pub drafted: u32,
    /// How experts are reached and run.
    pub experts: &'a ExpertsSpec,
}

impl LeastStep<'_> {
    /// Kernels that the busiest GPU runs one after the other, each with how often; all of them run on one stream.
    pub fn kernels(&self) -> Vec<(Kernel, u64)> {
        let layers = self.model.layers.wide();
        let dense = self.model.moe.as_ref().map_or(layers, |moe| u64::from(moe.first_dense_layers).min(layers));
        let mut all = Vec::new();
        for batch in self.batches {
            self.layers(*batch, dense, layers - dense, &mut all);
            if self.drafted > 0 {
                let (batch, times) = (batch.drafting(), u64::from(self.drafted));
                all.push((self.shapes().mtp_projection(batch.tokens()), times));
                let sparse = if self.model.moe.is_some() { times } else { 0 };
                self.layers(batch, times - sparse, sparse, &mut all);
            }
        }
        all
    }

    fn shapes(&self) -> Shapes<'_> {
        Shapes { model: self.model, precision: self.precision, tp: u64::from(self.plan.tp()) }
    }

    /// So many layers of either kind. The head counts once, since modules that draft repeat it no less often.
    fn layers(&self, batch: Batch, dense: u64, sparse: u64, all: &mut Vec<(Kernel, u64)>) {
        let shapes = self.shapes();
        let mut times = |kernels: Vec<Kernel>, times: u64| {
            if times > 0 {
                all.extend(kernels.into_iter().map(|kernel| (kernel, times)));
            }
        };
        let attention = shapes.attention(batch);
        times(attention.before, dense + sparse);
        times(attention.core, dense + sparse);
        times(shapes.head(batch.sampled()), 1);
        if let Some(width) = self.model.dense_intermediate {
            times(shapes.dense_ffn(batch.tokens(), width.wide()), dense);
        }
        let Some(moe) = &self.model.moe else { return };
        let tokens = batch.tokens().div_ceil(shapes.tp);
        times(shapes.gate(tokens, moe), sparse);
        if self.experts.reach == ReachChoice::AllReduce {
            return;
        }
        // On a stream of its own it may hide behind the others.
        let in_turn = self.experts.shared_on == SharedOn::Compute;
        if moe.shared_experts > 0 && self.plan.shared_everywhere() && in_turn {
            let width = u64::from(moe.shared_experts) * moe.intermediate.wide();
            times(shapes.shared_experts(tokens, width), sparse);
        }
        if self.experts.run_on == RunOn::Gpu {
            // All GPUs together see every visit of every token, so that the busiest one sees the mean at least. A token visits an
            // expert once, so that no expert has more rows than there are tokens.
            let rows = batch.tokens() * moe.experts_per_token.wide() / shapes.tp;
            let experts = moe.experts_per_token.wide().div_ceil(u64::from(self.plan.ep()));
            let layout = if batch.prompts.requests > 0 { RowLayout::Contiguous } else { RowLayout::Masked };
            times(shapes.experts(layout, &super::parts(rows, experts), moe.intermediate.wide()), sparse);
        }
    }
}
