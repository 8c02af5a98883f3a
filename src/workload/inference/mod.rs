//! One step of inference: prompts, decoding requests, or both pass through the model once.
//!
//! A layer is five stages: projections; attention and gate; dispatch beside the shared expert; experts and the way back of their
//! results; the sum. A schedule says in which order the compute stream of a GPU takes the stages of its micro-batches, so that one
//! computes while another's tokens travel. Transfers occupy the network, not the stream. This module must not know how long
//! anything takes.

mod batch;
mod contexts;
mod exchange;
pub(super) mod kernels;
mod least;
mod lowering;
mod placement;
mod spec;
mod traffic;

pub use batch::{Batch, Decoding, Prompts};
pub use contexts::Contexts;
pub use least::LeastStep;
pub use spec::{
    BalanceChoice, ContextSpec, CopyPer, DecodeSpec, ExpertsSpec, LaunchChoice, MtpSpec, PrefillSpec, ReachChoice,
    RunOn, ScheduleChoice, SharedOn, parts,
};
pub use traffic::{Exchange, ExpertTraffic, expert_traffic};

use super::Workload;
use super::collective::Group;
use super::moe::MoeExchange;
use super::op::{Op, OpGraph, Work};
use crate::id::{DeviceId, OpId};
use crate::invalid::Invalid;
use crate::model::{ModelSpec, PrecisionSpec};
use crate::parallelism::Plan;
use crate::units::{Bytes, Time};
use lowering::Lowering;

/// Everything that decides the operations of a step.
#[derive(Clone, Debug)]
pub struct InferenceStep {
    /// The model.
    pub model: ModelSpec,
    /// Number formats.
    pub precision: PrecisionSpec,
    /// The batch of each micro-batch, of one tensor-parallel group.
    pub batches: Vec<Batch>,
    /// Multi-token-prediction modules that draft, one after the other.
    pub drafted: u32,
    /// In which order a GPU takes the parts of layers.
    pub schedule: ScheduleChoice,
    /// How kernels are launched.
    pub launch: LaunchChoice,
    /// How it is spread over GPUs; those of a tensor-parallel group are neighbours in rank order.
    pub plan: Plan,
    /// The rank of the first of its GPUs among all of the deployment.
    pub first: usize,
    /// The GPUs of the expert-parallel group, in rank order. For a dense model, those of the tensor-parallel group.
    pub gpus: Vec<DeviceId>,
    /// The CPU that runs routed experts, where one does.
    pub cpu: Option<DeviceId>,
    /// The places in `gpus` of those that are simulated: all, or one that stands for all. What that one sends then
    /// stands for what it receives as well.
    pub simulated: Vec<usize>,
    /// For each simulated GPU, the places in `gpus` of all the others, in the order in which it sends to them.
    pub peers: Vec<Vec<usize>>,
    /// Expert traffic of each micro-batch.
    pub traffic: Vec<Option<ExpertTraffic>>,
    /// Whether experts work on tokens that are everywhere in their group, and an all-reduce adds up their results.
    pub experts_reduced: bool,
    /// Where a shared expert computes that every GPU holds.
    pub shared_on: SharedOn,
    /// For each micro-batch, the kernels that exchange tokens; without them, transfers cost the wire alone.
    pub exchanges: Vec<Option<MoeExchange>>,
    /// The tensor-parallel group of each simulated GPU, where the software of its collectives is known.
    pub tensor_groups: Vec<Option<Group>>,
}

impl InferenceStep {
    /// Whether one GPU stands for all.
    fn folded(&self) -> bool {
        self.simulated.len() < self.gpus.len()
    }
}

/// Lowers the steps of groups that run side by side to operations, once.
pub struct InferenceWorkload {
    steps: Vec<InferenceStep>,
    started: bool,
    /// What a GPU touches in the whole step.
    touched: Bytes,
}

impl InferenceWorkload {
    /// The workload of the steps of some groups.
    pub fn side_by_side(steps: Vec<InferenceStep>) -> InferenceWorkload {
        let known = |step: &InferenceStep| step.traffic.len() == step.batches.len();
        assert!(steps.iter().all(known), "traffic is known for every micro-batch");
        InferenceWorkload { steps, started: false, touched: Bytes::ZERO }
    }
}

/// What the kernels of `device` touch, of the operations from `first` on.
fn touched(graph: &OpGraph, first: usize, device: DeviceId) -> Bytes {
    let on_device = |op: &Op| op.stream.is_some_and(|stream| graph.streams()[stream.index()].device == device);
    let bytes = |op: &Op| match op.work {
        Work::Compute(kernel) if on_device(op) => kernel.bytes(),
        _ => Bytes::ZERO,
    };
    (first..graph.len()).map(|at| bytes(&graph.op(OpId::new(at)))).sum()
}

impl Workload for InferenceWorkload {
    fn next_arrival(&self) -> Option<Time> {
        None
    }

    fn advance(&mut self, _: Time, _: &[OpId], graph: &mut OpGraph) -> Result<(), Invalid> {
        if !std::mem::replace(&mut self.started, true) {
            for step in &self.steps {
                let before = graph.len();
                Lowering::new(step, graph).step();
                self.touched = self.touched.max(touched(graph, before, step.gpus[step.simulated[0]]));
            }
        }
        Ok(())
    }

    fn between_uses(&self) -> Option<Bytes> {
        Some(self.touched)
    }
}
