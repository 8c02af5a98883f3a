//! DeepSeek served by whole engines, from InferenceX: mean time to first token and per output token of a closed loop of users.
//!
//! The client sends ten requests per user, each as soon as the one before has been answered; lengths are even between 0.8 of
//! `isl` and `osl` and these. `silicon_concurrency` in `silicon_data_source` is the number of users. `agg` engines compute prompts
//! beside decoding; `disagg` ones in workers of their own. How engines were configured (which draft tokens, for one) the table
//! does not say: `validation/engines.toml` does, from the published scripts of these runs.
//! Sizes: attention is cut over `tp_size` GPUs and repeated `attention_dp_size` times; experts over `moe_tp_size` x `moe_ep_size`. Some
//! rows give `agg` engines, which run in one node, the product of `tp` and `ep` on the engine's command line as their number of GPUs
//! (the same measurement stands in the table both ways); they are read as what was run.

use super::super::context::Deployed;
use super::super::names::{EngineRun, EngineSpec};
use super::super::systems::System;
use super::exchange::count;
use super::{Context, Measured, Point, Skip, dtype};
use crate::dtype::Dtype;
use crate::metrics::{Metrics, ServingMetrics};
use crate::model::PrecisionSpec;
use crate::parallelism::PlanSpec;
use crate::report::validation::Key;
use crate::scenario::WorkloadSpec;
use crate::units::{Count, Fraction};
use crate::workload::{
    ArrivalsChoice, ColocationSpec, DecodePoolSpec, ExchangeKernels, ExpertsSpec, LaunchChoice, LengthsChoice,
    PrefillPoolSpec, ReachChoice, ScheduleChoice, ServingSpec,
};
use serde::Deserialize;

/// Requests that each user sends.
const PER_USER: u32 = 10;
/// The shortest prompts and answers, as a part of the longest.
const LEAST: f64 = 0.8;

#[derive(Deserialize)]
pub(super) struct Row {
    silicon_data_source: String,
    backend: String,
    backend_version: String,
    model_path: String,
    system: String,
    mode: String,
    isl: f64,
    osl: f64,
    gemm_quant_mode: String,
    moe_quant_mode: String,
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
    decode_num_workers: Option<f64>,
    decode_tp_size: Option<f64>,
    decode_pp_size: Option<f64>,
    decode_attention_dp_size: Option<f64>,
    decode_moe_tp_size: Option<f64>,
    decode_moe_ep_size: Option<f64>,
    silicon_ttft_ms: f64,
    silicon_tpot_ms: f64,
}

/// How one worker is cut.
#[derive(Clone, Copy)]
struct Cut {
    tp: u32,
    dp: u32,
    expert_tp: u32,
    ep: u32,
}

impl Cut {
    fn of([tp, pp, dp, expert_tp, ep]: [Option<f64>; 5]) -> Result<Cut, Skip> {
        let size = |size: Option<f64>| match size {
            None => Some(1),
            Some(size) if size >= 1.0 && size.fract() == 0.0 => Some(size as u32),
            Some(_) => None,
        };
        let whole = |value| size(value).ok_or_else(|| Skip::because("a size that is no whole number"));
        if tp.is_none() {
            return Err(Skip::because("how GPUs share the model is not given"));
        }
        if whole(pp)? > 1 {
            return Err(Skip::because("pipeline stages in inference"));
        }
        Ok(Cut { tp: whole(tp)?, dp: whole(dp)?, expert_tp: whole(expert_tp)?, ep: whole(ep)? })
    }

    fn gpus(self) -> u32 {
        self.tp * self.dp
    }

    /// The cut of an engine that runs in one node of `domain` GPUs. Rows that have more multiply by the number of expert groups.
    fn in_one_node(self, domain: u32) -> Cut {
        let Cut { tp, dp, ep, .. } = self;
        let (tp, dp) = if dp > 1 { (tp, dp / ep) } else { (tp / ep, dp) };
        let gpus = tp * dp;
        let is_product = self.gpus() > domain && gpus * ep == self.gpus() && gpus <= domain && gpus.is_multiple_of(ep);
        if is_product { Cut { tp, dp, expert_tp: gpus / ep, ep } } else { self }
    }

    /// The plan, and how experts are reached, in a domain of `domain` GPUs of `system`.
    fn plan(self, system: &System, domain: u32) -> Result<(PlanSpec, ExpertsSpec), Skip> {
        let Cut { tp, ep, expert_tp, .. } = self;
        if tp > domain {
            return Err(Skip::because(format!(
                "tensor parallelism over {tp} GPUs, of which one domain holds {domain}"
            )));
        }
        if expert_tp * ep != self.gpus() {
            return Err(Skip::because(format!("experts over {expert_tp} x {ep} of {} GPUs", self.gpus())));
        }
        let plan = PlanSpec {
            tp: count(tp, "GPUs")?,
            ep: count(ep, "GPUs")?,
            expert_tp: count(expert_tp, "GPUs")?,
            ..PlanSpec::default()
        };
        let experts = if self.dp == 1 {
            ExpertsSpec { reach: ReachChoice::AllReduce, ..ExpertsSpec::default() }
        } else if tp == 1 && expert_tp == 1 {
            ExpertsSpec { kernels: exchange_kernels(system, ep <= domain), ..ExpertsSpec::default() }
        } else {
            return Err(Skip::because("experts cut over GPUs with different tokens"));
        };
        Ok((plan, experts))
    }
}

/// Kernels that exchange tokens, of those that the system's software has.
fn exchange_kernels(system: &System, one_domain: bool) -> Option<ExchangeKernels> {
    let software = system.node.as_ref()?.communication.as_ref()?;
    let one_sided = one_domain && software.experts.one_sided.is_some();
    Some(if one_sided { ExchangeKernels::OneSided } else { ExchangeKernels::LowLatency })
}

impl Row {
    fn users(&self) -> Result<u32, Skip> {
        let entry =
            self.silicon_data_source.split(';').find_map(|part| part.trim().strip_prefix("silicon_concurrency="));
        let users = entry.and_then(|users| users.trim().parse::<u32>().ok());
        users.filter(|users| *users > 0).ok_or_else(|| Skip::because("the number of users is not given"))
    }

    /// The day on which it was measured, or nothing.
    fn measured(&self) -> &str {
        let entry = self.silicon_data_source.split(';').find_map(|part| part.trim().strip_prefix("measured="));
        entry.and_then(|instant| instant.split('T').next()).unwrap_or_default()
    }

    /// How an engine is cut that computes prompts beside decoding requests, in a domain of `domain` GPUs.
    fn cut_together(&self, domain: u32) -> Result<Cut, Skip> {
        let sizes = [self.tp_size, self.pp_size, self.attention_dp_size, self.moe_tp_size, self.moe_ep_size];
        Ok(Cut::of(sizes)?.in_one_node(domain))
    }

    /// How a worker is cut that decodes.
    fn cut_decoding(&self) -> Result<Cut, Skip> {
        Cut::of([
            self.decode_tp_size,
            self.decode_pp_size,
            self.decode_attention_dp_size,
            self.decode_moe_tp_size,
            self.decode_moe_ep_size,
        ])
    }

    fn engine_run(&self, system: &System) -> Result<EngineRun<'_>, Skip> {
        let groups = self.attention_dp_size.or(self.decode_attention_dp_size).unwrap_or(1.0);
        let cut = if self.mode == "agg" { self.cut_together(domain(system)?) } else { self.cut_decoding() };
        Ok(EngineRun {
            engine: &self.backend,
            version: &self.backend_version,
            system: &self.system,
            experts: &self.moe_quant_mode,
            mode: &self.mode,
            data_parallel: groups > 1.0,
            gpus: cut?.gpus(),
            lengths: (self.isl as u32, self.osl as u32),
            users: self.users()?,
            measured: self.measured(),
        })
    }

    /// Positions of prompts in a step of a worker that is cut like `cut`, beside those of `users` users, per GPU.
    fn prompt_tokens(&self, engine: &EngineSpec, cut: Cut, users: u32) -> Result<Count, Skip> {
        let Some(prompts) = engine.whole_prompts else {
            return count(engine.prompt_tokens.get().div_ceil(cut.tp), "positions");
        };
        let queries = 1 + engine.mtp.as_ref().map_or(0, |mtp| mtp.drafted.get());
        let decoding = users.div_ceil(cut.dp) * queries;
        let most = engine.prompt_tokens.get().saturating_sub(decoding).max((prompts * self.isl) as u32 + 64);
        count(most.div_ceil(cut.tp), "positions")
    }

    /// Who decodes, `users` users on a worker that is cut like `cut`.
    fn pool(
        &self,
        engine: &EngineSpec,
        instances: Count,
        (users, cut): (u32, Cut),
        experts: ExpertsSpec,
    ) -> Result<DecodePoolSpec, Skip> {
        let at_once = engine.requests.map_or(users, |most| users.min(most.get()));
        Ok(DecodePoolSpec {
            instances,
            requests_per_gpu: count(at_once.div_ceil(cut.gpus()), "requests")?,
            micro_batches: Count::ONE,
            schedule: ScheduleChoice::default(),
            launch: LaunchChoice::default(),
            experts,
            mtp: engine.mtp.clone(),
            cache: engine.cache,
        })
    }

    fn precision(&self, engine: &EngineSpec) -> Result<PrecisionSpec, Skip> {
        let (weights, experts) = (dtype(&self.gemm_quant_mode)?, dtype(&self.moe_quant_mode)?);
        Ok(PrecisionSpec {
            weights,
            experts,
            expert_activations: experts,
            operands: if experts == weights { weights } else { Dtype::Fp8 },
            dispatch: Dtype::Fp8,
            kv_cache: engine.kv_cache,
            ..PrecisionSpec::all(Dtype::Bf16)
        })
    }

    fn lengths(&self) -> Result<LengthsChoice, Skip> {
        let input = count(self.isl as u32, "positions of prompts")?;
        let output = count(self.osl as u32, "tokens of answers")?;
        Ok(LengthsChoice::Uniform { input, output, least: Fraction::new(LEAST).expect("a part") })
    }

    fn served(&self, context: &Context) -> Result<ServingMetrics, Skip> {
        let (system, model) = (context.system(&self.system)?, context.model(&self.model_path)?);
        let engine = context.engine(&self.engine_run(system)?)?;
        let (plan, shape, spec) = match self.mode.as_str() {
            "agg" => self.together(system, &engine)?,
            "disagg" => self.apart(system, &engine)?,
            other => return Err(Skip::unknown("mode", other, ["agg", "disagg"])),
        };
        let deployed = Deployed { model, plan, precision: self.precision(&engine)? };
        let outcome = context.deploy(system, shape, deployed, WorkloadSpec::Serving(Box::new(spec)))?;
        match outcome.metrics {
            Metrics::Serving(metrics) => Ok(*metrics),
            _ => unreachable!("serving was asked for"),
        }
    }

    fn serving(&self, engine: &EngineSpec, decode: DecodePoolSpec) -> Result<ServingSpec, Skip> {
        let users = self.users()?;
        Ok(ServingSpec {
            requests: count(users * PER_USER, "requests")?,
            arrivals: ArrivalsChoice::Closed { users: count(users, "users")? },
            lengths: self.lengths()?,
            prefix_hits: Fraction::ZERO,
            decode,
            prefill: None,
            colocation: None,
            front_end: engine.front_end,
            step_overhead: engine.step_overhead,
            capital: None,
        })
    }

    /// Prompts beside decoding requests.
    fn together(&self, system: &System, engine: &EngineSpec) -> Result<(PlanSpec, [u32; 2], ServingSpec), Skip> {
        let domain = domain(system)?;
        let cut = self.cut_together(domain)?;
        let (plan, experts) = cut.plan(system, domain)?;
        let decode = self.pool(engine, Count::ONE, (self.users()?, cut), experts)?;
        let colocation = ColocationSpec {
            tokens_per_gpu: self.prompt_tokens(engine, cut, self.users()?)?,
            prompts_first: engine.prompts_first,
            whole_prompts: engine.whole_prompts.is_some(),
            look_every: engine.look_every,
            gather: engine.gather,
        };
        let spec = ServingSpec { colocation: Some(colocation), ..self.serving(engine, decode)? };
        Ok((plan, shape(cut.gpus(), domain)?, spec))
    }

    /// Prompts in workers of their own.
    fn apart(&self, system: &System, engine: &EngineSpec) -> Result<(PlanSpec, [u32; 2], ServingSpec), Skip> {
        let workers = |number: Option<f64>| -> Result<Count, Skip> {
            let number = number.ok_or_else(|| Skip::because("the number of workers is not given"))?;
            count(number as u32, "workers")
        };
        let (prefilling, decoding) = (workers(self.prefill_num_workers)?, workers(self.decode_num_workers)?);
        let there = Cut::of([
            self.prefill_tp_size,
            self.prefill_pp_size,
            self.prefill_attention_dp_size,
            self.prefill_moe_tp_size,
            self.prefill_moe_ep_size,
        ])?;
        let here = self.cut_decoding()?;
        let domain = domain(system)?;
        let (plan, experts) = here.plan(system, domain)?;
        let users = self.users()?.div_ceil(decoding.get());
        let decode = self.pool(engine, decoding, (users, here), experts)?;
        let (parallelism, experts) = there.plan(system, domain)?;
        let [nodes, gpus] = shape(there.gpus(), domain)?;
        let prefill = PrefillPoolSpec {
            instances: prefilling,
            nodes: count(nodes, "nodes")?,
            gpus: Some(count(gpus, "GPUs")?),
            parallelism,
            tokens_per_gpu: self.prompt_tokens(engine, there, 0)?,
            micro_batches: Count::ONE,
            launch: LaunchChoice::default(),
            experts,
        };
        let spec = ServingSpec { prefill: Some(prefill), ..self.serving(engine, decode)? };
        Ok((plan, shape(here.gpus(), domain)?, spec))
    }
}

/// GPUs of one scale-up domain.
fn domain(system: &System) -> Result<u32, Skip> {
    let node = system.node.as_ref().ok_or_else(|| Skip::because("no node is described"))?;
    Ok(node.gpus.get())
}

/// Nodes, and GPUs in use of each.
fn shape(gpus: u32, domain: u32) -> Result<[u32; 2], Skip> {
    match gpus {
        few if few <= domain => Ok([1, few]),
        many if many.is_multiple_of(domain) => Ok([many / domain, domain]),
        odd => Err(Skip::because(format!("{odd} GPUs in domains of {domain}"))),
    }
}

impl Measured for Row {
    const ID: &'static str = "serving_silicon";
    const TITLE: &'static str = "time to first token and per output token of serving engines";
    const GROUP_BY: &'static [&'static str] = &["system", "backend", "mode"];
    const WORKLOAD: Option<&'static str> = Some("serving");

    fn system(&self) -> &str {
        &self.system
    }

    fn engine(&self) -> Option<&str> {
        Some(&self.backend)
    }

    fn key(&self) -> Key {
        let size = |size: Option<f64>| size.map_or_else(|| "-".to_owned(), |size| size.to_string());
        let users = self.users().map_or_else(|_| "-".to_owned(), |users| users.to_string());
        vec![
            ("system", self.system.clone()),
            ("backend", self.backend.clone()),
            ("version", self.backend_version.clone()),
            ("mode", self.mode.clone()),
            ("experts", self.moe_quant_mode.clone()),
            ("isl", self.isl.to_string()),
            ("osl", self.osl.to_string()),
            ("tp", size(self.tp_size)),
            ("ep", size(self.moe_ep_size)),
            ("users", users),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        let served = self.served(context);
        let millis = |part, measured, time: fn(&ServingMetrics) -> f64| {
            let simulated = match &served {
                Ok(metrics) => Ok(time(metrics) * 1e3),
                Err(skip) => Err(skip.clone()),
            };
            Point { part, unit: "ms", measured, simulated }
        };
        vec![
            millis("tpot", self.silicon_tpot_ms, |metrics| metrics.tpot.mean.as_secs()),
            millis("ttft", self.silicon_ttft_ms, |metrics| metrics.ttft.mean.as_secs()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::Cut;

    #[test]
    fn products_of_sizes_are_read_as_what_ran_in_the_node() {
        let cut = |[tp, dp, expert_tp, ep]: [u32; 4]| {
            let Cut { tp, dp, expert_tp, ep } = Cut { tp, dp, expert_tp, ep }.in_one_node(8);
            [tp, dp, expert_tp, ep]
        };
        assert_eq!(cut([64, 1, 8, 8]), [8, 1, 1, 8]);
        assert_eq!(cut([1, 64, 8, 8]), [1, 8, 1, 8]);
        assert_eq!(cut([16, 1, 4, 4]), [4, 1, 1, 4]);
        // What fits the node, and what no product explains, stays.
        assert_eq!(cut([8, 1, 8, 1]), [8, 1, 8, 1]);
        assert_eq!(cut([1, 8, 1, 8]), [1, 8, 1, 8]);
        assert_eq!(cut([16, 1, 1, 16]), [16, 1, 1, 16]);
    }
}
