//! What predictions may ask: the hardware of a system, the time of a kernel, the outcome of a scenario.

use super::Skip;
use super::names::{EngineRun, EngineSpec, Names};
use super::systems::{Library, System};
use crate::gpu::Conditions;
use crate::hardware::{Libraries, LibrariesSpec, NicsSpec, NodeSpec};
use crate::id::DeviceId;
use crate::metrics::Outcome;
use crate::model::{ModelSpec, PrecisionSpec};
use crate::network::PacketSpec;
use crate::parallelism::{MemoryBudgetSpec, PlanSpec};
use crate::routing::RoutingSpec;
use crate::run::{Known, gpu_kernels, simulate_among};
use crate::scenario::{KernelChoice, NetworkChoice, Scenario, SymmetryChoice, WorkloadSpec};
use crate::units::{Count, Duration};
use crate::workload::Kernel;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Hardware and the models to time it with.
pub(super) struct Context<'a> {
    library: Library,
    names: &'a Names,
    kernel: KernelChoice,
    network: NetworkChoice,
    /// What kernels took, by system. A memo of a pure function, so that threads cannot disturb each other.
    kernels: Mutex<BTreeMap<(usize, Libraries, Conditions, Kernel), Duration>>,
    known: Known,
}

impl<'a> Context<'a> {
    pub(super) fn new(library: Library, names: &'a Names, kernel: KernelChoice, network: NetworkChoice) -> Context<'a> {
        Context { library, names, kernel, network, kernels: Mutex::new(BTreeMap::new()), known: Known::default() }
    }

    /// The model that a table calls `name`.
    pub(super) fn model(&self, name: &str) -> Result<&ModelSpec, Skip> {
        self.names.model(name).ok_or_else(|| Skip::unknown("model", name, self.names.models()))
    }

    /// What the serving engine of `run` does in it.
    pub(super) fn engine(&self, run: &EngineRun<'_>) -> Result<EngineSpec, Skip> {
        self.names.engine(run).ok_or_else(|| Skip::unknown("serving engine", run.engine, self.names.engines()))
    }

    /// The system that a table calls `name`.
    pub(super) fn system(&self, name: &str) -> Result<&System, Skip> {
        self.library.get(name).ok_or_else(|| Skip::unknown("system", name, self.library.names()))
    }

    /// How long `kernel` takes on an idle GPU of `system`, its launch included.
    pub(super) fn kernel(&self, system: &System, kernel: &Kernel) -> Result<Duration, Skip> {
        self.kernel_under(&Conditions::default(), system, kernel)
    }

    /// How long `kernel` takes on a GPU of `system` under `conditions`, its launch included.
    pub(super) fn kernel_under(
        &self,
        conditions: &Conditions,
        system: &System,
        kernel: &Kernel,
    ) -> Result<Duration, Skip> {
        self.kernel_with(LibrariesSpec::default(), conditions, system, kernel)
    }

    /// The same with `libraries` where they name some.
    pub(super) fn kernel_with(
        &self,
        libraries: LibrariesSpec,
        conditions: &Conditions,
        system: &System,
        kernel: &Kernel,
    ) -> Result<Duration, Skip> {
        let libraries = libraries.or(system.gpu.libraries);
        let key = (system.index, libraries, *conditions, *kernel);
        let known = self.kernels.lock().expect("no holder panics").get(&key).copied();
        if let Some(time) = known {
            return Ok(time);
        }
        let device = DeviceId::new(0);
        let mut model = gpu_kernels(self.kernel, (&system.gpu, libraries), &[device]).map_err(Skip::because)?;
        let time = model.cost_under(conditions, device, kernel).time;
        self.kernels.lock().expect("no holder panics").insert(key, time);
        Ok(time)
    }

    /// `workload` on `gpus` GPUs in each of `nodes` nodes of `system`, with the chosen models.
    pub(super) fn run(&self, system: &System, nodes: u32, gpus: u32, workload: WorkloadSpec) -> Result<Outcome, Skip> {
        let scenario = self.scenario(system, [nodes, gpus], workload)?;
        self.simulated(&scenario)
    }

    /// The same, of a model that is spread over these GPUs.
    pub(super) fn deploy(
        &self,
        system: &System,
        shape: [u32; 2],
        deployed: Deployed<'_>,
        workload: WorkloadSpec,
    ) -> Result<Outcome, Skip> {
        let scenario = self.deployment(system, shape, deployed, workload)?;
        self.simulated(&scenario)
    }

    fn simulated(&self, scenario: &Scenario) -> Result<Outcome, Skip> {
        let outcome = simulate_among(scenario, &self.known).map_err(Skip::because)?;
        outcome.unended().map_or(Ok(()), |unended| Err(Skip::because(unended)))?;
        Ok(outcome)
    }

    /// The scenario of a model that is spread over `gpus` GPUs in each of `nodes` nodes.
    pub(super) fn deployment(
        &self,
        system: &System,
        [nodes, gpus]: [u32; 2],
        deployed: Deployed<'_>,
        workload: WorkloadSpec,
    ) -> Result<Scenario, Skip> {
        Ok(Scenario {
            model: Some(deployed.model.clone()),
            parallelism: deployed.plan,
            precision: Some(deployed.precision),
            ..self.scenario(system, [nodes, gpus], workload)?
        })
    }

    /// `workload` as a scenario, for sets that look at a part of it.
    pub(super) fn scenario(
        &self,
        system: &System,
        [nodes, gpus]: [u32; 2],
        workload: WorkloadSpec,
    ) -> Result<Scenario, Skip> {
        // NICs of one node reach each other through the fabric, and so do pools.
        let over_nics = match &workload {
            WorkloadSpec::MoeExchange(spec) => !spec.scale_up,
            WorkloadSpec::Serving(spec) => spec.prefill.is_some(),
            _ => false,
        };
        Ok(Scenario {
            name: "validation".to_owned(),
            description: String::new(),
            seed: 1,
            hardware: part_of_node(system, gpus)?,
            nodes: Count::new(nodes).ok_or_else(|| Skip::because("no nodes"))?,
            topology: if nodes > 1 || over_nics { system.fabric.clone() } else { None },
            model: None,
            parallelism: PlanSpec::default(),
            memory: MemoryBudgetSpec::default(),
            precision: None,
            workload,
            kernel: self.kernel,
            libraries: LibrariesSpec::default(),
            network: self.network,
            fault: Vec::new(),
            routing: RoutingSpec::default(),
            packet: PacketSpec::default(),
            symmetry: SymmetryChoice::Fold,
            simulation_memory: None,
        })
    }
}

/// A model, how it is spread over GPUs, and in which formats.
#[derive(Clone, Copy)]
pub(super) struct Deployed<'a> {
    pub(super) model: &'a ModelSpec,
    pub(super) plan: PlanSpec,
    pub(super) precision: PrecisionSpec,
}

/// The node of `system` with `gpus` of its GPUs in use.
fn part_of_node(system: &System, gpus: u32) -> Result<NodeSpec, Skip> {
    let whole =
        system.node.as_ref().ok_or_else(|| Skip::because(format!("no node with {} is described", system.gpu.name)))?;
    let used = Count::new(gpus).ok_or_else(|| Skip::because("no GPUs"))?;
    if used > whole.gpus {
        return Err(Skip::because(format!("more GPUs than one domain of {} holds", whole.name)));
    }
    let nics = whole.nics.as_ref().map(|nics| NicsSpec { count: nics.count.min(used), nic: nics.nic.clone() });
    Ok(NodeSpec { gpus: used, nics, ..whole.clone() })
}
