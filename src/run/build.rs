//! From a scenario to the machines that it runs on.

use crate::gpu::{Instant, KernelModel, Processor, Roofline};
use crate::hardware::GpuSpec;
use crate::id::DeviceId;
use crate::invalid::Invalid;
use crate::network::{Analytic, NetworkModel};
use crate::scenario::{KernelChoice, NetworkChoice, Scenario};
use crate::topology::{Cluster, DeviceKind, build_cluster};
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

/// The model of every processor of the cluster.
pub(super) fn kernels(scenario: &Scenario, cluster: &Cluster) -> Box<dyn KernelModel> {
    let gpu = Processor::gpu(&scenario.hardware.gpu);
    let mut processors: BTreeMap<_, _> = cluster.gpus.iter().map(|&id| (id, gpu.clone())).collect();
    if let Some(spec) = &scenario.hardware.cpu {
        // The sockets of a node share the work on experts, so that the first stands for all of them.
        let sockets = scenario.hardware.cpus.map_or(1, |cpus| cpus.wide());
        let cpu = Processor::cpu(spec, sockets);
        processors.extend(cluster.topology.devices_of(DeviceKind::Cpu).map(|id| (id, cpu.clone())));
    }
    model(scenario.kernel, processors)
}

/// The model of some equal GPUs by themselves.
pub(crate) fn gpu_kernels(choice: KernelChoice, gpu: &GpuSpec, devices: &[DeviceId]) -> Box<dyn KernelModel> {
    let processor = Processor::gpu(gpu);
    model(choice, devices.iter().map(|&id| (id, processor.clone())).collect())
}

fn model(choice: KernelChoice, processors: BTreeMap<DeviceId, Processor>) -> Box<dyn KernelModel> {
    match choice {
        KernelChoice::Instant => Box::new(Instant),
        KernelChoice::Roofline => Box::new(Roofline::new(processors)),
    }
}

/// An idle network between the devices of the cluster.
pub(super) fn network<'t>(scenario: &Scenario, cluster: &'t Cluster) -> Box<dyn NetworkModel + 't> {
    match scenario.network {
        NetworkChoice::Analytic => Box::new(Analytic::new(&cluster.topology)),
    }
}
