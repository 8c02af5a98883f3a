//! How long simulating kernels takes. Not a test: nothing fails when it is slow.

use criterion::{Criterion, criterion_group, criterion_main};
use octoplane::dtype::Dtype;
use octoplane::gpu::KernelModel;
use octoplane::gpu::tile::{Machine, Tile, simulate};
use octoplane::hardware::GpuSpec;
use octoplane::id::DeviceId;
use octoplane::run::simulate as simulate_scenario;
use octoplane::scenario::{Scenario, load};
use octoplane::timeline::Span;
use octoplane::workload::{Gemm, GroupedGemm, Kernel, RowLayout, Work};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

fn machine(name: &str) -> Machine {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("hardware/gpus/{name}.toml"));
    let spec: GpuSpec = load(&path, &[]).expect("a shipped GPU loads").value;
    Machine::new(&spec).expect("its SM is described")
}

fn gemm(rows: u64, dtype: Dtype) -> Kernel {
    Kernel::Gemm(Gemm { groups: 1, rows, n: 7168, k: 16384, operands: dtype, weights: dtype })
}

fn kernels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gpu");
    let (h800, b200) = (machine("h800_sxm"), machine("b200"));
    let loads: Vec<u64> = (0..32).map(|expert| 40 * expert % 97).collect();
    let experts = Kernel::GroupedGemm(GroupedGemm::new(RowLayout::Masked, &loads, 4096, 7168, Dtype::Fp8));
    for (name, gpu, kernel) in [
        ("cold BF16 product on H800", &h800, gemm(4096, Dtype::Bf16)),
        ("cold FP8 product on H800", &h800, gemm(4096, Dtype::Fp8)),
        ("cold FP4 product on B200", &b200, gemm(4096, Dtype::Fp4)),
        ("cold experts on H800", &h800, experts),
    ] {
        group.bench_function(name, |b| b.iter(|| black_box(simulate(gpu, black_box(&kernel)))));
    }
    let mut model = Tile::new(h800, BTreeMap::new());
    let kernel = gemm(4096, Dtype::Bf16);
    group.bench_function("remembered product", |b| {
        b.iter(|| black_box(model.cost(DeviceId::new(0), black_box(&kernel))));
    });
    group.finish();
}

/// The kernels of a layer in the middle of a decode step, both micro-batches.
fn layer(scenario: &str) -> Vec<Kernel> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(scenario);
    let scenario = load::<Scenario>(&path, &[]).expect("a shipped scenario loads").value;
    let outcome = simulate_scenario(&scenario).expect("a shipped scenario runs");
    let layer = outcome.timeline.spans().map(|span| span.label.layer).max().expect("a step has layers") / 2;
    let kernel = |span: Span| match span.work {
        Work::Compute(kernel) if span.label.layer == layer => Some(kernel),
        _ => None,
    };
    outcome.timeline.spans().filter_map(kernel).collect()
}

fn layers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("layer");
    let h800 = machine("h800_sxm");
    let kernels = layer("h800_ep128_decode.toml");
    let all = |model: &mut Tile| {
        for kernel in &kernels {
            black_box(model.cost(DeviceId::new(0), black_box(kernel)));
        }
    };
    let named = |what: &str| format!("{what} DeepSeek-V3 decode layer of {} kernels on H800", kernels.len());
    group.bench_function(named("cold"), |b| b.iter(|| all(&mut Tile::new(h800.clone(), BTreeMap::new()))));
    let mut model = Tile::new(h800.clone(), BTreeMap::new());
    group.bench_function(named("remembered"), |b| b.iter(|| all(&mut model)));
    group.finish();
}

criterion_group!(benches, kernels, layers);
criterion_main!(benches);
