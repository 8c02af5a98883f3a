//! From a scenario to the machines that it runs on.

use crate::gpu::tile::{Machine, Tile};
use crate::gpu::{Instant, KernelModel, Processor, Roofline};
use crate::hardware::{GpuSpec, Libraries};
use crate::id::DeviceId;
use crate::invalid::Invalid;
use crate::network::{
    Analytic, FairShare, FaultSchedule, NetworkModel, PacketModel, PacketParams, Watch, Watched, resolve,
};
use crate::routing::{DetourChoice, Routes, RoutingSpec, WAIT_STEPS, find_waits};
use crate::scenario::{KernelChoice, NetworkChoice, Scenario};
use crate::topology::{Cluster, DeviceKind, build_cluster};
use crate::units::Duration;
use std::collections::BTreeMap;

/// The devices and links of a scenario.
pub(super) fn cluster(scenario: &Scenario) -> Result<Cluster, Invalid> {
    scenario.hardware.check().map_err(|invalid| invalid.under("hardware"))?;
    if scenario.nodes.get() > 1 && scenario.topology.is_none() {
        let message = format!("{} nodes need a fabric to join them, and none is named", scenario.nodes);
        let help = "add a [topology] table that extends a file of topologies/, or set `nodes = 1`";
        return Err(Invalid::at("nodes", message).help(help));
    }
    build_cluster(&scenario.hardware, scenario.nodes.get(), scenario.topology.as_ref())
}

/// How data is routed: as the scenario says, and otherwise as the switches of its fabric do.
pub(super) fn routing(scenario: &Scenario) -> RoutingSpec {
    scenario.routing.on(scenario.topology.as_ref().and_then(|topology| topology.switch.as_ref()))
}

/// The ways that data may take.
pub(super) fn routes<'t>(scenario: &Scenario, cluster: &'t Cluster) -> Result<Routes<'t>, Invalid> {
    let routing = routing(scenario);
    routing.check(&cluster.topology).map_err(|invalid| invalid.under("routing"))?;
    Ok(Routes::with(&cluster.topology, routing, scenario.seed, &[]))
}

/// The longest latency of a link in the packet model, which counts it in 32 bits.
const PACKET_LATENCY_MAX: Duration = Duration::from_ns(4_000_000);

/// The packet model of the cluster's network.
pub(super) fn packets<'t>(
    scenario: &Scenario,
    cluster: &'t Cluster,
    faults: FaultSchedule,
) -> Result<PacketModel<'t>, Invalid> {
    let longest = cluster.topology.links().map(|(_, link)| link.latency).max().unwrap_or_default();
    if longest > PACKET_LATENCY_MAX {
        let message = format!("a link takes {longest}, and the packet model knows links of up to {PACKET_LATENCY_MAX}");
        return Err(Invalid::at("network", message).help("shorten the latency, or use `network = \"flow\"`"));
    }
    let params = PacketParams::new(&scenario.hardware, scenario.topology.as_ref(), &scenario.packet)?;
    let has = params.lanes;
    let is_healthy = faults.is_empty();
    let model = PacketModel::new(&cluster.topology, params, routing(scenario), scenario.seed, faults);
    let wants = model.lanes_wanted();
    if wants > has && !(is_healthy && closes_no_circle(scenario, cluster, has)) {
        let message =
            format!("routing takes {wants} virtual lanes so that it cannot deadlock, and switches have {has}");
        let help = "shorten the ways between routers, or do without detours; trees need one lane";
        return Err(Invalid::at("topology.switch.packet.virtual_lanes", message).help(help));
    }
    Ok(model)
}

/// Whether ways cannot deadlock on `lanes` virtual lanes although they want more. Detours are not followed.
fn closes_no_circle(scenario: &Scenario, cluster: &Cluster, lanes: u8) -> bool {
    if scenario.routing.detour != DetourChoice::Minimal {
        return false;
    }
    let waits = find_waits(&cluster.topology, scenario.routing.forward, lanes, WAIT_STEPS);
    !waits.is_sample() && waits.circle.is_none()
}

/// The model of every processor of the cluster.
pub(super) fn kernels(scenario: &Scenario, cluster: &Cluster) -> Result<Box<dyn KernelModel>, Invalid> {
    let mut cpus = BTreeMap::new();
    if let Some(spec) = &scenario.hardware.cpu {
        // The sockets of a node share the work on experts, so that the first stands for all of them.
        let sockets = scenario.hardware.cpus.map_or(1, |cpus| cpus.wide());
        let cpu = Processor::cpu(spec, sockets);
        cpus.extend(cluster.topology.devices_of(DeviceKind::Cpu).map(|id| (id, cpu.clone())));
    }
    model(scenario.kernel, (&scenario.hardware.gpu, scenario.libraries()), &cluster.gpus, cpus)
}

/// The model of some equal GPUs by themselves.
pub(crate) fn gpu_kernels(
    choice: KernelChoice,
    gpu: (&GpuSpec, Libraries),
    devices: &[DeviceId],
) -> Result<Box<dyn KernelModel>, Invalid> {
    model(choice, gpu, devices, BTreeMap::new())
}

/// The model of equal GPUs with their kernel libraries, beside other processors.
fn model(
    choice: KernelChoice,
    (gpu, libraries): (&GpuSpec, Libraries),
    gpus: &[DeviceId],
    mut others: BTreeMap<DeviceId, Processor>,
) -> Result<Box<dyn KernelModel>, Invalid> {
    Ok(match choice {
        KernelChoice::Instant => Box::new(Instant),
        KernelChoice::Roofline => {
            let processor = Processor::gpu(gpu);
            others.extend(gpus.iter().map(|&id| (id, processor.clone())));
            Box::new(Roofline::new(others))
        }
        KernelChoice::Tile => {
            let machine = Machine::with(gpu, libraries).ok_or_else(|| {
                let message = format!("`{}` has no [sm] table, which the cycle-level kernel model needs", gpu.name);
                Invalid::at("kernel", message).help("use `kernel = \"roofline\"`, or describe the SM")
            })?;
            Box::new(Tile::new(machine, others))
        }
    })
}

/// An idle network between the devices of the cluster, of whose progress `watch` hears.
pub(super) fn network<'t>(
    scenario: &Scenario,
    cluster: &'t Cluster,
    watch: Option<Watch<'t>>,
) -> Result<Box<dyn NetworkModel + 't>, Invalid> {
    let faults = faults(scenario, cluster)?;
    let routes = routes(scenario, cluster)?;
    let network: Box<dyn NetworkModel + 't> = match scenario.network {
        NetworkChoice::Analytic => Box::new(Analytic::with(&cluster.topology, routes)),
        NetworkChoice::Flow => Box::new(FairShare::new(&cluster.topology, routes, faults)),
        NetworkChoice::Packet => {
            let model = packets(scenario, cluster, faults)?;
            return Ok(Box::new(match watch {
                Some(watch) => model.watched(watch),
                None => model,
            }));
        }
    };
    Ok(match watch {
        Some(watch) => Box::new(Watched::new(network, watch)),
        None => network,
    })
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
