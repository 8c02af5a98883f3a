//! The texts that an input consists of: files, and what `--set` brought. The only place that reads files.

use super::error::{Finding, UserError};
use super::library::Library;
use super::tree::{Entry, Node, Span, Table, Value};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// A text with the name under which messages show it.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) content: Arc<str>,
    /// The folder from which relative paths in it start.
    pub(super) folder: PathBuf,
    /// Whether it came from the command line.
    pub(super) is_set: bool,
}

/// All texts of one input.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    pub(super) all: Vec<Text>,
    library: Library,
}

/// Reads a file that is not TOML.
pub fn read_text(path: &Path) -> Result<String, UserError> {
    fs::read_to_string(path).map_err(|error| UserError::plain(unreadable(path, &error)))
}

/// The kind of description that a file says it is, by the schema that its first line names: "study".
pub fn declared_kind(path: &Path) -> Option<String> {
    let content = fs::read_to_string(path).ok()?;
    let schema = content.lines().next()?.strip_prefix("#:schema ")?.trim();
    let name = Path::new(schema).file_name()?.to_str()?;
    name.strip_suffix(".schema.json").map(str::to_owned)
}

/// Reads a file that may end in the middle of anything.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, UserError> {
    fs::read(path).map_err(|error| UserError::plain(unreadable(path, &error)))
}

/// The folders in `folder`, in order of path.
pub fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, UserError> {
    let entries = fs::read_dir(folder).map_err(|error| UserError::plain(unreadable(folder, &error)))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    Ok(found)
}

/// Every TOML file under `folder`, in order of path.
pub fn tomls_under(folder: &Path) -> Result<Vec<PathBuf>, UserError> {
    let unreadable = |error: std::io::Error| UserError::plain(unreadable(folder, &error));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            found.extend(tomls_under(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Why a file could not be read, with the nearest names beside it.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> String {
    if error.kind() != std::io::ErrorKind::NotFound {
        return format!("cannot read {}: {error}", path.display());
    }
    format!("there is no file {}", path.display())
}

/// A hint at files whose names are near that of the missing one.
pub(super) fn near_files(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(folder) else { return Some(format!("there is no folder {}", folder.display())) };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(if wanted.ends_with(".csv") { ".csv" } else { ".toml" }))
        .collect();
    names.sort_by_key(|name| (strsim::damerau_levenshtein(name, wanted), name.clone()));
    names.truncate(3);
    (!names.is_empty()).then(|| format!("{} holds {}", folder.display(), names.join(", ")))
}

impl Texts {
    /// No texts yet; files come from `library` where it has them, and are added to it.
    pub(super) fn with_library(library: &Library) -> Texts {
        Texts { all: Vec::new(), library: library.clone() }
    }

    /// Reads and parses a file.
    pub(super) fn file(&mut self, path: &Path) -> Result<Node, Finding> {
        if let Some((text, node)) = self.library.get(path, self.all.len()) {
            self.all.push(text);
            return Ok(node);
        }
        let content = fs::read_to_string(path).map_err(|error| {
            let finding = Finding::anywhere(unreadable(path, &error));
            finding.help(near_files(path))
        })?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let text = Text { name: path.display().to_string(), content: content.into(), folder, is_set: false };
        let node = self.parse(text.clone())?;
        self.library.put(path, text, &node);
        Ok(node)
    }

    /// Keeps and parses a text.
    pub(super) fn parse(&mut self, text: Text) -> Result<Node, Finding> {
        let index = self.all.len();
        let content = text.content.clone();
        self.all.push(text);
        let parsed = DeTable::parse(&content).map_err(|error| syntax(index, &content, &error))?;
        let span = Span { text: index, range: 0..0 };
        Ok(Node { value: Value::Table(table(index, parsed.get_ref())?), span })
    }

    /// Drops the last text.
    pub(super) fn forget_last(&mut self) {
        self.all.pop();
    }

    /// "file.toml:12", or "--set #1".
    pub(super) fn place(&self, span: &Span) -> String {
        let text = &self.all[span.text];
        if text.is_set {
            return text.name.clone();
        }
        let line = text.content[..span.range.start].bytes().filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}", text.name)
    }
}

fn syntax(text: usize, content: &str, error: &toml::de::Error) -> Finding {
    let range = error.span().unwrap_or(0..0);
    // An error at the very end is shown at the last character there is.
    let start = range.start.min(content.len());
    let finding = Finding::at(Span { text, range: start..range.end.clamp(start, content.len()) }, error.message());
    finding.label("this is not TOML")
}

fn table(text: usize, parsed: &DeTable<'_>) -> Result<Table, Finding> {
    let mut entries = Vec::with_capacity(parsed.len());
    for (key, value) in parsed {
        let key_span = Span { text, range: key.span() };
        let node =
            Node { value: convert(text, value.get_ref(), value.span())?, span: Span { text, range: value.span() } };
        // What TOML calls the span of a table may be all of its body; its header is what people look at.
        let is_table = matches!(node.value, Value::Table(_));
        let node = if is_table { Node { span: key_span.clone(), ..node } } else { node };
        entries.push(Entry { key: key.get_ref().to_string(), key_span, node });
    }
    Ok(Table(entries))
}

fn convert(text: usize, value: &DeValue<'_>, range: std::ops::Range<usize>) -> Result<Value, Finding> {
    let at = || Span { text, range: range.clone() };
    Ok(match value {
        DeValue::String(string) => Value::Text(string.to_string()),
        DeValue::Integer(integer) => {
            let parsed = i64::from_str_radix(integer.as_str(), integer.radix());
            Value::Integer(parsed.map_err(|_| Finding::at(at(), "this whole number is too large"))?)
        }
        DeValue::Float(float) => {
            let parsed = float.as_str().parse();
            Value::Float(parsed.map_err(|_| Finding::at(at(), "this is not a number"))?)
        }
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(_) => return Err(Finding::at(at(), "dates have no meaning here")),
        DeValue::Array(array) => {
            let element = |element: &toml::Spanned<DeValue<'_>>| {
                let value = convert(text, element.get_ref(), element.span())?;
                Ok(Node { value, span: Span { text, range: element.span() } })
            };
            Value::Array(array.iter().map(element).collect::<Result<_, Finding>>()?)
        }
        DeValue::Table(inner) => Value::Table(table(text, inner)?),
    })
}
