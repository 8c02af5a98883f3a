//! The answer to one scenario as text for people: the answer first, then why.

use super::facts::facts_text;
use super::kernels_text::kernels;
use super::serving_text::serving_summary;
use super::table::{Align, Table};
use super::training_text::{pipeline_details, pipeline_text, training_details, training_text};
use crate::metrics::{
    Breakdown, DecodeMetrics, Facts, Metrics, MoeExchangeMetrics, Outcome, PathShare, PrefillMetrics, cut_off,
    kernel_times, link_loads,
};
use crate::units::{Bytes, Duration};
use std::fmt::Write;

/// Critical-path rows that are worth reading.
const PATH_ROWS_MAX: usize = 8;

/// Parts of the critical path that fit into a line.
const WAITED_PARTS: usize = 4;

/// Links that are worth reading.
const LINK_ROWS_MAX: usize = 5;

/// Pairs that were cut off and are named.
const CUT_OFF_ROWS_MAX: usize = 16;

/// What a report says of the experiment before it says anything of its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Heading {
    /// Name of the scenario.
    pub name: String,
    /// What it shows and assumes.
    pub description: String,
    /// What it ran on: "8 x H800 SXM, ...".
    pub setup: String,
    /// With which models: "kernels: tile, network: analytic".
    pub models: String,
    /// What was simulated.
    pub facts: Facts,
    /// Overlays on the scenario, as they were given. Its name and description speak of the scenario without them.
    pub sets: Vec<String>,
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The answer, and in a line each what it waited for and what memory it takes.
    Summary,
    /// Phases, the critical path, kernels and links as well.
    Full,
}

/// Renders the answer.
pub fn run_text(heading: &Heading, outcome: &Outcome, detail: Detail) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("writing to a string");
    described(heading).into_iter().for_each(&mut line);
    line(String::new());
    line(heading.setup.clone());
    facts_text(&heading.facts).into_iter().for_each(&mut line);
    line(heading.models.clone());
    heading.sets.iter().for_each(|set| line(format!("with {set}")));
    outcome.notes.iter().for_each(|note| line(format!("note: {note}")));
    line(String::new());
    line(match &outcome.metrics {
        _ if outcome.unended().is_some() => stranded(outcome),
        Metrics::Decode(metrics) => decode_summary(metrics),
        Metrics::Prefill(metrics) => prefill_summary(metrics),
        Metrics::Serving(metrics) => serving_summary(metrics),
        Metrics::Collective(metrics) => {
            let (algbw, busbw) = (metrics.algbw / 1e9, metrics.busbw / 1e9);
            format!("  time {:.2}   algbw {algbw:.2} GB/s   busbw {busbw:.2} GB/s", metrics.time)
        }
        Metrics::MoeExchange(metrics) => exchange_summary(metrics),
        Metrics::Training(metrics) => training_text(metrics),
        Metrics::Pipeline(metrics) => pipeline_text(metrics),
    });
    let (breakdown, whole) = outcome.metrics.breakdown();
    line(String::new());
    line(overlap(breakdown, whole));
    if detail == Detail::Summary {
        waited(breakdown, whole).into_iter().for_each(&mut line);
        memory(outcome).into_iter().for_each(&mut line);
        return text;
    }
    line(String::new());
    match &outcome.metrics {
        Metrics::Training(metrics) => line(training_details(metrics)),
        Metrics::Pipeline(metrics) => line(pipeline_details(metrics)),
        _ => {}
    }
    line("Where the time goes (busiest GPU; phases overlap)".to_owned());
    line(phases(breakdown, whole));
    line("Critical path: what the run waited for (adds up to the whole)".to_owned());
    line(critical_path(breakdown, whole));
    let (of, times) = match &outcome.metrics {
        Metrics::Training(metrics) => (" of pipeline rank 0, those of its chunks included", metrics.kernels.clone()),
        _ => ("", kernel_times(outcome.step())),
    };
    if let Some(kernels) = kernels(&times) {
        line(format!("Kernels of one GPU{of}"));
        line(kernels);
    }
    if !outcome.step().links.is_empty() {
        line("Most used links (of what their achievable rate would have passed in the whole run)".to_owned());
        line(links(outcome));
    }
    if let Some(memory) = memory(outcome) {
        line(memory);
    }
    text
}

/// What the author says of the scenario; of one with overlays, that it is not of them.
fn described(heading: &Heading) -> Vec<String> {
    let description = Some(heading.description.trim().to_owned()).filter(|text| !text.is_empty());
    if heading.sets.is_empty() {
        return [heading.name.clone()].into_iter().chain(description).collect();
    }
    let before = "as described, before --set";
    let name = format!("{} ({before})", heading.name);
    [name].into_iter().chain(description.map(|text| format!("{text} ({before})"))).collect()
}

fn exchange_summary(m: &MoeExchangeMetrics) -> String {
    let (there, back) = (m.dispatch_bandwidth / 1e9, m.combine_bandwidth / 1e9);
    let mut text =
        format!("  dispatch {:.2} ({there:.2} GB/s)   combine {:.2} ({back:.2} GB/s)", m.dispatch, m.combine);
    if m.prepare > Duration::ZERO {
        write!(text, "   prepare {:.2}", m.prepare).expect("writing to a string");
    }
    let copies = format!("  a token visits {:.2} GPUs in {:.2} nodes", m.gpus_per_token, m.nodes_per_token);
    write!(text, "\n{copies}").expect("writing to a string");
    text
}

fn prefill_summary(metrics: &PrefillMetrics) -> String {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    let mut row =
        |name: &str, value: String, meaning: &str| table.row(vec![name.to_owned(), value, meaning.to_owned()]);
    let rate = |tokens: f64| format!("{tokens:.0} tokens/s");
    row("step", format!("{:.2}", metrics.step), "what the step adds to the time to first token");
    row("per GPU", rate(metrics.tokens_per_sec_per_gpu), "computed positions per GPU / step");
    row("per node", rate(metrics.tokens_per_sec_per_node), "the same of a node");
    if metrics.input_tokens_per_sec_per_node > metrics.tokens_per_sec_per_node {
        row("with hits", rate(metrics.input_tokens_per_sec_per_node), "with positions that are found in the cache");
    }
    if let Some(usd) = metrics.usd_per_million_tokens {
        row("cost", format!("{usd:.4} USD"), "per million computed positions, GPU rent only");
    }
    table.plain()
}

/// Who was cut off, since when.
fn stranded(outcome: &Outcome) -> String {
    let topology = &outcome.cluster.topology;
    let pairs = cut_off(&outcome.timeline);
    let columns =
        [("from", Align::Left), ("to", Align::Left), ("cut off since", Align::Right), ("waiting", Align::Right)];
    let mut table = Table::new(&columns);
    for pair in pairs.iter().take(CUT_OFF_ROWS_MAX) {
        let waiting = format!("{} x, {:.1}", pair.transfers, pair.bytes);
        table.row(vec![topology.name(pair.from), topology.name(pair.to), format!("{:.2}", pair.since), waiting]);
    }
    let more = pairs.len().saturating_sub(CUT_OFF_ROWS_MAX);
    let more = if more > 0 { format!("... and {more} more pairs\n") } else { String::new() };
    let transfers = outcome.timeline.stranded.len();
    format!(
        "The run did not end: {transfers} transfers have no way left, and no coming change gives them one.\n{}\n{more}What \
         follows is what happened until then.",
        table.headed()
    )
}

fn links(outcome: &Outcome) -> String {
    let topology = &outcome.cluster.topology;
    let columns = [("from", Align::Left), ("to", Align::Left), ("carried", Align::Right), ("used", Align::Right)];
    let mut table = Table::new(&columns);
    for load in link_loads(outcome.step(), topology).iter().take(LINK_ROWS_MAX) {
        let (from, to) = topology.ends(load.link);
        let used = format!("{:.1}%", 100.0 * load.utilisation);
        table.row(vec![topology.name(from), topology.name(to), format!("{:.1}", load.carried), used]);
    }
    table.headed()
}

fn decode_summary(metrics: &DecodeMetrics) -> String {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    let mut row =
        |name: &str, value: String, meaning: &str| table.row(vec![name.to_owned(), value, meaning.to_owned()]);
    row("TPOT", format!("{:.3}", metrics.tpot), "time per output token of a request");
    row("per user", format!("{:.1} tokens/s", metrics.tokens_per_sec_per_user), "1 / TPOT");
    row("per GPU", format!("{:.1} tokens/s", metrics.tokens_per_sec_per_gpu), "requests per GPU / TPOT");
    if let Some(usd) = metrics.usd_per_million_tokens {
        row("cost", format!("{usd:.3} USD"), "per million output tokens, GPU rent only");
    }
    if let (Some(one), Some(layer)) = (metrics.ep_step, metrics.ep_layer) {
        row("EP step", format!("{one:.2}"), "dispatch + combine of one micro-batch and layer, on the GPU's port");
        row("EP layer", format!("{layer:.2}"), "the same, all micro-batches");
    }
    table.plain()
}

fn overlap(breakdown: &Breakdown, whole: Duration) -> String {
    let part = |time: Duration| format!("{time:.2} ({:.0}%)", 100.0 * ratio(time, whole));
    format!(
        "Computing {}, communicating {}, of which exposed {}; idle {}",
        part(breakdown.computing),
        part(breakdown.communicating),
        part(breakdown.exposed_communication),
        part(breakdown.idle),
    )
}

/// The longest parts of the critical path, in one line; none where nothing was waited for.
fn waited(breakdown: &Breakdown, whole: Duration) -> Option<String> {
    let part = |share: &PathShare| {
        format!("{} ({}) {:.0}%", share.phase, share.bound.name(), 100.0 * ratio(share.time, whole))
    };
    let matters = |share: &&PathShare| ratio(share.time, whole) >= 0.01;
    let parts: Vec<String> = breakdown.critical_path.iter().take(WAITED_PARTS).filter(matters).map(part).collect();
    (!parts.is_empty()).then(|| format!("Waited for {}", parts.join(", ")))
}

fn phases(breakdown: &Breakdown, whole: Duration) -> String {
    let mut table = Table::new(&[
        ("phase", Align::Left),
        ("", Align::Left),
        ("ops", Align::Right),
        ("busy", Align::Right),
        ("of the run", Align::Right),
    ]);
    for phase in &breakdown.phases {
        let kind = if phase.communication { "sends" } else { "computes" };
        table.row(vec![
            phase.phase.to_string(),
            kind.to_owned(),
            phase.operations.to_string(),
            format!("{:.2}", phase.busy),
            format!("{:.1}%", 100.0 * ratio(phase.busy, whole)),
        ]);
    }
    table.headed()
}

fn critical_path(breakdown: &Breakdown, whole: Duration) -> String {
    let columns =
        [("phase", Align::Left), ("bound by", Align::Left), ("time", Align::Right), ("of the run", Align::Right)];
    let mut table = Table::new(&columns);
    let row = |name: String, bound: String, time: Duration| {
        vec![name, bound, format!("{time:.2}"), format!("{:.1}%", 100.0 * ratio(time, whole))]
    };
    for share in breakdown.critical_path.iter().take(PATH_ROWS_MAX) {
        table.row(row(share.phase.to_string(), share.bound.name().to_owned(), share.time));
    }
    let rest: Vec<_> = breakdown.critical_path.iter().skip(PATH_ROWS_MAX).collect();
    if !rest.is_empty() {
        let time = rest.iter().map(|share| share.time).sum();
        table.row(row(format!("{} more", rest.len()), String::new(), time));
    }
    table.headed()
}

fn memory(outcome: &Outcome) -> Option<String> {
    let memory = outcome.memory.as_ref()?;
    let total = memory.used.total();
    let free = Bytes::new(memory.capacity.get() - total.get());
    let used = &memory.used;
    if used.gradients > Bytes::ZERO {
        return Some(format!(
            "Memory of the fullest GPU: {:.1} weights + {:.1} activations + {:.1} gradients + {:.1} optimizer + {:.1} reserve = \
             {total:.1} of {:.1}; {free:.1} free",
            used.weights, used.activations, used.gradients, used.optimizer, used.reserve, memory.capacity,
        ));
    }
    Some(format!(
        "Memory per GPU: {:.1} weights + {:.1} KV cache + {:.1} activations + {:.1} reserve = {total:.1} of {:.1}; {free:.1} free",
        used.weights, used.kv_cache, used.activations, used.reserve, memory.capacity,
    ))
}

fn ratio(part: Duration, whole: Duration) -> f64 {
    if whole == Duration::ZERO { 0.0 } else { part / whole }
}
