//! A collective as nccl-tests reports it.

use super::busy::{Breakdown, Busy};
use crate::id::CollectiveId;
use crate::timeline::{Span, Timeline};
use crate::units::{Bytes, Duration, Time};
use crate::workload::Collective;
use std::collections::BTreeMap;

/// A collective in the terms of nccl-tests.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectiveMetrics {
    /// From the start to the last arrival.
    pub time: Duration,
    /// Size over time, in bytes per second; the mean over groups that run side by side, each over its own time.
    pub algbw: f64,
    /// Algorithm bandwidth times the collective's bus factor, in bytes per second.
    pub busbw: f64,
    /// Where the time went.
    pub breakdown: Breakdown,
}

/// Finds when each group of those that run side by side ends.
#[derive(Default)]
struct Groups(BTreeMap<CollectiveId, Time>);

impl Groups {
    fn push(&mut self, span: &Span) {
        if let Some(group) = span.collective {
            let end = self.0.entry(group).or_insert(span.end);
            *end = span.end.max(*end);
        }
    }

    /// One over the time of a group: the mean over all groups, which all begin at once.
    fn rate(&self) -> f64 {
        let sum = self.0.values().map(|&end| 1.0 / (end - Time::ZERO).as_secs()).sum::<f64>();
        sum / self.0.len().max(1) as f64
    }
}

/// Measures a collective of `bytes` among `ranks` ranks of each group.
pub fn collective_metrics(
    timeline: &Timeline,
    collective: Collective,
    ranks: usize,
    bytes: Bytes,
) -> CollectiveMetrics {
    let (mut busy, mut groups) = (Busy::new(timeline), Groups::default());
    for span in timeline.spans() {
        busy.push(&span);
        groups.push(&span);
    }
    let time = timeline.end() - Time::ZERO;
    let algbw = bytes.get() as f64 * groups.rate();
    CollectiveMetrics { time, algbw, busbw: algbw * collective.bus_factor(ranks), breakdown: busy.finish(timeline) }
}
