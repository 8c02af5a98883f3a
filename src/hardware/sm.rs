//! What the cycle-level kernel model knows of a streaming multiprocessor (SM), the same for all GPUs of an architecture.

use crate::dtype::Dtype;
use crate::units::{Bytes, Count, Duration, Fraction, Joules, Watts, positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One SM: what feeds it, what it computes with, and what a thread block costs beyond its work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmSpec {
    /// Shared memory that one thread block can fill with operands.
    #[serde(deserialize_with = "positive")]
    pub shared_memory: Bytes,
    /// Registers of all threads together, or tensor memory where sums are kept there: half of it holds the sums of the largest tile.
    #[serde(deserialize_with = "positive")]
    pub registers: Bytes,
    /// Deepest pipeline of operand buffers that kernels set up.
    pub buffers: Count,
    /// What an SM takes from or gives to L2 per clock cycle.
    #[serde(deserialize_with = "positive")]
    pub l2_per_cycle: Bytes,
    /// Data that one SM can have requested from memory and not yet received.
    #[serde(deserialize_with = "positive")]
    pub in_flight: Bytes,
    /// From the request of a tile in memory to its arrival in shared memory, under load: its descriptor and the barriers of copy engines
    /// included.
    pub memory_latency: Duration,
    /// From a thread's request to memory to its answer.
    pub load_latency: Duration,
    /// Between the starts of two thread blocks of a grid, all SMs together.
    pub block_start: Duration,
    /// From a request to L2 to its answer, when each one depends on the last.
    pub l2_latency: Duration,
    /// FP32 lanes: multiply-adds per clock cycle outside the tensor cores.
    pub lanes: Count,
    /// Tensor cores.
    pub mma: MmaSpec,
    /// Last part of a kernel: results of the last tiles on their way to memory, without the transfer itself.
    pub epilogue: Duration,
    /// Whether the accumulators of two tiles fit beside each other whatever their size, so that one tile is converted and stored
    /// while the next is multiplied.
    pub epilogue_overlaps: bool,
    /// What lies between two tiles of an SM whose warps compute together, where nothing of it overlaps: barriers, the next
    /// tile's place, and the wait until the last one's room in shared memory is free again.
    pub handover: Duration,
    /// Adding up partial results of blocks that share an output tile, without the transfer itself.
    pub reduction: Duration,
    /// What arithmetic draws from the board's power.
    pub energy: EnergySpec,
}

/// The tensor cores of an SM and how numbers with group scales pass through them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MmaSpec {
    /// Rows of the smallest instruction; shorter tiles take as long.
    pub rows: Count,
    /// The part of the peak rate that the main loop reaches in BF16, while operands are in time.
    #[serde(deserialize_with = "positive")]
    pub bf16: Fraction,
    /// The same in FP8 and INT8.
    #[serde(deserialize_with = "positive")]
    pub fp8: Fraction,
    /// The same in FP4.
    #[serde(deserialize_with = "positive")]
    pub fp4: Fraction,
    /// The part of these rates, in formats other than FP4, that is left where an SM does not multiply together with a neighbour, each
    /// with one half of the narrower operand: it has to fetch all of that from its own shared memory. One where SMs never pair up.
    #[serde(deserialize_with = "positive")]
    pub alone: Fraction,
    /// What a step of the main loop (128 bytes of K) costs beyond arithmetic: barriers and issue. Not charged in FP4.
    pub step: Duration,
    /// Where scale factors of groups of FP8 or FP4 values are applied.
    pub group_scaling: GroupScaling,
    /// What products of FP8 values are added up in.
    pub accumulator: Accumulator,
    /// Values along K after which FP22 accumulators, or groups with scales, are added to FP32 registers on CUDA cores.
    pub promotion_interval: Count,
    /// What such a promotion keeps the tensor cores waiting, beside the additions themselves.
    pub promotion_drain: Duration,
    /// Accumulators that are scaled and added per clock cycle.
    pub promotion_per_cycle: Count,
    /// What a step in FP4 costs for each 256 rows of scale factors that it takes into tensor memory (one factor for 16 values), barriers and
    /// issue included; the 128 rows of an instruction count twice. Factors of 128 FP8 values cost nothing that can be told apart.
    pub scale_load: Duration,
}

/// Where the scale factors of groups of values are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupScaling {
    /// By the FP32 lanes, group by group, as on Hopper.
    CudaCores,
    /// Inside the tensor cores, as on Blackwell.
    TensorCores,
}

/// The format that products of FP8 values are added up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accumulator {
    /// 22 bits, of which 13 are fraction: too few for long sums (arXiv 2505.09343 section 3.1.1).
    Fp22,
    /// Single precision.
    Fp32,
}

/// What limits sustained arithmetic: the board's power.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnergySpec {
    /// Power that a busy GPU draws beside its tensor cores: leakage, clocks, memory.
    pub base: Watts,
    /// Energy of one BF16 operation (half a multiply-add), operands on chip included.
    pub bf16: Joules,
    /// The same in FP8 and INT8.
    pub fp8: Joules,
    /// The same in FP4.
    pub fp4: Joules,
    /// Power above the board's limit that is allowed for a short time.
    pub surge: Watts,
    /// How long.
    pub surge_time: Duration,
}

impl MmaSpec {
    /// The part of the peak rate that the main loop reaches.
    pub fn efficiency(&self, dtype: Dtype) -> Fraction {
        match dtype {
            Dtype::Fp8 | Dtype::Int8 => self.fp8,
            Dtype::Fp4 => self.fp4,
            Dtype::Fp64 | Dtype::Fp32 | Dtype::Bf16 | Dtype::Int4 => self.bf16,
        }
    }
}

impl EnergySpec {
    /// Energy of one operation.
    pub fn per_operation(&self, dtype: Dtype) -> Joules {
        match dtype {
            Dtype::Fp8 | Dtype::Int8 => self.fp8,
            Dtype::Fp4 => self.fp4,
            Dtype::Fp64 | Dtype::Fp32 | Dtype::Bf16 | Dtype::Int4 => self.bf16,
        }
    }
}
