//! What a compute operation does to numbers and to memory, independent of what runs it.
//!
//! Work counts a multiply-add as two operations. Traffic is the least that must cross the memory interface: every operand
//! once, every result once. This module must not know any processor and computes no durations.

use super::inference::Contexts;
use crate::dtype::Dtype;
use crate::units::{Bytes, Flops};
use std::fmt;

/// One kernel and its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kernel {
    /// `groups` independent products of `[m, k]` activations with `[k, n]` weights; a dense layer is one group.
    Gemm(Gemm),
    /// The gradient of weights: an output is added to what stands in memory, in FP32, and both operands have a scale per row.
    WeightGradient(Gemm),
    /// Products of several groups of rows, each with weights of its own and as many rows as it was routed.
    GroupedGemm(GroupedGemm),
    /// One new query block per request against that request's cached keys and values.
    DecodeAttention(DecodeAttention),
    /// Many query positions per request, each against all positions up to its own.
    PrefillAttention(PrefillAttention),
    /// A pass over memory in which a block of threads takes one row: casts with scales, norms.
    Rows(Rows),
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

/// A pass over memory, row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rows {
    /// Rows (or tiles), one block of threads each.
    pub rows: u64,
    /// Threads of a block.
    pub threads: u64,
    /// Loads that a thread has under way at once.
    pub loads: u64,
    /// Blocks that an SM runs at once, at most: kernels that keep their blocks for many rows start few of them.
    pub per_sm: u64,
    /// Times that a block goes through its row; only the first one takes it from memory.
    pub passes: u64,
    /// What is read per row.
    pub read: Bytes,
    /// What is written per row.
    pub written: Bytes,
}

impl Rows {
    /// Blocks that an SM runs as many of as it has threads for, and that go through their rows once.
    pub fn once(rows: u64, threads: u64, loads: u64, read: Bytes, written: Bytes) -> Rows {
        Rows { rows, threads, loads, per_sm: u64::MAX, passes: 1, read, written }
    }
}

/// Products of groups of rows with the weights of their experts, reduced to what decides their cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupedGemm {
    /// Groups.
    pub groups: u64,
    /// Groups with at least one row.
    pub touched: u64,
    /// Rows of all groups.
    pub rows: u64,
    /// Rows of the largest group.
    pub most: u64,
    /// Tiles of 16 rows that cover every group.
    pub tiles_of_16: u64,
    /// Tiles of 64 rows that cover every group.
    pub tiles_of_64: u64,
    /// Tiles of 128 rows that cover every group.
    pub tiles_of_128: u64,
    /// Outputs per row.
    pub n: u64,
    /// Inputs per row.
    pub k: u64,
    /// Format in which the operands are multiplied.
    pub operands: Dtype,
    /// Format in which the weights are stored.
    pub weights: Dtype,
    /// Where the rows of a group stand.
    pub layout: RowLayout,
}

/// How the rows of groups are arranged in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowLayout {
    /// One group after the other, each padded to 128 rows: prefill and training.
    Contiguous,
    /// A fixed room per group, of which only the filled part is computed: decode with a fixed graph.
    Masked,
    /// As tokens came; a table that was made beforehand says which rows, and whose weights, each tile takes: decode where every GPU
    /// has all tokens.
    Indexed,
}

impl Gemm {
    fn operand_bytes(&self) -> Bytes {
        values(self.groups * self.n, self.k, self.weights) + values(self.rows, self.k, self.operands)
    }
}

impl GroupedGemm {
    /// The product of groups of `rows` rows each with `[k, n]` weights.
    pub fn new(layout: RowLayout, rows: &[u64], n: u64, k: u64, dtype: Dtype) -> GroupedGemm {
        let tiles = |of: u64| rows.iter().map(|rows| rows.div_ceil(of)).sum();
        GroupedGemm {
            groups: rows.len() as u64,
            touched: rows.iter().filter(|&&rows| rows > 0).count() as u64,
            rows: rows.iter().sum(),
            most: rows.iter().copied().max().unwrap_or(0),
            tiles_of_16: tiles(16),
            tiles_of_64: tiles(64),
            tiles_of_128: tiles(128),
            n,
            k,
            operands: dtype,
            weights: dtype,
            layout,
        }
    }
}

/// Attention of a decode step in one layer, in the form that reads the cache once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecodeAttention {
    /// Requests of the batch.
    pub requests: u64,
    /// Query positions per request: one, or more when drafted tokens are verified.
    pub queries: u64,
    /// Cached positions of the requests.
    pub contexts: Contexts,
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

/// Causal attention over many query positions per request in one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefillAttention {
    /// Requests (sequences) of the batch.
    pub requests: u64,
    /// Query positions per request.
    pub queries: u64,
    /// Positions per request before the first query: cached earlier.
    pub context: u64,
    /// Query heads on this GPU.
    pub heads: u64,
    /// Heads of keys and values on this GPU: one for a latent.
    pub key_heads: u64,
    /// Values per query-key product (192 for DeepSeek-V3, 576 over its latent).
    pub key_dim: u64,
    /// Values per head that the weighted sum yields (128 for DeepSeek-V3, 512 over its latent).
    pub value_dim: u64,
    /// Whether values are part of the keys, as in the latent of MLA.
    pub latent: bool,
    /// Format of keys and values, which the operands follow where a kernel for it exists.
    pub operands: Dtype,
    /// Which pass.
    pub pass: Pass,
}

/// What attention over many positions is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pass {
    /// Forward, on a cache that a serving engine keeps.
    Serving,
    /// Forward, in training.
    Forward,
    /// Gradients of queries, keys and values; scores are computed again.
    Backward,
}

impl PrefillAttention {
    /// Query-key pairs that the causal mask leaves, over all requests and heads.
    fn pairs(&self) -> u128 {
        let pairs = u128::from(self.queries) * u128::from(self.context)
            + u128::from(self.queries) * u128::from(self.queries + 1) / 2;
        u128::from(self.requests * self.heads) * pairs
    }

    /// Values that enter per position: queries of all heads, and those that leave.
    fn rows(&self) -> u64 {
        self.requests * self.queries * self.heads
    }

    /// Values of keys and values together.
    fn cached(&self) -> u64 {
        let per_key = if self.latent { self.key_dim } else { self.key_dim + self.value_dim };
        self.requests * (self.context + self.queries) * self.key_heads * per_key
    }
}

impl DecodeAttention {
    /// Cached positions of all requests together.
    pub fn positions(&self) -> u64 {
        self.contexts.total(self.requests)
    }
}

impl Kernel {
    /// Floating-point work.
    pub fn flops(&self) -> Flops {
        match self {
            Kernel::Gemm(g) | Kernel::WeightGradient(g) => {
                Flops::new(2 * u128::from(g.rows) * u128::from(g.n) * u128::from(g.k))
            }
            Kernel::GroupedGemm(g) => Flops::new(2 * u128::from(g.rows) * u128::from(g.n) * u128::from(g.k)),
            Kernel::DecodeAttention(a) => {
                let products = u128::from(a.positions()) * u128::from(a.queries * a.heads);
                Flops::new(2 * products * u128::from(a.key_dim + a.value_dim))
            }
            Kernel::PrefillAttention(a) => {
                let depth = match a.pass {
                    Pass::Serving | Pass::Forward => a.key_dim + a.value_dim,
                    // Scores again, gradients of weights and values, of queries and of keys.
                    Pass::Backward => 3 * a.key_dim + 2 * a.value_dim,
                };
                Flops::new(2 * a.pairs() * u128::from(depth))
            }
            Kernel::Elementwise { .. } | Kernel::Rows(_) => Flops::ZERO,
        }
    }

    /// Memory traffic.
    pub fn bytes(&self) -> Bytes {
        match self {
            Kernel::Gemm(g) => g.operand_bytes() + values(g.rows, g.n, Dtype::Bf16),
            Kernel::WeightGradient(g) => g.operand_bytes() + values(g.rows, 2 * g.n, Dtype::Fp32),
            Kernel::GroupedGemm(g) => {
                let weights = values(g.touched * g.n, g.k, g.weights);
                weights + values(g.rows, g.k, g.operands) + values(g.rows, g.n, Dtype::Bf16)
            }
            Kernel::DecodeAttention(a) => {
                let rows = a.requests * a.queries * a.heads;
                let cache = values(a.positions(), a.cached_values, a.cache);
                cache + values(rows, a.key_dim, Dtype::Bf16) + values(rows, a.value_dim, Dtype::Bf16)
            }
            Kernel::PrefillAttention(a) => {
                let once = values(a.rows(), a.key_dim + a.value_dim, Dtype::Bf16) + values(1, a.cached(), a.operands);
                match a.pass {
                    Pass::Serving | Pass::Forward => once,
                    // Inputs and the gradient of the result in, three gradients out.
                    Pass::Backward => once * 2,
                }
            }
            Kernel::Rows(r) => (r.read + r.written) * r.rows,
            Kernel::Elementwise { read, written } => *read + *written,
        }
    }

    /// What of the traffic comes from memory however large the caches are: weights and keys and values, of which every layer has
    /// its own.
    pub fn stored(&self) -> Bytes {
        match self {
            Kernel::Gemm(g) => values(g.groups * g.n, g.k, g.weights),
            Kernel::GroupedGemm(g) => values(g.touched * g.n, g.k, g.weights),
            Kernel::DecodeAttention(a) => values(a.positions(), a.cached_values, a.cache),
            Kernel::WeightGradient(_) | Kernel::PrefillAttention(_) | Kernel::Rows(_) | Kernel::Elementwise { .. } => {
                Bytes::ZERO
            }
        }
    }

    /// The format in which the arithmetic is done.
    pub fn operands(&self) -> Dtype {
        match self {
            Kernel::Gemm(g) | Kernel::WeightGradient(g) => g.operands,
            Kernel::PrefillAttention(a) => a.operands,
            Kernel::GroupedGemm(g) => g.operands,
            Kernel::DecodeAttention(_) | Kernel::Rows(_) | Kernel::Elementwise { .. } => Dtype::Bf16,
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
            Kernel::WeightGradient(g) => write!(f, "weight gradient {}x{}x{} {}", g.rows, g.n, g.k, g.operands),
            Kernel::GroupedGemm(g) => {
                write!(f, "grouped gemm {}x[{}x{}] of {} uneven rows {}", g.touched, g.n, g.k, g.rows, g.operands)
            }
            Kernel::DecodeAttention(a) => {
                let (cached, spread) = match a.contexts {
                    Contexts::Equal(context) => (context, ""),
                    spread => (spread.total(a.requests) / a.requests.max(1), " on average"),
                };
                write!(f, "attention {}x{} queries, {cached} cached{spread}, {} heads", a.requests, a.queries, a.heads)
            }
            Kernel::PrefillAttention(a) => {
                let name = if a.pass == Pass::Backward { "attention gradient" } else { "attention" };
                write!(f, "{name} {}x{} queries, {} before, {} heads", a.requests, a.queries, a.context, a.heads)
            }
            Kernel::Rows(r) => write!(f, "{} rows, {:.1} in, {:.1} out each", r.rows, r.read, r.written),
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
            contexts: Contexts::Equal(1000),
            heads: 128,
            key_dim: 576,
            value_dim: 512,
            cached_values: 576,
            cache: Dtype::Bf16,
        });
        assert_eq!(kernel.flops(), Flops::new(2 * 4 * 1000 * 128 * (576 + 512)));
        assert_eq!(kernel.bytes(), Bytes::new(4 * 1000 * 576 * 2 + 4 * 128 * (576 + 512) * 2));
    }
}
