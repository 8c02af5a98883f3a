//! The sizes of a parallel plan, as written and as checked against a cluster and a model.

use crate::invalid::Invalid;
use crate::model::{AttentionSpec, ModelSpec};
use crate::units::Count;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A parallel plan: GPUs = tp x cp x pp x dp, and expert parallelism regroups the tp x cp x dp GPUs of each stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlanSpec {
    /// Tensor parallelism: GPUs that share the heads and the dense feed-forward networks of a layer.
    pub tp: Count,
    /// Context parallelism, in training: groups of `tp` GPUs that share each sequence. Each has two pieces of `2 cp`, one as far from the start
    /// as the other from the end, so that all have equally much causal attention, and gathers keys and values of the others.
    pub cp: Count,
    /// Pipeline parallelism: stages that the layers are cut into.
    pub pp: Count,
    /// Expert parallelism: GPUs, or groups of `expert_tp` of them, that share the routed experts of a layer.
    pub ep: Count,
    /// GPUs that each routed expert is cut over, as `tp` cuts a dense feed-forward network. More than one only where attention
    /// is tensor parallel over the same GPUs: `ep` x `expert_tp` = `tp`.
    pub expert_tp: Count,
    /// Layers of the last pipeline stage, which may be fewer because it also holds the head; the other stages share the rest.
    /// Without it, all stages share all layers.
    pub last_stage_layers: Option<Count>,
    /// Data parallelism: copies of the model without its experts; without it, what the number of GPUs leaves.
    pub dp: Option<Count>,
    /// Further copies of busy experts, in every layer; they are shared out like the routed experts.
    pub redundant_experts: u32,
    /// Places in every layer that hold the shared expert, to which tokens then travel as to a routed one; without it,
    /// every GPU holds the shared expert itself.
    pub shared_copies: Option<Count>,
    /// Where experts live.
    pub placement: ExpertPlacement,
}

/// Where experts live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpertPlacement {
    /// Spread evenly over the GPUs of the expert-parallel group; what a token finds at home does not travel.
    #[default]
    Spread,
    /// The idealisation of arXiv 2505.09343, section 2.3.2: each GPU holds one expert, whatever their number, no token
    /// finds one of its experts at home, and the shared expert is one of those that it travels to.
    OneExpertPerDevice,
}

/// A plan that fits its number of GPUs and its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    tp: u32,
    cp: u32,
    pp: u32,
    last_stage_layers: Option<Count>,
    ep: u32,
    expert_tp: u32,
    dp: u32,
    redundant_experts: u32,
    shared_copies: Option<Count>,
    placement: ExpertPlacement,
}

impl Default for PlanSpec {
    fn default() -> PlanSpec {
        PlanSpec {
            tp: Count::ONE,
            cp: Count::ONE,
            pp: Count::ONE,
            last_stage_layers: None,
            ep: Count::ONE,
            expert_tp: Count::ONE,
            dp: None,
            redundant_experts: 0,
            shared_copies: None,
            placement: ExpertPlacement::Spread,
        }
    }
}

impl PlanSpec {
    /// The plan of `model` on `gpus` GPUs, or the first thing in it that does not fit.
    pub fn check(&self, gpus: u32, model: &ModelSpec) -> Result<Plan, Invalid> {
        self.check_tp(model)?;
        self.check_pp(model)?;
        let dp = self.data_parallel(gpus)? * self.cp.get();
        self.check_experts(model, u64::from(dp) * self.tp.wide())?;
        self.check_cut_experts(model)?;
        self.check_cp(model)?;
        let (tp, pp, ep, expert_tp) = (self.tp.get(), self.pp.get(), self.ep.get(), self.expert_tp.get());
        let cp = self.cp.get();
        let PlanSpec { redundant_experts, shared_copies, placement, last_stage_layers, .. } = *self;
        Ok(Plan { tp, cp, pp, last_stage_layers, ep, expert_tp, dp, redundant_experts, shared_copies, placement })
    }

    fn check_tp(&self, model: &ModelSpec) -> Result<(), Invalid> {
        let Some(obstacle) = tp_obstacle(model, self.tp.wide()) else { return Ok(()) };
        let fitting = divisors(model.attention.heads().wide()).filter(|tp| tp_obstacle(model, *tp).is_none());
        let message = format!("`tp = {}` {obstacle} of {}", self.tp, model.name);
        Err(Invalid::at("tp", message).help(format!("tp may be {}", listed(fitting))))
    }

    fn check_pp(&self, model: &ModelSpec) -> Result<(), Invalid> {
        if self.pp > model.layers {
            let message = format!("`pp = {}` stages for the {} layers of {}", self.pp, model.layers, model.name);
            return Err(Invalid::at("pp", message).help("every stage needs at least one layer"));
        }
        let Some(last) = self.last_stage_layers else { return Ok(()) };
        let others = self.pp.get() - 1;
        if last.wide() + u64::from(others) > model.layers.wide() || (others == 0 && last != model.layers) {
            let message = format!(
                "`last_stage_layers = {last}` of the {} layers of {} for {} stages",
                model.layers, model.name, self.pp
            );
            return Err(Invalid::at("last_stage_layers", message).help("every stage needs at least one layer"));
        }
        Ok(())
    }

    /// An expert-parallel group holds whole sequences.
    fn check_cp(&self, model: &ModelSpec) -> Result<(), Invalid> {
        let shared = self.tp.wide() * self.cp.wide();
        if self.cp == Count::ONE || model.moe.is_none() || self.ep.wide().is_multiple_of(shared) {
            return Ok(());
        }
        let message =
            format!("ep {} for sequences that tp {} x cp {} = {shared} GPUs share", self.ep, self.tp, self.cp);
        Err(Invalid::at("ep", message).help("let `ep` be a multiple of tp x cp"))
    }

    /// The data-parallel size that fills exactly `gpus`.
    fn data_parallel(&self, gpus: u32) -> Result<u32, Invalid> {
        let (tp, cp, pp) = (self.tp, self.cp, self.pp);
        let replica = tp.wide() * cp.wide() * pp.wide();
        let named = if cp == Count::ONE { String::new() } else { format!(" x cp {cp}") };
        let cluster = u64::from(gpus);
        let fitting = cluster.is_multiple_of(replica).then_some(cluster / replica).filter(|dp| *dp > 0);
        let help = match fitting {
            Some(dp) => format!("dp {dp} would fit, or leave `dp` out"),
            None if cp == Count::ONE => format!("tp x pp may be {}", listed(divisors(cluster))),
            None => format!("tp x cp x pp may be {}", listed(divisors(cluster))),
        };
        match (self.dp, fitting) {
            (None, Some(dp)) => Ok(u32::try_from(dp).expect("a divisor of a number of GPUs")),
            (Some(dp), Some(fitting)) if dp.wide() == fitting => Ok(dp.get()),
            (Some(dp), _) => {
                let used = replica * dp.wide();
                let message = format!("tp {tp}{named} x pp {pp} x dp {dp} = {used} GPUs, but the cluster has {gpus}");
                Err(Invalid::at("dp", message).help(help))
            }
            (None, None) => {
                let message =
                    format!("tp {tp}{named} x pp {pp} = {replica} GPUs do not divide the {gpus} of the cluster");
                Err(Invalid::at(if pp.get() > 1 { "pp" } else { "tp" }, message).help(help))
            }
        }
    }

    fn check_experts(&self, model: &ModelSpec, stage: u64) -> Result<(), Invalid> {
        let ep = self.ep;
        let Some(moe) = &model.moe else {
            let (place, message) = if ep.get() > 1 {
                ("ep", format!("`ep = {ep}`, but {} has no experts", model.name))
            } else if self.redundant_experts > 0 {
                ("redundant_experts", format!("{} copies, but {} has no experts", self.redundant_experts, model.name))
            } else {
                return Ok(());
            };
            return Err(Invalid::at(place, message).help(format!("leave `{place}` out")));
        };
        // No GPU holds the same expert twice.
        let most = moe.routed_experts.wide() * (ep.wide() - 1);
        if u64::from(self.redundant_experts) > most {
            let message = format!(
                "{} copies of {} routed experts, but `ep = {ep}` GPUs hold at most {most} without repeating one",
                self.redundant_experts, moe.routed_experts
            );
            return Err(Invalid::at("redundant_experts", message).help("raise `ep`, or lower `redundant_experts`"));
        }
        let spread = self.placement == ExpertPlacement::Spread;
        let shared = self.shared_copies.map_or(0, |copies| copies.wide());
        let experts = moe.routed_experts.wide() + u64::from(self.redundant_experts) + shared;
        let sizes = divisors(stage).filter(|ep| !spread || experts.is_multiple_of(*ep));
        if !stage.is_multiple_of(ep.wide()) {
            let dp = stage / self.tp.wide();
            let message =
                format!("`ep = {ep}` does not divide tp {} x dp {dp} = {stage}, the GPUs of a stage", self.tp);
            return Err(Invalid::at("ep", message).help(format!("ep may be {}", listed(sizes))));
        }
        if spread && !experts.is_multiple_of(ep.wide()) {
            let copies = if shared == 0 { String::new() } else { format!(" + {shared} shared") };
            let message = format!(
                "`ep = {ep}` GPUs cannot share {} routed + {} redundant{copies} = {experts} experts evenly",
                moe.routed_experts, self.redundant_experts
            );
            let wanted = experts.next_multiple_of(ep.wide()) - moe.routed_experts.wide() - shared;
            let help = format!("ep may be {}; or set `redundant_experts = {wanted}`", listed(sizes));
            return Err(Invalid::at("ep", message).help(help));
        }
        Ok(())
    }

    /// What cuts experts agrees with what cuts attention.
    fn check_cut_experts(&self, model: &ModelSpec) -> Result<(), Invalid> {
        let (cut, ep, tp) = (self.expert_tp, self.ep, self.tp);
        if cut == Count::ONE {
            return Ok(());
        }
        let at = |message: String, help: &str| Err(Invalid::at("expert_tp", message).help(help));
        let Some(moe) = &model.moe else {
            return at(format!("`expert_tp = {cut}`, but {} has no experts", model.name), "leave `expert_tp` out");
        };
        if ep.wide() * cut.wide() != tp.wide() {
            let message = format!("ep {ep} x expert_tp {cut} GPUs for experts, and tp {tp} for attention");
            return at(message, "let ep x expert_tp be tp, or leave `expert_tp` out");
        }
        if !moe.intermediate.wide().is_multiple_of(cut.wide()) {
            let message = format!("`expert_tp = {cut}` does not divide `intermediate = {}`", moe.intermediate);
            return at(message, "let it divide the width of an expert");
        }
        if self.placement != ExpertPlacement::Spread || self.shared_copies.is_some() {
            return at("cut experts with placed copies".to_owned(), "leave `placement` and `shared_copies` out");
        }
        Ok(())
    }
}

impl Plan {
    /// GPUs that share the heads and the dense feed-forward networks of a layer.
    pub const fn tp(&self) -> u32 {
        self.tp
    }

    /// Groups of `tp` GPUs that share each sequence.
    pub const fn cp(&self) -> u32 {
        self.cp
    }

    /// Pipeline stages.
    pub const fn pp(&self) -> u32 {
        self.pp
    }

    /// GPUs that share the routed experts of a layer.
    pub const fn ep(&self) -> u32 {
        self.ep
    }

    /// GPUs that each routed expert is cut over.
    pub const fn expert_tp(&self) -> u32 {
        self.expert_tp
    }

    /// Copies of the model without its experts; those that share sequences count each by itself.
    pub const fn dp(&self) -> u32 {
        self.dp
    }

    /// Copies that work on sequences of their own.
    pub const fn replicas(&self) -> u32 {
        self.dp / self.cp
    }

    /// Copies of busy experts in every layer.
    pub const fn redundant_experts(&self) -> u32 {
        self.redundant_experts
    }

    /// Places in every layer that hold the shared expert, where not every GPU does.
    pub const fn shared_copies(&self) -> Option<Count> {
        self.shared_copies
    }

    /// Where experts live.
    pub const fn placement(&self) -> ExpertPlacement {
        self.placement
    }

    /// GPUs of one stage.
    pub const fn stage_gpus(&self) -> u32 {
        self.tp * self.dp
    }

    /// GPUs of the plan.
    pub const fn gpus(&self) -> u32 {
        self.stage_gpus() * self.pp
    }

    /// Copies of each expert-parallel group: the GPUs over which one expert's gradient is summed.
    pub const fn expert_replicas(&self) -> u32 {
        self.stage_gpus() / (self.ep * self.expert_tp)
    }

    /// Experts of `model` that one GPU holds (a part of) per layer, redundant and placed shared copies included; zero for a dense
    /// model.
    pub fn experts_per_gpu(&self, model: &ModelSpec) -> u32 {
        let Some(moe) = &model.moe else { return 0 };
        if self.placement == ExpertPlacement::OneExpertPerDevice {
            return 1;
        }
        let shared = self.shared_copies.map_or(0, |copies| copies.wide());
        let all = moe.routed_experts.wide() + u64::from(self.redundant_experts) + shared;
        u32::try_from(all / u64::from(self.ep)).expect("at most every expert and its copies")
    }

    /// Whether every GPU holds the shared experts of a mixture itself.
    pub fn shared_everywhere(&self) -> bool {
        self.placement == ExpertPlacement::Spread && self.shared_copies.is_none()
    }

    /// The layers of each of `stages` stages. Where they do not divide the layers, the first ones take one more: the last
    /// also holds the head, and the first layers of a mixture of experts are small.
    pub fn cut(&self, layers: Count, stages: u32) -> Vec<Range<u32>> {
        assert!(0 < stages && stages <= layers.get(), "{stages} stages for {layers} layers");
        // A plan with more stages than ranks may not be able to keep what it says of the last one.
        let last =
            self.last_stage_layers.map(Count::get).filter(|last| last + stages - 1 <= layers.get() && stages > 1);
        let (shared, among) = last.map_or((layers.get(), stages), |last| (layers.get() - last, stages - 1));
        let (each, longer) = (shared / among, shared % among);
        let sizes = (0..among).map(|stage| each + u32::from(stage < longer)).chain(last);
        let mut start = 0;
        let range = |size| {
            start += size;
            start - size..start
        };
        sizes.map(range).collect()
    }
}

/// What of `model` the GPUs of a tensor-parallel group of `tp` cannot share evenly.
fn tp_obstacle(model: &ModelSpec, tp: u64) -> Option<String> {
    let heads = model.attention.heads();
    if !heads.wide().is_multiple_of(tp) {
        return Some(format!("does not divide the {heads} attention heads"));
    }
    if let AttentionSpec::Gqa(gqa) = &model.attention {
        let kv_heads = gqa.kv_heads.wide();
        if !tp.is_multiple_of(kv_heads) && !kv_heads.is_multiple_of(tp) {
            return Some(format!("neither divides nor repeats evenly the {kv_heads} key-value heads"));
        }
    }
    let width = model.dense_intermediate.filter(|_| model.dense_layers() > 0)?;
    (!width.wide().is_multiple_of(tp)).then(|| format!("does not divide `dense_intermediate = {width}`"))
}

fn divisors(n: u64) -> impl Iterator<Item = u64> {
    (1..=n).filter(move |d| n.is_multiple_of(*d))
}

/// `1, 2 or 4`; of many, the first few and the last.
fn listed(numbers: impl Iterator<Item = u64>) -> String {
    const SHOWN: usize = 10;
    let numbers: Vec<String> = numbers.map(|n| n.to_string()).collect();
    match numbers.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first @ .., last] if first.len() <= SHOWN => format!("{} or {last}", first.join(", ")),
        [first @ .., last] => format!("{}, ... or {last}", first[..SHOWN].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::published;

    fn count(n: u32) -> Count {
        Count::new(n).expect("at least one")
    }

    fn spec(tp: u32, pp: u32, ep: u32, dp: Option<u32>) -> PlanSpec {
        let dp = dp.map(count);
        PlanSpec { tp: count(tp), pp: count(pp), ep: count(ep), dp, ..PlanSpec::default() }
    }

    fn finding(spec: PlanSpec, gpus: u32, model: &ModelSpec) -> (String, String, String) {
        let found = spec.check(gpus, model).expect_err("a finding");
        (found.place.join("."), found.message, found.help.unwrap_or_default())
    }

    #[test]
    fn deepseek_v3_was_trained_with_this_plan() {
        let model = published::deepseek_v3();
        let plan = spec(1, 16, 64, None).check(2048, &model).expect("a plan");
        assert_eq!((plan.dp(), plan.gpus(), plan.expert_replicas()), (128, 2048, 2));
        assert_eq!(plan.experts_per_gpu(&model), 4);
        let layers = plan.cut(model.layers, 16);
        assert!(layers.windows(2).all(|pair| pair[0].end == pair[1].start), "{layers:?}");
        assert_eq!((layers.len(), layers[0].clone(), layers[15].clone()), (16, 0..4, 58..61));
        let short = PlanSpec { last_stage_layers: Some(count(1)), ..spec(1, 16, 64, None) };
        let layers = short.check(2048, &model).expect("a plan").cut(model.layers, 16);
        assert!(layers[..15].iter().all(|stage| stage.len() == 4) && layers[15] == (60..61), "{layers:?}");
        let long = PlanSpec { last_stage_layers: Some(count(47)), ..short };
        assert_eq!(finding(long, 2048, &model).0, "last_stage_layers");
    }

    #[test]
    fn redundant_experts_fill_expert_parallelism() {
        let model = published::deepseek_v3();
        let prefill = PlanSpec { redundant_experts: 32, ..spec(4, 1, 32, Some(8)) };
        let prefill = prefill.check(32, &model).expect("a plan");
        assert_eq!(prefill.experts_per_gpu(&model), 9);
        let decode = PlanSpec { redundant_experts: 32, ..spec(1, 1, 144, None) };
        assert_eq!(decode.check(144, &model).expect("a plan").experts_per_gpu(&model), 2);
        let (place, message, help) = finding(spec(1, 1, 144, None), 144, &model);
        assert_eq!(place, "ep");
        assert_eq!(message, "`ep = 144` GPUs cannot share 256 routed + 0 redundant = 256 experts evenly");
        assert_eq!(help, "ep may be 1, 2, 4, 8 or 16; or set `redundant_experts = 32`");
    }

    #[test]
    fn a_wrong_product_names_every_factor_and_what_would_fit() {
        let model = published::llama3_1_70b();
        let (place, message, help) = finding(spec(8, 1, 1, Some(5)), 32, &model);
        assert_eq!((place.as_str(), help.as_str()), ("dp", "dp 4 would fit, or leave `dp` out"));
        assert_eq!(message, "tp 8 x pp 1 x dp 5 = 40 GPUs, but the cluster has 32");
        let (place, message, help) = finding(spec(8, 3, 1, None), 32, &model);
        assert_eq!((place.as_str(), help.as_str()), ("pp", "tp x pp may be 1, 2, 4, 8, 16 or 32"));
        assert_eq!(message, "tp 8 x pp 3 = 24 GPUs do not divide the 32 of the cluster");
        assert_eq!(finding(spec(64, 1, 1, None), 32, &model).0, "tp");
    }

    #[test]
    fn a_plan_fits_its_model() {
        let (dense, moe) = (published::llama3_1_70b(), published::deepseek_v3());
        assert_eq!(
            finding(spec(3, 1, 1, None), 3, &dense).1,
            "`tp = 3` does not divide the 64 attention heads of \
                                                               Llama-3.1-70B"
        );
        assert_eq!(finding(spec(1, 81, 1, None), 81, &dense).1, "`pp = 81` stages for the 80 layers of Llama-3.1-70B");
        assert_eq!(finding(spec(1, 1, 8, None), 8, &dense).1, "`ep = 8`, but Llama-3.1-70B has no experts");
        let (_, message, help) = finding(spec(2, 1, 16, None), 24, &moe);
        assert_eq!(message, "`ep = 16` does not divide tp 2 x dp 12 = 24, the GPUs of a stage");
        assert_eq!(help, "ep may be 1, 2, 4 or 8");
        let copies = PlanSpec { redundant_experts: 8, ..spec(1, 1, 1, None) };
        assert_eq!(finding(copies, 1, &dense).0, "redundant_experts");
        let (place, message, _) = finding(copies, 1, &moe);
        assert_eq!(place, "redundant_experts");
        assert!(message.starts_with("8 copies of 256 routed experts, but `ep = 1` GPUs hold at most 0"), "{message}");
    }

    #[test]
    fn key_value_heads_are_divided_or_repeated_evenly() {
        let mut model = published::llama3_1_70b();
        let AttentionSpec::Gqa(gqa) = &mut model.attention else { panic!("Llama has grouped-query attention") };
        (gqa.heads, gqa.kv_heads) = (count(24), count(6));
        assert!(spec(3, 1, 1, None).check(3, &model).is_err_and(|finding| finding.message.contains("intermediate")));
        let (place, message, help) = finding(spec(4, 1, 1, None), 4, &model);
        assert_eq!((place.as_str(), help.as_str()), ("tp", "tp may be 1 or 2"));
        assert_eq!(message, "`tp = 4` neither divides nor repeats evenly the 6 key-value heads of Llama-3.1-70B");
    }

    #[test]
    fn context_parallelism_copies_weights_and_shares_sequences() {
        let (dense, moe) = (published::llama3_1_70b(), published::deepseek_v3());
        let with = |cp, spec| PlanSpec { cp: count(cp), ..spec };
        let plan = with(4, spec(8, 2, 1, None)).check(128, &dense).expect("a plan");
        assert_eq!((plan.dp(), plan.replicas(), plan.gpus()), (8, 2, 128));
        let (place, message, help) = finding(with(3, spec(8, 2, 1, Some(2))), 128, &dense);
        assert_eq!((place.as_str(), help.as_str()), ("dp", "tp x cp x pp may be 1, 2, 4, 8, 16, 32, 64 or 128"));
        assert_eq!(message, "tp 8 x cp 3 x pp 2 x dp 2 = 96 GPUs, but the cluster has 128");
        let (place, message, _) = finding(with(4, spec(1, 1, 2, None)), 8, &moe);
        assert_eq!((place.as_str(), message.as_str()), ("ep", "ep 2 for sequences that tp 1 x cp 4 = 4 GPUs share"));
    }

    #[test]
    fn the_plan_of_an_empty_table_is_one_replica_per_gpu() {
        let spec: PlanSpec = toml::from_str("").expect("an empty plan");
        let plan = spec.check(6, &published::llama3_1_70b()).expect("a plan");
        assert_eq!((plan.tp(), plan.pp(), plan.ep(), plan.dp()), (1, 1, 1, 6));
    }
}
