//! Tables of sets of next hops, one for each root, with what they have in common stored once.
//!
//! A table is a row of blocks. What hangs on the same switches is reached alike from almost everywhere, so that tables differ in
//! few blocks: thousands of tables stay within the cache. This module must not know where the sets come from.

use super::next_hops::SetId;
use crate::id::DeviceId;
use crate::rng::mix;
use std::collections::BTreeMap;

/// Devices of a block.
const BLOCK: usize = 64;

/// A root without a table.
const NONE: u32 = u32::MAX;

/// Whether two devices are in the same block or in neighbouring ones.
pub(super) const fn nearby(one: DeviceId, other: DeviceId) -> bool {
    (one.index() / BLOCK).abs_diff(other.index() / BLOCK) <= 1
}

/// All tables.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    /// Per root: where its row begins.
    rows: Vec<u32>,
    /// Blocks of all rows, by place in `blocks`.
    row: Vec<u32>,
    /// Sets of all different blocks.
    blocks: Vec<SetId>,
    /// Blocks by hash; places of those with equal hashes.
    known: BTreeMap<u64, Vec<u32>>,
}

impl Tables {
    pub(super) fn new(n_devices: usize) -> Tables {
        Tables { rows: vec![NONE; n_devices], row: Vec::new(), blocks: Vec::new(), known: BTreeMap::new() }
    }

    /// Memory that they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        4 * (self.rows.len() + self.row.len() + self.blocks.len())
    }

    /// Whether `root` has a table.
    pub(super) fn has(&self, root: DeviceId) -> bool {
        self.rows[root.index()] != NONE
    }

    /// Stores the sets of `root`, by device.
    pub(super) fn insert(&mut self, root: DeviceId, sets: &[SetId]) {
        self.rows[root.index()] = self.row.len() as u32;
        for block in sets.chunks(BLOCK) {
            let place = self.intern(block);
            self.row.push(place);
        }
    }

    /// The set of `root` at a device; `root` has a table.
    #[inline]
    pub(super) fn get(&self, root: DeviceId, at: DeviceId) -> SetId {
        let row = self.rows[root.index()];
        assert!(row != NONE, "the destination has been prepared");
        let block = self.row[row as usize + at.index() / BLOCK];
        self.blocks[block as usize * BLOCK + at.index() % BLOCK]
    }

    /// The places of the blocks around a device in the table of `root`: two roots with the same ones lead on alike from all devices
    /// that are [`nearby`].
    pub(super) fn around(&self, root: DeviceId, at: DeviceId) -> [u32; 3] {
        let row = self.rows[root.index()];
        assert!(row != NONE, "the destination has been prepared");
        let (block, last) = (at.index() / BLOCK, self.rows.len().div_ceil(BLOCK) - 1);
        [block.saturating_sub(1), block, (block + 1).min(last)].map(|block| self.row[row as usize + block])
    }

    /// The place of a block; a short one is filled up with empty sets.
    fn intern(&mut self, block: &[SetId]) -> u32 {
        let mut whole = [SetId::EMPTY; BLOCK];
        whole[..block.len()].copy_from_slice(block);
        let hash = whole.iter().fold(0, |hash, set| mix(hash ^ u64::from(set.0)));
        let places = self.known.entry(hash).or_default();
        let is_equal = |&&place: &&u32| self.blocks[place as usize * BLOCK..][..BLOCK] == whole;
        if let Some(&place) = places.iter().find(is_equal) {
            return place;
        }
        let place = (self.blocks.len() / BLOCK) as u32;
        self.blocks.extend_from_slice(&whole);
        places.push(place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keep_their_sets_and_share_equal_blocks() {
        let n = 10 * BLOCK + 7;
        let mut tables = Tables::new(n);
        // Every root has its own set in one place, and all else is the same for all.
        let sets = |root: usize| -> Vec<SetId> {
            (0..n).map(|at| SetId(if at == root { 1000 + root as u32 } else { at as u32 % 7 })).collect()
        };
        for root in (0..n).step_by(3) {
            assert!(!tables.has(DeviceId::new(root)));
            tables.insert(DeviceId::new(root), &sets(root));
        }
        for root in (0..n).step_by(3) {
            assert!(tables.has(DeviceId::new(root)));
            let got: Vec<SetId> = (0..n).map(|at| tables.get(DeviceId::new(root), DeviceId::new(at))).collect();
            assert_eq!(got, sets(root), "{root}");
        }
        let roots = n.div_ceil(3);
        assert!(tables.blocks.len() / BLOCK <= 11 + roots, "{} blocks for {roots} roots", tables.blocks.len() / BLOCK);
    }
}
