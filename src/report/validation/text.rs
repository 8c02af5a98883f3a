//! Comparisons for people: one table per set with a line per group, what was skipped and why, and the worst rows.

use super::{SetReport, Statistics, ValidationReport};
use crate::report::table::{Align, Table};
use std::fmt::Write;

/// Lines of a table that are named for one reason.
const LINES_MAX: usize = 8;

/// Everything, set after set, with a summary of all of them at the end.
pub fn validation_text(report: &ValidationReport) -> String {
    let mut text =
        format!("kernels: {}, network: {}; error = (simulated - measured) / measured\n", report.kernel, report.network);
    for set in &report.sets {
        one(&mut text, set);
    }
    if report.sets.len() > 1 {
        let mut table = headed("set");
        for set in &report.sets {
            table.row(cells(set.id.to_owned(), set.statistics().as_ref(), set.skipped()));
        }
        write!(text, "\nall sets\n{}", table.headed()).expect("writing to a string");
    }
    text
}

fn one(text: &mut String, set: &SetReport) {
    let mut add = |line: &str| text.push_str(line);
    add(&format!("\n{}: {}\n({})\n", set.id, set.title, set.file));
    let mut table = headed(&set.group_by.join(" / "));
    for (name, statistics) in set.groups() {
        let name: Vec<&str> = name.iter().map(|(_, value)| value.as_str()).collect();
        table.row(cells(name.join(" / "), Some(&statistics), 0));
    }
    table.row(cells("all".to_owned(), set.statistics().as_ref(), set.skipped()));
    add(&table.headed());
    for (reason, lines) in set.skip_reasons() {
        add(&format!("  skipped {}: {reason}\n    {}\n", lines.len(), places(&set.file, lines)));
    }
    let worst = set.worst();
    if worst.is_empty() {
        return;
    }
    add("  farthest off\n");
    let mut table = Table::new(&[
        ("line", Align::Right),
        ("row", Align::Left),
        ("measured", Align::Right),
        ("simulated", Align::Right),
        ("error", Align::Right),
    ]);
    for (comparison, error) in worst {
        let simulated = comparison.simulated.as_ref().map_or(f64::NAN, |simulated| *simulated);
        table.row(vec![
            comparison.line.to_string(),
            comparison.name(),
            format!("{:.2} {}", comparison.measured, comparison.unit),
            format!("{simulated:.2} {}", comparison.unit),
            signed(error),
        ]);
    }
    add(&table.plain());
    add("\n");
}

/// "gemm.csv:7, 8, 12 and 3 more lines".
fn places(file: &str, mut lines: Vec<u64>) -> String {
    // A line may hold several values.
    lines.dedup();
    let shown: Vec<String> = lines.iter().take(LINES_MAX).map(u64::to_string).collect();
    let rest = match lines.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more lines"),
    };
    format!("{file}:{}{rest}", shown.join(", "))
}

fn headed(first: &str) -> Table {
    Table::new(&[
        (first, Align::Left),
        ("rows", Align::Right),
        ("skipped", Align::Right),
        ("median |error|", Align::Right),
        ("90 %", Align::Right),
        ("mean |error|", Align::Right),
        ("median error", Align::Right),
    ])
}

fn cells(name: String, statistics: Option<&Statistics>, skipped: usize) -> Vec<String> {
    let skipped = if skipped == 0 { String::new() } else { skipped.to_string() };
    let percent = |value: f64| format!("{:.1} %", value * 100.0);
    match statistics {
        None => vec![name, "0".to_owned(), skipped, "-".to_owned(), "-".to_owned(), "-".to_owned(), "-".to_owned()],
        Some(s) => vec![
            name,
            s.rows.to_string(),
            skipped,
            percent(s.median_abs_error),
            percent(s.p90_abs_error),
            percent(s.mape),
            signed(s.median_error),
        ],
    }
}

fn signed(error: f64) -> String {
    format!("{:+.1} %", error * 100.0)
}
