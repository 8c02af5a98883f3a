//! A node: the GPUs, NICs and CPUs that share one box (or, for a rack-scale system, one scale-up domain).

use super::{CommunicationSpec, CpuSpec, GpuSpec, NicSpec};
use crate::invalid::Invalid;
use crate::sources::Sources;
use crate::units::{Bytes, BytesPerSec, Count, Duration, Fraction, Watts, positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Product name or class.
    pub name: String,
    /// GPUs in the node.
    pub gpus: Count,
    /// The GPU, the same in every place.
    pub gpu: GpuSpec,
    /// The switched scale-up domain that joins the GPUs, where there is one.
    pub scale_up: Option<ScaleUpSpec>,
    /// NICs of the compute network, where there are any.
    pub nics: Option<NicsSpec>,
    /// Communication software, where its cost counts; without it, transfers cost the wire alone.
    pub communication: Option<CommunicationSpec>,
    /// CPU sockets, where a model may use them.
    pub cpus: Option<Count>,
    /// The CPU of each socket.
    pub cpu: Option<CpuSpec>,
    /// Most that a node draws beside GPUs, CPUs and NICs: scale-up switches, memory, drives, fans and the loss of the power supplies.
    pub overhead: Option<Watts>,
    /// Where the figures come from.
    #[serde(default)]
    pub source: Sources,
}

/// A switched scale-up domain (NVLink and NVSwitch).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleUpSpec {
    /// Peak bandwidth of one GPU into the domain, per direction; without it, the GPU's own port decides.
    pub bandwidth_per_direction: Option<BytesPerSec>,
    /// The part of the peak that transfers of useful size reach.
    #[serde(deserialize_with = "positive")]
    pub efficiency: Fraction,
    /// Latency from GPU to GPU, without serialisation.
    pub latency: Duration,
    /// Input buffer of each switch port, beyond what the link holds; the packet model of the network needs it.
    pub buffer: Option<Bytes>,
    /// Switch chips; each GPU spreads its links over all of them.
    pub switches: Count,
}

/// The NICs of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NicsSpec {
    /// How many; NIC `i` serves GPU `i`, and the GPUs share them in turn when there are fewer.
    pub count: Count,
    /// The NIC, the same in every place.
    pub nic: NicSpec,
}

impl NodeSpec {
    /// Peak bandwidth of one GPU into the scale-up domain, per direction.
    pub fn scale_up_bandwidth(&self) -> Option<BytesPerSec> {
        let stated = self.scale_up.as_ref()?.bandwidth_per_direction;
        stated.or_else(|| self.gpu.scale_up.as_ref().map(|port| port.bandwidth_per_direction))
    }

    /// Memory bandwidth of a GPU that an exchange of tokens between nodes takes from kernels beside it.
    pub fn exchange_memory(&self) -> BytesPerSec {
        self.communication.as_ref().map(|software| software.experts.normal.memory_beside).unwrap_or_default()
    }

    /// Checks what single fields cannot say.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.gpus.get() > 1 && self.scale_up.is_none() {
            let message = format!("{} GPUs in a node need a scale-up domain, and none is described", self.gpus);
            return Err(Invalid::at("gpus", message).help("add a [scale_up] table, or set `gpus = 1`"));
        }
        if self.scale_up.is_some() && self.scale_up_bandwidth().is_none() {
            let message =
                format!("the GPU `{}` has no scale-up port, and the domain states no bandwidth", self.gpu.name);
            return Err(Invalid::at("scale_up", message).help("add `bandwidth_per_direction` to [scale_up]"));
        }
        if self.cpus.is_some() && self.cpu.is_none() {
            return Err(Invalid::at("cpus", "sockets are counted, but no CPU is described").help("add a [cpu] table"));
        }
        match &self.nics {
            Some(nics) if nics.count.get() > self.gpus.get() => {
                let message = format!("{} NICs for {} GPUs", nics.count, self.gpus);
                Err(Invalid::at("nics.count", message).help("at most one NIC per GPU; use a NIC with more `ports`"))
            }
            _ => Ok(()),
        }
    }
}
