//! Which kernels took the time of a GPU.

use crate::timeline::{Bound, Place, Span, Timeline};
use crate::units::Duration;
use crate::workload::{Kernel, Work};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Runs of one kernel that the same thing bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelTime {
    /// The kernel.
    pub kernel: Kernel,
    /// What bounds it.
    pub bound: Bound,
    /// How often it ran.
    pub runs: u64,
    /// How long all runs took.
    pub time: Duration,
}

/// Kernels, added up.
#[derive(Default)]
pub(super) struct KernelSum(BTreeMap<(Kernel, Bound), (u64, Duration)>);

impl KernelSum {
    /// Adds kernels that ran `times` times as often.
    pub(super) fn add(&mut self, kernels: &[KernelTime], times: u64) {
        for one in kernels {
            let (runs, time) = self.0.entry((one.kernel, one.bound)).or_default();
            *runs += one.runs * times;
            *time += one.time * times;
        }
    }

    /// The kernels, those that took longest first.
    pub(super) fn into_times(self) -> Vec<KernelTime> {
        let one = |((kernel, bound), (runs, time))| KernelTime { kernel, bound, runs, time };
        let mut times: Vec<KernelTime> = self.0.into_iter().map(one).collect();
        times.sort_by_key(|one| (Reverse(one.time), one.kernel, one.bound));
        times
    }
}

/// The kernels of the device that computes first, by the time they take together.
pub fn kernel_times(timeline: &Timeline) -> Vec<KernelTime> {
    let device = |span: &Span| match (span.work, span.place) {
        (Work::Compute(_), Place::Stream(stream)) => Some(timeline.streams[stream.index()].device),
        _ => None,
    };
    let Some(first) = timeline.spans().find_map(|span| device(&span)) else { return Vec::new() };
    let mut sum = KernelSum::default();
    for span in timeline.spans().filter(|span| device(span) == Some(first)) {
        if let Work::Compute(kernel) = span.work {
            sum.add(&[KernelTime { kernel, bound: span.bound, runs: 1, time: span.released - span.start }], 1);
        }
    }
    sum.into_times()
}
