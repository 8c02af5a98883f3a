//! Whole deployments of DeepSeek-V3 and R1, as those who run them publish them: tokens per second of a node or of a GPU, output tokens where
//! `phase` is `decode`, computed positions of prompts where it is `prefill`.
//!
//! `gpus` is one instance, `ep` and `tp` its plan; an empty `ep` means experts that are cut over the GPUs of the tensor-parallel group. `tokens_per_gpu`
//! and `prompt` describe a prefill step (16,384 positions and `context` where they are empty), `requests_per_gpu` and `context` a decode step.
//! Where both rates are given, that of the node counts.
//!
//! What the table does not say is what `[workload.prefill]` and `[workload.decode]` take for such a deployment: two micro-batches wherever tokens travel to
//! experts, DeepEP's normal kernels for prompts and its low-latency kernels for decoding, FP8 with a BF16 cache, launches by the host for prompts
//! and from a graph for decoding, no multi-token prediction. A `remark` of a balanced gate is taken at its word; else tokens choose evenly by chance, at
//! least 32 experts have a second copy and all are placed by load. Nothing waits for requests: a published rate of real traffic has idle times in it.

use super::super::context::Deployed;
use super::exchange::count;
use super::{Context, Measured, Point, Skip};
use crate::metrics::Metrics;
use crate::model::{ModelSpec, PrecisionSpec};
use crate::parallelism::PlanSpec;
use crate::report::validation::Key;
use crate::scenario::WorkloadSpec;
use crate::units::{Count, Duration, Fraction};
use crate::workload::{
    BalanceChoice, ContextSpec, DecodeSpec, ExchangeKernels, ExpertsSpec, GateChoice, LaunchChoice, PrefillSpec,
    ReachChoice, ScheduleChoice,
};
use serde::Deserialize;

/// The model of all rows.
const MODEL: &str = "DeepSeek-V3";
/// Positions of a prefill step per GPU, where a row does not say.
const PREFILL_TOKENS: u32 = 16_384;
/// Experts with a second copy, at the least, where the gate is not balanced.
const REDUNDANT: u32 = 32;
/// Values that share a scale on their way to experts.
const SCALE_GROUP: u32 = 128;
/// What the host needs to launch a kernel of prompts.
const PER_KERNEL: Duration = Duration::from_ns(5000);

#[derive(Deserialize)]
pub(super) struct Row {
    deployment: String,
    gpu: String,
    gpus: u32,
    engine: Option<String>,
    phase: String,
    ep: Option<u32>,
    tp: u32,
    tokens_per_gpu: Option<u32>,
    requests_per_gpu: Option<u32>,
    prompt: Option<u32>,
    context: Option<u32>,
    tokens_per_s_per_gpu: Option<f64>,
    tokens_per_s_per_node: Option<f64>,
    remark: Option<String>,
}

impl Row {
    fn balanced(&self) -> bool {
        self.remark.as_deref().is_some_and(|remark| remark.to_lowercase().contains("balanced gate"))
    }

    /// The plan: experts over all GPUs, or over those of the tensor-parallel group.
    fn plan(&self, model: &ModelSpec) -> Result<PlanSpec, Skip> {
        let tp = count(self.tp, "GPUs")?;
        let Some(ep) = self.ep else { return Ok(PlanSpec { tp, expert_tp: tp, ..PlanSpec::default() }) };
        let experts = model.moe.as_ref().map_or(0, |moe| moe.routed_experts.get());
        let least = experts + if self.balanced() { 0 } else { REDUNDANT };
        let redundant_experts = least.next_multiple_of(ep.max(1)) - experts;
        Ok(PlanSpec { tp, ep: count(ep, "GPUs")?, redundant_experts, ..PlanSpec::default() })
    }

    fn experts(&self, kernels: ExchangeKernels) -> ExpertsSpec {
        if self.ep.is_none() {
            return ExpertsSpec { reach: ReachChoice::AllReduce, ..ExpertsSpec::default() };
        }
        let gate = if self.balanced() { GateChoice::Balanced } else { GateChoice::Uniform };
        ExpertsSpec { kernels: Some(kernels), gate, balance: BalanceChoice::ByLoad, ..ExpertsSpec::default() }
    }

    fn micro_batches(&self) -> Count {
        if self.ep.is_some() { Count::new(2).expect("two") } else { Count::ONE }
    }

    fn workload(&self) -> Result<WorkloadSpec, Skip> {
        let given = |cell: Option<u32>, what: &str| match cell {
            Some(value) => count(value, what),
            None => Err(Skip::because(format!("no number of {what}"))),
        };
        match self.phase.as_str() {
            "prefill" => {
                let prompt = given(self.prompt.or(self.context), "positions of a prompt")?;
                let tokens = self.tokens_per_gpu.unwrap_or(PREFILL_TOKENS / self.tp.max(1));
                Ok(WorkloadSpec::Prefill(PrefillSpec {
                    prompt,
                    tokens_per_gpu: count(tokens, "positions")?,
                    cached: 0,
                    micro_batches: self.micro_batches(),
                    schedule: ScheduleChoice::default(),
                    launch: LaunchChoice::Stream { per_kernel: PER_KERNEL },
                    experts: self.experts(ExchangeKernels::Normal),
                }))
            }
            "decode" => Ok(WorkloadSpec::Decode(DecodeSpec {
                requests_per_gpu: Some(given(self.requests_per_gpu, "requests")?),
                requests_per_group: None,
                context: ContextSpec::Equal(given(self.context, "cached positions")?),
                context_spread: Fraction::ZERO,
                micro_batches: self.micro_batches(),
                schedule: ScheduleChoice::default(),
                launch: LaunchChoice::default(),
                experts: self.experts(ExchangeKernels::LowLatency),
                mtp: None,
            })),
            other => Err(Skip::unknown("phase", other, ["prefill", "decode"])),
        }
    }

    /// Tokens per second of a node.
    fn simulated(&self, context: &Context) -> Result<f64, Skip> {
        let (system, model) = (context.system(&self.gpu)?, context.model(MODEL)?);
        let node = system.node.as_ref().ok_or_else(|| Skip::because("no node is described"))?;
        let used = node.gpus.get().min(self.gpus);
        if used == 0 || !self.gpus.is_multiple_of(used) {
            return Err(Skip::because(format!("{} GPUs do not fill nodes of {}", self.gpus, node.gpus)));
        }
        let precision = PrecisionSpec { dispatch_scale_group: Count::new(SCALE_GROUP), ..PrecisionSpec::DEEPSEEK_V3 };
        let deployed = Deployed { model, plan: self.plan(model)?, precision };
        match context.deploy(system, [self.gpus / used, used], deployed, self.workload()?)?.metrics {
            Metrics::Decode(metrics) => Ok(metrics.tokens_per_sec_per_node),
            Metrics::Prefill(metrics) => Ok(metrics.tokens_per_sec_per_node),
            _ => unreachable!("a step of inference was asked for"),
        }
    }

    /// The same as published: nodes of all rows have eight GPUs.
    fn measured(&self) -> f64 {
        let of_gpus = self.tokens_per_s_per_gpu.map(|rate| rate * 8.0);
        self.tokens_per_s_per_node.or(of_gpus).unwrap_or(f64::NAN)
    }
}

impl Measured for Row {
    const ID: &'static str = "deployments";
    const TITLE: &'static str = "throughput of whole deployments as published";
    const GROUP_BY: &'static [&'static str] = &["gpu", "phase"];

    fn system(&self) -> &str {
        &self.gpu
    }

    fn engine(&self) -> Option<&str> {
        self.engine.as_deref()
    }

    fn key(&self) -> Key {
        let cell = |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        vec![
            ("deployment", self.deployment.clone()),
            ("gpu", self.gpu.clone()),
            ("engine", self.engine.clone().unwrap_or_default()),
            ("phase", self.phase.clone()),
            ("ep", cell(self.ep)),
            ("prompt", cell(self.prompt)),
            ("requests_per_gpu", cell(self.requests_per_gpu)),
            ("context", cell(self.context)),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        let simulated = self.simulated(context);
        vec![Point { part: "", unit: "tokens/s/node", measured: self.measured(), simulated }]
    }
}
