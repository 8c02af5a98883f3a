//! How long the parts of a run take. Not a test: nothing fails when it is slow.

use criterion::{Criterion, criterion_group, criterion_main};
use octoplane::engine;
use octoplane::gpu::Instant;
use octoplane::network::Analytic;
use octoplane::run::simulate;
use octoplane::scenario::{Loaded, Scenario, load};
use octoplane::topology::{TopologySpec, build_cluster, build_fabric, measure_spec};
use octoplane::units::Bytes;
use octoplane::workload::{Collective, CollectiveWorkload};
use std::hint::black_box;
use std::path::{Path, PathBuf};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn scenario(name: &str) -> Loaded<Scenario> {
    load(&file(name), &[]).expect("a shipped scenario loads")
}

fn runs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("run");
    group.sample_size(20);
    for name in ["paper/nvl72_decode", "paper/ib_decode", "h800_ep128_decode", "training/v3_2048_h800_mpft"] {
        let path = format!("scenarios/{name}.toml");
        group.bench_function(format!("load {name}"), |b| b.iter(|| black_box(scenario(&path))));
        let loaded = scenario(&path);
        group.bench_function(format!("simulate {name}"), |b| b.iter(|| black_box(simulate(&loaded.value))));
    }
    group.finish();
}

fn all_to_all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine");
    group.sample_size(20);
    let loaded = scenario("scenarios/collectives/all_to_all_h800.toml");
    let spec = &loaded.value;
    let cluster = build_cluster(&spec.hardware, 16, spec.topology.as_ref()).expect("a shipped cluster is built");
    group.bench_function("all-to-all of 128 GPUs, 16256 sends", |b| {
        b.iter(|| {
            let bytes = Bytes::new(128 << 20);
            let mut workload = CollectiveWorkload::new(Collective::AllToAll, cluster.gpus.clone(), bytes);
            let mut network = Analytic::new(&cluster.topology);
            black_box(
                engine::run(&mut workload, &mut Instant, &mut network, &cluster.topology)
                    .expect("a collective can be done"),
            )
        });
    });
    group.finish();
}

fn fabrics(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("topology");
    group.sample_size(10);
    for name in ["table3/ft3_65536", "table3/dragonfly_261632"] {
        let loaded: Loaded<TopologySpec> = load(&file(&format!("topologies/{name}.toml")), &[]).expect("it loads");
        group.bench_function(format!("build {name}"), |b| b.iter(|| black_box(build_fabric(&loaded.value))));
        group.bench_function(format!("measure {name}"), |b| b.iter(|| black_box(measure_spec(&loaded.value))));
    }
    group.finish();
}

criterion_group!(benches, runs, all_to_all, fabrics);
criterion_main!(benches);
