//! What attention kernels meet on an architecture: how its matrix units hold results, and what the rest of an SM costs.
//!
//! The constants belong to an architecture and to the best kernels that people run on it, never to one product: SMs, clock
//! and bandwidth come from the product.

use crate::units::{Count, Duration, Fraction, positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How flash-attention kernels (arXiv 2205.14135 and its successors) run on the GPUs of an architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlashAttentionSpec {
    /// Where the matrix units leave their results, which decides how the kernels are built.
    pub accumulators: Accumulators,
    /// The part of the boost clock that is sustained in the main loop.
    #[serde(deserialize_with = "positive")]
    pub clock: Fraction,
    /// Lane operations (one of the lanes of an SM, one cycle) of softmax per score: scale, mask, maximum, exponential, sum,
    /// conversion.
    pub score_operations: Count,
    /// Lane operations per accumulated value when a new maximum rescales it.
    pub rescale_operations: Count,
    /// Lane operations per value of a kernel that converts operands to or from FP8 before attention.
    pub cast_operations: Count,
    /// Lane operations per FP8 value that the attention kernel itself widens to BF16.
    pub widen_operations: Count,
    /// Bytes per cycle that one SM draws from L2.
    pub l2_bytes_per_cycle: Count,
    /// Kernels over many queries per request.
    pub prefill: FlashPhaseSpec,
    /// Kernels over one or a few queries per request.
    pub decode: FlashPhaseSpec,
    /// A further kernel, or a further phase, that joins what several SMs found for the same query.
    pub combine: Duration,
    /// The launch of a kernel that converts operands.
    pub cast_call: Duration,
}

/// What does not depend on the shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlashPhaseSpec {
    /// Launches and the small kernels that go with every call in a serving engine: cache write, work plan.
    pub call: Duration,
    /// What every thread block waits for beside its traffic: start, first loads, drain.
    pub block: Duration,
}

/// Where matrix units accumulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accumulators {
    /// In the registers of the warp groups that also do the softmax (Hopper).
    Registers,
    /// In a memory of their own beside the registers, 128 rows of 512 values (Blackwell).
    TensorMemory,
    /// In the registers of warps that wait for each of their products (Ampere, Ada).
    Warps,
}
