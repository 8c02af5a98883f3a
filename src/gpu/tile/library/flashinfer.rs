//! FlashInfer's choice of tiles for dense FP4 products on Blackwell, as its source publishes it (rule of early 2026 for `mm_fp4` by its
//! kernels in CuTe, which engines use without tuning).

use crate::gpu::tile::gemm::{Epilogue, Product, Tiling};
use crate::gpu::tile::machine::Machine;

/// Tiles on offer: rows of 256 are computed by two SMs together.
const TILES: [(u64, u64); 8] =
    [(128, 64), (256, 64), (128, 128), (256, 128), (128, 192), (256, 192), (128, 256), (256, 256)];

/// Rows of products that a tile is chosen for: all up to the next power of two share it.
const MOST_ROWS: u64 = 4096;

/// The tile for `product`: by how full tiles and waves are, times how fast a tile of this size and shape is held to be. It is chosen for the
/// power of two below the rows. Products of 8 to 31 rows are turned round where the rows are a multiple of 8.
pub(super) fn bucketed(machine: &Machine, product: &Product) -> Tiling {
    let bucket = (1 << product.rows.max(1).ilog2()).min(MOST_ROWS);
    let turned = product.rows.is_multiple_of(8) && (8..=16).contains(&bucket) && product.n > bucket;
    let (rows, columns) = if turned { (product.n, bucket) } else { (bucket, product.n) };
    let mut best: Option<(f64, (u64, u64))> = None;
    for tile in TILES {
        let score = score(machine, (rows, columns, product.k), tile);
        if best.is_none_or(|(most, _)| score > most) {
            best = Some((score, tile));
        }
    }
    let (_, (tile_rows, tile_columns)) = best.expect("there are tiles");
    let across = columns.div_ceil(tile_columns);
    // One row of tiles: neighbours receive its operands in one multicast.
    let cluster = match across {
        _ if rows > tile_rows => 1,
        _ if across.is_multiple_of(4) || across > 10 => 4,
        _ if across.is_multiple_of(2) => 2,
        _ => 1,
    };
    let pair = tile_rows / 128;
    let epilogue = Epilogue::Beside;
    if turned {
        let tile = Tiling::new(tile_columns, 128);
        return Tiling { share_rows: pair, share_columns: cluster, epilogue, ..tile };
    }
    Tiling { share_rows: cluster, share_columns: pair, epilogue, ..Tiling::new(128, tile_columns) }
}

fn score(machine: &Machine, (rows, columns, k): (u64, u64, u64), (tile_rows, tile_columns): (u64, u64)) -> f64 {
    let across = columns.div_ceil(tile_columns);
    let tiles = rows.div_ceil(tile_rows) * across;
    let filled = columns as f64 / (across * tile_columns) as f64;
    let area = (tile_rows * tile_columns) as f64 / (256.0 * 256.0);
    let shape = tile_rows.min(tile_columns) as f64 / tile_rows.max(tile_columns) as f64;
    let short = match k {
        _ if tile_rows * tile_columns <= 128 * 128 => 1.0,
        0..=1024 => 0.5,
        1025..=2048 => 0.8,
        _ => 1.0,
    };
    let speed = area.sqrt() * shape.sqrt().sqrt() * short;
    let waves = tiles.div_ceil(machine.sms);
    (rows * tiles) as f64 * filled * speed / (tile_rows * waves * machine.sms) as f64
}
