//! Works out single values: runs, ratios of runs, properties of models and fabrics, prices.

use super::spec::{From, ModelQuantity, NodeDays, RunMetric, SettingSpec, TokenRevenue, TopologyQuantity};
use crate::dtype::Dtype;
use crate::hardware::GpuSpec;
use crate::metrics::{Better, Metric, unit_factor};
use crate::model::{FlopConvention, ModelSpec, Parameters};
use crate::numerics::{Accumulator, worst_error};
use crate::run::simulate;
use crate::scenario::{Loaded, Scenario, UserError, load};
use crate::topology::{FabricMeasures, TopologySpec, measure_spec};
use crate::units::Count;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Sequence length of arXiv 2505.09343, table 2.
const SEQUENCE: u32 = 4096;

/// A value that was worked out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    /// The value, a mean where several seeds were taken.
    pub(super) value: f64,
    /// The least and the greatest over the seeds, where several were taken.
    pub(super) range: Option<[f64; 2]>,
    /// Its unit.
    pub(super) unit: &'static str,
    /// Which way it should go, where it is a metric of a run.
    pub(super) better: Better,
}

impl Value {
    fn plain(value: f64, unit: &'static str) -> Value {
        Value { value, range: None, unit, better: Better::UNKNOWN }
    }

    /// The mean and the range of values under several seeds.
    fn of_seeds(values: &[f64], unit: &'static str, better: Better) -> Value {
        let value = values.iter().sum::<f64>() / values.len() as f64;
        Value { value, range: range(values).filter(|_| values.len() > 1), unit, better }
    }

    fn scaled(self, factor: f64, unit: &'static str) -> Value {
        let range = self.range.map(|range| range.map(|value| value * factor));
        Value { value: self.value * factor, range, unit, better: self.better }
    }
}

/// The least and the greatest of `values`.
pub(super) fn range(values: &[f64]) -> Option<[f64; 2]> {
    let least = values.iter().copied().reduce(f64::min)?;
    Some([least, values.iter().copied().reduce(f64::max)?])
}

/// What has been worked out so far, so that nothing is simulated twice.
pub(super) struct Evaluator {
    root: PathBuf,
    runs: BTreeMap<(String, Vec<String>), Vec<Metric>>,
    fabrics: BTreeMap<String, FabricMeasures>,
    sums: BTreeMap<([u32; 4], Option<usize>), Value>,
}

impl Evaluator {
    pub(super) fn new(root: PathBuf) -> Evaluator {
        Evaluator { root, runs: BTreeMap::new(), fabrics: BTreeMap::new(), sums: BTreeMap::new() }
    }

    /// The value of `from` under a setting of what is not stated.
    pub(super) fn under(&mut self, from: &From, setting: &SettingSpec) -> Result<Value, UserError> {
        self.value(setting.from.as_ref().unwrap_or(from), &setting.set)
    }

    /// The value of `from`, with `overlays` on each of its runs.
    pub(super) fn value(&mut self, from: &From, overlays: &[String]) -> Result<Value, UserError> {
        match from {
            From::Run(run) => self.run(run, overlays),
            From::Ratio { of, over } => {
                let (of, over) = (self.run(of, overlays)?, self.run(over, overlays)?);
                let factor = unit_factor(of.unit, over.unit).ok_or_else(|| mixed(of.unit, over.unit))?;
                Ok(Value { better: Better::UNKNOWN, ..of.scaled(factor / over.value, "x") })
            }
            From::Plus { of, and } => {
                let of = self.run(of, overlays)?;
                Ok(Value { value: of.value + and, range: of.range.map(|range| range.map(|value| value + and)), ..of })
            }
            From::Model { file, quantity } => self.model(file, *quantity),
            From::Topology { file, quantity } => self.fabric(file, *quantity),
            From::Accumulation { k, rows, seeds, mantissa_bits, promotion } => {
                let promotion = promotion.map(|interval| interval as usize);
                let accumulator = Accumulator { mantissa_bits: *mantissa_bits, promotion };
                Ok(self.accumulation([*k, *rows, *seeds], accumulator))
            }
            From::GpuHours { trillion_tokens, thousand_hours_per_trillion } => {
                Ok(Value::plain(trillion_tokens * thousand_hours_per_trillion, "k h"))
            }
            From::Rent { gpu, thousand_hours } => {
                Ok(Value::plain(thousand_hours.iter().sum::<f64>() * self.rent(gpu)? / 1e3, "M$"))
            }
            From::NodeDays(spent) => Ok(Value::plain(self.node_days(spent)?, "k$")),
            From::CurveMean { hours, values } => {
                let weighted: f64 = hours.iter().zip(values).map(|(hours, value)| hours * value).sum();
                Ok(Value::plain(weighted / hours.iter().sum::<f64>(), ""))
            }
            From::TokenRevenue(earned) => Ok(Value::plain(revenue(earned), "k$")),
            From::Margin { earned, spent } => {
                Ok(Value::plain(100.0 * (revenue(earned) / self.node_days(spent)? - 1.0), "%"))
            }
        }
    }

    /// The largest error of sums of `k` products, in so many rows, under so many seeds.
    fn accumulation(&mut self, [k, rows, seeds]: [u32; 3], accumulator: Accumulator) -> Value {
        let key = ([k, rows, seeds, accumulator.mantissa_bits], accumulator.promotion);
        *self.sums.entry(key).or_insert_with(|| {
            let error = |seed: u32| worst_error(k as usize, rows as usize, accumulator, u64::from(seed));
            Value::of_seeds(&(1..=seeds.max(1)).map(error).collect::<Vec<_>>(), "", Better::Lower)
        })
    }

    /// Dollars per hour of the GPU of a file.
    fn rent(&self, gpu: &str) -> Result<f64, UserError> {
        let gpu: Loaded<GpuSpec> = load(&self.root.join(gpu), &[])?;
        let rent = gpu.value.rent.ok_or_else(|| UserError::plain(format!("{} states no rent", gpu.value.name)))?;
        Ok(rent.as_f64())
    }

    /// Thousands of dollars.
    fn node_days(&self, spent: &NodeDays) -> Result<f64, UserError> {
        Ok(24.0 * spent.nodes * spent.gpus_per_node * self.rent(&spent.gpu)? / 1e3)
    }

    fn run(&mut self, run: &RunMetric, overlays: &[String]) -> Result<Value, UserError> {
        let sets = [run.set.as_slice(), overlays].concat();
        let Some(seeds) = run.seeds else {
            let metric = self.metric(&run.scenario, &run.metric, &sets)?;
            return Ok(Value { better: metric.def.better, ..Value::plain(metric.value, metric.def.unit) });
        };
        let mut found = Vec::new();
        for seed in 1..=seeds.max(1) {
            let sets = [sets.as_slice(), &[format!("seed={seed}")]].concat();
            found.push(self.metric(&run.scenario, &run.metric, &sets)?);
        }
        let values: Vec<f64> = found.iter().map(|metric| metric.value).collect();
        Ok(Value::of_seeds(&values, found[0].def.unit, found[0].def.better))
    }

    /// The metric called `name` of a run of `scenario` under overlays.
    pub(super) fn metric(&mut self, scenario: &str, name: &str, sets: &[String]) -> Result<Metric, UserError> {
        let key = (scenario.to_owned(), sets.to_vec());
        if !self.runs.contains_key(&key) {
            let loaded = self.scenario(scenario, sets)?;
            let outcome = simulate(&loaded.value).map_err(|invalid| loaded.error(&invalid))?;
            if let Some(unended) = outcome.unended() {
                return Err(UserError::plain(format!("{scenario}: {unended}")));
            }
            self.runs.insert(key.clone(), outcome.metrics.named());
        }
        let metrics = &self.runs[&key];
        metrics.iter().find(|metric| metric.def.name == name).copied().ok_or_else(|| {
            let known: Vec<&str> = metrics.iter().map(|metric| metric.def.name).collect();
            UserError::plain(format!("{scenario} has no metric `{name}`; it has {}", known.join(", ")))
        })
    }

    fn scenario(&self, scenario: &str, sets: &[String]) -> Result<Loaded<Scenario>, UserError> {
        load(&self.root.join(scenario), sets)
    }

    /// Milliseconds in which each GPU of `scenario` reads its weights once, at the whole bandwidth of its memory. Of the embedding a
    /// token reads one row, so that it does not count.
    pub(super) fn weights_once(&self, scenario: &str) -> Result<f64, UserError> {
        let loaded = self.scenario(scenario, &[])?;
        let outcome = simulate(&loaded.value).map_err(|invalid| loaded.error(&invalid))?;
        let missing = |what: &str| UserError::plain(format!("{scenario} has no {what}"));
        let memory = outcome.memory.ok_or_else(|| missing("memory in use"))?;
        let model = loaded.value.model.as_ref().ok_or_else(|| missing("model"))?;
        let precision = loaded.value.precision.unwrap_or_default();
        let parameters = Parameters::of(model);
        let table = if model.tied_embeddings { 0 } else { parameters.embedding };
        let read = memory.used.weights.get().saturating_sub(precision.embedding.bytes(table).get());
        Ok(1e3 * read as f64 / loaded.value.hardware.gpu.memory.bandwidth.get() as f64)
    }

    fn model(&self, file: &str, quantity: ModelQuantity) -> Result<Value, UserError> {
        let loaded: Loaded<ModelSpec> = load(&self.root.join(file), &[])?;
        let model = &loaded.value;
        model.check().map_err(|invalid| loaded.error(&invalid))?;
        let kilobytes = |model: &ModelSpec| model.kv_bytes_per_token(Dtype::Bf16).get() as f64 / 1e3;
        let training = |convention: FlopConvention| {
            let sequence = Count::new(SEQUENCE).expect("a sequence has tokens");
            convention.training_per_token(model, sequence).as_f64() / 1e9
        };
        let parameters = Parameters::of(model);
        let (value, unit) = match quantity {
            ModelQuantity::KvKilobytesPerToken => (kilobytes(model), "KB"),
            ModelQuantity::KvAgainstDeepseekV3 => {
                let reference: Loaded<ModelSpec> = load(&self.root.join("models/deepseek_v3.toml"), &[])?;
                (kilobytes(model) / kilobytes(&reference.value), "x")
            }
            ModelQuantity::TotalBillions => (parameters.total() as f64 / 1e9, "B"),
            ModelQuantity::ActiveBillions => (parameters.active() as f64 / 1e9, "B"),
            ModelQuantity::TrainingCausal => (training(FlopConvention::CAUSAL), "GFLOP"),
            ModelQuantity::TrainingFull => (training(FlopConvention::NONCAUSAL), "GFLOP"),
            ModelQuantity::TrainingWithoutAttention => (training(FlopConvention::WEIGHTS_ONLY), "GFLOP"),
            ModelQuantity::TrainingGeneric => (training(FlopConvention::GENERIC), "GFLOP"),
        };
        Ok(Value::plain(value, unit))
    }

    fn fabric(&mut self, file: &str, quantity: TopologyQuantity) -> Result<Value, UserError> {
        if !self.fabrics.contains_key(file) {
            let loaded: Loaded<TopologySpec> = load(&self.root.join(file), &[])?;
            let measures = measure_spec(&loaded.value).map_err(|invalid| loaded.error(&invalid))?;
            self.fabrics.insert(file.to_owned(), measures);
        }
        let measures = &self.fabrics[file];
        let priced = || measures.cost.ok_or_else(|| UserError::plain(format!("{file}: a part has no price")));
        let (value, unit) = match quantity {
            TopologyQuantity::Endpoints => (measures.endpoints as f64, ""),
            TopologyQuantity::Switches => (measures.switches as f64, ""),
            TopologyQuantity::Links => (measures.switch_cables as f64, ""),
            TopologyQuantity::CostMillions => (priced()?.as_f64() / 1e6, "M$"),
            TopologyQuantity::CostPerEndpointThousands => (priced()?.as_f64() / 1e3 / measures.endpoints as f64, "k$"),
        };
        Ok(Value::plain(value, unit))
    }
}

/// Thousands of dollars: billions of tokens at dollars per million.
fn revenue(earned: &TokenRevenue) -> f64 {
    earned.billions.iter().zip(&earned.usd_per_million).map(|(billions, usd)| billions * usd).sum()
}

fn mixed(one: &str, other: &str) -> UserError {
    UserError::plain(format!("metrics in `{one}` and in `{other}` have no ratio"))
}
