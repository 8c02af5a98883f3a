//! Small kernels worked out by hand.

use super::grid::{Class, Limit, Stage, run};
use super::machine::Machine;
use crate::hardware::GpuSpec;
use crate::scenario::load;
use std::path::Path;

pub(super) fn machine(name: &str) -> Machine {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("hardware/gpus/{name}.toml"));
    let spec: GpuSpec = load(&path, &[]).unwrap().value;
    Machine::new(&spec).unwrap()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs()
}

/// Ten steps of a microsecond on the tensor cores.
fn tile(blocks: u64) -> Class {
    Class { blocks, stages: vec![Stage { steps: 10.0, tensor: 1e-6, ..Stage::default() }] }
}

#[test]
fn tiles_come_in_waves() {
    let h100 = machine("h100_sxm");
    let seconds = |blocks| run(&h100, &[tile(blocks)], 132).seconds;
    assert!(close(seconds(1), 10e-6));
    assert!(close(seconds(132), 10e-6));
    assert!(close(seconds(133), 20e-6));
    assert!(close(seconds(13_200), 1e-3));
    assert_eq!(run(&h100, &[tile(133)], 132).limit(), Limit::Tensor);
    assert_eq!(run(&h100, &[tile(1)], 132).limit(), Limit::Tail);
}

#[test]
fn uneven_blocks_fill_the_sms_that_fall_free() {
    let h100 = machine("h100_sxm");
    let short = Class { blocks: 3, stages: vec![Stage { steps: 5.0, tensor: 1e-6, ..Stage::default() }] };
    // Two SMs: a long block beside two short ones, then the third short one.
    assert!(close(run(&h100, &[tile(1), short], 2).seconds, 15e-6));
}

#[test]
fn memory_is_shared_by_what_is_in_flight() {
    let h100 = machine("h100_sxm");
    let copy = |blocks| Class { blocks, stages: vec![Stage { steps: 4.0, hbm: 1e6, ..Stage::default() }] };
    // One SM alone is limited by what it has in flight, all of them by the memory.
    assert!(close(run(&h100, &[copy(1)], 132).seconds, 4e6 / h100.sm_memory));
    assert!(close(run(&h100, &[copy(132)], 132).seconds, 132.0 * 4e6 / h100.memory));
    // Who needs less than an equal share is not slowed down by the others.
    let light = Class { blocks: 1, stages: vec![Stage { steps: 1.0, tensor: 1e-3, hbm: 1e6, ..Stage::default() }] };
    let both = run(&h100, &[light, copy(131)], 132);
    assert!(close(both.seconds, 1e-3), "{both:?}");
}

#[test]
fn latency_is_hidden_by_buffers() {
    let h100 = machine("h100_sxm");
    let few = Class { blocks: 1, stages: vec![Stage { steps: 8.0, buffers: 2.0, hbm: 128.0, ..Stage::default() }] };
    assert!(close(run(&h100, &[few], 132).seconds, 4.0 * h100.latency));
}
