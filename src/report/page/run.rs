//! A run on the page: its metrics, what it waited for, where the time and the memory went.

use super::Section;
use super::html::{Body, Cell, columns, folded, table, tile};
use super::read::{Kept, MemoryRow, RunSummary};
use crate::report::chart::{Bar, bars};
use crate::report::inside::Inside;
use crate::report::sheet::{BLUE, GREEN, INK, ORANGE, RED, VIOLET};
use crate::report::table::{duration_beside, number};
use crate::timeline::Bound;
use serde_json::Value;

/// What is read first, in this order, of whatever a run has.
const FIRST: &[&str] = &[
    "tpot",
    "ttft",
    "tokens_per_s_per_user",
    "tokens_per_s_per_gpu",
    "usd_per_million_tokens",
    "time_per_step",
    "tokens_per_day",
    "mfu_causal",
    "bubble",
    "time",
    "busbw",
    "dispatch",
    "combine",
    "dispatch_bandwidth",
    "combine_bandwidth",
];
/// Rows of the critical path that are drawn; the rest is in the table.
const PATH_MAX: usize = 12;

pub(super) fn section(path: &str, run: &RunSummary, inside: Option<&Inside>) -> Section {
    let first = FIRST.iter().filter_map(|name| Some((*name, run.metrics.get(*name)?)));
    let mut answer = String::from("<div class=\"tiles\">\n");
    for (name, metric) in first {
        answer.push_str(&tile(name, metric.value.unwrap_or(f64::INFINITY), &metric.unit));
    }
    answer.push_str("</div>\n");
    if run.failure.is_some() || run.metrics.is_empty() {
        let why = run.failure.as_deref().unwrap_or("the run did not end");
        answer.push_str(&format!("<p class=\"verdict fails\">No answer: {}</p>\n", super::escape(why)));
    }
    for line in
        run.with.iter().map(|set| format!("with {set}")).chain(run.notes.iter().map(|note| format!("Note: {note}")))
    {
        answer.push_str(&format!("<p>{}</p>\n", super::escape(&line)));
    }
    let whole: f64 = run.critical_path.iter().map(|row| row.time_us).sum();
    if let Some(largest) = run.critical_path.iter().max_by(|a, b| a.time_us.total_cmp(&b.time_us)) {
        let share = 100.0 * largest.time_us / whole;
        let (phase, bound) = (super::escape(&largest.phase), super::escape(&largest.bound_by));
        answer.push_str(&format!(
            "<p>It waits longest for <b>{phase}</b>, bound by {bound}: {share:.0}% of the time.</p>\n"
        ));
    }
    let folded = match run.folding.as_str() {
        "exact" => "; all alike, one simulated for all",
        "shared" => "; all alike, one with its part of shared NICs simulated for all",
        "sampled" => "; alike but for sampled tokens, the busiest simulated for all",
        "farthest" => "; the one with the longest ways simulated for all",
        _ => "",
    };
    Section {
        title: run.scenario.clone(),
        origin: format!(
            "run on {} GPUs{folded}; {}; seed {}, version {}; {path}",
            run.gpus, run.models, run.seed, run.version
        ),
        answer,
        body: body(run, inside, whole),
    }
}

fn body(run: &RunSummary, inside: Option<&Inside>, whole: f64) -> Body {
    let mut body = Body::default();
    for (place, overlap) in inside.iter().flat_map(|inside| &inside.overlaps).enumerate() {
        body.figure(if place == 0 { "overlap" } else { "overlap_inside" }, &overlap.title, overlap.picture());
    }
    let longest_wait = run.critical_path.iter().map(|row| row.time_us).fold(0.0, f64::max);
    let waits = run.critical_path.iter().take(PATH_MAX).map(|row| Bar {
        name: format!("{} ({})", row.phase, row.bound_by),
        value: row.time_us,
        label: format!("{}   {:.1}%", duration_beside(row.time_us, longest_wait), 100.0 * row.time_us / whole),
        color: if is_communication(&row.bound_by) { ORANGE } else { BLUE },
    });
    let waits = waits.collect::<Vec<_>>();
    let title = "What it waited for: the critical path (orange: communication)";
    body.figure("waits", title, bars(title, &waits));
    // Some phases compute and send.
    let both = |phase: &str| run.phases.iter().filter(|row| row.phase == phase).count() > 1;
    let longest = run.phases.iter().map(|row| row.busy_us).fold(0.0, f64::max);
    let busy = run.phases.iter().map(|row| Bar {
        name: if both(&row.phase) { format!("{} ({})", row.phase, row.kind) } else { row.phase.clone() },
        value: row.busy_us,
        label: duration_beside(row.busy_us, longest),
        color: if row.kind == "communication" { ORANGE } else { BLUE },
    });
    let title = "How long each phase keeps a GPU busy (phases overlap; orange: communication)";
    body.figure("phases", title, bars(title, &busy.collect::<Vec<_>>()));
    if let Some(memory) = &run.memory {
        memory_figure(&mut body, memory);
    }
    if let Some(fabric) = inside.and_then(|inside| inside.fabric.as_ref()) {
        body.figure("links", "How much the links are used", fabric.picture());
    }
    if let Some(facts) = &run.facts {
        body.html(&folded("What was simulated", &facts_table(facts)));
    }
    body.html(&folded("All metrics", &metrics_table(run)));
    let phases: Vec<Vec<Cell>> = run
        .phases
        .iter()
        .map(|row| {
            let operations = Cell::Number(Some(row.operations as f64));
            vec![Cell::text(&row.phase), Cell::text(&row.kind), operations, Cell::Number(Some(row.busy_us))]
        })
        .collect();
    body.html(&folded("Phases", &table(&columns(&["phase", "kind", "operations", "busy [us]"]), &phases)));
    let path: Vec<Vec<Cell>> = run
        .critical_path
        .iter()
        .map(|row| {
            let share = Cell::Percent(Some(row.time_us / whole));
            vec![Cell::text(&row.phase), Cell::text(&row.bound_by), Cell::Number(Some(row.time_us)), share]
        })
        .collect();
    body.html(&folded("Critical path", &table(&columns(&["phase", "bound by", "time [us]", "share"]), &path)));
    body
}

/// Whether what bounds a wait is communication: a phase may wait for other things as well.
fn is_communication(bound_by: &str) -> bool {
    [Bound::Link, Bound::Latency, Bound::Software].iter().any(|bound| bound.name() == bound_by)
}

/// Every fact by its path.
fn facts_table(facts: &Value) -> String {
    fn collect(path: &str, value: &Value, rows: &mut Vec<Vec<Cell>>) {
        match value {
            Value::Null => {}
            Value::Object(entries) => {
                for (key, value) in entries {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    collect(&path, value, rows);
                }
            }
            Value::Array(elements) => {
                elements.iter().enumerate().for_each(|(at, value)| collect(&format!("{path}.{at}"), value, rows));
            }
            Value::String(text) => rows.push(vec![Cell::text(path), Cell::text(text)]),
            other => rows.push(vec![Cell::text(path), Cell::text(other.to_string())]),
        }
    }
    let mut rows = Vec::new();
    collect("", facts, &mut rows);
    table(&columns(&["fact", "value"]), &rows)
}

fn metrics_table(run: &RunSummary) -> String {
    let row = |(name, metric): (&String, &super::read::MetricRow)| {
        vec![Cell::text(name), Cell::Number(metric.value), Cell::text(&metric.unit), Cell::text(&metric.definition)]
    };
    let rows: Vec<Vec<Cell>> = run.metrics.iter().map(row).collect();
    table(&columns(&["metric", "value", "unit", "definition"]), &rows)
}

fn memory_figure(body: &mut Body, memory: &MemoryRow) {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let used = memory.weights_bytes
        + memory.kv_cache_bytes
        + memory.activations_bytes
        + memory.gradients_bytes
        + memory.optimizer_bytes;
    let bar = |name: &str, bytes: u64, color| {
        let share = 100.0 * bytes as f64 / memory.capacity_bytes as f64;
        let label = format!("{} GiB   {share:.1}%", number(gib(bytes)));
        Bar { name: name.to_owned(), value: gib(bytes), label, color }
    };
    let mut rows = vec![
        bar("weights", memory.weights_bytes, BLUE),
        bar("KV cache", memory.kv_cache_bytes, ORANGE),
        bar("activations", memory.activations_bytes, GREEN),
        bar("gradients", memory.gradients_bytes, RED),
        bar("optimizer", memory.optimizer_bytes, INK),
        bar("free", memory.capacity_bytes.saturating_sub(used), VIOLET),
    ];
    rows.retain(|row| row.value > 0.0);
    let title = format!("Memory of a GPU: {:.1} of {:.1} GiB in use", gib(used), gib(memory.capacity_bytes));
    body.figure("memory", &title, bars(&title, &rows));
}

/// Runs that have metrics in common, in one table.
pub(super) fn side_by_side(results: &[(String, Kept)]) -> String {
    let run = |(_, kept): &(String, Kept)| match kept {
        Kept::Run(run, _) => Some(run.clone()),
        _ => None,
    };
    let mut runs: Vec<RunSummary> = results.iter().filter_map(run).collect();
    let has = |name: &str| runs.iter().filter(|run| run.metrics.contains_key(name)).count();
    let shown: Vec<&str> = FIRST.iter().copied().filter(|name| has(name) > 1).collect();
    if shown.is_empty() {
        return String::new();
    }
    runs.retain(|run| shown.iter().any(|name| run.metrics.contains_key(*name)));
    let title = |name: &&str| {
        let unit = runs.iter().find_map(|run| run.metrics.get(*name)).map_or("", |metric| metric.unit.as_str());
        format!("{name} [{unit}]")
    };
    let names = ["scenario".to_owned(), "GPUs".to_owned()].into_iter().chain(shown.iter().map(title));
    let row = |run: &RunSummary| {
        let values = shown.iter().map(|name| Cell::Number(run.metrics.get(*name).and_then(|metric| metric.value)));
        let with = if run.with.is_empty() { String::new() } else { format!(", with {}", run.with.join(", ")) };
        [Cell::text(format!("{}{with}", run.scenario)), Cell::Number(Some(run.gpus as f64))]
            .into_iter()
            .chain(values)
            .collect()
    };
    let rows: Vec<Vec<Cell>> = runs.iter().map(row).collect();
    format!("<section>\n<h2>Runs side by side</h2>\n{}</section>\n", table(&names.collect::<Vec<_>>(), &rows))
}
