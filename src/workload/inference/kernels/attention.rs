//! Attention with its projections, cut where keys and queries are ready.

use super::Shapes;
use crate::dtype::Dtype;
use crate::model::{AttentionSpec, GqaSpec, MlaSpec};
use crate::workload::inference::Batch;
use crate::workload::kernel::{DecodeAttention, Kernel, Pass, PrefillAttention, values};

/// The kernels of attention in two parts.
pub(in crate::workload) struct AttentionKernels {
    /// Norm and the projections in front of attention.
    pub(in crate::workload) before: Vec<Kernel>,
    /// Attention over the cache and over prompts, and the projection of its output.
    pub(in crate::workload) core: Vec<Kernel>,
}

impl Shapes<'_> {
    /// Norm, projections, attention, output projection.
    pub(in crate::workload) fn attention(&self, batch: Batch) -> AttentionKernels {
        match &self.model.attention {
            AttentionSpec::Mla(mla) => self.mla(mla, batch),
            AttentionSpec::Gqa(gqa) => self.gqa(gqa, batch),
        }
    }

    /// MLA: absorbed where it decodes, so that all heads attend to the one cached latent (arXiv 2405.04434, section 2.1.2);
    /// expanded to keys and values per head over prompts and what was cached of them.
    fn mla(&self, mla: &MlaSpec, batch: Batch) -> AttentionKernels {
        let tokens = batch.tokens();
        let heads = mla.heads.wide() / self.tp;
        let (nope, rope) = (mla.qk_nope_head_dim.wide(), mla.qk_rope_head_dim.wide());
        let (latent, value) = (mla.kv_lora_rank.wide(), mla.v_head_dim.wide());
        let mut before = vec![self.norm(tokens)];
        let rank = mla.q_lora_rank.map_or(0, |rank| rank.wide());
        let down = if rank > 0 { rank } else { heads * (nope + rope) } + latent + rope;
        before.push(self.gemm(tokens, down, self.hidden()));
        // Both latents are normed; that of keys and values goes to the cache, with the key that all heads share.
        before.push(Kernel::Elementwise {
            read: values(tokens, rank + latent + rope, Dtype::Bf16),
            written: self.operand(tokens, rank) + values(tokens, latent + rope, self.precision.kv_cache),
        });
        if rank > 0 {
            before.push(self.gemm(tokens, heads * (nope + rope), rank));
        }
        before.push(Self::pass(tokens, heads * rope));
        let mut core = Vec::new();
        let decoding = batch.decoding;
        let decoded = decoding.requests * decoding.queries;
        if decoded > 0 {
            before.push(self.per_head(heads, decoded, latent, nope));
            core.push(Kernel::DecodeAttention(DecodeAttention {
                requests: decoding.requests,
                queries: decoding.queries,
                contexts: decoding.contexts,
                heads,
                key_dim: latent + rope,
                value_dim: latent,
                cached_values: latent + rope,
                cache: self.precision.kv_cache,
            }));
            core.push(self.per_head(heads, decoded, value, latent));
        }
        let prompts = batch.prompts;
        if prompts.requests > 0 {
            let positions = prompts.requests * (prompts.tokens + prompts.cached);
            before.push(self.gemm(positions, heads * (nope + value), latent));
            // Keys of each head are put together from its own part and the shared one.
            before.push(Kernel::Elementwise {
                read: values(positions, heads * nope + rope, Dtype::Bf16),
                written: values(positions, heads * (nope + rope), Dtype::Bf16),
            });
            core.push(self.over_prompts(batch, [heads, heads], nope + rope, value));
        }
        core.extend(self.cast(tokens, heads * value));
        core.push(self.gemm(tokens, self.hidden(), heads * value));
        AttentionKernels { before, core }
    }

    fn gqa(&self, gqa: &GqaSpec, batch: Batch) -> AttentionKernels {
        let tokens = batch.tokens();
        let heads = gqa.heads.wide() / self.tp;
        // Key-value heads are replicated when there are fewer of them than GPUs.
        let kv_heads = gqa.kv_heads.wide().div_ceil(self.tp);
        let dim = gqa.head_dim.wide();
        // Queries and keys are rotated; keys and values go to the cache.
        let rotated = values(tokens, (heads + kv_heads) * dim, Dtype::Bf16);
        let before = vec![
            self.norm(tokens),
            self.gemm(tokens, (heads + 2 * kv_heads) * dim, self.hidden()),
            Kernel::Elementwise {
                read: rotated + values(tokens, kv_heads * dim, Dtype::Bf16),
                written: rotated + values(tokens, 2 * kv_heads * dim, self.precision.kv_cache),
            },
        ];
        let mut core = Vec::new();
        let decoding = batch.decoding;
        if decoding.requests > 0 {
            core.push(Kernel::DecodeAttention(DecodeAttention {
                requests: decoding.requests,
                queries: decoding.queries,
                contexts: decoding.contexts,
                heads,
                key_dim: dim,
                value_dim: dim,
                cached_values: 2 * kv_heads * dim,
                cache: self.precision.kv_cache,
            }));
        }
        if batch.prompts.requests > 0 {
            core.push(self.over_prompts(batch, [heads, kv_heads], dim, dim));
        }
        core.extend(self.cast(tokens, heads * dim));
        core.push(self.gemm(tokens, self.hidden(), heads * dim));
        AttentionKernels { before, core }
    }

    /// Causal attention over prompts, with keys and values per head.
    fn over_prompts(&self, batch: Batch, [heads, key_heads]: [u64; 2], key_dim: u64, value_dim: u64) -> Kernel {
        Kernel::PrefillAttention(PrefillAttention {
            requests: batch.prompts.requests,
            queries: batch.prompts.tokens,
            context: batch.prompts.cached,
            heads,
            key_heads,
            key_dim,
            value_dim,
            latent: false,
            operands: Dtype::Bf16,
            pass: Pass::Serving,
        })
    }
}
