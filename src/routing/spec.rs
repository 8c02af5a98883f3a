//! What a scenario says about routing.

use crate::invalid::Invalid;
use crate::topology::{DeviceKind, Topology};
use crate::units::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the way of data is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutingSpec {
    /// How a switch chooses among equally short ways.
    #[serde(default)]
    pub policy: RoutingChoice,
    /// Whether data takes shortest ways only; networks without routers that are each other's peers have no others.
    #[serde(default)]
    pub detour: DetourChoice,
    /// With `policy = "adaptive"`: how long a connection has to pause before it may change its way; without it, every packet
    /// chooses anew.
    pub flowlet_gap: Option<Duration>,
    /// Whether a NIC with several ports spreads the packets of one connection over all of them, which takes a receiver that
    /// places packets out of order; otherwise a connection keeps to one port.
    #[serde(default)]
    pub spray_ports: bool,
    /// Where data changes to another rail or plane, if it can do so at either end.
    #[serde(default)]
    pub forward: ForwardChoice,
}

/// How a switch chooses among equally short ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoutingChoice {
    /// The destination alone decides: d-mod-k, the balanced tables of a subnet manager.
    #[default]
    Static,
    /// A hash of the connection decides, so that connections may collide.
    Ecmp,
    /// The least loaded way, packet by packet or flowlet by flowlet.
    Adaptive,
    /// All ways alike, packet by packet at random.
    Spray,
}

/// Whether data takes shortest ways only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetourChoice {
    /// Shortest ways only.
    #[default]
    Minimal,
    /// Every packet goes by a router drawn at random (Valiant, "A scheme for fast parallel communication", 1982).
    Valiant,
    /// Every packet takes the better of a shortest way and one by a random router: that for which hops times the queue at the
    /// first router is less (UGAL-L; Singh, "Load-Balanced Routing in Interconnection Networks", 2005).
    Ugal,
}

/// Where data changes to another rail or plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForwardChoice {
    /// A GPU sends through its own NIC; a GPU of the far node forwards where the fabric cannot change the plane.
    #[default]
    OwnNic,
    /// A GPU of the own node, on the rail of the destination, sends in its place (NCCL calls this PXN).
    ScaleUp,
}

impl RoutingSpec {
    /// Checks what single fields cannot say.
    pub fn check(&self, topology: &Topology) -> Result<(), Invalid> {
        if self.detour != DetourChoice::Minimal && topology.devices_of(DeviceKind::Router).next().is_none() {
            let message = "detours go by a router of a direct network, and this fabric has none";
            return Err(Invalid::at("detour", message).help("use `detour = \"minimal\"`"));
        }
        if self.flowlet_gap.is_some() && self.policy != RoutingChoice::Adaptive {
            let message = "only adaptive routing moves flowlets";
            return Err(Invalid::at("flowlet_gap", message).help("use `policy = \"adaptive\"`, or leave it out"));
        }
        Ok(())
    }
}
