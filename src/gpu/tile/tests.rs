//! Small kernels worked out by hand.

use super::grid::{Class, Limit, Stage, run};
use super::library::{self, Layout};
use super::machine::Machine;
use super::{dense, simulate};
use crate::dtype::Dtype;
use crate::gpu::{Conditions, Taken};
use crate::hardware::{Accumulator, Fp8Gemm, GpuSpec, GroupScaling};
use crate::scenario::load;
use crate::timeline::Bound;
use crate::units::Bytes;
use crate::workload::{Gemm, GroupedGemm, Kernel, RowLayout, Rows};
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
    // A second wave of one block costs half of the time; half a wave behind four costs a tenth.
    let limit = |blocks| run(&h100, &[tile(blocks)], 132).limit(h100.left);
    assert_eq!(
        [limit(1), limit(132), limit(133), limit(264)],
        [Limit::Tail, Limit::Tensor, Limit::Tail, Limit::Tensor]
    );
    assert_eq!(limit(4 * 132 + 66), Limit::Tensor);
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

fn gemm(rows: u64, n: u64, k: u64, dtype: Dtype) -> Kernel {
    Kernel::Gemm(Gemm { groups: 1, rows, n, k, operands: dtype, weights: dtype })
}

fn micros(machine: &Machine, kernel: &Kernel) -> f64 {
    simulate(machine, kernel).time.as_secs() * 1e6
}

#[test]
fn a_copy_takes_launch_latency_and_bandwidth() {
    let h100 = machine("h100_sxm");
    let bytes = Bytes::new(1 << 30);
    let cost = simulate(&h100, &Kernel::Elementwise { read: bytes, written: bytes });
    let expected = h100.launch + 2.0 * h100.load_latency + 2.0 * bytes.get() as f64 / h100.memory;
    assert!((cost.time.as_secs() / expected - 1.0).abs() < 1e-6, "{cost:?} and not {expected}");
    assert_eq!(cost.bound, Bound::Memory);
}

#[test]
fn a_wider_accumulator_alone_does_not_spare_promotion_but_scales_inside_do() {
    // Without a limit of power, which makes up for part of the difference.
    let mut h800 = machine("h800_sxm");
    h800.power = 1e9;
    let kernel = gemm(4096, 7168, 16384, Dtype::Fp8);
    let with = |accumulator, group_scaling| {
        let mut changed = h800.clone();
        changed.sm.mma.accumulator = accumulator;
        changed.sm.mma.group_scaling = group_scaling;
        micros(&changed, &kernel)
    };
    let as_is = micros(&h800, &kernel);
    assert_eq!(with(Accumulator::Fp32, GroupScaling::CudaCores), as_is);
    assert!(with(Accumulator::Fp32, GroupScaling::TensorCores) < 0.95 * as_is);
}

#[test]
fn sms_taken_by_communication_slow_down_what_the_others_do() {
    // Without a limit of power: the SMs that are left may then clock higher.
    let mut h800 = machine("h800_sxm");
    h800.power = 1e9;
    let left = h800.under(&Conditions { taken: Taken { sms: 20, ..Taken::default() }, ..Conditions::default() });
    let (busy, memory) = (gemm(8192, 7168, 7168, Dtype::Bf16), gemm(16, 7168, 16384, Dtype::Bf16));
    assert!(micros(&left, &busy) > 1.1 * micros(&h800, &busy));
    assert!(micros(&left, &memory) < 1.05 * micros(&h800, &memory));
}

#[test]
fn empty_groups_are_walked_past_and_touched_ones_read() {
    let h100 = machine("h100_sxm");
    let decode = |rows: &[u64]| {
        micros(&h100, &Kernel::GroupedGemm(GroupedGemm::new(RowLayout::Masked, rows, 4096, 7168, Dtype::Fp8)))
    };
    let (one, some, all) = (decode(&[8]), decode(&[8, 0, 0, 0]), decode(&[8, 8, 8, 8]));
    assert!((some - one - 3.0 * h100.sm.l2_latency.as_secs() * 1e6).abs() < 1e-3);
    assert!(all > 2.5 * one);
}

#[test]
fn loads_run_ahead_between_tiles_where_blocks_are_persistent() {
    // Without a limit of power, which makes up for part of the difference.
    let mut h100 = machine("h100_sxm");
    h100.power = 1e9;
    let mut slower = h100.clone();
    slower.sm.handover = h100.sm.handover + h100.sm.handover;
    let dense = |machine: &Machine, rows, dtype| micros(machine, &gemm(rows, 7168, 16384, dtype));
    // A product that waits for memory hides what lies between its tiles, one that waits for tensor cores does not.
    assert_eq!(dense(&slower, 64, Dtype::Fp8), dense(&h100, 64, Dtype::Fp8));
    assert!(dense(&slower, 4096, Dtype::Fp8) > 1.01 * dense(&h100, 4096, Dtype::Fp8));
    // A block of the vendor's library computes one tile: its loads wait too.
    assert!(dense(&slower, 64, Dtype::Bf16) > dense(&h100, 64, Dtype::Bf16));
}

#[test]
fn a_weight_gradient_waits_for_the_sums_that_stand_in_memory() {
    let h800 = machine("h800_sxm");
    let Kernel::Gemm(plain) = gemm(7168, 16384, 4096, Dtype::Fp8) else { panic!("a product") };
    // Four bytes per value are read and nothing else is done meanwhile.
    let sums = 7168.0 * 16384.0 * 4.0 / h800.memory * 1e6;
    let extra = micros(&h800, &Kernel::WeightGradient(plain)) - micros(&h800, &Kernel::Gemm(plain));
    assert!(extra > sums, "{extra} us more, of which {sums} us for sums");
}

#[test]
fn blocks_are_spread_and_handed_out_one_by_one() {
    let h100 = machine("h100_sxm");
    let rows = |rows| micros(&h100, &Kernel::Rows(Rows::once(rows, 128, 1, Bytes::new(2048), Bytes::new(1024))));
    let start = h100.sm.block_start.as_secs() * 1e6;
    // One block per SM: no more than one block alone, but for handing them out.
    assert!(rows(132) - rows(1) < 132.0 * start + 0.01);
    let many = 200_000;
    assert!(rows(many) > many as f64 * start);
}

#[test]
fn narrow_experts_are_found_by_a_table_and_stream_their_weights() {
    for (name, dtype) in [("h200_sxm", Dtype::Fp8), ("b200", Dtype::Fp4)] {
        let gpu = machine(name);
        let time = |layout| {
            let kernel = Kernel::GroupedGemm(GroupedGemm::new(layout, &[4; 256], 512, 7168, dtype));
            (micros(&gpu, &kernel), kernel.bytes().get() as f64 / gpu.memory * 1e6)
        };
        let ((masked, _), (indexed, least)) = (time(RowLayout::Masked), time(RowLayout::Indexed));
        assert!(indexed < masked, "{name}: {indexed} us, searched {masked} us");
        assert!(indexed < 1.25 * least, "{name}: {indexed} us, memory alone {least} us");
    }
}

/// Shapes and GPUs at large: never faster than the roofline at peak rates, and larger is never much faster.
#[test]
fn time_follows_work_and_never_beats_peak_rates() {
    let sizes = [1, 7, 64, 129, 300, 1024, 5000];
    for (name, dtypes) in [
        ("h20", vec![Dtype::Bf16, Dtype::Fp8]),
        ("h200_sxm", vec![Dtype::Bf16, Dtype::Fp8]),
        ("gb300", vec![Dtype::Bf16, Dtype::Fp8, Dtype::Fp4]),
    ] {
        let whole = machine(name);
        for sms in [whole.sms, whole.sms / 2] {
            let taken = Taken { sms: whole.sms - sms, ..Taken::default() };
            let gpu = whole.under(&Conditions { taken, ..Conditions::default() });
            for &dtype in &dtypes {
                for (m, n) in sizes.iter().flat_map(|&m| sizes.iter().map(move |&n| (m, n))) {
                    let mut before = 0.0;
                    for k in [128, 512, 4096, 16384] {
                        let kernel = gemm(m, n, k, dtype);
                        let time = micros(&gpu, &kernel) / 1e6;
                        let least = (kernel.flops().as_f64() / (gpu.peak(dtype) * sms as f64))
                            .max(kernel.bytes().get() as f64 / (gpu.memory * 1.001));
                        assert!(time >= least, "{name}, {sms} SMs: {kernel} takes {time} s, at least {least} s");
                        assert!(time >= before, "{name}, {sms} SMs: {kernel} takes {time} s, a smaller one {before} s");
                        before = time;
                    }
                }
            }
        }
    }
}

/// Along the rows, time grows, but for steps where the library changes its tiles.
#[test]
fn more_rows_are_never_much_faster() {
    for (name, dtype) in
        [("h100_sxm", Dtype::Bf16), ("h100_sxm", Dtype::Fp8), ("b200", Dtype::Fp8), ("b200", Dtype::Fp4)]
    {
        let gpu = machine(name);
        for (n, k) in [(2112, 7168), (7168, 2048)] {
            let mut slowest = 0.0_f64;
            let mut last = 0.0_f64;
            for rows in (1..6000).step_by(61) {
                let kernel = gemm(rows, n, k, dtype);
                let time = micros(&gpu, &kernel);
                assert!(
                    time > 0.65 * slowest,
                    "{name}: {rows} x {n} x {k} takes {time} us, a smaller one {slowest} us"
                );
                assert!(last == 0.0 || time < 2.2 * last, "{name}: {rows} x {n} x {k} jumps from {last} to {time} us");
                slowest = slowest.max(time);
                last = time;
            }
        }
    }
}

/// Newer kernels of a library choose among more tiles than older ones, so that no shape is much slower with them, on GPUs with fast and with slow
/// tensor cores.
#[test]
fn a_newer_generation_of_a_library_is_not_slower() {
    for name in ["h100_sxm", "h800_sxm", "h200_sxm", "h20"] {
        let (new, old) = (machine(name), with_fp8(name, Fp8Gemm::Cutlass128x128));
        assert_eq!(new.libraries.fp8_gemm, Fp8Gemm::DeepgemmSm90);
        for (n, k) in
            [(1536, 7168), (2112, 7168), (24576, 1536), (32768, 512), (7168, 16384), (4096, 7168), (7168, 2048)]
        {
            for rows in [1, 16, 64, 128, 200, 512, 768, 1024, 1792, 2048, 2305, 2561, 4096, 6144, 8192, 16384] {
                let kernel = gemm(rows, n, k, Dtype::Fp8);
                let (after, before) = (micros(&new, &kernel), micros(&old, &kernel));
                assert!(after < 1.1 * before, "{name}: {kernel} takes {after} us, {before} us with tiles of 128 x 128");
            }
        }
    }
}

/// A GPU with another library for FP8.
fn with_fp8(name: &str, library: Fp8Gemm) -> Machine {
    let mut machine = machine(name);
    machine.libraries.fp8_gemm = library;
    machine
}

/// The tiles that a library takes depend on its name and on what kernels need, not on where scales are applied or on the accumulator.
#[test]
fn numerics_of_the_hardware_select_no_software() {
    for name in ["h800_sxm", "b200"] {
        let gpu = machine(name);
        let tiles = |gpu: &Machine| -> Vec<_> {
            let shape = |rows| {
                dense(gpu, &Gemm { groups: 1, rows, n: 7168, k: 2048, operands: Dtype::Fp8, weights: Dtype::Fp8 })
            };
            [64, 700, 4096].map(|rows| library::tiling(gpu, &shape(rows), Layout::Even)).into()
        };
        let mut other = gpu.clone();
        other.sm.mma.group_scaling = match gpu.sm.mma.group_scaling {
            GroupScaling::CudaCores => GroupScaling::TensorCores,
            GroupScaling::TensorCores => GroupScaling::CudaCores,
        };
        other.sm.mma.accumulator = Accumulator::Fp32;
        assert_eq!(tiles(&gpu), tiles(&other), "{name}");
        let mut named = gpu.clone();
        named.libraries.fp8_gemm = Fp8Gemm::Cutlass128x128;
        assert_ne!(tiles(&gpu), tiles(&named), "{name}");
    }
}

/// An H20 multiplies FP8 at 296 TFLOP/s at most; no kernel for large products stays below four fifths of that.
#[test]
fn large_products_on_a_gpu_with_slow_tensor_cores_reach_its_peak() {
    let h20 = machine("h20");
    let time = micros(&h20, &gemm(16384, 2112, 7168, Dtype::Fp8));
    let reached = 2.0 * 16384.0 * 2112.0 * 7168.0 / time * 1e-6;
    assert!((230.0..296.0).contains(&reached), "{reached} TFLOP/s");
}

/// Rules that the sources of DeepGEMM and FlashInfer publish, followed by hand for B200 (148 SMs).
#[test]
fn published_rules_choose_these_tiles() {
    let b200 = machine("b200");
    let tile = |rows, n, k, dtype| {
        let Kernel::Gemm(gemm) = gemm(rows, n, k, dtype) else { unreachable!("a dense product") };
        let chosen = library::tiling(&b200, &dense(&b200, &gemm), Layout::Even);
        [chosen.rows, chosen.columns, chosen.share_rows, chosen.share_columns]
    };
    // 56 tiles of 128 outputs, in pairs: the fewest rows that do not need a second wave.
    assert_eq!(tile(16, 7168, 16384, Dtype::Fp8), [16, 128, 2, 1]);
    // Four row tiles and 32 columns of 224: 128 blocks in one wave, where 128 rows of outputs would need two or leave more idle.
    assert_eq!(tile(512, 7168, 16384, Dtype::Fp8), [128, 224, 1, 2]);
    // FP4 takes for 129 to 255 rows what it likes for 128: 112 tiles of 64 columns, in clusters of four.
    assert_eq!(tile(128, 7168, 16384, Dtype::Fp4), [128, 64, 4, 1]);
    assert_eq!(tile(255, 7168, 16384, Dtype::Fp4), [128, 64, 4, 1]);
    assert_eq!(tile(256, 7168, 16384, Dtype::Fp4), [128, 128, 1, 1]);
}

/// Experts that nobody chose.
#[test]
fn groups_without_rows_take_no_more_than_their_launch() {
    for (name, dtype) in
        [("h100_sxm", Dtype::Fp8), ("b200", Dtype::Fp8), ("b200", Dtype::Fp4), ("a100_sxm_80gb", Dtype::Bf16)]
    {
        let gpu = machine(name);
        for layout in [RowLayout::Masked, RowLayout::Contiguous, RowLayout::Indexed] {
            let none = Kernel::GroupedGemm(GroupedGemm::new(layout, &[0; 8], 4096, 7168, dtype));
            let one = Kernel::GroupedGemm(GroupedGemm::new(layout, &[1, 0, 0, 0, 0, 0, 0, 0], 4096, 7168, dtype));
            assert!(micros(&gpu, &none) < micros(&gpu, &one), "{name} {layout:?}");
        }
    }
}

/// GPUs that nothing was fitted to, beside those that something was: what a datasheet promises is reached as far as such GPUs
/// reach it, and not further.
#[test]
fn sustained_rates_are_plausible_parts_of_datasheet_rates() {
    for name in ["a100_sxm_80gb", "h20", "h100_sxm", "h800_sxm", "h200_sxm", "b200", "b300", "gb200", "gb300"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("hardware/gpus/{name}.toml"));
        let spec: GpuSpec = load(&path, &[]).unwrap().value;
        let gpu = Machine::new(&spec).unwrap();
        let large = gemm(16384, 16384, 16384, Dtype::Bf16);
        let rate = large.flops().as_f64() / (micros(&gpu, &large) / 1e6) / spec.tensor.peak(Dtype::Bf16).get() as f64;
        assert!((0.55..0.95).contains(&rate), "{name}: {rate} of the dense peak");
        // Few rows: weights of 1.9 GB are read once. Compute is no excuse, not even on an H20.
        let weights = gemm(16, 28672, 32768, Dtype::Bf16);
        let bandwidth =
            weights.bytes().get() as f64 / (micros(&gpu, &weights) / 1e6) / spec.memory.bandwidth.get() as f64;
        assert!((0.7..0.95).contains(&bandwidth), "{name}: {bandwidth} of the memory's bandwidth");
    }
}
