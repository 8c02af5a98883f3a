//! One figure of an answer.

use super::MetricDef;

/// A metric with its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// What it is.
    pub def: &'static MetricDef,
    /// Value in its unit.
    pub value: f64,
}
