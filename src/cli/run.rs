//! `octoplane run`: one experiment.

use super::kinds::load_kind;
use super::output::{note, results, say, say_json, write};
use super::progress::Bar;
use super::{Done, Ending};
use clap::Args;
use octoplane::invalid::Invalid;
use octoplane::metrics::{Folding, Metrics, Outcome};
use octoplane::report::detailed::detailed;
use octoplane::report::inside::Inside;
use octoplane::report::json::run_json;
use octoplane::report::perfetto::perfetto_trace;
use octoplane::report::run_text::{Detail, Heading, run_text};
use octoplane::run::{Known, Progress, simulate, simulate_watched};
use octoplane::scenario::{Loaded, Scenario, choice_name};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(after_help = "Examples:\n  \
    octoplane run scenarios/paper/nvl72_decode.toml\n  \
    octoplane run scenarios/paper/nvl72_decode.toml --set hardware.scale_up.bandwidth_per_direction=\"1800 GB/s\"\n  \
    octoplane run scenarios/h800_ep128_decode.toml --set workload.decode.requests_per_gpu=64 --trace results/decode.pftrace\n\n\
    A trace opens at https://ui.perfetto.dev. Results and the resolved scenario are kept under results/.")]
pub(super) struct RunArgs {
    /// The scenario's TOML file
    scenario: PathBuf,
    /// Overlay one value, as in `--set a.b.c="50 GB/s"`; may be given several times, later ones win
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Print where the time goes: phases, the critical path, kernels and what bounds them, links
    #[arg(short, long)]
    verbose: bool,
    /// Print the answer as JSON instead of text
    #[arg(long)]
    json: bool,
    /// Where to keep the answer and the resolved scenario [default: results/run/NAME, with a name of its own for overlays]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write a timeline for Perfetto
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

pub(super) fn main(args: &RunArgs) -> Ending {
    let loaded: Loaded<Scenario> = load_kind(&args.scenario, &args.sets, "scenario")?;
    let scenario = &loaded.value;
    let outcome = simulate_shown(scenario).map_err(|invalid| loaded.error(&invalid))?;
    let heading = Heading { sets: args.sets.clone(), ..heading(scenario, &outcome) };
    let json = run_json(&heading, scenario.seed, &outcome);
    let text = run_text(&heading, &outcome, Detail::Full);
    let folder = match (&args.out, args.sets.as_slice()) {
        (None, [_, ..]) => varied(&args.scenario, &loaded.fingerprint()),
        (out, _) => results(out.as_ref(), "run", &args.scenario),
    };
    write(&folder.join("scenario.resolved.toml"), loaded.resolved().as_bytes())?;
    write(&folder.join("summary.json"), format!("{json:#}\n").as_bytes())?;
    write(&folder.join("summary.txt"), text.as_bytes())?;
    write(&folder.join("pictures.json"), Inside::new(&outcome).json().as_bytes())?;
    if let Some(path) = &args.trace {
        write(path, &perfetto_trace(&detailed(&outcome), &outcome.cluster.topology))?;
        note(&format!("timeline written to {}; open it at https://ui.perfetto.dev", path.display()));
    }
    if args.json {
        say_json(&json)?
    } else {
        let detail = if args.verbose { Detail::Full } else { Detail::Summary };
        say(&run_text(&heading, &outcome, detail))?
    }
    let hint = if args.verbose || args.json { "" } else { "; -v shows where the time goes" };
    note(&format!("answer and resolved scenario kept in {}{hint}", folder.display()));
    Ok(Done::Answered)
}

/// Where an answer with overlays is kept: beside that of the scenario as it stands, each in a folder of its own.
fn varied(scenario: &Path, fingerprint: &str) -> PathBuf {
    let base = results(None, "run", scenario);
    let name = base.file_name().unwrap_or_default().to_string_lossy().into_owned();
    base.with_file_name(format!("{name}-{}", &fingerprint[..8]))
}

/// Runs the experiment, and shows a long one's progress to whoever watches.
fn simulate_shown(scenario: &Scenario) -> Result<Outcome, Invalid> {
    let bar = Bar::events();
    if !bar.is_seen() {
        return simulate(scenario);
    }
    let mut show = |progress: &Progress<'_>| {
        let Progress { part, at, events, hops, transfers } = *progress;
        let part = if part.is_empty() { String::new() } else { format!("{part}: ") };
        let hops = if hops > 0 { format!(", {hops} packet hops") } else { String::new() };
        bar.say(&format!("{part}{at:.2} simulated, {transfers} transfers done{hops}"));
        bar.reach(events);
    };
    let outcome = simulate_watched(scenario, &Known::default(), Some(&mut show));
    bar.end();
    outcome
}

fn heading(scenario: &Scenario, outcome: &Outcome) -> Heading {
    let fabric = scenario.topology.as_ref().map_or(String::new(), |topology| format!(", {}", topology.name));
    let folded = match outcome.folding {
        Folding::None => "",
        Folding::Exact => "; all alike, so that one is simulated for all",
        Folding::Shared => "; all alike, so that one with its part of shared NICs is simulated for all",
        Folding::Sampled => "; alike but for sampled tokens, so that the busiest is simulated for all",
        Folding::Farthest => "; the one with the longest ways is simulated for all",
    };
    Heading {
        name: scenario.name.clone(),
        description: scenario.description.clone(),
        setup: format!("{}{fabric}{folded}", gpus_in_nodes(scenario, outcome)),
        models: format!("kernels: {}, network: {}", choice_name(&scenario.kernel), choice_name(&scenario.network)),
        sets: Vec::new(),
    }
}

/// "16 x H800 SXM in 2 x 8 x H800", all pools together.
fn gpus_in_nodes(scenario: &Scenario, outcome: &Outcome) -> String {
    let (gpu, node, nodes) = (&scenario.hardware.gpu.name, &scenario.hardware.name, scenario.nodes);
    let (all, own) = (outcome.gpus(), outcome.cluster.gpus.len());
    let own_nodes = if nodes.get() == 1 { node.clone() } else { format!("{nodes} x {node}") };
    let Metrics::Serving(served) = &outcome.metrics else { return format!("{all} x {gpu} in {own_nodes}") };
    let facts = &served.facts;
    let decoding = match facts.decode_instances {
        1 => format!("{own} that decode in {own_nodes}"),
        several => format!("{several} x {own} that decode, each in {own_nodes}"),
    };
    match (facts.decode_instances, facts.prefill_gpus) {
        (1, 0) => format!("{all} x {gpu} in {own_nodes}"),
        (_, 0) => format!("{all} x {gpu}: {decoding}"),
        (_, prompts) => {
            let instances = facts.prefill_instances;
            format!("{all} x {gpu}: {decoding}; {instances} x {} that compute prompts", prompts / instances)
        }
    }
}
