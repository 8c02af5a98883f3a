//! Serving over time as text: what users wait for, what the pools do, what it costs.

use super::table::{Align, Table};
use crate::metrics::{ServingMetrics, Spread};

/// The answer, before where the time of a full decode step goes.
pub(super) fn serving_summary(m: &ServingMetrics) -> String {
    let columns = [
        ("", Align::Left),
        ("mean", Align::Right),
        ("p50", Align::Right),
        ("p90", Align::Right),
        ("p99", Align::Right),
        ("", Align::Left),
    ];
    let mut users = Table::new(&columns);
    let mut row = |name: &str, spread: &Spread, meaning: &str| {
        let times = [spread.mean, spread.median, spread.p90, spread.p99].map(|time| format!("{time:.2}"));
        users.row([vec![name.to_owned()], times.to_vec(), vec![meaning.to_owned()]].concat());
    };
    let first = if m.prefilled.is_some() {
        "from arrival to the first token, which the decoding pool sends out with its first step"
    } else {
        "from arrival to the first token"
    };
    row("TTFT", &m.ttft, first);
    row("TTFT, admitted", &m.ttft_admitted, "from admission to a step to the first token");
    row("TPOT", &m.tpot, "(last token - first token) / (tokens - 1)");
    row("ITL", &m.itl, "between decode steps, over all tokens");
    if let Some(prefilled) = &m.prefilled {
        row("prefill", prefilled, "from arrival until the prompt is computed");
    }
    if let Some(transfer) = &m.transfer {
        row("KV transfer", transfer, "from the end of prefill until keys and values are there");
    }
    row("whole", &m.whole, "from arrival to the last token");
    let mut pools = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    let mut line =
        |name: &str, value: String, meaning: &str| pools.row(vec![name.to_owned(), value, meaning.to_owned()]);
    let facts = &m.facts;
    let per_node = |rate: f64, gpus: u64| rate / gpus as f64 * facts.gpus_per_node as f64;
    let rate = |tokens: f64| format!("{tokens:.0} tokens/s");
    line("per user", format!("{:.1} tokens/s", m.tokens_per_sec_per_user), "1 / mean TPOT");
    line("output", rate(m.output_per_sec), "all GPUs, while the middle three fifths are answered");
    line("output per node", rate(per_node(m.output_per_sec, facts.decode_gpus)), "nodes that decode");
    line("decode in steps", format!("{:.1}%", 100.0 * m.decode_utilisation), "part of the time");
    if facts.prefill_gpus > 0 {
        line(
            "input per node",
            rate(per_node(m.input_per_sec, facts.prefill_gpus)),
            "nodes that compute prompts, hits included",
        );
        line("prefill in steps", format!("{:.1}%", 100.0 * m.prefill_utilisation), "part of the time");
    } else {
        line("input", rate(m.input_per_sec), "all GPUs, hits included");
    }
    if let Some(usd) = m.usd_per_million_input {
        line("cost of input", format!("{usd:.4} USD"), "per million positions, GPUs that compute prompts");
    }
    if let (Some(usd), Some(hour)) = (m.usd_per_million_output, facts.gpu_hour) {
        let meaning = format!("per million tokens, GPUs that decode, at {:.3} USD per GPU hour", hour.as_f64());
        line("cost of output", format!("{usd:.4} USD"), &meaning);
    }
    if let Some(energy) = m.kwh_per_million_output {
        let meaning = format!(
            "per million output tokens, {:.0} W per GPU with its share of node and fabric, at most",
            facts.watts_per_gpu
        );
        line("energy", format!("{energy:.3} kWh"), &meaning);
    }
    let (steps, error) = facts.steps;
    format!(
        "{} requests in {:.1}\n{}\n{}\n{steps} steps were simulated; times between them are off by at most {:.1}% where most are taken\n\nA full decode step, {:.2}:",
        m.requests,
        m.span,
        users.headed(),
        pools.plain(),
        100.0 * error,
        m.step,
    )
}
