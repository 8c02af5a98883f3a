//! Training steps against closed forms, against themselves under symmetry, and under changes whose effect can be bounded.

use octoplane::metrics::{
    ChunkTime, Folding, Metrics, Outcome, PipelineMetrics, RankTime, TrainingMetrics, link_loads,
};
use octoplane::report::detailed::detailed;
use octoplane::run::simulate;
use octoplane::scenario::{Scenario, load};
use octoplane::timeline::{Bound, Place, Span};
use octoplane::topology::DeviceKind;
use octoplane::units::{Bytes, BytesPerSec, Duration, Flops, FlopsPerSec, Time};
use octoplane::workload::{Phase, Work};
use std::path::Path;

fn run(scenario: &str, sets: &[&str]) -> Outcome {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(scenario);
    let loaded = load::<Scenario>(&path, &sets).unwrap_or_else(|error| panic!("{error}"));
    simulate(&loaded.value).unwrap_or_else(|invalid| panic!("{}", loaded.error(&invalid)))
}

fn training(outcome: &Outcome) -> &TrainingMetrics {
    let Metrics::Training(metrics) = &outcome.metrics else { panic!("a training step was asked for") };
    metrics
}

fn pipeline(outcome: &Outcome) -> &PipelineMetrics {
    let Metrics::Pipeline(metrics) = &outcome.metrics else { panic!("a pipeline was asked for") };
    metrics
}

const STEP: &str = "training/v3_2048_h800_mpft.toml";
/// Few layers on few GPUs, so that every GPU can be simulated: two stages of 16 GPUs.
const SMALL: [&str; 8] = [
    "workload.training.load_spread=0",
    "nodes=4",
    "parallelism.pp=2",
    "parallelism.ep=16",
    "parallelism.last_stage_layers=2",
    "model.layers=6",
    "workload.training.global_batch=128",
    "model.moe.first_dense_layers=1",
];

/// The overlapped chunk that a step has most of.
fn main_chunk(metrics: &TrainingMetrics) -> &ChunkTime {
    let overlapped = metrics.chunks.iter().filter(|chunk| chunk.name.contains(" & "));
    overlapped.max_by_key(|chunk| chunk.count).expect("DualPipe overlaps")
}

#[test]
fn one_replica_stands_for_all_where_gpus_share_nics() {
    let shared = ["topology.extends=topologies/ft2.toml", "hardware.nics.count=2", "workload.training.global_batch=64"];
    let folded = run(STEP, &[&SMALL[..], &shared].concat());
    let unfolded = run(STEP, &[&SMALL[..], &shared, &["symmetry=unfold"]].concat());
    assert_eq!((folded.folding, unfolded.folding), (Folding::Shared, Folding::None));
    let (one, all) = (training(&folded).step, training(&unfolded).step);
    assert!((one.as_secs() / all.as_secs() - 1.0).abs() < 0.02, "{one} is not {all}");
    let alone = run(STEP, &[&SMALL[..], &["workload.training.global_batch=64"]].concat());
    assert!(one > training(&alone).step, "a quarter of the NICs");
}

#[test]
fn one_replica_stands_for_all_where_all_are_alike() {
    let schedules = ["dual_pipe", "one_f_one_b", "zb1p", "dual_pipe_v", "{ interleaved = { chunks = 2 } }"];
    for schedule in schedules {
        let quoted = if schedule.starts_with('{') { schedule.to_owned() } else { format!("\"{schedule}\"") };
        let schedule = format!("workload.training.schedule={quoted}");
        let folded = run(STEP, &[&SMALL[..], &[&schedule]].concat());
        let unfolded = run(STEP, &[&SMALL[..], &[&schedule, "symmetry=unfold"]].concat());
        assert_eq!((folded.folding, unfolded.folding), (Folding::Exact, Folding::None), "{schedule}");
        let (one, all) = (training(&folded), training(&unfolded));
        assert_eq!(one.step, all.step, "{schedule}");
        assert_eq!(one.ranks, all.ranks, "{schedule}");
        let times = |metrics: &TrainingMetrics| {
            metrics.chunks.iter().map(|chunk| (chunk.name.clone(), chunk.time)).collect::<Vec<_>>()
        };
        assert_eq!(times(one), times(all), "{schedule}");
        let sent = |outcome: &Outcome| outcome.timeline.bytes_sent().get();
        // Two GPUs of a folded pipeline stand for 32.
        assert_eq!(sent(&folded) * 16, sent(&unfolded), "{schedule}");
    }
}

#[test]
fn the_rows_of_a_step_add_up_to_it() {
    let outcome = run(STEP, &[]);
    let metrics = training(&outcome);
    for rank in &metrics.ranks {
        let busy = rank.forward + rank.backward + rank.weight + rank.overlapped;
        assert_eq!(busy + rank.bubble + rank.optimizer, metrics.step);
    }
    // Chunks that are listed are those that ran.
    let listed: usize = metrics.chunks.iter().map(|chunk| chunk.count).sum();
    let ran: usize = metrics.ranks.iter().map(|rank| rank.counts.iter().sum::<usize>()).sum();
    assert_eq!(listed, ran);
    assert!(metrics.chunks.iter().all(|chunk| chunk.computing <= chunk.time && chunk.exposed <= chunk.communicating));
}

#[test]
fn a_step_is_no_shorter_than_its_useful_work_at_peak() {
    let metrics = run(STEP, &[]);
    let metrics = training(&metrics);
    // FP8 doubles the BF16 peak, against which MFU is defined.
    assert!(metrics.mfu[0] < metrics.mfu[1] && metrics.mfu[1] < 2.0, "{:?}", metrics.mfu);
    let per_day = 15360.0 * 4096.0 / metrics.step.as_secs() * 86400.0;
    assert!((metrics.tokens_per_day / per_day - 1.0).abs() < 1e-9);
}

#[test]
fn stages_exchange_hidden_states_and_replicas_their_gradients() {
    let outcome = run(STEP, &[]);
    let bytes = |phase: Phase| -> u64 {
        let of = |span: &octoplane::timeline::Span| span.label.phase == phase;
        let sent = |span: octoplane::timeline::Span| match span.work {
            Work::Send { bytes, .. } => bytes.get(),
            _ => 0,
        };
        outcome.timeline.spans().filter(of).map(sent).sum()
    };
    // Each of 120 micro-batches crosses 15 boundaries forward and 15 backward, 4096 x 7168 values in BF16.
    assert_eq!(bytes(Phase::Pipeline), 120 * 30 * 4096 * 7168 * 2);
    // A ring over n members passes on n - 1 of n pieces of what each has, FP32 gradients and BF16 weights.
    let (reduced, gathered) = (bytes(Phase::GradientReduce), bytes(Phase::ParameterGather));
    assert!((reduced as f64 / gathered as f64 - 2.0).abs() < 1e-3);
}

#[test]
fn giving_communication_sms_back_speeds_up_computation_by_at_most_their_share() {
    let with = run(STEP, &[]);
    let without = run("wishes/training_co_processor.toml", &[]);
    let (with, without) = (training(&with), training(&without));
    let (a, b) = (main_chunk(with), main_chunk(without));
    assert_eq!(a.name, b.name);
    // Between nothing (all of it bound by memory) and 132 / 112 (all bound by SMs).
    let gain = a.computing / b.computing;
    assert!(1.0 < gain && gain <= 132.0 / 112.0, "{gain}");
    assert!(without.step < with.step);
    assert!(with.step / without.step <= 132.0 / 112.0, "a step gains no more than its chunks");
    // Chunks that overlap nothing had all SMs before, and a co-processor as fast as the SMs exchanges as they do.
    for (with, without) in with.chunks.iter().zip(&without.chunks).filter(|(chunk, _)| !chunk.name.contains(" & ")) {
        assert_eq!((with.computing, with.time), (without.computing, without.time), "{}", with.name);
    }
    // Its software is another matter: without starts and counts, all chunks with experts are shorter still, and GPUs wait for each other as before.
    let ideal = run("wishes/training_ideal_co_processor.toml", &[]);
    let ideal = training(&ideal);
    for (with, ideal) in without.chunks.iter().zip(&ideal.chunks) {
        assert!(ideal.time <= with.time && ideal.computing <= with.computing, "{}", with.name);
    }
    let punctual = run("wishes/training_ideal_co_processor.toml", &["workload.training.skew=0 us"]);
    assert!(training(&punctual).step < ideal.step && ideal.step < without.step, "who comes late is waited for");
}

#[test]
fn a_step_shows_what_goes_on_inside_its_chunks() {
    let in_turn = ["workload.training.schedule=one_f_one_b", "hardware.gpu.memory.capacity=800 GB"];
    for sets in [&[][..], &in_turn] {
        let outcome = run(STEP, sets);
        let metrics = training(&outcome);
        let parts = &metrics.breakdown;
        assert_eq!(parts.computing + parts.exposed_communication + parts.idle, metrics.step);
        assert_eq!(parts.critical_path.iter().map(|share| share.time).sum::<Duration>(), metrics.step);
        assert!(parts.critical_path.iter().all(|share| share.bound != Bound::Chunk), "a chunk is no reason");
        let named = outcome.metrics.named();
        let value = |name: &str| named.iter().find(|metric| metric.def.name == name).expect("a metric").value;
        assert!((value("bubble_share") - 100.0 * value("bubble_mean") / value("time_per_step")).abs() < 1e-9);
        assert!(value("exposed_in_chunks") > 0.1 && value("exposed_communication") >= 1e3 * value("exposed_in_chunks"));
        // What rank 0 exposes: where nothing overlaps it has one kind of chunk forward, one backward, and a micro-batch in each.
        if !sets.is_empty() {
            let own = metrics.chunks.iter().filter(|chunk| chunk.name.contains("embedding"));
            let exposed: Duration = own.map(|chunk| chunk.exposed * chunk.count as u64).sum();
            assert_eq!(exposed, metrics.ranks[0].exposed);
        }
        // One stream computes, so that kernels are all there is to computing.
        assert_eq!(metrics.kernels.iter().map(|kernel| kernel.time).sum::<Duration>(), parts.computing);
        assert!(metrics.kernels.len() > 30, "products, casts, norms, attention, and the optimizer");
    }
}

#[test]
fn a_trace_shows_each_kind_of_chunk_where_it_first_runs() {
    let outcome = run(STEP, &[]);
    let trace = detailed(&outcome);
    let inside: usize = outcome.parts.iter().map(|part| part.timeline.spans().count()).sum();
    assert_eq!(trace.spans().count(), outcome.timeline.spans().count() + inside);
    let runs = outcome.timeline.streams.len();
    for part in &outcome.parts {
        let (device, at) = part.at.expect("each kind of chunk runs");
        let ends = at + (part.timeline.end() - Time::ZERO);
        let begins = |span: &Span| {
            let Place::Stream(stream) = span.place else { return false };
            stream.index() < runs && trace.streams[stream.index()].device == device && span.start == at
        };
        let whole = trace.spans().find(begins).expect("a chunk of the pipeline");
        assert_eq!((whole.start, whole.released), (at, ends), "{}", part.name);
    }
    // Kernels of a stream never overlap, whichever chunks they belong to.
    let mut computed: Vec<(usize, Time, Time)> = Vec::new();
    for span in trace.spans().skip(outcome.timeline.spans().count()) {
        if let (Place::Stream(stream), Work::Compute(_)) = (span.place, span.work) {
            computed.push((stream.index(), span.start, span.released));
        }
    }
    computed.sort_unstable();
    assert!(computed.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1));
}

#[test]
fn exchanges_without_sms_need_a_co_processor() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for (scenario, set) in [
        (STEP, "workload.training.communication_sms=0"),
        ("h800_ep32_prefill.toml", "workload.prefill.experts.sms=0"),
        ("moe/deepep_normal_h800.toml", "workload.moe_exchange.sms=0"),
    ] {
        let loaded =
            load::<Scenario>(&path.join(scenario), &[set.to_owned()]).unwrap_or_else(|error| panic!("{error}"));
        let invalid = simulate(&loaded.value).expect_err("nothing exchanges tokens");
        let told = loaded.error(&invalid).to_string();
        assert!(told.contains("describes no co-processor") && told.contains("sms"), "{told}");
    }
}

#[test]
fn planes_and_rails_train_alike_because_their_fabrics_carry_the_same() {
    let outcomes = ["training/v3_2048_h800_mpft.toml", "training/v3_2048_h800_mrft.toml"]
        .map(|scenario| run(scenario, &["network=flow"]));
    let [planes, rails] = outcomes.each_ref().map(|outcome| training(outcome).step);
    assert!((planes / rails - 1.0).abs() <= 0.005, "{planes} and {rails}");
    let loads = outcomes.each_ref().map(|outcome| link_loads(&outcome.timeline, &outcome.cluster.topology));
    // Stages and replicas exchange among GPUs of equal index: what enters and leaves GPUs is the same, link by link.
    let ends = |which: usize| {
        let topology = &outcomes[which].cluster.topology;
        let is_gpu = |id| topology.device(id).kind == DeviceKind::Gpu;
        let at_gpus = loads[which].iter().filter(|load| {
            let (from, to) = topology.ends(load.link);
            is_gpu(from) || is_gpu(to)
        });
        let mut carried: Vec<_> = at_gpus.map(|load| load.carried).collect();
        carried.sort_unstable();
        carried
    };
    assert!(!ends(0).is_empty());
    assert_eq!(ends(0), ends(1));
    // No link is near its limit over the step, so that nothing waits for the other shape's paths.
    for load in loads.iter().flatten() {
        assert!(load.utilisation < 0.5, "{load:?}");
    }
}

#[test]
fn chunks_load_the_links_of_planes_and_rails_alike() {
    let chunks = ["training/v3_2048_h800_mpft.toml", "training/v3_2048_h800_mrft.toml"]
        .map(|scenario| main_chunk(training(&run(scenario, &[]))).clone());
    let [planes, rails] = chunks.each_ref().map(|chunk| &chunk.links);
    let fabric = |kind: DeviceKind| kind.is_fabric_switch();
    // Inside nodes and at NICs the same bytes pass, kind by kind; no kind of link is near its limit in either.
    for load in planes.iter().filter(|load| !fabric(load.from) || !fabric(load.to)) {
        let other = rails.iter().find(|other| (other.from, other.to) == (load.from, load.to)).expect("the same kinds");
        assert_eq!((load.carried, load.utilisation), (other.carried, other.utilisation), "{load:?}");
    }
    assert!(planes.iter().chain(rails).all(|load| load.utilisation < 0.95), "{planes:?} and {rails:?}");
    let busiest = |kinds: [DeviceKind; 2]| {
        planes.iter().find(|load| [load.from, load.to] == kinds).expect("such links are used").utilisation
    };
    // More copies of a token stay in the node, over faster links: 3.4 nodes at 50 GB/s against 7.4 GPUs at 160.
    let (nic, nvlink) =
        (busiest([DeviceKind::Nic, DeviceKind::Leaf]), busiest([DeviceKind::Gpu, DeviceKind::NvSwitch]));
    assert!(nic > nvlink && nic > 0.3, "{nic} and {nvlink}");
    // What enters the fabric leaves it.
    assert_eq!(nic, busiest([DeviceKind::Leaf, DeviceKind::Nic]));
}

#[test]
fn tokens_wait_for_their_counts_once_a_layer() {
    let find = |sets: &[&str]| {
        let outcome = run(STEP, sets);
        training(&outcome).chunks.iter().find(|chunk| chunk.name == "F of 4 MoE").expect("a middle stage").time
    };
    let known = find(&[
        "hardware.communication.experts.normal.count_token=0 ns",
        "hardware.communication.experts.normal.count_wait=0 ns",
    ]);
    let wait = find(&[
        "hardware.communication.experts.normal.count_token=10 ns",
        "hardware.communication.experts.normal.count_wait=100 us",
    ]);
    assert_eq!(wait - known, (Duration::from_ns(10) * 4096 + Duration::from_ns(100_000)) * 4);
}

#[test]
fn a_fused_loss_spares_the_passes_in_fp32() {
    let find = |loss: &str| {
        let outcome = run(STEP, &[&format!("workload.training.loss=\"{loss}\"")]);
        let chunk = |name: &str| training(&outcome).chunks.iter().find(|chunk| chunk.name == name).unwrap().time;
        [chunk("F of 1 MoE + head + 1 MTP"), chunk("B input of 1 MoE + head + 1 MTP"), chunk("F of 4 MoE")]
    };
    let (unfused, fused) = (find("unfused"), find("fused"));
    assert_eq!(unfused[2], fused[2], "without a head there is no loss");
    // Bytes per logit, of two heads. Forward: to FP32 (2 + 4), three reads and a write of FP32, against two reads and a write of BF16.
    // Backward: a write, three reads and a write of FP32, and to BF16 (4 + 2), against a read and a write of BF16.
    let logits = 2.0 * 4096.0 * 129_280.0;
    for (which, spared) in [(0, 6 + 16 - 6), (1, 4 + 16 + 6 - 4)] {
        let at_peak = logits * f64::from(spared) / 3350e9;
        let saved = (unfused[which] - fused[which]).as_secs();
        assert!(at_peak < saved && saved < 1.3 * at_peak, "{saved} s, at the memory's peak {at_peak} s");
    }
}

#[test]
fn the_busiest_experts_decide_where_nothing_else_is_to_do() {
    let of = |spread: &str| training(&run(STEP, &[&format!("workload.training.load_spread={spread}")])).clone();
    let (even, uneven) = (of("0"), of("1"));
    for (even, uneven) in even.chunks.iter().zip(&uneven.chunks) {
        assert_eq!((&even.name, even.busiest), (&uneven.name, 1.0));
        // No chunk grows by more than its experts do.
        let grown = uneven.time / even.time;
        assert!((1.0..=uneven.busiest).contains(&grown), "{}: {grown} for {}", even.name, uneven.busiest);
    }
    // Tokens come and go over the NICs of the busiest node, the busiest of eight whose loads are means of eight: 1.42 standard deviations.
    let of_node = 1.42 / 16.0 / 8_f64.sqrt();
    for name in ["F of 4 MoE", "B input of 4 MoE"] {
        let [even, uneven] = [&even, &uneven].map(|step| step.chunks.iter().find(|chunk| chunk.name == name).unwrap());
        let grown = uneven.communicating / even.communicating - 1.0;
        // What starts an exchange and what precedes it does not grow.
        assert!(0.6 * of_node < grown && grown < 1.15 * of_node, "{name}: {grown} for {of_node}");
    }
    let busiest = |name: &str| uneven.chunks.iter().find(|chunk| chunk.name == name).expect("a middle stage").busiest;
    // 2.34 standard deviations of 1 / sqrt(4 experts x 64 sequences); over eight layers that even each other out, with weights 1 and 2.
    let alone = 2.34 / 16.0;
    let together = alone * 20_f64.sqrt() / 12.0;
    for (name, expected) in [("F of 4 MoE", alone), ("F of 4 MoE & B of 4 MoE", together)] {
        assert!(((busiest(name) - 1.0) / expected - 1.0).abs() < 0.1, "{name}: {} for {expected}", busiest(name));
    }
    assert!(uneven.step > even.step);
}

#[test]
fn one_gpu_with_the_busiest_experts_stands_for_all_with_theirs() {
    // One stage of four layers with experts and one more with head, over 64 GPUs each, so that all of them can be simulated.
    let sets = [
        "nodes=16",
        "parallelism.pp=2",
        "parallelism.last_stage_layers=4",
        "model.layers=8",
        "workload.training.global_batch=256",
        "model.moe.first_dense_layers=0",
        "workload.training.load_spread=1",
    ];
    let folded = run(STEP, &sets);
    let unfolded = run(STEP, &[&sets[..], &["symmetry=unfold"]].concat());
    assert_eq!((folded.folding, unfolded.folding), (Folding::Sampled, Folding::None));
    for (one, all) in training(&folded).chunks.iter().zip(&training(&unfolded).chunks) {
        let ratio = one.time / all.time;
        assert!((0.99..1.01).contains(&ratio), "{}: {} for one, {} for all", one.name, one.time, all.time);
    }
}

#[test]
fn weights_are_updated_after_all_agree_on_the_norm() {
    let outcome = run(STEP, &SMALL);
    let spans = || outcome.timeline.spans();
    let of = |phase: Phase| spans().filter(move |span| span.label.phase == phase);
    // 32 GPUs add up a sum of four bytes in five rounds; two of them stand for all.
    let sums: Vec<_> = of(Phase::Optimizer).filter(|span| matches!(span.work, Work::Send { .. })).collect();
    assert_eq!(sums.len(), 10);
    assert!(sums.iter().all(|span| matches!(span.work, Work::Send { bytes, .. } if bytes == Bytes::new(4))));
    let kernels: Vec<_> = of(Phase::Optimizer).filter(|span| matches!(span.work, Work::Compute(_))).collect();
    // Norm, update and cast of each rank, in this order, with the sums between the first two and the gathering before the last.
    for rank in 0..2 {
        let own: Vec<_> = kernels.iter().filter(|span| span.label.layer == rank).collect();
        let [norm, update, cast] = own[..] else { panic!("{own:?}") };
        assert!(sums.iter().all(|sum| norm.end <= sum.start && sum.end <= update.start));
        let gathered = of(Phase::ParameterGather).filter(|span| span.label.layer == rank).map(|span| span.end).max();
        assert_eq!(gathered, Some(cast.ready));
    }
    // FP32 gradients are read for the norm where they were reduced to: what a rank has after its part of the ring.
    let reduced = of(Phase::GradientReduce).filter(|span| matches!(span.work, Work::Send { .. }));
    assert!(reduced.map(|span| span.end).max().unwrap() <= sums[0].start);
}

#[test]
fn faster_nics_shorten_what_is_exposed_and_nothing_else() {
    let slow = run(STEP, &[]);
    let sets = ["hardware.nics.nic.port_bandwidth_per_direction=800 Gb/s"];
    // Its switches and the host's port have to keep up.
    let more = ["topology.switch.port_bandwidth_per_direction=800 Gb/s"];
    let host = ["hardware.gpu.host.bandwidth_per_direction=128 GB/s"];
    let fast = run(STEP, &[&sets[..], &more, &host].concat());
    let (slow, fast) = (training(&slow), training(&fast));
    for (slow, fast) in slow.chunks.iter().zip(&fast.chunks) {
        assert_eq!(slow.name, fast.name);
        assert_eq!(slow.computing, fast.computing, "{}", slow.name);
        assert!(fast.time <= slow.time, "{}", slow.name);
        // Twice the rate takes at most half of the time on the way from what was exposed.
        assert!(slow.time - fast.time <= slow.exposed, "{}", slow.name);
        assert!(fast.communicating * 2 + Duration::from_ns(1) >= slow.communicating, "{}", slow.name);
    }
    assert!(fast.step < slow.step);
}

#[test]
fn doubling_nvlink_saves_half_of_its_part_in_rings_and_what_chunks_expose() {
    let slow = run(STEP, &[]);
    let fast = run(STEP, &["hardware.gpu.scale_up.bandwidth_per_direction=400 GB/s"]);
    for (slow, fast) in training(&slow).chunks.iter().zip(&training(&fast).chunks) {
        assert_eq!(slow.computing, fast.computing, "{}", slow.name);
        assert!(fast.time <= slow.time && slow.time - fast.time <= slow.exposed, "{}", slow.name);
    }
    // What a rank passes on inside its node while gradients are reduced and weights gathered, of the rank that has most.
    let cluster = &slow.cluster;
    let node =
        |gpu| cluster.node_of(cluster.gpus.iter().position(|&other| other == gpu).expect("a GPU of the cluster"));
    let inside = |rank: u32| {
        let rings = slow.timeline.spans().filter(move |span| span.label.layer == rank);
        let of = rings.filter(|span| match span.work {
            Work::Send { from, to, .. } => {
                matches!(span.label.phase, Phase::GradientReduce | Phase::ParameterGather) && node(from) == node(to)
            }
            _ => false,
        });
        of.map(|span| span.end - span.start).sum::<Duration>()
    };
    let most = (0..16).map(inside).max().unwrap();
    let [before, after] = [&slow, &fast].map(|outcome| training(outcome).ranks[0].optimizer);
    let saved = before - after;
    // No more than half of that; less where NICs take as long meanwhile.
    assert!(saved * 2 <= most && saved * 3 >= most, "{saved} of {most}");
}

#[test]
fn a_dense_model_trains_at_the_rate_of_its_kernels_and_its_pipeline() {
    // 1F1B over 8 stages: (M + PP - 1) times the slowest stage bounds the step from above, M times it from below.
    let outcome = run("training/llama405b_h100_1f1b.toml", &[]);
    let metrics = training(&outcome);
    let of = |kind: &str| {
        let chunks = metrics.chunks.iter().filter(|chunk| chunk.name.starts_with(kind));
        chunks.map(|chunk| chunk.time).max().expect("there are some")
    };
    let slowest = of("F of") + of("B of");
    let pipeline = metrics.step - metrics.ranks[0].optimizer;
    let micro_batches = metrics.ranks[0].counts[0] as u64;
    let ranks = metrics.ranks.len() as u64;
    assert!(pipeline >= slowest * micro_batches, "{pipeline}");
    // Hidden states of a micro-batch cross each boundary twice on the way; a fill waits for that as well.
    let sends = outcome.timeline.spans().filter(|span| span.label.phase == Phase::Pipeline);
    let hop = sends.map(|span| span.end - span.start).max().unwrap();
    assert!(pipeline <= slowest * (micro_batches + ranks - 1) + hop * (2 * (ranks + micro_batches)), "{pipeline}");
}

/// Four layers on 32 GPUs, with sequences long enough for attention to matter.
const LONG: [&str; 5] = [
    "nodes=4",
    "parallelism.pp=2",
    "model.layers=4",
    "workload.training.global_batch=8",
    "workload.training.sequence=32768",
];

#[test]
fn groups_that_share_sequences_halve_the_work_and_gather_keys_and_values() {
    let dense = "training/llama405b_h100_1f1b.toml";
    let whole = run(dense, &LONG);
    let shared = run(dense, &[&LONG[..], &["parallelism.cp=2"]].concat());
    let (one, two) = (training(&whole), training(&shared));
    // As many GPUs take as many sequences, one after the other instead of side by side.
    assert_eq!(two.ranks[0].counts[0], 2 * one.ranks[0].counts[0]);
    for (one, two) in one.chunks.iter().zip(&two.chunks) {
        assert_eq!(one.name, two.name);
        let part = two.computing / one.computing;
        // Half of all rows and half of the causal half of the scores; gradients of the embedding, rounding to tiles and launches stay.
        assert!((0.49..0.56).contains(&part), "{}: {part}", one.name);
    }
    let Some(part) = shared.parts.first() else { panic!("a step has chunks") };
    assert!(part.name.starts_with("B of"), "{}", part.name);
    let sent = part.timeline.spans().filter(|span| span.label.phase == Phase::ContextParallel);
    let bytes: u64 = sent.map(|span| if let Work::Send { bytes, .. } = span.work { bytes.get() } else { 0 }).sum();
    // In each of two layers the keys and values of 16,384 tokens leave, one head of 128 values each in BF16, and then their gradients.
    assert_eq!(bytes, 2 * 2 * 16_384 * 2 * 128 * 2);
}

#[test]
fn one_group_that_shares_a_sequence_stands_for_all() {
    let sets = [&LONG[..], &["parallelism.cp=2"]].concat();
    let folded = run("training/llama405b_h100_1f1b.toml", &sets);
    let unfolded = run("training/llama405b_h100_1f1b.toml", &[&sets[..], &["symmetry=unfold"]].concat());
    assert_eq!((folded.folding, unfolded.folding), (Folding::Exact, Folding::None));
    let (one, all) = (training(&folded), training(&unfolded));
    // Shares of flows are worked out among one group or all, and round at another picosecond.
    let near = |a: Duration, b: Duration| a.as_ps().abs_diff(b.as_ps()) <= 1_000;
    assert!(near(one.step, all.step), "{} is not {}", one.step, all.step);
    for (one, all) in one.ranks.iter().zip(&all.ranks) {
        assert_eq!(one.counts, all.counts);
        let times = |rank: &RankTime| {
            [rank.forward, rank.bubble, rank.backward, rank.weight, rank.overlapped, rank.optimizer, rank.exposed]
        };
        assert!(times(one).into_iter().zip(times(all)).all(|(a, b)| near(a, b)), "{one:?} is not {all:?}");
    }
}

#[test]
fn exchanges_that_take_their_turn_hide_behind_nothing() {
    let of = |beside: &str| {
        let beside = format!("workload.training.beside_exchanges=\"{beside}\"");
        training(&run(STEP, &["workload.training.schedule=one_f_one_b", &beside])).clone()
    };
    let (hidden, exposed) = (of("independent"), of("nothing"));
    for (hidden, exposed) in hidden.chunks.iter().zip(&exposed.chunks) {
        assert_eq!((&hidden.name, hidden.computing), (&exposed.name, exposed.computing));
        assert_eq!(exposed.exposed, exposed.communicating, "{}", exposed.name);
        let added = exposed.time - hidden.time;
        assert!(added <= exposed.exposed - hidden.exposed + Duration::from_ns(1000), "{}", exposed.name);
    }
    assert!(hidden.step < exposed.step);
}

#[test]
fn bubbles_of_given_times_are_those_of_the_formulas() {
    for (schedule, ranks) in [("one_f_one_b", 1), ("zb1p", 1), ("dual_pipe", 1), ("dual_pipe_v", 2)] {
        let schedule = format!("workload.pipeline.schedule={schedule}");
        let nodes = format!("nodes={}", 2 / ranks);
        let outcome = run("training/pipeline.toml", &[&schedule, &nodes]);
        let found = pipeline(&outcome);
        assert_eq!(found.bubble.as_ps() as f64, found.formula, "{schedule}");
        let mut spans = outcome.timeline.spans();
        assert!(spans.all(|span| matches!(span.place, Place::Stream(_))), "nothing is sent");
    }
}

#[test]
fn handing_over_costs_every_stage_a_transfer() {
    let free = run("training/pipeline.toml", &["workload.pipeline.schedule=one_f_one_b"]);
    let bytes = Bytes::new(58_720_256);
    let sets = ["workload.pipeline.schedule=one_f_one_b", "workload.pipeline.handed_over=58720256 B"];
    let sent = run("training/pipeline.toml", &sets);
    // There and back through 15 boundaries while the pipeline fills and drains.
    let least = bytes / BytesPerSec::new(160_000_000_000) * 30;
    assert!(pipeline(&sent).step >= pipeline(&free).step + least);
}

#[test]
fn recomputing_everything_costs_a_forward_pass() {
    let room = "hardware.gpu.memory.capacity=400 GB";
    let none = run("training/llama405b_h100_1f1b.toml", &["workload.training.recompute=none", room]);
    let full = run("training/llama405b_h100_1f1b.toml", &["workload.training.recompute=full", room]);
    let find = |outcome: &Outcome, name: &str| {
        training(outcome).chunks.iter().find(|chunk| chunk.name == name).expect("a middle stage").clone()
    };
    let (forward, kept) = (find(&none, "F of 8 dense"), find(&none, "B of 8 dense"));
    let more = find(&full, "B of 8 dense").time - kept.time;
    // Its computation cannot hide; its transfers may, behind gradients of weights.
    assert!(forward.computing <= more && more <= forward.time, "{more} for {forward:?}");
}

#[test]
fn work_of_a_forward_chunk_is_that_of_its_layers() {
    // A forward pass of a dense stage cannot be faster than its products at peak.
    let outcome = run("training/llama405b_h100_1f1b.toml", &[]);
    let chunk = training(&outcome).chunks.iter().find(|chunk| chunk.name == "F of 8 dense").expect("a middle stage");
    let layers: u128 = chunk.name.trim_start_matches("F of ").split(' ').next().unwrap().parse().unwrap();
    let weights = 16384 * (128 + 2 * 8) * 128 + 128 * 128 * 16384 + 3 * 16384 * 53248_u128;
    let flops = Flops::new(2 * 8192 * weights * layers / 8);
    assert!(chunk.time > flops / FlopsPerSec::new(989_000_000_000_000), "{}", chunk.time);
}
