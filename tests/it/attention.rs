//! Attention at tile fidelity: against sums done by hand, and against what must hold for every shape on every GPU.

use octoplane::dtype::Dtype;
use octoplane::gpu::tile::Attention;
use octoplane::hardware::{FlashPhaseSpec, GpuSpec, MlaLibrary};
use octoplane::scenario::load;
use octoplane::workload::{Contexts, DecodeAttention, Kernel, Pass, PrefillAttention};
use std::path::Path;

fn gpu(name: &str) -> GpuSpec {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("hardware/gpus/{name}.toml"));
    load::<GpuSpec>(&path, &[]).unwrap_or_else(|error| panic!("{error}")).value
}

fn attention(name: &str) -> Attention {
    Attention::new(&gpu(name)).unwrap()
}

/// Attention of DeepSeek-V3 over its latent in a decode step.
fn mla(requests: u64, context: u64, heads: u64, cache: Dtype) -> DecodeAttention {
    let contexts = Contexts::Equal(context);
    DecodeAttention { requests, queries: 1, contexts, heads, key_dim: 576, value_dim: 512, cached_values: 576, cache }
}

/// Attention of DeepSeek-V3 with keys and values of their own per head.
fn full(requests: u64, queries: u64, heads: u64, pass: Pass) -> PrefillAttention {
    PrefillAttention {
        requests,
        queries,
        context: 0,
        heads,
        key_heads: heads,
        key_dim: 192,
        value_dim: 128,
        latent: false,
        operands: Dtype::Bf16,
        pass,
    }
}

/// The same over the latent.
fn latent(requests: u64, queries: u64, heads: u64) -> PrefillAttention {
    let over = full(requests, queries, heads, Pass::Serving);
    PrefillAttention { key_heads: 1, key_dim: 576, value_dim: 512, latent: true, ..over }
}

/// The calibrated constants of a GPU as numbers: the sums below state how they add up.
struct Constants {
    score: f64,
    rescale: f64,
    port: f64,
    clock: f64,
    prefill: (f64, f64),
    decode: (f64, f64),
    launch: f64,
}

impl Constants {
    fn of(name: &str) -> Constants {
        let spec = gpu(name);
        let attention = spec.attention.unwrap();
        let boost = spec.boost_clock.get() as f64;
        let phase = |phase: &FlashPhaseSpec| (phase.call.as_secs(), phase.block.as_secs());
        Constants {
            score: f64::from(attention.score_operations.get()),
            rescale: f64::from(attention.rescale_operations.get()),
            port: f64::from(attention.l2_bytes_per_cycle.get()) * boost,
            clock: attention.clock.get() * boost,
            prefill: phase(&attention.prefill),
            decode: phase(&attention.decode),
            launch: spec.kernel_launch.as_secs(),
        }
    }
}

fn close(simulated: f64, by_hand: f64) {
    assert!((simulated / by_hand - 1.0).abs() < 1e-4, "simulated {simulated:e} s, by hand {by_hand:e} s");
}

/// The fourth-power mean of two activities that overlap.
fn hidden(a: f64, b: f64) -> f64 {
    let fourth = |x: f64| x * x * x * x;
    (fourth(a) + fourth(b)).sqrt().sqrt()
}

#[test]
fn one_tile_of_a_latent_on_hopper_is_products_then_softmax() {
    // 64 heads of one query against one key: one block of 64 rows, one tile of 64 keys.
    let time = attention("h100_sxm").prefill(&latent(1, 1, 64)).time.as_secs();
    let hopper = Constants::of("h100_sxm");
    let macs = 989e12 / (2.0 * 132.0 * 1.83e9);
    let softmax = 64.0 * 64.0 * hopper.score / 128.0 + 64.0 * 512.0 * hopper.rescale / 256.0;
    let cycles = 64.0 * 64.0 * (576.0 + 512.0) / macs + softmax;
    let tile = hidden(cycles / hopper.clock, 64.0 * 576.0 * 2.0 / hopper.port);
    let rows = 64.0 * (576.0 + 512.0) * 2.0 / hopper.port;
    close(time, hopper.prefill.0 + hopper.prefill.1 + rows + tile);
}

#[test]
fn a_block_more_than_a_wave_starts_a_second_wave() {
    let (attention, call) = (attention("h100_sxm"), Constants::of("h100_sxm").prefill.0);
    let time = |requests| attention.prefill(&latent(requests, 1, 64)).time.as_secs() - call;
    close(time(133), time(132) + time(1));
    close(time(264), 2.0 * time(132));
    // Fewer blocks share the same bandwidth.
    assert!(time(66) < time(132));
}

#[test]
fn two_warp_groups_of_hopper_hide_products_behind_softmax() {
    // One head, 128 queries: one block of two warp groups, one tile of 128 keys.
    let hopper = Constants::of("h800_sxm");
    let time = attention("h800_sxm").prefill(&full(1, 128, 1, Pass::Forward)).time.as_secs();
    let macs = 989e12 / (2.0 * 132.0 * 1.83e9);
    let products = 64.0 * 128.0 * 320.0 / macs;
    let softmax = 64.0 * 128.0 * hopper.score / 128.0 + 64.0 * 128.0 * hopper.rescale / 128.0;
    let cycles: f64 = f64::max(2.0 * products, products + softmax);
    let tile = hidden(cycles / hopper.clock, 128.0 * 320.0 * 2.0 / hopper.port);
    close(time, hopper.launch + hopper.prefill.1 + 128.0 * 320.0 * 2.0 / hopper.port + tile);
}

#[test]
fn a_few_queries_on_a_long_cache_are_split_over_the_sms_in_serving() {
    for name in GPUS {
        let (spec, attention) = (gpu(name), attention(name));
        // 64 new positions after 32k, two heads: two blocks.
        let time = |queries, pass| {
            let kernel = PrefillAttention { context: 32768, ..full(1, queries, 2, pass) };
            attention.prefill(&kernel).time.as_secs()
        };
        assert!(time(64, Pass::Serving) < 0.2 * time(64, Pass::Forward), "{name}: {:e}", time(64, Pass::Serving));
        // As long as SMs are idle, more blocks cost little; kernels for more than 64 rows do not split on older GPUs.
        let splits = !["Ampere", "Ada Lovelace"].contains(&spec.architecture.as_str());
        assert!(!splits || time(256, Pass::Serving) < 3.0 * time(64, Pass::Serving), "{name}");
        let floor = 2.0 * 32768.0 * 320.0 * 2.0 / spec.memory.achievable().get() as f64;
        assert!(time(64, Pass::Serving) > floor, "{name}");
    }
}

#[test]
fn heads_are_packed_where_that_fills_blocks() {
    // 128 queries of 64 heads on 8 heads of keys: a block of 256 rows on Blackwell takes two heads.
    let blackwell = attention("b200");
    let time = |queries| {
        let kernel = PrefillAttention {
            context: 32768,
            key_heads: 8,
            key_dim: 128,
            value_dim: 128,
            ..full(64, queries, 64, Pass::Serving)
        };
        blackwell.prefill(&kernel).time.as_secs()
    };
    assert!(time(128) < 1.01 * time(129) && time(64) < 0.6 * time(128), "{:e} {:e}", time(128), time(129));
}

#[test]
fn decode_on_blackwell_halves_the_value_columns_between_two_sms() {
    // 148 requests of 128 heads and one tile of keys each: two blocks per request, two waves.
    let time = attention("b200").decode(&mla(148, 128, 128, Dtype::Bf16)).time.as_secs();
    let macs = 2250e12 / (2.0 * 148.0 * 1.86e9);
    let blackwell = Constants::of("b200");
    let softmax = 128.0 * 128.0 * blackwell.score / 256.0 + 128.0 * 256.0 * blackwell.rescale / 128.0;
    let cycles = f64::max(128.0 * 128.0 * 576.0 / macs, softmax) + 128.0 * 128.0 * 256.0 / macs;
    let (port, hbm) = (blackwell.port, gpu("b200").memory.achievable().get() as f64 / 148.0);
    let (keys, half) = (128.0 * 576.0 * 2.0, 0.5);
    let load = f64::max(keys * half / hbm, keys * half / port);
    let rows = f64::max(128.0 * (576.0 + 512.0) * 2.0 * half / hbm, 128.0 * (576.0 + 256.0) * 2.0 / port);
    let (call, block) = blackwell.decode;
    close(time, call + 2.0 * (block + rows + hidden(cycles / blackwell.clock, load)));
}

#[test]
fn few_heads_read_the_cache_at_the_speed_of_memory() {
    for name in ["h100_sxm", "h200_sxm", "b200"] {
        let spec = gpu(name);
        let kernel = mla(256, 16384, 16, Dtype::Bf16);
        let time = attention(name).decode(&kernel).time.as_secs();
        let bytes = Kernel::DecodeAttention(kernel).bytes().get() as f64;
        let ratio = time / (bytes / spec.memory.achievable().get() as f64);
        assert!((1.0..1.3).contains(&ratio), "{name}: {ratio:.2} of the time that memory takes");
    }
}

/// What a cache in FP8 costs against one in BF16 is the library's on Hopper: converted before, widened inside, or multiplied as it is.
#[test]
fn an_fp8_cache_costs_what_the_library_does_with_it() {
    let ratio = |name: &str, library: MlaLibrary| {
        let attention = Attention::with(&gpu(name), library).unwrap();
        let time = |cache| attention.decode(&mla(128, 8192, 128, cache)).time.as_secs();
        time(Dtype::Fp8) / time(Dtype::Bf16)
    };
    let named = |library| ratio("h100_sxm", library);
    let [converted, widened, multiplied] =
        [MlaLibrary::FlashAttention3, MlaLibrary::Flashmla, MlaLibrary::Trtllm].map(named);
    assert!(converted > 2.0, "{converted}");
    assert!((0.7..1.1).contains(&widened), "{widened}");
    assert!(multiplied < 0.7, "{multiplied}");
    // What the GPU's own file names converts nothing before.
    let own = attention("h100_sxm").decode(&mla(128, 8192, 128, Dtype::Fp8));
    assert_eq!(
        own,
        Attention::with(&gpu("h100_sxm"), MlaLibrary::Flashmla).unwrap().decode(&mla(128, 8192, 128, Dtype::Fp8))
    );
    assert!(ratio("b200", MlaLibrary::Trtllm) < 0.7);
}

/// Two teams of warps on one SM: cycles of a tile for both, by products and softmax of one.
fn taking_turns(products: f64, softmax: f64) -> f64 {
    2.0 * (products * products + products * softmax + softmax * softmax) / (products + softmax)
}

#[test]
fn warps_of_ampere_do_products_and_softmax_in_turn() {
    // One head, 128 queries: one block alone on an SM, two tiles of 64 keys.
    let ampere = Constants::of("a100_sxm_80gb");
    let time = |requests| attention("a100_sxm_80gb").prefill(&full_128(requests, 128, 1)).time.as_secs();
    let macs = 312e12 / (2.0 * 108.0 * 1.41e9);
    let products = 128.0 * 64.0 * 256.0 / macs;
    let softmax = (128.0 * 64.0 * ampere.score + 128.0 * 128.0 * ampere.rescale) / 64.0;
    let hbm = gpu("a100_sxm_80gb").memory.achievable().get() as f64;
    let block = |cycles: f64, port: f64, blocks: f64| {
        let tile = hidden(cycles / ampere.clock, 64.0 * 256.0 * 2.0 / port);
        let rows = 128.0 * 256.0 * 2.0;
        ampere.prefill.1 + f64::max(rows / port, rows * blocks / hbm) + 2.0 * tile
    };
    close(time(1), ampere.launch + block(products + softmax, ampere.port, 1.0));
    // Twice as many blocks as SMs: two on each, which share its port.
    close(time(216), ampere.launch + block(taking_turns(products, softmax), ampere.port / 2.0, 216.0));
    assert!(taking_turns(products, softmax) < 2.0 * (products + softmax));
}

/// Attention with 128 values per head, in training.
fn full_128(requests: u64, queries: u64, heads: u64) -> PrefillAttention {
    PrefillAttention { key_dim: 128, value_dim: 128, ..full(requests, queries, heads, Pass::Forward) }
}

#[test]
fn long_sequences_reach_the_published_part_of_an_a100() {
    // arXiv 2307.08691, figures 4 and 5, without mask: 61 and 73 % of 312 TFLOP/s for heads of 64 and 128 values; figure 6, gradients:
    // up to 63 %. A causal mask costs one tile of 64 to 128 keys at the diagonal, which is 1 % of 16k.
    let share = |dim, pass| {
        let kernel = PrefillAttention { key_dim: dim, value_dim: dim, pass, ..full_128(1, 16384, 2048 / dim) };
        let time = attention("a100_sxm_80gb").prefill(&kernel).time.as_secs();
        Kernel::PrefillAttention(kernel).flops().as_f64() / time / 312e12
    };
    for (dim, pass, published) in [(64, Pass::Forward, 0.61), (128, Pass::Forward, 0.73), (128, Pass::Backward, 0.63)] {
        let share = share(dim, pass);
        assert!((share / published - 1.0).abs() < 0.06, "{dim} values, {pass:?}: {share:.3}, published {published}");
    }
}

#[test]
fn a_newer_gpu_is_not_slower_in_attention() {
    for (older, newer) in [("a100_sxm_80gb", "h100_sxm"), ("rtx_4090", "h100_sxm"), ("h100_sxm", "h200_sxm")] {
        let (older, newer) = (attention(older), attention(newer));
        for (requests, context) in [(1, 1), (1, 32768), (32, 1024), (64, 8192), (512, 700)] {
            let gqa = DecodeAttention {
                key_dim: 128,
                value_dim: 128,
                cached_values: 2 * 8 * 128,
                ..mla(requests, context, 64, Dtype::Bf16)
            };
            for kernel in [mla(requests, context, 128, Dtype::Bf16), mla(requests, context, 16, Dtype::Bf16), gqa] {
                let (before, after) = (older.decode(&kernel).time, newer.decode(&kernel).time);
                assert!(after.as_secs() < 1.03 * before.as_secs(), "{kernel:?}: {before:?} -> {after:?}");
            }
            for pass in [Pass::Serving, Pass::Forward, Pass::Backward] {
                let kernel = full(requests.min(8), context.clamp(128, 8192), 128, pass);
                let (before, after) = (older.prefill(&kernel).time, newer.prefill(&kernel).time);
                assert!(after.as_secs() < 1.03 * before.as_secs(), "{kernel:?}: {before:?} -> {after:?}");
            }
        }
    }
}

const GPUS: [&str; 10] =
    ["a100_sxm_80gb", "rtx_4090", "h100_sxm", "h800_sxm", "h200_sxm", "h20", "b200", "b300", "gb200", "gb300"];
const HEADS: [u64; 6] = [1, 8, 16, 32, 64, 128];

/// Time is never below what arithmetic at the datasheet's peak or memory take.
fn above_roofline(spec: &GpuSpec, kernel: &Kernel, time: f64) {
    let arithmetic = kernel.flops().as_f64() / spec.tensor.peak(Dtype::Bf16).get() as f64;
    let arithmetic = if kernel.operands() == Dtype::Fp8 { arithmetic / 2.0 } else { arithmetic };
    let memory = kernel.bytes().get() as f64 / spec.memory.achievable().get() as f64;
    assert!(time >= arithmetic.max(memory), "{} {kernel}: {time:e} s below the roofline", spec.name);
}

#[test]
fn decode_grows_with_requests_and_cache_without_jumps() {
    for name in GPUS {
        let (spec, attention) = (gpu(name), attention(name));
        for heads in HEADS {
            for cache in [Dtype::Bf16, Dtype::Fp8] {
                let time = |requests, context| {
                    let kernel = mla(requests, context, heads, cache);
                    let time = attention.decode(&kernel).time.as_secs();
                    // Only Blackwell multiplies the latent in FP8.
                    let operands = if spec.architecture == "Blackwell" { cache } else { Dtype::Bf16 };
                    let half = if operands == Dtype::Fp8 { 2.0 } else { 1.0 };
                    above_roofline(&spec, &Kernel::DecodeAttention(kernel), time * half);
                    time
                };
                for requests in [1, 3, 8, 20, 64, 150, 400, 1024] {
                    for context in [1, 64, 65, 300, 1024, 5000, 16384, 100_000] {
                        let here = time(requests, context);
                        let place = format!("{name}, {heads} heads, {requests} x {context}");
                        for (what, there) in
                            [("requests", time(2 * requests, context)), ("cache", time(requests, 2 * context))]
                        {
                            // Another kernel for larger work may be a little faster, as measurements show too: one that need not join the
                            // parts of a cache, most of all where the cache is short and in FP8.
                            let waits = ["Ampere", "Ada Lovelace"].contains(&spec.architecture.as_str());
                            let least = if waits { 0.7 } else { 0.8 };
                            assert!(there > least * here, "{place}: doubling {what} takes {here:e} -> {there:e} s");
                            // Splits that filled one wave may become fewer and longer ones that need two: so the libraries choose.
                            assert!(there < 4.0 * here, "{place}: doubling {what} takes {here:e} -> {there:e} s");
                        }
                        // One key more is at most a tile more in every wave (5 us on the weak tensor cores of H20), or the first
                        // split; it may make some splits shorter than others, which then share an SM in a second wave.
                        let next = time(requests, context + 1);
                        assert!(
                            next < 1.6 * here + 6e-6 && next > 0.6 * here,
                            "{place}: a key more {here:e} -> {next:e} s"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn prefill_grows_with_requests_queries_and_context_without_jumps() {
    for name in GPUS {
        let (spec, attention) = (gpu(name), attention(name));
        for heads in HEADS {
            for shape in [full(1, 1, heads, Pass::Serving), latent(1, 1, heads), full(1, 1, heads, Pass::Backward)] {
                let time = |requests, queries, context| {
                    let context = if shape.pass == Pass::Backward { 0 } else { context };
                    let kernel = PrefillAttention { requests, queries, context, ..shape };
                    let time = attention.prefill(&kernel).time.as_secs();
                    above_roofline(&spec, &Kernel::PrefillAttention(kernel), time);
                    time
                };
                for (requests, queries, context) in
                    [(1, 1, 0), (1, 300, 0), (7, 64, 0), (7, 65, 1000), (1, 4096, 0), (2, 5000, 32768), (40, 1024, 0)]
                {
                    let here = time(requests, queries, context);
                    let place = format!("{name}, {heads} heads, {requests} x {queries} after {context}");
                    let more = [
                        ("requests", time(2 * requests, queries, context)),
                        ("queries", time(requests, 2 * queries, context)),
                        ("context", time(requests, queries, 2 * context + 1)),
                    ];
                    // In serving, keys are split over idle SMs: larger work may be split less, and so join less.
                    let split = shape.pass == Pass::Serving;
                    let [least, least_next, doubled] = if split { [0.6, 0.6, 6.0] } else { [0.99, 0.9, 4.5] };
                    for (what, there) in more {
                        assert!(there >= least * here, "{place}: doubling {what} takes {here:e} -> {there:e} s");
                        assert!(there < doubled * here, "{place}: doubling {what} takes {here:e} -> {there:e} s");
                    }
                    let next = time(requests, queries + 1, context);
                    // Where tiles of keys are as small as those of queries, one of each more are three products more.
                    let small = spec.architecture == "Ampere" || spec.architecture == "Ada Lovelace";
                    let most = if small && shape.pass == Pass::Backward { 3.1 } else { 2.1 };
                    assert!(
                        next < most * here && next > least_next * here,
                        "{place}: a query more {here:e} -> {next:e} s"
                    );
                }
            }
        }
    }
}

#[test]
fn earlier_keys_cost_gradients_what_their_pairs_do() {
    for name in GPUS {
        let attention = attention(name);
        let time = |context| {
            let shape = PrefillAttention { context, ..full(1, 8192, 128, Pass::Backward) };
            attention.prefill(&shape).time.as_secs()
        };
        // A square beside a triangle, and three squares beside it.
        for (squares, pairs) in [(1, 3.0), (3, 7.0)] {
            let ratio = time(squares * 8192) / time(0);
            assert!((0.93 * pairs..1.03 * pairs).contains(&ratio), "{name}, {squares}: {ratio:.3}");
        }
    }
}

#[test]
fn fewer_sms_are_never_faster() {
    for name in GPUS {
        let attention = attention(name);
        let sms = gpu(name).sms.wide();
        for (requests, context) in [(1, 8192), (16, 1024), (128, 4096), (300, 333)] {
            let time = |sms| attention.on(sms).decode(&mla(requests, context, 128, Dtype::Bf16)).time.as_secs();
            for taken in [1, 8, 20, sms / 2] {
                // With fewer SMs the library may choose a kernel with more work per block, which it should have before.
                assert!(time(sms - taken) > 0.8 * time(sms), "{name}, {requests} x {context}, {taken} SMs taken");
            }
            assert!(time(sms / 4) > time(sms), "{name}, {requests} x {context}, a quarter of the SMs");
        }
        let training = full(1, 4096, 128, Pass::Forward);
        let time = |sms| attention.on(sms).prefill(&training).time.as_secs();
        let ratio = time(sms * 112 / 132) / time(sms);
        assert!((1.12..1.22).contains(&ratio), "{name}: {ratio:.3}");
    }
}

#[test]
fn a_spread_of_contexts_does_the_work_of_its_mean_and_smooths_the_edge_of_a_wave() {
    // One key-value head of Qwen3-32B under TP8, 25,000 positions on average; requests of a node.
    let gqa = |requests, contexts| DecodeAttention {
        requests,
        contexts,
        key_dim: 128,
        value_dim: 128,
        cached_values: 2 * 128,
        ..mla(1, 1, 8, Dtype::Bf16)
    };
    let mean = 25_000;
    let spread = Contexts::Between { least: 5000, mean, most: 45_000 };
    let mut found = Vec::new();
    for name in ["h100_sxm", "h200_sxm"] {
        let gpu = attention(name);
        let time = |requests, contexts| gpu.decode(&gqa(requests, contexts)).time.as_secs();
        let (mut worst_equal, mut worst_spread) = (0.0_f64, 0.0_f64);
        for requests in 24..=160 {
            let equal = Contexts::Equal(u64::from(mean));
            assert_eq!(gqa(requests, spread).positions(), gqa(requests, equal).positions());
            // The same work, in blocks of other lengths: never faster than memory allows, and not far from equal ones.
            let (unequal, alike) = (time(requests, spread), time(requests, equal));
            let bytes = Kernel::DecodeAttention(gqa(requests, spread)).bytes().get() as f64;
            assert!(unequal > bytes / gpu_memory(name), "{name}, {requests} requests");
            assert!(unequal / alike < 1.6 && unequal / alike > 0.6, "{name}, {requests} requests: {unequal} {alike}");
            let growth = |contexts| time(requests + 1, contexts) / time(requests, contexts) - 1.0;
            worst_equal = worst_equal.max(growth(equal));
            worst_spread = worst_spread.max(growth(spread));
        }
        found.push((name, worst_spread, worst_equal));
    }
    for (name, spread, equal) in &found {
        assert!(*spread < 0.4, "{name}: one request more costs {spread}, {equal} with equal contexts: {found:?}");
        assert!(spread < equal || *equal < 0.05, "{name}: {spread} {equal}: {found:?}");
    }
}

/// Bytes per second of a GPU's memory.
fn gpu_memory(name: &str) -> f64 {
    gpu(name).memory.bandwidth.get() as f64
}
