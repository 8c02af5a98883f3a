//! A collective as nccl-tests reports it.

use super::busy::{Breakdown, breakdown};
use crate::timeline::Timeline;
use crate::units::{Bytes, Duration, Time};
use crate::workload::Collective;

/// A collective in the terms of nccl-tests.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectiveMetrics {
    /// From the start to the last arrival.
    pub time: Duration,
    /// Size over time, in bytes per second.
    pub algbw: f64,
    /// Algorithm bandwidth times the collective's bus factor, in bytes per second.
    pub busbw: f64,
    /// Where the time went.
    pub breakdown: Breakdown,
}

/// Measures a collective of `bytes` among `ranks` ranks.
pub fn collective_metrics(
    timeline: &Timeline,
    collective: Collective,
    ranks: usize,
    bytes: Bytes,
) -> CollectiveMetrics {
    let time = timeline.end() - Time::ZERO;
    let algbw = bytes.get() as f64 / time.as_secs();
    CollectiveMetrics { time, algbw, busbw: algbw * collective.bus_factor(ranks), breakdown: breakdown(timeline) }
}
