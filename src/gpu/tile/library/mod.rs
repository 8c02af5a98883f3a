//! Which tiles kernel libraries choose. Their rules are taken as published; where none is, the best of what the library
//! offers is taken, by the model's own estimate.

mod deepgemm;
mod flashinfer;
mod vendor;

use super::gemm::{Epilogue, Product, Tiling};
use super::machine::Machine;
use crate::dtype::Dtype;
use crate::hardware::{Fp4Gemm, Fp8Gemm};
use vendor::fastest;

/// How the rows of a product are laid out, which decides how many row tiles there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Groups of equal size, each padded to whole tiles; a dense product is one group.
    Even,
    /// Groups of their own sizes, each padded to whole tiles, in place: groups, empty ones too, row tiles of 64
    /// and of 128 rows.
    Masked { groups: u64, tiles_of_64: u64, tiles_of_128: u64 },
    /// Groups of their own sizes one after the other, each padded to 128 rows: row tiles of 128 rows.
    Contiguous { tiles_of_128: u64 },
    /// Groups of their own sizes, each padded to whole tiles that a table lists: row tiles of 16, 64 and 128 rows.
    Indexed { tiles_of_16: u64, tiles_of_64: u64, tiles_of_128: u64 },
}

impl Layout {
    /// Row tiles of `rows` rows.
    pub(super) fn row_tiles(self, product: &Product, rows: u64) -> u64 {
        match self {
            Layout::Even => product.most.div_ceil(rows) * product.groups,
            Layout::Indexed { tiles_of_16, .. } if rows == 16 => tiles_of_16,
            Layout::Masked { tiles_of_64, .. } | Layout::Indexed { tiles_of_64, .. } if rows == 64 => tiles_of_64,
            Layout::Masked { tiles_of_128, .. }
            | Layout::Contiguous { tiles_of_128 }
            | Layout::Indexed { tiles_of_128, .. } => {
                assert_eq!(rows, 128, "uneven groups are cut into tiles of 16, 64 or 128 rows");
                tiles_of_128
            }
        }
    }
}

/// The tiles that the machine's library for this product takes.
///
/// DeepGEMM's kernels are persistent. On Hopper two warp groups compute one tile together, so that tensor cores wait between tiles;
/// tensor memory holds two tiles. Of the vendor's library for Hopper, blocks of one tile each are taken, which agree with
/// measurements in BF16 better than persistent ones.
pub(super) fn tiling(machine: &Machine, product: &Product, layout: Layout) -> Tiling {
    let chosen = cut(machine, product, layout);
    if machine.sm.epilogue_overlaps { Tiling { epilogue: Epilogue::Beside, ..chosen } } else { chosen }
}

fn cut(machine: &Machine, product: &Product, layout: Layout) -> Tiling {
    let even = layout == Layout::Even && product.groups == 1;
    if let Layout::Indexed { .. } = layout {
        return fastest(machine, product, layout, &[1]);
    }
    let vendor = |splits: &[u64]| fastest(machine, product, layout, splits);
    let splits: &[u64] = if even { &[1, 2, 4, 8] } else { &[1] };
    match product.operands {
        Dtype::Fp8 => match machine.libraries.fp8_gemm {
            Fp8Gemm::Cutlass128x128 => Tiling::new(128, 128),
            Fp8Gemm::DeepgemmSm90 => deepgemm::least_traffic(machine, product, layout),
            Fp8Gemm::DeepgemmSm100 if even => deepgemm::paired(machine, product),
            Fp8Gemm::DeepgemmSm100 => deepgemm::fewest_waves(machine, product, layout),
            Fp8Gemm::Cublas => vendor(splits),
        },
        Dtype::Fp4 => match machine.libraries.fp4_gemm {
            Fp4Gemm::Flashinfer if even => flashinfer::bucketed(machine, product),
            Fp4Gemm::Flashinfer | Fp4Gemm::Cublas => vendor(&[1]),
        },
        Dtype::Fp64 | Dtype::Fp32 | Dtype::Bf16 | Dtype::Int8 | Dtype::Int4 => vendor(splits),
    }
}

/// Whether the library's kernels for this product are launched before the kernel in front of them has ended (programmatic dependent launch):
/// FlashInfer's are by default, DeepGEMM's and the vendor's are not.
pub(super) fn launches_early(machine: &Machine, product: &Product, layout: Layout) -> bool {
    let dense = layout == Layout::Even && product.groups == 1;
    dense && product.operands == Dtype::Fp4 && machine.libraries.fp4_gemm == Fp4Gemm::Flashinfer
}
