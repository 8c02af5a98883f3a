//! A network adapter.

use super::NicPacketSpec;
use crate::sources::Sources;
use crate::units::{BytesPerSec, Count, Duration, Fraction, Usd, Watts, positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One NIC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NicSpec {
    /// Product name.
    pub name: String,
    /// Network ports. A multi-port NIC spreads its bandwidth over several planes.
    pub ports: Count,
    /// Peak bandwidth of one port, per direction.
    pub port_bandwidth_per_direction: BytesPerSec,
    /// The part of the peak that RDMA transfers of useful size reach.
    #[serde(deserialize_with = "positive")]
    pub efficiency: Fraction,
    /// Time that a transfer spends in the NIC, on each side, beside its serialisation.
    pub latency: Duration,
    /// How it makes packets; the packet model of the network needs it.
    pub packet: Option<NicPacketSpec>,
    /// Maximum power.
    pub power: Watts,
    /// Purchase price, where one is known.
    pub price: Option<Usd>,
    /// Where the figures come from.
    #[serde(default)]
    pub source: Sources,
}
