//! Attention where results accumulate in registers (Hopper): the design of FlashAttention-3 (arXiv 2407.08608).
//!
//! A block holds `groups` warp groups of 64 query rows each. A warp group waits for its scores before it can do their
//! softmax, and for that before it can multiply with the values; meanwhile the matrix unit works for the others. A tile
//! therefore takes `max(groups x T, T + S)` cycles: T of matrix products and S of softmax of one warp group. The latent of
//! MLA (512 values per row) leaves room for one warp group's rows, whose softmax nothing hides: `T + S`.

use super::grid::{Grid, Group, Step};
use super::machine::Machine;
use super::shape::{Backward, Shape, filling_splits};
use crate::dtype::Dtype;
use crate::workload::PrefillAttention;

/// Rows of one matrix instruction, and of one warp group (PTX ISA, wgmma).
const ROWS: u64 = 64;

/// Rows of a block with as many warp groups as its values per head allow.
pub(super) fn block_rows(kernel: &PrefillAttention) -> u64 {
    widest(kernel.key_dim.max(kernel.value_dim), kernel.operands.bits() < 16).0 * ROWS
}

/// How a block is cut.
struct Tiling {
    /// Warp groups with rows of their own.
    groups: u64,
    /// Keys per tile.
    keys: u64,
    /// Warp groups that share one row group's softmax of values: two halve the columns of a wide value.
    value_groups: f64,
}

/// The tile sizes that FlashAttention-3 chooses by head dimension to fill registers and shared memory
/// (`hopper/tile_size.h` of github.com/Dao-AILab/flash-attention): warp groups and keys. Wide values leave room for few rows.
fn widest(dim: u64, narrow: bool) -> (u64, u64) {
    match (dim, narrow) {
        (..=64, _) => (3, 128),
        (65..=128, false) => (2, 128),
        (65..=128, true) => (2, 224),
        (129..=192, false) => (2, 128),
        (129..=192, true) => (2, 160),
        (193..=256, false) => (2, 80),
        (193..=256, true) => (2, 128),
        _ => (1, 64),
    }
}

/// The tile of `shape`.
fn tiling(shape: &Shape) -> Tiling {
    let dim = shape.key_dim.max(shape.value_dim);
    let (groups, keys) = widest(dim, shape.operands.bits() < 16);
    // Two warp groups halve the columns of the latent.
    let value_groups = if dim > 256 { 2.0 } else { 1.0 };
    Tiling { groups: groups.min(shape.rows.div_ceil(ROWS)), keys, value_groups }
}

/// Cycles of one tile, and how many of these the tensor cores wait.
fn tile_cycles(machine: &Machine, shape: &Shape, tiling: &Tiling) -> (f64, f64) {
    let products = machine.product(ROWS, tiling.keys, shape.key_dim + shape.value_dim, shape.operands);
    let softmax = machine.softmax(ROWS * tiling.keys, 0, machine.lanes)
        + machine.softmax(0, ROWS * shape.value_dim, tiling.value_groups * machine.lanes);
    let (all, one) = (tiling.groups as f64 * products, products + softmax);
    // A warp group of its own widens narrow keys and values while others multiply, on the lanes that the softmax leaves. Two blocks
    // over the same keys form a cluster, and widen one half each for both (FlashMLA's FP8 decoding kernel).
    let widened = if shape.stored.bits() < shape.operands.bits() { tiling.keys * shape.loaded } else { 0 };
    let blocks = shape.rows.div_ceil(tiling.groups * ROWS).min(2);
    let lanes = tiling.groups as f64 * softmax + machine.widening(widened.div_ceil(blocks));
    let cycles = if widened > 0 { all.max(one).max(lanes) } else { all.max(one) };
    (cycles, cycles - all)
}

/// Many queries per request: one block per head (or packed heads) and group of rows, causal, longest first. Where these are few, keys may
/// be split as for decoding. The grid, and the number of splits.
pub(super) fn prefill(machine: &Machine, shape: &Shape, split: bool) -> (Grid, u64) {
    let tiling = tiling(shape);
    let rows = tiling.groups * ROWS;
    let tiles = shape.keys.div_ceil(tiling.keys);
    let splits = if split { splits(machine.sms, shape, shape.rows.div_ceil(rows), tiles) } else { 1 };
    let result = if splits > 1 { Dtype::Fp32 } else { Dtype::Bf16 };
    let groups = shape.causal_groups(rows, tiling.keys, splits);
    let (cycles, waiting) = tile_cycles(machine, shape, &tiling);
    let grid = Grid {
        groups,
        ends: ends(machine.spec.prefill.block.as_secs(), shape, rows, result),
        tile: Step {
            seconds: machine.seconds(cycles),
            waiting: machine.seconds(waiting),
            // Blocks of one head follow each other: its keys and values stay in L2.
            hbm: 0.0,
            port: shape.tile_bytes(tiling.keys),
        },
        resident: 1,
    };
    (grid, splits)
}

/// Queries in, results out, of one block of `rows` rows.
fn ends(seconds: f64, shape: &Shape, rows: u64, result: Dtype) -> Step {
    let rows = rows.min(shape.rows) as f64;
    let bits = shape.key_dim * shape.operands.bits() + shape.value_dim * result.bits();
    let bytes = rows * bits as f64 / 8.0;
    Step { seconds, waiting: 0.0, hbm: bytes, port: bytes }
}

/// Few queries per request: the cache of a request is split over SMs that would idle otherwise. The grid, and the number
/// of splits.
pub(super) fn decode(machine: &Machine, shape: &Shape) -> (Grid, u64) {
    let tiling = tiling(shape);
    let rows = tiling.groups * ROWS;
    let row_blocks = shape.rows.div_ceil(rows);
    let tiles = shape.keys.div_ceil(tiling.keys);
    let splits = splits(machine.sms, shape, row_blocks, tiles);
    let per_split = tiles.div_ceil(splits);
    let splits = tiles.div_ceil(per_split);
    let blocks = shape.requests * shape.key_heads * row_blocks;
    // Results of a split are kept in FP32 until they are combined.
    let result = if splits > 1 { Dtype::Fp32 } else { Dtype::Bf16 };
    let load = shape.mean_tile_bytes(tiles);
    let (cycles, waiting) = tile_cycles(machine, shape, &tiling);
    let grid = Grid {
        groups: vec![
            Group { blocks: blocks * (splits - 1), tiles: per_split },
            Group { blocks, tiles: tiles - (splits - 1) * per_split },
        ],
        ends: ends(machine.spec.decode.block.as_secs(), shape, rows, result),
        tile: Step {
            seconds: machine.seconds(cycles),
            waiting: machine.seconds(waiting),
            // Blocks of the same keys run side by side: one of them fetches a tile into L2 for all.
            hbm: load / row_blocks as f64,
            port: load,
        },
        resident: 1,
    };
    (grid, splits)
}

/// Splits per request, as FlashAttention-3 plans them on the GPU (`hopper/flash_prepare_scheduler.cu`): as many tiles per
/// block as give every SM one block with 10 % to spare, but no more splits than fill the SMs to 85 % of the best filling
/// for one request (`hopper/heuristics.h`), and none for four tiles or fewer.
fn splits(sms: u64, shape: &Shape, row_blocks: u64, tiles: u64) -> u64 {
    let alone = shape.key_heads * row_blocks;
    if tiles <= 4 {
        return 1;
    }
    let enough = filling_splits(sms, alone, tiles);
    let tiles_per_block = (shape.requests * alone * tiles * 11).div_ceil(sms * 10);
    tiles.div_ceil(tiles_per_block).min(enough).max(1)
}

/// The gradient of attention: one block per head and 128 keys, over the queries that see them; scores are computed again,
/// five products per tile of 64 queries, and nothing hides the softmax and its gradient. The gradient of the queries is
/// added to FP32 sums in L2.
pub(super) fn backward(machine: &Machine, shape: &Backward) -> Grid {
    const KEYS: u64 = 128;
    let depth = 3 * shape.key_dim + 2 * shape.value_dim;
    let softmax = machine.softmax(ROWS * KEYS, 0, machine.lanes);
    let cycles = machine.product(ROWS, KEYS, depth, shape.operands) + softmax;
    let bytes = shape.operands.bits() / 8;
    let both = shape.key_dim + shape.value_dim;
    let keys = shape.context + shape.queries;
    Grid {
        groups: shape.blocks(KEYS, ROWS),
        ends: Step {
            seconds: machine.spec.prefill.block.as_secs(),
            waiting: 0.0,
            hbm: (2 * KEYS.min(keys) * both * bytes) as f64,
            port: (2 * KEYS * both * bytes) as f64,
        },
        tile: Step {
            seconds: machine.seconds(cycles),
            waiting: machine.seconds(softmax),
            hbm: 0.0,
            port: (ROWS * (both * bytes + shape.key_dim * 4)) as f64,
        },
        resident: 1,
    }
}
