//! What was simulated: everything that an answer rests on, taken from the scenario as it was read and from the run.

use crate::workload::Chosen;
use serde::Serialize;
use serde_json::{Value, json};

/// What was simulated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The language model, where there is one.
    pub model: Option<String>,
    /// The GPU.
    pub gpu: String,
    /// Its generation.
    pub architecture: String,
    /// GPUs of the deployment, all pools together.
    pub gpus: u64,
    /// The node.
    pub node: String,
    /// Nodes of the cluster.
    pub nodes: u64,
    /// The fabric between nodes, where there is one.
    pub fabric: Option<String>,
    /// The parallel plan, where a model is spread: sizes by their names, such as `ep`.
    pub plan: Value,
    /// The kind of workload.
    pub workload: String,
    /// Everything that the workload says, defaults included.
    pub sizes: Value,
    /// Number formats by what is in them, where a model runs.
    pub formats: Value,
    /// How kernels are timed.
    pub kernels: String,
    /// Kernel libraries by what they run.
    pub libraries: Value,
    /// How data moves.
    pub network: String,
    /// Which way it goes.
    pub routing: Value,
    /// What of the deployment was simulated for all of it.
    pub symmetry: String,
    /// What was chosen for each collective, and how often it ran.
    pub collectives: Vec<(Chosen, u64)>,
    /// What exchanges tokens of a training step with experts, where anything does.
    pub exchange: Option<ExpertExchange>,
    /// What is taken to be ideal.
    pub ideal: Vec<Ideal>,
    /// How far such answers were off measured ones; none where that is not known.
    pub measured: Option<Vec<MeasuredError>>,
}

/// What exchanges tokens with experts, forward and backward. Tokens cross the fabric once per node, to the GPU of their own GPU's index, which
/// forwards them inside the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExpertExchange {
    /// Kernels, where software is described; without them, transfers cost the wire alone.
    pub kernels: Option<String>,
    /// The software that they are of.
    pub software: Option<String>,
    /// SMs that they run on; without any, a co-processor takes their place.
    pub sms: Option<u32>,
    /// GPUs that share experts.
    pub ranks: u64,
}

/// How far answers of this kind were off measured ones, on this generation of GPU and with this library.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeasuredError {
    /// What of the answer was measured, where several things were.
    pub part: Option<String>,
    /// Values that were compared.
    pub rows: usize,
    /// Median of the absolute errors, as a part of the measured value.
    pub median: f64,
    /// 90th percentile of the absolute errors.
    pub p90: f64,
    /// Median of the errors with their sign.
    pub sign: f64,
}

/// Something that is taken to be ideal, and the key that says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ideal {
    /// What is assumed: "no host time between kernels".
    pub assumption: String,
    /// The key of the scenario that changes it.
    pub key: String,
}

impl Facts {
    /// All of it, for programs.
    pub fn json(&self) -> Value {
        let collective = |(chosen, count): &(Chosen, u64)| {
            json!({
                "collective": chosen.collective.name(),
                "ranks": chosen.ranks,
                "bytes": chosen.bytes.get(),
                "algorithm": chosen.algorithm.name(),
                "protocol": chosen.protocol.name(),
                "count": count,
            })
        };
        let mut all = json!({
            "model": self.model,
            "gpu": self.gpu,
            "architecture": self.architecture,
            "gpus": self.gpus,
            "node": self.node,
            "nodes": self.nodes,
            "fabric": self.fabric,
            "plan": self.plan,
            "workload": { "kind": self.workload, "sizes": self.sizes },
            "formats": self.formats,
            "kernels": self.kernels,
            "libraries": self.libraries,
            "network": self.network,
            "routing": self.routing,
            "symmetry": self.symmetry,
            "collectives": self.collectives.iter().map(collective).collect::<Value>(),
            "ideal": self.ideal,
            "measured_error": self.measured,
        });
        if let Some(exchange) = &self.exchange {
            all["exchange"] = json!(exchange);
        }
        all
    }
}
