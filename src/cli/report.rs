//! `octoplane report`: results as one page for a browser.

use super::output::{note, say, write};
use super::{Done, Ending};
use clap::Args;
use octoplane::report::inside::Inside;
use octoplane::report::page::{CsvRow, Kept, SweepTable, kept_json, page, pictures};
use octoplane::scenario::{UserError, folders_in, load, load_table, read_text};
use octoplane::sweep::StudySpec;
use std::path::{Path, PathBuf};

/// What commands keep, and a page is made of.
const FOUND: &str = "found.json";
const RESULTS: [&str; 4] = ["summary.json", FOUND, "table.csv", "figures.json"];

#[derive(Args)]
#[command(
    after_help = "The page needs no network and no other file. It has the answers first, then plots and tables that sort.\n\
    Examples:\n  octoplane report results/run/h800_ep128_decode\n  octoplane report results --html all.html\n  \
    octoplane validate --json > errors.json; octoplane report errors.json results/reproduce\n  \
    octoplane report results/run/h800_ep128_decode --png pictures"
)]
pub(super) struct ReportArgs {
    /// Folders that `run`, `sweep`, `search` and `reproduce` left, or folders of those; the JSON of `validate`
    #[arg(required = true, value_name = "RESULT")]
    results: Vec<PathBuf>,
    /// The page [default: results/report.html, unless only pictures are asked for]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write each plot of the page as SVG into this folder
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Write each plot of the page as PNG into this folder
    #[arg(long, value_name = "DIR")]
    png: Option<PathBuf>,
}

pub(super) fn main(args: &ReportArgs) -> Ending {
    let mut files = Vec::new();
    for path in &args.results {
        let before = files.len();
        find(path, &mut files)?;
        if files.len() == before {
            let message = format!("{} holds no results", path.display());
            let help = format!("a result is a folder with {}", RESULTS.join(", or "));
            return Err(UserError::plain(format!("{message}\n  = help: {help}")));
        }
    }
    let mut results = Vec::new();
    for file in &files {
        results.push((file.display().to_string(), read(file)?));
    }
    for (name, picture) in pictures(&results) {
        if let Some(folder) = &args.svg {
            written(&folder.join(format!("{name}.svg")), picture.svg().as_bytes())?;
        }
        if let Some(folder) = &args.png {
            written(&folder.join(format!("{name}.png")), &picture.png())?;
        }
    }
    let usual = PathBuf::from("results/report.html");
    let only_pictures = args.svg.is_some() || args.png.is_some();
    if let Some(path) = args.html.as_ref().or(Some(&usual).filter(|_| !only_pictures)) {
        written(path, page(&results).as_bytes())?;
        let s = if results.len() == 1 { "" } else { "s" };
        note(&format!("{} result{s} on one page; open it in a browser", results.len()));
    }
    Ok(Done::Answered)
}

/// Writes a file and says its path.
fn written(path: &Path, content: &[u8]) -> Result<(), UserError> {
    write(path, content)?;
    say(&format!("{}\n", path.display()))
}

/// The files of results that `path` names: itself, or what it and the folders in it hold.
fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), UserError> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let found = RESULTS.map(|name| path.join(name)).into_iter().filter(|file| file.is_file());
    // The table of a search is in what it found, with what became of each point.
    let is_search = path.join(FOUND).is_file();
    files.extend(found.filter(|file| !is_search || !file.ends_with("table.csv")));
    for folder in folders_in(path)? {
        find(&folder, files)?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<Kept, UserError> {
    let at = |error: String| UserError::plain(format!("{}: {error}", file.display()));
    if file.extension().is_some_and(|extension| extension == "csv") {
        if file.with_file_name("goal.resolved.toml").is_file() {
            let message = format!("{}: this search kept no {FOUND} beside it", file.display());
            return Err(UserError::plain(format!("{message}\n  = help: an earlier version left it; search again")));
        }
        let study = load::<StudySpec>(&file.with_file_name("study.resolved.toml"), &[])?.value;
        let axes: Vec<String> = study.axis.iter().map(|axis| axis.name.clone()).collect();
        let rows: Vec<CsvRow> = load_table(file)?.into_iter().map(|row| row.value).collect();
        let table = SweepTable::new(&study.name, &study.description, &axes, &rows);
        return table.map(Kept::Sweep).map_err(at);
    }
    let kept = kept_json(&read_text(file)?).map_err(at)?;
    let pictures = file.with_file_name("pictures.json");
    match kept {
        Kept::Run(run, _) if pictures.is_file() => {
            let at = |error: String| UserError::plain(format!("{}: {error}", pictures.display()));
            Ok(Kept::Run(run, Some(Inside::parse(&read_text(&pictures)?).map_err(at)?)))
        }
        other => Ok(other),
    }
}
