//! A reproduction on the page: printed against simulated.

use super::Section;
use super::html::{Cell, columns, escape, figure, table};
use super::read::Figures;
use crate::report::figures::{FigureRow, summary};
use crate::report::plot::{assumptions_svg, deviations_svg};

pub(super) fn section(path: &str, kept: &Figures) -> Section {
    let mut answer = format!("<p class=\"verdict\">{}</p>\n", escape(summary(&kept.figures).trim()));
    let closed = kept.figures.iter().filter(|figure| figure.agrees());
    if let Some(farthest) = closed.max_by(|a, b| a.deviation.abs().total_cmp(&b.deviation.abs())) {
        let (id, deviation) = (escape(&farthest.id), 100.0 * farthest.deviation + 0.0);
        answer.push_str(&format!("<p>Of those that agree, {id} is farthest off: {deviation:+.2}%.</p>\n"));
    }
    let mut body = figure("Simulated against printed: deviation of each figure", &deviations_svg(&kept.figures));
    if !kept.assumptions.is_empty() {
        body.push_str(&figure("What each assumption is worth", &assumptions_svg(&kept.assumptions)));
    }
    let names = columns(&[
        "figure",
        "where",
        "quantity",
        "printed",
        "simulated",
        "unit",
        "deviation",
        "status",
        "holds",
        "note",
    ]);
    body.push_str(&table(&names, &kept.figures.iter().map(row).collect::<Vec<_>>()));
    Section {
        title: "Published figures, printed against simulated".to_owned(),
        origin: format!("reproduce; {path}"),
        answer,
        body,
    }
}

fn row(figure: &FigureRow) -> Vec<Cell> {
    vec![
        Cell::text(&figure.id),
        Cell::text(&figure.source),
        Cell::text(&figure.quantity),
        Cell::Number(Some(figure.printed)),
        Cell::Number(Some(figure.simulated)),
        Cell::text(&figure.unit),
        Cell::Change(Some(figure.deviation)),
        Cell::text(figure.status.name()),
        Cell::text(if figure.holds() { "yes" } else { "NO" }),
        Cell::text(&figure.note),
    ]
}
