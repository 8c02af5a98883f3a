//! A packet switch of the scale-out network.

use super::SwitchPacketSpec;
use crate::sources::Sources;
use crate::units::{BytesPerSec, Count, Duration, Usd, Watts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchSpec {
    /// Product name or class.
    pub name: String,
    /// Number of ports.
    pub radix: Count,
    /// Peak bandwidth of one port, per direction.
    pub port_bandwidth_per_direction: BytesPerSec,
    /// Port-to-port latency, cut-through.
    pub latency: Duration,
    /// How it chooses among equally short ways; without it, by the destination alone.
    pub routing: Option<SwitchRoutingSpec>,
    /// How it holds packets back; the packet model of the network needs it.
    pub packet: Option<SwitchPacketSpec>,
    /// Maximum power.
    pub power: Watts,
    /// Purchase price, where one is known.
    pub price: Option<Usd>,
    /// Where the figures come from.
    #[serde(default)]
    pub source: Sources,
}

/// How a switch routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchRoutingSpec {
    /// The policy of a fabric of such switches where a scenario's `[routing]` names none.
    pub default: RoutingChoice,
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
