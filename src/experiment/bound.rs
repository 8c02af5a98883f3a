//! What can be said of an experiment before it runs: whether it makes sense and fits, what it costs per hour, and figures that the
//! simulation cannot beat.
//!
//! A step of inference takes at least as long as the kernels that its busiest GPU runs one after the other, each at the peak of the
//! datasheet (`least_seconds`), for the compute stream of a GPU runs one kernel at a time under every kernel model. All figures that
//! follow from the length of a step follow from that one. Nothing else is bounded: what is not named here may have any value.

use super::build;
use super::deployment::{Asked, Deployment};
use super::{bounded, decode, prefill, serving};
use crate::gpu::least_seconds;
use crate::invalid::Invalid;
use crate::scenario::{KernelChoice, Scenario, WorkloadSpec};
use crate::units::UsdPerHour;
use crate::workload::{LeastStep, MtpSpec};

/// Roundings to whole picoseconds must not lift a bound above what is simulated.
const SLACK: f64 = 1.0 - 1e-6;

/// What is known of an experiment before it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// GPUs of the deployment, all pools together.
    pub gpus: u64,
    /// Their rent, where it is known.
    pub rent: Option<UsdPerHour>,
    /// Why it does not fit into memory, if it does not.
    pub too_large: Option<Invalid>,
    /// By name of the metric, a value that the simulation cannot beat: the least where less is better, the most where more is.
    pub best: Vec<(&'static str, f64)>,
}

impl Forecast {
    /// A value of `metric` that the simulation cannot beat, where one is known.
    pub fn best_of(&self, metric: &str) -> Option<f64> {
        self.best.iter().find(|(name, _)| *name == metric).map(|&(_, value)| value)
    }
}

/// What is known of `scenario` before it runs.
///
/// # Errors
/// When the scenario asks for what cannot be, other than too much memory.
pub fn forecast(scenario: &Scenario) -> Result<Forecast, Invalid> {
    bounded(|| of_scenario(scenario))
}

fn of_scenario(scenario: &Scenario) -> Result<Forecast, Invalid> {
    let of_node = scenario.hardware.gpus.wide();
    let mut forecast = Forecast {
        gpus: scenario.nodes.wide() * of_node,
        rent: scenario.hardware.gpu.rent,
        too_large: None,
        best: Vec::new(),
    };
    match &scenario.workload {
        WorkloadSpec::Decode(spec) => {
            let cluster = build::cluster(scenario)?;
            let deployment = Deployment::of(scenario, &cluster)?;
            let asked = decode::step(spec, &deployment)?;
            forecast.too_large = asked.memory(&deployment).err();
            let step = least_step(&deployment, &asked);
            let tpot = step / MtpSpec::tokens_per_step(spec.mtp.as_ref());
            let tp = u64::from(deployment.plan.tp());
            let per_gpu = spec.requests_of_group(tp)? as f64 / tp as f64 / tpot;
            forecast.best = vec![("step", 1e3 * step), ("tpot", 1e3 * tpot), ("tokens_per_s_per_user", 1.0 / tpot)];
            forecast.add_rates(per_gpu, of_node);
        }
        WorkloadSpec::Prefill(spec) => {
            let cluster = build::cluster(scenario)?;
            let deployment = Deployment::of(scenario, &cluster)?;
            let asked = prefill::step(spec, &deployment)?;
            forecast.too_large = asked.memory(&deployment).err();
            let step = least_step(&deployment, &asked);
            forecast.best = vec![("step", 1e3 * step)];
            forecast.add_rates(spec.tokens_per_gpu.wide() as f64 / step, of_node);
        }
        WorkloadSpec::Serving(spec) => {
            let prefill = spec.prefill.as_ref();
            let prompts = prefill.map_or(0, |pool| {
                pool.instances.wide() * pool.nodes.wide() * pool.gpus.map_or(of_node, |gpus| gpus.wide())
            });
            forecast.gpus = forecast.gpus * spec.decode.instances.wide() + prompts;
            forecast.rent = serving::gpu_hour(scenario, spec);
        }
        WorkloadSpec::Collective(_)
        | WorkloadSpec::MoeExchange(_)
        | WorkloadSpec::Training(_)
        | WorkloadSpec::Pipeline(_) => {}
    }
    Ok(forecast)
}

impl Forecast {
    /// What follows from tokens per second of a GPU.
    fn add_rates(&mut self, per_gpu: f64, gpus_per_node: u64) {
        let node = per_gpu * gpus_per_node as f64;
        self.best.extend([("tokens_per_s_per_gpu", per_gpu), ("tokens_per_s_per_node", node)]);
        self.best.extend(self.rent.map(|rent| ("usd_per_million_tokens", rent.as_f64() / 3600.0 / per_gpu * 1e6)));
    }
}

/// Seconds that the step takes at the least.
fn least_step(deployment: &Deployment<'_>, asked: &Asked<'_>) -> f64 {
    let scenario = deployment.scenario;
    if scenario.kernel == KernelChoice::Instant {
        return 0.0;
    }
    let step = LeastStep {
        model: deployment.model,
        precision: &deployment.precision,
        plan: &deployment.plan,
        batches: &asked.shape.batches,
        drafted: asked.shape.drafted,
        experts: asked.shape.experts,
    };
    let seconds = |(kernel, times): &(_, u64)| least_seconds(&scenario.hardware.gpu, kernel) * *times as f64;
    SLACK * step.kernels().iter().map(seconds).sum::<f64>()
}
