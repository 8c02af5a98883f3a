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

use html::{escape, id};
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What one result contributes.
struct Section {
    /// Its heading.
    title: String,
    /// Which command it comes from, and from which file.
    origin: String,
    /// The answer, as HTML.
    answer: String,
    /// Plots and tables, as HTML.
    body: String,
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
        put(&format!("<p class=\"origin\">{}</p>\n{}</section>\n", escape(&section.origin), section.body));
    }
    put(&format!("</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"));
    text
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
