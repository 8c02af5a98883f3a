//! Off-chip memory of a GPU or CPU.

use crate::units::{Bytes, BytesPerSec, Fraction, positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The memory that a processor works from: HBM, GDDR, LPDDR or DDR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemorySpec {
    /// Kind, as people call it: "HBM3", "DDR5-4800".
    pub kind: String,
    /// Usable capacity.
    pub capacity: Bytes,
    /// Peak bandwidth.
    pub bandwidth: BytesPerSec,
    /// The part of the peak that a well-written streaming kernel reaches.
    #[serde(deserialize_with = "positive")]
    pub efficiency: Fraction,
}

impl MemorySpec {
    /// The bandwidth that a well-written streaming kernel reaches.
    pub fn achievable(&self) -> BytesPerSec {
        self.bandwidth.achieved(self.efficiency)
    }
}
