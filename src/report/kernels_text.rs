//! Which kernels took the time of a GPU, and what bounds each of them.

use super::table::{Align, Table};
use crate::timeline::{Bound, Place, Span, Timeline};
use crate::units::Duration;
use crate::workload::{Kernel, Work};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Kernels that are worth reading.
const ROWS_MAX: usize = 12;

/// The kernels of the device that computes first, by the time they take together; none where nothing was timed kernel by kernel.
pub(super) fn kernels(timeline: &Timeline) -> Option<String> {
    let device = |span: &Span| match (span.work, span.place) {
        (Work::Compute(_), Place::Stream(stream)) => Some(timeline.streams[stream.index()].device),
        _ => None,
    };
    let first = timeline.spans.iter().find_map(device)?;
    let mut found: BTreeMap<(Kernel, Bound), (u64, Duration)> = BTreeMap::new();
    for span in timeline.spans.iter().filter(|span| device(span) == Some(first)) {
        if let Work::Compute(kernel) = span.work {
            let (runs, time) = found.entry((kernel, span.bound)).or_default();
            *runs += 1;
            *time += span.released - span.start;
        }
    }
    let whole: Duration = found.values().map(|&(_, time)| time).sum();
    if whole == Duration::ZERO {
        return None;
    }
    let mut rows: Vec<_> = found.into_iter().collect();
    rows.sort_by_key(|&(key, (_, time))| (Reverse(time), key));
    let mut table = Table::new(&[
        ("kernel", Align::Left),
        ("bound by", Align::Left),
        ("runs", Align::Right),
        ("each", Align::Right),
        ("of computing", Align::Right),
    ]);
    for ((kernel, bound), (runs, time)) in rows.iter().take(ROWS_MAX) {
        table.row(vec![
            kernel.to_string(),
            bound.name().to_owned(),
            runs.to_string(),
            format!("{:.2}", Duration::from_ps(time.as_ps() / runs)),
            format!("{:.1}%", 100.0 * (*time / whole)),
        ]);
    }
    if rows.len() > ROWS_MAX {
        let rest: Duration = rows.iter().skip(ROWS_MAX).map(|&(_, (_, time))| time).sum();
        let more = format!("{} more", rows.len() - ROWS_MAX);
        let share = format!("{:.1}%", 100.0 * (rest / whole));
        table.row(vec![more, String::new(), String::new(), String::new(), share]);
    }
    Some(table.headed())
}
