//! A server or desktop processor, as far as a model runs on it.

use super::MemorySpec;
use crate::sources::Sources;
use crate::units::{Count, FlopsPerSec, Usd, Watts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One CPU socket with its memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CpuSpec {
    /// Product name or class.
    pub name: String,
    /// Cores.
    pub cores: Count,
    /// Peak BF16 matrix rate (AMX, AVX-512 or NEON) of the socket.
    pub bf16: FlopsPerSec,
    /// Memory of the socket.
    pub memory: MemorySpec,
    /// Maximum power.
    pub power: Watts,
    /// Purchase price, where one is known.
    pub price: Option<Usd>,
    /// Where the figures come from.
    #[serde(default)]
    pub source: Sources,
}
