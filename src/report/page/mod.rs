//! Results of several commands as one page for a browser: self-contained, the answer first, then plots and sortable tables.
//!
//! It reads what `run`, `sweep`, `search`, `reproduce` and `validate` keep, and must not know how to work anything out again.

mod figures;
mod html;
mod measured;
mod read;
mod run;
mod search;
mod sweep;
mod validation;

pub use read::{Kept, kept_json};
pub use sweep::{CsvRow, SweepTable};

use crate::report::sheet::Picture;
use html::{Body, escape, id};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

const STYLE: &str = include_str!("page.css");
/// Characters of each half of a picture's name.
const NAME_MAX: usize = 48;
const SCRIPT: &str = include_str!("page.js");

/// What one result contributes.
struct Section {
    /// Its heading.
    title: String,
    /// Which command it comes from, and from which file.
    origin: String,
    /// The answer, as HTML.
    answer: String,
    /// Plots and tables.
    body: Body,
}

/// The page that shows `results`, each with the path that it was read from, in their order.
pub fn page(results: &[(String, Kept)]) -> String {
    let sections: Vec<Section> = results.iter().map(|(path, kept)| section(path, kept)).collect();
    let title = match sections.as_slice() {
        [only] => only.title.clone(),
        several => format!("{} results", several.len()),
    };
    let mut text = String::new();
    let mut put = |piece: &str| text.push_str(piece);
    put("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    put("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // The page is whole by itself; nothing may be fetched, whatever it shows.
    put("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; ");
    put("script-src 'unsafe-inline'\">\n");
    put(&format!("<title>{} - Octoplane</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n", escape(&title)));
    put(&format!("<header><p class=\"brand\">Octoplane {}</p></header>\n<main>\n", env!("CARGO_PKG_VERSION")));
    put("<div class=\"answers\">\n");
    for (number, section) in sections.iter().enumerate() {
        put(&answer(number, section));
    }
    put("</div>\n");
    put(&run::side_by_side(results));
    for (number, section) in sections.iter().enumerate() {
        put(&format!("<section id=\"{}\">\n<h2>{}</h2>\n", id(number), escape(&section.title)));
        put(&format!("<p class=\"origin\">{}</p>\n{}</section>\n", escape(&section.origin), section.body.text()));
    }
    put(&format!("</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"));
    text
}

/// The plots of that page, each with a name for a file: the title of its result, and which of its plots it is. Results of one title
/// are told apart by their folders.
pub fn pictures(results: &[(String, Kept)]) -> Vec<(String, Picture)> {
    let sections: Vec<Section> = results.iter().map(|(path, kept)| section(path, kept)).collect();
    let titles: Vec<String> = sections.iter().map(|section| file_name(&section.title)).collect();
    let mut named: Vec<(String, Picture)> = Vec::new();
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    for (place, section) in sections.into_iter().enumerate() {
        let title = &titles[place];
        let alone = titles.iter().filter(|other| *other == title).count() == 1;
        let folder = Path::new(&results[place].0).parent().and_then(Path::file_name).unwrap_or_default();
        let folder = if alone { String::new() } else { format!("-{}", file_name(&folder.to_string_lossy())) };
        for (figure, picture) in section.body.pictures() {
            let name = format!("{title}{folder}-{}", file_name(&figure));
            let count = taken.entry(name.clone()).or_insert(0);
            *count += 1;
            named.push((if *count == 1 { name } else { format!("{name}-{count}") }, picture));
        }
    }
    named
}

/// Words as a part of the name of a file.
fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { ' ' };
    let words: String = text.chars().map(plain).collect();
    let mut name = String::new();
    for word in words.split_whitespace() {
        if name.len() + word.len() > NAME_MAX {
            break;
        }
        name = if name.is_empty() { word.to_owned() } else { format!("{name}_{word}") };
    }
    name
}

fn answer(number: usize, section: &Section) -> String {
    let mut text = String::new();
    let title = escape(&section.title);
    writeln!(text, "<article><h3><a href=\"#{}\">{title}</a></h3>\n{}</article>", id(number), section.answer)
        .expect("writing to a string");
    text
}

fn section(path: &str, kept: &Kept) -> Section {
    match kept {
        Kept::Run(run, inside) => run::section(path, run, inside.as_ref()),
        Kept::Sweep(sweep) => sweep::section(path, sweep),
        Kept::Search(search) => search::section(path, search),
        Kept::Figures(figures) => figures::section(path, figures),
        Kept::Validation(validation) => validation::section(path, validation),
    }
}
