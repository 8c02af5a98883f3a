//! `octoplane validate`: published measurements, measured against simulated.

use super::output::{inside_repository, note, say, say_json, write};
use super::progress::Bar;
use super::{Done, Ending};
use clap::Args;
use octoplane::report::validation::{validation_csv, validation_json, validation_text};
use octoplane::scenario::{KernelChoice, NetworkChoice, choice};
use octoplane::validate::{ACCURACY, AccuracySpec, Request, validate};
use std::path::{Path, PathBuf};

/// The tables that come with the program, from the root.
const BUILT_IN: &str = "validation/measurements";

#[derive(Args)]
#[command(
    after_help = "A table is a CSV file named like its set; lines that start with # are remarks, and columns that a set does not \
    know are ignored.\nSystems are named in validation/systems.toml, or like a file of hardware/nodes or hardware/gpus.\nA line \
    that cannot be worked out is skipped, counted, and its reason printed.\nExamples:\n  octoplane validate\n  octoplane \
    validate gemm --data my_measurements --csv errors.csv"
)]
pub(super) struct ValidateArgs {
    /// Sets of measurements; every one that the folder holds a table of, without it
    sets: Vec<String>,
    /// Folder of tables [default: the published figures in validation/measurements]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Write error statistics of every set and every kind of answer into validation/accuracy.toml, from which answers quote them
    #[arg(long, conflicts_with_all = ["sets", "kernel", "network"])]
    write: bool,
    /// Write one line per measured value into this file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// How kernels are timed, as in scenarios; without it `tile`, thread block by thread block
    #[arg(long, value_name = "CHOICE", value_parser = choice::<KernelChoice>)]
    kernel: Option<KernelChoice>,
    /// How data moves, as in scenarios
    #[arg(long, value_name = "CHOICE", value_parser = choice::<NetworkChoice>)]
    network: Option<NetworkChoice>,
}

pub(super) fn main(args: &ValidateArgs, root: &Path) -> Ending {
    let built_in = root.join(BUILT_IN);
    if args.data.is_none() {
        inside_repository(&built_in)?;
    }
    let request = Request {
        sets: &args.sets,
        data: args.data.as_deref().unwrap_or(&built_in),
        root,
        kernel: args.kernel.unwrap_or(KernelChoice::Tile),
        network: args.network.unwrap_or_default(),
    };
    let bar = Bar::of(0, "rows");
    let validated = validate(&request, &|over, total| bar.set(over, total));
    bar.end();
    let validated = validated?;
    if let Some(path) = &args.csv {
        write(path, validation_csv(&validated.report).as_bytes())?;
    }
    if args.write {
        let path = root.join(ACCURACY);
        write(&path, AccuracySpec::of(&validated.report).to_toml().as_bytes())?;
        note(&format!("error statistics written to {}", path.display()));
    }
    for path in &validated.unread {
        note(&format!("no set reads {}", path.display()));
    }
    if args.json {
        say_json(&validation_json(&validated.report))?;
    } else {
        say(&validation_text(&validated.report))?;
    }
    if validated.report.sets.iter().all(|set| set.statistics().is_none()) {
        note("nothing was compared");
        return Ok(Done::Failed);
    }
    Ok(Done::Answered)
}
