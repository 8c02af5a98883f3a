//! A cable with its transceivers.

use crate::sources::Sources;
use crate::units::{Duration, Usd, Watts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One cable, both directions, with what sits at its ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CableSpec {
    /// Kind: "active optical", "direct attach copper".
    pub name: String,
    /// Propagation time, transceivers included.
    pub latency: Duration,
    /// Power of both ends together.
    pub power: Watts,
    /// Purchase price, where one is known.
    pub price: Option<Usd>,
    /// Where the figures come from.
    #[serde(default)]
    pub source: Sources,
}
