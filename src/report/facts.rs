//! What was simulated, in a few lines for people.

use crate::metrics::{ExpertExchange, Facts, MeasuredError};
use crate::units::Bytes;
use crate::workload::Chosen;
use serde_json::Value;
use std::collections::BTreeMap;

/// Collectives that are told one by one.
const COLLECTIVES_MAX: usize = 6;

/// The facts that the lines on machines and models before them do not tell.
pub(super) fn facts_text(facts: &Facts) -> Vec<String> {
    let mut lines = Vec::new();
    let mut what: Vec<String> = facts.model.clone().into_iter().collect();
    let plan = flat(&facts.plan, &|key, value| *value == 1 && key != "tp" && key != "ep");
    if !plan.is_empty() {
        what.push(plan);
    }
    if !what.is_empty() {
        lines.push(format!("model: {}", what.join("; ")));
    }
    let sizes = flat(&facts.sizes, &|_, _| false);
    lines.push(if sizes.is_empty() { facts.workload.clone() } else { format!("{}: {sizes}", facts.workload) });
    if let Value::Object(formats) = &facts.formats {
        let mut kinds: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (key, value) in formats.iter().filter(|(key, value)| value.is_string() && *key != "combine_coding") {
            kinds.entry(shown(value)).or_default().push(key);
        }
        let kinds: Vec<String> = kinds.iter().map(|(format, keys)| format!("{format} {}", keys.join(", "))).collect();
        lines.push(format!("formats: {}", kinds.join("; ")));
    }
    let routing = flat(&facts.routing, &|_, _| false);
    if facts.fabric.is_some() && !routing.is_empty() {
        lines.push(format!("routing: {routing}"));
    }
    let libraries = flat(&facts.libraries, &|_, _| false);
    if !libraries.is_empty() {
        lines.push(format!("libraries: {libraries}"));
    }
    lines.extend(facts.collectives.iter().take(COLLECTIVES_MAX).map(collective));
    let more = facts.collectives.len().saturating_sub(COLLECTIVES_MAX);
    if more > 0 {
        lines.push(format!("... and {more} more collectives"));
    }
    lines.extend(facts.exchange.as_ref().map(exchange));
    if !facts.ideal.is_empty() {
        let ideal: Vec<String> =
            facts.ideal.iter().map(|ideal| format!("{} ({})", ideal.assumption, ideal.key)).collect();
        lines.push(format!("ideal: {}", ideal.join(", ")));
    }
    lines.push(measured(facts));
    lines
}

/// What measurements say of such answers.
fn measured(facts: &Facts) -> String {
    let (workload, gpu) = (&facts.workload, &facts.architecture);
    match facts.measured.as_deref() {
        None => "measured error: not known here, for there is no validation/accuracy.toml".to_owned(),
        Some([]) => {
            format!("measured error: none: {workload} on {gpu} was never compared with a measurement as a whole")
        }
        Some(errors) => {
            let percent = |part: f64| format!("{:.0} %", 100.0 * part);
            let one = |error: &MeasuredError| {
                let part = error.part.as_ref().map_or(String::new(), |part| format!("{part} "));
                let MeasuredError { rows, median, p90, sign, .. } = error;
                let side = if *sign < 0.0 { "below" } else { "above" };
                format!(
                    "{part}median {}, 90 % within {}, mostly {side} ({rows} values)",
                    percent(*median),
                    percent(*p90)
                )
            };
            let errors: Vec<String> = errors.iter().map(one).collect();
            format!("measured error of {workload} on {gpu}: {}", errors.join("; "))
        }
    }
}

fn exchange(exchange: &ExpertExchange) -> String {
    let ExpertExchange { kernels, software, sms, ranks } = exchange;
    let by = match (kernels, software) {
        (Some(kernels), Some(software)) => {
            let mover = sms.map_or_else(|| "a co-processor".to_owned(), |sms| format!("{sms} SMs"));
            format!("{kernels} kernels of {software}, on {mover}")
        }
        _ => "the wire alone".to_owned(),
    };
    format!("expert exchange over {ranks} GPUs: {by}; once per node over the fabric, then inside the node")
}

fn collective((chosen, count): &(Chosen, u64)) -> String {
    let Chosen { collective, algorithm, protocol, ranks, bytes } = chosen;
    let name = collective.name().replace('_', "-");
    let times = if *count == 1 { String::new() } else { format!(", {count} times") };
    let bytes: Bytes = *bytes;
    format!("{name} of {bytes:.1} over {ranks} GPUs: {}, {}{times}", algorithm.name(), protocol.name())
}

/// The plain entries of a table in one line, without those that `omitted` leaves out.
fn flat(table: &Value, omitted: &dyn Fn(&str, &Value) -> bool) -> String {
    let Value::Object(entries) = table else { return String::new() };
    let is_plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    let plain = entries.iter().filter(|(key, value)| is_plain(value) && !omitted(key, value));
    plain.map(|(key, value)| format!("{key} {}", shown(value))).collect::<Vec<_>>().join(", ")
}

/// A value without quotes.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
