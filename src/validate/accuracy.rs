//! What comparisons say of answers: how far off answers of a kind were, on which GPU and with which software.

use crate::report::validation::{Comparison, On, SetReport, Statistics, ValidationReport};
use crate::scenario::Literal;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The file, from the root.
pub const ACCURACY: &str = "validation/accuracy.toml";

/// How far simulated values are off measured ones. Written by `octoplane validate --write`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccuracySpec {
    /// Each set of measurements by GPU and engine.
    #[serde(default)]
    pub set: Vec<SetLine>,
    /// What whole answers of a kind are worth, over all sets that measure such answers.
    #[serde(default)]
    pub answer: Vec<AnswerLine>,
}

/// Errors of a set on one generation of GPU with one engine.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLine {
    /// Name of the set.
    pub set: String,
    /// Generation of the GPU.
    pub gpu: String,
    /// The engine, where there is one.
    pub engine: Option<String>,
    /// Values that were compared.
    pub rows: usize,
    /// Median of the absolute errors, as a part of the measured value.
    pub median: f64,
    /// 90th percentile of the absolute errors.
    pub p90: f64,
    /// Median of the errors with their sign: below zero where the simulation is too fast.
    pub sign: f64,
}

/// Errors of answers of one kind.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerLine {
    /// The kind of workload.
    pub workload: String,
    /// Generation of the GPU.
    pub gpu: String,
    /// The engine; without it, all of them.
    pub engine: Option<String>,
    /// The library or its kind of kernels; without it, all of them.
    pub library: Option<String>,
    /// What of the answer was measured, where several things were: "tpot".
    pub part: Option<String>,
    /// Values that were compared.
    pub rows: usize,
    /// Median of the absolute errors, as a part of the measured value.
    pub median: f64,
    /// 90th percentile of the absolute errors.
    pub p90: f64,
    /// Median of the errors with their sign: below zero where the simulation is too fast.
    pub sign: f64,
}

/// Kind of workload, generation of the GPU, engine, library, part.
type AnswerKey = (String, String, Option<String>, Option<String>, Option<String>);

impl AccuracySpec {
    /// What `report` amounts to.
    pub fn of(report: &ValidationReport) -> AccuracySpec {
        let mut answers: BTreeMap<AnswerKey, Vec<f64>> = BTreeMap::new();
        for set in &report.sets {
            for (comparison, error) in errors(set) {
                let Some(workload) = set.workload else { continue };
                let On { gpu, engine, library } = comparison.on.clone();
                let part = Some(comparison.part.to_owned()).filter(|part| !part.is_empty());
                // Whoever asks may know the engine, the library, both or neither.
                let mut asked = vec![(None, None), (engine.clone(), None), (None, library.clone()), (engine, library)];
                asked.sort();
                asked.dedup();
                for (engine, library) in asked {
                    let key = (workload.to_owned(), gpu.clone(), engine, library, part.clone());
                    answers.entry(key).or_default().push(error);
                }
            }
        }
        let answer = |((workload, gpu, engine, library, part), errors): (AnswerKey, Vec<f64>)| {
            let Statistics { rows, median_abs_error: median, p90_abs_error: p90, median_error: sign, .. } =
                Statistics::of(errors)?;
            Some(AnswerLine { workload, gpu, engine, library, part, rows, median, p90, sign })
        };
        AccuracySpec {
            set: report.sets.iter().flat_map(set_lines).collect(),
            answer: answers.into_iter().filter_map(answer).collect(),
        }
    }

    /// The lines on answers of a kind on a generation of GPU, one for each part that was measured. Without an `engine` or a
    /// `library` they are over all of them.
    pub fn lines(
        &self,
        workload: &str,
        gpu: &str,
        engine: Option<&str>,
        library: Option<&str>,
    ) -> impl Iterator<Item = &AnswerLine> {
        self.answer.iter().filter(move |line| {
            let asked = (line.engine.as_deref(), line.library.as_deref()) == (engine, library);
            asked && line.workload == workload && line.gpu == gpu
        })
    }

    /// The file itself.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "#:schema ../schemas/accuracy.schema.json\n# How far simulated values are off measured ones, as parts of the measured \
             value. Written by `octoplane validate --write`.\n",
        );
        let mut line = |line: String| writeln!(text, "{line}").expect("writing to a string");
        let quoted = |text: &str| Literal::Text(text.to_owned()).to_toml();
        let rounded = |value: f64| Literal::Float((value * 1e4).round() / 1e4).to_toml();
        let statistics = |rows: usize, [median, p90, sign]: [f64; 3]| {
            let [median, p90, sign] = [median, p90, sign].map(rounded);
            format!("rows = {rows}\nmedian = {median}\np90 = {p90}\nsign = {sign}")
        };
        for of in &self.set {
            line(format!("\n[[set]]\nset = {}\ngpu = {}", quoted(&of.set), quoted(&of.gpu)));
            of.engine.iter().for_each(|engine| line(format!("engine = {}", quoted(engine))));
            line(statistics(of.rows, [of.median, of.p90, of.sign]));
        }
        for of in &self.answer {
            line(format!("\n[[answer]]\nworkload = {}\ngpu = {}", quoted(&of.workload), quoted(&of.gpu)));
            let named = [("engine", &of.engine), ("library", &of.library), ("part", &of.part)];
            for (name, value) in named {
                value.iter().for_each(|value| line(format!("{name} = {}", quoted(value))));
            }
            line(statistics(of.rows, [of.median, of.p90, of.sign]));
        }
        text
    }
}

fn errors(set: &SetReport) -> impl Iterator<Item = (&Comparison, f64)> {
    set.comparisons.iter().filter_map(|comparison| Some((comparison, comparison.error()?)))
}

/// A line for each generation of GPU and engine that the set has.
fn set_lines(set: &SetReport) -> Vec<SetLine> {
    let mut groups: BTreeMap<(String, Option<String>), Vec<f64>> = BTreeMap::new();
    for (comparison, error) in errors(set) {
        groups.entry((comparison.on.gpu.clone(), comparison.on.engine.clone())).or_default().push(error);
    }
    let line = |((gpu, engine), errors): ((String, Option<String>), Vec<f64>)| {
        let Statistics { rows, median_abs_error: median, p90_abs_error: p90, median_error: sign, .. } =
            Statistics::of(errors)?;
        Some(SetLine { set: set.id.to_owned(), gpu, engine, rows, median, p90, sign })
    };
    groups.into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> ValidationReport {
        let comparison = |gpu: &str, engine: &str, library: &str, part: &'static str, simulated: f64| Comparison {
            line: 1,
            key: Vec::new(),
            part,
            unit: "ms",
            measured: 1.0,
            simulated: if simulated.is_nan() { Err("skipped".to_owned()) } else { Ok(simulated) },
            on: On {
                gpu: gpu.to_owned(),
                engine: Some(engine.to_owned()).filter(|engine| !engine.is_empty()),
                library: Some(library.to_owned()).filter(|library| !library.is_empty()),
            },
        };
        let set = |id, workload, comparisons| SetReport {
            id,
            title: "",
            workload,
            file: String::new(),
            group_by: &[],
            comparisons,
        };
        let served = vec![
            comparison("Hopper", "vllm", "", "tpot", 1.1),
            comparison("Hopper", "sglang", "", "tpot", 0.7),
            comparison("Hopper", "sglang", "", "ttft", 2.0),
            comparison("Blackwell", "sglang", "", "tpot", f64::NAN),
        ];
        let exchanged = vec![
            comparison("Hopper", "", "normal", "dispatch", 1.2),
            comparison("Hopper", "", "low_latency", "dispatch", 0.8),
        ];
        let kernels = vec![comparison("Hopper", "", "", "", 1.5)];
        let sets = vec![
            set("served", Some("serving"), served),
            set("exchanged", Some("moe_exchange"), exchanged),
            set("kernels", None, kernels),
        ];
        ValidationReport { kernel: "tile".to_owned(), network: "flow".to_owned(), sets }
    }

    #[test]
    fn an_answer_finds_the_line_that_is_its_own() {
        let accuracy = AccuracySpec::of(&report());
        let found = |workload: &str, gpu: &str, engine: Option<&str>, library: Option<&str>| {
            let lines = accuracy.lines(workload, gpu, engine, library);
            lines.map(|line| (line.part.clone().unwrap_or_default(), line.rows, line.sign)).collect::<Vec<_>>()
        };
        let [tpot, ttft] = ["tpot", "ttft"].map(str::to_owned);
        let near = |found: Vec<(String, usize, f64)>, wanted: &[(&str, usize, f64)]| {
            assert_eq!(found.len(), wanted.len(), "{found:?}");
            for ((part, rows, sign), wanted) in found.iter().zip(wanted) {
                assert_eq!((part.as_str(), *rows), (wanted.0, wanted.1));
                assert!((sign - wanted.2).abs() < 1e-9, "{sign} is not {}", wanted.2);
            }
        };
        near(found("serving", "Hopper", None, None), &[(&tpot, 2, -0.1), (&ttft, 1, 1.0)]);
        near(found("serving", "Hopper", Some("vllm"), None), &[(&tpot, 1, 0.1)]);
        near(found("moe_exchange", "Hopper", None, Some("low_latency")), &[("dispatch", 1, -0.2)]);
        near(found("moe_exchange", "Hopper", None, None), &[("dispatch", 2, 0.0)]);
        // What was skipped was not compared, and kernels are no answers.
        near(found("serving", "Blackwell", None, None), &[]);
        near(found("decode", "Hopper", None, None), &[]);
        assert_eq!(accuracy.set.iter().map(|line| line.rows).sum::<usize>(), 3 + 2 + 1);
    }
}
