//! What commands keep, read back: only the keys that a page shows.

use super::sweep::SweepTable;
use crate::report::chart::Trade;
use crate::report::figures::{AssumptionRow, FigureRow};
use crate::report::inside::Inside;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A result on which a page can be built.
#[derive(Clone, Debug)]
pub enum Kept {
    /// The `summary.json` of a run, and its `pictures.json` where there is one.
    Run(RunSummary, Option<Inside>),
    /// The table of a sweep.
    Sweep(SweepTable),
    /// The `figures.json` of a reproduction.
    Figures(Figures),
    /// The `found.json` of a search.
    Search(Search),
    /// What `validate --json` prints.
    Validation(Validation),
}

/// The answer to one scenario.
#[derive(Clone, Debug, Deserialize)]
pub struct RunSummary {
    pub(super) scenario: String,
    pub(super) gpus: u64,
    pub(super) seed: u64,
    pub(super) version: String,
    pub(super) folding: String,
    #[serde(default)]
    pub(super) models: String,
    #[serde(default)]
    pub(super) with: Vec<String>,
    #[serde(default)]
    pub(super) notes: Vec<String>,
    /// What was simulated.
    pub(super) facts: Option<Value>,
    /// Why the run did not end, if it did not.
    pub(super) failure: Option<String>,
    /// None where the run did not end.
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) metrics: BTreeMap<String, MetricRow>,
    pub(super) phases: Vec<PhaseRow>,
    pub(super) critical_path: Vec<PathRow>,
    pub(super) memory: Option<MemoryRow>,
}

/// One metric.
#[derive(Clone, Debug, Deserialize)]
pub struct MetricRow {
    /// None where it is not finite.
    pub(super) value: Option<f64>,
    pub(super) unit: String,
    pub(super) definition: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PhaseRow {
    pub phase: String,
    pub kind: String,
    pub operations: u64,
    pub busy_us: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PathRow {
    pub phase: String,
    pub bound_by: String,
    pub time_us: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct MemoryRow {
    pub weights_bytes: u64,
    pub kv_cache_bytes: u64,
    pub activations_bytes: u64,
    #[serde(default)]
    pub gradients_bytes: u64,
    #[serde(default)]
    pub optimizer_bytes: u64,
    pub capacity_bytes: u64,
}

/// Published figures beside simulated ones.
#[derive(Clone, Debug, Deserialize)]
pub struct Figures {
    pub(super) figures: Vec<FigureRow>,
    #[serde(default)]
    pub(super) assumptions: Vec<AssumptionRow>,
}

/// What a search found.
#[derive(Clone, Debug, Deserialize)]
pub struct Search {
    pub(super) goal: String,
    pub(super) description: String,
    pub(super) objective: String,
    pub(super) targets: Vec<String>,
    pub(super) axes: Vec<String>,
    pub(super) shown: Vec<String>,
    pub(super) best: Option<usize>,
    pub(super) front: Vec<usize>,
    pub(super) chart: Option<Trade>,
    pub(super) points: Vec<FoundRow>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct FoundRow {
    pub choice: BTreeMap<String, String>,
    pub fate: String,
    pub record: FoundRecord,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct FoundRecord {
    /// Name, unit, value; none of a point that was not simulated.
    #[serde(default)]
    pub metrics: Vec<(String, String, Option<f64>)>,
}

/// Error statistics of sets of measurements.
#[derive(Clone, Debug, Deserialize)]
pub struct Validation {
    pub(super) sets: Vec<SetRow>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct SetRow {
    pub id: String,
    pub title: String,
    pub compared: u64,
    pub skipped: u64,
    pub median_abs_error: Option<f64>,
    pub p90_abs_error: Option<f64>,
    pub mape: Option<f64>,
    pub median_error: Option<f64>,
    pub groups: Vec<GroupRow>,
    pub worst: Vec<WorstRow>,
    /// Every measured value; earlier versions did not keep them.
    #[serde(default)]
    pub points: Vec<PointRow>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PointRow {
    pub key: BTreeMap<String, String>,
    pub part: String,
    pub unit: String,
    pub measured: f64,
    pub simulated: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct GroupRow {
    pub group: BTreeMap<String, String>,
    pub rows: u64,
    pub median_abs_error: f64,
    pub p90_abs_error: f64,
    pub median_error: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct WorstRow {
    pub key: BTreeMap<String, String>,
    pub part: String,
    pub unit: String,
    pub measured: f64,
    pub simulated: Option<f64>,
    pub error: f64,
}

/// Nothing where there is `null`.
fn or_nothing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, MetricRow>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What a JSON text holds, by the keys that only one command writes.
///
/// # Errors
/// When it is not the answer of a command, with the reason.
pub fn kept_json(text: &str) -> Result<Kept, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))?;
    let has = |key: &str| value.get(key).is_some();
    let kept = if has("critical_path") {
        serde_json::from_value(value).map(|run| Kept::Run(run, None))
    } else if has("figures") {
        serde_json::from_value(value).map(Kept::Figures)
    } else if has("goal") {
        serde_json::from_value(value).map(Kept::Search)
    } else if has("sets") {
        serde_json::from_value(value).map(Kept::Validation)
    } else {
        return Err("this is JSON, but no answer of run, search, reproduce or validate".to_owned());
    };
    kept.map_err(|error| format!("this answer is of another version: {error}"))
}
