//! The vendor's libraries, whose choice of tiles is not published: the best of what they offer is taken, by the model's own estimate.

use super::Layout;
use super::deepgemm::row_choices;
use crate::dtype::Dtype;
use crate::gpu::tile::gemm::{Epilogue, Product, Tiling, blocks};
use crate::gpu::tile::grid::run;
use crate::gpu::tile::machine::Machine;

/// The smaller of the two sides that a matrix instruction knows may be narrow, the other has as many rows at least (PTX ISA, wgmma and
/// tcgen05.mma).
const LEAST: u64 = 64;

/// The best of a vendor library's tiles, with the splits of K that it offers. NVIDIA does not publish how cuBLAS chooses; its heuristic is
/// trained to find the fastest, so the fastest is taken.
pub(super) fn fastest(machine: &Machine, product: &Product, layout: Layout, splits: &[u64]) -> Tiling {
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
    // FP32 sums fill half of the registers, or of tensor memory.
    let whole = machine.sm.registers.get() / 2 / 4;
    let largest = if indexed { whole / 2 } else { whole };
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
