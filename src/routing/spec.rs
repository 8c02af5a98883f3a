//! What a scenario says about routing.

use super::port_groups::{GROUPS_MAX, number_of_groups};
use crate::hardware::{RoutingChoice, SwitchSpec};
use crate::invalid::Invalid;
use crate::topology::{DeviceKind, Topology};
use crate::units::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the way of data is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutingSpec {
    /// How a switch chooses among equally short ways; without it, as the fabric's switches do (`routing.default` of their file), and
    /// `static` where that says nothing.
    pub policy: Option<RoutingChoice>,
    /// Whether data takes shortest ways only; networks without routers that are each other's peers have no others.
    #[serde(default)]
    pub detour: DetourChoice,
    /// With `policy = "adaptive"`: how long a connection has to pause before it may change its way; without it, every packet
    /// chooses anew.
    pub flowlet_gap: Option<Duration>,
    /// How the data of a transfer is shared out over the ports of a NIC that has several.
    #[serde(default)]
    pub nic_ports: NicPorts,
    /// Where data changes to another rail or plane, if it can do so at either end.
    #[serde(default)]
    pub forward: ForwardChoice,
}

/// How the data of a transfer is shared out over the ports of a NIC that has several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NicPorts {
    /// A queue pair for each port that sender and receiver have in common carries an equal part, as NCCL does with the ports of a
    /// NIC (`NCCL_IB_MERGE_NICS`).
    #[default]
    QueuePairs,
    /// The packets of one queue pair go out at all ports, which takes a receiver that places packets out of order.
    Spray,
    /// One port carries all data between two ends.
    Single,
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
    /// The same, with what is left open as a fabric of such switches has it.
    pub fn on(self, switch: Option<&SwitchSpec>) -> RoutingSpec {
        let default = switch.and_then(|switch| switch.routing.as_ref()).map(|routing| routing.default);
        RoutingSpec { policy: Some(self.policy.or(default).unwrap_or_default()), ..self }
    }

    /// How a switch chooses among equally short ways.
    pub fn policy(&self) -> RoutingChoice {
        self.policy.unwrap_or_default()
    }

    /// Checks what single fields cannot say.
    pub fn check(&self, topology: &Topology) -> Result<(), Invalid> {
        if self.detour != DetourChoice::Minimal && topology.devices_of(DeviceKind::Router).next().is_none() {
            let message = "detours go by a router of a direct network, and this fabric has none";
            return Err(Invalid::at("detour", message).help("use `detour = \"minimal\"`"));
        }
        if self.flowlet_gap.is_some() && self.policy() != RoutingChoice::Adaptive {
            let message = "only adaptive routing moves flowlets";
            return Err(Invalid::at("flowlet_gap", message).help("use `policy = \"adaptive\"`, or leave it out"));
        }
        let groups = number_of_groups(topology);
        if self.nic_ports == NicPorts::QueuePairs && groups > GROUPS_MAX {
            let message =
                format!("{groups} ports in different planes; queue pairs are spread over {GROUPS_MAX} at most");
            return Err(Invalid::at("nic_ports", message).help("use `nic_ports = \"spray\"` or `\"single\"`"));
        }
        Ok(())
    }
}
