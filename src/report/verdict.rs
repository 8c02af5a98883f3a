//! What a check found, file by file: for people, for CI systems, for programs.

use super::json::SCHEMA;
use super::table::{Align, Table, number};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdicts {
    /// One entry for each file.
    pub files: Vec<Verdict>,
    /// What concerns no file alone.
    pub notes: Vec<String>,
}

/// What was found about one file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Its path.
    pub path: String,
    /// What it is: "topology", "scenario".
    pub kind: &'static str,
    /// What is wrong with it, whatever it was before.
    pub problems: Vec<Problem>,
    /// Metrics that are not what they were.
    pub changes: Vec<Change>,
    /// Lines of its configuration that are not what they were.
    pub lines: Vec<LineChange>,
    /// What is worth knowing and is no failure.
    pub notes: Vec<String>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// What.
    pub message: String,
    /// Where: "file.toml:12".
    pub origin: Option<String>,
}

/// A metric that is not what it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Its name.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Which way it should go: "lower", "higher", "none".
    pub better: &'static str,
    /// What it was; none if it is new.
    pub baseline: Option<f64>,
    /// What it is; none if it is gone.
    pub now: Option<f64>,
    /// Relative change that is allowed.
    pub tolerance: f64,
    /// What to make of it.
    pub judgement: Judgement,
}

/// What to make of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// In the right direction.
    Better,
    /// In the wrong direction.
    Worse,
    /// By more than is allowed, of a metric that has no better direction.
    Changed,
    /// By no more than is allowed.
    Within,
    /// The baseline does not know the metric.
    New,
    /// The baseline knows the metric, and it is there no more.
    Gone,
}

impl Judgement {
    /// Whether the check fails because of it.
    pub const fn fails(self) -> bool {
        matches!(self, Judgement::Worse | Judgement::Changed | Judgement::Gone)
    }

    /// The word in texts: what fails is in capitals.
    const fn word(self) -> &'static str {
        match self {
            Judgement::Better => "better",
            Judgement::Worse => "WORSE",
            Judgement::Changed => "CHANGED",
            Judgement::Within => "within",
            Judgement::New => "new",
            Judgement::Gone => "GONE",
        }
    }
}

impl Change {
    /// Whether people are told of it.
    pub fn is_shown(&self) -> bool {
        self.judgement != Judgement::Within
    }
}

/// A value of the configuration that is not what it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LineChange {
    /// Its dotted path.
    pub path: String,
    /// What it was; none if it is new.
    pub before: Option<String>,
    /// What it is; none if it is gone.
    pub now: Option<String>,
    /// Where it is set now: "file.toml:12".
    pub origin: Option<String>,
}

impl Verdict {
    /// Whether the check fails because of this file.
    pub fn fails(&self) -> bool {
        !self.problems.is_empty() || self.changes.iter().any(|change| change.judgement.fails())
    }

    fn is_silent(&self) -> bool {
        self.problems.is_empty() && !self.changes.iter().any(Change::is_shown) && self.notes.is_empty()
    }
}

impl Verdicts {
    /// Whether the check fails.
    pub fn fails(&self) -> bool {
        self.files.iter().any(Verdict::fails)
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for file in self.files.iter().filter(|file| !file.is_silent()) {
            let state = if file.fails() { "FAILED" } else { "note" };
            writeln!(text, "{}: {} ({})\n{}", state, file.path, file.kind, details(file)).expect("writing to a string");
        }
        for note in &self.notes {
            writeln!(text, "{note}").expect("writing to a string");
        }
        text + &self.summary()
    }

    /// How many files are how, in one line.
    pub fn summary(&self) -> String {
        let failed = self.files.iter().filter(|file| file.fails()).count();
        let of_kind = |kind: &str| self.files.iter().filter(|file| file.kind == kind).count();
        let count = |kind: &str, one: &str, many: &str| match of_kind(kind) {
            1 => format!("1 {one}"),
            n => format!("{n} {many}"),
        };
        let (topologies, scenarios) =
            (count("topology", "topology", "topologies"), count("scenario", "scenario", "scenarios"));
        let counts = format!("{topologies} and {scenarios} checked");
        let verdict = if failed == 0 { "all hold".to_owned() } else { format!("{failed} failed") };
        format!("{counts}: {verdict}\n")
    }

    /// As workflow commands of GitHub Actions, which show up beside the lines that they name; then the text.
    pub fn to_github(&self) -> String {
        let mut text = String::new();
        let escape = |message: &str| message.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        for file in &self.files {
            for problem in &file.problems {
                let place = github_place(problem.origin.as_deref(), &file.path);
                writeln!(text, "::error {place},title=octoplane check::{}", escape(&problem.message))
                    .expect("writing to a string");
            }
            if file.changes.iter().any(|change| change.judgement.fails()) {
                let origin = file.lines.iter().find_map(|line| line.origin.as_deref());
                let place = github_place(origin, &file.path);
                let message = format!("{}\n{}", file.path, details(file));
                writeln!(text, "::error {place},title=octoplane regression::{}", escape(&message))
                    .expect("writing to a string");
            }
        }
        text + &self.to_text()
    }

    /// As JUnit XML: one test case for each file.
    pub fn to_junit(&self) -> String {
        let failed = self.files.iter().filter(|file| file.fails()).count();
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let mut line = |line: String| writeln!(text, "{line}").expect("writing to a string");
        line(format!("<testsuite name=\"octoplane check\" tests=\"{}\" failures=\"{failed}\">", self.files.len()));
        for file in &self.files {
            let case = format!("  <testcase classname=\"{}\" name=\"{}\"", file.kind, xml(&file.path));
            if file.fails() {
                let message = headline(file);
                let message = message.lines().next().unwrap_or_default();
                line(format!("{case}>"));
                line(format!("    <failure message=\"{}\">{}</failure>", xml(message), xml(&details(file))));
                line("  </testcase>".to_owned());
            } else {
                line(format!("{case}/>"));
            }
        }
        line("</testsuite>".to_owned());
        text
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({ "schema": SCHEMA, "failed": self.fails(), "files": self.files, "notes": self.notes })
    }
}

/// Why a file fails, in a few words.
fn headline(file: &Verdict) -> &str {
    let any = |judgement| file.changes.iter().any(|change| change.judgement == judgement);
    match file.problems.first() {
        Some(problem) => &problem.message,
        None if any(Judgement::Worse) => "a metric is worse than its baseline",
        None if any(Judgement::Changed) => "a metric is not what it was",
        None => "a metric of the baseline is gone",
    }
}

/// Everything that is to be said about one file.
fn details(file: &Verdict) -> String {
    let mut text = String::new();
    for problem in &file.problems {
        let origin = problem.origin.as_ref().map_or(String::new(), |origin| format!("{origin}: "));
        for (number, line) in problem.message.lines().enumerate() {
            let start = if number == 0 { format!("  {origin}") } else { "  ".to_owned() };
            writeln!(text, "{start}{line}").expect("writing to a string");
        }
    }
    let shown: Vec<&Change> = file.changes.iter().filter(|change| change.is_shown()).collect();
    if !shown.is_empty() {
        text.push_str(&changes(&shown));
    }
    if !file.lines.is_empty() && !shown.is_empty() {
        text.push_str("  What changed in the configuration:\n");
        text.push_str(&lines(&file.lines));
    }
    for note in &file.notes {
        writeln!(text, "  {note}").expect("writing to a string");
    }
    text
}

fn changes(changes: &[&Change]) -> String {
    let columns = [
        ("metric", Align::Left),
        ("unit", Align::Left),
        ("baseline", Align::Right),
        ("now", Align::Right),
        ("change", Align::Right),
        ("allowed", Align::Right),
        ("", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for change in changes {
        let value = |value: Option<f64>| value.map_or("-".to_owned(), number);
        let relative = match (change.baseline, change.now) {
            (Some(before), Some(now)) if before != 0.0 => format!("{:+.2}%", 100.0 * (now / before - 1.0)),
            _ => "-".to_owned(),
        };
        table.row(vec![
            change.metric.clone(),
            change.unit.clone(),
            value(change.baseline),
            value(change.now),
            relative,
            format!("{}%", 100.0 * change.tolerance),
            change.judgement.word().to_owned(),
        ]);
    }
    table.headed().lines().map(|line| format!(" {line}\n")).collect()
}

/// Configuration lines beyond these say no more.
const LINES_MAX: usize = 12;

fn lines(lines: &[LineChange]) -> String {
    let mut text = String::new();
    for line in lines.iter().take(LINES_MAX) {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(nothing)".to_owned());
        let origin = line.origin.as_ref().map_or(String::new(), |origin| format!("   {origin}"));
        let (before, now) = (value(&line.before), value(&line.now));
        writeln!(text, "    {}: {before} -> {now}{origin}", line.path).expect("writing to a string");
    }
    if lines.len() > LINES_MAX {
        writeln!(text, "    and {} more", lines.len() - LINES_MAX).expect("writing to a string");
    }
    text
}

fn github_place(origin: Option<&str>, path: &str) -> String {
    match origin.and_then(|origin| origin.rsplit_once(':')) {
        Some((file, line)) if line.chars().all(|c| c.is_ascii_digit()) => format!("file={file},line={line}"),
        _ => format!("file={path}"),
    }
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
