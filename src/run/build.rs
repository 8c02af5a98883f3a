//! From a scenario to the machines that it runs on.

use crate::gpu::tile::{Machine, Tile};
use crate::gpu::{Instant, KernelModel, Processor, Roofline};
use crate::id::DeviceId;
use crate::invalid::Invalid;
use crate::scenario::{KernelChoice, Scenario};
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
pub(super) fn kernels(scenario: &Scenario, cluster: &Cluster) -> Result<Box<dyn KernelModel>, Invalid> {
    let spec = &scenario.hardware.gpu;
    Ok(match scenario.kernel {
        KernelChoice::Instant => Box::new(Instant),
        KernelChoice::Roofline => {
            let mut processors = cpus(scenario, cluster);
            let gpu = Processor::gpu(spec);
            processors.extend(cluster.gpus.iter().map(|&id| (id, gpu.clone())));
            Box::new(Roofline::new(processors))
        }
        KernelChoice::Tile => {
            let machine = Machine::new(spec).ok_or_else(|| {
                let message = format!("`{}` has no [sm] table, which the cycle-level kernel model needs", spec.name);
                Invalid::at("kernel", message).help("use `kernel = \"roofline\"`, or describe the SM")
            })?;
            Box::new(Tile::new(machine, cpus(scenario, cluster)))
        }
    })
}

/// The CPUs. The sockets of a node share the work on experts, so that the first stands for all of them.
fn cpus(scenario: &Scenario, cluster: &Cluster) -> BTreeMap<DeviceId, Processor> {
    let Some(spec) = &scenario.hardware.cpu else { return BTreeMap::new() };
    let cpu = Processor::cpu(spec, scenario.hardware.cpus.map_or(1, |cpus| cpus.wide()));
    cluster.topology.devices_of(DeviceKind::Cpu).map(|id| (id, cpu.clone())).collect()
}
