//! Attention where results accumulate in a memory of their own (Blackwell): the design of the kernels of TensorRT-LLM and
//! of FlashAttention-4.
//!
//! A matrix instruction covers 128 rows; tensor memory holds 128 rows of 512 values. Prefill keeps two tiles of 128 rows in
//! flight, each with a softmax warp group of its own: `max(2 T, T + S)` cycles per tile of keys. Decode over the latent of
//! MLA cannot hold 512 values and scores at once, so that two SMs take half of the value columns each, and both compute the
//! scores; two warp groups share the softmax, which hides behind the scores of the next tile: `max(T_scores, S) + T_values`.
//! Few heads, or little work per SM, use blocks of 16 rows instead, which several SMs run beside each other on the same
//! keys through L2: low latency, more traffic.

use super::grid::{Grid, Group, Step};
use super::machine::Machine;
use super::registers;
use super::shape::{Backward, Shape};

/// Rows of one matrix instruction (PTX ISA, tcgen05.mma), and keys of a tile.
const ROWS: u64 = 128;
const KEYS: u64 = 128;
/// Rows of a block of prefill: two instructions.
pub(super) const BLOCK_ROWS: u64 = 2 * ROWS;
/// Rows of a block of a low-latency kernel.
const FEW_ROWS: u64 = 16;
/// Value columns that one SM can accumulate beside the scores of two tiles.
const VALUES_MAX: u64 = 256;

/// Many queries per request: two row tiles per block where there are as many rows, causal, longest first. Blocks that would leave SMs idle
/// are split into as many as find one, if there are more than four tiles (`num_splits_heuristic` in `flash_attn/cute/interface.py` of
/// github.com/Dao-AILab/flash-attention). The grid, and the number of splits.
pub(super) fn prefill(machine: &Machine, shape: &Shape, split: bool) -> (Grid, u64) {
    let products = machine.product(ROWS, KEYS, shape.key_dim + shape.value_dim, shape.operands);
    let softmax = machine.softmax(ROWS * KEYS, ROWS * shape.value_dim, machine.lanes);
    let row_tiles = shape.rows.div_ceil(ROWS).min(2);
    let rows = row_tiles * ROWS;
    let blocks = shape.requests * shape.key_heads * shape.rows.div_ceil(rows);
    let tiles = shape.keys.div_ceil(KEYS);
    let splits = if split && tiles > 4 { (machine.sms / blocks).clamp(1, tiles) } else { 1 };
    let result_bits = if splits > 1 { 32 } else { 16 };
    let bits = shape.key_dim * shape.operands.bits() + shape.value_dim * result_bits;
    let bytes = (rows.min(shape.rows) * bits) as f64 / 8.0;
    let (all, one) = (row_tiles as f64 * products, products + softmax);
    let grid = Grid {
        groups: shape.causal_groups(rows, KEYS, splits),
        ends: Step { seconds: machine.spec.prefill.block.as_secs(), waiting: 0.0, hbm: bytes, port: bytes },
        tile: Step {
            seconds: machine.seconds(all.max(one)),
            waiting: machine.seconds((one - all).max(0.0)),
            hbm: 0.0,
            port: shape.tile_bytes(KEYS),
        },
        resident: 1,
    };
    (grid, splits)
}

/// Few queries per request. The grid, and the number of splits.
pub(super) fn decode(machine: &Machine, shape: &Shape) -> (Grid, u64) {
    let tiles = shape.keys.div_ceil(KEYS);
    let few = shape.rows.div_ceil(FEW_ROWS);
    // TensorRT-LLM prefers blocks of few rows where they fit on the GPU at once with at most 1024 keys each.
    let all_few = shape.requests * shape.key_heads * few;
    let brief = all_few <= machine.sms && shape.keys * all_few <= 1024 * machine.sms;
    let low_latency = shape.rows <= 2 * FEW_ROWS || brief;
    let columns = if low_latency { shape.value_dim } else { shape.value_dim.min(VALUES_MAX) };
    let rows = if low_latency { FEW_ROWS } else { ROWS };
    let row_blocks = shape.rows.div_ceil(rows);
    // SMs that work on the same keys at the same time.
    let team = row_blocks * shape.value_dim.div_ceil(columns);
    let (cycles, waiting) = if low_latency {
        let softmax = machine.softmax(FEW_ROWS * KEYS, 0, 2.0 * machine.lanes)
            + machine.softmax(0, FEW_ROWS * columns, machine.lanes);
        (machine.product(KEYS, FEW_ROWS, shape.key_dim + columns, shape.operands) + softmax, softmax)
    } else {
        let softmax =
            machine.softmax(ROWS * KEYS, 0, 2.0 * machine.lanes) + machine.softmax(0, ROWS * columns, machine.lanes);
        let scores = machine.product(ROWS, KEYS, shape.key_dim, shape.operands);
        let values = machine.product(ROWS, KEYS, columns, shape.operands);
        (scores.max(softmax) + values, (softmax - scores).max(0.0))
    };
    let teams = shape.requests * shape.key_heads;
    let per_split = tiles.div_ceil((machine.sms / (teams * team)).clamp(1, tiles));
    let splits = tiles.div_ceil(per_split);
    let load = shape.mean_tile_bytes(tiles);
    // The two SMs of a pair receive each other's half of a tile; row blocks of 16 each fetch their own.
    let port = if low_latency { load } else { load * columns as f64 / shape.value_dim as f64 };
    let query_bits = shape.key_dim * shape.operands.bits();
    // Results of a split are kept in FP32 until they are combined.
    let result_bits = if splits > 1 { 32 } else { 16 };
    let unique = shape.rows * (query_bits + shape.value_dim * result_bits);
    let own = rows.min(shape.rows) * (query_bits + columns * result_bits);
    let grid = Grid {
        groups: vec![
            Group { blocks: teams * team * (splits - 1), tiles: per_split },
            Group { blocks: teams * team, tiles: tiles - (splits - 1) * per_split },
        ],
        ends: Step {
            seconds: machine.spec.decode.block.as_secs(),
            waiting: 0.0,
            hbm: unique as f64 / 8.0 / team as f64,
            port: own as f64 / 8.0,
        },
        tile: Step {
            seconds: machine.seconds(cycles),
            waiting: machine.seconds(waiting),
            hbm: load / team as f64,
            port,
        },
        resident: 1,
    };
    (grid, splits)
}

/// The gradient of attention, in the tiling of Hopper: nothing measured says otherwise yet.
pub(super) fn backward(machine: &Machine, shape: &Backward) -> Grid {
    registers::backward(machine, shape)
}
