//! Searches: pruned or not the answer is the same, and nothing beats its bound.

use crate::cli::{golden_file, octoplane, root, scratch, stdout};
use crate::golden;
use crate::tidy;
use octoplane::metrics::Better;
use octoplane::run::{forecast, simulate};
use octoplane::scenario::{Loaded, Overlay, Scenario, WorkloadSpec, load, load_with};
use octoplane::search::{self, Fate, Found, GoalSpec, Manner};
use octoplane::sweep::{Ledger, Plan, plan};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    tidy::files(&root().join(folder), "toml", &mut found);
    found.sort();
    found
}

fn goal(text: &str) -> (GoalSpec, Plan) {
    let folder = scratch("search_goal");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{:x}.toml", text.len()));
    std::fs::write(&path, text).unwrap();
    let goal: GoalSpec = load(&path, &[]).unwrap().value;
    let plan = plan(&goal.study(), &root().join("scenarios/goals")).unwrap();
    (goal, plan)
}

/// A space of 48 points, of which some do not fit.
fn small(targets: &str, objective: &str) -> (GoalSpec, Plan) {
    goal(&format!(
        r#"
        name = "small"
        base = "../h800_ep128_decode.toml"
        [[choice]]
        name = "ep"
        path = "parallelism.ep"
        values = [16, 32, 64]
        with = {{ nodes = [2, 4, 8] }}
        [[choice]]
        name = "requests_per_gpu"
        path = "workload.decode.requests_per_gpu"
        values = [1, 4, 16, 32, 64, 96, 128, 256]
        [[choice]]
        name = "micro_batches"
        path = "workload.decode.micro_batches"
        values = [1, 2]
        {targets}
        [objective]
        {objective}
        "#
    ))
}

fn found(goal: &GoalSpec, plan: &Plan, jobs: usize, everything: bool) -> Found {
    let ledger = Ledger { known: &BTreeMap::new(), log: None };
    search::search(goal, plan, Manner { jobs, everything, ledger, tick: &|| (), stop: &|| false }).unwrap()
}

fn count(found: &Found, fate: impl Fn(&Fate) -> bool) -> usize {
    found.seen.iter().filter(|seen| fate(&seen.fate)).count()
}

#[test]
fn leaving_out_what_cannot_win_changes_no_answer() {
    let tpot = "[[target]]\nmetric = \"tpot\"\nat_most = \"25 ms\"";
    let rate = "[[target]]\nmetric = \"tokens_per_s_per_gpu\"\nat_least = 300";
    let budget = "[[target]]\nmetric = \"usd_per_hour\"\nat_most = 64";
    let mut left_out = 0;
    for (targets, objective) in [
        (tpot.to_owned(), "minimise = \"usd_per_million_tokens\""),
        (format!("{rate}\n{budget}"), "minimise = \"tpot\""),
        (String::new(), "maximise = \"tokens_per_s_per_gpu\""),
        (budget.to_owned(), "minimise = \"exposed_communication\""),
    ] {
        let (goal, plan) = small(&targets, objective);
        let pruned = found(&goal, &plan, 2, false);
        let all = found(&goal, &plan, 2, true);
        assert!(all.best.is_some(), "{objective}");
        assert_eq!((pruned.best, &pruned.front), (all.best, &all.front), "{targets} {objective}");
        left_out += count(&pruned, |fate| matches!(fate, Fate::OutOfReach(..) | Fate::Beaten(_)));
        // What was left out was right to be left out.
        for (pruned, all) in pruned.seen.iter().zip(&all.seen) {
            match pruned.fate {
                Fate::OutOfReach(..) => assert!(matches!(all.fate, Fate::Misses(_)), "{all:?}"),
                Fate::Senseless | Fate::TooLarge => assert_eq!(pruned, all),
                _ => {}
            }
        }
    }
    assert!(left_out > 20, "{left_out} points were left out");
}

#[test]
fn a_search_is_the_same_for_any_number_of_jobs() {
    let (goal, plan) =
        small("[[target]]\nmetric = \"tpot\"\nat_most = \"30 ms\"", "maximise = \"tokens_per_s_per_gpu\"");
    let found = [1, 5].map(|jobs| found(&goal, &plan, jobs, false));
    assert_eq!(found[0], found[1]);
}

/// Every inference step of the repository, and variations of it.
#[test]
fn no_simulation_beats_its_bound() {
    let variations: &[&[&str]] = &[&[], &["kernel = \"roofline\""], &["hardware.gpu.kernel_launch = \"0 ns\""]];
    let sizes: &[&[&str]] = &[
        &[],
        &["workload.decode.requests_per_gpu = 1", "workload.decode.micro_batches = 1", "workload.decode.context = 1"],
        &["workload.decode.requests_per_gpu = 2", "workload.decode.context = 32768"],
    ];
    let mut compared = 0;
    for path in files("scenarios") {
        let inside = path.strip_prefix(root()).unwrap();
        if ["studies", "goals", "precision"]
            .iter()
            .any(|folder| inside.starts_with(Path::new("scenarios").join(folder)))
        {
            continue;
        }
        for variation in variations {
            for size in sizes {
                let of = |text: &&&str| Overlay {
                    name: "test".to_owned(),
                    text: (**text).to_owned(),
                    folder: Path::new("").to_owned(),
                };
                let overlays: Vec<Overlay> = variation.iter().collect::<Vec<_>>().iter().map(of).collect();
                let sized: Vec<Overlay> = size.iter().collect::<Vec<_>>().iter().map(of).collect();
                let Ok(loaded) = load_with(&path, &[overlays, sized].concat(), &Default::default()) else { continue };
                let loaded: Loaded<Scenario> = loaded;
                if !matches!(loaded.value.workload, WorkloadSpec::Decode(_) | WorkloadSpec::Prefill(_)) {
                    continue;
                }
                let Ok(forecast) = forecast(&loaded.value) else { continue };
                let Ok(outcome) = simulate(&loaded.value) else {
                    continue;
                };
                for (name, bound) in &forecast.best {
                    let named = outcome.metrics.named();
                    let metric = named.iter().find(|metric| metric.def.name == *name).expect("a bound is of a metric");
                    let less_is_better = metric.def.better == Better::Lower;
                    let kept = if less_is_better { metric.value >= *bound } else { metric.value <= *bound };
                    assert!(kept, "{} {variation:?} {size:?}: {name} {} beats {bound}", path.display(), metric.value);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 200, "{compared}");
}

#[test]
fn a_point_that_does_not_fit_is_named_before_it_runs() {
    let (goal, plan) = small("", "minimise = \"tpot\"");
    let found = found(&goal, &plan, 2, false);
    let too_large = count(&found, |fate| *fate == Fate::TooLarge);
    assert!(too_large >= 6, "{too_large}: 256 requests at 4096 tokens fit nowhere");
    for (seen, point) in found.seen.iter().zip(&plan.points) {
        if seen.fate == Fate::TooLarge {
            let loaded: Loaded<Scenario> = load_with(&plan.base, &point.overlays, &Default::default()).unwrap();
            assert!(simulate(&loaded.value).is_err(), "simulation refuses it as well");
        }
    }
}

#[test]
fn searches_print_what_they_print() {
    let mut found = Vec::new();
    for path in files("scenarios/goals") {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let out = scratch("search_golden").join(&name);
        let path = path.strip_prefix(root()).unwrap().to_owned();
        let args = ["search", path.to_str().unwrap(), "--force", "--out", out.to_str().unwrap()];
        found.push(golden::check(&golden_file(&format!("search_{name}.txt")), &stdout(&octoplane(root(), &args))));
        let picture = std::fs::read_to_string(out.join("front.svg")).unwrap();
        assert!(picture.contains("Pareto front"));
    }
    assert!(found.len() >= 2);
    golden::all(found);
}

#[test]
fn a_goal_against_the_grain_prunes_nothing_that_may_win() {
    let (goal, plan) = small("", "minimise = \"tokens_per_s_per_user\"");
    let pruned = found(&goal, &plan, 2, false);
    let all = found(&goal, &plan, 2, true);
    assert_eq!(pruned.best, all.best);
    assert!(all.best.is_some());
}

#[test]
fn broken_goals_get_one_clear_message() {
    let folder = scratch("search_broken");
    let base = std::fs::read_to_string(root().join("scenarios/goals/cheapest_decode.toml")).unwrap();
    let base = base.replace("../", &format!("{}/scenarios/", root().display()));
    let cases = [
        ("goal_unknown_metric", base.replace("metric = \"tpot\"", "metric = \"tpto\"")),
        ("goal_unknown_objective", base.replace("usd_per_million_tokens", "usd_per_milion_tokens")),
        ("goal_wrong_unit", base.replace("at_most = \"20 ms\"", "at_most = \"20 USD\"")),
        ("goal_unknown_path", base.replace("requests_per_gpu\"", "request_per_gpu\"")),
    ];
    let check = |(name, text): &(&str, String)| {
        assert_ne!(*text, base, "{name} is broken");
        let path = folder.join(format!("{name}.toml"));
        std::fs::write(&path, text).unwrap();
        let output = octoplane(root(), &["search", path.to_str().unwrap(), "--out", folder.to_str().unwrap()]);
        let message = String::from_utf8(output.stderr).unwrap().replace(&format!("{}/", folder.display()), "");
        let code = output.status.code();
        golden::check(&golden_file(&format!("broken/{name}.txt")), &format!("exit code {code:?}\n{message}"))
    };
    golden::all(cases.iter().map(check).collect());
}
