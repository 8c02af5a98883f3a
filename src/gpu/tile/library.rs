//! Which tiles kernel libraries choose. Their rules are taken as published; where none is, the best of what the library
//! offers is taken, by the model's own estimate.

use super::gemm::{Epilogue, Product, Tiling, blocks};
use super::grid::run;
use super::machine::Machine;
use crate::dtype::Dtype;
use crate::gpu::Library;
use crate::hardware::GroupScaling;

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
        (Dtype::Fp8, GroupScaling::TensorCores) if layout != Layout::Even => paired(product),
        (Dtype::Fp8, GroupScaling::CudaCores) => least_traffic(machine, product, layout),
        (Dtype::Fp8, GroupScaling::TensorCores) => fewest_waves(machine, product, layout),
        (Dtype::Fp4, _) => fastest(machine, product, layout, &[1]),
        _ => fastest(machine, product, layout, if even { &[1, 2, 4, 8] } else { &[1] }),
    }
}

/// Values of the largest tile: what the registers of two warp groups, or half of tensor memory, hold in FP32.
const LARGEST: u64 = 256 * 128;

/// The smaller of the two sides that a matrix instruction knows may be narrow, the other has as many rows at least (PTX ISA, wgmma and
/// tcgen05.mma).
const LEAST: u64 = 64;

/// The best of a vendor library's tiles, with the splits of K that it offers. NVIDIA does not publish how cuBLAS chooses; its heuristic is
/// trained to find the fastest, so the fastest is taken.
fn fastest(machine: &Machine, product: &Product, layout: Layout, splits: &[u64]) -> Tiling {
    let wide = machine.sm.mma.rows.get() >= 128;
    // Fused kernels for experts keep two blocks on an SM: one computes while the other ends. Of this, the hidden end and the
    // halved registers for results are modelled. Not modelled: blocks still have the whole shared memory for their ring of
    // operands, and two main loops do not share the tensor cores.
    let indexed = matches!(layout, Layout::Indexed { .. });
    let epilogue = if machine.sm.epilogue_overlaps || indexed { Epilogue::Beside } else { Epilogue::Alone };
    let rows: &[u64] = match layout {
        // Kernels for FP4 do not turn a product round.
        Layout::Even if product.operands == Dtype::Fp4 => &[64, 128],
        // Few rows take the side of the instruction that may be narrow; the outputs fill the other.
        Layout::Even if wide => &[16, 32, 64, 128],
        Layout::Even => &[16, 32, 64, 128, 256],
        uneven => row_choices(product, uneven),
    };
    let largest = if indexed { LARGEST / 2 } else { LARGEST };
    let mut best: Option<(f64, Tiling)> = None;
    for &rows in rows {
        for columns in [16, 32, 64, 96, 128, 160, 192, 224, 256] {
            // Two SMs of a Blackwell pair hold one half of the columns each.
            let pairs = if wide && rows == 128 { 2 } else { 1 };
            for share_columns in 1..=pairs {
                for &split in splits {
                    let tiling = Tiling { rows, columns, split, share_rows: 1, share_columns, epilogue };
                    if rows * columns > largest || (!indexed && rows.max(columns) < LEAST) {
                        continue;
                    }
                    let (class, rest) = blocks(machine, product, tiling, layout.row_tiles(product, rows));
                    let seconds = run(machine, &[class], machine.sms).seconds + rest;
                    if best.is_none_or(|(least, _)| seconds < least) {
                        best = Some((seconds, tiling));
                    }
                }
            }
        }
    }
    best.expect("there are tiles").1
}

/// DeepGEMM's rule for Hopper: the least time for traffic through shared memory and L2, whole waves counted. Its
/// constants (64 bytes per SM and cycle up to 6153 bytes per cycle from L2, 128 bytes per SM and cycle from shared memory) are the library's.
fn least_traffic(machine: &Machine, product: &Product, layout: Layout) -> Tiling {
    let mut best: Option<(u128, Tiling)> = None;
    for (share_columns, share_rows) in [(1, 1), (1, 2), (2, 1)] {
        for &rows in row_choices(product, layout) {
            for columns in (16..=192).step_by(16) {
                let tiling = Tiling { share_rows, share_columns, ..Tiling::new(rows, columns) };
                if !fits_hopper(tiling) {
                    continue;
                }
                let blocks = product.blocks(tiling, layout.row_tiles(product, rows));
                let waves = blocks.div_ceil(machine.sms);
                let multicast = share_rows * share_columns > 1;
                let single = matches!(layout, Layout::Masked { .. }) && product.most <= rows;
                if multicast && (waves <= 1 || single) {
                    continue;
                }
                let cycles = traffic_cycles(machine.sms, product.k, tiling) * u128::from(waves);
                if best.is_none_or(|(least, _)| cycles < least) {
                    best = Some((cycles, tiling));
                }
            }
        }
    }
    best.expect("there are tiles").1
}

/// Cycles that one wave of tiles takes for its traffic, times a constant that keeps them whole.
fn traffic_cycles(sms: u64, k: u64, tiling: Tiling) -> u128 {
    let Tiling { rows, columns, share_rows, share_columns, .. } = tiling;
    let results = rows * columns * 2;
    let l2_bytes = k * (rows / share_rows + columns / share_columns) + results;
    let shared_bytes = k * (rows + columns) + k * (rows.max(64) + columns) + 2 * results;
    let l2_rate = (64 * sms).min(6153);
    let l2 = u128::from(l2_bytes * sms) * 128 * 6153 / u128::from(l2_rate);
    let shared = u128::from(shared_bytes) * 6153;
    l2.max(shared)
}

/// Rows of tiles that DeepGEMM offers for even groups, and that any library does for groups of their own sizes.
fn row_choices(product: &Product, layout: Layout) -> &'static [u64] {
    match layout {
        Layout::Even if product.groups > 1 => &[64, 128],
        Layout::Even if product.rows <= 16 => &[64, 128, 16, 32, 256],
        Layout::Even if product.rows <= 32 => &[64, 128, 32, 256],
        Layout::Even => &[64, 128, 256],
        Layout::Masked { .. } => &[64, 128],
        Layout::Indexed { .. } => &[16, 64, 128],
        Layout::Contiguous { .. } => &[128],
    }
}

/// What registers, shared memory and the loop over scale groups of DeepGEMM's Hopper kernel allow.
fn fits_hopper(tiling: Tiling) -> bool {
    let Tiling { rows, columns, .. } = tiling;
    let over = columns.saturating_sub(128);
    let unrolls = over == 0 || columns % over == 0 || 128 % over == 0;
    let registers = rows <= 128 || columns <= 128;
    let results = (rows * columns * 2).next_multiple_of(1024);
    let buffers = (232_448_u64.saturating_sub(results + 768)) / ((rows + columns) * 128 + rows * 4);
    let deep = buffers >= 4 || (buffers == 3 && rows * columns >= 128 * 192);
    unrolls && registers && deep
}

/// DeepGEMM's tile for groups of rows on Blackwell: 128 x 128, of which two neighbours share their rows where columns pair up.
fn paired(product: &Product) -> Tiling {
    let share_rows = if product.n.div_ceil(128).is_multiple_of(2) { 2 } else { 1 };
    Tiling { share_rows, ..Tiling::new(128, 128) }
}

/// DeepGEMM's rule for Blackwell: the fewest waves of 128-row tiles, then the fullest last wave, then the narrowest tile. Two SMs
/// share columns where the row tiles pair up.
fn fewest_waves(machine: &Machine, product: &Product, layout: Layout) -> Tiling {
    let rows = 128;
    let row_tiles = layout.row_tiles(product, rows);
    let mut best: Option<((u64, u64, u64), Tiling)> = None;
    for columns in std::iter::once(16).chain((32..=256).step_by(32)) {
        let blocks = product.blocks(Tiling::new(rows, columns), row_tiles);
        let (waves, last) = (blocks.div_ceil(machine.sms), blocks % machine.sms);
        let idle = if last == 0 { 0 } else { machine.sms - last };
        let key = (waves, idle, columns);
        if best.is_none_or(|(least, _)| key < least) {
            let pairs = product.most >= 512 && product.most.div_ceil(rows).is_multiple_of(2);
            let share_columns = if pairs { 2 } else { 1 };
            best = Some((key, Tiling { share_columns, ..Tiling::new(rows, columns) }));
        }
    }
    best.expect("there are tiles").1
}
