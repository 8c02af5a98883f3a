//! One experiment from scenario to answer, in five stages: build, lower, run, measure, and hand over.
//!
//! This is the picture of the whole program; each line of [`simulate`] is one arrow of it.

mod build;
mod exchange;
mod inference;
mod lower;
mod serving;

pub(crate) use build::gpu_kernels;

use crate::engine;
use crate::invalid::Invalid;
use crate::gpu::Beside;
use crate::metrics::{
    DecodeFacts, Metrics, MoeExchangeFacts, Outcome, PrefillFacts, collective_metrics, decode_metrics,
    moe_exchange_metrics, prefill_metrics,
};
use crate::network::Analytic;
use crate::scenario::{NetworkChoice, Scenario, WorkloadSpec};
use crate::timeline::Timeline;
use crate::topology::Cluster;
use crate::workload::MtpSpec;

/// Runs one experiment.
///
/// # Errors
/// When the scenario asks for what cannot be: a plan that does not match the cluster, a model that does not fit.
pub fn simulate(scenario: &Scenario) -> Result<Outcome, Invalid> {
    if let WorkloadSpec::Serving(spec) = &scenario.workload {
        return serving::simulate(scenario, spec);
    }
    let cluster = build::cluster(scenario)?;
    let job = lower::job(scenario, &cluster)?;
    let mut kernels = Beside { sms_taken: job.sms_taken, kernels: build::kernels(scenario, &cluster)? };
    let mut network = match scenario.network {
        NetworkChoice::Analytic => Analytic::new(&cluster.topology),
    };
    let mut workload = job.workload;
    let timeline = engine::run(workload.as_mut(), &mut kernels, &mut network, &cluster.topology);
    let metrics = measure(scenario, &cluster, &timeline, job.exchange.as_ref());
    Ok(Outcome { timeline, metrics, memory: job.memory, folding: job.folding, cluster })
}

fn measure(
    scenario: &Scenario,
    cluster: &Cluster,
    timeline: &Timeline,
    exchange: Option<&MoeExchangeFacts>,
) -> Metrics {
    match &scenario.workload {
        WorkloadSpec::Decode(spec) => {
            let facts = DecodeFacts {
                requests_per_gpu: spec.requests_per_gpu.wide(),
                tokens_per_step: MtpSpec::tokens_per_step(spec.mtp.as_ref()),
                gpus_per_node: u64::from(cluster.gpus_per_node),
                rent: scenario.hardware.gpu.rent,
            };
            Metrics::Decode(decode_metrics(timeline, &facts))
        }
        WorkloadSpec::Prefill(spec) => {
            let facts = PrefillFacts {
                tokens_per_gpu: spec.tokens_per_gpu.wide(),
                prompt: spec.prompt.wide(),
                cached: u64::from(spec.cached),
                gpus_per_node: u64::from(cluster.gpus_per_node),
                rent: scenario.hardware.gpu.rent,
            };
            Metrics::Prefill(prefill_metrics(timeline, &facts))
        }
        WorkloadSpec::Serving(_) => unreachable!("serving is simulated in levels"),
        WorkloadSpec::Collective(spec) => {
            Metrics::Collective(collective_metrics(timeline, spec.kind, cluster.gpus.len(), spec.bytes))
        }
        WorkloadSpec::MoeExchange(_) => {
            let facts = exchange.expect("an exchange was lowered with its facts");
            Metrics::MoeExchange(moe_exchange_metrics(timeline, facts))
        }
    }
}
