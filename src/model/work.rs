//! The floating-point work of a model per token, under a stated convention.
//!
//! Published figures count differently, and the same word hides all of it: whether the gate is in, whether attention
//! is halved by its causal mask or left out, whether the real shapes are used at all. A count here always names its
//! [`FlopConvention`]. A multiply-add is two operations; the embedding is a look-up and never counts.

use super::{AttentionSpec, ModelSpec, Parameters};
use crate::units::{Count, Flops};

/// What a count of work per token includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlopConvention {
    /// Which weights multiply.
    pub weights: CountedWeights,
    /// How much of the products of queries with keys and of scores with values.
    pub attention: CountedAttention,
}

/// Which weights a count of work multiplies with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedWeights {
    /// Every projection of the configuration that one token visits, the head included.
    Configured {
        /// Whether the gates of the mixtures of experts count.
        gate: bool,
        /// Whether multi-token-prediction modules count, each with its use of the head.
        mtp: bool,
    },
    /// `12 layers hidden^2 + vocab hidden`: the transformer of GPT-3's proportions with the model's depth and width,
    /// whatever its real shapes (arXiv 2104.04473, appendix, without the attention term).
    Generic,
}

/// How much of the products of queries with keys and of scores with values a count includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedAttention {
    /// Nothing.
    None,
    /// The lower triangle, as kernels compute it: half of the whole matrix (FlashAttention).
    Causal,
    /// The whole matrix of the sequence (Megatron).
    Full,
}

/// How MLA multiplies queries with its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionForm {
    /// Keys and values are expanded from the latent, per head: least work per pair, for training and prefill.
    Expanded,
    /// The up-projections are absorbed into query and output, which then meet the latent itself: least memory
    /// traffic, for decode (arXiv 2405.04434, section 2.1.2). Other kinds of attention know no such form.
    Absorbed,
}

impl FlopConvention {
    /// Real shapes, causal attention, no gate, no multi-token prediction: `mfu_causal`, and the rows of arXiv
    /// 2505.09343, table 2, of DeepSeek models (inferred: the paper states no convention).
    pub const CAUSAL: FlopConvention = FlopConvention::configured(CountedAttention::Causal);
    /// The same with the whole attention matrix: `mfu_noncausal`.
    pub const NONCAUSAL: FlopConvention = FlopConvention::configured(CountedAttention::Full);
    /// The same without attention: six times the active parameters.
    pub const WEIGHTS_ONLY: FlopConvention = FlopConvention::configured(CountedAttention::None);
    /// The rows of arXiv 2505.09343, table 2, of dense models (inferred: the paper states no convention).
    pub const GENERIC: FlopConvention =
        FlopConvention { weights: CountedWeights::Generic, attention: CountedAttention::None };

    const fn configured(attention: CountedAttention) -> FlopConvention {
        FlopConvention { weights: CountedWeights::Configured { gate: false, mtp: false }, attention }
    }

    /// Work of one forward pass per token of a sequence of `sequence` tokens.
    pub fn forward_per_token(self, model: &ModelSpec, sequence: Count) -> Flops {
        Flops::new(2 * u128::from(self.weights.multiplied(model))) + self.attention_per_token(model, sequence)
    }

    /// Work of one training step per token: the backward pass, by input and by weight, is twice the forward pass.
    /// Recomputation is not useful work and does not count.
    pub fn training_per_token(self, model: &ModelSpec, sequence: Count) -> Flops {
        self.forward_per_token(model, sequence) * 3
    }

    fn attention_per_token(self, model: &ModelSpec, sequence: Count) -> Flops {
        let blocks = match self.weights {
            CountedWeights::Configured { mtp: true, .. } => model.layers.wide() + u64::from(model.mtp_modules),
            CountedWeights::Configured { mtp: false, .. } | CountedWeights::Generic => model.layers.wide(),
        };
        let whole = model.attention_pair_flops(AttentionForm::Expanded) * sequence.wide() * blocks;
        match self.attention {
            CountedAttention::None => Flops::ZERO,
            CountedAttention::Causal => Flops::new(whole.get() / 2),
            CountedAttention::Full => whole,
        }
    }
}

impl CountedWeights {
    /// Weights that multiply one token.
    fn multiplied(self, model: &ModelSpec) -> u64 {
        let head = model.head_projection().parameters();
        match self {
            CountedWeights::Configured { gate, mtp } => {
                let parameters = Parameters::of(model);
                let layers = parameters.dense_ffn
                    + parameters.shared_experts
                    + parameters.visited_experts
                    + model.layers.wide() * model.attention_weights()
                    + if gate { parameters.gate } else { 0 };
                let modules = if mtp { u64::from(model.mtp_modules) } else { 0 };
                layers + head + modules * (model.mtp_weights(gate) + head)
            }
            CountedWeights::Generic => 12 * model.layers.wide() * model.hidden.wide() * model.hidden.wide() + head,
        }
    }
}

impl ModelSpec {
    /// Weights of one layer's attention projections, which multiply every token.
    pub fn attention_weights(&self) -> u64 {
        self.attention_projections().iter().map(|p| p.parameters()).sum()
    }

    /// Work of one query token on one key token in one layer: the score and its share of the weighted sum, all heads.
    pub fn attention_pair_flops(&self, form: AttentionForm) -> Flops {
        let (heads, widths) = match (&self.attention, form) {
            (AttentionSpec::Mla(mla), AttentionForm::Expanded) => {
                (mla.heads, mla.qk_head_dim() + mla.v_head_dim.wide())
            }
            (AttentionSpec::Mla(mla), AttentionForm::Absorbed) => {
                (mla.heads, 2 * mla.kv_lora_rank.wide() + mla.qk_rope_head_dim.wide())
            }
            (AttentionSpec::Gqa(gqa), _) => (gqa.heads, 2 * gqa.head_dim.wide()),
        };
        Flops::new(2 * u128::from(heads.wide() * widths))
    }

    /// Weights of one multi-token-prediction module that multiply one token, without the head.
    fn mtp_weights(&self, gate: bool) -> u64 {
        let (shared, _, visited) = self.experts();
        let ffn = match &self.moe {
            Some(_) => (shared + visited) * self.expert_parameters() + if gate { self.gate_parameters() } else { 0 },
            None => self.dense_ffn_parameters(),
        };
        self.mtp_projection().parameters() + self.attention_weights() + ffn
    }
}

#[cfg(test)]
mod tests {
    use super::super::published;
    use super::*;

    const WITH_GATE: FlopConvention =
        FlopConvention { weights: CountedWeights::Configured { gate: true, mtp: false }, ..FlopConvention::CAUSAL };

    /// GFLOP per token at a sequence of 4,096 tokens.
    fn training(convention: FlopConvention, model: &ModelSpec) -> String {
        let sequence = Count::new(4096).expect("at least one");
        format!("{:.2}", convention.training_per_token(model, sequence).as_f64() / 1e9)
    }

    #[test]
    fn table_2_counts_deepseek_models_by_their_shapes_and_causal_attention() {
        // Printed: 155 and 250 GFLOP.
        assert_eq!(training(FlopConvention::CAUSAL, &published::deepseek_v2()), "155.01");
        assert_eq!(training(FlopConvention::CAUSAL, &published::deepseek_v3()), "249.81");
        assert_eq!(training(FlopConvention::NONCAUSAL, &published::deepseek_v3()), "280.51");
        assert_eq!(training(WITH_GATE, &published::deepseek_v2()), "155.30");
        assert_eq!(training(WITH_GATE, &published::deepseek_v3()), "250.45");
    }

    #[test]
    fn table_2_counts_dense_models_by_the_generic_formula() {
        // Printed: 394 and 2448 GFLOP.
        assert_eq!(training(FlopConvention::GENERIC, &published::qwen2_5_72b()), "394.02");
        assert_eq!(training(FlopConvention::GENERIC, &published::llama3_1_405b()), "2447.85");
    }

    #[test]
    fn like_for_like_dense_models_cost_more_than_table_2_says() {
        let (qwen, llama) = (published::qwen2_5_72b(), published::llama3_1_405b());
        assert_eq!(training(FlopConvention::CAUSAL, &qwen), "444.86");
        assert_eq!(training(FlopConvention::NONCAUSAL, &qwen), "460.96");
        assert_eq!(training(FlopConvention::WEIGHTS_ONLY, &qwen), "428.75");
        assert_eq!(training(FlopConvention::CAUSAL, &llama), "2473.22");
        assert_eq!(training(FlopConvention::NONCAUSAL, &llama), "2523.96");
        assert_eq!(training(FlopConvention::WEIGHTS_ONLY, &llama), "2422.49");
    }

    #[test]
    fn a_prediction_module_adds_one_layer_its_projection_and_the_head() {
        let model = published::deepseek_v3();
        let mtp = CountedWeights::Configured { gate: false, mtp: true };
        let none = CountedWeights::Configured { gate: false, mtp: false };
        let layer = model.attention_weights() + 9 * 3 * 7168 * 2048;
        assert_eq!(mtp.multiplied(&model) - none.multiplied(&model), layer + 2 * 7168 * 7168 + 7168 * 129_280);
    }

    #[test]
    fn absorption_trades_work_for_memory_traffic() {
        let model = published::deepseek_v3();
        assert_eq!(model.attention_pair_flops(AttentionForm::Expanded), Flops::new(2 * 128 * (192 + 128)));
        assert_eq!(model.attention_pair_flops(AttentionForm::Absorbed), Flops::new(2 * 128 * (576 + 512)));
        let dense = published::qwen2_5_72b();
        assert_eq!(dense.attention_pair_flops(AttentionForm::Absorbed), Flops::new(2 * 64 * 256));
    }
}
