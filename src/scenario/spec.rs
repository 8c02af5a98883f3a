//! One experiment as its file describes it.

use crate::hardware::{Libraries, LibrariesSpec, NodeSpec};
use crate::model::{ModelSpec, PrecisionSpec};
use crate::network::{FaultSpec, PacketSpec};
use crate::parallelism::PlanSpec;
use crate::routing::RoutingSpec;
use crate::topology::TopologySpec;
use crate::units::{Bytes, Count};
use crate::workload::{
    Algorithm, Collective, DecodeSpec, MoeExchangeSpec, PipelineSpec, PrefillSpec, Protocol, ServingSpec, TrainingSpec,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name, for people.
    pub name: String,
    /// What it shows and what it assumes.
    #[serde(default)]
    pub description: String,
    /// Seed of every random stream.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The node, the same everywhere.
    pub hardware: NodeSpec,
    /// Nodes of the cluster.
    #[serde(default = "one")]
    pub nodes: Count,
    /// The fabric that joins the nodes; a single node needs none.
    pub topology: Option<TopologySpec>,
    /// The language model, for workloads that run one.
    pub model: Option<ModelSpec>,
    /// How the model is spread over GPUs.
    #[serde(default)]
    pub parallelism: PlanSpec,
    /// Number formats, for workloads that run a model.
    pub precision: Option<PrecisionSpec>,
    /// What is to be done.
    pub workload: WorkloadSpec,
    /// How kernels are timed.
    #[serde(default)]
    pub kernel: KernelChoice,
    /// Kernel libraries other than those that the GPU's file names; `kernel = "tile"` reads them.
    #[serde(default)]
    pub libraries: LibrariesSpec,
    /// How data moves.
    #[serde(default)]
    pub network: NetworkChoice,
    /// Details of `network = "packet"`.
    #[serde(default)]
    pub packet: PacketSpec,
    /// What breaks during the run, and when; only a network model that knows contention takes faults.
    #[serde(default)]
    pub fault: Vec<FaultSpec>,
    /// Which way data goes.
    #[serde(default)]
    pub routing: RoutingSpec,
    /// What of a symmetric deployment is simulated.
    #[serde(default)]
    pub symmetry: SymmetryChoice,
    /// Memory that the simulation may use; what is estimated to need more is refused. Without it, four fifths of the machine's.
    pub simulation_memory: Option<Bytes>,
}

impl Scenario {
    /// The kernel libraries of its GPUs.
    pub fn libraries(&self) -> Libraries {
        self.libraries.or(self.hardware.gpu.libraries)
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadSpec {
    /// One decode step of a deployment.
    Decode(DecodeSpec),
    /// One prefill step of a deployment.
    Prefill(PrefillSpec),
    /// Requests that are served over time.
    Serving(Box<ServingSpec>),
    /// One collective over all GPUs.
    Collective(CollectiveSpec),
    /// One training step.
    Training(TrainingSpec),
    /// A pipeline schedule over given times.
    Pipeline(PipelineSpec),
    /// One exchange of tokens with experts over all GPUs.
    MoeExchange(MoeExchangeSpec),
}

/// One collective over all GPUs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectiveSpec {
    /// Which one.
    pub kind: Collective,
    /// Its size, as nccl-tests counts it.
    pub bytes: Bytes,
    /// The algorithm; without it, the one whose predicted time is shortest.
    pub algorithm: Option<Algorithm>,
    /// The protocol; without it, the one whose predicted time is shortest. `bare` leaves software out.
    pub protocol: Option<Protocol>,
    /// Groups of GPUs that run it side by side, each with all `bytes`: GPU `i` belongs to group `i` modulo this, as the
    /// data-parallel groups of a plan with so much tensor parallelism do.
    #[serde(default = "one")]
    pub groups: Count,
}

/// How kernels are timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KernelChoice {
    /// The longer of arithmetic and memory traffic, plus a launch.
    #[default]
    Roofline,
    /// Thread blocks on streaming multiprocessors: wave quantisation, promotion, L2, launch, power.
    Tile,
    /// No time at all: what remains is what communication costs.
    Instant,
}

/// How data moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NetworkChoice {
    /// Latency plus bytes over the narrowest link, without contention inside the fabric.
    #[default]
    Analytic,
    /// Max-min fair shares of every cable, worked out anew where an arrival, a departure or a fault changes them.
    Flow,
    /// Every packet from buffer to buffer, with what `[packet]` and the hardware's own `packet` tables say.
    Packet,
}

/// What is simulated of groups of GPUs that do the same at the same time: expert-parallel or tensor-parallel groups, replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SymmetryChoice {
    /// As little as stands for all: one rank for its group, else all ranks of one group, else all groups. What each takes is checked
    /// on the paths, the faults, the links that groups share and the load of experts; the answer names the level.
    #[default]
    Fold,
    /// All ranks of a group at least; a group still stands for those that are like it.
    Group,
    /// All ranks of all groups.
    Unfold,
}

const fn one() -> Count {
    Count::ONE
}

const fn default_seed() -> u64 {
    1
}
