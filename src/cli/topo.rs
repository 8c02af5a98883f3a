//! `octoplane topo`: fabrics on their own.

use super::kinds::load_kind;
use super::output::{note, say, say_json, write};
use super::{Done, Ending};
use clap::{Args, Subcommand};
use octoplane::report::json::SCHEMA;
use octoplane::report::topology_picture::FabricPicture;
use octoplane::report::topology_text::{compare_text, fabric_json, fabric_text};
use octoplane::scenario::{Loaded, UserError};
use octoplane::topology::{FabricMeasures, TopologySpec, build_fabric, measure_spec};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  octoplane topo show topologies/mpft_2048.toml\n  octoplane topo compare topologies/table3/*.toml\n  \
    octoplane topo plot topologies/mpft_2048.toml -o fabric.svg"
)]
pub(super) struct TopoArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Counts, radix use, bisection bandwidth, diameter, over-subscription and capital cost of a fabric
    Show {
        /// The topology's TOML file
        file: PathBuf,
        /// Overlay one value, as in `--set shape.fat_tree.layers=3`
        #[arg(long = "set", value_name = "KEY=VALUE")]
        sets: Vec<String>,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Several fabrics side by side, as in table 3 of arXiv 2505.09343
    Compare {
        /// The topologies' TOML files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// A picture of a fabric; large ones are drawn in groups
    Plot {
        /// The topology's TOML file
        file: PathBuf,
        /// The file to write: SVG, or PNG where it is called so
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Overlay one value
        #[arg(long = "set", value_name = "KEY=VALUE")]
        sets: Vec<String>,
    },
}

pub(super) fn main(args: &TopoArgs) -> Ending {
    match &args.what {
        What::Show { file, sets, json } => {
            let measures = measured(file, sets)?;
            if *json { say_json(&fabric_json(&measures))? } else { say(&fabric_text(&measures))? }
        }
        What::Compare { files, json } => {
            let fabrics = files.iter().map(|file| measured(file, &[])).collect::<Result<Vec<_>, _>>()?;
            if *json {
                let fabrics: Vec<_> = fabrics.iter().map(fabric_json).collect();
                say_json(&serde_json::json!({ "schema": SCHEMA, "fabrics": fabrics }))?;
            } else {
                say(&compare_text(&fabrics))?;
            }
        }
        What::Plot { file, output, sets } => {
            let loaded: Loaded<TopologySpec> = load_kind(file, sets, "topology")?;
            let topology = build_fabric(&loaded.value).map_err(|invalid| loaded.error(&invalid))?;
            let picture = FabricPicture::new(&topology, &loaded.value.name).picture();
            match output.extension().and_then(|extension| extension.to_str()) {
                Some("svg") => write(output, picture.svg().as_bytes())?,
                Some("png") => write(output, &picture.png())?,
                _ => {
                    let message = format!("{} is the name of no picture that can be written", output.display());
                    return Err(UserError::plain(format!("{message}\n  = help: end it with `.svg` or `.png`")));
                }
            }
            note(&format!("picture written to {}", output.display()));
        }
    }
    Ok(Done::Answered)
}

fn measured(file: &Path, sets: &[String]) -> Result<FabricMeasures, UserError> {
    let loaded: Loaded<TopologySpec> = load_kind(file, sets, "topology")?;
    measure_spec(&loaded.value).map_err(|invalid| loaded.error(&invalid))
}
