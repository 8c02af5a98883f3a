//! Measurements of real machines, simulated again by the code that runs scenarios, and how far off that is.
//!
//! Measured values live in CSV files and are read there; this module knows how a row of each kind is worked out, never a
//! measured value. Tables hold any systems, sizes and rank counts; what cannot be worked out is skipped with a reason.
//!
//! # How to add a set, or to improve one
//!
//! A set is one file in `sets/`, named like its CSV file. It holds
//! - the conventions of the data, at its top: what a row measures, units, what a token count means;
//! - a struct with one field per column that is used (other columns are ignored; an `Option` field may be an empty cell);
//! - its [`Measured`] implementation: which system a row is about, which columns identify it, by which ones rows are
//!   grouped in reports, and `points`, which turns the row into measured values with a prediction beside each.
//!
//! and one line in [`sets::all`]. Predictions ask the [`Context`] alone: `system(name)` for the hardware, `kernel(system,
//! kernel)` for one kernel with the chosen kernel model (memoised), `run(scenario)` for whatever takes the network, `deploy` for
//! what a model does on a system. What a
//! row does is described there as kernels and collectives; how long these take is the business of `gpu` and `network`, so
//! that a better model improves every set without a change here. No set may look at a measured value to predict it.

mod accuracy;
mod context;
mod names;
mod sets;
mod systems;

pub use accuracy::{ACCURACY, AccuracySpec, AnswerLine, SetLine};
pub use names::{EngineSpec, EnginesSpec, ModelsSpec, NamedModelSpec, SettingSpec};
pub use sets::names;
pub use systems::{SystemSpec, SystemsSpec};

use crate::invalid::{meant, nearest};
use crate::report::validation::{Comparison, Key, On, SetReport, ValidationReport};
use crate::scenario::{KernelChoice, NetworkChoice, Row, UserError, choice_name, load_table, tables};
use crate::units::Duration;
use context::Context;
use names::Names;
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use systems::Library;

/// Names that are listed where none of them is near.
const NAMES_MAX: usize = 12;

/// Why a row is not worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Skip(String);

impl Skip {
    fn because(reason: impl fmt::Display) -> Skip {
        Skip(reason.to_string())
    }

    /// The row calls something by a name that stands for nothing; `known` are names that do.
    fn unknown<'k>(kind: &str, found: &str, known: impl IntoIterator<Item = &'k str>) -> Skip {
        let known: Vec<&str> = known.into_iter().collect();
        let hint = match meant(found, &known) {
            Some(near) => format!("; did you mean `{near}`?"),
            None if known.len() <= NAMES_MAX => format!("; there are {}", known.join(", ")),
            None => nearest(found, known).map(|near| format!("; the nearest name is `{near}`")).unwrap_or_default(),
        };
        Skip(format!("unknown {kind} `{found}`{hint}"))
    }
}

/// One measured value with the simulated one beside it.
struct Point {
    /// What was measured, where a row holds several values; else empty.
    part: &'static str,
    unit: &'static str,
    measured: f64,
    simulated: Result<f64, Skip>,
}

impl Point {
    /// A time, measured in microseconds.
    fn micros(part: &'static str, measured: f64, simulated: Result<Duration, Skip>) -> Point {
        Point { part, unit: "us", measured, simulated: simulated.map(|time| time.as_secs() * 1e6) }
    }
}

/// A row of a table of measurements.
trait Measured: DeserializeOwned + Send + Sync + 'static {
    /// Name of the set and, with `.csv`, of its file.
    const ID: &'static str;
    /// What its rows measure.
    const TITLE: &'static str;
    /// The columns of [`Measured::key`] by which reports group rows.
    const GROUP_BY: &'static [&'static str];

    /// The kind of workload, by its name in scenarios, whose whole answers its rows are; none where they are parts of answers.
    const WORKLOAD: Option<&'static str> = None;

    /// The system that the row is about.
    fn system(&self) -> &str;

    /// The engine that served or trained, where there was one.
    fn engine(&self) -> Option<&str> {
        None
    }

    /// The library or its kind of kernels, by the name in scenarios where these have one.
    fn library(&self) -> Option<&str> {
        None
    }

    /// What identifies the row, by the names of its columns.
    fn key(&self) -> Key;

    /// The row's measured values and what the models make of them.
    fn points(&self, context: &Context) -> Vec<Point>;
}

/// What is to be compared, and how.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Names of sets; every set that the folder has a file for, if empty.
    pub sets: &'a [String],
    /// The folder of tables.
    pub data: &'a Path,
    /// The folder that holds hardware/, topologies/ and validation/.
    pub root: &'a Path,
    /// How kernels are timed.
    pub kernel: KernelChoice,
    /// How data moves.
    pub network: NetworkChoice,
}

/// A comparison, and the tables of the folder that no set reads.
#[derive(Clone, Debug)]
pub struct Validated {
    /// What was compared.
    pub report: ValidationReport,
    /// Files that were left alone.
    pub unread: Vec<PathBuf>,
}

/// Compares simulated with measured values. The order of rows is that of the files, however many threads work on them. `watch` is
/// told how many rows are over, of how many.
///
/// # Errors
/// For unknown sets, missing files and columns, and cells that make no sense.
pub fn validate(request: &Request<'_>, watch: &(dyn Fn(usize, usize) + Sync)) -> Result<Validated, UserError> {
    let measurements = Measurements::read(request.sets, request.data, request.root)?;
    let models = Models { root: request.root, kernel: request.kernel, network: request.network };
    let total = measurements.sets.iter().map(|(_, rows)| rows.systems().len()).sum();
    let over = AtomicUsize::new(0);
    let tick = || watch(over.fetch_add(1, Ordering::Relaxed) + 1, total);
    let report = measurements.compare_watched(&models, &[], &|_, _, _| true, &tick)?;
    Ok(Validated { report, unread: measurements.unread })
}

/// The models that simulate, and the folder that holds the hardware that they simulate.
#[derive(Clone, Copy, Debug)]
pub struct Models<'a> {
    /// The folder that holds hardware/, topologies/ and validation/.
    pub root: &'a Path,
    /// How kernels are timed.
    pub kernel: KernelChoice,
    /// How data moves.
    pub network: NetworkChoice,
}

/// Another value for a constant of a hardware file, in memory only. It holds wherever the file's own value would: a file that
/// extends this one and sets the same key keeps its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The file, from the root.
    pub file: PathBuf,
    /// Dotted place in the file.
    pub key: String,
    /// The value, as TOML.
    pub value: String,
}

/// Which rows are simulated: by set, system and number of the row in its table, from 0.
pub type Keep<'k> = &'k (dyn Fn(&str, &str, usize) -> bool + Sync);

/// Tables of measurements that were read once, to be compared any number of times.
pub struct Measurements {
    sets: Vec<(Set, Box<dyn Rows>)>,
    /// Models and engines that rows name.
    names: Names,
    folder: PathBuf,
    /// Files of the folder that no set reads, where none was asked for by name.
    unread: Vec<PathBuf>,
}

impl Measurements {
    /// Reads the tables of `sets` from `folder`; those of every set that it has a file for, if `sets` is empty. What their rows name is
    /// described under `root`.
    ///
    /// # Errors
    /// For unknown sets, missing files and columns, and cells that make no sense.
    pub fn read(sets: &[String], folder: &Path, root: &Path) -> Result<Measurements, UserError> {
        let known = sets::all();
        for wanted in sets {
            if !known.iter().any(|set| set.id == wanted) {
                return Err(UserError::unknown("set of measurements", wanted, &names()));
            }
        }
        let found = tables(folder)?;
        let named = |path: &Path| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
        let is_read = |path: &PathBuf| known.iter().any(|set| named(path).as_deref() == Some(set.id));
        let unread =
            if sets.is_empty() { found.iter().filter(|path| !is_read(path)).cloned().collect() } else { Vec::new() };
        let is_wanted = |set: &Set| match sets {
            [] => found.iter().any(|path| named(path).as_deref() == Some(set.id)),
            wanted => wanted.iter().any(|name| name == set.id),
        };
        let chosen: Vec<Set> = known.into_iter().filter(is_wanted).collect();
        if chosen.is_empty() {
            let names = names().join(".csv, ");
            return Err(UserError::plain(format!(
                "{} holds no table that a set reads; there may be {names}.csv",
                folder.display()
            )));
        }
        let mut read = Vec::with_capacity(chosen.len());
        for set in chosen {
            let rows = (set.read)(&folder.join(format!("{}.csv", set.id)))?;
            read.push((set, rows));
        }
        Ok(Measurements { sets: read, names: Names::load(root)?, folder: folder.to_owned(), unread })
    }

    /// Systems that rows name, each once, in the order of their names.
    pub fn systems(&self) -> Vec<&str> {
        let named: BTreeSet<&str> = self.sets.iter().flat_map(|(_, rows)| rows.systems()).collect();
        named.into_iter().collect()
    }

    /// Simulates the rows that `keep` keeps, with the hardware as its files and `overrides` say. With overrides, only rows of
    /// systems that one of them changes.
    ///
    /// # Errors
    /// For hardware that does not load.
    pub fn compare(
        &self,
        models: &Models<'_>,
        overrides: &[Override],
        keep: Keep<'_>,
    ) -> Result<ValidationReport, UserError> {
        self.compare_watched(models, overrides, keep, &|| ())
    }

    /// The same; `tick` is called whenever a row is over.
    fn compare_watched(
        &self,
        models: &Models<'_>,
        overrides: &[Override],
        keep: Keep<'_>,
        tick: &(dyn Fn() + Sync),
    ) -> Result<ValidationReport, UserError> {
        let names = self.sets.iter().flat_map(|(_, rows)| rows.systems());
        let library = Library::load(models.root, names, overrides)?;
        let context = Context::new(library, &self.names, models.kernel, models.network);
        let concerned = |set: &str, system: &str, row: usize| {
            let changed = overrides.is_empty() || context.system(system).is_ok_and(|system| system.overridden);
            changed && keep(set, system, row)
        };
        let reports = self.sets.iter().map(|(set, rows)| SetReport {
            id: set.id,
            title: set.title,
            workload: set.workload,
            file: self.folder.join(format!("{}.csv", set.id)).display().to_string(),
            group_by: set.group_by,
            comparisons: rows.compare(&context, &concerned, tick),
        });
        Ok(ValidationReport {
            kernel: choice_name(&models.kernel),
            network: choice_name(&models.network),
            sets: reports.collect(),
        })
    }
}

/// A set without the type of its rows.
struct Set {
    id: &'static str,
    title: &'static str,
    workload: Option<&'static str>,
    group_by: &'static [&'static str],
    read: fn(&Path) -> Result<Box<dyn Rows>, UserError>,
}

impl Set {
    fn of<M: Measured>() -> Set {
        Set {
            id: M::ID,
            title: M::TITLE,
            workload: M::WORKLOAD,
            group_by: M::GROUP_BY,
            read: |path| Ok(Box::new(load_table::<M>(path)?)),
        }
    }
}

/// Rows without their type.
trait Rows: Sync {
    fn systems(&self) -> Vec<&str>;
    fn compare(&self, context: &Context, keep: Keep<'_>, tick: &(dyn Fn() + Sync)) -> Vec<Comparison>;
}

impl<M: Measured> Rows for Vec<Row<M>> {
    fn systems(&self) -> Vec<&str> {
        self.iter().map(|row| row.value.system()).collect()
    }

    fn compare(&self, context: &Context, keep: Keep<'_>, tick: &(dyn Fn() + Sync)) -> Vec<Comparison> {
        let one = |row| {
            let compared = compared(row, context);
            tick();
            compared
        };
        let kept = |(number, row): &(usize, &Row<M>)| keep(M::ID, row.value.system(), *number);
        let rows: Vec<Vec<Comparison>> = self.par_iter().enumerate().filter(kept).map(|(_, row)| one(row)).collect();
        rows.into_iter().flatten().collect()
    }
}

fn compared<M: Measured>(row: &Row<M>, context: &Context) -> Vec<Comparison> {
    let key = row.value.key();
    let on = On {
        gpu: context.system(row.value.system()).map_or(String::new(), |system| system.gpu.architecture.clone()),
        engine: row.value.engine().map(str::to_owned),
        library: row.value.library().map(str::to_owned),
    };
    let comparison = |point: Point| {
        let Point { part, unit, measured, simulated } = point;
        let usable = measured.is_finite() && measured > 0.0;
        let simulated = match simulated {
            _ if measured.is_nan() => Err("the measured value is not a number".to_owned()),
            _ if !usable => Err("the measured value is not above zero".to_owned()),
            Ok(value) => Ok(value),
            Err(Skip(reason)) => Err(reason),
        };
        Comparison { line: row.line, key: key.clone(), part, unit, measured, simulated, on: on.clone() }
    };
    row.value.points(context).into_iter().map(comparison).collect()
}
