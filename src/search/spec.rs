//! A goal as its file describes it.

use crate::scenario::Literal;
use crate::sweep::{AxisSpec, StudySpec};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A base scenario, choices, targets, and what is wanted most.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GoalSpec {
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
    /// What may be chosen: hardware, plan, batch. Every value of one choice meets every value of the others.
    pub choice: Vec<AxisSpec>,
    /// Conditions that a point must meet to be looked at, as in a study.
    #[serde(default)]
    pub keep: Vec<String>,
    /// What a deployment must meet to be an answer.
    #[serde(default)]
    pub target: Vec<TargetSpec>,
    /// What is wanted most among those that meet the targets.
    pub objective: ObjectiveSpec,
}

/// A limit on a metric.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// A metric that `octoplane run --json` prints, or `gpus` or `usd_per_hour` of the whole deployment.
    pub metric: String,
    /// The most that it may be: a number in the metric's unit, or a quantity such as `"20 ms"`.
    pub at_most: Option<Literal>,
    /// The least that it may be.
    pub at_least: Option<Literal>,
}

/// What is wanted most.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveSpec {
    /// As little as possible of this metric.
    Minimise(String),
    /// As much as possible of it.
    Maximise(String),
}

impl GoalSpec {
    /// The study of all points of the goal.
    pub fn study(&self) -> StudySpec {
        StudySpec {
            name: self.name.clone(),
            description: self.description.clone(),
            base: self.base.clone(),
            set: self.set.clone(),
            axis: self.choice.clone(),
            keep: self.keep.clone(),
            metrics: Vec::new(),
        }
    }
}
