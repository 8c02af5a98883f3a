//! The figures of fabrics as text for people and as JSON for programs.

use super::table::{Align, Table};
use crate::topology::{BisectionMethod, CountOrigin, DeviceKind, FabricMeasures, TierMeasures};
use serde_json::{Value, json};
use std::fmt::Write;

/// One fabric.
pub fn fabric_text(measures: &FabricMeasures) -> String {
    let mut text = format!("{}\n\n", measures.name);
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    for (name, value, note) in rows(measures) {
        table.row(vec![name.to_owned(), value, note]);
    }
    writeln!(text, "{}\n", table.plain()).expect("writing to a string");
    if measures.origin == CountOrigin::Formula {
        text.push_str(
            "Counted by formulas: there is no such graph, so that it has neither distances nor a bisection.\n\n",
        );
    }
    if !measures.tiers.is_empty() {
        text.push_str(&tiers(measures));
    }
    for note in &measures.notes {
        writeln!(text, "\nnote: {note}.").expect("writing to a string");
    }
    text
}

fn rows(m: &FabricMeasures) -> Vec<(&'static str, String, String)> {
    let mut rows = vec![
        ("endpoints", grouped(m.endpoints), "NICs, or GPUs of a scale-up domain".to_owned()),
        ("switches", grouped(m.switches), String::new()),
        ("links", grouped(m.switch_cables), "cables between switches".to_owned()),
        ("endpoint cables", grouped(m.endpoint_cables), String::new()),
    ];
    rows.extend(m.planes.map(|planes| ("planes", planes.to_string(), "parts that no link joins".to_owned())));
    rows.extend(m.bisection.as_ref().map(|bisection| {
        let part = format!("{:.0}% of full", 100.0 * bisection.full_fraction);
        let how = match bisection.method {
            BisectionMethod::MaxFlow => "maximum flow between the halves, per direction",
            BisectionMethod::CrossingCables => "cables between the halves, an upper bound, per direction",
        };
        ("bisection", format!("{:.2}", bisection.bandwidth), format!("{part}; {how}"))
    }));
    rows.extend(m.distances.as_ref().map(|distances| {
        let sample = distances.sampled.map_or(String::new(), |n| format!(", from a sample of {n} switches"));
        let note = format!("links between switches with endpoints, {:.2} on average{sample}", distances.average);
        ("diameter", distances.diameter.to_string(), note)
    }));
    let per_endpoint = m.cost_per_endpoint.map_or(String::new(), |cost| format!("{cost:.2} per endpoint"));
    rows.extend(m.cost.map(|cost| ("capital cost", format!("{cost:.2}"), per_endpoint)));
    rows.extend(m.power.map(|power| ("power", format!("{power:.2}"), "switches and cables at most".to_owned())));
    rows
}

fn tiers(measures: &FabricMeasures) -> String {
    let mut table = Table::new(&[
        ("tier", Align::Left),
        ("switches", Align::Right),
        ("ports in use", Align::Right),
        ("radix", Align::Right),
        ("over-subscription", Align::Right),
    ]);
    for tier in &measures.tiers {
        table.row(vec![
            kind_name(tier.kind).to_owned(),
            grouped(tier.switches),
            ports(tier),
            measures.radix.map_or("-".to_owned(), |radix| radix.to_string()),
            tier.oversubscription.map_or("-".to_owned(), |ratio| format!("{ratio:.2} : 1")),
        ]);
    }
    table.headed()
}

fn ports(tier: &TierMeasures) -> String {
    match (tier.min_ports, tier.max_ports) {
        (min, max) if min == max => max.to_string(),
        (min, max) => format!("{min} to {max}"),
    }
}

/// Several fabrics side by side, in the rows of arXiv 2505.09343, table 3.
pub fn compare_text(fabrics: &[FabricMeasures]) -> String {
    let mut columns = vec![("", Align::Left)];
    columns.extend(fabrics.iter().map(|fabric| (fabric.name.as_str(), Align::Right)));
    let mut table = Table::new(&columns);
    let mut row = |name: &str, cell: &dyn Fn(&FabricMeasures) -> Option<String>| {
        let cells = fabrics.iter().map(|fabric| cell(fabric).unwrap_or_else(|| "-".to_owned()));
        table.row(std::iter::once(name.to_owned()).chain(cells).collect());
    };
    row("endpoints", &|m| Some(grouped(m.endpoints)));
    row("switches", &|m| Some(grouped(m.switches)));
    row("links", &|m| Some(grouped(m.switch_cables)));
    row("capital cost", &|m| Some(format!("{:.2}", m.cost?)));
    row("cost per endpoint", &|m| Some(format!("{:.2}", m.cost_per_endpoint?)));
    row("power per endpoint", &|m| Some(format!("{:.1} W", m.power?.as_f64() / m.endpoints as f64)));
    row("diameter, links", &|m| Some(m.distances.as_ref()?.diameter.to_string()));
    row("average distance", &|m| Some(format!("{:.2}", m.distances.as_ref()?.average)));
    row("bisection of full", &|m| Some(format!("{:.0}%", 100.0 * m.bisection.as_ref()?.full_fraction)));
    row("bisection bandwidth", &|m| Some(format!("{:.1}", m.bisection.as_ref()?.bandwidth)));
    let worst = |m: &FabricMeasures| m.tiers.iter().filter_map(|tier| tier.oversubscription).max_by(f64::total_cmp);
    row("over-subscription", &|m| Some(format!("{:.2} : 1", worst(m)?)));
    let mut text = table.headed();
    if fabrics.iter().any(|fabric| fabric.origin == CountOrigin::Formula) {
        let names = fabrics.iter().filter(|fabric| fabric.origin == CountOrigin::Formula).map(|f| f.name.as_str());
        let names: Vec<&str> = names.collect();
        writeln!(text, "\n  Counted by formulas, because no such graph exists: {}", names.join("; "))
            .expect("writing to a string");
    }
    if fabrics.iter().any(is_bound) {
        text.push_str("\n  Bisections of the largest fabrics are upper bounds: cables between the halves.\n");
    }
    text
}

fn is_bound(measures: &FabricMeasures) -> bool {
    measures.bisection.as_ref().is_some_and(|bisection| bisection.method == BisectionMethod::CrossingCables)
}

/// One fabric as JSON.
pub fn fabric_json(m: &FabricMeasures) -> Value {
    let tier = |tier: &TierMeasures| {
        json!({
            "tier": kind_name(tier.kind),
            "switches": tier.switches,
            "ports_min": tier.min_ports,
            "ports_max": tier.max_ports,
            "oversubscription": tier.oversubscription,
        })
    };
    let bisection = m.bisection.as_ref().map(|bisection| {
        json!({
            "bytes_per_s": bisection.bandwidth.get(),
            "of_full": bisection.full_fraction,
            "exact": bisection.method == BisectionMethod::MaxFlow,
        })
    });
    let distances = m.distances.as_ref().map(|distances| {
        json!({ "diameter": distances.diameter, "average": distances.average, "sampled": distances.sampled })
    });
    json!({
        "schema": super::json::SCHEMA,
        "name": m.name,
        "notes": m.notes,
        "counted_on": match m.origin { CountOrigin::Graph => "graph", CountOrigin::Formula => "formula" },
        "endpoints": m.endpoints,
        "endpoint_cables": m.endpoint_cables,
        "switches": m.switches,
        "links": m.switch_cables,
        "radix": m.radix,
        "tiers": m.tiers.iter().map(tier).collect::<Vec<Value>>(),
        "planes": m.planes,
        "bisection": bisection,
        "distances": distances,
        "cost_usd": m.cost.map(|cost| cost.as_f64()),
        "cost_per_endpoint_usd": m.cost_per_endpoint.map(|cost| cost.as_f64()),
        "power_w": m.power.map(|power| power.as_f64()),
    })
}

const fn kind_name(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Cpu => "CPU",
        DeviceKind::Gpu => "GPU",
        DeviceKind::Nic => "NIC",
        DeviceKind::NvSwitch => "NVSwitch",
        DeviceKind::Leaf => "leaf",
        DeviceKind::Spine => "spine",
        DeviceKind::Core => "core",
        DeviceKind::Router => "router",
    }
}

/// `261632` as `261,632`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (261_632, "261,632"), (1_000_000, "1,000,000")];
        cases.iter().for_each(|&(number, text)| assert_eq!(super::grouped(number), text));
    }
}
