//! A pipeline schedule by itself: how long its ranks wait.

use super::busy::{Breakdown, breakdown};
use super::training::{RankTime, rank_times};
use crate::timeline::Timeline;
use crate::units::{Duration, Time};
use crate::workload::{PipelineSpec, ScheduleSpec};

/// A pipeline schedule in the field's terms.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineMetrics {
    /// From the first chunk to the last.
    pub step: Duration,
    /// How each rank spends it.
    pub ranks: Vec<RankTime>,
    /// The longest that a rank waits.
    pub bubble: Duration,
    /// What the published formula gives, in picoseconds; it may be negative.
    pub formula: f64,
    /// Where the time went.
    pub breakdown: Breakdown,
}

/// Measures a schedule of `ranks` ranks.
pub fn pipeline_metrics(timeline: &Timeline, spec: &PipelineSpec, ranks: usize) -> PipelineMetrics {
    let times = rank_times(timeline, ranks);
    PipelineMetrics {
        step: timeline.end() - Time::ZERO,
        bubble: times.iter().map(|rank| rank.bubble).max().unwrap_or_default(),
        ranks: times,
        formula: published_bubble(spec, ranks),
        breakdown: breakdown(timeline),
    }
}

/// The bubble by arXiv 2412.19437, table 2 (B is the full backward pass), and by arXiv 2104.04473, section 2.2.2, for
/// interleaving. DualPipeV has the bubble of DualPipe with as many stages, on half of the ranks (DualPipe repository).
fn published_bubble(spec: &PipelineSpec, ranks: usize) -> f64 {
    let ps = |time: Duration| time.as_ps() as f64;
    let (forward, weight) = (ps(spec.forward), ps(spec.backward_weight));
    let backward = ps(spec.backward_input) + weight;
    let overlapped = ps(spec.overlapped());
    let ranks = ranks as f64;
    match spec.schedule {
        ScheduleSpec::OneFOneB | ScheduleSpec::Interleaved { .. } => (ranks - 1.0) * (forward + backward),
        ScheduleSpec::Zb1p => (ranks - 1.0) * (forward + backward - 2.0 * weight),
        ScheduleSpec::DualPipe => (ranks / 2.0 - 1.0) * (overlapped + backward - 3.0 * weight),
        ScheduleSpec::DualPipeV => (ranks - 1.0) * (overlapped + backward - 3.0 * weight),
    }
}
