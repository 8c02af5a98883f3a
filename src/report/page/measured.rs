//! Measured values and simulated ones in one picture: as curves along a size, and all of them by how well they agree.

use super::html::Body;
use super::read::{PointRow, SetRow};
use crate::report::chart::{CURVES_MAX, Compared, Series, agreement, compared};
use std::collections::{BTreeMap, BTreeSet};

/// Places along a curve from which on it is one.
const PLACES_MIN: usize = 4;
/// The column of sizes in bytes: over it, times become rates.
const BYTES: &str = "size_bytes";

/// Pictures of one set of measurements.
pub(super) fn pictures(body: &mut Body, set: &SetRow) {
    let known: Vec<&PointRow> =
        set.points.iter().filter(|point| point.measured > 0.0 && point.simulated.is_some_and(|v| v > 0.0)).collect();
    body.html("<div class=\"plots\">\n");
    if let Some((column, curves)) = curves(&known) {
        let y = match known[0].unit.as_str() {
            _ if rates(&known, &column) => "GB/s, size over time".to_owned(),
            unit @ ("us" | "ms" | "s") => format!("time [{unit}]"),
            unit => unit.to_owned(),
        };
        let title = format!("{}: marks measured, lines simulated", set.id);
        body.figure(&format!("{}_curves", set.id), &title, compared(&title, (&column, &y), &curves));
    }
    if known.len() > 1 {
        let title = format!("{}: what agrees lies on the diagonal", set.id);
        let alike = known.iter().all(|point| point.unit == known[0].unit);
        let x = if alike { format!("measured [{}]", known[0].unit) } else { "measured, each in its unit".to_owned() };
        let y = "simulated; thin lines: 25% off";
        body.figure(&format!("{}_agreement", set.id), &title, agreement(&title, (&x, y), &clouds(&known)));
    }
    body.html("</div>\n");
}

/// Values by what was measured in a line, or by the first column that tells them apart in few groups.
fn clouds(points: &[&PointRow]) -> Vec<Series> {
    let by = |name: &dyn Fn(&PointRow) -> String| {
        let mut clouds: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for point in points {
            clouds.entry(name(point)).or_default().push((point.measured, point.simulated.unwrap_or(point.measured)));
        }
        clouds
    };
    // A number says nothing without the name of its column.
    let named = |column: &str, point: &PointRow| match point.key.get(column) {
        Some(value) if value.starts_with(|first: char| first.is_ascii_digit()) => format!("{column} {value}"),
        value => value.cloned().unwrap_or_default(),
    };
    let columns = points[0].key.keys().map(|column| by(&|point| named(column, point)));
    let few = |clouds: &BTreeMap<String, Vec<(f64, f64)>>| (2..=CURVES_MAX).contains(&clouds.len());
    let by_part = by(&|point| point.part.clone());
    let chosen = std::iter::once(by_part).chain(columns).find(few).unwrap_or_else(|| by(&|_| String::new()));
    chosen.into_iter().map(|(name, points)| Series { name, points, joined: false }).collect()
}

/// The curves along the column that has most of them, and that column; a few, evenly chosen.
fn curves(points: &[&PointRow]) -> Option<(String, Vec<Compared>)> {
    let columns = points.first()?.key.keys();
    let along = |column: &String| (column.clone(), groups(points, column));
    let covered = |(_, groups): &(String, Vec<Group<'_>>)| groups.iter().map(|group| group.points.len()).sum::<usize>();
    let (column, mut groups) = columns.map(along).filter(|(_, groups)| !groups.is_empty()).max_by_key(covered)?;
    let all = groups.len();
    if all > CURVES_MAX {
        let shown: BTreeSet<usize> = (0..CURVES_MAX).map(|place| place * (all - 1) / (CURVES_MAX - 1)).collect();
        let mut place = 0..all;
        groups.retain(|_| place.next().is_some_and(|place| shown.contains(&place)));
    }
    let columns = points[0].key.keys().map(String::as_str).filter(|other| *other != column).collect::<Vec<_>>();
    let names = names(&groups, &columns);
    let rates = rates(points, &column);
    let value = |at: f64, value: f64| if rates { at / value / 1e3 } else { value };
    let curve = |(group, name): (&Group<'_>, String)| Compared {
        name,
        measured: group.points.iter().map(|&(at, measured, _)| (at, value(at, measured))).collect(),
        simulated: group.points.iter().map(|&(at, _, simulated)| (at, value(at, simulated))).collect(),
    };
    let curves = groups.iter().zip(names).map(curve).collect();
    Some((column, curves))
}

/// Whether values along this column are shown as rates: times over sizes.
fn rates(points: &[&PointRow], column: &str) -> bool {
    column == BYTES && points.iter().all(|point| point.unit == "us")
}

/// Points that differ in one column only.
struct Group<'a> {
    /// The other columns' values, and what was measured in the line.
    others: Vec<&'a str>,
    /// Place along the column, measured value, simulated value; in order of place.
    points: Vec<(f64, f64, f64)>,
}

/// The points by all columns but this one, where that makes curves of numbers.
fn groups<'a>(points: &[&'a PointRow], column: &str) -> Vec<Group<'a>> {
    let mut found: BTreeMap<Vec<&str>, Vec<(f64, f64, f64)>> = BTreeMap::new();
    for point in points {
        let place = point.key.get(column).and_then(|value| value.parse::<f64>().ok());
        let (Some(place), Some(simulated)) = (place.filter(|place| *place > 0.0), point.simulated) else {
            return Vec::new();
        };
        let others = point.key.iter().filter(|(other, _)| *other != column).map(|(_, value)| value.as_str());
        let others = others.chain([point.part.as_str(), point.unit.as_str()]).collect();
        found.entry(others).or_default().push((place, point.measured, simulated));
    }
    let mut groups = Vec::new();
    for (others, mut points) in found {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by(|a, b| a.0 == b.0);
        if points.len() >= PLACES_MIN {
            groups.push(Group { others, points });
        }
    }
    groups
}

/// What tells groups apart; numbers with the names of their columns.
fn names(groups: &[Group<'_>], columns: &[&str]) -> Vec<String> {
    let differs = |place: usize| groups.iter().any(|group| group.others[place] != groups[0].others[place]);
    let name = |group: &Group<'_>| {
        let words = group.others.iter().enumerate().filter(|(place, word)| differs(*place) && !word.is_empty());
        let named = |(place, word): (usize, &&str)| match columns.get(place) {
            Some(column) if word.starts_with(|first: char| first.is_ascii_digit()) => format!("{column} {word}"),
            _ => (*word).to_owned(),
        };
        words.map(named).collect::<Vec<_>>().join(", ")
    };
    groups.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(system: &str, size: u64, measured: f64) -> PointRow {
        let key = [("system", system.to_owned()), (BYTES, size.to_string())];
        PointRow {
            key: key.into_iter().map(|(column, value)| (column.to_owned(), value)).collect(),
            part: String::new(),
            unit: "us".to_owned(),
            measured,
            simulated: Some(2.0 * measured),
        }
    }

    #[test]
    fn curves_go_along_the_column_of_numbers_and_times_over_bytes_become_rates() {
        let sizes = [4_000_u64, 1_000, 2_000, 8_000];
        let rows: Vec<PointRow> =
            ["a", "b"].iter().flat_map(|system| sizes.map(|size| point(system, size, size as f64 / 1e3))).collect();
        let (column, curves) = curves(&rows.iter().collect::<Vec<_>>()).expect("curves");
        assert_eq!(column, BYTES);
        let names: Vec<&str> = curves.iter().map(|curve| curve.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        // A kilobyte in a microsecond is a gigabyte per second.
        assert_eq!(curves[0].measured, [(1e3, 1.0), (2e3, 1.0), (4e3, 1.0), (8e3, 1.0)]);
        assert_eq!(curves[0].simulated[0], (1e3, 0.5));
    }

    #[test]
    fn what_is_no_time_in_microseconds_stays_as_it_is_over_bytes() {
        let mut rows = [1_000_u64, 2_000, 4_000, 8_000].map(|size| point("a", size, 3.0));
        rows.iter_mut().for_each(|row| row.unit = "GB/s".to_owned());
        let (_, curves) = curves(&rows.iter().collect::<Vec<_>>()).expect("curves");
        assert_eq!(curves[0].measured, [(1e3, 3.0), (2e3, 3.0), (4e3, 3.0), (8e3, 3.0)]);
    }

    #[test]
    fn few_points_make_no_curve() {
        let rows = [point("a", 1, 1.0), point("a", 2, 1.0), point("b", 1, 1.0)];
        assert!(curves(&rows.iter().collect::<Vec<_>>()).is_none());
    }
}
