//! `octoplane new`: commented files to start from.

use super::output::{note, say, write};
use super::{Done, Ending};
use clap::{Args, ValueEnum};
use octoplane::scenario::UserError;
use std::path::Path;

#[derive(Args)]
#[command(after_help = "Examples:\n  octoplane new scenario long_context\n  octoplane new gpu our_accelerator")]
pub(super) struct NewArgs {
    /// What to start
    kind: Kind,
    /// Its name: letters, digits, `_` and `-` [default: my_scenario, my_topology, my_gpu]
    #[arg(value_parser = name)]
    name: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// An experiment, in scenarios/
    Scenario,
    /// A fabric, in topologies/
    Topology,
    /// A GPU, in hardware/gpus/
    Gpu,
}

impl Kind {
    /// Its folder from the root, its default name, its template, and what to do next.
    const fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Kind::Scenario => ("scenarios", "my_scenario", include_str!("templates/scenario.toml"), "octoplane run {}"),
            Kind::Topology => {
                ("topologies", "my_topology", include_str!("templates/topology.toml"), "octoplane topo show {}")
            }
            Kind::Gpu => (
                "hardware/gpus",
                "my_gpu",
                include_str!("templates/gpu.toml"),
                "octoplane run scenarios/h800_ep128_decode.toml --set hardware.gpu.extends={}",
            ),
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if text.is_empty() || !text.chars().all(legal) {
        return Err("a name is made of letters, digits, `_` and `-`".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn main(args: &NewArgs, root: &Path) -> Ending {
    let (folder, default, template, next) = args.kind.parts();
    let name = args.name.as_deref().unwrap_or(default);
    let path = root.join(folder).join(format!("{name}.toml"));
    if path.exists() {
        return Err(UserError::plain(format!("{} is there already\n  = help: give another name", path.display())));
    }
    if !root.join(folder).is_dir() {
        let message = format!("there is no folder {}", root.join(folder).display());
        return Err(UserError::plain(format!("{message}\n  = help: name the folder that holds it with --root")));
    }
    write(&path, template.replace("{name}", name).as_bytes())?;
    say(&format!("{}\n", path.display()))?;
    note(&format!("next: {}", next.replace("{}", &path.display().to_string())));
    Ok(Done::Answered)
}
