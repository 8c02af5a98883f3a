//! What a file is against what it was.

use super::baseline::{BaselineSpec, FileSpec};
use super::inspect::{Inspected, STRANDED};
use crate::metrics::{Better, Metric};
use crate::report::verdict::{Change, Judgement, LineChange, Problem, Verdict, Verdicts};
use std::collections::BTreeMap;

/// Compares what was inspected with the baseline, if there is one; `complete` says that all files were looked at, so that one that
/// the baseline knows and that is not among them is gone.
pub fn compare(inspected: &[Inspected], baseline: Option<&BaselineSpec>, complete: bool) -> Verdicts {
    let mut verdicts =
        Verdicts { files: inspected.iter().map(|now| verdict(now, baseline)).collect(), notes: Vec::new() };
    let Some(baseline) = baseline else {
        verdicts.notes.push("there is no baseline to compare with; --update writes one".to_owned());
        return verdicts;
    };
    if complete {
        for path in baseline.file.keys().filter(|path| !inspected.iter().any(|now| now.path == **path)) {
            let message = "the baseline knows this file, and it is gone; --update forgets it".to_owned();
            verdicts.files.push(Verdict {
                path: path.clone(),
                kind: "gone",
                problems: vec![Problem { message, origin: None }],
                changes: Vec::new(),
                lines: Vec::new(),
                notes: Vec::new(),
            });
        }
    }
    let better =
        verdicts.files.iter().any(|file| file.changes.iter().any(|change| change.judgement == Judgement::Better));
    if better && !verdicts.fails() {
        verdicts.notes.push("figures have become better; --update takes them as the new baseline".to_owned());
    }
    verdicts
}

fn verdict(now: &Inspected, baseline: Option<&BaselineSpec>) -> Verdict {
    let mut verdict = Verdict {
        path: now.path.clone(),
        kind: now.kind,
        problems: now.problems.clone(),
        changes: Vec::new(),
        lines: Vec::new(),
        notes: Vec::new(),
    };
    let expected = baseline.and_then(|baseline| baseline.file.get(&now.path));
    let expected = expected.is_some_and(|before| before.metrics.contains_key(STRANDED.name));
    verdict.problems.extend(now.unended.clone().filter(|_| !expected));
    let Some(baseline) = baseline else { return verdict };
    let Some(before) = baseline.file.get(&now.path) else {
        if now.problems.is_empty() {
            verdict.notes.push("not in the baseline yet; --update adds it".to_owned());
        }
        return verdict;
    };
    if now.metrics.is_empty() {
        return verdict;
    }
    verdict.changes = changes(now, baseline, before);
    if verdict.changes.iter().any(Change::is_shown) {
        verdict.lines = lines(now, before);
        let known: Vec<&str> = verdict.problems.iter().flat_map(|problem| problem.message.lines()).collect();
        verdict.notes.extend(now.details.iter().filter(|detail| !known.contains(&detail.as_str())).cloned());
    }
    verdict
}

fn changes(now: &Inspected, baseline: &BaselineSpec, before: &FileSpec) -> Vec<Change> {
    let mut changes = Vec::new();
    for Metric { def, value } in &now.metrics {
        let known = before.metrics.get(def.name).copied();
        let tolerance = baseline.tolerance(before, def.name);
        if known == Some(*value) {
            continue;
        }
        changes.push(Change {
            metric: def.name.to_owned(),
            unit: def.unit.to_owned(),
            better: def.better.name(),
            baseline: known,
            now: Some(*value),
            tolerance,
            judgement: judge(def.better, known, *value, tolerance),
        });
    }
    let gone = before.metrics.iter().filter(|(name, _)| !now.metrics.iter().any(|metric| metric.def.name == **name));
    changes.extend(gone.map(|(name, value)| Change {
        metric: name.clone(),
        unit: String::new(),
        better: Better::of_metric(name).name(),
        baseline: Some(*value),
        now: None,
        tolerance: baseline.tolerance(before, name),
        judgement: Judgement::Gone,
    }));
    changes
}

/// What to make of a metric that was `before` and is `now`.
fn judge(better: Better, before: Option<f64>, now: f64, tolerance: f64) -> Judgement {
    match before {
        None => Judgement::New,
        Some(before) if within(before, now, tolerance) => Judgement::Within,
        Some(before) if better.is_better(now, before) => Judgement::Better,
        Some(_) if better.is_neither() => Judgement::Changed,
        Some(_) => Judgement::Worse,
    }
}

/// Whether the change is one that is allowed. Below a picosecond per second, figures are the same.
fn within(before: f64, now: f64, tolerance: f64) -> bool {
    (now - before).abs() <= before.abs() * tolerance.max(1e-12)
}

fn lines(now: &Inspected, before: &FileSpec) -> Vec<LineChange> {
    let known: BTreeMap<&str, &str> = before.config.lines().filter_map(|line| line.split_once(" = ")).collect();
    let mut lines = Vec::new();
    for (path, value, origin) in &now.config {
        // The baseline keeps lines in a literal text, which cannot hold three apostrophes in a row.
        let before = known.get(path.as_str()).copied();
        if before != Some(value.replace("'''", "' ' '").as_str()) {
            lines.push(LineChange {
                path: path.clone(),
                before: before.map(str::to_owned),
                now: Some(value.clone()),
                origin: Some(origin.clone()),
            });
        }
    }
    for (path, value) in known.into_iter().filter(|(path, _)| !now.config.iter().any(|(known, _, _)| known == path)) {
        lines.push(LineChange { path: path.to_owned(), before: Some(value.to_owned()), now: None, origin: None });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{catalog, run_metrics};

    fn metric(name: &str, value: f64) -> Metric {
        let def = run_metrics().find(|def| def.name == name).expect("it is in the catalogue");
        Metric { def, value }
    }

    fn inspected(tpot: f64, rate: f64) -> Inspected {
        Inspected {
            path: "a.toml".to_owned(),
            kind: "scenario",
            readable: true,
            problems: Vec::new(),
            unended: None,
            details: Vec::new(),
            metrics: vec![metric("tpot", tpot), metric("tokens_per_s_per_gpu", rate), metric("gpus_per_token", 0.5)],
            config: vec![("nodes".to_owned(), "4".to_owned(), "a.toml:3".to_owned())],
        }
    }

    fn judged(tpot: f64, rate: f64) -> Vec<(String, Judgement)> {
        let mut baseline = BaselineSpec::default().updated(&[inspected(10.0, 100.0)], true);
        baseline.tolerance.insert("tpot".to_owned(), 0.05);
        let verdicts = compare(&[inspected(tpot, rate)], Some(&baseline), true);
        verdicts.files[0].changes.iter().map(|change| (change.metric.clone(), change.judgement)).collect()
    }

    #[test]
    fn a_run_that_does_not_end_fails_unless_the_baseline_says_so() {
        let stuck = |transfers: f64| Inspected {
            unended: Some(Problem { message: "the run did not end".to_owned(), origin: None }),
            metrics: vec![Metric { def: &STRANDED, value: transfers }],
            ..inspected(1.0, 1.0)
        };
        let known = |inspected: Inspected| BaselineSpec::default().updated(&[inspected], true);
        assert!(compare(&[stuck(16.0)], None, true).fails());
        assert!(compare(&[stuck(16.0)], Some(&known(inspected(1.0, 1.0))), true).fails());
        assert!(!compare(&[stuck(16.0)], Some(&known(stuck(16.0))), true).fails());
        assert!(compare(&[stuck(17.0)], Some(&known(stuck(16.0))), true).fails());
        assert!(compare(&[inspected(1.0, 1.0)], Some(&known(stuck(16.0))), true).fails());
    }

    #[test]
    fn changes_are_judged_by_their_size_and_direction() {
        let rate = |judgement| ("tokens_per_s_per_gpu".to_owned(), judgement);
        let tpot = |judgement| ("tpot".to_owned(), judgement);
        assert_eq!(judged(10.0, 100.0), []);
        assert_eq!(judged(10.4, 99.95), [tpot(Judgement::Within), rate(Judgement::Within)]);
        assert_eq!(judged(10.6, 100.0), [tpot(Judgement::Worse)]);
        assert_eq!(judged(9.0, 99.0), [tpot(Judgement::Better), rate(Judgement::Worse)]);
    }

    /// Whatever the metric: less and more of it are judged by its direction, and no improvement fails.
    #[test]
    fn every_metric_is_judged_by_its_direction() {
        for def in catalog() {
            for factor in [0.9, 1.1] {
                let file = |value| Inspected { metrics: vec![Metric { def, value }], ..inspected(1.0, 1.0) };
                let baseline = BaselineSpec::default().updated(&[file(5.0)], true);
                let verdicts = compare(&[file(5.0 * factor)], Some(&baseline), true);
                let expected = match (def.better, factor < 1.0) {
                    (Better::Neither(_), _) => Judgement::Changed,
                    (Better::Lower, true) | (Better::Higher, false) => Judgement::Better,
                    (Better::Lower, false) | (Better::Higher, true) => Judgement::Worse,
                };
                let change = &verdicts.files[0].changes[0];
                assert_eq!(
                    (change.judgement, change.better),
                    (expected, def.better.name()),
                    "{} of {}",
                    def.name,
                    def.of
                );
                assert_eq!(verdicts.fails(), expected != Judgement::Better, "{} of {}", def.name, def.of);
            }
        }
    }

    #[test]
    fn files_and_metrics_that_go_are_missed_and_new_ones_welcome() {
        let mut baseline = BaselineSpec::default().updated(&[inspected(10.0, 100.0)], true);
        assert!(compare(&[], Some(&baseline), true).fails());
        assert!(!compare(&[], Some(&baseline), false).fails(), "only some files were looked at");
        let file = baseline.file.get_mut("a.toml").expect("it was added");
        file.metrics.remove("gpus_per_token");
        let verdicts = compare(&[inspected(10.0, 100.0)], Some(&baseline), true);
        let changes = &verdicts.files[0].changes;
        assert_eq!((changes.len(), changes[0].metric.as_str()), (1, "gpus_per_token"));
        assert_eq!((changes[0].judgement, verdicts.fails()), (Judgement::New, false));
        baseline.file.get_mut("a.toml").expect("it was added").metrics.insert("busbw".to_owned(), 1.0);
        let verdicts = compare(&[inspected(10.0, 100.0)], Some(&baseline), true);
        let change = verdicts.files[0].changes.last().expect("a metric is gone");
        assert_eq!((change.metric.as_str(), change.now, change.better), ("busbw", None, "higher"));
        assert_eq!((change.judgement, verdicts.fails()), (Judgement::Gone, true));
        let new = Inspected { path: "b.toml".to_owned(), ..inspected(1.0, 1.0) };
        assert!(!compare(&[inspected(10.0, 100.0), new], Some(&BaselineSpec::default()), true).fails());
    }

    #[test]
    fn a_changed_line_is_named_with_its_place() {
        let baseline = BaselineSpec::default().updated(&[inspected(10.0, 100.0)], true);
        let mut now = inspected(20.0, 100.0);
        now.config[0].1 = "5".to_owned();
        let lines = compare(&[now], Some(&baseline), true).files[0].lines.clone();
        let line = &lines[0];
        assert_eq!((line.path.as_str(), line.before.as_deref(), line.now.as_deref()), ("nodes", Some("4"), Some("5")));
        assert_eq!(line.origin.as_deref(), Some("a.toml:3"));
    }
}
