//! Passes over memory whose time is decided by how few threads they run with, as a recorded chunk shows their grids
//! (h800_train_chunk_kernels.csv). Bytes are those of a row or a tile.

use crate::dtype::Dtype;
use crate::units::Bytes;
use crate::workload::kernel::{Kernel, Rows, values};

/// Side of the square tiles that are cast and transposed at once: 56 x 32 blocks for 7168 columns of 4096 rows.
pub(super) const TILE: u64 = 128;
/// Blocks of a norm on an SM: 396 blocks on 132 SMs.
const NORM_BLOCKS: u64 = 3;
/// A norm sums up squares first and scales then.
const NORM_PASSES: u64 = 2;
/// Radix select over keys of 32 bits, two bits at a time, and the two passes that gather what was selected (PyTorch's `gatherTopK`).
const TOP_K_PASSES: u64 = 32 / 2 + 2;
/// Threads of the one block that works for an expert.
const EXPERT_THREADS: u64 = 512;
/// Bytes of an expert's index, as PyTorch keeps it.
const INDEX: u64 = 8;

/// A block of 128 threads for every row: casts.
pub(super) fn row_by_row(rows: u64, read: Bytes, written: Bytes) -> Kernel {
    Kernel::Rows(Rows::once(rows, 128, 1, read, written))
}

/// A block of 256 threads for every tile of BF16 values, which it asks for at once: casts that transpose.
pub(super) fn tile_by_tile(rows: u64, columns: u64, written: Bytes) -> Kernel {
    let tiles = rows.div_ceil(TILE) * columns.div_ceil(TILE);
    Kernel::Rows(Rows::once(tiles, 256, 8, values(TILE, TILE, Dtype::Bf16), written))
}

/// Norms: reads and writes `row` for each row.
pub(super) fn norm(rows: u64, row: Bytes) -> Kernel {
    let blocks = Rows::once(rows, 128, 1, row, row);
    Kernel::Rows(Rows { per_sm: NORM_BLOCKS, passes: NORM_PASSES, ..blocks })
}

/// Gradients of norms: one block of 256 threads on an SM, because it keeps the sums of the gradients of scales.
pub(super) fn norm_backward(rows: u64, row: Bytes) -> Kernel {
    Kernel::Rows(Rows { per_sm: 1, ..Rows::once(rows, 256, 4, row * 3, row) })
}

/// The largest of the values in each row.
pub(super) fn top_k(rows: u64, row: Bytes) -> Kernel {
    Kernel::Rows(Rows { passes: TOP_K_PASSES, ..Rows::once(rows, 256, 1, row, Bytes::ZERO) })
}

/// Counts the rows of each of `experts`, and finds their places: one block for each expert looks at all `indices`. The first kernel asks for
/// twice as much at once.
pub(super) fn places(experts: u64, indices: u64) -> [Kernel; 2] {
    let all = Bytes::new(indices * INDEX);
    [2, 1].map(|loads| Kernel::Rows(Rows::once(experts, EXPERT_THREADS, loads, all, Bytes::ZERO)))
}
