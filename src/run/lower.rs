//! From a scenario to what its GPUs are to do: plan, memory, symmetry, traffic.

use super::exchange;
use crate::id::DeviceId;
use crate::invalid::Invalid;
use crate::metrics::{Folding, Memory, MoeExchangeFacts};
use crate::model::{AttentionForm, ModelSpec, PrecisionSpec};
use crate::parallelism::{InferenceLoad, Plan, inference_memory};
use crate::rng::Seed;
use crate::routing::Routes;
use crate::scenario::{CollectiveSpec, Scenario, SymmetryChoice, WorkloadSpec};
use crate::topology::{Cluster, DeviceKind};
use crate::workload::{
    Algorithm, CollectiveWorkload, DecodeSpec, DecodeStep, DecodeWorkload, ExpertTraffic, Group, Protocol, RunOn, Workload, choose, expert_traffic,
};

/// What is to be done, and what was found out about it.
pub(super) struct Job {
    pub(super) workload: Box<dyn Workload>,
    pub(super) memory: Option<Memory>,
    pub(super) folding: Folding,
    /// What an exchange of tokens moves, for workloads that are one.
    pub(super) exchange: Option<MoeExchangeFacts>,
}

/// Lowers the scenario's workload.
pub(super) fn job(scenario: &Scenario, cluster: &Cluster) -> Result<Job, Invalid> {
    match &scenario.workload {
        WorkloadSpec::Decode(spec) => decode(scenario, spec, cluster),
        WorkloadSpec::Collective(spec) => collective(scenario, spec, cluster),
        WorkloadSpec::MoeExchange(spec) => exchange::job(scenario, spec, cluster),
    }
}

fn collective(scenario: &Scenario, spec: &CollectiveSpec, cluster: &Cluster) -> Result<Job, Invalid> {
    if cluster.gpus.len() < 2 {
        let invalid = Invalid::at("nodes", "a collective needs at least two GPUs, and the cluster has one");
        return Err(invalid.help("add nodes, or use a node with more GPUs"));
    }
    let members: Vec<usize> = (0..cluster.gpus.len()).collect();
    let costs = scenario.hardware.communication.as_ref().map(|software| &software.collectives);
    let group = Group::of(cluster, &members, costs);
    let choice = choose(spec.kind, &group, spec.bytes, spec.algorithm, spec.protocol).ok_or_else(|| {
        let wanted = [spec.algorithm.map(Algorithm::name), spec.protocol.map(Protocol::name)];
        let wanted: Vec<&str> = wanted.into_iter().flatten().collect();
        let message = format!("{} cannot run as {} here", spec.kind.name(), wanted.join(" with "));
        Invalid::at("workload.collective", message).help("leave `algorithm` and `protocol` out to see what is chosen")
    })?;
    let workload = CollectiveWorkload::chosen(spec.kind, choice, group, spec.bytes);
    Ok(Job { workload: Box::new(workload), memory: None, folding: Folding::None, exchange: None })
}

fn decode(scenario: &Scenario, spec: &DecodeSpec, cluster: &Cluster) -> Result<Job, Invalid> {
    let missing = |key: &str| Invalid::at("", format!("a decode step needs a [{key}] table, and there is none"));
    let model = scenario.model.as_ref().ok_or_else(|| {
        missing("model").help("for example `[model]` with `extends = \"../models/deepseek_v3.toml\"`")
    })?;
    let precision = scenario.precision.unwrap_or_default();
    model.check().map_err(|invalid| invalid.under("model"))?;
    let plan =
        scenario.parallelism.check(cluster.gpus.len() as u32, model).map_err(|invalid| invalid.under("parallelism"))?;
    check(scenario, spec, &plan, cluster)?;
    let memory = memory(scenario, spec, model, &precision, &plan)?;
    let ep = plan.ep() as usize;
    // A group of GPUs that share experts stands for all such groups; a dense model has one per tensor-parallel group.
    let gpus = cluster.gpus[..ep.max(plan.tp() as usize)].to_vec();
    let orders = peer_orders(cluster, &gpus, ep);
    let (simulated, folding) = simulated(scenario.symmetry, &orders);
    let on_cpu = spec.experts.run_on == RunOn::Cpu;
    let cpu = on_cpu.then(|| cluster.topology.devices_of(DeviceKind::Cpu).next()).flatten();
    let step = DecodeStep {
        model: model.clone(),
        precision,
        spec: spec.clone(),
        plan,
        cpu,
        peers: simulated.iter().map(|&rank| orders[rank].peers.clone()).collect(),
        simulated,
        traffic: traffic(scenario.seed, spec, model, &plan),
        gpus,
    };
    let workload = Box::new(DecodeWorkload::new(step));
    Ok(Job { workload, memory: Some(memory), folding, exchange: None })
}

/// What the plan, the experts and the cluster must agree on.
fn check(scenario: &Scenario, spec: &DecodeSpec, plan: &Plan, cluster: &Cluster) -> Result<(), Invalid> {
    let at = |place: &str, message: String, help: &str| Err(Invalid::at(place, message).help(help));
    if plan.pp() > 1 {
        let message = format!("pp = {}: a decode step is not split into pipeline stages", plan.pp());
        return at("parallelism.pp", message, "use `pp = 1`, and more `ep` or `tp`");
    }
    if spec.micro_batches.get() > spec.requests_per_gpu.get() {
        let message = format!("{} micro-batches of {} requests per GPU", spec.micro_batches, spec.requests_per_gpu);
        return at("workload.decode.micro_batches", message, "a micro-batch holds at least one request");
    }
    if spec.experts.run_on == RunOn::Cpu {
        if cluster.gpus.len() > 1 {
            let message = format!("experts on the CPU with {} GPUs", cluster.gpus.len());
            return at("workload.decode.experts.run_on", message, "experts run on the CPU beside a single GPU");
        }
        if scenario.hardware.cpu.is_none() {
            let message = format!("the node `{}` describes no CPU", scenario.hardware.name);
            return at("workload.decode.experts.run_on", message, "add a [hardware.cpu] table");
        }
    }
    Ok(())
}

/// The memory of each GPU under the plan, checked against what there is.
fn memory(
    scenario: &Scenario,
    spec: &DecodeSpec,
    model: &ModelSpec,
    precision: &PrecisionSpec,
    plan: &Plan,
) -> Result<Memory, Invalid> {
    let load = InferenceLoad {
        // Requests are counted per GPU, and a tensor-parallel group serves those of all its GPUs.
        requests: spec.requests_per_gpu.wide() * u64::from(plan.tp()),
        context: spec.context.wide(),
        step_tokens: spec.requests_per_gpu.wide() * u64::from(plan.tp()) * DecodeStep::queries(spec),
        form: AttentionForm::Absorbed,
        mtp: spec.mtp.is_some(),
        experts_on_cpu: spec.experts.run_on == RunOn::Cpu,
    };
    let used = inference_memory(model, plan, precision, &load);
    let capacity = scenario.hardware.gpu.memory.capacity;
    let place = if used.kv_cache > used.weights { "workload.decode.requests_per_gpu" } else { "parallelism" };
    used.fits(capacity).map_err(|invalid| invalid.under(place))?;
    Ok(Memory { used, capacity })
}

/// In which order a GPU sends to the others, and what distances it sees.
struct PeerOrder {
    peers: Vec<usize>,
    /// Latency in picoseconds and rate of the way to each peer, in the same order.
    profile: Vec<(u64, u64)>,
}

/// Every GPU of an expert-parallel group sends to the nearest first, and in a rotation among equally near ones, so that on a
/// symmetric cluster all of them do the same at the same time.
fn peer_orders(cluster: &Cluster, gpus: &[DeviceId], ep: usize) -> Vec<PeerOrder> {
    let mut routes = Routes::new(&cluster.topology);
    let mut order = |rank: usize| {
        let mut peers: Vec<((u64, u64), usize)> = Vec::with_capacity(ep.saturating_sub(1));
        for offset in 1..ep {
            let peer = (rank + offset) % ep;
            let path = routes.path(gpus[rank], gpus[peer]).expect("a cluster is connected");
            peers.push(((path.latency.as_ps(), path.narrowest.get()), peer));
        }
        peers.sort_by_key(|&(profile, peer)| (profile, (peer + ep - rank) % ep));
        PeerOrder {
            peers: peers.iter().map(|&(_, peer)| peer).collect(),
            profile: peers.iter().map(|&(p, _)| p).collect(),
        }
    };
    (0..gpus.len())
        .map(|rank| if rank < ep { order(rank) } else { PeerOrder { peers: Vec::new(), profile: Vec::new() } })
        .collect()
}

/// Which GPUs are simulated: one for all, unless that is not wanted. Where their distances differ, the one with the longest
/// ways stands for them, because everyone waits for the last.
fn simulated(choice: SymmetryChoice, orders: &[PeerOrder]) -> (Vec<usize>, Folding) {
    let alike = orders.iter().all(|order| order.profile == orders[0].profile);
    let far = |rank: &usize| orders[*rank].profile.iter().map(|(latency, _)| latency).sum::<u64>();
    let farthest = (0..orders.len()).rev().max_by_key(far).expect("a group has a GPU");
    match choice {
        SymmetryChoice::Unfold => ((0..orders.len()).collect(), Folding::None),
        SymmetryChoice::Fold if orders.len() == 1 => (vec![0], Folding::None),
        SymmetryChoice::Fold if alike => (vec![0], Folding::Exact),
        SymmetryChoice::Fold => (vec![farthest], Folding::Farthest),
    }
}

/// Expert traffic of each micro-batch.
fn traffic(seed: u64, spec: &DecodeSpec, model: &ModelSpec, plan: &Plan) -> Vec<Option<ExpertTraffic>> {
    let queries = DecodeStep::queries(spec);
    let mut rng = Seed(seed).stream("gate");
    let mut of = |requests: u64| {
        let moe = model.moe.as_ref()?;
        Some(expert_traffic(moe, plan, spec.experts.one_copy_per, requests * queries, &mut rng))
    };
    DecodeStep::requests(spec).into_iter().map(&mut of).collect()
}
