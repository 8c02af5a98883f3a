//! `octoplane import`: descriptions of others as our TOML files.

use super::output::{note, say, write};
use super::{Done, Ending};
use clap::{Args, Subcommand};
use octoplane::model::huggingface::from_config;
use octoplane::scenario::{UserError, read_text};
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A Hugging Face config.json (MLA, GQA, mixture of experts) as a model file
    Model(ModelArgs),
}

#[derive(Args)]
#[command(after_help = "Example:\n  octoplane import model config.json --name DeepSeek-V3 -o models/my_model.toml")]
struct ModelArgs {
    /// The configuration
    config: PathBuf,
    /// Name of the model [default: the folder that holds the configuration]
    #[arg(long)]
    name: Option<String>,
    /// The file to write [default: print it]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite that file if it is there
    #[arg(long, requires = "output")]
    force: bool,
}

pub(super) fn main(args: &ImportArgs) -> Ending {
    let What::Model(args) = &args.what;
    let text = read_text(&args.config)?;
    let name = args.name.clone().unwrap_or_else(|| {
        let path = args.config.canonicalize().unwrap_or_else(|_| args.config.clone());
        let folder = path.parent().and_then(|folder| folder.file_name());
        folder.map_or_else(|| "imported model".to_owned(), |name| name.to_string_lossy().into_owned())
    });
    let imported =
        from_config(&text, &name).map_err(|error| UserError::plain(format!("{}: {error}", args.config.display())))?;
    if let Some(path) = args.output.as_ref().filter(|path| path.exists() && !args.force) {
        let message = format!("{} is there already", path.display());
        return Err(UserError::plain(format!("{message}\n  = help: give another name, or overwrite it with --force")));
    }
    imported.notes.iter().for_each(|text| note(&format!("note: {text}")));
    match &args.output {
        Some(path) => {
            write(path, imported.to_toml().as_bytes())?;
            note(&format!("written to {}", path.display()));
        }
        None => say(&imported.to_toml())?,
    }
    Ok(Done::Answered)
}
