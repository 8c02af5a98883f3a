//! Training steps under faults that are there all the time and on links that groups share: one rank, one group and all groups give
//! the same answer.

use octoplane::metrics::{Level, Metrics, Outcome};
use octoplane::run::simulate;
use octoplane::scenario::{Scenario, load};
use std::path::Path;

fn tried(scenario: &str, sets: &[&str]) -> Result<Outcome, String> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/training").join(scenario);
    let loaded = load::<Scenario>(&path, &sets).map_err(|error| error.to_string())?;
    simulate(&loaded.value).map_err(|invalid| loaded.error(&invalid).to_string())
}

/// Two stages of two expert-parallel groups each, on few layers.
const EXPERTS: [&str; 12] = [
    "network=flow",
    "kernel=roofline",
    "nodes=8",
    "parallelism.pp=2",
    "parallelism.ep=16",
    "parallelism.last_stage_layers=2",
    "model.layers=4",
    "model.moe.first_dense_layers=1",
    "workload.training.load_spread=0",
    "workload.training.global_batch=128",
    "workload.training.sequence=1024",
    "workload.training.skew=\"0 us\"",
];

/// A step of a mixture of experts.
fn run(sets: &[&str]) -> Outcome {
    let sets = [&EXPERTS[..], sets].concat();
    tried("v3_2048_h800_mpft.toml", &sets).unwrap_or_else(|error| panic!("{sets:?}: {error}"))
}

fn seconds(outcome: &Outcome) -> f64 {
    let Metrics::Training(metrics) = &outcome.metrics else { panic!("a training step was asked for") };
    metrics.step.as_secs()
}

fn near(one: f64, other: f64) -> bool {
    (one / other - 1.0).abs() < 1e-2
}

fn fault(target: &str, effect: &str) -> String {
    format!("fault=[{{ target = {target}, effect = {effect} }}]")
}

fn slow_nic(node: u32) -> String {
    fault(&format!("{{ nic = \"node{node:03}/nic3\" }}"), "{ degraded = { to = 0.25 } }")
}

/// Runs with all levels of symmetry, which have to agree: the answer of the automatic choice.
fn agreed(sets: &[&str]) -> Outcome {
    let found = run(sets);
    let [group, all] = ["symmetry=group", "symmetry=unfold"].map(|level| run(&[sets, &[level]].concat()));
    assert_eq!(all.symmetry.level, Level::AllGroups);
    let whole = seconds(&all);
    for (what, some) in [("found", &found), ("group", &group)] {
        let text = some.symmetry.text();
        assert!(near(seconds(some), whole), "{sets:?}\n{what} {text}: {}; all {whole}", seconds(some));
    }
    found
}

#[test]
fn a_slow_nic_costs_the_same_in_whichever_node_it_is() {
    let healthy = agreed(&[]);
    assert_eq!(healthy.symmetry.level, Level::OneRank);
    let first = seconds(&agreed(&[&slow_nic(0)]));
    assert!(first > 1.02 * seconds(&healthy), "{first} is not more than {}", seconds(&healthy));
    for node in [1, 6] {
        let found = run(&[&slow_nic(node)]);
        assert_eq!(found.symmetry.level, Level::OneGroup);
        assert!(near(seconds(&found), first), "node {node}: {} and {first}", seconds(&found));
    }
}

#[test]
fn faults_cost_what_they_cost_all() {
    let healthy = seconds(&run(&[]));
    let plane = fault("{ plane = 2 }", "\"down\"");
    let cable =
        fault("{ link = { between = [\"node003/nic2\", \"plane2/pod00/leaf000\"] } }", "{ degraded = { to = 0.5 } }");
    for fault in [plane, cable] {
        let found = agreed(&[&fault]);
        assert!(seconds(&found) > 1.01 * healthy, "{fault}: {} is not more than {healthy}", seconds(&found));
    }
}

#[test]
fn links_that_groups_share_cost_what_they_cost_all() {
    // Groups of four nodes: on two leaves of their own, and on leaves of three, of which one belongs to both.
    let groups = ["parallelism.ep=32", "topology.shape.multi_plane_fat_tree.endpoints_per_plane=8"];
    let healthy = seconds(&run(&groups));
    for each in [2, 3] {
        let leaf = format!("topology.shape.multi_plane_fat_tree.endpoints_per_leaf={each}");
        let over = format!("topology.shape.multi_plane_fat_tree.oversubscription={each}");
        let found = agreed(&[&groups[..], &[&leaf, &over]].concat());
        assert!(seconds(&found) > 1.02 * healthy, "{leaf} {over}: {} and {healthy}", seconds(&found));
    }
}

#[test]
fn plans_with_tensor_and_no_pipeline_parallelism_agree_as_well() {
    let slow = slow_nic(2);
    for plan in [
        &["parallelism.tp=2"][..],
        &["parallelism.pp=1", "parallelism.last_stage_layers=4", "workload.training.schedule=\"one_f_one_b\""],
        &["parallelism.pp=4", "parallelism.last_stage_layers=1", "parallelism.ep=8"],
    ] {
        agreed(&[plan, &[&slow]].concat());
    }
}

#[test]
fn faults_that_come_or_go_during_a_step_are_refused() {
    let slow = "target = { nic = \"node001/nic1\" }, effect = { degraded = { to = 0.5 } }";
    for when in ["from = \"1 ms\", ", "until = \"1 ms\", "] {
        let fault = format!("fault=[{{ {when}{slow} }}]");
        let refused = tried("v3_2048_h800_mpft.toml", &[&EXPERTS[..], &[&fault]].concat());
        let refused = refused.expect_err("it changes during the step");
        assert!(refused.contains("there all the time"), "{refused}");
    }
}
