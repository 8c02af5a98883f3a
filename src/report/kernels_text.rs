//! Which kernels took the time of a GPU, and what bounds each of them.

use super::table::{Align, Table};
use crate::metrics::KernelTime;
use crate::units::Duration;

/// Kernels that are worth reading.
const ROWS_MAX: usize = 12;

/// Kernels of a GPU, by the time they take together; none where nothing was timed kernel by kernel.
pub(super) fn kernels(times: &[KernelTime]) -> Option<String> {
    let whole: Duration = times.iter().map(|one| one.time).sum();
    if whole == Duration::ZERO {
        return None;
    }
    let mut table = Table::new(&[
        ("kernel", Align::Left),
        ("bound by", Align::Left),
        ("runs", Align::Right),
        ("each", Align::Right),
        ("of computing", Align::Right),
    ]);
    for one in times.iter().take(ROWS_MAX) {
        table.row(vec![
            one.kernel.to_string(),
            one.bound.name().to_owned(),
            one.runs.to_string(),
            format!("{:.2}", Duration::from_ps(one.time.as_ps() / one.runs)),
            format!("{:.1}%", 100.0 * (one.time / whole)),
        ]);
    }
    if times.len() > ROWS_MAX {
        let rest: Duration = times.iter().skip(ROWS_MAX).map(|one| one.time).sum();
        let more = format!("{} more", times.len() - ROWS_MAX);
        let share = format!("{:.1}%", 100.0 * (rest / whole));
        table.row(vec![more, String::new(), String::new(), String::new(), share]);
    }
    Some(table.headed())
}
