//! Every number of the hardware decides something: each is changed, and some scenario has to move, or a list here says why none does.

use crate::cli::root;
use octoplane::run::simulate;
use octoplane::scenario::{Loaded, Scenario, load};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Scenarios and what makes them quick. Together they use every part of the hardware.
const SCENARIOS: &[(&str, &[&str])] = &[
    ("scenarios/llama70b_a100_int8_decode.toml", &["model.layers=2"]),
    ("scenarios/llama405b_h200_decode.toml", &["model.layers=2"]),
    ("scenarios/qwen72b_h800_decode.toml", &["model.layers=2"]),
    ("scenarios/h200_node_decode.toml", &["model.layers=4"]),
    ("scenarios/h800_ep32_prefill.toml", &["model.layers=4"]),
    (
        "scenarios/gb200_nvl72_decode.toml",
        &["model.layers=4", "precision.operands=\"fp4\"", "precision.weights=\"fp4\""],
    ),
    ("scenarios/moe/deepep_low_latency_h100.toml", &[]),
    ("scenarios/moe/deepep_normal_h800.toml", &[]),
    ("scenarios/moe/nvl72_one_sided.toml", &[]),
    ("scenarios/collectives/send_infiniband.toml", &["network=\"packet\""]),
    ("scenarios/collectives/all_reduce_h100.toml", &[]),
    ("scenarios/local/v3_server.toml", &["model.layers=4"]),
];

/// Keys that move nothing here, by the start of their path, and why.
const IDLE: &[(&str, &str)] = &[];

/// The figures of a scenario; none where it cannot run.
fn figures(path: &Path, sets: &[String]) -> Option<Vec<(String, f64)>> {
    let loaded: Loaded<Scenario> = load(path, sets).ok()?;
    let outcome = simulate(&loaded.value).ok()?;
    Some(outcome.metrics.named().into_iter().map(|metric| (metric.def.name.to_owned(), metric.value)).collect())
}

/// `value` times `factor`: a number by itself, or a text of a number and its unit.
fn scaled(value: &str, factor: f64) -> Option<String> {
    let text = value.trim_matches('"');
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok().filter(|&number| number != 0.0)?;
    if text[end..].starts_with(|c: char| !c.is_whitespace()) {
        return None;
    }
    let times = number * factor;
    let whole = !text[..end].contains('.') && text.len() == end;
    let number = if whole { format!("{}", times.round() as u64) } else { format!("{times}") };
    Some(if value.starts_with('"') { format!("\"{number}{}\"", &text[end..]) } else { number })
}

/// Whether a change of `key` moves `scenario`, whose figures are `before` without. What cannot be is no answer.
fn moves(path: &Path, sets: &[&str], before: &[(String, f64)], (key, value): (&str, &str)) -> bool {
    [2.0, 0.8, 0.5].into_iter().filter_map(|factor| scaled(value, factor)).any(|changed| {
        let all: Vec<String> = sets.iter().map(|&set| set.to_owned()).chain([format!("{key}={changed}")]).collect();
        figures(path, &all).is_some_and(|after| after != before)
    })
}

#[test]
fn every_number_of_the_hardware_moves_some_scenario() {
    let mut keys: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    let mut before = Vec::new();
    for (at, (file, sets)) in SCENARIOS.iter().enumerate() {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        let path = root().join(file);
        let loaded: Loaded<Scenario> = load(&path, &sets).unwrap_or_else(|error| panic!("{file}: {error}"));
        before.push(figures(&path, &sets).unwrap_or_else(|| panic!("{file} cannot run")));
        for (key, value, _) in loaded.leaves() {
            if key.starts_with("hardware.") && !key.contains(".source.") && scaled(&value, 2.0).is_some() {
                keys.entry(key).or_default().push((at, value));
            }
        }
    }
    assert!(keys.len() > 150, "{} keys", keys.len());
    let (next, idle) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let all: Vec<(&String, &Vec<(usize, String)>)> = keys.iter().collect();
    let work = || {
        while let Some((key, places)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let moved = places.iter().any(|(at, value)| {
                let (file, sets) = SCENARIOS[*at];
                moves(&root().join(file), sets, &before[*at], (key, value))
            });
            if !moved {
                idle.lock().unwrap().insert((*key).clone());
            }
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let idle = idle.into_inner().unwrap();
    let listed = |key: &String| IDLE.iter().any(|(start, _)| key.starts_with(start));
    let silent: Vec<&String> = idle.iter().filter(|key| !listed(key)).collect();
    assert!(silent.is_empty(), "these numbers change nothing and are not listed:\n{silent:#?}");
    for (start, why) in IDLE {
        assert!(idle.iter().any(|key| key.starts_with(start)), "`{start}` moves something, and is listed: {why}");
    }
}
