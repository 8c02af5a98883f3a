//! How much memory a plan takes on its fullest GPU, part by part.
//!
//! Weights, key-value cache, gradients and optimizer state are exact; activations are estimates, stated beside their
//! formulas. Not counted are the runtime's own memory, fragmentation and communication buffers, for which a check should
//! leave room in the capacity that it is given. This module must not know any GPU beyond that capacity.

use super::activations::{
    FfnKind, RecomputeSpec, Values, attended_values, kept_values, recomputed_values, working_values,
};
use super::plan::Plan;
use crate::dtype::Dtype;
use crate::invalid::Invalid;
use crate::model::{AttentionForm, ModelSpec, PrecisionSpec};
use crate::units::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::{Add, Range};

/// Memory of one GPU, by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Weights that operations read.
    pub weights: Bytes,
    /// Keys and values, or latents, of the tokens in flight.
    pub kv_cache: Bytes,
    /// What operations hand to one another or keep for the backward pass.
    pub activations: Bytes,
    /// Gradients, accumulated over the micro-batches of a step.
    pub gradients: Bytes,
    /// Master weights and moments.
    pub optimizer: Bytes,
}

/// What a GPU serves at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InferenceLoad {
    /// Requests in flight on one data-parallel replica.
    pub requests: u64,
    /// Tokens cached per request.
    pub context: u64,
    /// Tokens that one replica computes in one step: its requests in decode, a batch of prompts in prefill.
    pub step_tokens: u64,
    /// How MLA meets its cache.
    pub form: AttentionForm,
    /// Whether multi-token-prediction modules are loaded, for speculative decoding.
    pub mtp: bool,
    /// Whether routed experts live in the memory of a CPU instead.
    pub experts_on_cpu: bool,
}

/// The stages of one rank of a pipeline, and the micro-batches whose activations it keeps of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankLoad {
    /// The stages whose weights it holds.
    pub stages: Vec<u32>,
    /// Numbers of micro-batches kept at once, stage by stage; every combination that occurs in a step.
    pub kept: Vec<Vec<u64>>,
}

/// What the GPUs of a pipeline train at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingLoad {
    /// Tokens of one micro-batch on one tensor-parallel group.
    pub micro_batch_tokens: u64,
    /// Stages that the model is cut into.
    pub stages: u32,
    /// What each rank of the pipeline holds.
    pub ranks: Vec<RankLoad>,
    /// Copies of each stage within one pipeline: two where micro-batches enter at both ends, as with DualPipe.
    pub copies: u32,
    /// What the backward pass computes again.
    pub recompute: RecomputeSpec,
    /// Whether multi-token-prediction modules are trained.
    pub mtp: bool,
    /// Formats of what the optimizer keeps.
    pub optimizer: OptimizerSpec,
}

/// Formats of what the optimizer keeps; those of DeepSeek-V3 (arXiv 2412.19437, section 3.3.3) where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSpec {
    /// Gradients; every GPU holds those of all its weights.
    pub gradients: Dtype,
    /// Master weights, divided among the replicas of the weights (ZeRO stage 1, arXiv 1910.02054).
    pub master: Dtype,
    /// First and second moment of AdamW, divided likewise.
    pub moments: Dtype,
}

impl Default for OptimizerSpec {
    fn default() -> OptimizerSpec {
        OptimizerSpec { gradients: Dtype::Fp32, master: Dtype::Fp32, moments: Dtype::Bf16 }
    }
}

/// The memory of the fullest GPU while it serves.
pub fn inference_memory(model: &ModelSpec, plan: &Plan, precision: &PrecisionSpec, load: &InferenceLoad) -> MemoryUse {
    let cut = plan.cut(model.layers, plan.pp());
    fullest((0..plan.pp()).map(|stage| {
        let mut share = Share::of(model, plan, &cut, &[stage], load.mtp);
        if load.experts_on_cpu {
            share.routed_experts = 0;
        }
        let cached = load.requests * load.context * share.layers() * model.kv_values_per_layer_on(plan.tp());
        let working = |(ffn, _)| working_values(model, plan.tp(), ffn, load.form).bytes(load.step_tokens, precision);
        let layer = share.ffns().map(working).max().unwrap_or_default();
        let logits = if share.head { share.logits(model, plan, load.requests) } else { Bytes::new(0) };
        MemoryUse {
            weights: share.weights(precision),
            kv_cache: precision.kv_cache.bytes(cached),
            activations: layer + logits,
            ..MemoryUse::default()
        }
    }))
}

/// The memory of the fullest GPU while it trains.
pub fn training_memory(model: &ModelSpec, plan: &Plan, precision: &PrecisionSpec, load: &TrainingLoad) -> MemoryUse {
    let cut = plan.cut(model.layers, load.stages);
    fullest(load.ranks.iter().map(|rank| training_rank(model, plan, precision, load, &cut, rank)))
}

fn training_rank(
    model: &ModelSpec,
    plan: &Plan,
    precision: &PrecisionSpec,
    load: &TrainingLoad,
    cut: &[Range<u32>],
    rank: &RankLoad,
) -> MemoryUse {
    let share = Share::of(model, plan, cut, &rank.stages, load.mtp);
    let tokens = load.micro_batch_tokens;
    let of_stage = |stage: &u32| {
        let kept = Share::of(model, plan, cut, &[*stage], load.mtp).kept(model, plan, load.recompute);
        kept.bytes(tokens, precision)
    };
    let of_stages: Vec<Bytes> = rank.stages.iter().map(of_stage).collect();
    let at_once = |kept: &Vec<u64>| of_stages.iter().zip(kept).map(|(&bytes, &count)| bytes * count).sum::<Bytes>();
    let again = share.ffns().map(|(ffn, _)| {
        let again = recomputed_values(model, plan.tp(), ffn, load.recompute);
        again.bytes(tokens, precision)
    });
    let kept = rank.kept.iter().map(at_once).max().unwrap_or_default() + again.max().unwrap_or_default();
    let logits = if share.head { share.logits(model, plan, tokens) } else { Bytes::new(0) };
    // Keys and values of whole sequences, and gradients of them, while a layer computes.
    let others = tokens * u64::from(plan.cp() - 1);
    let gathered = precision.activations.bytes(2 * others * attended_values(model, plan.tp()));
    MemoryUse {
        weights: share.weights(precision),
        kv_cache: Bytes::new(0),
        activations: kept + logits + gathered,
        gradients: load.optimizer.gradients.bytes(share.parameters()),
        optimizer: share.optimizer(plan, load.copies, &load.optimizer),
    }
}

/// Parameters that one GPU trains, by how many GPUs hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainedWeights {
    /// Of routed experts.
    pub experts: u64,
    /// Of all else.
    pub rest: u64,
    /// Of `rest`: embedding, head, gates and norms, which products never meet in a narrow format.
    pub wide: u64,
}

/// The parameters on a GPU that trains `stages` of the `cut` that the plan makes of the model's layers.
pub fn trained_weights(
    model: &ModelSpec,
    plan: &Plan,
    cut: &[Range<u32>],
    stages: &[u32],
    mtp: bool,
) -> TrainedWeights {
    let share = Share::of(model, plan, cut, stages, mtp);
    TrainedWeights {
        experts: share.routed_experts,
        rest: share.parameters() - share.routed_experts,
        wide: share.embedding,
    }
}

fn fullest(stages: impl Iterator<Item = MemoryUse>) -> MemoryUse {
    stages.max_by_key(MemoryUse::total).expect("a plan has a stage")
}

/// The part of a model on one GPU.
struct Share {
    dense_layers: u64,
    moe_layers: u64,
    head: bool,
    /// Parameters of attention and dense feed-forward networks.
    weights: u64,
    shared_experts: u64,
    routed_experts: u64,
    /// Parameters of embedding, head, gates and norms.
    embedding: u64,
}

impl Share {
    /// What one GPU of `stages` holds; the last stage also holds the multi-token-prediction modules.
    fn of(model: &ModelSpec, plan: &Plan, cut: &[Range<u32>], stages: &[u32], mtp: bool) -> Share {
        let tp = plan.tp();
        let (first, last) = (stages.contains(&0), stages.contains(&(cut.len() as u32 - 1)));
        let modules = if mtp && last { u64::from(model.mtp_modules) } else { 0 };
        let layers = stages.iter().flat_map(|stage| cut[*stage as usize].clone());
        let (dense, moe): (Vec<u32>, Vec<u32>) = layers.partition(|layer| *layer < model.dense_layers());
        let (mut dense_layers, mut moe_layers) = (dense.len() as u64, moe.len() as u64);
        match &model.moe {
            Some(_) => moe_layers += modules,
            None => dense_layers += modules,
        }
        let layers = dense_layers + moe_layers;
        let projection = modules * model.mtp_projection().parameters();
        let ffn: u64 = model.dense_ffn_projections().into_iter().map(|p| p.shard(tp).parameters()).sum();
        let expert = model.expert_parameters();
        let shared = match &model.moe {
            Some(moe) if plan.shared_everywhere() => u64::from(moe.shared_experts),
            Some(_) | None => 0,
        };

        let table = model.head_projection().shard(tp).parameters();
        let embedded = first || modules > 0;
        let tables = u64::from(embedded) + u64::from(last && !(embedded && model.tied_embeddings));
        let norms = layers * model.layer_norm_parameters() + (u64::from(last) + 3 * modules) * model.hidden.wide();
        Share {
            dense_layers,
            moe_layers,
            head: last,
            weights: layers * model.attention_parameters_on(tp) + dense_layers * ffn + projection,
            shared_experts: moe_layers * shared * expert,
            routed_experts: moe_layers * u64::from(plan.experts_per_gpu(model)) * expert / u64::from(plan.expert_tp()),
            embedding: tables * table + moe_layers * model.gate_parameters() + norms,
        }
    }

    fn layers(&self) -> u64 {
        self.dense_layers + self.moe_layers
    }

    /// The kinds of layer that there are, and how many of each.
    fn ffns(&self) -> impl Iterator<Item = (FfnKind, u64)> {
        let kinds = [(FfnKind::Dense, self.dense_layers), (FfnKind::Moe, self.moe_layers)];
        kinds.into_iter().filter(|(_, layers)| *layers > 0)
    }

    fn parameters(&self) -> u64 {
        self.weights + self.shared_experts + self.routed_experts + self.embedding
    }

    fn weights(&self, precision: &PrecisionSpec) -> Bytes {
        precision.weights.bytes(self.weights)
            + precision.experts.bytes(self.shared_experts + self.routed_experts)
            + precision.embedding.bytes(self.embedding)
    }

    /// Values per token that all layers keep for the backward pass.
    fn kept(&self, model: &ModelSpec, plan: &Plan, recompute: RecomputeSpec) -> Values {
        let kept = |(ffn, layers)| kept_values(model, plan.tp(), ffn, recompute).times(layers);
        self.ffns().map(kept).fold(Values::default(), Values::add)
    }

    /// The head's output, in FP32, of `rows` tokens.
    fn logits(&self, model: &ModelSpec, plan: &Plan, rows: u64) -> Bytes {
        Dtype::Fp32.bytes(rows * model.head_projection().shard(plan.tp()).output)
    }

    /// Master weights and moments: of the experts divided among their replicas, of the rest among all of `dp`.
    fn optimizer(&self, plan: &Plan, copies: u32, optimizer: &OptimizerSpec) -> Bytes {
        let replicated = self.parameters() - self.routed_experts;
        let held = replicated.div_ceil(u64::from(copies * plan.dp()))
            + self.routed_experts.div_ceil(u64::from(copies * plan.expert_replicas()));
        optimizer.master.bytes(held) + optimizer.moments.bytes(2 * held)
    }
}

impl MemoryUse {
    /// All parts together.
    pub fn total(&self) -> Bytes {
        self.parts().into_iter().map(|(_, bytes, _)| bytes).sum()
    }

    /// Whether a GPU with `capacity` holds it; if not, what takes how much and what to change.
    pub fn fits(&self, capacity: Bytes) -> Result<(), Invalid> {
        if self.total() <= capacity {
            return Ok(());
        }
        let parts = self.parts().into_iter().filter(|(_, bytes, _)| *bytes > Bytes::new(0));
        let listed: Vec<String> = parts.map(|(name, bytes, _)| format!("{name} {bytes:.2}")).collect();
        let message = format!(
            "the plan needs {:.2} on its fullest GPU ({}), which has {capacity:.2}",
            self.total(),
            listed.join(", ")
        );
        let largest = self.parts().into_iter().max_by_key(|(_, bytes, _)| *bytes);
        let (name, _, remedy) = largest.expect("memory has parts");
        Err(Invalid::at("", message).help(format!("{name} take most: {remedy}")))
    }

    fn parts(&self) -> [(&'static str, Bytes, &'static str); 5] {
        // Inference has no pipelines, and more replicas of it do not relieve a GPU of what its own requests need.
        let trains = self.gradients + self.optimizer > Bytes::ZERO;
        let (weights, activations) = if trains {
            (
                "raise `ep`, `tp` or `pp`, or store them in a narrower format",
                "shrink the micro-batch, recompute more, or raise `tp`",
            )
        } else {
            (
                "raise `ep` or `tp`, or store them in a narrower format",
                "lower `requests_per_gpu` or `tokens_per_gpu`, or raise `tp`",
            )
        };
        let kv_cache = "lower `requests_per_gpu` or `context` (`tokens_per_gpu` or `prompt` of prompts), store them in a \
                        narrower format (`precision.kv_cache`), or raise `tp`";
        [
            ("weights", self.weights, weights),
            ("KV caches", self.kv_cache, kv_cache),
            ("activations", self.activations, activations),
            ("gradients", self.gradients, "raise `ep`, `tp` or `pp`"),
            ("optimizer states", self.optimizer, "raise `dp`, `ep`, `tp` or `pp`"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Parameters, published};
    use crate::parallelism::PlanSpec;
    use crate::units::Count;

    const DECODE: InferenceLoad = InferenceLoad {
        requests: 128,
        context: 4096,
        step_tokens: 128,
        form: AttentionForm::Absorbed,
        mtp: false,
        experts_on_cpu: false,
    };
    /// DualPipe with 16 ranks: each holds two stages and keeps 17 micro-batches, 9 of one and 8 of the other, or the reverse.
    fn pretraining() -> TrainingLoad {
        let rank = |rank| RankLoad { stages: vec![rank, 15 - rank], kept: vec![vec![9, 8], vec![8, 9]] };
        TrainingLoad {
            micro_batch_tokens: 4096,
            stages: 16,
            ranks: (0..16).map(rank).collect(),
            copies: 2,
            recompute: RecomputeSpec::Selective,
            mtp: true,
            optimizer: OptimizerSpec::default(),
        }
    }

    fn share(model: &ModelSpec, plan: &Plan, stages: &[u32], mtp: bool) -> Share {
        Share::of(model, plan, &plan.cut(model.layers, plan.pp()), stages, mtp)
    }

    const BF16: PrecisionSpec = PrecisionSpec::all(Dtype::Bf16);
    const NOTHING: Bytes = Bytes::new(0);

    fn plan(model: &ModelSpec, (tp, pp, ep): (u32, u32, u32), redundant_experts: u32, gpus: u32) -> Plan {
        let count = |n| Count::new(n).expect("at least one");
        let spec = PlanSpec { tp: count(tp), pp: count(pp), ep: count(ep), redundant_experts, ..PlanSpec::default() };
        spec.check(gpus, model).expect("a plan")
    }

    #[test]
    fn one_gpu_holds_all_parameters() {
        for (file, model) in published::all() {
            let held = share(&model, &plan(&model, (1, 1, 1), 0, 1), &[0], true);
            assert_eq!(held.parameters(), Parameters::of(&model).total_with_mtp(), "{file}");
        }
    }

    #[test]
    fn the_gpus_of_a_plan_hold_every_parameter_once() {
        // Tensor parallelism cuts all of this model but its norms, which every GPU holds.
        let model = published::llama3_1_70b();
        let plan = plan(&model, (8, 4, 1), 0, 32);
        let held: u64 = (0..4).map(|stage| share(&model, &plan, &[stage], false).parameters()).sum();
        let parameters = Parameters::of(&model);
        assert_eq!(8 * held, parameters.total() + 7 * parameters.norms);
    }

    #[test]
    fn deepseek_v3_decodes_on_144_gpus() {
        let model = published::deepseek_v3();
        let plan = plan(&model, (1, 1, 144), 32, 144);
        let used = inference_memory(&model, &plan, &PrecisionSpec::DEEPSEEK_V3, &DECODE);
        let (attention, expert) = (model.attention_parameters(), model.expert_parameters());
        let narrow = 61 * attention + 3 * model.dense_ffn_parameters() + 58 * (1 + 2) * expert;
        let parameters = Parameters::of(&model);
        let wide = 2 * parameters.embedding + parameters.gate + parameters.norms;
        assert_eq!(used.weights, Bytes::new(narrow + 2 * wide));
        assert_eq!(used.kv_cache, Bytes::new(128 * 4096 * 70_272));
        assert_eq!((used.gradients, used.optimizer), (NOTHING, NOTHING));
        assert_eq!(used.fits(Bytes::new(80_000_000_000)), Ok(()));
    }

    #[test]
    fn deepseek_v3_trains_on_2048_gpus_of_80_gib() {
        let model = published::deepseek_v3();
        let plan = plan(&model, (1, 16, 64), 0, 2048);
        let fp8 = PrecisionSpec::DEEPSEEK_V3;
        let used = training_memory(&model, &plan, &fp8, &pretraining());
        assert_eq!(used.fits(Bytes::new(80 << 30)), Ok(()), "{used:?}");
        // It does need what it was built with: nothing recomputed, or experts' inputs in BF16, would not fit.
        let kept = TrainingLoad { recompute: RecomputeSpec::None, ..pretraining() };
        assert!(training_memory(&model, &plan, &fp8, &kept).fits(Bytes::new(80 << 30)).is_err());
        let wide = PrecisionSpec { expert_activations: Dtype::Bf16, ..fp8 };
        assert!(training_memory(&model, &plan, &wide, &pretraining()).fits(Bytes::new(80 << 30)).is_err());
        // A GPU holds two stages of four layers, with four experts each, and replicates experts only twice.
        let held = share(&model, &plan, &[5, 10], true);
        let experts = 8 * 4 * model.expert_parameters();
        let rest = 8 * (model.attention_parameters() + model.expert_parameters() + model.gate_parameters())
            + 8 * model.layer_norm_parameters();
        assert_eq!(held.parameters(), experts + rest);
        let divided = rest.div_ceil(256) + experts / 4;
        assert_eq!(held.optimizer(&plan, 2, &OptimizerSpec::default()), Bytes::new(8 * divided));
    }

    #[test]
    fn mirrored_stages_share_embedding_and_head_with_the_prediction_module() {
        let model = published::deepseek_v3();
        let plan = plan(&model, (1, 16, 64), 0, 2048);
        let separate = |stage: u32| share(&model, &plan, &[stage], true).parameters();
        let both = share(&model, &plan, &[0, 15], true).parameters();
        assert_eq!(separate(0) + separate(15) - both, model.head_projection().parameters());
    }

    #[test]
    fn recomputation_trades_work_for_activations() {
        let model = published::llama3_1_70b();
        let plan = plan(&model, (8, 4, 1), 0, 32);
        let activations = |recompute| {
            let ranks = (0..4).map(|rank| RankLoad { stages: vec![rank], kept: vec![vec![4]] }).collect();
            let load = TrainingLoad { stages: 4, copies: 1, ranks, recompute, mtp: false, ..pretraining() };
            training_memory(&model, &plan, &BF16, &load).activations
        };
        let kept = |recompute| kept_values(&model, 8, FfnKind::Dense, recompute).plain;
        let logits = 4096 * (128_256 / 8) * 4;
        let (none, full) = (kept(RecomputeSpec::None), kept(RecomputeSpec::Full));
        assert_eq!(activations(RecomputeSpec::None), Bytes::new(2 * 4096 * 4 * 20 * none + logits));
        assert_eq!(activations(RecomputeSpec::Full), Bytes::new(2 * 4096 * (4 * 20 * full + none - full) + logits));
        assert!(activations(RecomputeSpec::Selective) < activations(RecomputeSpec::None));
    }

    #[test]
    fn tensor_parallelism_divides_key_value_heads() {
        let model = published::qwen2_5_72b();
        let cache = |tp| inference_memory(&model, &plan(&model, (tp, 1, 1), 0, tp), &BF16, &DECODE).kv_cache;
        assert_eq!(cache(1), Bytes::new(128 * 4096 * 327_680));
        assert_eq!(cache(1), cache(8) * 8);
    }

    #[test]
    fn what_does_not_fit_is_named_part_by_part() {
        let used = MemoryUse {
            weights: Bytes::new(60_000_000_000),
            kv_cache: Bytes::new(70_500_000_000),
            activations: Bytes::new(1_250_000_000),
            ..MemoryUse::default()
        };
        assert_eq!(used.fits(used.total()), Ok(()));
        let finding = used.fits(Bytes::new(80_000_000_000)).expect_err("too much");
        assert_eq!(
            finding.message,
            "the plan needs 131.75 GB on its fullest GPU (weights 60.00 GB, KV caches 70.50 GB, activations 1.25 GB), \
             which has 80.00 GB"
        );
        assert!(finding.help.is_some_and(|help| help.starts_with("KV caches take most: lower `requests_per_gpu`")));
    }
}
