//! `octoplane check`: the regression check of a pull request.

use super::output::{note, say, say_json, write};
use super::progress::Bar;
use super::{Done, Ending};
use clap::{Args, ValueEnum};
use octoplane::check::{BaselineSpec, compare, find, inspect_all};
use octoplane::scenario::{Library, Loaded, UserError, load};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(
    after_help = "Every topology is built and held to its [expect] table: connected, planes, endpoints, over-subscription, \
    bisection, diameter, cost. Every scenario is run. All figures are compared with the baseline under its tolerances; a figure \
    that is worse or gone fails, and so does one that changed and has no better direction (`octoplane explain`); one that is better \
    or new is noted. All come with the lines of the configuration that changed.\n\
    Exit codes: 0 all hold, 1 something does not, 2 the command or a file makes no sense.\n\
    Examples:\n  octoplane check\n  octoplane check topologies/mpft_2048.toml\n  octoplane check --format github\n  \
    octoplane check --update"
)]
pub(super) struct CheckArgs {
    /// Files and folders [default: topologies/ and scenarios/]
    paths: Vec<PathBuf>,
    /// The file to compare with [default: baseline.toml]
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Take what is there now as the baseline
    #[arg(long)]
    update: bool,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// Annotations of GitHub Actions, then the text
    Github,
    /// JUnit XML
    Junit,
    /// JSON
    Json,
}

pub(super) fn main(args: &CheckArgs, root: &Path) -> Ending {
    let complete = args.paths.is_empty();
    let paths =
        if complete { default_paths(root)? } else { args.paths.iter().map(|path| inside(path, root)).collect() };
    let library = Library::default();
    let found = find(&paths, &library)?;
    if found.is_empty() {
        return Err(UserError::plain("there is no topology and no scenario to check"));
    }
    let bar = Bar::of(found.len(), "files");
    let inspected = inspect_all(&found, root, &library, &|| bar.tick());
    bar.end();
    let file = args.baseline.clone().unwrap_or_else(|| root.join("baseline.toml"));
    let baseline: Option<Loaded<BaselineSpec>> = match file.is_file() || (args.baseline.is_some() && !args.update) {
        true => Some(load(&file, &[])?),
        false => None,
    };
    let baseline = baseline.map(|loaded| loaded.value);
    let unreadable = inspected.iter().filter(|file| !file.readable).count();
    if args.update && unreadable > 0 {
        say(&compare(&inspected, baseline.as_ref(), false).to_text())?;
        return Err(UserError::plain(format!("{}; {} is left as it was", cannot_be_read(unreadable), file.display())));
    }
    if args.update {
        let updated = baseline.unwrap_or_default().updated(&inspected, complete);
        let verdicts = compare(&inspected, Some(&updated), complete);
        write(&file, updated.to_toml("schemas/baseline.schema.json").as_bytes())?;
        say(&verdicts.to_text())?;
        note(&format!("{} files written to {}", updated.file.len(), file.display()));
        return Ok(if verdicts.fails() { Done::Failed } else { Done::Answered });
    }
    let verdicts = compare(&inspected, baseline.as_ref(), complete);
    match if args.json { Format::Json } else { args.format } {
        Format::Text => say(&verdicts.to_text())?,
        Format::Github => say(&verdicts.to_github())?,
        Format::Junit => say(&verdicts.to_junit())?,
        Format::Json => say_json(&verdicts.to_json())?,
    }
    if unreadable > 0 {
        return Err(UserError::plain(cannot_be_read(unreadable)));
    }
    Ok(if verdicts.fails() { Done::Failed } else { Done::Answered })
}

fn cannot_be_read(files: usize) -> String {
    format!("{files} file{} cannot be read, as said above", if files == 1 { "" } else { "s" })
}

/// An absolute path as seen from the root, because that is how the baseline names it.
fn inside(path: &Path, root: &Path) -> PathBuf {
    let whole = root.canonicalize().ok().filter(|_| path.is_absolute());
    let inner = whole.and_then(|whole| path.strip_prefix(whole).ok().map(Path::to_owned));
    match inner {
        Some(inner) if root == Path::new(".") => inner,
        Some(inner) => root.join(inner),
        None => path.to_owned(),
    }
}

fn default_paths(root: &Path) -> Result<Vec<PathBuf>, UserError> {
    // Without `./`, so that files are called what people call them.
    let named = |folder: &str| if root == Path::new(".") { PathBuf::from(folder) } else { root.join(folder) };
    let mut paths: Vec<PathBuf> = ["topologies", "scenarios"].map(named).into();
    paths.retain(|folder| folder.is_dir());
    if paths.is_empty() {
        return Err(UserError::plain(format!(
            "{} holds neither topologies/ nor scenarios/; name files or folders",
            root.display()
        )));
    }
    Ok(paths)
}
