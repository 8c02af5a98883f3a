//! A study as its file describes it.

use crate::scenario::Literal;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A base scenario and the axes along which it varies.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StudySpec {
    /// Name, for people.
    pub name: String,
    /// The question that it answers.
    #[serde(default)]
    pub description: String,
    /// The scenario that is varied; the path starts at this file's folder.
    pub base: String,
    /// Values that all points share, by dotted path into the scenario.
    #[serde(default)]
    pub set: BTreeMap<String, Literal>,
    /// The axes. Every value of one meets every value of the others; the last one varies fastest.
    pub axis: Vec<AxisSpec>,
    /// Conditions that a point must meet to be simulated, such as `"ep <= 64 or batch < 128"`: names of axes, numbers, quoted texts,
    /// `+ - * /`, comparisons, `and`, `or`, parentheses. A quantity counts as the number that it begins with.
    #[serde(default)]
    pub keep: Vec<String>,
    /// The metrics to keep, by the names that `octoplane run --json` prints; all of them without it.
    #[serde(default)]
    pub metrics: Vec<String>,
}

/// One axis.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AxisSpec {
    /// Name of its column: letters, digits and underscores.
    pub name: String,
    /// The value of the scenario that varies, by its dotted path. A path that ends in `extends` varies a choice of files, which are
    /// looked up from this file's folder.
    pub path: String,
    /// Its values, one by one.
    pub values: Option<Vec<Literal>>,
    /// Its values, evenly spaced.
    pub range: Option<RangeSpec>,
    /// Further paths that vary together with the first one: as many values for each of them.
    #[serde(default)]
    pub with: BTreeMap<String, Vec<Literal>>,
    /// What the table calls each value.
    pub labels: Option<Vec<String>>,
}

/// Evenly spaced values: in sums (`step`) or in products (`times`).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeSpec {
    /// The first value.
    pub from: Literal,
    /// The last value that may occur, in the unit of the first.
    pub to: Literal,
    /// What is added to go on to the next value, in the same unit.
    pub step: Option<f64>,
    /// What is multiplied with to go on to the next value.
    pub times: Option<f64>,
}
