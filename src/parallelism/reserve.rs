//! Memory of a GPU that no plan may count on: what the runtime, communication libraries and the allocator take beside weights, caches and
//! activations. This module must not know any GPU.

use crate::units::{Bytes, Fraction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What of a GPU's memory a plan may use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryBudgetSpec {
    /// Part of a GPU's memory that weights, caches, activations and the reserve may take together, as vLLM means it; what is beyond stays
    /// free.
    pub gpu_memory_utilization: Fraction,
    /// What is kept for others than the model.
    pub reserve: ReserveSpec,
}

impl Default for MemoryBudgetSpec {
    fn default() -> MemoryBudgetSpec {
        MemoryBudgetSpec { gpu_memory_utilization: Fraction::ONE, reserve: ReserveSpec::default() }
    }
}

/// Memory that is kept for others than the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReserveSpec {
    /// What a process holds before it computes: the CUDA context, kernels of its libraries, their workspaces. Assumed: 1 GB, what
    /// `nvidia-smi` shows of an idle PyTorch process on a GPU of this size, with the workspace of cuBLAS (32 MiB per handle and stream on Hopper).
    pub context: Bytes,
    /// Recorded CUDA graphs, where kernels are launched from them. Assumed: 1 GB; engines report hundreds of MiB to several GiB (vLLM: "Graph
    /// capturing finished ..., took ... GiB").
    pub graphs: Bytes,
    /// Buffers of collectives and of exchanges with experts; without it, those that NCCL and DeepEP allocate by default for this plan.
    pub communication: Option<Bytes>,
    /// Part of activations by which what the allocator holds is larger than what is in use. Assumed: 0.1; GMLake (arXiv 2401.08156) reports
    /// 15 % on average in training with PyTorch's allocator, segments that grow leave less.
    pub fragmentation: Fraction,
}

impl Default for ReserveSpec {
    fn default() -> ReserveSpec {
        ReserveSpec {
            context: Bytes::new(1_000_000_000),
            graphs: Bytes::new(1_000_000_000),
            communication: None,
            fragmentation: Fraction::new(0.1).expect("a part"),
        }
    }
}

/// The reserve of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reserve {
    /// Whatever the model does.
    pub fixed: Bytes,
    /// Part of activations that comes on top.
    pub fragmentation: Fraction,
}

impl Reserve {
    /// Nothing is kept.
    pub const NONE: Reserve = Reserve { fixed: Bytes::ZERO, fragmentation: Fraction::ZERO };

    /// The reserve beside `activations`.
    pub fn beside(&self, activations: Bytes) -> Bytes {
        self.fixed + Bytes::new((activations.get() as f64 * self.fragmentation.get()).ceil() as u64)
    }
}

impl ReserveSpec {
    /// The reserve of a plan whose communication allocates `buffers`, with or without recorded graphs.
    pub fn of(&self, buffers: Bytes, graphs: bool) -> Reserve {
        let graphs = if graphs { self.graphs } else { Bytes::ZERO };
        Reserve {
            fixed: self.context + graphs + self.communication.unwrap_or(buffers),
            fragmentation: self.fragmentation,
        }
    }
}

/// Buffers of one NCCL communicator: for each channel, from the neighbour before and to the one after, those of the three protocols (`NCCL_BUFFSIZE`
/// of the NCCL documentation; `NCCL_LL_*` and `NCCL_LL128_*` in `src/include/device.h`: lines of 16 bytes, elements of 8).
pub fn communicator_buffers() -> Bytes {
    const CHANNELS: u64 = 24;
    const STEPS: u64 = 8;
    const SIMPLE: u64 = 4 << 20;
    const LL: u64 = STEPS * 8 * 512 * 16;
    const LL128: u64 = STEPS * 120 * 640 * 8;
    Bytes::new(CHANNELS * 2 * (SIMPLE + LL + LL128))
}

/// Buffers of DeepEP's low-latency kernels for `experts` experts of the group, `tokens` tokens of a GPU at the most and rows of `hidden` values: of
/// dispatch and combine the larger, sending and receiving, twice so that one may begin before the other has ended (`LowLatencyLayout` in
/// `csrc/config.hpp` of github.com/deepseek-ai/DeepEP). Messages are in BF16 whatever travels.
pub fn low_latency_buffers(experts: u64, tokens: u64, hidden: u64) -> Bytes {
    let (results, copies) = (2 * hidden, 16 + 2 * hidden);
    let sent = (tokens * copies).max(experts * tokens * results);
    let received = experts * tokens * copies;
    Bytes::new(2 * (sent + received))
}

/// Buffers of kernels inside one scale-up domain of `gpus` GPUs, which write a token to a place of its own at each GPU that it visits: a place for every
/// token of every GPU, on its way there and back (workspaces of TensorRT-LLM's all-to-all over NVLink).
pub fn domain_buffers(gpus: u64, tokens: u64, hidden: u64) -> Bytes {
    Bytes::new(2 * gpus * tokens * 2 * hidden)
}

/// Buffers of DeepEP's normal kernels on `sms` SMs over `nodes` nodes of `per_node` GPUs: queues of each channel, of which two SMs make one, for every GPU of
/// the node and, sending and receiving, for every node (`get_nvl_buffer_size_hint` and `get_rdma_buffer_size_hint` in `csrc/config.hpp`, with the
/// lengths that `deep_ep/buffer.py` of github.com/deepseek-ai/DeepEP proposes).
pub fn normal_buffers(sms: u64, nodes: u64, per_node: u64, hidden: u64) -> Bytes {
    const NEAR_TOKENS: u64 = 288;
    const FAR_TOKENS: u64 = 128;
    let (channels, row) = (sms.div_ceil(2), 2 * hidden);
    let far = if nodes > 1 { 2 * nodes * FAR_TOKENS } else { 0 };
    Bytes::new(channels * (per_node * NEAR_TOKENS + far) * row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_those_of_the_libraries() {
        // 256 experts x 128 tokens x 14 KiB, sent and received, twice.
        let found = low_latency_buffers(256, 128, 7168).get() as f64;
        assert!((found / (4.0 * 256.0 * 128.0 * 14_336.0) - 1.0).abs() < 0.01, "{found}");
        assert_eq!(communicator_buffers(), Bytes::new(24 * 2 * ((4 << 20) + (512 << 10) + 4_915_200)));
        assert_eq!(domain_buffers(8, 100, 7168), Bytes::new(2 * 800 * 14_336));
        // Ten channels, queues for eight GPUs of the node and for four nodes.
        assert_eq!(normal_buffers(20, 4, 8, 7168), Bytes::new(10 * (8 * 288 + 2 * 4 * 128) * 14_336));
        assert!(normal_buffers(20, 1, 8, 7168) < normal_buffers(20, 2, 8, 7168));
    }

    #[test]
    fn a_reserve_grows_with_activations_and_what_is_given_replaces_what_is_worked_out() {
        let spec = ReserveSpec::default();
        let reserve = spec.of(Bytes::new(500), true);
        assert_eq!(reserve.beside(Bytes::ZERO), Bytes::new(2_000_000_500));
        assert_eq!(reserve.beside(Bytes::new(1_000_000)), Bytes::new(2_000_100_500));
        assert_eq!(spec.of(Bytes::new(500), false).fixed, Bytes::new(1_000_000_500));
        let given = ReserveSpec { communication: Some(Bytes::ZERO), ..spec };
        assert_eq!(given.of(Bytes::new(500), false).fixed, Bytes::new(1_000_000_000));
    }
}
