//! Which tiles kernel libraries choose. Their rules are taken as published; where none is, the best of what the library
//! offers is taken, by the model's own estimate.

mod deepgemm;
mod flashinfer;
mod vendor;

use super::gemm::{Epilogue, Product, Tiling};
use super::machine::Machine;
use crate::dtype::Dtype;
use crate::gpu::Library;
use crate::hardware::GroupScaling;
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

/// The tiles that the usual library for this product on this GPU takes.
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
    match (product.operands, machine.sm.mma.group_scaling) {
        (Dtype::Fp8, GroupScaling::CudaCores) if machine.library == Library::Early2025 => Tiling::new(128, 128),
        (Dtype::Fp8, GroupScaling::CudaCores) => deepgemm::least_traffic(machine, product, layout),
        (Dtype::Fp8, GroupScaling::TensorCores) if even => deepgemm::paired(machine, product),
        (Dtype::Fp8, GroupScaling::TensorCores) => deepgemm::fewest_waves(machine, product, layout),
        (Dtype::Fp4, GroupScaling::TensorCores) if even => flashinfer::bucketed(machine, product),
        (Dtype::Fp4, _) => fastest(machine, product, layout, &[1]),
        _ => fastest(machine, product, layout, if even { &[1, 2, 4, 8] } else { &[1] }),
    }
}

/// Whether the library's kernels for this product are launched before the kernel in front of them has ended (programmatic dependent launch):
/// FlashInfer's are by default, DeepGEMM's and the vendor's are not.
pub(super) fn launches_early(machine: &Machine, product: &Product, layout: Layout) -> bool {
    let dense = layout == Layout::Even && product.groups == 1;
    dense && product.operands == Dtype::Fp4 && machine.sm.mma.group_scaling == GroupScaling::TensorCores
}
