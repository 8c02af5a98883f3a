//! Works out every figure of a list.

use super::spec::{
    FigureSpec, From, GroupSpec, ModelQuantity, NodeDays, PaperSpec, RunMetric, TokenRevenue, TopologyQuantity,
    WishSpec,
};
use crate::dtype::Dtype;
use crate::hardware::GpuSpec;
use crate::metrics::Outcome;
use crate::model::{FlopConvention, ModelSpec, Parameters};
use crate::numerics::{Accumulator, worst_error};
use crate::report::figures::{AssumptionRow, FigureRow, How, WishRow};
use crate::run::simulate;
use crate::scenario::{Loaded, Scenario, UserError, load};
use crate::topology::{FabricMeasures, TopologySpec, measure_spec};
use crate::units::Count;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Sequence length of arXiv 2505.09343, table 2.
const SEQUENCE: u32 = 4096;
/// Seed of the random numbers that are added up.
const ACCUMULATION_SEED: u64 = 1;

/// A list of figures, worked out.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// The figures.
    pub figures: Vec<FigureRow>,
    /// What assumptions are worth.
    pub assumptions: Vec<AssumptionRow>,
    /// What hardware that is asked for would bring.
    pub wishes: Vec<WishRow>,
}

/// Works out the figures and wishes of `paper` whose id starts with one of `wanted` (all, if nothing is wanted). Files are looked up
/// from `root`. `watch` is told how much is over, of how much.
pub fn evaluate(
    paper: &PaperSpec,
    wanted: &[String],
    root: &Path,
    watch: &dyn Fn(usize, usize),
) -> Result<Evaluated, UserError> {
    let mut desk = Desk { root: root.to_owned(), runs: BTreeMap::new(), fabrics: BTreeMap::new() };
    let is_wanted = |id: &str| wanted.is_empty() || wanted.iter().any(|prefix| id.starts_with(prefix.as_str()));
    let wanted_figures: Vec<&FigureSpec> = paper.figure.iter().filter(|figure| is_wanted(&figure.id)).collect();
    let groups: Vec<&GroupSpec> = paper.assumptions.iter().filter(|_| wanted.is_empty()).collect();
    let wanted_wishes: Vec<&WishSpec> = paper.wish.iter().filter(|wish| is_wanted(&wish.id)).collect();
    let total = wanted_figures.len() + groups.len() + wanted_wishes.len();
    let mut over = 0;
    let mut tick = || {
        over += 1;
        watch(over, total);
    };
    let mut figures = Vec::new();
    for figure in wanted_figures {
        figures.push(desk.figure(figure)?);
        tick();
    }
    let mut assumptions = Vec::new();
    for group in groups {
        assumptions.extend(desk.assumptions(group)?);
        tick();
    }
    let mut wishes = Vec::new();
    for wish in wanted_wishes {
        wishes.push(desk.wish(wish)?);
        tick();
    }
    Ok(Evaluated { figures, assumptions, wishes })
}

/// Thousands of dollars: billions of tokens at dollars per million.
fn revenue(earned: &TokenRevenue) -> f64 {
    earned.billions.iter().zip(&earned.usd_per_million).map(|(billions, usd)| billions * usd).sum()
}

/// What has been worked out so far, so that nothing is simulated twice.
struct Desk {
    root: PathBuf,
    runs: BTreeMap<(String, Vec<String>), BTreeMap<&'static str, f64>>,
    fabrics: BTreeMap<String, FabricMeasures>,
}

impl Desk {
    fn figure(&mut self, spec: &FigureSpec) -> Result<FigureRow, UserError> {
        let how = match spec.from {
            From::Run(_) | From::Ratio { .. } | From::Plus { .. } | From::Accumulation { .. } => How::Simulation,
            From::Model { .. } | From::Topology { .. } | From::GpuHours { .. } | From::Rent { .. } => How::Arithmetic,
            From::NodeDays(_) | From::CurveMean { .. } | From::TokenRevenue(_) | From::Margin { .. } => How::Arithmetic,
        };
        let simulated = self.value(&spec.from)?;
        Ok(FigureRow {
            id: spec.id.clone(),
            source: spec.source.clone(),
            quantity: spec.quantity.clone(),
            along: spec.along.clone(),
            unit: spec.unit.clone(),
            printed: spec.printed,
            simulated,
            deviation: simulated / spec.printed - 1.0,
            tolerance: spec.tolerance,
            status: spec.status,
            how,
            note: spec.note.trim().to_owned(),
        })
    }

    fn wish(&mut self, spec: &WishSpec) -> Result<WishRow, UserError> {
        let (today, granted) = (self.value(&spec.today)?, self.value(&spec.granted)?);
        Ok(WishRow {
            id: spec.id.clone(),
            source: spec.source.clone(),
            wish: spec.wish.clone(),
            quantity: spec.quantity.clone(),
            unit: spec.unit.clone(),
            today,
            granted,
            change: granted / today - 1.0,
            note: spec.note.trim().to_owned(),
        })
    }

    fn value(&mut self, from: &From) -> Result<f64, UserError> {
        match from {
            From::Run(run) => self.run(run),
            From::Ratio { of, over } => Ok(self.run(of)? / self.run(over)?),
            From::Plus { of, and } => Ok(self.run(of)? + and),
            From::Model { file, quantity } => self.model(file, *quantity),
            From::Topology { file, quantity } => self.fabric(file, *quantity),
            From::Accumulation { k, outputs, mantissa_bits, promotion } => {
                let promotion = promotion.map(|interval| interval as usize);
                let accumulator = Accumulator { mantissa_bits: *mantissa_bits, promotion };
                Ok(worst_error(*k as usize, *outputs as usize, accumulator, ACCUMULATION_SEED))
            }
            From::GpuHours { trillion_tokens, thousand_hours_per_trillion } => {
                Ok(trillion_tokens * thousand_hours_per_trillion)
            }
            From::Rent { gpu, thousand_hours } => Ok(thousand_hours.iter().sum::<f64>() * self.rent(gpu)? / 1e3),
            From::NodeDays(spent) => self.node_days(spent),
            From::CurveMean { hours, values } => {
                let weighted: f64 = hours.iter().zip(values).map(|(hours, value)| hours * value).sum();
                Ok(weighted / hours.iter().sum::<f64>())
            }
            From::TokenRevenue(earned) => Ok(revenue(earned)),
            From::Margin { earned, spent } => Ok(100.0 * (revenue(earned) / self.node_days(spent)? - 1.0)),
        }
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

    fn run(&mut self, run: &RunMetric) -> Result<f64, UserError> {
        let Some(seeds) = run.seeds else { return self.seeded(run, &run.set) };
        let mut sum = 0.0;
        for seed in 1..=seeds {
            sum += self.seeded(run, &[run.set.as_slice(), &[format!("seed={seed}")]].concat())?;
        }
        Ok(sum / f64::from(seeds))
    }

    fn seeded(&mut self, run: &RunMetric, set: &[String]) -> Result<f64, UserError> {
        let metrics = self.metrics(&run.scenario, set)?;
        metrics.get(run.metric.as_str()).copied().ok_or_else(|| {
            let known: Vec<&str> = metrics.keys().copied().collect();
            UserError::plain(format!("{} has no metric `{}`; it has {}", run.scenario, run.metric, known.join(", ")))
        })
    }

    fn metrics(&mut self, scenario: &str, sets: &[String]) -> Result<&BTreeMap<&'static str, f64>, UserError> {
        let key = (scenario.to_owned(), sets.to_vec());
        if !self.runs.contains_key(&key) {
            let loaded: Loaded<Scenario> = load(&self.root.join(scenario), sets)?;
            let outcome: Outcome = simulate(&loaded.value).map_err(|invalid| loaded.error(&invalid))?;
            let metrics = outcome.metrics.named().into_iter().map(|metric| (metric.def.name, metric.value)).collect();
            self.runs.insert(key.clone(), metrics);
        }
        Ok(&self.runs[&key])
    }

    fn model(&self, file: &str, quantity: ModelQuantity) -> Result<f64, UserError> {
        let loaded: Loaded<ModelSpec> = load(&self.root.join(file), &[])?;
        let model = &loaded.value;
        model.check().map_err(|invalid| loaded.error(&invalid))?;
        let kilobytes = |model: &ModelSpec| model.kv_bytes_per_token(Dtype::Bf16).get() as f64 / 1e3;
        let training = |convention: FlopConvention| {
            let sequence = Count::new(SEQUENCE).expect("a sequence has tokens");
            convention.training_per_token(model, sequence).as_f64() / 1e9
        };
        let parameters = Parameters::of(model);
        Ok(match quantity {
            ModelQuantity::KvKilobytesPerToken => kilobytes(model),
            ModelQuantity::KvAgainstDeepseekV3 => {
                let reference: Loaded<ModelSpec> = load(&self.root.join("models/deepseek_v3.toml"), &[])?;
                kilobytes(model) / kilobytes(&reference.value)
            }
            ModelQuantity::TotalBillions => parameters.total() as f64 / 1e9,
            ModelQuantity::ActiveBillions => parameters.active_with_embedding() as f64 / 1e9,
            ModelQuantity::TrainingCausal => training(FlopConvention::CAUSAL),
            ModelQuantity::TrainingFull => training(FlopConvention::NONCAUSAL),
            ModelQuantity::TrainingWithoutAttention => training(FlopConvention::WEIGHTS_ONLY),
            ModelQuantity::TrainingGeneric => training(FlopConvention::GENERIC),
        })
    }

    fn fabric(&mut self, file: &str, quantity: TopologyQuantity) -> Result<f64, UserError> {
        if !self.fabrics.contains_key(file) {
            let loaded: Loaded<TopologySpec> = load(&self.root.join(file), &[])?;
            let measures = measure_spec(&loaded.value).map_err(|invalid| loaded.error(&invalid))?;
            self.fabrics.insert(file.to_owned(), measures);
        }
        let measures = &self.fabrics[file];
        let priced = || measures.cost.ok_or_else(|| UserError::plain(format!("{file}: a part has no price")));
        Ok(match quantity {
            TopologyQuantity::Endpoints => measures.endpoints as f64,
            TopologyQuantity::Switches => measures.switches as f64,
            TopologyQuantity::Links => measures.switch_cables as f64,
            TopologyQuantity::CostMillions => priced()?.as_f64() / 1e6,
            TopologyQuantity::CostPerEndpointThousands => priced()?.as_f64() / 1e3 / measures.endpoints as f64,
        })
    }

    fn assumptions(&mut self, group: &GroupSpec) -> Result<Vec<AssumptionRow>, UserError> {
        let tpot = |desk: &mut Desk, scenario: &str| -> Result<(f64, f64), UserError> {
            let metrics = desk.metrics(scenario, &[])?;
            Ok((metrics["tpot"], metrics["tokens_per_s_per_user"]))
        };
        let (ideal, ideal_rate) = tpot(self, &group.ideal)?;
        let row = |without: &str, tpot_ms: f64, tokens_per_s: f64| AssumptionRow {
            group: group.name.clone(),
            without: without.to_owned(),
            tpot_ms,
            tokens_per_s,
            against_ideal: tpot_ms / ideal,
        };
        let mut rows = vec![row("(all hold)", ideal, ideal_rate)];
        for step in &group.without {
            let (time, rate) = tpot(self, &step.scenario)?;
            rows.push(row(&step.assumption, time, rate));
        }
        Ok(rows)
    }
}
