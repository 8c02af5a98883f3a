//! The key-value cache: what a model keeps of every token it has seen.
//!
//! This module must not know how many tokens are kept, nor where.

use super::{AttentionSpec, ModelSpec};
use crate::dtype::Dtype;
use crate::units::Bytes;

impl ModelSpec {
    /// Values that one layer caches per token. MLA: the latent and the rotary key that all heads share
    /// (arXiv 2405.04434, section 2.1.3); GQA: a key and a value per key-value head.
    pub fn kv_values_per_layer(&self) -> u64 {
        match &self.attention {
            AttentionSpec::Mla(mla) => mla.kv_lora_rank.wide() + mla.qk_rope_head_dim.wide(),
            AttentionSpec::Gqa(gqa) => 2 * gqa.kv_heads.wide() * gqa.head_dim.wide(),
        }
    }

    /// Values that one of `tp` GPUs caches per token and layer: MLA's latent serves all heads and is held by each GPU
    /// whole, key-value heads are shared out.
    pub fn kv_values_per_layer_on(&self, tp: u32) -> u64 {
        match &self.attention {
            AttentionSpec::Mla(_) => self.kv_values_per_layer(),
            AttentionSpec::Gqa(gqa) => 2 * u64::from(gqa.kv_heads.get().div_ceil(tp)) * gqa.head_dim.wide(),
        }
    }

    /// What the whole model caches per token, without multi-token-prediction modules (arXiv 2505.09343, table 1).
    pub fn kv_bytes_per_token(&self, dtype: Dtype) -> Bytes {
        dtype.bytes(self.layers.wide() * self.kv_values_per_layer())
    }
}

#[cfg(test)]
mod tests {
    use super::super::published;
    use super::*;

    #[test]
    fn caches_per_token_are_those_of_table_1() {
        assert_eq!(published::deepseek_v3().kv_bytes_per_token(Dtype::Bf16), Bytes::new(70_272));
        assert_eq!(published::qwen2_5_72b().kv_bytes_per_token(Dtype::Bf16), Bytes::new(327_680));
        assert_eq!(published::llama3_1_405b().kv_bytes_per_token(Dtype::Bf16), Bytes::new(516_096));
        assert_eq!(published::deepseek_v3().kv_bytes_per_token(Dtype::Fp8), Bytes::new(35_136));
    }

    #[test]
    fn tensor_parallelism_divides_heads_but_not_latents() {
        assert_eq!(published::deepseek_v3().kv_values_per_layer_on(8), 576);
        assert_eq!(published::qwen2_5_72b().kv_values_per_layer_on(4), 2 * 2 * 128);
        assert_eq!(published::qwen2_5_72b().kv_values_per_layer_on(16), 2 * 128);
    }
}
