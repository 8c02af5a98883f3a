//! `octoplane run`: one experiment.

use super::kinds::load_kind;
use super::output::{note, say, say_json, write};
use super::progress::Bar;
use super::results::{Owner, Use, allowed, folder as folder_of, keep};
use super::{Done, Ending};
use clap::Args;
use octoplane::invalid::Invalid;
use octoplane::metrics::{Facts, Folding, MeasuredError, Metrics, Outcome};
use octoplane::report::detailed::detailed;
use octoplane::report::inside::Inside;
use octoplane::report::json::run_json;
use octoplane::report::perfetto::perfetto_trace;
use octoplane::report::run_text::{Detail, Heading, run_text};
use octoplane::run::{Estimate, Known, Observer, Progress, facts, simulate, simulate_watched};
use octoplane::scenario::{Loaded, Scenario, UserError, choice_name, load};
use octoplane::validate::{ACCURACY, AccuracySpec, AnswerLine};
use octoplane::workload::GraphSize;
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
    /// Where to keep the answer and the resolved scenario [default: results/run/ and the path below scenarios/, with a name of its
    /// own for overlays]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace what the folder holds even if it is of another scenario or study
    #[arg(long)]
    force: bool,
    /// Also write a timeline for Perfetto
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

pub(super) fn main(args: &RunArgs, root: &Path) -> Ending {
    let loaded: Loaded<Scenario> = load_kind(&args.scenario, &args.sets, "scenario")?;
    let scenario = &loaded.value;
    let fingerprint = loaded.fingerprint();
    let folder = folder_of(args.out.as_ref(), "run", &args.scenario, &args.sets, &fingerprint);
    let owner = Owner::new("run", &args.scenario, &args.sets, fingerprint);
    let usage = Use::of(false, args.force);
    // Before an hour of simulation rather than after it.
    allowed(&folder, &owner, usage)?;
    let mut outcome = simulate_shown(scenario).map_err(|invalid| loaded.error(&invalid))?;
    outcome.notes.extend(idle_overlays(args, &outcome));
    let heading = Heading { sets: args.sets.clone(), ..heading(scenario, &outcome) };
    let facts = Facts { measured: measured(root, &heading.facts)?, ..heading.facts };
    let heading = Heading { facts, ..heading };
    let json = run_json(&heading, scenario.seed, &outcome);
    // Said before it is kept: a disk that is full takes no answer away.
    if args.json {
        say_json(&json)?
    } else {
        let detail = if args.verbose { Detail::Full } else { Detail::Summary };
        say(&run_text(&heading, &outcome, detail))?
    }
    let files = vec![
        ("scenario.resolved.toml", loaded.completed().into_bytes()),
        ("summary.txt", run_text(&heading, &outcome, Detail::Full).into_bytes()),
        ("pictures.json", Inside::new(&outcome).json().into_bytes()),
        ("summary.json", format!("{json:#}\n").into_bytes()),
    ];
    keep(&folder, &owner, usage, files)?;
    if let Some(path) = &args.trace {
        write(path, &perfetto_trace(&detailed(&outcome), &outcome.cluster.topology))?;
        note(&format!("timeline written to {}; open it at https://ui.perfetto.dev", path.display()));
    }
    let hint = if args.verbose || args.json { "" } else { "; -v shows where the time goes" };
    note(&format!("answer and resolved scenario kept in {}{hint}", folder.display()));
    if let Some(unended) = outcome.unended() {
        note(&format!("error: {unended}"));
        return Ok(Done::Failed);
    }
    Ok(Done::Answered)
}

/// A note on overlays of hardware that change no figure, with what decides instead. The scenario runs once more without them.
fn idle_overlays(args: &RunArgs, outcome: &Outcome) -> Option<String> {
    let (hardware, others): (Vec<String>, Vec<String>) =
        args.sets.iter().cloned().partition(|set| set.trim_start().starts_with("hardware."));
    if hardware.is_empty() {
        return None;
    }
    let without: Loaded<Scenario> = load_kind(&args.scenario, &others, "scenario").ok()?;
    let without = simulate(&without.value).ok()?;
    let figures =
        |outcome: &Outcome| -> Vec<f64> { outcome.metrics.named().iter().map(|metric| metric.value).collect() };
    if figures(&without) != figures(outcome) {
        return None;
    }
    let (breakdown, whole) = outcome.metrics.breakdown();
    let held = breakdown.critical_path.first().map(|share| {
        let percent = 100.0 * (share.time / whole);
        format!("; what holds most is {} bound by {} ({percent:.0} %)", share.phase, share.bound.name())
    });
    Some(format!("{} changes no figure of this scenario{}", hardware.join(", "), held.unwrap_or_default()))
}

/// How far answers like this one were off, as far as the file of comparisons says.
fn measured(root: &Path, facts: &Facts) -> Result<Option<Vec<MeasuredError>>, UserError> {
    let file = root.join(ACCURACY);
    if !file.is_file() {
        return Ok(None);
    }
    let loaded: Loaded<AccuracySpec> = load(&file, &[])?;
    // What exchanges tokens is a library of its own; other kinds of answers are compared over all libraries.
    let library = facts.sizes["kernels"].as_str();
    let error = |line: &AnswerLine| {
        let AnswerLine { part, rows, median, p90, sign, .. } = line.clone();
        MeasuredError { part, rows, median, p90, sign }
    };
    let lines = loaded.value.lines(&facts.workload, &facts.architecture, None, library);
    Ok(Some(lines.map(error).collect()))
}

/// Runs the experiment, and shows a long one's progress to whoever watches.
fn simulate_shown(scenario: &Scenario) -> Result<Outcome, Invalid> {
    let bar = Bar::events();
    let estimate = |estimate: &Estimate| note(&long_run(estimate));
    if !bar.is_seen() {
        return simulate_watched(scenario, &Known::default(), Observer { progress: None, estimate: Some(&estimate) });
    }
    let mut show = |progress: &Progress<'_>| {
        let Progress { part, at, events, hops, transfers } = *progress;
        let part = if part.is_empty() { String::new() } else { format!("{part}: ") };
        let hops = if hops > 0 { format!(", {hops} packet hops") } else { String::new() };
        bar.say(&format!("{part}{at:.2} simulated, {transfers} transfers done{hops}"));
        bar.reach(events);
    };
    let outcome = simulate_watched(
        scenario,
        &Known::default(),
        Observer { progress: Some(&mut show), estimate: Some(&estimate) },
    );
    bar.end();
    outcome
}

/// What a long simulation will take, told before it begins.
fn long_run(Estimate { size, memory, seconds }: &Estimate) -> String {
    let minutes = (seconds / 60.0).round();
    let GraphSize { ops, sends, .. } = size;
    format!("this takes about {minutes} min and {memory:.2}: {ops} operations, of which {sends} are transfers")
}

fn heading(scenario: &Scenario, outcome: &Outcome) -> Heading {
    let fabric = scenario.topology.as_ref().map_or(String::new(), |topology| format!(", {}", topology.name));
    let alike = match outcome.folding {
        Folding::None | Folding::Exact => "",
        Folding::Shared => ", with its share of what others use too",
        Folding::Sampled => ", the busiest of those that a sample of the gate makes differ",
        Folding::Farthest => ", that with the longest paths",
    };
    let simulated = outcome.symmetry.text();
    Heading {
        name: scenario.name.clone(),
        description: scenario.description.clone(),
        setup: format!("{}{fabric}; simulated: {simulated}{alike}", gpus_in_nodes(scenario, outcome)),
        models: format!("kernels: {}, network: {}", choice_name(&scenario.kernel), choice_name(&scenario.network)),
        facts: facts(scenario, outcome),
        sets: Vec::new(),
    }
}

/// "16 x H800 SXM in 2 x 8 x H800", all pools together.
fn gpus_in_nodes(scenario: &Scenario, outcome: &Outcome) -> String {
    let (gpu, node, nodes) = (&scenario.hardware.gpu.name, &scenario.hardware.name, scenario.nodes);
    let (all, own) = (outcome.gpus(), scenario.nodes.wide() * scenario.hardware.gpus.wide());
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
