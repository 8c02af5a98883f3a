//! How many parameters a model has, by part.
//!
//! Counted are the weights that a checkpoint holds and gradients change. The correction bias of auxiliary-loss-free
//! balancing (one value per routed expert in DeepSeek-V3, 14,848 in all) is set by a rule, not by a gradient, and is
//! left out.

use super::{AttentionSpec, Division, ModelSpec, PrecisionSpec, Projection};
use crate::units::Bytes;

/// Parameters of a whole model, by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The embedding table.
    pub embedding: u64,
    /// The output head; none where it is tied to the embedding.
    pub head: u64,
    /// The projections of all attention blocks, biases included.
    pub attention: u64,
    /// The dense feed-forward networks.
    pub dense_ffn: u64,
    /// The gates (routers) of the mixtures of experts.
    pub gate: u64,
    /// The experts that every token visits.
    pub shared_experts: u64,
    /// The routed experts, all of them.
    pub routed_experts: u64,
    /// The routed experts that one token visits.
    pub visited_experts: u64,
    /// The weights of every RMSNorm.
    pub norms: u64,
    /// Multi-token-prediction modules, without the embedding and head that they share with the model.
    pub mtp: u64,
    /// Copies of embedding and head that a published checkpoint repeats for its multi-token-prediction modules.
    pub mtp_copies: u64,
}

impl Parameters {
    /// The parameters of `model`.
    pub fn of(model: &ModelSpec) -> Parameters {
        let (layers, moe_layers) = (model.layers.wide(), u64::from(model.moe_layers()));
        let (shared, routed, visited) = model.experts();
        let expert = model.expert_parameters();
        let embedding = model.head_projection().parameters();
        let modules = u64::from(model.mtp_modules);
        Parameters {
            embedding,
            head: if model.tied_embeddings { 0 } else { embedding },
            attention: layers * model.attention_parameters(),
            dense_ffn: u64::from(model.dense_layers()) * model.dense_ffn_parameters(),
            gate: moe_layers * model.gate_parameters(),
            shared_experts: moe_layers * shared * expert,
            routed_experts: moe_layers * routed * expert,
            visited_experts: moe_layers * visited * expert,
            norms: layers * model.layer_norm_parameters() + model.hidden.wide(),
            mtp: modules * model.mtp_module_parameters(),
            mtp_copies: modules * 2 * embedding,
        }
    }

    /// All parameters of the model itself, without multi-token-prediction modules.
    pub const fn total(&self) -> u64 {
        self.embedding + self.head + self.every_token() + self.routed_experts
    }

    /// All parameters, with multi-token-prediction modules that share the model's embedding and head.
    pub const fn total_with_mtp(&self) -> u64 {
        self.total() + self.mtp
    }

    /// All parameters as a published checkpoint stores them: each multi-token-prediction module repeats the embedding
    /// and the head (`README_WEIGHTS.md` of deepseek-ai/DeepSeek-V3: 671B + 14B = 685B).
    pub const fn total_stored(&self) -> u64 {
        self.total_with_mtp() + self.mtp_copies
    }

    /// Parameters that multiply one token: without the embedding, of which it reads one row, unless that is the head.
    pub const fn active(&self) -> u64 {
        self.head_used() + self.every_token() + self.visited_experts
    }

    /// Parameters that one token uses, with the whole embedding: what publishers call activated parameters.
    pub const fn active_with_embedding(&self) -> u64 {
        self.embedding + self.head + self.every_token() + self.visited_experts
    }

    /// What [`total`](Self::total) takes.
    pub fn bytes(&self, precision: &PrecisionSpec) -> Bytes {
        precision.weights.bytes(self.attention + self.dense_ffn)
            + precision.experts.bytes(self.shared_experts + self.routed_experts)
            + precision.embedding.bytes(self.embedding + self.head + self.gate + self.norms)
    }

    /// What [`active`](Self::active) takes: the weights that a step reads which decodes a single token.
    pub fn active_bytes(&self, precision: &PrecisionSpec) -> Bytes {
        precision.weights.bytes(self.attention + self.dense_ffn)
            + precision.experts.bytes(self.shared_experts + self.visited_experts)
            + precision.embedding.bytes(self.head_used() + self.gate + self.norms)
    }

    /// Parameters of all layers that every token meets.
    const fn every_token(&self) -> u64 {
        self.attention + self.dense_ffn + self.gate + self.shared_experts + self.norms
    }

    const fn head_used(&self) -> u64 {
        if self.head == 0 { self.embedding } else { self.head }
    }
}

impl ModelSpec {
    /// Parameters of one layer's attention: projections and biases, without norms.
    pub fn attention_parameters(&self) -> u64 {
        self.attention_parameters_on(1)
    }

    /// Parameters of one layer's attention on the fullest of `tp` GPUs that share its heads.
    pub fn attention_parameters_on(&self, tp: u32) -> u64 {
        let shards = self.attention_projections().into_iter().map(|p| p.shard(tp));
        shards.map(|shard| shard.parameters() + self.bias_of(&shard)).sum()
    }

    /// Parameters of one dense feed-forward network; zero where the model has none.
    pub fn dense_ffn_parameters(&self) -> u64 {
        sum(&self.dense_ffn_projections())
    }

    /// Parameters of one expert, routed or shared; zero without a mixture of experts.
    pub fn expert_parameters(&self) -> u64 {
        sum(&self.expert_projections())
    }

    /// Parameters of one gate; zero without a mixture of experts.
    pub fn gate_parameters(&self) -> u64 {
        self.gate_projection().map_or(0, |gate| gate.parameters())
    }

    /// Weights of the norms of one layer: two of the residual stream, and those of the latents of MLA.
    pub fn layer_norm_parameters(&self) -> u64 {
        let latents = match &self.attention {
            AttentionSpec::Mla(mla) => mla.q_lora_rank.map_or(0, |rank| rank.wide()) + mla.kv_lora_rank.wide(),
            AttentionSpec::Gqa(_) => 0,
        };
        2 * self.hidden.wide() + latents
    }

    /// Parameters of one multi-token-prediction module, without the shared embedding and head: the projection with its
    /// two norms, one transformer layer of the last kind, and the norm before the head (arXiv 2412.19437, section 2.2).
    pub fn mtp_module_parameters(&self) -> u64 {
        let (shared, routed, _) = self.experts();
        let ffn = match &self.moe {
            Some(_) => self.gate_parameters() + (shared + routed) * self.expert_parameters(),
            None => self.dense_ffn_parameters(),
        };
        let layer = self.attention_parameters() + ffn + self.layer_norm_parameters();
        self.mtp_projection().parameters() + layer + 3 * self.hidden.wide()
    }

    /// Experts of one layer that are shared, that are routed, and that are routed and visited by one token.
    pub(super) fn experts(&self) -> (u64, u64, u64) {
        self.moe.as_ref().map_or((0, 0, 0), |moe| {
            (u64::from(moe.shared_experts), moe.routed_experts.wide(), moe.experts_per_token.wide())
        })
    }

    /// Biases of one projection of attention: of queries, keys and values, which divide by their outputs.
    fn bias_of(&self, projection: &Projection) -> u64 {
        match (&self.attention, projection.division) {
            (AttentionSpec::Gqa(gqa), Division::Output(_)) if gqa.qkv_bias => projection.output,
            (AttentionSpec::Gqa(_) | AttentionSpec::Mla(_), _) => 0,
        }
    }
}

fn sum(projections: &[Projection]) -> u64 {
    projections.iter().map(Projection::parameters).sum()
}

#[cfg(test)]
mod tests {
    use super::super::published;
    use super::*;

    #[test]
    fn deepseek_v3_has_its_published_size() {
        let parameters = Parameters::of(&published::deepseek_v3());
        // 671B, and 685B with the multi-token-prediction module as it is stored, of which 11.6B are its own.
        assert_eq!(parameters.total(), 671_026_404_352);
        assert_eq!(parameters.mtp, 11_610_067_968);
        assert_eq!(parameters.total_with_mtp(), 682_636_472_320);
        assert_eq!(parameters.total_stored(), 684_489_830_400);
        // 37B activated, embedding included; 36.6B without.
        assert_eq!(parameters.active(), 36_625_603_584);
        assert_eq!(parameters.active_with_embedding(), 37_552_282_624);
    }

    #[test]
    fn a_layer_of_deepseek_v3_adds_up() {
        let model = published::deepseek_v3();
        let mla = 7168 * 1536 + 1536 * 128 * 192 + 7168 * (512 + 64) + 512 * 128 * (128 + 128) + 128 * 128 * 7168;
        assert_eq!(model.attention_parameters(), mla);
        assert_eq!(model.expert_parameters(), 3 * 7168 * 2048);
        assert_eq!(model.dense_ffn_parameters(), 3 * 7168 * 18432);
        assert_eq!(model.gate_parameters(), 7168 * 256);
        assert_eq!(model.layer_norm_parameters(), 2 * 7168 + 1536 + 512);
    }

    #[test]
    fn other_models_have_their_published_sizes() {
        let total = |model: ModelSpec| Parameters::of(&model).total();
        assert_eq!(total(published::deepseek_v2()), 235_741_434_880);
        assert_eq!(total(published::deepseek_v2_lite()), 15_706_484_224);
        assert_eq!(total(published::qwen2_5_72b()), 72_706_203_648);
        assert_eq!(total(published::llama3_1_405b()), 405_853_388_800);
        assert_eq!(total(published::llama3_1_70b()), 70_553_706_496);
        assert_eq!(total(published::mixtral_8x7b()), 46_702_792_704);
        assert_eq!(total(published::qwen3_235b_a22b()), 235_093_610_496);
        assert_eq!(Parameters::of(&published::deepseek_v2()).active_with_embedding(), 21_375_800_320);
    }

    #[test]
    fn a_tied_head_is_stored_once() {
        let untied = published::qwen2_5_72b();
        let tied = ModelSpec { tied_embeddings: true, ..untied.clone() };
        let saved = Parameters::of(&untied).total() - Parameters::of(&tied).total();
        assert_eq!(saved, 152_064 * 8192);
        assert_eq!(Parameters::of(&untied).active(), Parameters::of(&tied).active());
    }

    #[test]
    fn bytes_follow_the_format_of_each_part() {
        let parameters = Parameters::of(&published::deepseek_v3());
        assert_eq!(parameters.bytes(&PrecisionSpec::default()), Bytes::new(2 * parameters.total()));
        assert_eq!(parameters.active_bytes(&PrecisionSpec::default()), Bytes::new(2 * parameters.active()));
        let wide = parameters.head + parameters.gate + parameters.norms;
        let fp8 = parameters.active_bytes(&PrecisionSpec::DEEPSEEK_V3);
        assert_eq!(fp8, Bytes::new(parameters.active() + wide));
    }
}
