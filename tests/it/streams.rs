//! Two streams of one GPU: what kernels get that run at the same time, against what can be worked out by hand.

use crate::cli::root;
use octoplane::dtype::Dtype;
use octoplane::engine;
use octoplane::gpu::tile::{Machine, Tile};
use octoplane::gpu::{Conditions, Course, KernelModel, Processor, Roofline, Taken};
use octoplane::hardware::{GpuSpec, NodeSpec};
use octoplane::id::{DeviceId, OpId};
use octoplane::invalid::Invalid;
use octoplane::metrics::{Metrics, Outcome};
use octoplane::network::Analytic;
use octoplane::run::simulate;
use octoplane::scenario::{Scenario, load};
use octoplane::timeline::{Bound, Timeline, critical_path};
use octoplane::topology::{Cluster, build_cluster};
use octoplane::units::{Bytes, BytesPerSec, Duration, Time};
use octoplane::workload::{
    Gemm, GroupedGemm, Kernel, Label, Op, OpGraph, Phase, RowLayout, Rows, Stream, Work, Workload,
};
use std::collections::BTreeMap;

/// Kernels one after the other on each stream of a GPU.
struct Chains {
    device: DeviceId,
    chains: Vec<Vec<Kernel>>,
}

impl Workload for Chains {
    fn next_arrival(&self) -> Option<Time> {
        None
    }

    fn advance(&mut self, _: Time, _: &[OpId], graph: &mut OpGraph) -> Result<(), Invalid> {
        for (rank, chain) in std::mem::take(&mut self.chains).into_iter().enumerate() {
            let stream = graph.stream(Stream { device: self.device, rank, name: "compute" });
            for kernel in chain {
                let label = Label::of(Phase::Experts);
                graph.push(Op { work: Work::Compute(kernel), label, stream: Some(stream), collective: None }, &[]);
            }
        }
        Ok(())
    }
}

/// Waits for a while, and then cannot go on.
struct Doomed {
    next: Option<Time>,
}

impl Workload for Doomed {
    fn next_arrival(&self) -> Option<Time> {
        self.next
    }

    fn advance(&mut self, now: Time, _: &[OpId], _: &mut OpGraph) -> Result<(), Invalid> {
        if now == Time::ZERO {
            return Ok(());
        }
        self.next = None;
        Err(Invalid::at("workload", "there is nothing that could serve this"))
    }
}

#[test]
fn what_a_workload_cannot_do_ends_the_run_with_its_finding() {
    let cluster = cluster();
    let mut network = Analytic::new(&cluster.topology);
    let mut workload = Doomed { next: Some(Time::from_ps(7)) };
    let ended = engine::run(&mut workload, &mut roofline(&cluster), &mut network, &cluster.topology);
    assert_eq!(ended.unwrap_err().to_string(), "workload: there is nothing that could serve this");
}

fn cluster() -> Cluster {
    let node =
        load::<NodeSpec>(&root().join("hardware/nodes/dgx_h100.toml"), &["gpus=1".into(), "nics.count=1".into()]);
    build_cluster(&node.unwrap().value, 1, None).unwrap()
}

fn gpu() -> GpuSpec {
    load(&root().join("hardware/gpus/h100_sxm.toml"), &[]).unwrap().value
}

fn roofline(cluster: &Cluster) -> Roofline {
    Roofline::new(BTreeMap::from([(cluster.gpus[0], Processor::gpu(&gpu()))]))
}

fn tile() -> Tile {
    Tile::new(Machine::new(&gpu()).unwrap(), BTreeMap::new())
}

fn run(cluster: &Cluster, model: &mut dyn KernelModel, chains: &[&[Kernel]]) -> Timeline {
    let chains = chains.iter().map(|chain| chain.to_vec()).collect();
    let mut workload = Chains { device: cluster.gpus[0], chains };
    let mut network = Analytic::new(&cluster.topology);
    let timeline = engine::run(&mut workload, model, &mut network, &cluster.topology).unwrap();
    holds_together(&timeline);
    timeline
}

/// The critical path adds up, and a stream runs one kernel after the other.
fn holds_together(timeline: &Timeline) {
    let path = critical_path(timeline);
    assert_eq!((path[0].from, path.last().unwrap().until), (Time::ZERO, timeline.end()));
    assert!(path.windows(2).all(|pair| pair[0].until == pair[1].from));
    let spans: Vec<_> = timeline.spans().collect();
    for pair in spans.windows(2).filter(|pair| pair[0].place == pair[1].place) {
        assert!(pair[0].end <= pair[1].start, "{pair:?}");
    }
}

/// When each kernel ended.
fn ends(timeline: &Timeline) -> Vec<Duration> {
    timeline.spans().map(|span| span.end - Time::ZERO).collect()
}

fn product(rows: u64, n: u64, k: u64) -> Kernel {
    Kernel::Gemm(Gemm { groups: 1, rows, n, k, operands: Dtype::Bf16, weights: Dtype::Bf16 })
}

fn copy(megabytes: u64) -> Kernel {
    let bytes = Bytes::new(megabytes * 500_000);
    Kernel::Elementwise { read: bytes, written: bytes }
}

#[track_caller]
fn close(found: Duration, expected: Duration) {
    let off = found.saturating_sub(expected) + expected.saturating_sub(found);
    assert!(off <= Duration::from_ps(100), "{found} and not {expected}");
}

/// What the roofline knows: time of the arithmetic, bytes per second, launch.
fn rates(kernel: &Kernel) -> (Duration, BytesPerSec, Duration) {
    let gpu = gpu();
    let rate = gpu.tensor.peak(Dtype::Bf16).achieved(gpu.tensor.efficiency);
    (kernel.flops() / rate, gpu.memory.achievable(), gpu.kernel_launch)
}

#[test]
fn two_kernels_bound_by_arithmetic_take_turns() {
    let cluster = cluster();
    let (large, small) = (product(8192, 8192, 8192), product(4096, 8192, 8192));
    let timeline = run(&cluster, &mut roofline(&cluster), &[&[large], &[small]]);
    let ((first, _, launch), (second, _, _)) = (rates(&large), rates(&small));
    close(ends(&timeline)[0], launch + first);
    close(ends(&timeline)[1], launch + first + second);
    let bounds: Vec<Bound> = timeline.spans().map(|span| span.bound).collect();
    assert_eq!(bounds, [Bound::Tensor, Bound::Held], "the small one waits for twice as long as it runs");
}

#[test]
fn two_kernels_bound_by_memory_have_half_of_it_each() {
    let cluster = cluster();
    let (large, small) = (copy(300), copy(100));
    let timeline = run(&cluster, &mut roofline(&cluster), &[&[large], &[small]]);
    let (_, memory, launch) = rates(&large);
    // 100 MB of each at half the rate, then the rest.
    close(ends(&timeline)[1], launch + Bytes::new(200_000_000) / memory);
    close(ends(&timeline)[0], launch + Bytes::new(400_000_000) / memory);
    assert!(timeline.spans().all(|span| span.bound == Bound::Memory));
}

#[test]
fn memory_and_arithmetic_overlap() {
    let cluster = cluster();
    let (passes, multiplies) = (copy(300), product(4096, 8192, 8192));
    let timeline = run(&cluster, &mut roofline(&cluster), &[&[passes], &[multiplies]]);
    let (alone, memory, launch) = rates(&multiplies);
    // The copy keeps one SM busy with asking, the product has 131 of 132 and draws its operands.
    let beside = alone.as_secs() * 132.0 / 131.0;
    let drawn = multiplies.bytes().get() as f64 / beside;
    let copied = 300e6 / (memory.get() as f64 - drawn);
    let rest = (1.0 - copied / beside) * alone.as_secs();
    assert!(copied < beside);
    close(ends(&timeline)[0], launch + Duration::from_ps((copied * 1e12) as u64));
    close(ends(&timeline)[1], launch + Duration::from_ps(((copied + rest) * 1e12) as u64));
    let in_turn = alone + Bytes::new(300_000_000) / memory;
    assert!(timeline.end() - Time::ZERO < launch + in_turn.scaled(0.9));
}

/// Twenty blocks of one row each.
fn twenty() -> Kernel {
    Kernel::Rows(Rows::once(20, 1024, 1, Bytes::new(40 << 20), Bytes::new(1024)))
}

fn course(cluster: &Cluster, kernel: &Kernel, sms: u64) -> Course {
    let beside = Taken { sms, memory: BytesPerSec::default() };
    tile().course_under(&Conditions { beside, ..Conditions::default() }, cluster.gpus[0], kernel)
}

#[test]
fn few_blocks_leave_the_other_sms() {
    let cluster = cluster();
    let (few, many) = (twenty(), product(4096, 8192, 4096));
    assert_eq!(course(&cluster, &few, 0).stretches[2].sms, 20);
    let timeline = run(&cluster, &mut tile(), &[&[few], &[many]]);
    let alone = |kernel| course(&cluster, kernel, 0).cost.time;
    assert!(alone(&few) > alone(&many).scaled(1.5), "they stay beside each other");
    // Those of the older one run as if it were alone; 112 SMs are left for the younger one.
    close(ends(&timeline)[0], alone(&few));
    close(ends(&timeline)[1], course(&cluster, &many, 20).cost.time);
    assert!(ends(&timeline)[1] > alone(&many).scaled(1.05));
}

#[test]
fn younger_blocks_run_when_the_last_older_ones_leave_sms() {
    let cluster = cluster();
    let few = twenty();
    let leaves = |kernel: &Kernel| {
        let [_, rounds, last] = course(&cluster, kernel, 0).stretches;
        rounds.sms == 132 && last.time > Duration::ZERO && last.sms <= 112
    };
    let many = (8..100).map(|n| product(4096, n * 512, 4096)).find(leaves).unwrap();
    let older = course(&cluster, &many, 0);
    let [first, rounds, last] = older.stretches;
    let timeline = run(&cluster, &mut tile(), &[&[many], &[few]]);
    close(ends(&timeline)[0], older.cost.time);
    // It begins with the last round, and has the whole GPU after that.
    let (beside, alone) = (course(&cluster, &few, last.sms).blocks(), course(&cluster, &few, 0).blocks());
    let rest = alone.scaled(1.0 - last.time / beside);
    close(ends(&timeline)[1], older.launch + first.time + rounds.time + last.time + rest);
}

/// Kernels of every kind, alone and by the model at hand.
fn kinds() -> Vec<Kernel> {
    let experts = |rows: &[u64]| Kernel::GroupedGemm(GroupedGemm::new(RowLayout::Masked, rows, 4096, 7168, Dtype::Fp8));
    vec![
        product(4096, 7168, 2048),
        product(128, 7168, 2048),
        product(16, 1024, 7168),
        experts(&[40; 16]),
        copy(200),
        Kernel::Rows(Rows::once(4096, 128, 1, Bytes::new(14_336), Bytes::new(7168))),
        twenty(),
    ]
}

#[test]
fn nothing_is_free_and_nothing_is_lost_beside_each_other() {
    let cluster = cluster();
    for one in kinds() {
        for other in kinds() {
            for tiled in [false, true] {
                let mut model: Box<dyn KernelModel> =
                    if tiled { Box::new(tile()) } else { Box::new(roofline(&cluster)) };
                let cost = |kernel: &Kernel, model: &mut dyn KernelModel| model.cost(cluster.gpus[0], kernel).time;
                let (a, b) = (cost(&one, model.as_mut()), cost(&other, model.as_mut()));
                let both = run(&cluster, model.as_mut(), &[&[one], &[other]]).end() - Time::ZERO;
                // A hundredth for rounds that are no longer full, and the time that it takes to place blocks.
                let in_turn = (a + b).scaled(1.01) + Duration::from_ns(500);
                assert!(both >= a.max(b) && both <= in_turn, "{one} and {other}: {both}, alone {a} and {b}");
                let bytes = one.bytes() + other.bytes();
                let least = bytes / gpu().memory.achievable();
                assert!(both + Duration::from_ns(1) >= least, "{one} and {other}: {both}, memory alone {least}");
            }
        }
    }
}

#[test]
fn equal_kernels_that_fill_the_gpu_gain_no_more_than_what_they_do_not_use() {
    let cluster = cluster();
    for kernel in [copy(200), product(132 * 128, 8192, 4096), product(16, 16_384, 7168)] {
        let mut model = tile();
        let course = model.course_under(&Conditions::default(), cluster.gpus[0], &kernel);
        let [edges, _, last] = course.stretches;
        let both = run(&cluster, &mut model, &[&[kernel], &[kernel]]).end() - Time::ZERO;
        let least = course.cost.time * 2 - course.launch - edges.time - last.time;
        assert!(both >= least, "{kernel}: {both}, one {}", course.cost.time);
    }
}

#[test]
fn a_stream_alone_is_not_touched_and_which_comes_first_is_the_older() {
    let cluster = cluster();
    let chain = kinds();
    let mut model = tile();
    let alone: Duration = chain.iter().map(|kernel| model.cost(cluster.gpus[0], kernel).time).sum();
    assert_eq!(run(&cluster, &mut model, &[&chain]).end() - Time::ZERO, alone);
    let spans = |timeline: Timeline| timeline.spans().collect::<Vec<_>>();
    let both = [&chain[..], &chain[..]];
    assert_eq!(
        spans(run(&cluster, &mut tile(), &both)),
        spans(run(&cluster, &mut model, &both)),
        "memory changes nothing"
    );
}

fn decode(scenario: &str, sets: &[&str]) -> Outcome {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let loaded =
        load::<Scenario>(&root().join("scenarios").join(scenario), &sets).unwrap_or_else(|error| panic!("{error}"));
    simulate(&loaded.value).unwrap_or_else(|invalid| panic!("{}", loaded.error(&invalid)))
}

const OWN: &str = "workload.decode.experts.shared_on=own_stream";

#[test]
fn a_shared_expert_that_dispatch_hides_gains_nothing_from_a_stream_of_its_own() {
    let one = ["model.layers=6", "workload.decode.micro_batches=1"];
    let step = |sets: &[&str]| decode("h800_ep128_decode.toml", &[&one[..], sets].concat());
    let (with, without) = (step(&[OWN]), step(&[]));
    let streams = |outcome: &Outcome| outcome.timeline.streams.iter().filter(|s| s.name == "shared expert").count();
    assert_eq!((streams(&with), streams(&without)), (1, 0));
    assert_eq!(with.timeline.end(), without.timeline.end());
    let busy = |outcome: &Outcome| match &outcome.metrics {
        Metrics::Decode(metrics) => metrics.breakdown.clone(),
        other => panic!("{other:?} are not of a decode step"),
    };
    assert_eq!(busy(&with).computing, busy(&without).computing, "what is computed on either stream counts");
}

#[test]
fn where_memory_decides_two_streams_hide_no_more_than_launches() {
    // All eight GPUs have all tokens: shared and routed experts begin together, and both wait for their weights.
    let one = ["model.layers=6", "kernel=roofline", "parallelism.tp=8", "workload.decode.experts.reach=all_reduce"];
    let end = |sets: &[&str]| decode("h200_node_decode.toml", &[&one[..], sets].concat()).timeline.end() - Time::ZERO;
    let (with, without) = (end(&[OWN]), end(&[]));
    let gain = without.saturating_sub(with);
    let gpu: GpuSpec = load(&root().join("hardware/gpus/h200_sxm.toml"), &[]).unwrap().value;
    // Three layers with experts; norm, two products and the activation between them on either stream at most.
    let launches = gpu.kernel_launch * (3 * 4);
    assert!(gain > Duration::ZERO && gain <= launches, "{with} beside, {without} in turn, {launches} of launches");
    assert_eq!(end(&[OWN, "kernel=instant"]), end(&["kernel=instant"]));
}

#[test]
fn a_stream_for_a_shared_expert_that_is_not_there_is_refused() {
    let sets = ["parallelism.shared_copies=32".to_owned(), OWN.to_owned()];
    let loaded = load::<Scenario>(&root().join("scenarios/h800_ep320_decode.toml"), &sets).unwrap();
    let invalid = simulate(&loaded.value).map(|_| ()).unwrap_err();
    assert!(loaded.error(&invalid).to_string().contains("workload.decode.experts.shared_on"), "{invalid:?}");
}
