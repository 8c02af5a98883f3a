//! A search on the page: the best point, the Pareto front, and what became of every point.

use super::Section;
use super::html::{Body, Cell, escape, table, tile};
use super::read::{FoundRow, Search};

pub(super) fn section(path: &str, search: &Search) -> Section {
    let simulated = search.points.iter().filter(|point| !point.record.metrics.is_empty()).count();
    let left_out = search.points.len() - simulated;
    Section {
        title: search.goal.clone(),
        origin: format!(
            "search over {} points, {left_out} of them left out by bounds or memory; {path}",
            search.points.len()
        ),
        answer: answer(search),
        body: body(search),
    }
}

fn answer(search: &Search) -> String {
    let mut text = String::new();
    if !search.description.is_empty() {
        text.push_str(&format!("<p>{}</p>\n", escape(&search.description)));
    }
    let with = if search.targets.is_empty() { String::new() } else { format!(" with {}", search.targets.join(", ")) };
    let wanted = escape(&format!("{}{with}", search.objective));
    let Some(best) = search.best.and_then(|best| search.points.get(best)) else {
        return text + &format!("<p class=\"verdict\">No point is an answer: {wanted}</p>\n");
    };
    let choice: Vec<String> =
        search.axes.iter().filter_map(|axis| Some(format!("{axis} {}", best.choice.get(axis)?))).collect();
    text.push_str(&format!("<p>{wanted}:</p>\n<p class=\"verdict\">{}</p>\n", escape(&choice.join(", "))));
    text.push_str("<div class=\"tiles\">\n");
    for name in &search.shown {
        if let Some((_, unit, Some(value))) = metric(best, name) {
            text.push_str(&tile(name, *value, unit));
        }
    }
    text + "</div>\n"
}

fn metric<'a>(point: &'a FoundRow, name: &str) -> Option<&'a (String, String, Option<f64>)> {
    point.record.metrics.iter().find(|(other, ..)| other == name)
}

fn body(search: &Search) -> Body {
    let mut body = Body::default();
    if let Some(chart) = &search.chart {
        body.figure("pareto", "Pareto front", chart.picture());
    }
    let unit =
        |name: &String| search.points.iter().find_map(|point| metric(point, name)).map_or("", |found| found.1.as_str());
    let titled = |name: &String| match unit(name) {
        "" => name.clone(),
        unit => format!("{name} [{unit}]"),
    };
    let fixed = ["on the front", "what became of it"].map(str::to_owned);
    let titles: Vec<String> = search.axes.iter().cloned().chain(fixed).chain(search.shown.iter().map(titled)).collect();
    let row = |(at, point): (usize, &FoundRow)| {
        let choices = search.axes.iter().map(|axis| choice(point, axis));
        let mark = if search.best == Some(at) {
            "best"
        } else if search.front.contains(&at) {
            "yes"
        } else {
            ""
        };
        let fixed = [Cell::text(mark), Cell::text(point.fate.replace('_', " "))];
        let values = search.shown.iter().map(|name| Cell::Number(metric(point, name).and_then(|found| found.2)));
        choices.chain(fixed).chain(values).collect::<Vec<Cell>>()
    };
    body.html(&table(&titles, &search.points.iter().enumerate().map(row).collect::<Vec<_>>()));
    body
}

/// What was chosen on an axis, as a number where it is one.
fn choice(point: &FoundRow, axis: &str) -> Cell {
    let label = point.choice.get(axis).map_or("", String::as_str);
    label.parse().map_or_else(|_| Cell::text(label), |value| Cell::Number(Some(value)))
}
