//! A reproduction on the page: printed against simulated.

use super::Section;
use super::html::{Body, Cell, columns, escape, table};
use super::read::Figures;
use crate::report::chart::{Compared, Series, agreement, compared};
use crate::report::figures::{FigureRow, How, summary};
use crate::report::plot::{assumptions, deviations};

pub(super) fn section(path: &str, kept: &Figures) -> Section {
    let mut answer = format!("<p class=\"verdict\">{}</p>\n", escape(summary(&kept.figures).trim()));
    let closed = kept.figures.iter().filter(|figure| figure.agrees());
    if let Some(farthest) = closed.max_by(|a, b| a.deviation.abs().total_cmp(&b.deviation.abs())) {
        let (id, deviation) = (escape(&farthest.id), 100.0 * farthest.deviation + 0.0);
        answer.push_str(&format!("<p>Of those that agree, {id} is farthest off: {deviation:+.2}%.</p>\n"));
    }
    let mut body = Body::default();
    body.figure("deviations", "Simulated against printed: deviation of each figure", deviations(&kept.figures));
    body.html("<div class=\"plots\">\n");
    both(&mut body, &kept.figures);
    for plot in curves(&kept.figures) {
        let title = format!("{}: marks printed, lines simulated", plot.title);
        let picture = compared(&title, (&plot.along, &plot.unit), &plot.curves);
        body.figure(&format!("{}_curves", plot.name), &title, picture);
    }
    body.html("</div>\n");
    if !kept.assumptions.is_empty() {
        body.figure("assumptions", "What each assumption is worth", assumptions(&kept.assumptions));
    }
    let names = columns(&[
        "figure",
        "where",
        "quantity",
        "printed",
        "simulated",
        "unit",
        "deviation",
        "within",
        "band",
        "status",
        "holds",
        "note",
    ]);
    body.html(&table(&names, &kept.figures.iter().map(row).collect::<Vec<_>>()));
    Section {
        title: "Published figures, printed against simulated".to_owned(),
        origin: format!("reproduce; {path}"),
        answer,
        body,
    }
}

/// All figures, by whether they follow from a simulation or from counting.
fn both(body: &mut Body, figures: &[FigureRow]) {
    let cloud = |name: &str, how: How| {
        let chosen =
            figures.iter().filter(|figure| figure.how == how && figure.printed > 0.0 && figure.simulated > 0.0);
        let points = chosen.map(|figure| (figure.printed, figure.simulated)).collect();
        Series { name: name.to_owned(), points, joined: false }
    };
    let title = "Every figure: what agrees lies on the diagonal";
    let clouds = [cloud("simulation", How::Simulation), cloud("arithmetic", How::Arithmetic)];
    body.figure(
        "agreement",
        title,
        agreement(title, ("printed, each in its unit", "simulated; thin lines: 25% off"), &clouds),
    );
}

/// Figures that differ in the number that ends their names, "figure5.multi_plane.32".
struct Plot {
    /// The first word of their names.
    name: String,
    /// Where they are printed: "Figure 5".
    title: String,
    /// What the number counts.
    along: String,
    unit: String,
    curves: Vec<Compared>,
}

/// Figures by the first word of their names, as curves along the number that ends these.
fn curves(figures: &[FigureRow]) -> Vec<Plot> {
    let mut plots: Vec<Plot> = Vec::new();
    for row in figures.iter().filter(|row| row.printed > 0.0 && row.simulated > 0.0 && !row.along.is_empty()) {
        let Some((rest, place)) = row.id.rsplit_once('.') else { continue };
        let (Some((first, name)), Ok(place)) = (rest.split_once('.'), place.parse::<f64>()) else { continue };
        // "nan" and "inf" are numbers as well, and have no place; nor has 0, where equal ratios are equally far apart.
        if !(place.is_finite() && place > 0.0) {
            continue;
        }
        let same = |plot: &Plot| plot.name == first && plot.unit == row.unit && plot.along == row.along;
        let at = plots.iter().position(same).unwrap_or_else(|| {
            let (name, along, unit) = (first.to_owned(), row.along.clone(), row.unit.clone());
            plots.push(Plot { name, title: printed_in(row), along, unit, curves: Vec::new() });
            plots.len() - 1
        });
        let curves = &mut plots[at].curves;
        let name = name.replace('_', " ");
        let known = curves.iter().position(|curve| curve.name == name);
        let curve = known.unwrap_or_else(|| {
            curves.push(Compared { name, measured: Vec::new(), simulated: Vec::new() });
            curves.len() - 1
        });
        curves[curve].measured.push((place, row.printed));
        curves[curve].simulated.push((place, row.simulated));
    }
    plots.retain(|plot| plot.curves.iter().all(|curve| curve.measured.len() > 2));
    plots
}

/// The figure or table of the source, with a capital.
fn printed_in(row: &FigureRow) -> String {
    let part = row.source.rsplit(", ").next().unwrap_or(&row.source);
    let mut letters = part.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
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
        Cell::text(figure.tolerance_text()),
        Cell::text(figure.band_text()),
        Cell::text(figure.status.name()),
        Cell::text(if figure.holds() { "yes" } else { "NO" }),
        Cell::text(&figure.note),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::Status;

    #[test]
    fn curves_have_only_places_above_zero() {
        let figure = |place: &str| FigureRow {
            id: format!("figx.curve.{place}"),
            source: "a paper, figure 7".to_owned(),
            quantity: String::new(),
            along: "GPUs".to_owned(),
            unit: "GB/s".to_owned(),
            printed: 2.0,
            simulated: 3.0,
            deviation: 0.5,
            precision: 1.0,
            tolerance: None,
            band: None,
            settings: Vec::new(),
            status: Status::Predicted,
            how: How::Simulation,
            note: String::new(),
        };
        let plots = curves(&["0", "1", "nan", "2", "inf", "-4", "8"].map(figure));
        let Plot { name, title, along, unit, curves: rows } = &plots[0];
        assert_eq!((name.as_str(), unit.as_str(), plots.len(), rows.len()), ("figx", "GB/s", 1, 1));
        assert_eq!((title.as_str(), along.as_str()), ("Figure 7", "GPUs"));
        assert_eq!(rows[0].measured, [(1.0, 2.0), (2.0, 2.0), (8.0, 2.0)]);
        // Twelve places with zero among them are drawn.
        let places: Vec<FigureRow> = (0..12).map(|place| figure(&place.to_string())).collect();
        assert_eq!(curves(&places)[0].curves[0].measured.len(), 11);
    }
}
