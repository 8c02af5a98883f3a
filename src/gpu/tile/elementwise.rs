//! Passes over memory with little arithmetic: casts, norms, activations, permutations, optimizer steps, sampling.
//!
//! Every SM streams an equal part: it reads ahead as much as it can have in flight, and writes behind.

use super::Timing;
use super::grid::{Class, Stage};
use super::machine::Machine;
use crate::units::Bytes;

/// Bytes that an SM moves per step of its loop: 1024 threads with 16 bytes each.
const STEP: f64 = 16_384.0;

/// Reads and writes the given amounts.
pub(super) fn pass(machine: &Machine, read: Bytes, written: Bytes) -> Timing {
    let bytes = read.get() as f64 * (1.0 - machine.warm) + written.get() as f64;
    let share = bytes / machine.sms as f64;
    let stage = Stage { steps: (share / STEP).max(1.0), l2: share.min(STEP), hbm: share.min(STEP), ..Stage::default() };
    let class = Class { blocks: machine.sms, stages: vec![stage] };
    // What is written still has to arrive.
    Timing::of(machine, &[class], if written == Bytes::ZERO { 0.0 } else { machine.latency })
}
