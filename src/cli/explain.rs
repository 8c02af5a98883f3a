//! `octoplane explain`: what a metric is.

use super::output::say;
use super::{Done, Ending};
use clap::Args;
use octoplane::metrics::{Better, MetricDef, catalog, metric_names};
use octoplane::report::table::{Align, Table};
use octoplane::scenario::UserError;

#[derive(Args)]
#[command(after_help = "Example:\n  octoplane explain tpot busbw")]
pub(super) struct ExplainArgs {
    /// Metrics, as `run --json` names them; a list of all without it
    #[arg(value_name = "METRIC")]
    metrics: Vec<String>,
}

pub(super) fn main(args: &ExplainArgs) -> Ending {
    if args.metrics.is_empty() {
        let mut table = Table::new(&[
            ("metric", Align::Left),
            ("of", Align::Left),
            ("unit", Align::Left),
            ("definition", Align::Left),
        ]);
        for metric in catalog() {
            table.row([metric.name, metric.of, metric.unit, metric.definition].map(str::to_owned).to_vec());
        }
        say(&table.headed())?;
        return Ok(Done::Answered);
    }
    let found = args.metrics.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    say(&found.into_iter().flatten().map(text).collect::<Vec<_>>().join("\n"))?;
    Ok(Done::Answered)
}

/// All that the name means: workloads may use one name for their own figure.
fn find(name: &str) -> Result<Vec<&'static MetricDef>, UserError> {
    let found: Vec<&MetricDef> = catalog().filter(|metric| metric.name == name).collect();
    if found.is_empty() {
        return Err(UserError::unknown("metric", name, &metric_names(catalog())));
    }
    Ok(found)
}

fn text(metric: &MetricDef) -> String {
    let unit = if metric.unit.is_empty() { "a plain number" } else { metric.unit };
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let better = match metric.better {
        Better::Neither(why) => format!("neither more nor less: {why}"),
        better => better.name().to_owned(),
    };
    let rows = [
        ("formula", metric.formula),
        ("unit", unit),
        ("better", &better),
        ("source", metric.source),
        ("note", metric.hint),
    ];
    for (name, value) in rows {
        table.row(vec![name.to_owned(), value.to_owned()]);
    }
    let of = if metric.of.is_empty() { String::new() } else { format!(" of {}", metric.of) };
    format!("{}{of}\n{}\n\n{}\n", metric.name, metric.definition, table.plain())
}
