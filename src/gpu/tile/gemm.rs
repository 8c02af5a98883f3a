//! Matrix multiplications as grids of thread blocks.
//!
//! A block computes one `rows x columns` tile of the result, in steps of 128 bytes along K: operands arrive in a ring of
//! buffers, tensor cores multiply, and for FP8 on Hopper CUDA cores promote. Then it writes its tile. Blocks are
//! persistent: an SM takes the next tile when it has finished one.

use super::grid::{Class, Stage};
use super::machine::Machine;
use crate::dtype::Dtype;

/// Bytes along K per step: what one swizzled row of shared memory holds.
pub(super) const STEP_BYTES: f64 = 128.0;
/// Bytes per cycle from or to shared memory (NVIDIA Hopper and Ampere tuning guides: 32 banks of 4 bytes).
const SHARED_BYTES: f64 = 128.0;
/// Values along K that share a scale factor in block-scaled FP8 (arXiv 2412.19437 section 3.3.2).
const GROUP: u64 = 128;

/// A product of matrices as the hardware sees it: how many row tiles, whatever groups they come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Product {
    /// Groups that have rows.
    pub groups: u64,
    /// Rows of activations of all groups.
    pub rows: u64,
    /// Rows of the largest group.
    pub most: u64,
    /// Outputs per row.
    pub n: u64,
    /// Inputs per row.
    pub k: u64,
    /// Format of the operands.
    pub operands: Dtype,
    /// Bits of a stored weight.
    pub weight_bits: u64,
    /// Bytes written per result.
    pub result_bytes: f64,
    /// Whether this is a gradient of weights: results are added to what stands in memory, and both operands have a scale per
    /// row, so that every product of two groups needs one of its own.
    pub accumulates: bool,
}

/// How a kernel cuts a product into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiling {
    /// Rows of a tile.
    pub rows: u64,
    /// Columns of a tile.
    pub columns: u64,
    /// Blocks that share a tile, each with a part of K.
    pub split: u64,
    /// Blocks side by side that receive the same rows in one multicast.
    pub share_rows: u64,
    /// Blocks one above the other that receive the same columns.
    pub share_columns: u64,
    /// When the tile's results leave.
    pub epilogue: Epilogue,
}

/// What the tensor cores of an SM do while the results of a tile are converted and leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epilogue {
    /// They wait until the block has ended and the next one has its first operands: a block computes one tile.
    Alone,
    /// They wait until the results are in shared memory, for the warps that issue products hold the accumulators too. Blocks compute
    /// many tiles: results are stored, and the next tile's operands loaded, by the copy engine meanwhile.
    Between,
    /// They compute the next tile, in accumulators of its own.
    Beside,
}

impl Tiling {
    /// A tile that one block computes alone.
    pub(super) const fn new(rows: u64, columns: u64) -> Tiling {
        Tiling { rows, columns, split: 1, share_rows: 1, share_columns: 1, epilogue: Epilogue::Between }
    }

    /// Whether two SMs that can compute a tile together do.
    fn pairs_up(self) -> bool {
        self.share_rows * self.share_columns == 2
    }
}

impl Product {
    /// Operations: a multiply-add counts as two.
    pub(super) fn operations(&self) -> f64 {
        2.0 * self.rows as f64 * self.n as f64 * self.k as f64
    }

    /// Bytes of operands that come from memory, each counted once, with the scales of block formats.
    fn cold_bytes(&self, machine: &Machine) -> f64 {
        let weights = (self.groups * self.n * self.k) as f64 * with_scales(self.weight_bits);
        let activations = (self.rows * self.k) as f64 * with_scales(self.operands.bits());
        // Of a gradient of weights one operand comes from the forward pass, long before.
        let fresh = if self.accumulates { machine.warm } else { machine.warm_activations };
        (weights * (1.0 - machine.warm) + activations * (1.0 - fresh)) / 8.0
    }

    /// Blocks of `tiling`, where `row_tiles` is the number of row tiles over all groups.
    pub(super) fn blocks(&self, tiling: Tiling, row_tiles: u64) -> u64 {
        row_tiles * self.n.div_ceil(tiling.columns) * tiling.split
    }
}

/// Bits of a value of `bits` bits, with its part of a scale: FP32 for 128 values of FP8, FP8 for 16 of FP4.
fn with_scales(bits: u64) -> f64 {
    let scale = match bits {
        8 => 32.0 / GROUP as f64,
        4 => 8.0 / 16.0,
        _ => 0.0,
    };
    bits as f64 + scale
}

/// The blocks of `product` cut by `tiling`, and what adding up split sums takes, in seconds.
pub(super) fn blocks(machine: &Machine, product: &Product, tiling: Tiling, row_tiles: u64) -> (Class, f64) {
    let depth = STEP_BYTES * 8.0 / product.operands.bits() as f64;
    let steps = ((product.k as f64 / depth).ceil() / tiling.split as f64).ceil();
    let blocks = product.blocks(tiling, row_tiles);
    let (rows, columns) = (tiling.rows as f64, tiling.columns as f64);
    // Rows that are not there are filled with zeros on the way.
    let (present, wanted) = (rows.min(product.most as f64), columns.min(product.n as f64));
    let bits = product.operands.bits();
    let loaded = (present / tiling.share_rows as f64 + wanted / tiling.share_columns as f64)
        * (STEP_BYTES * with_scales(bits) / bits as f64);
    let written = present * wanted * product.result_bytes;
    // Results leave through shared memory.
    let convert = rows * columns * 2.0 / (SHARED_BYTES * machine.clock);
    let handover = if tiling.epilogue == Epilogue::Beside { 0.0 } else { machine.sm.handover.as_secs() + convert };
    let within = if tiling.epilogue == Epilogue::Between { handover } else { 0.0 };
    let main = Stage {
        steps,
        buffers: buffers(machine, tiling).min(steps),
        tensor: machine.multiply(product.operands, [rows, columns, depth], tiling.pairs_up())
            + machine.step(product.operands, columns)
            + within / steps,
        promotion: promotion(machine, product, tiling, depth),
        // The results of one tile are on their way while the next one's operands come; the last tile's are waited for.
        l2: loaded + written / steps,
        hbm: product.cold_bytes(machine) / (blocks as f64 * steps) + written / steps,
        ..Stage::default()
    };
    let reduction = if tiling.split > 1 {
        let partial = (product.rows * product.n * (tiling.split + 1)) as f64 * 4.0;
        machine.sm.reduction.as_secs() + partial / (machine.port * machine.sms as f64)
    } else {
        0.0
    };
    let store = written / machine.port.min(machine.sm_memory);
    let last = machine.sm.epilogue.as_secs() + if handover > 0.0 { 0.0 } else { convert };
    let mut stages = vec![main];
    if product.accumulates {
        // What stands in memory is asked for when the sum is ready, and waited for.
        let sums = written / product.result_bytes * 4.0;
        stages.push(Stage { steps: 1.0, buffers: 1.0, l2: sums, hbm: sums, ..Stage::default() });
    }
    if tiling.epilogue == Epilogue::Alone {
        stages.push(Stage { steps: 1.0, cuda: handover, ..Stage::default() });
    }
    (Class { blocks, stages }, reduction + last + store)
}

/// Buffers of operands that fit into shared memory.
fn buffers(machine: &Machine, tiling: Tiling) -> f64 {
    let one = (tiling.rows + tiling.columns) * STEP_BYTES as u64;
    let results = if machine.sm.epilogue_overlaps { 0 } else { tiling.rows * tiling.columns * 2 };
    let fit = machine.sm.shared_memory.get().saturating_sub(results) / one;
    let most = machine.sm.buffers.wide();
    fit.clamp(most.min(2), most) as f64
}

/// Seconds per step that promotion keeps the tensor cores waiting.
fn promotion(machine: &Machine, product: &Product, tiling: Tiling, depth: f64) -> f64 {
    let Some(interval) = machine.promotion_interval(product.operands) else { return 0.0 };
    let (rows, columns) = (tiling.rows as f64, tiling.columns as f64);
    // A tile that straddles two groups of columns needs two scales per row.
    let passes = if GROUP.is_multiple_of(tiling.columns) || product.accumulates { 1.0 } else { 2.0 };
    // Columns with scales of their own: a thread fetches one (4 bytes) for each two accumulators of a column.
    let fetched = if product.accumulates { rows * columns / 2.0 * 4.0 / (SHARED_BYTES * machine.clock) } else { 0.0 };
    (machine.promote(rows, columns, passes) + fetched) * depth / interval
}
