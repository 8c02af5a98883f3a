//! Passes over memory with little arithmetic: casts, norms, activations, permutations, optimizer steps, sampling.
//!
//! Every SM streams an equal part: it reads ahead as much as it can have in flight, and writes behind.

use super::Timing;
use super::grid::{Class, Limit, Stage};
use super::machine::Machine;
use crate::units::Bytes;
use crate::workload::Rows;

/// Bytes that an SM moves per step of its loop: 1024 threads with 16 bytes each.
const STEP: f64 = 16_384.0;

/// Bytes that a thread requests at once: the widest load.
const LOAD: u64 = 16;
/// Threads that an SM holds (NVIDIA tuning guides since Ampere).
const THREADS: u64 = 2048;

/// One block of threads per row, as many rows at once as an SM has threads for, spread over all SMs. A block asks for its row piece by
/// piece, waits for each piece to come, and writes at the end.
///
/// Blocks are handed to SMs one after the other. So the last one starts after all the others did, and blocks that run together are
/// behind each other by as long as handing out that many takes: what they wait beyond that, they wait in step.
pub(super) fn rows(machine: &Machine, rows: &Rows) -> Timing {
    let threads = rows.threads.clamp(1, THREADS);
    let at_once = (THREADS / threads).min(rows.per_sm).min(rows.rows.div_ceil(machine.left.sms)).max(1);
    let pieces = (rows.read.get().div_ceil(threads * LOAD * rows.loads.max(1)).max(1) * rows.passes.max(1)) as f64;
    let (read, written) = (rows.read.get() as f64, rows.written.get() as f64);
    let each = |bytes: f64| bytes * at_once as f64;
    let cold = each(read * (1.0 - machine.warm_activations) + written);
    let start = machine.sm.block_start.as_secs();
    let (waits, spread) = (pieces * machine.load_latency, (at_once * machine.left.sms) as f64 * start);
    let wait = Stage { steps: 1.0, cuda: (waits - spread).max(0.0), ..Stage::default() };
    let transfer = Stage { steps: 1.0, l2: each(read + written), hbm: cold, ..Stage::default() };
    let class = Class { blocks: rows.rows.div_ceil(at_once), stages: vec![wait, transfer] };
    // What is written still has to arrive.
    let mut timing = Timing::of(machine, &[class], machine.load_latency, machine.load_latency);
    let started = rows.rows.min(rows.per_sm.saturating_mul(machine.left.sms)) as f64 * start + waits;
    if started > timing.blocks {
        (timing.blocks, timing.limit) = (started, Limit::Start);
    }
    timing
}

/// Reads and writes the given amounts.
pub(super) fn pass(machine: &Machine, read: Bytes, written: Bytes) -> Timing {
    let (read, written) = (read.get() as f64, written.get() as f64);
    let share = |bytes: f64| bytes / machine.left.sms as f64;
    let steps = (share(read + written) / STEP).max(1.0);
    let (l2, hbm) = (share(read + written) / steps, share(read * (1.0 - machine.warm_activations) + written) / steps);
    let stage = Stage { steps, l2, hbm, ..Stage::default() };
    let class = Class { blocks: machine.left.sms, stages: vec![stage] };
    // What is written still has to arrive.
    Timing::of(machine, &[class], machine.load_latency, if written == 0.0 { 0.0 } else { machine.load_latency })
}
