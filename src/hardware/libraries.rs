//! Which kernel libraries the software on a GPU has, by what they compute.
//!
//! A library is chosen by its name and by nothing else: a GPU's file names those that people use on it, and a scenario may name others.
//! No figure of the hardware selects software, so that a what-if on hardware keeps the kernels as they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kernel libraries by name; one that is not named is that of the GPU's own file, and where that names none either, the vendor's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LibrariesSpec {
    /// Matrix products of FP8 values with scales for groups of them.
    pub fp8_gemm: Option<Fp8Gemm>,
    /// Matrix products of FP4 values with scales for groups of them.
    pub fp4_gemm: Option<Fp4Gemm>,
    /// Attention over the latent of MLA.
    pub mla: Option<MlaLibrary>,
}

/// The kernel libraries of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Libraries {
    /// Matrix products of FP8 values.
    pub fp8_gemm: Fp8Gemm,
    /// Matrix products of FP4 values.
    pub fp4_gemm: Fp4Gemm,
    /// Attention over the latent of MLA.
    pub mla: MlaLibrary,
}

/// Kernels for products of FP8 values with block scales, dense and of experts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fp8Gemm {
    /// The vendor's library, whose choice of tiles is not published: the fastest of the tiles that it offers.
    #[default]
    Cublas,
    /// DeepGEMM's kernels for Hopper (`sm90`): tiles by its published estimate of traffic through shared memory and L2.
    DeepgemmSm90,
    /// DeepGEMM's kernels for Blackwell (`sm100`): two tiles in tensor memory, by the number of waves.
    DeepgemmSm100,
    /// Tiles of 128 x 128 only: the kernels based on CUTLASS with which DeepSeek-V3 was trained, before DeepGEMM.
    #[serde(rename = "cutlass_128x128")]
    Cutlass128x128,
}

/// Kernels for products of FP4 values with block scales.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fp4Gemm {
    /// The vendor's library: the fastest of the tiles that it offers.
    #[default]
    Cublas,
    /// FlashInfer's `mm_fp4` with its kernels in CuTe: dense products by its published rule and launched early, others as the vendor's.
    Flashinfer,
}

/// Kernels for attention over the latent of MLA. They differ in what they do with an FP8 cache where warps hold the sums in their registers: on
/// Hopper. Attention over keys and values of 256 values and less multiplies FP8 as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MlaLibrary {
    /// FlashMLA: cached values become BF16 inside the kernel, on their way to the tensor cores.
    #[default]
    Flashmla,
    /// FlashAttention-3 as SGLang calls it: a kernel of its own converts the whole cache to BF16 before each call.
    #[serde(rename = "flash_attention_3")]
    FlashAttention3,
    /// TensorRT-LLM: FP8 values are multiplied as they are.
    Trtllm,
}

impl LibrariesSpec {
    /// The libraries that these names stand for; what they leave open is as `default` says.
    pub fn or(self, default: LibrariesSpec) -> Libraries {
        Libraries {
            fp8_gemm: self.fp8_gemm.or(default.fp8_gemm).unwrap_or_default(),
            fp4_gemm: self.fp4_gemm.or(default.fp4_gemm).unwrap_or_default(),
            mla: self.mla.or(default.mla).unwrap_or_default(),
        }
    }
}
