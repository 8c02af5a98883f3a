//! What is simulated for what: one rank for its group, one group for all groups, and all of them give the same answer wherever the
//! automatic choice says that they do.

use octoplane::metrics::{Level, Metrics, Outcome};
use octoplane::run::simulate;
use octoplane::scenario::{Scenario, load};
use std::path::Path;

fn tried(scenario: &str, sets: &[&str]) -> Result<Outcome, String> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(scenario);
    let loaded = load::<Scenario>(&path, &sets).map_err(|error| error.to_string())?;
    simulate(&loaded.value).map_err(|invalid| loaded.error(&invalid).to_string())
}

fn run(scenario: &str, sets: &[&str]) -> Outcome {
    tried(scenario, sets).unwrap_or_else(|error| panic!("{sets:?}: {error}"))
}

/// Seconds of the step, or of dispatch and combine.
fn seconds(outcome: &Outcome) -> f64 {
    match &outcome.metrics {
        Metrics::Decode(metrics) => metrics.step.as_secs(),
        Metrics::Prefill(metrics) => metrics.step.as_secs(),
        Metrics::MoeExchange(metrics) => metrics.dispatch.as_secs() + metrics.combine.as_secs(),
        other => panic!("{other:?} has no step"),
    }
}

const DECODE: &str = "h800_ep128_decode.toml";

/// One layer with experts, as many as all GPUs can be simulated with, and kernels that take no time, so that the network decides.
const SMALL: [&str; 6] = [
    "network=flow",
    "model.layers=4",
    "kernel=instant",
    "workload.decode.requests_per_gpu=64",
    "workload.decode.micro_batches=1",
    "workload.decode.context=1024",
];

fn decode(sets: &[&str]) -> Outcome {
    run(DECODE, &[&SMALL[..], sets].concat())
}

fn fault(target: &str, effect: &str) -> String {
    format!("fault=[{{ target = {target}, effect = {effect} }}]")
}

fn near(one: f64, other: f64) -> bool {
    (one / other - 1.0).abs() < 1e-2
}

#[test]
fn a_fault_costs_the_same_whether_symmetry_is_looked_for_or_not() {
    let groups = ["nodes=4", "parallelism.ep=16"];
    let healthy = seconds(&decode(&groups));
    for (target, effect, level) in [
        ("{ plane = 0 }", "\"down\"", Level::OneGroup),
        ("{ plane = 5 }", "\"down\"", Level::OneGroup),
        ("{ nic = \"node000/nic3\" }", "{ degraded = { to = 0.25 } }", Level::OneGroup),
        ("{ nic = \"node003/nic2\" }", "{ degraded = { to = 0.25 } }", Level::OneGroup),
    ] {
        let fault = fault(target, effect);
        let sets = [&groups[..], &[fault.as_str()]].concat();
        let found = decode(&sets);
        let all = decode(&[&sets[..], &["symmetry=unfold"]].concat());
        assert_eq!((found.symmetry.level, all.symmetry.level), (level, Level::AllGroups), "{fault}");
        assert!(near(seconds(&found), seconds(&all)), "{fault}: {} {}", seconds(&found), seconds(&all));
        assert!(seconds(&found) > 1.02 * healthy, "{fault} costs something: {} {healthy}", seconds(&found));
    }
}

#[test]
fn it_does_not_matter_in_which_group_a_nic_is_slow() {
    let cost = |node: u32, sets: &[&str]| {
        let fault = fault(&format!("{{ nic = \"node{node:03}/nic3\" }}"), "{ degraded = { to = 0.25 } }");
        seconds(&decode(&[&["nodes=6", "parallelism.ep=16", fault.as_str()], sets].concat()))
    };
    let first = cost(0, &[]);
    for sets in [&[][..], &["symmetry=unfold"], &["symmetry=group"]] {
        for node in [0, 3, 5] {
            assert!(near(cost(node, sets), first), "node {node} with {sets:?}: {} {first}", cost(node, sets));
        }
    }
}

#[test]
fn a_fault_that_touches_no_group_changes_nothing_and_one_that_heals_counts() {
    let of = |fault: &str| decode(&["nodes=4", "parallelism.ep=16", fault]);
    let healthy = decode(&["nodes=4", "parallelism.ep=16"]);
    assert_eq!(healthy.symmetry.level, Level::OneRank);
    // Four nodes send nothing over the spines.
    let spine = of(&fault("{ switch = \"plane0/pod00/spine000\" }", "\"down\""));
    assert_eq!((seconds(&spine), spine.symmetry.level), (seconds(&healthy), Level::OneRank));
    let late = "fault=[{ from = \"100 us\", until = \"300 us\", target = { nic = \"node002/nic1\" }, effect = { degraded = { to = 0.1 } } }]";
    let (found, all) = (of(late), decode(&["nodes=4", "parallelism.ep=16", late, "symmetry=unfold"]));
    assert!(found.symmetry.level > Level::OneRank && near(seconds(&found), seconds(&all)));
    assert!(seconds(&found) > seconds(&healthy));
}

#[test]
fn links_that_are_shared_cost_what_they_cost_all() {
    let shape = "topology.shape.multi_plane_fat_tree";
    let leaves = [format!("{shape}.endpoints_per_leaf=4"), format!("{shape}.endpoints_per_plane=8")];
    let leaves = [leaves[0].as_str(), leaves[1].as_str(), "nodes=8", "parallelism.ep=64"];
    let at = |over: u32, sets: &[&str]| {
        let over = format!("{shape}.oversubscription={over}");
        decode(&[&leaves[..], &[over.as_str()], sets].concat())
    };
    let one = at(1, &[]);
    assert_eq!(one.symmetry.level, Level::OneRank);
    for over in [2, 4] {
        let (found, all) = (at(over, &[]), at(over, &["symmetry=unfold"]));
        assert_eq!(found.symmetry.level, Level::OneRank, "{:?}", found.symmetry);
        assert!(near(seconds(&found), seconds(&all)), "1:{over}: {} {}", seconds(&found), seconds(&all));
    }
    assert!(seconds(&at(4, &[])) > 1.5 * seconds(&one));
}

#[test]
fn groups_that_cross_leaves_decide_beside_others_that_do_not() {
    // Groups of four nodes on leaves of six: the second one crosses.
    let sets = |symmetry: &'static str| {
        let leaf = "topology.shape.multi_plane_fat_tree.endpoints_per_leaf=6";
        let over = "topology.shape.multi_plane_fat_tree.oversubscription=6";
        let size = "topology.shape.multi_plane_fat_tree.endpoints_per_plane=12";
        ["nodes=12", "parallelism.ep=32", leaf, over, size, symmetry]
    };
    let (found, all) = (decode(&sets("symmetry=fold")), decode(&sets("symmetry=unfold")));
    assert!(near(seconds(&found), seconds(&all)), "{} {}", seconds(&found), seconds(&all));
    let none = decode(&["nodes=12", "parallelism.ep=32"]);
    assert!(seconds(&found) > 1.1 * seconds(&none), "{} {}", seconds(&found), seconds(&none));
    assert!(found.symmetry.simulated > 1, "{:?}", found.symmetry);
}

#[test]
fn what_would_need_more_memory_than_there_is_is_refused_with_the_figure() {
    let sets = ["symmetry=unfold", "simulation_memory=\"100 MB\"", "nodes=16"];
    let refused = tried(DECODE, &sets).expect_err("too large");
    assert!(refused.contains("takes about") && refused.contains("100 MB are left"), "{refused}");
    assert!(tried(DECODE, &[&SMALL[..], &["simulation_memory=\"100 MB\""]].concat()).is_ok());
}

/// A number below `n`, by a hash of what came before.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % n as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A small deployment with at least two expert-parallel groups, by chance.
fn drawn(dice: &mut Dice) -> Vec<String> {
    let (nodes, ep) = [(2, 8), (4, 8), (4, 16), (6, 16), (8, 16), (8, 32)][dice.below(6)];
    let planes = dice.below(2) == 0;
    let shape = if planes { "multi_plane_fat_tree" } else { "fat_tree" };
    let file = if planes { "mpft_2048" } else { "ft2" };
    let nodes_of_leaf = 1 + dice.below(4);
    let of_leaf = if planes { nodes_of_leaf } else { 8 * nodes_of_leaf };
    let over = [1, 1, 2, 4, 8][dice.below(5)].min(of_leaf);
    let node = dice.below(nodes);
    let fault = match dice.below(6) {
        0 => fault(&format!("{{ nic = \"node{node:03}/nic{}\" }}", dice.below(4)), "{ degraded = { to = 0.3 } }"),
        1 => fault(&format!("{{ nic = \"node{node:03}/nic{}\" }}", dice.below(4)), "\"down\""),
        2 if planes => {
            fault(&format!("{{ plane = {} }}", dice.below(8)), dice.one(&["\"down\"", "{ degraded = { to = 0.5 } }"]))
        }
        3 => format!(
            "fault=[{{ from = \"50 us\", until = \"400 us\", target = {{ nic = \"node{node:03}/nic1\" }}, effect = {{ degraded = {{ to = 0.2 }} }} }}]"
        ),
        _ => "fault=[]".to_owned(),
    };
    let kernels = dice.one(&["low_latency", "low_latency", "normal"]);
    vec![
        format!("nodes={nodes}"),
        format!("parallelism.ep={ep}"),
        format!("topology.extends=topologies/{file}.toml"),
        format!("topology.shape.{shape}.endpoints_per_leaf={of_leaf}"),
        format!("topology.shape.{shape}.oversubscription={over}"),
        if planes { format!("topology.shape.{shape}.endpoints_per_plane={nodes}") } else { "symmetry=fold".to_owned() },
        format!("kernel={}", dice.one(&["instant", "instant", "roofline"])),
        format!("hardware.nics.count={}", if planes || dice.below(2) == 0 { 8 } else { 4 }),
        format!("routing.policy={}", dice.one(&["static", "static", "ecmp", "adaptive", "spray"])),
        format!("routing.forward={}", dice.one(&["own_nic", "own_nic", "scale_up"])),
        format!(
            "workload.decode.experts.gate={}",
            dice.one(&["uniform", "uniform", "balanced", "{ zipf = { offset = 20 } }"])
        ),
        format!("workload.decode.experts.kernels={kernels}"),
        format!("workload.decode.micro_batches={}", 1 + dice.below(2)),
        format!("parallelism.tp={}", [1, 1, 2, 8][dice.below(4)]),
        format!("seed={}", 1 + dice.below(3)),
        fault,
    ]
}

/// One rank, one group and all groups, as far as each is allowed. What was simulated of the first.
fn compare(sets: &[String], more: &[&str]) -> Level {
    let sets: Vec<&str> = sets.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let found = decode(&sets);
    let group = decode(&[&sets[..], &["symmetry=group"]].concat());
    let all = decode(&[&sets[..], &["symmetry=unfold"]].concat());
    let [one, some, whole] = [&found, &group, &all].map(seconds);
    assert!(near(one, whole), "{sets:?}\n{}: {one}; all {whole}", found.symmetry.text());
    assert!(near(some, whole), "{sets:?}\n{}: {some}; all {whole}", group.symmetry.text());
    found.symmetry.level
}

#[test]
fn one_rank_is_one_group_is_all_groups() {
    let mut levels = [0; 3];
    for seed in 0..cases() {
        let level = compare(&drawn(&mut Dice(seed)), &[]);
        levels[level as usize] += 1;
    }
    assert!(levels.iter().all(|&found| found > 0), "every level is chosen: {levels:?}");
}

/// Deployments to compare; `OCTOPLANE_CASES` asks for more.
fn cases() -> u64 {
    std::env::var("OCTOPLANE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24)
}
