//! Tables of measurements: CSV files whose lines become typed rows that know their line. The only place that reads with `csv`.
//!
//! Lines that start with `#` are remarks. The first other line names the columns; columns that no field asks for are ignored.

use super::error::{Finding, UserError};
use super::texts::{Text, Texts, near_files, unreadable};
use super::tree::Span;
use crate::invalid::meant;
use csv::{DeserializeError, DeserializeErrorKind, ErrorKind, ReaderBuilder, StringRecord, Trim};
use serde::de::DeserializeOwned;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One line of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<T> {
    /// The line of the file on which it starts, counted from 1.
    pub line: u64,
    /// What it says.
    pub value: T,
}

/// Reads the CSV file at `path`: one `T` per line, whose fields are named like the columns.
///
/// # Errors
/// The first mistake: no such file, a column that is missing, a cell that is not what its field wants.
pub fn load_table<T: DeserializeOwned>(path: &Path) -> Result<Vec<Row<T>>, UserError> {
    let mut texts = Texts::default();
    read(path, &mut texts).map_err(|finding| finding.render(&texts))
}

/// The CSV files of a folder, in alphabetical order.
///
/// # Errors
/// When there is no such folder.
pub fn tables(folder: &Path) -> Result<Vec<PathBuf>, UserError> {
    let entries = fs::read_dir(folder)
        .map_err(|error| UserError::plain(format!("cannot read the folder {}: {error}", folder.display())))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    paths.sort();
    Ok(paths)
}

fn read<T: DeserializeOwned>(path: &Path, texts: &mut Texts) -> Result<Vec<Row<T>>, Finding> {
    let content = fs::read_to_string(path).map_err(|error| {
        let finding = Finding::anywhere(unreadable(path, &error));
        finding.help(near_files(path))
    })?;
    let text =
        Text { name: path.display().to_string(), content: content.into(), folder: PathBuf::new(), is_set: false };
    texts.all.push(text);
    let content = &texts.all[texts.all.len() - 1].content;
    let mut reader = ReaderBuilder::new().comment(Some(b'#')).trim(Trim::All).from_reader(content.as_bytes());
    let header = reader.headers().map_err(|error| malformed(content, &error))?.clone();
    let header_start = header.position().map_or(0, |position| start_of(content, position.byte()));
    if header.is_empty() {
        let finding = Finding::at(span(0..0), "this table names no columns");
        return Err(finding.help(Some("the first line that is no remark names the columns".to_owned())));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| malformed(content, &error))?;
        let position = record.position().expect("a record that was read has a position");
        let start = start_of(content, position.byte());
        match record.deserialize(Some(&header)) {
            // The reader counts from where it stood, which may be remarks before the line itself.
            Ok(value) => rows.push(Row { line: line_of(content, start), value }),
            Err(error) => return Err(wrong(content, header_start, &header, start, &record, &error)),
        }
    }
    Ok(rows)
}

/// Why a line is no line of a table.
fn malformed(content: &str, error: &csv::Error) -> Finding {
    match error.kind() {
        ErrorKind::UnequalLengths { pos: Some(position), expected_len, len } => {
            let start = start_of(content, position.byte());
            let message = format!("this line has {len} cells, and there are {expected_len} columns");
            let finding = Finding::at(span(start..end_of(content, start)), message);
            finding.help(Some("every line has one cell for each column; a cell with a comma is put in \"\"".to_owned()))
        }
        _ => Finding::at(span(0..0), format!("this is not a table: {error}")),
    }
}

/// Why a line is not the row that was wanted.
fn wrong(
    content: &str,
    header_start: usize,
    header: &StringRecord,
    start: usize,
    record: &StringRecord,
    error: &csv::Error,
) -> Finding {
    let ErrorKind::Deserialize { err, .. } = error.kind() else { return malformed(content, error) };
    if let DeserializeErrorKind::Message(message) = err.kind()
        && let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'))
    {
        let known: Vec<&str> = header.iter().collect();
        let finding =
            Finding::at(span(header_start..end_of(content, header_start)), format!("no column is called `{name}`"));
        let hint = match meant(name, &known) {
            Some(near) => format!("did you mean `{near}`? the columns are {}", known.join(", ")),
            None => format!("the columns are {}", known.join(", ")),
        };
        return finding.label("among these columns").help(Some(hint));
    }
    let Some(field) = err.field().and_then(|field| usize::try_from(field).ok()) else {
        return Finding::at(span(start..end_of(content, start)), err.to_string());
    };
    let name = header.get(field).unwrap_or("?");
    let found = record.get(field).unwrap_or("");
    let finding =
        Finding::at(span(cell(content, start, field)), format!("`{found}` in column `{name}` makes no sense"));
    finding
        .label(wanted(err))
        .help(Some(format!("column {} is `{name}`; leave out lines that were not measured", field + 1)))
}

/// What a cell should have been.
fn wanted(error: &DeserializeError) -> String {
    match error.kind() {
        DeserializeErrorKind::ParseInt(_) => "a whole number is wanted, 0 or more".to_owned(),
        DeserializeErrorKind::ParseFloat(_) => "a number is wanted".to_owned(),
        DeserializeErrorKind::ParseBool(_) => "true or false is wanted".to_owned(),
        other => other.to_string(),
    }
}

fn span(range: Range<usize>) -> Span {
    Span { text: 0, range }
}

/// Where the record that was found from `byte` on begins, after remarks and empty lines.
fn start_of(content: &str, byte: u64) -> usize {
    let mut start = usize::try_from(byte).expect("a file in memory").min(content.len());
    while start < content.len() {
        let line = &content[start..];
        let end = line.find('\n').map_or(line.len(), |at| at + 1);
        if !line.starts_with('#') && !line[..end].trim().is_empty() {
            break;
        }
        start += end;
    }
    start
}

fn end_of(content: &str, start: usize) -> usize {
    content[start..].find(['\r', '\n']).map_or(content.len(), |length| start + length)
}

fn line_of(content: &str, start: usize) -> u64 {
    content[..start].bytes().filter(|byte| *byte == b'\n').count() as u64 + 1
}

/// The bytes of the `field`-th cell of the record at `start`.
fn cell(content: &str, start: usize, field: usize) -> Range<usize> {
    let (mut begin, mut seen, mut quoted) = (start, 0, false);
    for (at, byte) in content.bytes().enumerate().skip(start) {
        match byte {
            b'"' => quoted = !quoted,
            b',' | b'\n' | b'\r' if !quoted => {
                if seen == field || byte != b',' {
                    return begin..at;
                }
                seen += 1;
                begin = at + 1;
            }
            _ => {}
        }
    }
    begin..content.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_found_behind_quotes_and_remarks() {
        let content = "# remark, with comma\na,b,c\n# another\n\"x,y\",2,zz\n";
        let start = start_of(content, 27);
        assert_eq!(line_of(content, start), 4);
        assert_eq!(&content[cell(content, start, 2)], "zz");
        assert_eq!(&content[cell(content, start, 0)], "\"x,y\"");
    }
}
