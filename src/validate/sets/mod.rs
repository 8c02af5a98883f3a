//! The sets: one file per table of measurements, with the conventions of its data at the top.

mod deepep_ll_sweep;
mod deepep_normal_sweep;
mod deepep_published;
mod deepgemm;
mod deployments;
mod exchange;
mod gb200_nvl72_alltoall;
mod gemm;
mod h800_train_chunk_kernels;
mod h800_train_chunk_phases;
mod megatron_pretrain;
mod mla_attention;
mod moe_grouped_gemm;
mod nccl_one_domain;
mod serving_silicon;
mod skew;

use super::{Context, Measured, Point, Set, Skip};
use crate::dtype::Dtype;

/// Every set, in the order of reports.
pub(super) fn all() -> Vec<Set> {
    vec![
        Set::of::<gemm::Row>(),
        Set::of::<deepgemm::Row>(),
        Set::of::<moe_grouped_gemm::Row>(),
        Set::of::<mla_attention::Row>(),
        Set::of::<h800_train_chunk_kernels::Row>(),
        Set::of::<h800_train_chunk_phases::Row>(),
        Set::of::<nccl_one_domain::Row>(),
        Set::of::<deepep_published::Row>(),
        Set::of::<deepep_ll_sweep::Row>(),
        Set::of::<deepep_normal_sweep::Row>(),
        Set::of::<gb200_nvl72_alltoall::Row>(),
        Set::of::<megatron_pretrain::Row>(),
        Set::of::<serving_silicon::Row>(),
        Set::of::<deployments::Row>(),
    ]
}

/// Names of all sets.
pub fn names() -> Vec<&'static str> {
    all().iter().map(|set| set.id).collect()
}

/// The number format that tables of kernels call `name`.
fn dtype(name: &str) -> Result<Dtype, Skip> {
    match name {
        "bfloat16" | "float16" => Ok(Dtype::Bf16),
        "fp8" | "fp8_block" | "fp8_static" | "mxfp8" => Ok(Dtype::Fp8),
        "nvfp4" | "fp4" | "mxfp4" => Ok(Dtype::Fp4),
        other => Err(Skip::unknown(
            "number format",
            other,
            ["bfloat16", "float16", "fp8", "fp8_block", "fp8_static", "mxfp8", "nvfp4", "fp4", "mxfp4"],
        )),
    }
}
