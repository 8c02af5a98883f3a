//! DeepGEMM's choice of tiles, as its source publishes it.

use super::Layout;
use crate::gpu::tile::gemm::{Product, Tiling};
use crate::gpu::tile::machine::Machine;
use std::cmp::Ordering;

/// DeepGEMM's rule for Hopper: the least time for traffic through shared memory and L2, whole waves counted. Its
/// constants (64 bytes per SM and cycle up to 6153 bytes per cycle from L2, 128 bytes per SM and cycle from shared memory) are the library's.
pub(super) fn least_traffic(machine: &Machine, product: &Product, layout: Layout) -> Tiling {
    let dense = layout == Layout::Even && product.groups == 1;
    let mut best: Option<(u128, Tiling)> = None;
    for (share_columns, share_rows) in [(1, 1), (1, 2), (2, 1)] {
        for &rows in row_choices(product, layout) {
            for columns in (16..=192).step_by(16) {
                let tiling = Tiling { share_rows, share_columns, ..Tiling::new(rows, columns) };
                if !fits_hopper(machine, tiling) || (dense && spills(machine, tiling)) {
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

/// Whether the sums of a dense kernel's tile, those of the running group and those in FP32, leave its registers, of which they fill three
/// quarters: 128 x 192 and 256 x 128 without multicast. Such a tile takes up to four times as long as the next smaller one, so that no
/// library is better off with it, and it is not taken. The release that `gemm.csv` measured takes it all the same in eleven shapes on H100,
/// and is that slow in ten of them; the one of `deepgemm.csv` is not, nor is prefill on H20 (DeepGEMM issue 191: 192 columns are slow).
fn spills(machine: &Machine, tiling: Tiling) -> bool {
    let sums = tiling.rows * tiling.columns * 2 * 4;
    tiling.share_rows * tiling.share_columns == 1 && sums * 4 >= machine.sm.registers.get() * 3
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
pub(super) fn row_choices(product: &Product, layout: Layout) -> &'static [u64] {
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
fn fits_hopper(machine: &Machine, tiling: Tiling) -> bool {
    let Tiling { rows, columns, .. } = tiling;
    let over = columns.saturating_sub(128);
    let unrolls = over == 0 || columns % over == 0 || 128 % over == 0;
    let registers = rows <= 128 || columns <= 128;
    let results = (rows * columns * 2).next_multiple_of(1024);
    let buffers = machine.sm.shared_memory.get().saturating_sub(results) / ((rows + columns) * 128 + rows * 4);
    let deep = buffers >= 4 || (buffers == 3 && rows * columns >= 128 * 192);
    unrolls && registers && deep
}

/// Columns of tensor memory, of 128 rows of 4 bytes each.
const TENSOR_MEMORY: u64 = 512;

/// Whether two tiles' sums and the scale factors of one step fit into tensor memory.
fn fits_tensor_memory(rows: u64, columns: u64, accumulated: u64) -> bool {
    let scales = rows.next_multiple_of(128) / 32 + columns.next_multiple_of(128) / 32;
    2 * accumulated + scales <= TENSOR_MEMORY
}

/// DeepGEMM's rule for groups of rows on Blackwell, of the releases whose kernels `moe_grouped_gemm.csv` holds: the fewest waves of 128-row
/// tiles, then the fullest last wave, then the narrowest tile. SMs do not pair up.
pub(super) fn fewest_waves(machine: &Machine, product: &Product, layout: Layout) -> Tiling {
    let rows = 128;
    let row_tiles = layout.row_tiles(product, rows);
    let mut best: Option<((u64, u64, u64), Tiling)> = None;
    for columns in std::iter::once(16).chain((32..=256).step_by(32)) {
        if !fits_tensor_memory(rows, columns, columns) {
            continue;
        }
        let tiling = Tiling::new(rows, columns);
        let (waves, last) = waves(machine, product.blocks(tiling, row_tiles));
        let key = (waves, machine.sms - last, columns);
        if best.is_none_or(|(least, _)| key < least) {
            best = Some((key, tiling));
        }
    }
    best.expect("there are tiles").1
}

/// Waves of so many blocks, and blocks of the last one.
fn waves(machine: &Machine, blocks: u64) -> (u64, u64) {
    (blocks.div_ceil(machine.sms), blocks.saturating_sub(1) % machine.sms + 1)
}

/// DeepGEMM's rule of 2026 for dense products on Blackwell: outputs or rows fill the 128 rows of the instruction, two SMs compute a tile
/// together where the number of tiles allows it, and of all these the best by [`better`].
pub(super) fn paired(machine: &Machine, product: &Product) -> Tiling {
    let fixed = if product.rows <= 32 {
        32
    } else if product.rows <= 64 {
        64
    } else {
        128
    };
    let mut candidates = Vec::new();
    for share_columns in [1, 2] {
        for columns in std::iter::once(16).chain((32..=256).step_by(32)) {
            if fits_tensor_memory(fixed, columns, columns) {
                candidates.push(Tiling { share_columns, ..Tiling::new(fixed, columns) });
            }
        }
    }
    for share_rows in [1, 2] {
        for rows in (16..=256).step_by(16) {
            if fits_tensor_memory(rows, 128, rows) {
                candidates.push(Tiling { share_rows, ..Tiling::new(rows, 128) });
            }
        }
    }
    let allowed = |tiling: &&Tiling| {
        let Tiling { rows, columns, share_rows, share_columns, .. } = **tiling;
        let eights = (rows / share_rows).is_multiple_of(8) && (columns / share_columns).is_multiple_of(8);
        let whole = product.rows.div_ceil(rows).is_multiple_of(share_columns);
        eights && whole && product.n.div_ceil(columns).is_multiple_of(share_rows)
    };
    let layout = Layout::Even;
    let wave = |tiling: Tiling| waves(machine, product.blocks(tiling, layout.row_tiles(product, tiling.rows)));
    let chosen = candidates.iter().filter(allowed).copied().min_by(|&a, &b| better((wave(a), a), (wave(b), b)));
    chosen.expect("a tile without a neighbour is always allowed")
}

/// Which of two tiles, each with its waves and the blocks of the last one, DeepGEMM takes: a single wave, else one that SMs share; then
/// fewer waves, a fuller last one, and the smaller tile, by sides and by values.
fn better(a: ((u64, u64), Tiling), b: ((u64, u64), Tiling)) -> Ordering {
    let (((waves, last), tile), ((other_waves, other_last), other)) = (a, b);
    if waves.min(other_waves) == 1 && waves != other_waves {
        return waves.cmp(&other_waves);
    }
    let shared = |tile: Tiling| tile.share_rows * tile.share_columns;
    let sides = |tile: Tiling| (tile.rows + tile.columns, tile.rows * tile.columns);
    let by_sharing = shared(other).cmp(&shared(tile));
    by_sharing.then(waves.cmp(&other_waves)).then(other_last.cmp(&last)).then(sides(tile).cmp(&sides(other)))
}
