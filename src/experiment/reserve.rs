//! What a deployment keeps of its GPUs' memory for communication, graphs and the runtime.

use super::deployment::{Deployment, StepShape};
use crate::parallelism::{Plan, Reserve, communicator_buffers, domain_buffers, low_latency_buffers, normal_buffers};
use crate::scenario::Scenario;
use crate::units::Bytes;
use crate::workload::{Batch, ExchangeKernels, ExpertsSpec, LaunchChoice, ReachChoice, TrainingSpec};

/// What of a GPU's memory may be used at all.
pub(super) fn budget(scenario: &Scenario) -> Bytes {
    let capacity = scenario.hardware.gpu.memory.capacity;
    let part = scenario.memory.gpu_memory_utilization.get();
    if part >= 1.0 { capacity } else { Bytes::new((capacity.get() as f64 * part) as u64) }
}

/// Tokens of a GPU that a micro-batch exchanges, at the most.
#[derive(Clone, Copy)]
pub(super) struct Exchanged {
    /// Of decoding requests, or of prompts where there are no others.
    pub(super) tokens: u64,
    /// Of prompts beside decoding requests.
    pub(super) prompts: u64,
}

/// The reserve of a deployment that takes steps of this shape.
pub(super) fn of_step(deployment: &Deployment<'_>, shape: &StepShape<'_>) -> Reserve {
    let tokens = shape.batches.iter().map(Batch::tokens).max().unwrap_or(0);
    let exchanged = Exchanged { tokens: tokens.div_ceil(u64::from(deployment.plan.tp())), prompts: 0 };
    of_inference(deployment, (shape.experts, shape.launch), exchanged)
}

/// The reserve of a deployment whose GPUs exchange so many tokens.
pub(super) fn of_inference(
    deployment: &Deployment<'_>,
    (experts, launch): (&ExpertsSpec, LaunchChoice),
    exchanged: Exchanged,
) -> Reserve {
    let communicators = u64::from(deployment.plan.tp() > 1);
    let buffers = communicator_buffers() * communicators + exchange(deployment, experts, exchanged);
    deployment.scenario.memory.reserve.of(buffers, launch == LaunchChoice::Graph)
}

/// Buffers of the exchange with experts.
fn exchange(deployment: &Deployment<'_>, experts: &ExpertsSpec, exchanged: Exchanged) -> Bytes {
    let plan = &deployment.plan;
    let exchanges = plan.ep() > 1 && experts.reach == ReachChoice::Exchange;
    let Some(moe) = deployment.model.moe.as_ref().filter(|_| exchanges) else { return Bytes::ZERO };
    let (hidden, per_node) = (deployment.model.hidden.wide(), deployment.cluster.gpus_per_node);
    let (nodes, near) = (plan.ep().div_ceil(per_node), per_node.min(plan.ep()));
    let normal = || normal_buffers(u64::from(experts.sms), u64::from(nodes), u64::from(near), hidden);
    match experts.kernels {
        // Transfers that cost the wire alone have no library.
        None => Bytes::ZERO,
        Some(ExchangeKernels::Normal) => normal(),
        // Prompts beside decoding requests take the normal kernels of the same library.
        Some(ExchangeKernels::LowLatency) => {
            let all = moe.routed_experts.wide() + u64::from(plan.redundant_experts());
            let beside = if exchanged.prompts > 0 { normal() } else { Bytes::ZERO };
            low_latency_buffers(all, exchanged.tokens, hidden) + beside
        }
        Some(ExchangeKernels::OneSided | ExchangeKernels::TwoSided) => {
            domain_buffers(u64::from(plan.ep()), exchanged.tokens + exchanged.prompts, hidden)
        }
    }
}

/// The reserve of GPUs that train: a communicator for each kind of group, and the buffers of normal kernels.
pub(super) fn of_training(scenario: &Scenario, spec: &TrainingSpec, plan: &Plan, per_node: u32) -> Reserve {
    let groups = [plan.tp(), plan.cp(), plan.pp(), plan.dp(), plan.ep()];
    let communicators = groups.iter().filter(|&&size| size > 1).count() as u64;
    let mut buffers = communicator_buffers() * communicators;
    if let Some(model) = scenario.model.as_ref().filter(|_| plan.ep() > 1) {
        let (nodes, near) = (plan.ep().div_ceil(per_node), per_node.min(plan.ep()));
        let sms = u64::from(spec.communication_sms).max(2);
        buffers += normal_buffers(sms, u64::from(nodes), u64::from(near), model.hidden.wide());
    }
    scenario.memory.reserve.of(buffers, false)
}
