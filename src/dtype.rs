//! Number formats: how many bits a value of a tensor takes.
//!
//! This module must not know which hardware multiplies them or how fast.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The format in which a tensor is stored, sent or multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE double precision.
    Fp64,
    /// IEEE single precision.
    Fp32,
    /// bfloat16 (8-bit exponent, 7-bit mantissa).
    Bf16,
    /// Eight-bit floating point (E4M3 or E5M2).
    Fp8,
    /// Eight-bit integers.
    Int8,
    /// Four-bit floating point (E2M1).
    Fp4,
    /// Four-bit integers.
    Int4,
}

impl Dtype {
    /// Bits per value, without the scale factors of block formats.
    pub const fn bits(self) -> u64 {
        match self {
            Dtype::Fp64 => 64,
            Dtype::Fp32 => 32,
            Dtype::Bf16 => 16,
            Dtype::Fp8 | Dtype::Int8 => 8,
            Dtype::Fp4 | Dtype::Int4 => 4,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dtype::Fp64 => "FP64",
            Dtype::Fp32 => "FP32",
            Dtype::Bf16 => "BF16",
            Dtype::Fp8 => "FP8",
            Dtype::Int8 => "INT8",
            Dtype::Fp4 => "FP4",
            Dtype::Int4 => "INT4",
        })
    }
}
