//! Kernels on every GPU that is shipped with cycle-level data, far outside what anything was fitted to: never faster than a datasheet allows,
//! never slower for hardware that is better, never blind to what communication takes.

use crate::cli::root;
use octoplane::dtype::Dtype;
use octoplane::gpu::tile::{Machine, simulate};
use octoplane::gpu::{Conditions, Taken};
use octoplane::hardware::GpuSpec;
use octoplane::scenario::load;
use octoplane::units::{Bytes, BytesPerSec};
use octoplane::workload::{
    Contexts, DecodeAttention, Gemm, GroupedGemm, Kernel, Pass, PrefillAttention, RowLayout, Rows,
};

/// A GPU of `hardware/gpus` with `changes` to its file.
fn gpu(name: &str, changes: &[String]) -> GpuSpec {
    let path = root().join(format!("hardware/gpus/{name}.toml"));
    let changes: Vec<_> = changes.iter().map(|change| change.parse().unwrap()).collect();
    load::<GpuSpec>(&path, &changes).unwrap_or_else(|error| panic!("{error}")).value
}

/// Every GPU that says enough of its SMs.
fn gpus() -> Vec<(String, GpuSpec, Machine)> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("hardware/gpus"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let known = names.into_iter().filter_map(|name| {
        let spec = gpu(&name, &[]);
        Machine::new(&spec).map(|machine| (name, spec, machine))
    });
    let known: Vec<_> = known.collect();
    assert!(known.len() >= 10, "{} GPUs", known.len());
    known
}

fn gemm(rows: u64, n: u64, k: u64, dtype: Dtype) -> Gemm {
    Gemm { groups: 1, rows, n, k, operands: dtype, weights: dtype }
}

fn prefill(queries: u64, context: u64, heads: [u64; 2], dims: [u64; 2], operands: Dtype, pass: Pass) -> Kernel {
    let ([heads, key_heads], [key_dim, value_dim]) = (heads, dims);
    let shape = PrefillAttention {
        requests: 3,
        queries,
        context,
        heads,
        key_heads,
        key_dim,
        value_dim,
        latent: false,
        operands,
        pass,
    };
    Kernel::PrefillAttention(shape)
}

/// Kernels of every kind, small, large and odd.
fn kernels() -> Vec<Kernel> {
    let mut all = Vec::new();
    for dtype in [Dtype::Bf16, Dtype::Fp8, Dtype::Fp4] {
        for (rows, n, k) in [(1, 64, 128), (1, 7168, 16384), (77, 2112, 7168), (1023, 4096, 512), (9000, 7168, 18432)] {
            all.push(Kernel::Gemm(gemm(rows, n, k, dtype)));
        }
        for layout in [RowLayout::Contiguous, RowLayout::Masked, RowLayout::Indexed] {
            for rows in [&[3, 0, 17, 1][..], &[200; 32], &[4000, 1, 1, 130]] {
                all.push(Kernel::GroupedGemm(GroupedGemm::new(layout, rows, 4096, 7168, dtype)));
            }
        }
    }
    for dtype in [Dtype::Bf16, Dtype::Fp8] {
        all.push(Kernel::WeightGradient(gemm(4096, 7168, 16384, dtype)));
        for (requests, context) in [(1, 1), (1, 100_000), (5, 700), (64, 4096), (300, 20_000)] {
            let mla = DecodeAttention {
                requests,
                queries: 1,
                contexts: Contexts::Equal(context),
                heads: 128,
                key_dim: 576,
                value_dim: 512,
                cached_values: 576,
                cache: dtype,
            };
            let gqa = DecodeAttention { heads: 64, key_dim: 128, value_dim: 128, cached_values: 2 * 8 * 128, ..mla };
            all.extend([Kernel::DecodeAttention(mla), Kernel::DecodeAttention(gqa)]);
        }
        for pass in [Pass::Serving, Pass::Forward] {
            for (queries, context) in [(1, 0), (128, 3000), (4096, 0)] {
                all.push(prefill(queries, context, [128, 128], [192, 128], dtype, pass));
                all.push(prefill(queries, context, [64, 8], [128, 128], dtype, pass));
            }
        }
    }
    all.push(prefill(2048, 0, [128, 128], [192, 128], Dtype::Bf16, Pass::Backward));
    all.push(prefill(2048, 2048, [64, 8], [128, 128], Dtype::Bf16, Pass::Backward));
    for bytes in [1, 1 << 14, 1 << 30] {
        all.push(Kernel::Elementwise { read: Bytes::new(bytes), written: Bytes::new(bytes) });
    }
    for rows in [1, 5000] {
        all.push(Kernel::Rows(Rows::once(rows, 128, 1, Bytes::new(14_336), Bytes::new(7_168))));
    }
    all
}

fn seconds(machine: &Machine, kernel: &Kernel) -> f64 {
    simulate(machine, kernel).time.as_secs()
}

#[test]
fn no_kernel_beats_the_datasheet() {
    for (name, spec, machine) in gpus() {
        for kernel in kernels() {
            let fastest = match kernel {
                // Attention may multiply in the format of its cache.
                Kernel::DecodeAttention(attention) => {
                    spec.tensor.peak(attention.cache).get().max(spec.tensor.bf16.get())
                }
                _ => spec.tensor.peak(kernel.operands()).get(),
            };
            let arithmetic = kernel.flops().as_f64() / fastest as f64;
            let memory = kernel.bytes().get() as f64 / spec.memory.bandwidth.get() as f64;
            let time = seconds(&machine, &kernel);
            assert!(time >= spec.kernel_launch.as_secs() + arithmetic.max(memory), "{name}: {kernel} takes {time:e} s");
        }
    }
}

#[test]
fn better_hardware_is_never_slower() {
    for (name, spec, machine) in gpus() {
        let (sm, memory) = (spec.sm.as_ref().unwrap(), spec.memory.bandwidth.get() / 1_000_000_000);
        // What changes, and how much slower a library may make it: some choose tiles by rules that know nothing of it.
        let changes = [
            (format!("memory.bandwidth=\"{} GB/s\"", 2 * memory), 1.02),
            (format!("kernel_launch=\"{} ps\"", spec.kernel_launch.as_ps() / 2), 1.0),
            (format!("power=\"{} W\"", 2.0 * spec.power.as_f64()), 1.0),
            (format!("l2.capacity=\"{} MiB\"", 2 * (spec.l2.capacity.get() >> 20)), 1.0),
            (format!("sm.memory_latency=\"{} ps\"", sm.memory_latency.as_ps() / 2), 1.03),
            (format!("sm.shared_memory=\"{} KiB\"", 2 * (sm.shared_memory.get() >> 10)), 1.02),
        ];
        for (change, slack) in changes {
            let better = Machine::new(&gpu(&name, std::slice::from_ref(&change))).unwrap();
            // Attention takes the largest tiles that find room, which a context of a few keys does not fill.
            let padded = |kernel: &Kernel| {
                change.contains("shared_memory")
                    && matches!(kernel, Kernel::DecodeAttention(_) | Kernel::PrefillAttention(_))
            };
            for kernel in kernels().into_iter().filter(|kernel| !padded(kernel)) {
                let (before, after) = (seconds(&machine, &kernel), seconds(&better, &kernel));
                assert!(after <= slack * before, "{name} with {change}: {kernel} takes {before:e} -> {after:e} s");
            }
        }
    }
}

#[test]
fn what_waits_for_memory_waits_longer_when_communication_takes_some() {
    for (name, spec, machine) in gpus() {
        let taken = BytesPerSec::new(spec.memory.achievable().get() / 4);
        let left = machine.under(&Conditions { taken: Taken { sms: 0, memory: taken }, ..Conditions::default() });
        let mut bound = 0;
        for kernel in kernels() {
            let (alone, beside) = (seconds(&machine, &kernel), seconds(&left, &kernel));
            assert!(beside >= 0.97 * alone, "{name}: {kernel} takes {alone:e}, beside communication {beside:e} s");
            let memory = kernel.bytes().get() as f64 / spec.memory.achievable().get() as f64;
            if memory > 0.9 * alone {
                bound += 1;
                assert!(beside > 1.15 * alone, "{name}: {kernel} takes {alone:e}, beside communication {beside:e} s");
            }
        }
        assert!(bound >= 3, "{name}: {bound} kernels wait for memory");
    }
}

#[test]
fn formats_that_tensor_cores_lack_run_as_the_next_wider_one() {
    for (name, spec, machine) in gpus() {
        for (narrow, wide, lacking) in
            [(Dtype::Fp8, Dtype::Bf16, spec.tensor.fp8.is_none()), (Dtype::Fp4, Dtype::Fp8, spec.tensor.fp4.is_none())]
        {
            if !lacking {
                continue;
            }
            for (rows, n, k) in [(1, 7168, 16384), (77, 2112, 7168), (1023, 4096, 512), (9000, 7168, 18432)] {
                let time = |dtype| seconds(&machine, &Kernel::Gemm(gemm(rows, n, k, dtype)));
                let arithmetic = 2.0 * (rows * n * k) as f64 / spec.tensor.peak(wide).get() as f64;
                // Weights of half the size: no slower, and faster only where it is they that take long.
                let ratio = time(narrow) / time(wide);
                assert!(ratio <= 1.001, "{name}: {rows} x {n} x {k} {narrow}: {ratio} times as long as {wide}");
                assert!(arithmetic < 1e-4 || ratio > 0.99, "{name}: {rows} x {n} x {k} {narrow}: {ratio}");
            }
        }
    }
}
