//! Measured beside simulated values: error statistics, and the forms in which they go out.
//!
//! It knows rows that were compared or skipped, never how a value was worked out.

mod forms;
mod statistics;
mod text;

pub use forms::{validation_csv, validation_json};
pub use statistics::Statistics;
pub use text::validation_text;

/// How many of the rows with the largest errors are listed.
const WORST: usize = 5;

/// What identifies a row: columns with their values.
pub type Key = Vec<(&'static str, String)>;

/// One measured value and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Line of the file, counted from 1.
    pub line: u64,
    /// What identifies the row, in the words of the file's columns.
    pub key: Key,
    /// What was measured, where one line holds several values: "dispatch".
    pub part: &'static str,
    /// Unit of both values.
    pub unit: &'static str,
    /// The measured value.
    pub measured: f64,
    /// The simulated value, or why there is none.
    pub simulated: Result<f64, String>,
    /// What it was measured on and with.
    pub on: On,
}

/// What a value was measured on and with.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct On {
    /// The generation of the GPU: "Hopper".
    pub gpu: String,
    /// The serving or training engine, where there was one.
    pub engine: Option<String>,
    /// The library or its kind of kernels, where there are several.
    pub library: Option<String>,
}

impl Comparison {
    /// `(simulated - measured) / measured`, where both are known.
    pub fn error(&self) -> Option<f64> {
        self.simulated.as_ref().ok().map(|simulated| (simulated - self.measured) / self.measured)
    }

    /// "system=h100_sxm m=64", with the part that was measured.
    fn name(&self) -> String {
        let cells = self.key.iter().map(|(column, value)| format!("{column}={value}"));
        let part = (!self.part.is_empty()).then(|| self.part.to_owned());
        cells.chain(part).collect::<Vec<_>>().join(" ")
    }
}

/// One table of measurements, compared.
#[derive(Clone, Debug, PartialEq)]
pub struct SetReport {
    /// Name of the set.
    pub id: &'static str,
    /// What its rows measure.
    pub title: &'static str,
    /// The kind of workload whose whole answers its rows are; none where they are parts of answers.
    pub workload: Option<&'static str>,
    /// The file.
    pub file: String,
    /// Columns by which its rows are grouped.
    pub group_by: &'static [&'static str],
    /// Every measured value, in the order of the file.
    pub comparisons: Vec<Comparison>,
}

impl SetReport {
    /// Statistics over all values that could be simulated.
    pub fn statistics(&self) -> Option<Statistics> {
        Statistics::of(self.comparisons.iter().filter_map(Comparison::error))
    }

    /// How many values could not be simulated.
    pub fn skipped(&self) -> usize {
        self.comparisons.iter().filter(|comparison| comparison.simulated.is_err()).count()
    }

    /// Why values could not be simulated, and the lines of the file for each reason, one for each value, in the order in which they
    /// first occur.
    fn skip_reasons(&self) -> Vec<(&str, Vec<u64>)> {
        let mut reasons: Vec<(&str, Vec<u64>)> = Vec::new();
        for comparison in &self.comparisons {
            let Err(reason) = &comparison.simulated else { continue };
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, lines)) => lines.push(comparison.line),
                None => reasons.push((reason, vec![comparison.line])),
            }
        }
        reasons
    }

    /// The values that could be simulated, by group, in the order in which groups first occur.
    fn groups(&self) -> Vec<(Key, Statistics)> {
        let mut groups: Vec<(Key, Vec<f64>)> = Vec::new();
        for comparison in &self.comparisons {
            let Some(error) = comparison.error() else { continue };
            let is_group = |(column, _): &&(&str, String)| self.group_by.contains(column);
            let mut name: Key = comparison.key.iter().filter(is_group).cloned().collect();
            if !comparison.part.is_empty() {
                name.push(("part", comparison.part.to_owned()));
            }
            match groups.iter_mut().find(|(known, _)| *known == name) {
                Some((_, errors)) => errors.push(error),
                None => groups.push((name, vec![error])),
            }
        }
        let measured = |(name, errors)| Some((name, Statistics::of(errors)?));
        groups.into_iter().filter_map(measured).collect()
    }

    /// The values that are farthest off, worst first.
    fn worst(&self) -> Vec<(&Comparison, f64)> {
        let mut all: Vec<(&Comparison, f64)> =
            self.comparisons.iter().filter_map(|comparison| Some((comparison, comparison.error()?))).collect();
        all.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        all.truncate(WORST);
        all
    }
}

/// Several tables of measurements, compared with one choice of models.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidationReport {
    /// How kernels were timed.
    pub kernel: String,
    /// How data moved.
    pub network: String,
    /// The tables.
    pub sets: Vec<SetReport>,
}
