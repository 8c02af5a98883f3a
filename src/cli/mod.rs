//! The command line: what may be asked, and in which form answers go out.
//!
//! stdout carries data, stderr carries messages. Exit codes: 0 for an answer, 1 for a check that failed, 2 for input that makes
//! no sense, 130 for a run that Ctrl-C stopped.

mod check;
mod earlier;
mod explain;
mod fit;
mod import;
mod interrupt;
mod kinds;
mod manual;
mod new;
mod output;
mod progress;
mod report;
mod reproduce;
mod results;
mod run;
mod schema;
mod search;
mod sweep;
mod topo;
mod validate;

use clap::{Parser, Subcommand};
use octoplane::scenario::UserError;
use output::say;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a command ends with, when its input made sense.
enum Done {
    /// An answer was given.
    Answered,
    /// A check failed, and its table says where.
    Failed,
    /// It was to stop before its end; what was over is kept.
    Interrupted,
}

type Ending = Result<Done, UserError>;

#[derive(Parser)]
#[command(
    name = "octoplane",
    version,
    about = "Simulates GPU clusters that train and serve large language models",
    long_about = "Simulates GPU clusters that train and serve large language models: what a deployment will cost and how fast \
                  it will be, before anyone buys or builds it, and what if the hardware were different.",
    after_help = "Scenarios, hardware, models and topologies are TOML files; every figure in them names its source.\n\
                  Exit codes: 0 answered, 1 a check failed, 2 the input makes no sense, 130 stopped by Ctrl-C."
)]
struct Cli {
    /// Folder that holds validation/, models/ and the rest [default: searched upwards from here]
    #[arg(long, global = true, value_name = "DIR", display_order = 100)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run one experiment: how fast, how dear, and why
    Run(run::RunArgs),
    /// Run a study: one scenario along axes, in parallel, resumable; a table as CSV and Parquet
    Sweep(sweep::SweepArgs),
    /// Find the cheapest or fastest deployment that meets targets: hardware, plan and batch, pruned by bounds
    Search(search::SearchArgs),
    /// Work out every table and figure of arXiv 2505.09343: printed, simulated, deviation, status
    Reproduce(reproduce::ReproduceArgs),
    /// Check topologies and scenarios against what they promise and what they were: exit code 1 for a regression
    Check(check::CheckArgs),
    /// Compare with published measurements: measured, simulated, error statistics
    Validate(validate::ValidateArgs),
    /// Work out calibrated constants of hardware files again from measurements
    Fit(fit::FitArgs),
    /// Put results on one page for a browser: the answers, plots, tables that sort
    Report(report::ReportArgs),
    /// Look at fabrics: counts, bisection, diameter, cost; a table of several; a picture
    Topo(topo::TopoArgs),
    /// Say what a metric is: definition, formula, unit, source
    Explain(explain::ExplainArgs),
    /// Start a scenario, a topology or a GPU from a commented template
    New(new::NewArgs),
    /// Print the JSON Schema of a kind of TOML file, for editors
    Schema(schema::SchemaArgs),
    /// Turn descriptions of others into TOML files
    Import(import::ImportArgs),
    /// Print a completion script for a shell
    Completions(manual::CompletionsArgs),
    /// Print the man page
    Man,
}

const INTRODUCTION: &str = "\
octoplane simulates GPU clusters that train and serve large language models.
It reads a scenario (hardware, model, topology, workload: TOML files) and says how fast it runs, what it costs, and why.

Three commands to start with:

  octoplane run scenarios/paper/nvl72_decode.toml
      one decode step of DeepSeek-V3 on a GB200 NVL72, with the paper's assumptions; then ask what if:
      ... --set hardware.scale_up.bandwidth_per_direction=\"1800 GB/s\"
  octoplane reproduce
      every table and figure of arXiv 2505.09343 that this version works out, printed against simulated
  octoplane topo compare topologies/table3/*.toml
      fat trees, multi-plane fat tree, Slim Fly and Dragonfly: switches, links, dollars

`octoplane --help` lists all commands, `octoplane COMMAND --help` explains one.
";

/// Parses the command line, does what it asks, and turns the result into an exit code.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let root = cli.root.unwrap_or_else(find_root);
    let ending = match cli.command {
        None => say(INTRODUCTION).map(|()| Done::Answered),
        Some(Command::Run(args)) => run::main(&args, &root),
        Some(Command::Sweep(args)) => sweep::main(&args),
        Some(Command::Search(args)) => search::main(&args),
        Some(Command::Reproduce(args)) => reproduce::main(&args, &root),
        Some(Command::Check(args)) => check::main(&args, &root),
        Some(Command::Validate(args)) => validate::main(&args, &root),
        Some(Command::Fit(args)) => fit::main(&args, &root),
        Some(Command::Report(args)) => report::main(&args),
        Some(Command::Topo(args)) => topo::main(&args),
        Some(Command::Explain(args)) => explain::main(&args),
        Some(Command::New(args)) => new::main(&args, &root),
        Some(Command::Schema(args)) => schema::main(&args),
        Some(Command::Import(args)) => import::main(&args),
        Some(Command::Completions(args)) => manual::completions(&args),
        Some(Command::Man) => manual::man(),
    };
    match ending {
        Ok(Done::Answered) => ExitCode::SUCCESS,
        Ok(Done::Failed) => ExitCode::from(1),
        Ok(Done::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        Err(error) => {
            output::note(&error.to_string());
            ExitCode::from(2)
        }
    }
}

/// The nearest folder above this one that holds `validation/`, else this one.
fn find_root() -> PathBuf {
    let here = Path::new(".").canonicalize().unwrap_or_else(|_| PathBuf::from("."));
    let holds = |folder: &&Path| folder.join("validation").is_dir();
    let found = here.ancestors().find(holds);
    match found {
        Some(folder) if folder == here => PathBuf::from("."),
        Some(folder) => folder.to_owned(),
        None => PathBuf::from("."),
    }
}
