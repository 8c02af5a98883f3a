//! Feed-forward networks: dense, shared experts, routed experts.

use super::{Kernel, Training, even, passes};
use crate::dtype::Dtype;
use crate::parallelism::RecomputeSpec;
use crate::workload::kernel::{Gemm, GroupedGemm, RowLayout, values};

/// A SwiGLU network on one GPU.
#[derive(Clone, Copy)]
struct Network {
    groups: u64,
    rows: u64,
    /// Width between its matrices.
    width: u64,
    weights: Dtype,
}

impl Training<'_> {
    fn dense(&self) -> Network {
        let width = self.shapes.model.dense_intermediate.map_or(0, |width| width.wide()) / self.shapes.tp;
        Network { groups: 1, rows: self.tokens(), width, weights: self.shapes.precision.weights }
    }

    fn shared(&self) -> Option<Network> {
        let moe = self.shapes.model.moe.as_ref().filter(|moe| moe.shared_experts > 0)?;
        let width = u64::from(moe.shared_experts) * moe.intermediate.wide();
        Some(Network { groups: 1, rows: self.own_tokens(), width, weights: self.shapes.precision.experts })
    }

    fn routed_experts(&self) -> Network {
        let width = self.shapes.model.moe.as_ref().map_or(0, |moe| moe.intermediate.wide());
        let (groups, rows) = (self.load.experts, self.load.rows);
        Network { groups, rows, width, weights: self.shapes.precision.experts }
    }

    /// A product of one matrix, or of as many as there are experts with about equally many rows each.
    fn product(&self, network: Network, n: u64, k: u64) -> Kernel {
        let Network { groups, rows, weights, .. } = network;
        let operands = self.shapes.precision.operands;
        if groups == 1 {
            return Kernel::Gemm(Gemm { groups, rows, n, k, operands, weights });
        }
        let each: Vec<u64> = (0..groups).map(|group| (rows + group) / groups).collect();
        Kernel::GroupedGemm(GroupedGemm { weights, ..GroupedGemm::new(RowLayout::Contiguous, &each, n, k, operands) })
    }

    /// Gate and up, SwiGLU with the cast of its product, down. The halves that SwiGLU multiplies are kept narrow.
    fn network_forward(&self, network: Network) -> Vec<Kernel> {
        let hidden = self.shapes.hidden();
        let halves = values(network.rows, 2 * network.width, Dtype::Bf16);
        let mut kernels = vec![
            self.product(network, 2 * network.width, hidden),
            Kernel::Elementwise { read: halves, written: self.operand(network.rows, network.width) },
            self.product(network, hidden, network.width),
        ];
        if self.keeps_narrow() {
            kernels.push(Kernel::Elementwise { read: halves, written: self.operand(network.rows, 2 * network.width) });
        }
        kernels
    }

    /// Down transposed; SwiGLU forward again and backward, from halves that are expanded first; gate and up transposed.
    fn network_input(&self, network: Network) -> Vec<Kernel> {
        let (hidden, Network { rows, width, .. }) = (self.shapes.hidden(), network);
        let halves = values(rows, 2 * width, Dtype::Bf16);
        let mut kernels = Vec::new();
        if self.keeps_narrow() {
            kernels.push(Kernel::Elementwise { read: self.operand(rows, 2 * width), written: halves });
        }
        if network.groups == 1 {
            kernels.extend(self.transposed((hidden, width)));
        }
        kernels.push(self.product(network, width, hidden));
        let product = values(rows, width, Dtype::Bf16);
        let again = if self.recompute == RecomputeSpec::Selective { product } else { crate::units::Bytes::ZERO };
        kernels.push(Kernel::Elementwise { read: halves + product, written: halves + again });
        kernels.extend(self.cast_transposed(rows, width));
        kernels.extend(self.cast(rows, 2 * width));
        if network.groups == 1 {
            kernels.extend(self.transposed((2 * width, hidden)));
        }
        kernels.push(self.product(network, hidden, 2 * width));
        kernels.extend(self.cast_transposed(rows, 2 * width));
        kernels
    }

    /// Gradients of both matrices, after the transposition of the output's gradient and of the input.
    fn network_weights(&self, network: Network) -> Vec<Kernel> {
        let (hidden, Network { rows, width, .. }) = (self.shapes.hidden(), network);
        let mut kernels = self.cast_transposed(rows, hidden);
        kernels.push(self.weight(network.groups, rows, (hidden, width)));
        kernels.extend(self.cast_transposed(rows, hidden));
        kernels.push(self.weight(network.groups, rows, (2 * width, hidden)));
        kernels
    }

    /// Norm and dense network.
    pub fn dense_forward(&self) -> Vec<Kernel> {
        let mut kernels = vec![self.norm(self.own_tokens(), self.shapes.hidden())];
        kernels.extend(self.cast(self.tokens(), self.shapes.hidden()));
        kernels.extend(self.network_forward(self.dense()));
        kernels
    }

    /// Its gradient by the input.
    pub fn dense_input(&self) -> Vec<Kernel> {
        let mut kernels = self.cast(self.tokens(), self.shapes.hidden());
        kernels.extend(self.network_input(self.dense()));
        kernels
    }

    /// Its gradient by the weights.
    pub fn dense_weights(&self) -> Vec<Kernel> {
        self.network_weights(self.dense())
    }

    /// Experts that every token visits, which need not wait for a dispatch.
    pub fn shared_forward(&self) -> Vec<Kernel> {
        self.shared().map_or(Vec::new(), |network| self.network_forward(network))
    }

    /// Their gradient by the input.
    pub fn shared_input(&self) -> Vec<Kernel> {
        self.shared().map_or(Vec::new(), |network| self.network_input(network))
    }

    /// Received tokens, counted and copied for each expert that they visit; the experts, whose weights are transposed for
    /// the backward pass; the sum of each token's outputs.
    pub fn routed_forward(&self) -> Vec<Kernel> {
        let network = self.routed_experts();
        let mut kernels = passes::places(network.groups, self.visits() * self.load.received).to_vec();
        kernels.push(self.copy_for_experts(network.rows));
        for matrix in [(2 * network.width, self.shapes.hidden()), (self.shapes.hidden(), network.width)] {
            kernels.extend(self.transposed((network.groups * matrix.0, matrix.1)));
        }
        kernels.extend(self.network_forward(network));
        kernels.push(self.shapes.sum_of_experts(network.rows, self.load.received));
        kernels
    }

    /// The same backward: gradients are copied for the experts, and those of the inputs summed up.
    pub fn routed_input(&self) -> Vec<Kernel> {
        let network = self.routed_experts();
        let mut kernels = vec![self.copy_for_experts(network.rows)];
        kernels.extend(self.network_input(network));
        kernels.push(even(values(network.rows, network.width, Dtype::Bf16)));
        kernels.push(self.shapes.sum_of_experts(network.rows, self.load.received));
        if self.recompute == RecomputeSpec::Selective {
            kernels.push(self.norm(self.own_tokens(), self.shapes.hidden()));
            kernels.extend(self.cast(self.own_tokens(), self.shapes.hidden()));
        }
        kernels
    }

    /// Gradients of the weights of shared and routed experts.
    pub fn expert_weights(&self) -> Vec<Kernel> {
        let mut kernels = self.shared().map_or(Vec::new(), |network| self.network_weights(network));
        kernels.extend(self.network_weights(self.routed_experts()));
        kernels
    }

    fn visits(&self) -> u64 {
        self.shapes.model.moe.as_ref().map_or(0, |moe| moe.experts_per_token.wide())
    }

    fn copy_for_experts(&self, rows: u64) -> Kernel {
        let hidden = self.shapes.hidden();
        Kernel::Elementwise { read: self.operand(self.load.received, hidden), written: self.operand(rows, hidden) }
    }
}
