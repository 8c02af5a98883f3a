//! The shape of an attention kernel as its blocks see it: rows of queries against tiles of keys.

use super::grid::Group;
use crate::dtype::Dtype;
use crate::workload::{DecodeAttention, PrefillAttention};

/// A forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) requests: u64,
    /// Heads with keys of their own, times the query heads that share one where these are not packed into rows.
    pub(super) key_heads: u64,
    /// Query rows per request and key head: positions, times the query heads packed with them.
    pub(super) rows: u64,
    /// Rows of the same position.
    pub(super) rows_per_position: u64,
    /// Keys that the last row sees.
    pub(super) keys: u64,
    /// Values per query-key product.
    pub(super) key_dim: u64,
    /// Values per result.
    pub(super) value_dim: u64,
    /// Values loaded per key: keys and values, or a latent that is both.
    pub(super) loaded: u64,
    /// Format of the products' operands.
    pub(super) operands: Dtype,
    /// Format in which keys and values come to the SM.
    pub(super) stored: Dtype,
}

impl Shape {
    /// Decode: query heads that share keys are packed into rows.
    pub(super) fn decode(kernel: &DecodeAttention, operands: Dtype) -> Shape {
        let latent = kernel.cached_values == kernel.key_dim;
        let per_head = if latent { kernel.key_dim } else { kernel.key_dim + kernel.value_dim };
        let key_heads = (kernel.cached_values / per_head).max(1);
        let group = kernel.heads.div_ceil(key_heads);
        Shape {
            requests: kernel.requests,
            key_heads,
            rows: kernel.queries * group,
            rows_per_position: group,
            keys: kernel.context,
            key_dim: kernel.key_dim,
            value_dim: kernel.value_dim,
            loaded: per_head,
            operands,
            stored: operands,
        }
    }

    /// Prefill: heads are packed where that fills blocks of `block` rows better (`should_pack_gqa` of FlashAttention-3), and always over
    /// a latent, which all heads share.
    pub(super) fn prefill(kernel: &PrefillAttention, operands: Dtype, block: u64) -> Shape {
        let group = kernel.heads.div_ceil(kernel.key_heads);
        let filled = |rows: u64| rows as f64 / rows.next_multiple_of(block) as f64;
        let pack = kernel.latent || filled(kernel.queries) < 0.9 * filled(kernel.queries * group);
        let packed = if pack { group } else { 1 };
        Shape {
            requests: kernel.requests,
            key_heads: kernel.key_heads * (group / packed).max(1),
            rows: kernel.queries * packed,
            rows_per_position: packed,
            keys: kernel.context + kernel.queries,
            key_dim: kernel.key_dim,
            value_dim: kernel.value_dim,
            loaded: if kernel.latent { kernel.key_dim } else { kernel.key_dim + kernel.value_dim },
            operands,
            stored: operands,
        }
    }

    /// Bytes per tile of keys with their values, when all keys are cut into `tiles` tiles: the last may be short.
    pub(super) fn mean_tile_bytes(&self, tiles: u64) -> f64 {
        self.tile_bytes(self.keys) / tiles as f64
    }

    /// Bytes of a tile of `keys` keys with their values.
    pub(super) fn tile_bytes(&self, keys: u64) -> f64 {
        (keys * self.loaded * self.stored.bits()) as f64 / 8.0
    }

    /// Blocks of `rows` rows by the number of tiles of `keys` keys that their last row sees, longest first, where each is split into
    /// `splits` blocks.
    pub(super) fn causal_groups(&self, rows: u64, keys: u64, splits: u64) -> Vec<Group> {
        let earlier = self.keys - self.rows / self.rows_per_position;
        let blocks = self.rows.div_ceil(rows);
        let tiles = |block: u64| {
            let last_row = ((block + 1) * rows).min(self.rows) - 1;
            (earlier + last_row / self.rows_per_position + 1).div_ceil(keys)
        };
        let mut groups: Vec<Group> = Vec::new();
        for block in (0..blocks).rev() {
            // Who sees few tiles is cut into no more parts than these.
            let (seen, parts) = (tiles(block), splits.min(tiles(block)).max(1));
            let (tiles, same) = (seen.div_ceil(parts), self.requests * self.key_heads * parts);
            match groups.last_mut() {
                Some(group) if group.tiles == tiles => group.blocks += same,
                _ => groups.push(Group { blocks: same, tiles }),
            }
        }
        groups
    }
}

/// Splits per request: as few as fill the places for blocks to 85 % of the best filling, and none where blocks fill four fifths of the
/// places anyway (`num_splits_heuristic` in `flash_api.cpp` of github.com/Dao-AILab/flash-attention).
pub(super) fn filling_splits(places: u64, blocks: u64, tiles: u64) -> u64 {
    const SPLITS_MAX: u64 = 128;
    if blocks * 10 >= places * 8 {
        return 1;
    }
    let filling = |splits: u64| {
        let all = blocks * splits;
        all as f64 / (all.div_ceil(places) * places) as f64
    };
    let most = tiles.min(places).min(SPLITS_MAX);
    let best = (1..=most).map(filling).fold(0.0, f64::max);
    (1..=most).find(|&splits| filling(splits) >= 0.85 * best).unwrap_or(1)
}

/// A backward pass, causal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backward {
    pub(super) requests: u64,
    pub(super) heads: u64,
    pub(super) queries: u64,
    /// Keys before the first query.
    pub(super) context: u64,
    pub(super) key_dim: u64,
    pub(super) value_dim: u64,
    pub(super) operands: Dtype,
}

impl Backward {
    pub(super) fn new(kernel: &PrefillAttention) -> Backward {
        let PrefillAttention { requests, heads, queries, context, key_dim, value_dim, .. } = *kernel;
        Backward { requests, heads, queries, context, key_dim, value_dim, operands: Dtype::Bf16 }
    }

    /// Blocks of `keys` keys by the number of tiles of `rows` queries that see them, longest first: earlier keys are seen by all.
    pub(super) fn blocks(&self, keys: u64, rows: u64) -> Vec<Group> {
        let unseen = |block: u64| (block * keys).saturating_sub(self.context) / rows;
        let tiles = self.queries.div_ceil(rows);
        let blocks = 0..(self.context + self.queries).div_ceil(keys);
        blocks.map(|block| Group { blocks: self.requests * self.heads, tiles: tiles - unseen(block) }).collect()
    }
}
