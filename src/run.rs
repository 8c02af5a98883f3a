//! One experiment from scenario to answer, in five stages: build, lower, run, measure, and hand over.
//!
//! This is the picture of the whole program; each line of [`simulate`] is one arrow of it.

mod build;
mod exchange;
mod lower;

pub(crate) use build::gpu_kernels;

use crate::engine;
use crate::invalid::Invalid;
use crate::metrics::MoeExchangeFacts;
use crate::metrics::{DecodeFacts, Metrics, Outcome, collective_metrics, decode_metrics, moe_exchange_metrics};
use crate::network::{Analytic, FairShare, FaultSchedule, NetworkModel, resolve};
use crate::scenario::{NetworkChoice, Scenario, WorkloadSpec};
use crate::timeline::Timeline;
use crate::topology::Cluster;
use crate::workload::DecodeStep;

/// Runs one experiment.
///
/// # Errors
/// When the scenario asks for what cannot be: a plan that does not match the cluster, a model that does not fit.
pub fn simulate(scenario: &Scenario) -> Result<Outcome, Invalid> {
    let cluster = build::cluster(scenario)?;
    let faults = faults(scenario, &cluster)?;
    let job = lower::job(scenario, &cluster)?;
    let mut kernels = build::kernels(scenario, &cluster)?;
    let routes = build::routes(scenario, &cluster)?;
    let mut network: Box<dyn NetworkModel> = match scenario.network {
        NetworkChoice::Analytic => Box::new(Analytic::with(&cluster.topology, routes)),
        NetworkChoice::Flow => Box::new(FairShare::new(&cluster.topology, routes, faults)),
        NetworkChoice::Packet => Box::new(build::packets(scenario, &cluster, faults)?),
    };
    let mut workload = job.workload;
    let timeline = engine::run(workload.as_mut(), kernels.as_mut(), network.as_mut(), &cluster.topology);
    drop(network);
    let metrics = measure(scenario, &cluster, &timeline, job.exchange.as_ref());
    Ok(Outcome { timeline, metrics, memory: job.memory, folding: job.folding, cluster })
}

/// What breaks, and when.
fn faults(scenario: &Scenario, cluster: &Cluster) -> Result<FaultSchedule, Invalid> {
    let faults = resolve(&scenario.fault, &cluster.topology).map_err(|invalid| invalid.under("fault"))?;
    if !scenario.fault.is_empty() && scenario.network == NetworkChoice::Analytic {
        let message = "the analytic network model knows neither routes nor rates that change";
        return Err(Invalid::at("fault", message).help("use `network = \"flow\"` or `network = \"packet\"`"));
    }
    Ok(faults)
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
                tokens_per_step: DecodeStep::tokens_per_step(spec),
                rent: scenario.hardware.gpu.rent,
            };
            Metrics::Decode(decode_metrics(timeline, &facts))
        }
        WorkloadSpec::Collective(spec) => {
            Metrics::Collective(collective_metrics(timeline, spec.kind, cluster.gpus.len(), spec.bytes))
        }
        WorkloadSpec::MoeExchange(_) => {
            let facts = exchange.expect("an exchange was lowered with its facts");
            Metrics::MoeExchange(moe_exchange_metrics(timeline, facts))
        }
    }
}
