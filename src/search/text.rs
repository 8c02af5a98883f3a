//! What a search found, for people: the answer, what was left out and why, the Pareto front.

use super::aim::{Aims, of};
use super::explore::{Fate, Found, SPREAD, SPREAD_KEY, Seen};
use super::spec::{GoalSpec, ObjectiveSpec};
use crate::report::chart::{Series, Trade};
use crate::report::table::{Align, Table, number};
use crate::sweep::{Answer, Kept, Plan};
use std::fmt::Write;

/// Rows of the front that are worth reading in a terminal.
const ROWS_MAX: usize = 40;

/// Metrics of the two axes of a picture, by whether a step or serving over time is simulated.
const PICTURE: [[&str; 2]; 2] =
    [["tokens_per_s_per_user", "tokens_per_s_per_gpu"], ["tokens_per_s_per_user", "output_tokens_per_s_per_gpu"]];

/// The objective in words: "least usd_per_million_tokens".
pub fn objective_name(goal: &GoalSpec) -> String {
    match &goal.objective {
        ObjectiveSpec::Minimise(metric) => format!("least {metric}"),
        ObjectiveSpec::Maximise(metric) => format!("most {metric}"),
    }
}

/// The answer and how it was found.
pub fn found_text(goal: &GoalSpec, plan: &Plan, found: &Found) -> String {
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("writing to a string");
    line(&goal.name);
    if !goal.description.trim().is_empty() {
        line(goal.description.trim());
    }
    line("");
    let targets = target_texts(goal);
    let with = if targets.is_empty() { String::new() } else { format!(" with {}", targets.join(", ")) };
    match found.best {
        Some(best) => {
            line(&format!("{}{with}:", objective_name(goal)));
            line("");
            line(&answer(goal, plan, &found.seen[best], best));
        }
        None => line(&format!("No point meets {}.", if targets.is_empty() { "the goal" } else { &with[6..] })),
    }
    line("");
    line(&format!("{} points over {}", found.seen.len(), plan.axes.join(", ")));
    line(&fates(found));
    let spread = format!("{SPREAD_KEY} = {SPREAD}");
    if found.seen.iter().any(|seen| seen.record.set.contains(&spread)) {
        line(&format!(
            "with {spread}: requests have from {:.1} to {:.1} of `context` cached",
            1.0 - SPREAD,
            1.0 + SPREAD
        ));
    }
    if !found.front.is_empty() {
        line("");
        line("Pareto front: what no other point that meets the targets beats on all sides");
        line(front(plan, found, goal).trim_end());
    }
    for reason in senseless(found) {
        line(&reason);
    }
    text
}

/// The targets in words: "tpot <= 20 ms".
pub fn target_texts(goal: &GoalSpec) -> Vec<String> {
    Aims::new(goal).map_or(Vec::new(), |aims| aims.limits.iter().map(|limit| limit.text.clone()).collect())
}

/// Names of the metrics that are worth showing of points, the objective first.
pub fn shown_metrics(goal: &GoalSpec, found: &Found) -> Vec<String> {
    let simulated = found.seen.iter().find(|seen| !metrics(seen).is_empty());
    simulated.map_or(Vec::new(), |seen| columns(goal, metrics(seen)))
}

fn metrics(seen: &Seen) -> &[Kept] {
    match &seen.record.answer {
        Answer::Metrics(metrics) => metrics,
        Answer::Error(_) => &[],
    }
}

/// Metrics worth showing: the objective, what targets name, the sides of the front, the size of the deployment.
fn columns(goal: &GoalSpec, seen: &[Kept]) -> Vec<String> {
    let Ok(aims) = Aims::new(goal) else { return Vec::new() };
    let mut names: Vec<String> = Vec::new();
    let wanted = [aims.sides[0].0.clone()].into_iter();
    let wanted = wanted.chain(aims.limits.iter().map(|limit| limit.metric.clone()));
    let wanted = wanted.chain(aims.sides[1..].iter().map(|(name, _)| name.clone()));
    for name in wanted.chain(["gpus", "usd_per_hour"].map(str::to_owned)) {
        if !names.contains(&name) && of(seen, &name).is_some() {
            names.push(name);
        }
    }
    names
}

fn answer(goal: &GoalSpec, plan: &Plan, seen: &Seen, at: usize) -> String {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    for (axis, place) in plan.axes.iter().zip(&plan.points[at].places) {
        table.row(vec![axis.clone(), place.label.clone(), String::new()]);
    }
    for name in columns(goal, metrics(seen)) {
        let kept = of(metrics(seen), &name).expect("a column that the point has");
        let bound = match seen.bound {
            Some(bound) if name == objective_metric(goal) && Some(bound) != kept.value => {
                format!("no better than {} before it was simulated", number(bound))
            }
            _ => String::new(),
        };
        let value = kept.value.map_or("-".to_owned(), number);
        table.row(vec![name, format!("{value} {}", kept.unit).trim_end().to_owned(), bound]);
    }
    table.plain()
}

fn objective_metric(goal: &GoalSpec) -> &str {
    match &goal.objective {
        ObjectiveSpec::Minimise(metric) | ObjectiveSpec::Maximise(metric) => metric,
    }
}

/// How many points came to which end.
fn fates(found: &Found) -> String {
    let mut counts: Vec<(u8, String, usize)> = Vec::new();
    for seen in &found.seen {
        let (rank, text) = match &seen.fate {
            Fate::Senseless => (0, "left out: no sensible deployment".to_owned()),
            Fate::TooLarge => (1, "left out: does not fit into memory".to_owned()),
            Fate::OutOfReach(target, _) => (2, format!("left out: cannot meet {target}, by its bound")),
            Fate::Beaten(_) => (3, "left out: at its bound still worse than another point".to_owned()),
            Fate::Misses(target) => (4, format!("simulated: misses {target}")),
            Fate::Meets => (5, "simulated: meets the targets".to_owned()),
        };
        match counts.iter_mut().find(|(_, known, _)| *known == text) {
            Some((.., count)) => *count += 1,
            None => counts.push((rank, text, 1)),
        }
    }
    counts.sort();
    let mut table = Table::new(&[("", Align::Right), ("", Align::Left)]);
    for (_, text, count) in counts {
        table.row(vec![count.to_string(), text]);
    }
    table.plain()
}

fn front(plan: &Plan, found: &Found, goal: &GoalSpec) -> String {
    let names = columns(goal, metrics(&found.seen[found.front[0]]));
    let title = |name: &String| {
        let unit = of(metrics(&found.seen[found.front[0]]), name).map_or("", |kept| kept.unit.as_str());
        // Some names say their unit already.
        let said = unit.is_empty() || name.contains("tokens_per_s") || name.starts_with("usd_");
        if said { name.clone() } else { format!("{name} [{unit}]") }
    };
    let titles: Vec<String> = plan.axes.iter().cloned().chain(names.iter().map(title)).collect();
    let aligned: Vec<(&str, Align)> =
        [("", Align::Left)].into_iter().chain(titles.iter().map(|title| (title.as_str(), Align::Right))).collect();
    let mut table = Table::new(&aligned);
    for &at in found.front.iter().take(ROWS_MAX) {
        let mark = if found.best == Some(at) { "best" } else { "" };
        let mut row = vec![mark.to_owned()];
        row.extend(plan.points[at].places.iter().map(|place| place.label.clone()));
        let value = |name: &String| of(metrics(&found.seen[at]), name).and_then(|kept| kept.value);
        row.extend(names.iter().map(|name| value(name).map_or("-".to_owned(), number)));
        table.row(row);
    }
    let more = found.front.len().saturating_sub(ROWS_MAX);
    let more = if more > 0 { format!(" and {more} more in the table's files\n") } else { String::new() };
    table.headed() + &more
}

/// Why points make no sense, one line for each reason.
fn senseless(found: &Found) -> Vec<String> {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for seen in found.seen.iter().filter(|seen| seen.fate == Fate::Senseless) {
        let Answer::Error(message) = &seen.record.answer else { continue };
        let headline = message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        match reasons.iter_mut().find(|(known, _)| *known == headline) {
            Some((_, count)) => *count += 1,
            None => reasons.push((headline, 1)),
        }
    }
    reasons.into_iter().map(|(reason, count)| format!("no sensible deployment ({count}): {reason}")).collect()
}

/// The front as a picture, where the points have both sides of it.
pub fn front_chart(goal: &GoalSpec, found: &Found) -> Option<Trade> {
    let simulated = |seen: &&Seen| matches!(seen.fate, Fate::Meets | Fate::Misses(_));
    let point = |seen: &Seen, [x, y]: [&str; 2]| Some((of(metrics(seen), x)?.value?, of(metrics(seen), y)?.value?));
    let sides = PICTURE.into_iter().find(|sides| found.seen.iter().any(|seen| point(seen, *sides).is_some()))?;
    let front: Vec<(f64, f64)> = found.front.iter().filter_map(|&at| point(&found.seen[at], sides)).collect();
    let of_fate = |meets: bool| -> Vec<(f64, f64)> {
        let chosen = found.seen.iter().filter(simulated).filter(|seen| (seen.fate == Fate::Meets) == meets);
        chosen.filter_map(|seen| point(seen, sides)).filter(|point| !front.contains(point)).collect()
    };
    let best = found.best.and_then(|best| point(&found.seen[best], sides));
    let series = |name: &str, points, joined| Series { name: name.to_owned(), points, joined };
    let clouds = vec![
        series("misses a target", of_fate(false), false),
        series("meets the targets", of_fate(true), false),
        series("Pareto front", front.clone(), true),
        series("best", best.into_iter().collect(), false),
    ];
    let [x, y] = sides.map(|name| format!("{name} [tokens/s]"));
    Some(Trade { title: goal.name.clone(), x, y, clouds })
}
