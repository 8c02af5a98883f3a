//! The kernels of one transformer layer in a decode step, as inference engines launch them.
//!
//! `tokens` counts positions that pass through the layer (requests times queries per request); shapes are those of one GPU
//! of a tensor-parallel group of `tp`.

use crate::dtype::Dtype;
use crate::model::{AttentionSpec, GqaSpec, MlaSpec, ModelSpec, PrecisionSpec};
use crate::units::Bytes;
use crate::workload::kernel::{DecodeAttention, Gemm, Kernel, values};

/// The batch of one micro-batch on one tensor-parallel group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Requests.
    pub requests: u64,
    /// Positions per request that pass through the model: one, or more when drafted tokens are verified.
    pub queries: u64,
    /// Cached positions per request.
    pub context: u64,
}

impl Batch {
    /// Positions that pass through the model.
    pub fn tokens(&self) -> u64 {
        self.requests * self.queries
    }
}

/// Shapes that all kernels of a deployment share.
pub(in crate::workload) struct Shapes<'a> {
    pub(in crate::workload) model: &'a ModelSpec,
    pub(in crate::workload) precision: &'a PrecisionSpec,
    pub(in crate::workload) tp: u64,
}

impl Shapes<'_> {
    pub(in crate::workload) fn hidden(&self) -> u64 {
        self.model.hidden.wide()
    }

    pub(in crate::workload) fn gemm(&self, rows: u64, n: u64, k: u64) -> Kernel {
        let PrecisionSpec { operands, weights, .. } = *self.precision;
        Kernel::Gemm(Gemm { groups: 1, rows, n, k, operands, weights })
    }

    /// A product per head, with the up-projections that absorbed MLA folds into queries and outputs.
    fn per_head(&self, heads: u64, tokens: u64, n: u64, k: u64) -> Kernel {
        let PrecisionSpec { operands, weights, .. } = *self.precision;
        Kernel::Gemm(Gemm { groups: heads, rows: heads * tokens, n, k, operands, weights })
    }

    /// Reads and writes `tokens` rows of `columns` BF16 values.
    pub(in crate::workload) fn pass(tokens: u64, columns: u64) -> Kernel {
        let bytes = values(tokens, columns, Dtype::Bf16);
        Kernel::Elementwise { read: bytes, written: bytes }
    }

    /// Norm, projections, attention over the cache, output projection.
    pub(super) fn attention(&self, batch: Batch) -> Vec<Kernel> {
        match &self.model.attention {
            AttentionSpec::Mla(mla) => self.mla(mla, batch),
            AttentionSpec::Gqa(gqa) => self.gqa(gqa, batch),
        }
    }

    /// MLA in its absorbed form (arXiv 2405.04434, section 2.1.2): all heads attend to the one cached latent.
    fn mla(&self, mla: &MlaSpec, batch: Batch) -> Vec<Kernel> {
        let tokens = batch.tokens();
        let heads = mla.heads.wide() / self.tp;
        let (nope, rope) = (mla.qk_nope_head_dim.wide(), mla.qk_rope_head_dim.wide());
        let (latent, value) = (mla.kv_lora_rank.wide(), mla.v_head_dim.wide());
        let mut kernels = vec![Self::pass(tokens, self.hidden())];
        match mla.q_lora_rank {
            Some(rank) => {
                kernels.push(self.gemm(tokens, rank.wide() + latent + rope, self.hidden()));
                kernels.push(self.gemm(tokens, heads * (nope + rope), rank.wide()));
            }
            None => kernels.push(self.gemm(tokens, heads * (nope + rope) + latent + rope, self.hidden())),
        }
        kernels.push(self.per_head(heads, tokens, latent, nope));
        kernels.push(Kernel::DecodeAttention(DecodeAttention {
            requests: batch.requests,
            queries: batch.queries,
            context: batch.context,
            heads,
            key_dim: latent + rope,
            value_dim: latent,
            cached_values: latent + rope,
            cache: self.precision.kv_cache,
        }));
        kernels.push(self.per_head(heads, tokens, value, latent));
        kernels.push(self.gemm(tokens, self.hidden(), heads * value));
        kernels
    }

    fn gqa(&self, gqa: &GqaSpec, batch: Batch) -> Vec<Kernel> {
        let tokens = batch.tokens();
        let heads = gqa.heads.wide() / self.tp;
        // Key-value heads are replicated when there are fewer of them than GPUs.
        let kv_heads = gqa.kv_heads.wide().div_ceil(self.tp);
        let dim = gqa.head_dim.wide();
        vec![
            Self::pass(tokens, self.hidden()),
            self.gemm(tokens, (heads + 2 * kv_heads) * dim, self.hidden()),
            Kernel::DecodeAttention(DecodeAttention {
                requests: batch.requests,
                queries: batch.queries,
                context: batch.context,
                heads,
                key_dim: dim,
                value_dim: dim,
                cached_values: 2 * kv_heads * dim,
                cache: self.precision.kv_cache,
            }),
            self.gemm(tokens, self.hidden(), heads * dim),
        ]
    }

    /// A SwiGLU network of `width`, shared by the tensor-parallel group, with its norm.
    pub(super) fn dense_ffn(&self, tokens: u64, width: u64) -> Vec<Kernel> {
        let mut kernels = vec![Self::pass(tokens, self.hidden())];
        kernels.extend(self.swiglu(1, tokens, width / self.tp, self.precision.weights));
        kernels
    }

    /// SwiGLU experts that every token visits, whole on each GPU.
    pub(super) fn shared_experts(&self, tokens: u64, width: u64) -> Vec<Kernel> {
        self.swiglu(1, tokens, width, self.precision.experts)
    }

    /// `groups` SwiGLU experts that work on `rows` rows together.
    pub(super) fn experts(&self, groups: u64, rows: u64, width: u64) -> Vec<Kernel> {
        self.swiglu(groups, rows, width, self.precision.experts)
    }

    pub(in crate::workload) fn swiglu(&self, groups: u64, rows: u64, width: u64, weights: Dtype) -> Vec<Kernel> {
        let operands = self.precision.operands;
        let gate_up = values(rows, 2 * width, Dtype::Bf16);
        vec![
            Kernel::Gemm(Gemm { groups, rows, n: 2 * width, k: self.hidden(), operands, weights }),
            Kernel::Elementwise { read: gate_up, written: values(rows, width, operands) },
            Kernel::Gemm(Gemm { groups, rows, n: self.hidden(), k: width, operands, weights }),
        ]
    }

    /// Norm and router of a mixture-of-experts layer.
    pub(super) fn gate(&self, tokens: u64, experts: u64) -> Vec<Kernel> {
        let (operands, weights) = (Dtype::Bf16, self.precision.embedding);
        let router = Kernel::Gemm(Gemm { groups: 1, rows: tokens, n: experts, k: self.hidden(), operands, weights });
        vec![Self::pass(tokens, self.hidden()), router]
    }

    /// Adds the copies that came back to the residual stream.
    pub(super) fn sum_copies(&self, tokens: u64, copies: u64) -> Kernel {
        let row = |n| values(tokens * n, self.hidden(), Dtype::Bf16);
        Kernel::Elementwise { read: row(copies + 1), written: row(1) }
    }

    /// Looks up the rows of the embedding.
    pub(in crate::workload) fn embedding(&self, tokens: u64) -> Kernel {
        Self::pass(tokens, self.hidden())
    }

    /// Norm, output head and sampling, shared by the tensor-parallel group.
    pub(super) fn head(&self, tokens: u64) -> Vec<Kernel> {
        let vocab = self.model.vocab.wide().div_ceil(self.tp);
        let (operands, weights) = (Dtype::Bf16, self.precision.embedding);
        let logits = values(tokens, vocab, Dtype::Bf16);
        vec![
            Self::pass(tokens, self.hidden()),
            Kernel::Gemm(Gemm { groups: 1, rows: tokens, n: vocab, k: self.hidden(), operands, weights }),
            Kernel::Elementwise { read: logits, written: Bytes::new(tokens * 4) },
        ]
    }

    /// Joins the hidden state with the embedding of the drafted token (arXiv 2412.19437, section 2.2).
    pub(super) fn mtp_projection(&self, tokens: u64) -> Kernel {
        self.gemm(tokens, self.hidden(), 2 * self.hidden())
    }
}
