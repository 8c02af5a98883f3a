//! What figures were: a file that people review and `check --update` writes.

use super::inspect::Inspected;
use crate::scenario::Literal;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The relative change that is allowed of a metric for which no other is stated.
pub(super) const TOLERANCE: f64 = 0.001;

/// The figures of a repository's files as they were.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineSpec {
    /// Relative change that is allowed, by metric; `default` for all others.
    #[serde(default)]
    pub tolerance: BTreeMap<String, f64>,
    /// The files, by path from the repository's root.
    #[serde(default)]
    pub file: BTreeMap<String, FileSpec>,
}

/// One file as it was.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Its metrics.
    pub metrics: BTreeMap<String, f64>,
    /// Its configuration, everything merged, without sources and descriptions: a line for each value.
    #[serde(default)]
    pub config: String,
    /// Relative change that is allowed in this file, by metric.
    #[serde(default)]
    pub tolerance: BTreeMap<String, f64>,
}

impl BaselineSpec {
    /// The relative change that is allowed of `metric` in `file`.
    pub(super) fn tolerance(&self, file: &FileSpec, metric: &str) -> f64 {
        let stated = file.tolerance.get(metric).or(file.tolerance.get("default"));
        *stated.or(self.tolerance.get(metric)).or(self.tolerance.get("default")).unwrap_or(&TOLERANCE)
    }

    /// The baseline with the files just inspected in place of what it knew of them; tolerances stay. Files that are no longer there
    /// are left out if `complete` says that all were looked at.
    pub fn updated(&self, inspected: &[Inspected], complete: bool) -> BaselineSpec {
        let mut file = if complete { BTreeMap::new() } else { self.file.clone() };
        for now in inspected.iter().filter(|now| now.problems.is_empty()) {
            let tolerance = self.file.get(&now.path).map(|before| before.tolerance.clone()).unwrap_or_default();
            let metrics = now.metrics.iter().map(|metric| (metric.def.name.to_owned(), metric.value)).collect();
            let config = now.config.iter().map(|(path, value, _)| format!("{path} = {value}\n")).collect();
            file.insert(now.path.clone(), FileSpec { metrics, config, tolerance });
        }
        let mut tolerance = self.tolerance.clone();
        tolerance.entry("default".to_owned()).or_insert(TOLERANCE);
        BaselineSpec { tolerance, file }
    }

    /// The file itself.
    pub fn to_toml(&self, schema: &str) -> String {
        let mut text = format!("#:schema {schema}\n");
        text.push_str("# What `octoplane check` compares with. Written by `octoplane check --update`, which keeps the tolerances.\n");
        let quoted = |text: &str| Literal::Text(text.to_owned()).to_toml();
        let mut line = |line: String| writeln!(text, "{line}").expect("writing to a string");
        let numbers = |header: String, numbers: &BTreeMap<String, f64>, line: &mut dyn FnMut(String)| {
            line(format!("\n{header}"));
            for (name, value) in numbers {
                line(format!("{name} = {}", Literal::Float(*value).to_toml()));
            }
        };
        numbers("[tolerance]".to_owned(), &self.tolerance, &mut line);
        for (path, file) in &self.file {
            numbers(format!("[file.{}.metrics]", quoted(path)), &file.metrics, &mut line);
            if !file.tolerance.is_empty() {
                numbers(format!("[file.{}.tolerance]", quoted(path)), &file.tolerance, &mut line);
            }
            line(format!("\n[file.{}]\nconfig = '''\n{}'''", quoted(path), file.config.replace("'''", "' ' '")));
        }
        text
    }
}
