//! What a compute operation does to numbers and to memory, independent of what runs it.
//!
//! Work counts a multiply-add as two operations. Traffic is the least that must cross the memory interface: every operand
//! once, every result once. This module must not know any processor and computes no durations.

use crate::dtype::Dtype;
use crate::units::{Bytes, Flops};
use std::fmt;

/// One kernel and its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kernel {
    /// `groups` independent products of `[m, k]` activations with `[k, n]` weights; a dense layer is one group.
    Gemm(Gemm),
    /// One new query block per request against that request's cached keys and values.
    DecodeAttention(DecodeAttention),
    /// Whole sequences attend to themselves, each position to those before it; or the gradient of that.
    CausalAttention(CausalAttention),
    /// The gradient of weights, added to what earlier micro-batches left.
    WeightGradient(WeightGradient),
    /// A pass over memory with negligible arithmetic: norms, activations, casts, embedding rows, sampling.
    Elementwise {
        /// What is read.
        read: Bytes,
        /// What is written.
        written: Bytes,
    },
}

/// A (grouped) matrix multiplication with weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gemm {
    /// Matrices of weights: experts, or heads of a batched product.
    pub groups: u64,
    /// Rows of activations, over all groups together.
    pub rows: u64,
    /// Outputs per row.
    pub n: u64,
    /// Inputs per row.
    pub k: u64,
    /// Format in which the operands are multiplied.
    pub operands: Dtype,
    /// Format in which the weights are stored.
    pub weights: Dtype,
}

/// Attention of a decode step in one layer, in the form that reads the cache once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecodeAttention {
    /// Requests of the batch.
    pub requests: u64,
    /// Query positions per request: one, or more when drafted tokens are verified.
    pub queries: u64,
    /// Cached positions per request.
    pub context: u64,
    /// Query heads on this GPU.
    pub heads: u64,
    /// Values per query-key product (576 for the latent of DeepSeek-V3).
    pub key_dim: u64,
    /// Values per head that the weighted sum yields (512 for the latent of DeepSeek-V3).
    pub value_dim: u64,
    /// Cached values per position on this GPU, all key-value heads together.
    pub cached_values: u64,
    /// Format of the cache.
    pub cache: Dtype,
}

/// Attention of a training step in one layer, fused so that no score matrix exists (FlashAttention, arXiv 2205.14135).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CausalAttention {
    /// Sequences of the micro-batch.
    pub sequences: u64,
    /// Positions per sequence.
    pub length: u64,
    /// Query heads on this GPU.
    pub heads: u64,
    /// Key-value heads on this GPU.
    pub kv_heads: u64,
    /// Values per query-key product.
    pub key_dim: u64,
    /// Values per head that the weighted sum yields.
    pub value_dim: u64,
    /// Which way it goes.
    pub pass: Pass,
}

/// Which way a kernel of a training step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pass {
    /// Scores and weighted sums.
    Forward,
    /// Gradients of queries, keys and values, from scores that are computed again.
    Backward,
}

/// The gradient of a (grouped) matrix of weights over all tokens of a micro-batch, accumulated in FP32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightGradient {
    /// Matrices of weights.
    pub groups: u64,
    /// Tokens, over all groups together.
    pub tokens: u64,
    /// Outputs of the layer.
    pub outputs: u64,
    /// Inputs of the layer.
    pub inputs: u64,
    /// Format in which gradients and activations are multiplied.
    pub operands: Dtype,
}

impl CausalAttention {
    /// Products of a query with a key or value of its own dimension, the causal half of them: of scores and values forward;
    /// backward of scores again, then for gradients of values, scores, queries and keys.
    fn flops(&self) -> Flops {
        let pairs = u128::from(self.sequences * self.heads) * u128::from(self.length * self.length) / 2;
        let (key, value) = (u128::from(self.key_dim), u128::from(self.value_dim));
        let products = match self.pass {
            Pass::Forward => key + value,
            Pass::Backward => 3 * key + 2 * value,
        };
        Flops::new(2 * pairs * products)
    }

    /// Forward: queries, keys, values, outputs. Backward: those and the gradients of all four, of queries in FP32.
    fn bytes(&self) -> Bytes {
        let rows = self.sequences * self.length;
        let keys = values(rows * self.kv_heads, self.key_dim + self.value_dim, Dtype::Bf16);
        let queries = values(rows * self.heads, self.key_dim, Dtype::Bf16);
        let outputs = values(rows * self.heads, self.value_dim, Dtype::Bf16);
        match self.pass {
            Pass::Forward => keys + queries + outputs,
            Pass::Backward => keys * 2 + queries * 3 + outputs * 2,
        }
    }
}

impl Kernel {
    /// Floating-point work.
    pub fn flops(&self) -> Flops {
        match self {
            Kernel::Gemm(g) => Flops::new(2 * u128::from(g.rows) * u128::from(g.n) * u128::from(g.k)),
            Kernel::DecodeAttention(a) => {
                let products = u128::from(a.requests * a.queries) * u128::from(a.context * a.heads);
                Flops::new(2 * products * u128::from(a.key_dim + a.value_dim))
            }
            Kernel::CausalAttention(a) => a.flops(),
            Kernel::WeightGradient(g) => {
                Flops::new(2 * u128::from(g.tokens) * u128::from(g.outputs) * u128::from(g.inputs))
            }
            Kernel::Elementwise { .. } => Flops::ZERO,
        }
    }

    /// Memory traffic.
    pub fn bytes(&self) -> Bytes {
        match self {
            Kernel::Gemm(g) => {
                let weights = values(g.groups * g.n, g.k, g.weights);
                weights + values(g.rows, g.k, g.operands) + values(g.rows, g.n, Dtype::Bf16)
            }
            Kernel::DecodeAttention(a) => {
                let rows = a.requests * a.queries * a.heads;
                let cache = values(a.requests * a.context, a.cached_values, a.cache);
                cache + values(rows, a.key_dim, Dtype::Bf16) + values(rows, a.value_dim, Dtype::Bf16)
            }
            Kernel::CausalAttention(a) => a.bytes(),
            Kernel::WeightGradient(g) => {
                // The sum so far is read and written.
                let sum = values(g.groups * g.outputs, g.inputs, Dtype::Fp32);
                values(g.tokens, g.outputs + g.inputs, g.operands) + sum * 2
            }
            Kernel::Elementwise { read, written } => *read + *written,
        }
    }

    /// The format in which the arithmetic is done.
    pub fn operands(&self) -> Dtype {
        match self {
            Kernel::Gemm(g) => g.operands,
            Kernel::WeightGradient(g) => g.operands,
            Kernel::DecodeAttention(_) | Kernel::CausalAttention(_) | Kernel::Elementwise { .. } => Dtype::Bf16,
        }
    }
}

/// What `rows` rows of `columns` values occupy.
pub(super) fn values(rows: u64, columns: u64, dtype: Dtype) -> Bytes {
    Bytes::from_bits(u128::from(rows) * u128::from(columns) * u128::from(dtype.bits()))
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kernel::Gemm(Gemm { groups: 1, rows, n, k, operands, .. }) => write!(f, "gemm {rows}x{n}x{k} {operands}"),
            Kernel::Gemm(Gemm { groups, rows, n, k, operands, .. }) => {
                write!(f, "grouped gemm {groups}x[{n}x{k}] of {rows} rows {operands}")
            }
            Kernel::DecodeAttention(a) => {
                write!(f, "attention {}x{} queries, {} cached, {} heads", a.requests, a.queries, a.context, a.heads)
            }
            Kernel::CausalAttention(a) => {
                let way = if a.pass == Pass::Forward { "causal attention" } else { "causal attention backward" };
                write!(f, "{way} {} x {} positions, {} heads", a.sequences, a.length, a.heads)
            }
            Kernel::WeightGradient(g) => {
                write!(
                    f,
                    "weight gradient {}x[{}x{}] of {} rows {}",
                    g.groups, g.outputs, g.inputs, g.tokens, g.operands
                )
            }
            Kernel::Elementwise { read, written } => write!(f, "elementwise {read:.1} in, {written:.1} out"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gemm_multiplies_and_touches_every_operand_once() {
        let kernel = Kernel::Gemm(Gemm { groups: 2, rows: 10, n: 3, k: 5, operands: Dtype::Fp8, weights: Dtype::Int4 });
        assert_eq!(kernel.flops(), Flops::new(2 * 10 * 3 * 5));
        assert_eq!(kernel.bytes(), Bytes::new(2 * 3 * 5 / 2 + 10 * 5 + 10 * 3 * 2));
    }

    #[test]
    fn latent_attention_reads_its_cache_once_for_all_heads() {
        let kernel = Kernel::DecodeAttention(DecodeAttention {
            requests: 4,
            queries: 1,
            context: 1000,
            heads: 128,
            key_dim: 576,
            value_dim: 512,
            cached_values: 576,
            cache: Dtype::Bf16,
        });
        assert_eq!(kernel.flops(), Flops::new(2 * 4 * 1000 * 128 * (576 + 512)));
        assert_eq!(kernel.bytes(), Bytes::new(4 * 1000 * 576 * 2 + 4 * 128 * (576 + 512) * 2));
    }

    #[test]
    fn causal_attention_does_half_of_the_square_and_five_products_backward() {
        let forward = CausalAttention {
            sequences: 2,
            length: 1000,
            heads: 128,
            kv_heads: 128,
            key_dim: 192,
            value_dim: 128,
            pass: Pass::Forward,
        };
        let pairs = 2 * 1000 * 1000 * 128 / 2;
        assert_eq!(Kernel::CausalAttention(forward).flops(), Flops::new(2 * pairs * (192 + 128)));
        let backward = CausalAttention { pass: Pass::Backward, ..forward };
        assert_eq!(Kernel::CausalAttention(backward).flops(), Flops::new(2 * pairs * (3 * 192 + 2 * 128)));
        assert_eq!(Kernel::CausalAttention(forward).bytes(), Bytes::new(2 * 1000 * 128 * 2 * (2 * 192 + 2 * 128)));
    }

    #[test]
    fn a_weight_gradient_is_added_in_fp32() {
        let gradient = WeightGradient { groups: 4, tokens: 100, outputs: 30, inputs: 20, operands: Dtype::Fp8 };
        assert_eq!(Kernel::WeightGradient(gradient).flops(), Flops::new(2 * 100 * 30 * 20));
        assert_eq!(Kernel::WeightGradient(gradient).bytes(), Bytes::new(100 * 50 + 4 * 30 * 20 * 8));
    }
}
