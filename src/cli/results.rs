//! Folders of results: where a command keeps what it worked out, and whose a folder is. What belongs to another study, goal or
//! scenario is not replaced unasked.

use super::output::note;
use octoplane::SOURCES;
use octoplane::fingerprint::Fingerprint;
use octoplane::report::files::{self, WriteError};
use octoplane::report::folder::{Claim, LOCK};
use octoplane::scenario::{Library, UserError, read_text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Says whose the folder is.
const OWNER: &str = "owner.json";

/// The log of points of a study or goal while it runs.
pub(super) const LOG: &str = "points.part.jsonl";

/// Every file that commands keep in a folder of results.
const KEPT: [&str; 15] = [
    LOG,
    "points.jsonl",
    "table.csv",
    "table.parquet",
    "summary.txt",
    "summary.json",
    "pictures.json",
    "scenario.resolved.toml",
    "study.resolved.toml",
    "goal.resolved.toml",
    "found.json",
    "front.svg",
    "figures.json",
    "figures.txt",
    OWNER,
];

/// What a folder of results belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// "run", "sweep", "search", "reproduce".
    command: String,
    /// The file that was given, as seen from where the program was started.
    file: String,
    /// Overlays on it.
    set: Vec<String>,
    /// Fingerprint of everything that was read.
    inputs: String,
    /// Fingerprints of the files that points were read from.
    files: BTreeMap<String, String>,
    /// Fingerprint of the program's sources.
    sources: String,
}

impl Owner {
    pub(super) fn new(command: &str, input: &Path, set: &[String], inputs: String) -> Owner {
        let file = below(input, std::env::current_dir().ok().as_deref()).display().to_string();
        let (command, set) = (command.to_owned(), set.to_vec());
        Owner { command, file, set, inputs, files: BTreeMap::new(), sources: SOURCES.to_owned() }
    }

    /// Of many scenarios, which were read with `library`.
    pub(super) fn of_many(command: &str, input: &Path, set: &[String], inputs: &str, library: &Library) -> Owner {
        let owner = Owner::new(command, input, set, String::new());
        let here = std::env::current_dir().ok();
        let named = |(path, print): (PathBuf, String)| (below(&path, here.as_deref()).display().to_string(), print);
        let files: BTreeMap<String, String> = library.fingerprints().into_iter().map(named).collect();
        // By what files say rather than by what they are called, so that a study may move.
        let mut contents: Vec<&str> = files.values().map(String::as_str).collect();
        contents.sort_unstable();
        let inputs = Fingerprint::of(inputs.as_bytes()).then(contents.join(" ").as_bytes()).to_string();
        Owner { inputs, files, ..owner }
    }

    fn text(&self) -> String {
        let object = json!({
            "schema": octoplane::report::json::SCHEMA,
            "command": self.command,
            "file": self.file,
            "set": self.set,
            "inputs": self.inputs,
            "files": self.files,
            "version": env!("CARGO_PKG_VERSION"),
            "sources": self.sources,
        });
        format!("{object:#}\n")
    }

    fn parse(text: &str) -> Option<Owner> {
        let object: Value = serde_json::from_str(text).ok()?;
        let text = |key: &str| object[key].as_str().map(str::to_owned);
        let files = object["files"].as_object()?.iter();
        Some(Owner {
            command: text("command")?,
            file: text("file")?,
            set: object["set"].as_array()?.iter().map(|set| set.as_str().map(str::to_owned)).collect::<Option<_>>()?,
            inputs: text("inputs")?,
            files: files
                .map(|(path, print)| Some((path.clone(), print.as_str()?.to_owned())))
                .collect::<Option<_>>()?,
            sources: text("sources")?,
        })
    }

    /// "sweep scenarios/studies/planes.toml --set a=b"
    fn shown(&self) -> String {
        let sets: String = self.set.iter().map(|set| format!(" --set {set}")).collect();
        format!("{} {}{sets}", self.command, self.file)
    }

    /// What is not as it was when `earlier` was written; nothing, where inputs are the same.
    fn changed_since(&self, earlier: &Owner) -> Option<String> {
        if self.inputs == earlier.inputs {
            return None;
        }
        let other = |(path, print): &(&String, &String)| earlier.files.get(*path).is_some_and(|known| known != *print);
        let files: Vec<&str> = self.files.iter().filter(other).map(|(path, _)| path.as_str()).collect();
        Some(match files.as_slice() {
            [] => self.file.clone(),
            files => files.join(", "),
        })
    }
}

/// How a command means to use a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// To replace its own answer.
    Anew,
    /// To go on with what is there.
    Resume,
    /// To replace whatever is there.
    Force,
}

impl Use {
    pub(super) fn of(resume: bool, force: bool) -> Use {
        match (resume, force) {
            (true, _) => Use::Resume,
            (_, true) => Use::Force,
            _ => Use::Anew,
        }
    }
}

/// Refuses a folder that belongs to something else, or holds what `owner` must not go on with.
pub(super) fn allowed(out: &Path, owner: &Owner, usage: Use) -> Result<(), UserError> {
    let holds = KEPT.iter().any(|name| *name != OWNER && out.join(name).exists());
    if usage == Use::Force || !holds {
        return Ok(());
    }
    let shown = out.display();
    let refuse = |message: String, help: &str| Err(UserError::plain(format!("{message}\n  = help: {help}")));
    let other = "name another folder with --out, or replace what is there with --force";
    let Some(earlier) = known(out)? else {
        return refuse(format!("{shown} holds results, and nothing says of what"), other);
    };
    // A scenario that was edited or overlaid is still the same scenario; of a study, hours of work may be there.
    let same_file = earlier.command == owner.command && earlier.file == owner.file;
    let changed = owner.changed_since(&earlier);
    let is_single = ["run", "reproduce"].contains(&owner.command.as_str());
    let other_set = earlier.set != owner.set && !is_single;
    if earlier.command != owner.command || (changed.is_some() && (!same_file || other_set)) {
        return refuse(format!("{shown} holds the results of `{}`", earlier.shown()), other);
    }
    if let Some(changed) = changed.filter(|_| !is_single) {
        let message = format!("{shown} holds the results of `{}` as it was before {changed} changed", earlier.shown());
        return refuse(message, other);
    }
    if usage == Use::Resume && earlier.sources != owner.sources {
        let message = format!("{shown} holds points that another build of the program worked out, with other sources");
        return refuse(message, "start anew with --force, or name another folder with --out");
    }
    Ok(())
}

/// Takes the folder for `owner`: from now on no other process writes into it. What a killed process left half written is removed.
pub(super) fn claim(out: &Path, owner: &Owner, usage: Use) -> Result<Claim, UserError> {
    allowed(out, owner, usage)?;
    let Some(claim) = Claim::take(out).map_err(unwritten)? else {
        let process = read_text(&out.join(LOCK)).unwrap_or_default();
        let by = if process.is_empty() { String::new() } else { format!(" ({process})") };
        let message = format!("another process{by} writes into {} at the moment", out.display());
        return Err(UserError::plain(format!("{message}\n  = help: wait for it, or name another folder with --out")));
    };
    take_over(&claim, owner, usage)?;
    if known(out)?.as_ref() != Some(owner) {
        files::write(&out.join(OWNER), owner.text().as_bytes()).map_err(unwritten)?;
    }
    Ok(claim)
}

/// Keeps the answer of one experiment: waits for whoever writes into the folder, and changes all files together.
pub(super) fn keep(out: &Path, owner: &Owner, usage: Use, files: Vec<(&str, Vec<u8>)>) -> Result<(), UserError> {
    let claim = Claim::wait(out).map_err(unwritten)?;
    take_over(&claim, owner, usage)?;
    let owner = (OWNER, owner.text().into_bytes());
    claim.put(&[vec![owner], files].concat()).map_err(unwritten)
}

fn take_over(claim: &Claim, owner: &Owner, usage: Use) -> Result<(), UserError> {
    let out = claim.folder();
    // Another process may have had it meanwhile.
    allowed(out, owner, usage)?;
    claim.remove_parts(KEPT.into_iter());
    if usage == Use::Force {
        for name in KEPT {
            files::remove(&out.join(name)).map_err(unwritten)?;
        }
    }
    if let Some(earlier) = known(out)?.filter(|earlier| earlier.set != owner.set) {
        note(&format!("{} held the answer of `{}`, which is replaced", out.display(), earlier.shown()));
    }
    Ok(())
}

/// Whose the folder is, as far as it says.
fn known(out: &Path) -> Result<Option<Owner>, UserError> {
    let file = out.join(OWNER);
    Ok(if file.exists() { Owner::parse(&read_text(&file)?) } else { None })
}

pub(super) fn unwritten(error: WriteError) -> UserError {
    UserError::plain(error.to_string())
}

/// Where a command keeps the results of `input`: the folder that was asked for, else one named like the command and the file, with
/// a name of its own for overlays, which `inputs` tell apart.
pub(super) fn folder(asked: Option<&PathBuf>, command: &str, input: &Path, sets: &[String], inputs: &str) -> PathBuf {
    let usual = || {
        let mut name = named(input, std::env::current_dir().ok().as_deref());
        if !sets.is_empty() {
            let last = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.set_file_name(format!("{last}-{}", &inputs[..8]));
        }
        Path::new("results").join(command).join(name)
    };
    asked.cloned().unwrap_or_else(usual)
}

/// What an input is called: its path below the nearest `scenarios/`, else below where the program was started, else its name alone.
fn named(input: &Path, here: Option<&Path>) -> PathBuf {
    let inside = below(input, here);
    let parts: Vec<Component<'_>> = inside.components().filter(|part| *part != Component::CurDir).collect();
    let folders = &parts[..parts.len().saturating_sub(1)];
    let from = folders.iter().rposition(|part| part.as_os_str() == "scenarios").map(|at| at + 1);
    let plain = parts.iter().all(|part| matches!(part, Component::Normal(_)));
    let from = from.unwrap_or(if plain { 0 } else { folders.len() });
    parts[from..].iter().collect::<PathBuf>().with_extension("")
}

/// The path as seen from `here`, where it is below it.
fn below(path: &Path, here: Option<&Path>) -> PathBuf {
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::named;
    use std::path::Path;

    #[test]
    fn results_are_named_by_the_path_of_their_input() {
        let here = Path::new("/home/me/repository");
        for (input, name) in [
            ("scenarios/a.toml", "a"),
            ("./scenarios/x1/same.toml", "x1/same"),
            ("scenarios/x2/same.toml", "x2/same"),
            ("/home/me/repository/scenarios/x2/same.toml", "x2/same"),
            ("../other/scenarios/studies/s.v2.toml", "studies/s.v2"),
            ("mine/x1/same.toml", "mine/x1/same"),
            ("same.toml", "same"),
            ("/tmp/x1/same.toml", "same"),
            ("../same.toml", "same"),
            ("scenarios.toml", "scenarios"),
        ] {
            assert_eq!(named(Path::new(input), Some(here)), Path::new(name), "{input}");
        }
    }
}
