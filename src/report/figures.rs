//! Published figures beside simulated ones: as a table for people and as JSON for programs.

use super::table::{Align, Table, number};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// What is claimed of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It follows from stated assumptions, within the printed precision.
    Reproduced,
    /// It follows under a convention or input that the source does not state and that was inferred.
    Inferred,
    /// It does not follow; the note says why.
    Open,
}

impl Status {
    /// The name in reports and files.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Reproduced => "reproduced",
            Status::Inferred => "inferred",
            Status::Open => "open",
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// A run of a scenario.
    Simulation,
    /// Counting: parameters of a model, devices of a topology, prices.
    Arithmetic,
}

/// One published figure and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct FigureRow {
    /// Stable name.
    pub id: String,
    /// Where it is printed.
    pub source: String,
    /// What it is.
    pub quantity: String,
    /// What the number that ends its name counts, where figures are points of a curve: "GPUs".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub along: String,
    /// Its unit.
    pub unit: String,
    /// The printed value.
    pub printed: f64,
    /// The value of this program.
    pub simulated: f64,
    /// `simulated / printed - 1`.
    pub deviation: f64,
    /// Largest deviation that is taken for agreement.
    pub tolerance: f64,
    /// What is claimed.
    pub status: Status,
    /// Where the value comes from.
    pub how: How,
    /// What a reader must know.
    pub note: String,
}

impl FigureRow {
    /// Whether the value agrees with the printed one.
    pub fn agrees(&self) -> bool {
        self.deviation.abs() <= self.tolerance
    }

    /// Whether the claim is true: agreement where it is claimed, and none where the figure is said to be open.
    pub fn holds(&self) -> bool {
        self.agrees() != (self.status == Status::Open)
    }
}

/// What one assumption of a scenario is worth.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct AssumptionRow {
    /// The family of scenarios that it belongs to.
    pub group: String,
    /// The assumption that is removed.
    pub without: String,
    /// Time per output token, in milliseconds.
    pub tpot_ms: f64,
    /// Output tokens per second of a user.
    pub tokens_per_s: f64,
    /// TPOT over the TPOT with all assumptions.
    pub against_ideal: f64,
}

/// What hardware that a publication asks for would bring.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct WishRow {
    /// Stable name.
    pub id: String,
    /// Where it is asked for.
    pub source: String,
    /// What is asked for.
    pub wish: String,
    /// What would change.
    pub quantity: String,
    /// Its unit.
    pub unit: String,
    /// Its value on today's hardware.
    pub today: f64,
    /// Its value once the wish is granted.
    pub granted: f64,
    /// `granted / today - 1`.
    pub change: f64,
    /// What a reader must know.
    pub note: String,
}

/// All figures, assumptions and wishes as JSON.
pub fn figures_json(figures: &[FigureRow], assumptions: &[AssumptionRow], wishes: &[WishRow]) -> Value {
    json!({ "schema": super::json::SCHEMA, "figures": figures, "assumptions": assumptions, "wishes": wishes })
}

/// All figures, assumptions and wishes for people.
pub fn figures_text(figures: &[FigureRow], assumptions: &[AssumptionRow], wishes: &[WishRow]) -> String {
    let mut text = String::new();
    let mut sources: Vec<&str> = figures.iter().map(|figure| figure.source.as_str()).collect();
    sources.dedup();
    for source in sources {
        let rows: Vec<&FigureRow> = figures.iter().filter(|figure| figure.source == source).collect();
        writeln!(text, "{source}\n{}", section(&rows)).expect("writing to a string");
    }
    if !assumptions.is_empty() {
        writeln!(text, "What each assumption of section 2.3.2 is worth\n{}", assumption_table(assumptions))
            .expect("writing to a string");
    }
    if !wishes.is_empty() {
        writeln!(text, "What the hardware that is asked for would bring\n{}", wish_table(wishes))
            .expect("writing to a string");
    }
    if figures.is_empty() { text } else { text + &summary(figures) }
}

/// How many figures stand where, in one line.
pub fn summary(figures: &[FigureRow]) -> String {
    let count = |status: Status| figures.iter().filter(|figure| figure.status == status).count();
    let broken: Vec<&str> = figures.iter().filter(|figure| !figure.holds()).map(|figure| figure.id.as_str()).collect();
    let mut line = format!(
        "{} figures: {} reproduced, {} inferred, {} open",
        figures.len(),
        count(Status::Reproduced),
        count(Status::Inferred),
        count(Status::Open)
    );
    if broken.is_empty() {
        line.push_str("; every status holds\n");
    } else {
        writeln!(line, "; status no longer holds: {}", broken.join(", ")).expect("writing to a string");
    }
    line
}

fn section(rows: &[&FigureRow]) -> String {
    let mut table = Table::new(&[
        ("figure", Align::Left),
        ("quantity", Align::Left),
        ("printed", Align::Right),
        ("simulated", Align::Right),
        ("unit", Align::Left),
        ("deviation", Align::Right),
        ("status", Align::Left),
    ]);
    for row in rows {
        let verdict =
            if row.holds() { row.status.name().to_owned() } else { format!("{} - NOT TRUE", row.status.name()) };
        table.row(vec![
            row.id.clone(),
            row.quantity.clone(),
            number(row.printed),
            number(row.simulated),
            row.unit.clone(),
            format!("{:+.2}%", 100.0 * row.deviation + 0.0),
            verdict,
        ]);
    }
    let mut text = table.headed();
    // Figures that share a note share its line.
    let mut notes: Vec<&str> = rows.iter().map(|row| row.note.as_str()).filter(|note| !note.is_empty()).collect();
    notes.sort_by_key(|note| rows.iter().position(|row| row.note == *note));
    notes.dedup();
    for note in notes {
        let ids: Vec<&str> = rows.iter().filter(|row| row.note == note).map(|row| row.id.as_str()).collect();
        writeln!(text, "  {}:\n      {note}", ids.join(", ")).expect("writing to a string");
    }
    text
}

fn assumption_table(rows: &[AssumptionRow]) -> String {
    let mut table = Table::new(&[
        ("scenario", Align::Left),
        ("without the assumption", Align::Left),
        ("TPOT", Align::Right),
        ("per user", Align::Right),
        ("TPOT against ideal", Align::Right),
    ]);
    for row in rows {
        table.row(vec![
            row.group.clone(),
            row.without.clone(),
            format!("{:.3} ms", row.tpot_ms),
            format!("{:.1} tokens/s", row.tokens_per_s),
            format!("x {:.3}", row.against_ideal),
        ]);
    }
    table.headed()
}

fn wish_table(rows: &[WishRow]) -> String {
    let mut table = Table::new(&[
        ("asked for", Align::Left),
        ("quantity", Align::Left),
        ("today", Align::Right),
        ("with it", Align::Right),
        ("unit", Align::Left),
        ("change", Align::Right),
    ]);
    for row in rows {
        table.row(vec![
            row.wish.clone(),
            row.quantity.clone(),
            number(row.today),
            number(row.granted),
            row.unit.clone(),
            format!("{:+.1}%", 100.0 * row.change + 0.0),
        ]);
    }
    let mut text = table.headed();
    for row in rows.iter().filter(|row| !row.note.is_empty()) {
        writeln!(text, "  {} ({}):\n      {}", row.id, row.source, row.note).expect("writing to a string");
    }
    text
}
