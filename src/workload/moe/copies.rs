//! How many copies of a token go where, counted on a sample of the gate.

use super::spec::{ExchangeKernels, MoeExchangeSpec};
use crate::rng::RandomStream;
use crate::units::Bytes;
use crate::workload::gate::{GateShape, sample_choice};

/// Tokens of a sample: enough for means within a fraction of a percent.
const SAMPLE: usize = 1 << 13;

/// Copies per token by destination; all sources are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Copies {
    /// For each GPU: tokens that visit any of its experts.
    pub to_gpu: Vec<f64>,
    /// For each GPU: visits of its experts.
    pub to_experts: Vec<f64>,
    /// For each node: tokens that visit any of its GPUs.
    pub to_node: Vec<f64>,
}

impl Copies {
    /// Counts the copies among `gpus` GPUs, of which `per_node` form a node.
    pub fn sample(spec: &MoeExchangeSpec, gpus: usize, per_node: usize, rng: &mut RandomStream) -> Copies {
        let shape = GateShape {
            experts: spec.experts.index(),
            per_token: spec.experts_per_token.index(),
            groups: spec.groups.index(),
            groups_per_token: spec.groups_per_token.index(),
        };
        let sample = sample_choice(shape, &spec.gate, SAMPLE, rng);
        let nodes = gpus.div_ceil(per_node);
        let (mut to_gpu, mut to_experts, mut to_node) = (vec![0_u64; gpus], vec![0_u64; gpus], vec![0_u64; nodes]);
        let mut visited: Vec<usize> = Vec::new();
        for token in sample.tokens() {
            visited.clear();
            visited.extend(token.iter().map(|&expert| expert as usize * gpus / shape.experts));
            visited.iter().for_each(|&gpu| to_experts[gpu] += 1);
            visited.sort_unstable();
            visited.dedup();
            visited.iter().for_each(|&gpu| to_gpu[gpu] += 1);
            visited.iter_mut().for_each(|gpu| *gpu /= per_node);
            visited.dedup();
            visited.iter().for_each(|&node| to_node[node] += 1);
        }
        let mean = |counts: Vec<u64>| per_token(&counts, spec.gate.is_even());
        Copies { to_gpu: mean(to_gpu), to_experts: mean(to_experts), to_node: mean(to_node) }
    }

    /// The same where the experts of each GPU have `loads` times as many visits, among GPUs of which `per_node` form a node. Tokens visit a
    /// node as often as its GPUs on average.
    pub(in crate::workload) fn weighted(&self, loads: &[f64], per_node: usize) -> Copies {
        let weigh = |copies: &[f64]| copies.iter().zip(loads).map(|(copies, load)| copies * load).collect();
        let of_node = |gpus: &[f64]| gpus.iter().sum::<f64>() / gpus.len() as f64;
        let nodes = self.to_node.iter().zip(loads.chunks(per_node)).map(|(copies, gpus)| copies * of_node(gpus));
        Copies { to_gpu: weigh(&self.to_gpu), to_experts: weigh(&self.to_experts), to_node: nodes.collect() }
    }

    /// Experts that a token visits, on average.
    pub fn visits_per_token(&self) -> f64 {
        self.to_experts.iter().sum()
    }

    /// GPUs that a token visits, on average.
    pub fn gpus_per_token(&self) -> f64 {
        self.to_gpu.iter().sum()
    }

    /// Nodes that a token visits, on average.
    pub fn nodes_per_token(&self) -> f64 {
        self.to_node.iter().sum()
    }
}

impl ExchangeKernels {
    /// Copies per token that the library's own test counts when it prints a bandwidth, those that stay at home included: one per expert
    /// for low-latency kernels, one per node that a token visits for normal ones, in a single node one per GPU.
    pub fn copies_counted(self, copies: &Copies, nodes: u32) -> f64 {
        match self {
            ExchangeKernels::LowLatency => copies.visits_per_token(),
            ExchangeKernels::Normal if nodes > 1 => copies.nodes_per_token(),
            ExchangeKernels::Normal | ExchangeKernels::OneSided | ExchangeKernels::TwoSided => copies.gpus_per_token(),
        }
    }
}

/// Counts per token. Destinations that are alike share what chance made of them.
fn per_token(counts: &[u64], alike: bool) -> Vec<f64> {
    let all: u64 = counts.iter().sum();
    let mean = all as f64 / counts.len() as f64;
    counts.iter().map(|&count| if alike { mean } else { count as f64 } / SAMPLE as f64).collect()
}

/// What `tokens` tokens occupy with `copies` copies each on average, a mean over what chance does: rounded up to whole bytes only, so that
/// all destinations together get what is sent.
pub(super) fn amount(copies: f64, tokens: u64, row: Bytes) -> Bytes {
    Bytes::new((copies * tokens as f64 * row.get() as f64).ceil() as u64)
}
