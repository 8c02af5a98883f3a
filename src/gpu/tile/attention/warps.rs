//! Attention where a warp waits for its own products (`mma.sync`: Ampere, Ada): the design of FlashAttention-2 (arXiv 2307.08691), and for the
//! wide latent of MLA that of FlashInfer's kernels.
//!
//! Four warps make a team, and an SM runs two teams: two blocks, or the two halves of one block. Nothing inside a team overlaps, so
//! that a tile of keys takes a team alone `T + S` cycles: T of matrix products and S of softmax on the SM's lanes. Two teams
//! take turns at both. They meet at chance, as two customers of a closed network with two stations do, whose throughput is
//! `(T + S) / (T^2 + T S + S^2)` tiles per cycle (J. Buzen, Computational algorithms for closed queueing networks, 1973).

use super::grid::{Grid, Group, Step};
use super::machine::Machine;
use super::shape::{Backward, Lengths, Shape, filling_splits};
use crate::dtype::Dtype;

/// Rows of a block of prefill, and of one of decoding.
pub(super) const BLOCK_ROWS: u64 = 128;
const FEW_ROWS: u64 = 64;

/// How a block is cut.
#[derive(Clone, Copy)]
struct Tiling {
    /// Query rows.
    rows: u64,
    /// Keys per tile.
    keys: u64,
    /// Teams of four warps that share the rows.
    teams: u64,
}

const fn tiling(rows: u64, keys: u64, teams: u64) -> Tiling {
    Tiling { rows, keys, teams }
}

/// The first of the tiles that the library has for this head dimension with which two teams find room in shared memory: the queries of a
/// block, a tile of keys and a tile of values (`flash_fwd_launch_template.h` of github.com/Dao-AILab/flash-attention; for the
/// latent, two tiles of it: `attention/mla.cuh` of github.com/flashinfer-ai/flashinfer).
fn choose(machine: &Machine, shape: &Shape, many: bool) -> Tiling {
    let choices: &[Tiling] = match (shape.key_dim.max(shape.value_dim), many) {
        (..=64, true) => &[tiling(128, 128, 1), tiling(64, 64, 1)],
        (65..=128, true) => &[tiling(128, 64, 1), tiling(64, 64, 1)],
        (129..=256, true) => &[tiling(128, 64, 2), tiling(64, 64, 2), tiling(64, 32, 2)],
        (..=64, false) => &[tiling(64, 256, 1), tiling(64, 128, 1)],
        (65..=128, false) => &[tiling(64, 128, 1), tiling(64, 64, 1)],
        (129..=256, false) => &[tiling(64, 64, 1), tiling(64, 64, 2), tiling(64, 32, 2)],
        _ => &[tiling(64, 64, 2), tiling(64, 32, 2), tiling(64, 16, 2)],
    };
    let fits = |tiling: &&Tiling| {
        let values = tiling.rows * shape.key_dim + tiling.keys * shape.loaded.max(shape.key_dim + shape.value_dim);
        2 * values * Dtype::Bf16.bits() / 8 <= machine.shared_memory * tiling.teams
    };
    *choices.iter().find(fits).unwrap_or(&choices[choices.len() - 1])
}

/// Cycles of a tile for a team that has the SM to itself, and how many of these tensor cores wait; the same beside another team.
fn cycles(machine: &Machine, shape: &Shape, tiling: Tiling) -> [(f64, f64); 2] {
    let rows = tiling.rows / tiling.teams;
    let products = machine.product(rows, tiling.keys, shape.key_dim + shape.value_dim, Dtype::Bf16);
    let softmax = machine.softmax(rows * tiling.keys, rows * shape.value_dim, machine.lanes);
    // Narrow keys and values become BF16 in registers, in every team for itself.
    let widened = if shape.operands.bits() < Dtype::Bf16.bits() { tiling.keys * shape.loaded } else { 0 };
    let waits = softmax + machine.widening(widened);
    let both = 2.0 * (products * products + products * waits + waits * waits) / (products + waits);
    [(products + waits, waits), (both, both - 2.0 * products)]
}

/// A grid of `groups` of blocks, each with `ends` and a tile of `hbm` and `port` bytes.
fn grid(machine: &Machine, shape: &Shape, tiling: Tiling, groups: Vec<Group>, ends: Step, bytes: [f64; 2]) -> Grid {
    let blocks: u64 = groups.iter().map(|group| group.blocks).sum();
    let [alone, beside] = cycles(machine, shape, tiling);
    // Blocks of one team each spread over the SMs before two of them meet on one.
    let resident = if tiling.teams == 1 && blocks > machine.free { 2 } else { 1 };
    let (cycles, waiting) = if resident * tiling.teams == 2 { beside } else { alone };
    let [hbm, port] = bytes;
    let tile = Step { seconds: machine.seconds(cycles), waiting: machine.seconds(waiting), hbm, port };
    Grid { groups, ends, tile, resident }
}

/// Queries in, results of `result` out, of one block.
fn ends(seconds: f64, shape: &Shape, rows: u64, result: Dtype) -> Step {
    let bits = rows.min(shape.rows) * (shape.key_dim * Dtype::Bf16.bits() + shape.value_dim * result.bits());
    let bytes = bits as f64 / 8.0;
    Step { seconds, waiting: 0.0, hbm: bytes, port: bytes }
}

/// Many queries per request: one block per head (or packed heads) and group of rows, causal, longest first. The grid, and the number of splits.
pub(super) fn prefill(machine: &Machine, shape: &Shape, split: bool) -> (Grid, u64) {
    // Few rows take the kernel of decoding, the only one that splits keys (`mha_varlen_fwd` of FlashAttention-2).
    let few = shape.rows <= FEW_ROWS;
    let tiling = choose(machine, shape, !few);
    let blocks = shape.requests * shape.key_heads * shape.rows.div_ceil(tiling.rows);
    let tiles = shape.keys.div_ceil(tiling.keys);
    let limit = SplitLimit::new(machine, shape, tiling, blocks, tiles);
    let splits = if split && few { tiles.div_ceil(limit.per_split(tiles)) } else { 1 };
    let result = if splits > 1 { Dtype::Fp32 } else { Dtype::Bf16 };
    let groups = shape.causal_groups(tiling.rows, tiling.keys, splits);
    let ends = ends(machine.spec.prefill.block.as_secs(), shape, tiling.rows, result);
    // Blocks of one head follow each other: its keys and values stay in L2.
    (grid(machine, shape, tiling, groups, ends, [0.0, shape.tile_bytes(tiling.keys)]), splits)
}

/// Few queries per request: the cache of a request is split over SMs that would idle otherwise. The grid, and the number of splits of a
/// request, on average.
pub(super) fn decode(machine: &Machine, shape: &Shape, lengths: &Lengths) -> (Grid, f64) {
    let tiling = choose(machine, shape, false);
    let row_blocks = shape.rows.div_ceil(tiling.rows);
    let blocks = shape.requests * shape.key_heads * row_blocks;
    let limit = SplitLimit::new(machine, shape, tiling, blocks, lengths.most_tiles(tiling.keys));
    let (groups, splits) = lengths.split(tiling.keys, shape.key_heads * row_blocks, |tiles| limit.per_split(tiles));
    // Results of a split are kept in FP32 until they are combined.
    let result = if splits > 1.0 { Dtype::Fp32 } else { Dtype::Bf16 };
    let ends = ends(machine.spec.decode.block.as_secs(), shape, tiling.rows, result);
    let load = lengths.mean_tile_bytes(shape, tiling.keys);
    // Blocks of the same keys run side by side: one of them fetches a tile into L2 for all.
    (grid(machine, shape, tiling, groups, ends, [load / row_blocks as f64, load]), splits)
}

/// How the keys of requests are split: the latent by the rule of FlashInfer, all else by that of FlashAttention-2.
enum SplitLimit {
    /// Tiles that a block takes at most.
    Tiles(u64),
    /// Parts of every request.
    Parts(u64),
}

impl SplitLimit {
    /// Where there would be `blocks` blocks without splits, and the longest request has `longest` tiles of keys.
    fn new(machine: &Machine, shape: &Shape, tiling: Tiling, blocks: u64, longest: u64) -> SplitLimit {
        if shape.loaded == shape.key_dim {
            SplitLimit::Tiles(chunk((blocks * shape.keys).div_ceil(machine.sms)).div_ceil(tiling.keys))
        } else {
            SplitLimit::Parts(filling_splits(2 * machine.sms / tiling.teams, blocks, longest))
        }
    }

    /// Tiles that a block takes of a request with so many.
    fn per_split(&self, tiles: u64) -> u64 {
        match self {
            SplitLimit::Tiles(most) => tiles.min(*most),
            SplitLimit::Parts(parts) => tiles.div_ceil(*parts),
        }
    }
}

/// Keys of the latent that a block takes at most, where an SM's part of all is `mean` (`MLAPlan` in `attention/scheduler.cuh` of FlashInfer).
fn chunk(mean: u64) -> u64 {
    match mean {
        ..=8 => 32,
        9..=16 => 64,
        17..=32 => 128,
        33..=64 => 192,
        _ => mean.next_multiple_of(256),
    }
}

/// The gradient of attention: one block of eight warps per head and tile of keys, over the queries that see them. The whole block meets after every
/// one of the five products, so that nothing hides the softmax, which is computed again, its gradient, which takes as long, and the
/// gradient of the queries, which is added value by value to FP32 sums in L2.
pub(super) fn backward(machine: &Machine, shape: &Backward) -> Grid {
    const ROWS: u64 = 64;
    // Queries, gradients of results, keys, values, and scores with their gradients (`flash_bwd_launch_template.h`).
    let room = |keys: u64| 2 * ((2 * ROWS + keys) * (shape.key_dim + shape.value_dim) + 2 * ROWS * keys);
    let keys = if shape.key_dim <= 128 && room(128) <= machine.shared_memory { 128 } else { 64 };
    let products = machine.product(ROWS, keys, 3 * shape.key_dim + 2 * shape.value_dim, shape.operands);
    let softmax = machine.softmax(2 * ROWS * keys, ROWS * shape.key_dim, machine.lanes);
    let bytes = shape.operands.bits() / 8;
    let both = shape.key_dim + shape.value_dim;
    let all = (2 * keys * both * bytes) as f64;
    Grid {
        groups: shape.blocks(keys, ROWS),
        ends: Step { seconds: machine.spec.prefill.block.as_secs(), waiting: 0.0, hbm: all, port: all },
        tile: Step {
            seconds: machine.seconds(products + softmax),
            waiting: machine.seconds(softmax),
            hbm: 0.0,
            port: (ROWS * (both * bytes + shape.key_dim * 4)) as f64,
        },
        resident: 1,
    }
}
