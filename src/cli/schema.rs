//! `octoplane schema`: JSON Schemas of the TOML files.

use super::output::{say_json, write};
use super::{Done, Ending};
use clap::Args;
use octoplane::check::BaselineSpec;
use octoplane::hardware::{CableSpec, CommunicationSpec, CpuSpec, GpuSpec, NicSpec, NodeSpec, SwitchSpec};
use octoplane::model::ModelSpec;
use octoplane::reproduce::PaperSpec;
use octoplane::scenario::{Scenario, UserError, schema_for};
use octoplane::search::GoalSpec;
use octoplane::sweep::StudySpec;
use octoplane::topology::TopologySpec;
use octoplane::validate::{AccuracySpec, EnginesSpec, ModelsSpec, SystemsSpec};
use serde_json::Value;
use std::path::PathBuf;

#[derive(Args)]
#[command(
    after_help = "Every TOML file of the repository names its schema in its first line, so that editors with Even Better \
    TOML or tombi complete and check it.\nExamples:\n  octoplane schema scenario\n  octoplane schema --out schemas"
)]
pub(super) struct SchemaArgs {
    /// Kind of file; all without it
    kind: Option<String>,
    /// Write one file per kind into this folder instead of printing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn main(args: &SchemaArgs) -> Ending {
    let mut schemas = schemas();
    if let Some(kind) = &args.kind {
        let kinds: Vec<&str> = schemas.iter().map(|(name, _)| *name).collect();
        if !kinds.contains(&kind.as_str()) {
            return Err(UserError::unknown("kind of file", kind, &kinds));
        }
        schemas.retain(|(name, _)| name == kind);
    }
    match &args.out {
        Some(folder) => {
            for (name, schema) in &schemas {
                write(&folder.join(format!("{name}.schema.json")), format!("{schema:#}\n").as_bytes())?;
            }
        }
        None if args.kind.is_some() => say_json(&schemas[0].1)?,
        None => say_json(&schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect::<Value>())?,
    }
    Ok(Done::Answered)
}

fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("scenario", schema_for::<Scenario>("Octoplane scenario")),
        ("node", schema_for::<NodeSpec>("Octoplane node")),
        ("gpu", schema_for::<GpuSpec>("Octoplane GPU")),
        ("nic", schema_for::<NicSpec>("Octoplane NIC")),
        ("switch", schema_for::<SwitchSpec>("Octoplane switch")),
        ("cable", schema_for::<CableSpec>("Octoplane cable")),
        ("communication", schema_for::<CommunicationSpec>("Octoplane communication software")),
        ("cpu", schema_for::<CpuSpec>("Octoplane CPU")),
        ("model", schema_for::<ModelSpec>("Octoplane model")),
        ("topology", schema_for::<TopologySpec>("Octoplane topology")),
        ("study", schema_for::<StudySpec>("Octoplane study")),
        ("goal", schema_for::<GoalSpec>("Octoplane goal")),
        ("baseline", schema_for::<BaselineSpec>("Octoplane baseline")),
        ("accuracy", schema_for::<AccuracySpec>("Octoplane accuracy against measurements")),
        ("systems", schema_for::<SystemsSpec>("Octoplane names of systems in measurements")),
        ("models", schema_for::<ModelsSpec>("Octoplane names of models in measurements")),
        ("engines", schema_for::<EnginesSpec>("Octoplane serving engines of measurements")),
        ("figures", schema_for::<PaperSpec>("Octoplane list of published figures")),
    ]
}
