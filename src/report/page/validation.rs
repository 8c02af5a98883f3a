//! A validation on the page: how far simulated values are from measured ones, by set and by group.

use super::Section;
use super::html::{Body, Cell, columns, escape, folded, table};
use super::measured::pictures;
use super::read::{SetRow, Validation, WorstRow};
use crate::report::chart::{Bar, bars};
use crate::report::sheet::{BLUE, FAINT};
use std::collections::BTreeMap;

pub(super) fn section(path: &str, kept: &Validation) -> Section {
    let row = |set: &SetRow| {
        vec![
            Cell::text(&set.id),
            Cell::text(&set.title),
            Cell::Number(Some(set.compared as f64)),
            Cell::Number(Some(set.skipped as f64)),
            Cell::Percent(set.median_abs_error),
            Cell::Percent(set.p90_abs_error),
            Cell::Percent(set.mape),
            Cell::Change(set.median_error),
        ]
    };
    let names = columns(&[
        "set",
        "what",
        "compared",
        "skipped",
        "median |error|",
        "p90 |error|",
        "mean |error|",
        "median error",
    ]);
    let answer = table(&names, &kept.sets.iter().map(row).collect::<Vec<_>>());
    let mut rows = Vec::new();
    for set in &kept.sets {
        let bar = |what: &str, value: Option<f64>, color| {
            let value = value?;
            Some(Bar { name: format!("{} {what}", set.id), value, label: format!("{:.1}%", 100.0 * value), color })
        };
        rows.extend(bar("median", set.median_abs_error, BLUE));
        rows.extend(bar("p90", set.p90_abs_error, FAINT));
    }
    let title = "Simulated against measured: absolute error, median and 90th percentile";
    let mut body = Body::default();
    body.figure("errors", title, bars(title, &rows));
    for set in &kept.sets {
        let groups: Vec<Vec<Cell>> = set
            .groups
            .iter()
            .map(|group| {
                vec![
                    Cell::text(words(&group.group)),
                    Cell::Number(Some(group.rows as f64)),
                    Cell::Percent(Some(group.median_abs_error)),
                    Cell::Percent(Some(group.p90_abs_error)),
                    Cell::Change(Some(group.median_error)),
                ]
            })
            .collect();
        let names = columns(&["group", "rows", "median |error|", "p90 |error|", "median error"]);
        let worst: Vec<Vec<Cell>> = set.worst.iter().map(worst_row).collect();
        let worst = table(&columns(&["farthest off", "measured", "simulated", "unit", "error"]), &worst);
        body.html(&format!("<h3>{}: {}</h3>\n", escape(&set.id), escape(&set.title)));
        pictures(&mut body, set);
        body.html(&folded("Groups, and what is farthest off", &(table(&names, &groups) + &worst)));
    }
    let skipped: u64 = kept.sets.iter().map(|set| set.skipped).sum();
    if skipped > 0 {
        body.html(&format!("<p class=\"note\">{} values could not be simulated.</p>\n", escape(&skipped.to_string())));
    }
    Section { title: "Measured against simulated".to_owned(), origin: format!("validate; {path}"), answer, body }
}

fn worst_row(row: &WorstRow) -> Vec<Cell> {
    let name = if row.part.is_empty() { words(&row.key) } else { format!("{} {}", words(&row.key), row.part) };
    let error = Cell::Change(Some(row.error));
    vec![Cell::text(name), Cell::Number(Some(row.measured)), Cell::Number(row.simulated), Cell::text(&row.unit), error]
}

fn words(key: &BTreeMap<String, String>) -> String {
    key.iter().map(|(column, value)| format!("{column}={value}")).collect::<Vec<_>>().join(" ")
}
