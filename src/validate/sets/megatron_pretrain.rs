//! Pre-training steps as NVIDIA publishes them for Megatron Bridge: tokens per second and GPU.
//!
//! `gbs` sequences of `seq_len` tokens make a step, in micro-batches of `mbs`; `tp`, `pp`, `cp` and `ep` are the plan, and `vp` the
//! model chunks of a pipeline rank (`n/a` for one). A cell may hold a second figure in parentheses, for another setting of the same row: the
//! first one counts. Replicas take what GPUs `tp`, `cp` and `pp` leave. An empty `precision` is taken as FP8, in which the recipes of these models run.
//!
//! What the table does not say, from the recipes: interleaved 1F1B; stages of as many layers as they must have, the last
//! with what is left beside the head and multi-token prediction; narrow operands by Transformer Engine; norms, up-projections of MLA and activations computed again;
//! exchanges hide behind nothing where recipes do not say that they overlap;
//! multi-token prediction is trained unless the name says `w/o MTP`; tokens travel in BF16; FP32 gradients, BF16 moments.

use super::super::context::Deployed;
use super::super::systems::System;
use super::{Context, Measured, Point, Skip};
use crate::dtype::Dtype;
use crate::metrics::Metrics;
use crate::model::PrecisionSpec;
use crate::parallelism::{PlanSpec, RecomputeSpec};
use crate::report::validation::Key;
use crate::scenario::WorkloadSpec;
use crate::units::{Count, Duration, Fraction};
use crate::workload::{BesideExchanges, CastChoice, LossChoice, ScheduleSpec, TrainingSpec};
use serde::Deserialize;

/// SMs of the kernels that exchange tokens, as DeepEP sets them by default.
const EXCHANGE_SMS: u32 = 20;

/// The first release whose recipes overlap exchanges in a rack.
const FIRST_OVERLAPPED: &str = "26.06";

#[derive(Deserialize)]
pub(super) struct Row {
    release: String,
    model: String,
    system: String,
    gpus: u32,
    precision: Option<String>,
    gbs: String,
    mbs: String,
    seq_len: u32,
    tp: String,
    pp: String,
    cp: String,
    vp: String,
    ep: String,
    tokens_per_s_per_gpu: String,
    fsdp: Option<String>,
}

/// The first number of a cell; one for what does not apply.
fn number(cell: &str) -> Result<u32, Skip> {
    let first = cell.split_whitespace().next().unwrap_or_default();
    if matches!(first.to_lowercase().as_str(), "n/a" | "na" | "-" | "") {
        return Ok(1);
    }
    first.parse().map_err(|_| Skip::because(format!("no number in `{cell}`")))
}

fn count(cell: &str) -> Result<Count, Skip> {
    Count::new(number(cell)?).ok_or_else(|| Skip::because(format!("nothing in `{cell}`")))
}

impl Row {
    fn measured(&self) -> f64 {
        self.tokens_per_s_per_gpu.split_whitespace().next().and_then(|cell| cell.parse().ok()).unwrap_or(f64::NAN)
    }

    fn precision(&self) -> Result<PrecisionSpec, Skip> {
        let operands = match self.precision.as_deref().map(str::to_lowercase).as_deref() {
            Some("bf16") => Dtype::Bf16,
            None | Some("") => Dtype::Fp8,
            Some(name) if name.contains("fp8") => Dtype::Fp8,
            Some(name) if name.contains("fp4") => Dtype::Fp4,
            Some(other) => return Err(Skip::unknown("precision", other, ["bf16", "fp8", "fp4"])),
        };
        Ok(PrecisionSpec { weights: operands, experts: operands, operands, ..PrecisionSpec::all(Dtype::Bf16) })
    }

    /// Recipes overlap exchanges (`moe_a2a_overlap`) between nodes, and in a rack with MXFP8 since release 26.06.
    fn beside_exchanges(&self) -> BesideExchanges {
        let in_a_rack = self.system.to_lowercase().contains("gb200");
        let narrow = self.precision.as_deref().is_some_and(|name| name.to_lowercase().contains("mx"));
        if in_a_rack && !(narrow && self.release.as_str() >= FIRST_OVERLAPPED) {
            BesideExchanges::Nothing
        } else {
            BesideExchanges::Independent
        }
    }

    fn training(&self) -> Result<TrainingSpec, Skip> {
        let chunks = count(&self.vp)?;
        let interleaved = chunks > Count::ONE && number(&self.pp)? > 1;
        Ok(TrainingSpec {
            global_batch: count(&self.gbs)?,
            sequence: Count::new(self.seq_len).ok_or_else(|| Skip::because("no tokens"))?,
            micro_batch: count(&self.mbs)?,
            schedule: if interleaved { ScheduleSpec::Interleaved { chunks } } else { ScheduleSpec::OneFOneB },
            recompute: RecomputeSpec::Selective,
            communication_sms: EXCHANGE_SMS,
            launch_gap: Duration::ZERO,
            mtp: !self.model.contains("w/o MTP"),
            casts: CastChoice::Joint,
            loss: LossChoice::Fused,
            beside_exchanges: self.beside_exchanges(),
            skew: Duration::ZERO,
            load_spread: Fraction::ZERO,
            optimizer: Default::default(),
            gathered: Dtype::Bf16,
            run_billion_tokens: None,
        })
    }

    /// GPUs per node in use, so that nodes are alike: of a rack as many as a power of two.
    fn per_node(&self, system: &System) -> Result<u32, Skip> {
        let node = system.node.as_ref().ok_or_else(|| Skip::because("no node is described"))?;
        let whole = node.gpus.get().min(self.gpus);
        let used = if self.gpus.is_multiple_of(whole) { whole } else { 1 << whole.ilog2() };
        if self.gpus.is_multiple_of(used) {
            return Ok(used);
        }
        Err(Skip::because(format!("{} GPUs do not fill nodes of {used}", self.gpus)))
    }

    fn simulated(&self, context: &Context) -> Result<f64, Skip> {
        let system = context.system(&self.system)?;
        // Remarks on the run follow the name.
        let model = context.model(self.model.split('(').next().unwrap_or_default().trim())?;
        if self.fsdp.as_deref().is_some_and(|cell| matches!(cell, "1" | "1.0")) {
            return Err(Skip::because("fully sharded weights are not modelled"));
        }
        let stages = number(&self.pp)? * if number(&self.pp)? > 1 { number(&self.vp)? } else { 1 };
        let each = model.layers.get().div_ceil(stages.max(1));
        let last_stage_layers = model.layers.get().checked_sub(each * (stages - 1)).and_then(Count::new);
        let per_node = self.per_node(system)?;
        let workload = WorkloadSpec::Training(self.training()?);
        let plan = PlanSpec {
            tp: count(&self.tp)?,
            cp: count(&self.cp)?,
            pp: count(&self.pp)?,
            last_stage_layers,
            ep: if model.moe.is_some() { count(&self.ep)? } else { Count::ONE },
            ..PlanSpec::default()
        };
        let deployed = Deployed { model, plan, precision: self.precision()? };
        match context.deploy(system, [self.gpus / per_node, per_node], deployed, workload)?.metrics {
            Metrics::Training(metrics) => Ok(metrics.tokens_per_sec_per_gpu),
            _ => unreachable!("a training step was simulated"),
        }
    }
}

impl Measured for Row {
    const ID: &'static str = "megatron_pretrain";
    const TITLE: &'static str = "pre-training throughput published for Megatron Bridge";
    const GROUP_BY: &'static [&'static str] = &["model", "system", "precision"];
    const WORKLOAD: Option<&'static str> = Some("training");

    fn system(&self) -> &str {
        &self.system
    }

    fn engine(&self) -> Option<&str> {
        Some("megatron")
    }

    fn key(&self) -> Key {
        vec![
            ("model", self.model.clone()),
            ("system", self.system.clone()),
            ("gpus", self.gpus.to_string()),
            ("precision", self.precision.clone().unwrap_or_default()),
            ("tp", self.tp.clone()),
            ("pp", self.pp.clone()),
            ("vp", self.vp.clone()),
            ("ep", self.ep.clone()),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        vec![Point { part: "", unit: "tokens/s/GPU", measured: self.measured(), simulated: self.simulated(context) }]
    }
}
