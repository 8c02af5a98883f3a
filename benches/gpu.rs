//! How long simulating kernels takes. Not a test: nothing fails when it is slow.

use criterion::{Criterion, criterion_group, criterion_main};
use octoplane::dtype::Dtype;
use octoplane::gpu::KernelModel;
use octoplane::gpu::tile::{Machine, Tile, simulate};
use octoplane::hardware::GpuSpec;
use octoplane::id::DeviceId;
use octoplane::scenario::load;
use octoplane::workload::{Gemm, GroupedGemm, Kernel, RowLayout};
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

criterion_group!(benches, kernels);
criterion_main!(benches);
