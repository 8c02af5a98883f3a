//! A training step, or a pipeline schedule by itself, as text.

use super::table::{Align, Table};
use crate::metrics::{PipelineMetrics, RankTime, TrainingMetrics};
use crate::units::Duration;

/// Pipeline ranks that are listed one by one; of longer pipelines, the first half's end and middle suffice.
const RANKS_MAX: usize = 16;

/// The answer to a training step.
pub(super) fn training_text(m: &TrainingMetrics) -> String {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    let mut row =
        |name: &str, value: String, meaning: &str| table.row(vec![name.to_owned(), value, meaning.to_owned()]);
    row("time/step", format!("{:.3}", m.step), "first chunk to last gathered weight");
    row("tokens/day", format!("{:.2} G", m.tokens_per_day / 1e9), "tokens of a step / time per step");
    row("per GPU", format!("{:.1} tokens/s", m.tokens_per_sec_per_gpu), "tokens of a step / time per step / GPUs");
    let both = |values: [f64; 2], scale: f64| format!("{:.1} / {:.1}", values[0] * scale, values[1] * scale);
    row("TFLOP/s", both(m.flops_per_sec, 1e-12), "per GPU, causal / non-causal attention");
    row("MFU %", both(m.mfu, 100.0), "the same over the BF16 peak");
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    row("bubble", percent(m.bubble_share()), "pipeline bubble: ranks wait for other ranks, mean over ranks / step");
    let exposed = m.breakdown.exposed_communication / m.step;
    row("exposed", percent(exposed), "communication that nothing hides on pipeline rank 0, inside chunks too / step");
    row("rate", format!("{:.1} k GPU h", m.gpu_hours_per_trillion_tokens / 1e3), "per trillion tokens");
    if let Some(usd) = m.usd_per_step {
        row("cost", format!("{:.2} USD", usd.as_f64()), "per step, GPU rent only");
    }
    if let (Some(hours), Some(usd)) = (m.run_gpu_hours, m.run_usd) {
        row("whole run", format!("{:.0} k GPU h", hours / 1e3), &format!("{:.3} M USD, GPU rent only", usd / 1e6));
    }
    row("energy", format!("{:.2} kWh", m.kwh_per_step), "per step, if GPUs and NICs drew the most they may");
    table.plain()
}

/// Where the time of a training step goes, rank by rank and chunk by chunk.
pub(super) fn training_details(m: &TrainingMetrics) -> String {
    format!("{}\n{}\n{}", ranks(&m.ranks), chunks(m), links(m))
}

/// The answer to a schedule by itself.
pub(super) fn pipeline_text(m: &PipelineMetrics) -> String {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    table.row(vec!["step".to_owned(), format!("{:.3}", m.step), "first chunk to last chunk".to_owned()]);
    table.row(vec!["bubble".to_owned(), format!("{:.3}", m.bubble), "longest that a rank waits".to_owned()]);
    let formula = format!("{:.3} ms", m.formula / 1e9);
    table.row(vec!["by formula".to_owned(), formula, "the published formula for these times".to_owned()]);
    table.plain()
}

/// Where the time of a schedule goes, rank by rank.
pub(super) fn pipeline_details(m: &PipelineMetrics) -> String {
    ranks(&m.ranks)
}

/// How pipeline ranks spend the step, in the rows of arXiv 2505.09343, table 4.
fn ranks(ranks: &[RankTime]) -> String {
    let mut names = vec!["rank", "1F", "bubble", "1B", "1W", "1F1B", "opt", "chunks F, F&B, B, B input, W"];
    let exposes = ranks.iter().any(|rank| rank.exposed > Duration::ZERO);
    names.extend(exposes.then_some("exposed in them"));
    let columns: Vec<(&str, Align)> = names.into_iter().map(|name| (name, Align::Right)).collect();
    let mut table = Table::new(&columns);
    for (number, rank) in ranks.iter().enumerate().take(RANKS_MAX) {
        let times = [rank.forward, rank.bubble, rank.backward, rank.weight, rank.overlapped, rank.optimizer];
        let mut row = vec![number.to_string()];
        row.extend(times.map(|time: Duration| format!("{time:.3}")));
        row.push(rank.counts.map(|count| count.to_string()).join(", "));
        row.extend(exposes.then(|| format!("{:.3}", rank.exposed)));
        table.row(row);
    }
    let left = ranks.len().saturating_sub(RANKS_MAX);
    let more = if left > 0 { format!("({left} more ranks)\n") } else { String::new() };
    format!("How each pipeline rank spends the step\n{}{more}", table.headed())
}

fn chunks(m: &TrainingMetrics) -> String {
    let names = ["count", "time", "computing", "communicating", "exposed", "busiest experts"];
    let columns: Vec<(&str, Align)> =
        [("chunk", Align::Left)].into_iter().chain(names.map(|name| (name, Align::Right))).collect();
    let mut table = Table::new(&columns);
    for chunk in &m.chunks {
        let mut row = vec![chunk.name.clone(), chunk.count.to_string()];
        let times = [chunk.time, chunk.computing, chunk.communicating, chunk.exposed];
        row.extend(times.map(|time| format!("{time:.2}")));
        row.push(format!("{:+.1} %", (chunk.busiest - 1.0) * 100.0));
        table.row(row);
    }
    format!("Chunks, each simulated once\n{}", table.headed())
}

/// How busy links are while the chunk runs that takes most of the step.
fn links(m: &TrainingMetrics) -> String {
    let longest = m.chunks.iter().max_by_key(|chunk| chunk.time * chunk.count as u64);
    let Some(chunk) = longest.filter(|chunk| !chunk.links.is_empty()) else { return String::new() };
    let columns = [("links", Align::Left), ("per GPU", Align::Right), ("planes", Align::Right), ("used", Align::Right)];
    let mut table = Table::new(&columns);
    for load in &chunk.links {
        let ends = format!("{} to {}", load.from.name(), load.to.name());
        let used = format!("{:.1} %", load.utilisation * 100.0);
        let planes = if load.planes == 0 { String::new() } else { load.planes.to_string() };
        table.row(vec![ends, format!("{:.2}", load.carried), planes, used]);
    }
    let head = format!("Links during {} (protocols and what slows transfers included)", chunk.name);
    format!("{head}\n{}", table.headed())
}
