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
