//! Pieces of HTML. It knows tables and texts, never what they mean.

use crate::report::sheet::Picture;
use crate::report::table::number;
use std::fmt::Write;

/// Rows of a table that a page carries; more make it slow to open, and are in the files.
const ROWS_MAX: usize = 2000;

/// Characters of a text from which on it gets a wide column.
const LONG: usize = 30;

/// `text` where HTML expects text or the value of an attribute.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The name of the `number`-th section in links.
pub(super) fn id(number: usize) -> String {
    format!("result-{}", number + 1)
}

/// A cell of a table.
pub(super) enum Cell {
    /// Text.
    Text(String),
    /// A number, shown with five digits and sorted by its exact value.
    Number(Option<f64>),
    /// A fraction, shown as a percentage with its sign.
    Change(Option<f64>),
    /// A fraction, shown as a percentage.
    Percent(Option<f64>),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    fn html(&self) -> String {
        let shown = |value: Option<f64>, text: fn(f64) -> String| match value {
            Some(value) => format!("<td class=\"n\" data-v=\"{value}\">{}</td>", text(value)),
            None => "<td class=\"n\">-</td>".to_owned(),
        };
        match self {
            Cell::Text(text) if text.len() > LONG => format!("<td class=\"long\">{}</td>", escape(text)),
            Cell::Text(text) => format!("<td>{}</td>", escape(text)),
            Cell::Number(value) => shown(*value, number),
            Cell::Change(value) => shown(*value, |value| format!("{:+.2}%", 100.0 * value + 0.0)),
            Cell::Percent(value) => shown(*value, |value| format!("{:.1}%", 100.0 * value)),
        }
    }
}

/// A table that sorts by the column whose name is clicked.
pub(super) fn table(columns: &[String], rows: &[Vec<Cell>]) -> String {
    let mut text = String::from("<div class=\"scroll\"><table class=\"sortable\"><thead><tr>");
    for (place, column) in columns.iter().enumerate() {
        let numeric = rows.first().is_some_and(|row| !matches!(row[place], Cell::Text(_)));
        let class = if numeric { " class=\"n\"" } else { "" };
        write!(text, "<th{class} scope=\"col\"><button>{}</button></th>", escape(column)).expect("writing to a string");
    }
    text.push_str("</tr></thead><tbody>\n");
    for row in rows.iter().take(ROWS_MAX) {
        text.push_str("<tr>");
        row.iter().for_each(|cell| text.push_str(&cell.html()));
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody></table></div>\n");
    if rows.len() > ROWS_MAX {
        writeln!(text, "<p class=\"note\">{} more rows are in the files.</p>", rows.len() - ROWS_MAX)
            .expect("writing to a string");
    }
    text
}

/// The same behind a line that opens it.
pub(super) fn folded(title: &str, content: &str) -> String {
    format!("<details><summary>{}</summary>\n{content}</details>\n", escape(title))
}

/// Texts, tables and pictures, from the top.
#[derive(Default)]
pub(super) struct Body {
    pieces: Vec<Piece>,
}

enum Piece {
    Html(String),
    Figure { name: String, label: String, picture: Picture },
}

impl Body {
    /// Adds HTML.
    pub(super) fn html(&mut self, text: &str) {
        self.pieces.push(Piece::Html(text.to_owned()));
    }

    /// Adds a picture with a short name, which stays the same whatever the results are, and what it shows, for those who cannot
    /// see it.
    pub(super) fn figure(&mut self, name: &str, label: &str, picture: Picture) {
        self.pieces.push(Piece::Figure { name: name.to_owned(), label: label.to_owned(), picture });
    }

    /// All of it as HTML.
    pub(super) fn text(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Html(text) => text.clone(),
            Piece::Figure { label, picture, .. } => {
                let named = format!("<svg role=\"img\" aria-label=\"{}\" ", escape(label));
                format!("<figure>{}</figure>\n", picture.svg().replacen("<svg ", &named, 1))
            }
        };
        self.pieces.iter().map(piece).collect()
    }

    /// The pictures, each with its name.
    pub(super) fn pictures(self) -> impl Iterator<Item = (String, Picture)> {
        self.pieces.into_iter().filter_map(|piece| match piece {
            Piece::Html(_) => None,
            Piece::Figure { name, picture, .. } => Some((name, picture)),
        })
    }
}

/// A figure that is read first: its value, its unit, its name.
pub(super) fn tile(name: &str, value: f64, unit: &str) -> String {
    let (value, unit, name) = (number(value), escape(unit), escape(name));
    format!("<div class=\"tile\"><b>{value} <small>{unit}</small></b><span>{name}</span></div>\n")
}

/// Names of columns.
pub(super) fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
