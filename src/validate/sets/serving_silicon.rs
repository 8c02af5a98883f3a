//! Serving of DeepSeek-V3 and R1 by engines on real nodes: mean time to first token and per output token.
//!
//! `silicon_concurrency` users, named in `silicon_data_source`, each send a request when the one before is answered; without it,
//! `batch_size` (per replica of attention) counts. Prompts have `isl` tokens and answers `osl`, evenly between 0.8 of that and all of it, as
//! the benchmark draws them. `agg`: one instance computes prompts and decodes; `disagg`: workers of either kind, `prefill_*` and
//! `decode_*`. `tp` and `attention_dp` say how attention is spread, `moe_tp` and `moe_ep` how experts are. A table that gives both of the
//! latter above one names the same GPUs twice, and then `tp x attention_dp` is their product as well: the worker has `moe_ep` GPUs.
//!
//! What the table does not say: chunks of 8192 positions per worker (the default of both engines); `sglang` lets decoding requests wait for
//! prompts, `trtllm` puts both into a step; no multi-token prediction. Experts that are cut over GPUs (`moe_tp`) are taken as spread
//! whole, evenly visited: each GPU reads and computes as much.

use super::{Context, Measured, Point, Skip};
use crate::dtype::Dtype;
use crate::metrics::{Metrics, ServingMetrics};
use crate::model::PrecisionSpec;
use crate::parallelism::PlanSpec;
use crate::report::validation::Key;
use crate::run::simulate;
use crate::scenario::{Scenario, WorkloadSpec};
use crate::units::{Count, Duration, Fraction};
use crate::validate::systems::System;
use crate::workload::{
    ArrivalsChoice, ColocationSpec, DecodePoolSpec, ExpertsSpec, LaunchChoice, LengthsChoice, PrefillPoolSpec,
    ReachChoice, ScheduleChoice, ServingSpec,
};
use serde::Deserialize;

/// Positions of prompts in a step.
const CHUNK: u32 = 8192;
/// Requests per user; the benchmark asks ten times.
const ROUNDS: u32 = 10;
/// More requests than this change no average.
const MOST: u32 = 4000;
/// The shortest prompt and answer, as a part of the longest.
const LEAST: f64 = 0.8;

#[derive(Deserialize)]
pub(super) struct Row {
    id: String,
    silicon_data_source: String,
    backend: String,
    model_path: String,
    system: String,
    precision: String,
    mode: String,
    isl: f64,
    osl: f64,
    batch_size: Option<f64>,
    tp_size: Option<f64>,
    pp_size: Option<f64>,
    attention_dp_size: Option<f64>,
    moe_tp_size: Option<f64>,
    moe_ep_size: Option<f64>,
    prefill_num_workers: Option<f64>,
    prefill_tp_size: Option<f64>,
    prefill_pp_size: Option<f64>,
    prefill_attention_dp_size: Option<f64>,
    prefill_moe_tp_size: Option<f64>,
    prefill_moe_ep_size: Option<f64>,
    decode_batch_size: Option<f64>,
    decode_num_workers: Option<f64>,
    decode_tp_size: Option<f64>,
    decode_pp_size: Option<f64>,
    decode_attention_dp_size: Option<f64>,
    decode_moe_tp_size: Option<f64>,
    decode_moe_ep_size: Option<f64>,
    silicon_ttft_ms: f64,
    silicon_tpot_ms: f64,
}

/// How one worker is spread over GPUs.
#[derive(Clone, Copy)]
struct Worker {
    gpus: u32,
    /// Whether every GPU has attention of its own.
    attention_apart: bool,
}

fn whole(cell: Option<f64>) -> u32 {
    cell.map_or(1, |value| value as u32).max(1)
}

fn count(n: u32) -> Count {
    Count::new(n.max(1)).expect("at least one")
}

impl Worker {
    /// From sizes of tensor and pipeline parallelism and of replicas of attention, and from parts and groups of experts.
    fn new([tp, pp, dp, moe_tp, moe_ep]: [Option<f64>; 5]) -> Result<Worker, Skip> {
        if whole(pp) > 1 {
            return Err(Skip::because("pipeline stages in serving are not modelled"));
        }
        let (tp, dp, moe_tp, moe_ep) = (whole(tp), whole(dp), whole(moe_tp), whole(moe_ep));
        if tp > 1 && dp > 1 {
            return Err(Skip::because("attention both cut and replicated"));
        }
        let gpus = if moe_tp > 1 && moe_ep > 1 && moe_tp == moe_ep { moe_ep } else { tp * dp };
        Ok(Worker { gpus, attention_apart: dp > 1 })
    }

    fn plan(self) -> PlanSpec {
        let all = count(self.gpus);
        PlanSpec { tp: if self.attention_apart { Count::ONE } else { all }, ep: all, ..PlanSpec::default() }
    }

    fn experts(self) -> ExpertsSpec {
        let reach = if self.attention_apart { ReachChoice::Exchange } else { ReachChoice::AllReduce };
        ExpertsSpec { reach, ..ExpertsSpec::default() }
    }

    /// Nodes, and GPUs in use of each.
    fn nodes(self, system: &System) -> Result<(u32, u32), Skip> {
        let node = system.node.as_ref().ok_or_else(|| Skip::because("no node is described"))?;
        let each = node.gpus.get().min(self.gpus);
        if self.gpus.is_multiple_of(each) {
            return Ok((self.gpus / each, each));
        }
        Err(Skip::because(format!("{} GPUs do not fill nodes of {each}", self.gpus)))
    }
}

impl Row {
    /// Users, where the source says how many.
    fn stated_users(&self) -> Option<u32> {
        let (_, rest) = self.silicon_data_source.split_once("silicon_concurrency=")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    fn precision(&self) -> Result<PrecisionSpec, Skip> {
        let narrow = PrecisionSpec { dispatch_scale_group: Count::new(128), ..PrecisionSpec::DEEPSEEK_V3 };
        match self.precision.as_str() {
            "fp8" => Ok(narrow),
            "fp4" => Ok(PrecisionSpec { weights: Dtype::Fp4, experts: Dtype::Fp4, operands: Dtype::Fp4, ..narrow }),
            other => Err(Skip::because(format!("unsupported precision `{other}`"))),
        }
    }

    fn workers(&self) -> Result<(Worker, Option<(Worker, u32)>, u32), Skip> {
        if self.mode == "agg" {
            let sizes =
                [self.tp_size, self.pp_size, self.attention_dp_size, self.moe_tp_size, self.moe_ep_size];
            return Ok((Worker::new(sizes)?, None, 1));
        }
        let prefill = Worker::new([
            self.prefill_tp_size,
            self.prefill_pp_size,
            self.prefill_attention_dp_size,
            self.prefill_moe_tp_size,
            self.prefill_moe_ep_size,
        ])?;
        let decode = Worker::new([
            self.decode_tp_size,
            self.decode_pp_size,
            self.decode_attention_dp_size,
            self.decode_moe_tp_size,
            self.decode_moe_ep_size,
        ])?;
        Ok((decode, Some((prefill, whole(self.prefill_num_workers))), whole(self.decode_num_workers)))
    }

    fn scenario(&self, context: &Context) -> Result<Scenario, Skip> {
        let system = context.system(&self.system)?;
        let (decode, prefill, instances) = self.workers()?;
        let listed = if prefill.is_some() {
            whole(self.decode_batch_size) * instances * whole(self.decode_attention_dp_size)
        } else {
            whole(self.batch_size) * whole(self.attention_dp_size)
        };
        let users = self.stated_users().unwrap_or(listed);
        let (nodes, gpus) = decode.nodes(system)?;
        let prefill = match prefill {
            None => None,
            Some((worker, instances)) => {
                let (nodes, gpus) = worker.nodes(system)?;
                Some(PrefillPoolSpec {
                    instances: count(instances),
                    nodes: count(nodes),
                    gpus: Some(count(gpus)),
                    parallelism: worker.plan(),
                    tokens_per_gpu: count(CHUNK / worker.gpus),
                    micro_batches: Count::ONE,
                    launch: LaunchChoice::Graph,
                    experts: worker.experts(),
                })
            }
        };
        let colocation = ColocationSpec {
            tokens_per_gpu: count(CHUNK / decode.gpus),
            prompts_first: self.backend == "sglang",
        };
        let serving = ServingSpec {
            requests: count((users * ROUNDS).min(MOST.max(2 * users))),
            arrivals: ArrivalsChoice::Closed { users: count(users) },
            lengths: LengthsChoice::Uniform {
                input: count(self.isl as u32),
                output: count(self.osl as u32),
                least: Fraction::new(LEAST).expect("a part"),
            },
            prefix_hits: Fraction::ZERO,
            decode: DecodePoolSpec {
                instances: count(instances),
                requests_per_gpu: count(users.div_ceil(instances * decode.gpus)),
                micro_batches: Count::ONE,
                schedule: ScheduleChoice::InTurn,
                launch: LaunchChoice::Graph,
                experts: decode.experts(),
                mtp: None,
            },
            colocation: prefill.is_none().then_some(colocation),
            prefill,
            step_overhead: Duration::ZERO,
            capital: None,
        };
        Ok(Scenario {
            model: Some(context.model(&self.model_path)?.clone()),
            parallelism: decode.plan(),
            precision: Some(self.precision()?),
            ..context.scenario(system, nodes, gpus, WorkloadSpec::Serving(Box::new(serving)))?
        })
    }

    fn simulated(&self, context: &Context) -> Result<Box<ServingMetrics>, Skip> {
        match simulate(&self.scenario(context)?).map_err(Skip::because)?.metrics {
            Metrics::Serving(metrics) => Ok(metrics),
            _ => unreachable!("serving was simulated"),
        }
    }
}

impl Measured for Row {
    const ID: &'static str = "serving_silicon";
    const TITLE: &'static str = "serving of DeepSeek-V3 by engines on real nodes";
    const GROUP_BY: &'static [&'static str] = &["system", "mode", "backend"];

    fn system(&self) -> &str {
        &self.system
    }

    fn model(&self) -> Option<&str> {
        Some(&self.model_path)
    }

    fn key(&self) -> Key {
        vec![
            ("system", self.system.clone()),
            ("mode", self.mode.clone()),
            ("backend", self.backend.clone()),
            ("precision", self.precision.clone()),
            ("id", self.id.clone()),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        let found = self.simulated(context);
        let millis = |time: Duration| time.as_secs() * 1e3;
        let point = |part, measured, of: fn(&ServingMetrics) -> Duration| Point {
            part,
            unit: "ms",
            measured,
            simulated: found.as_ref().map(|metrics| millis(of(metrics))).map_err(Clone::clone),
        };
        vec![
            point("TTFT", self.silicon_ttft_ms, |metrics| metrics.ttft.mean),
            point("TPOT", self.silicon_tpot_ms, |metrics| metrics.tpot.mean),
        ]
    }
}
