//! Published figures beside simulated ones: as a table for people and as JSON for programs.

use super::table::{Align, Table, number};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// What is claimed of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It follows from inputs that are printed beside it, within the printed precision: counts, sums, closed forms.
    Arithmetic,
    /// A constant was fitted to it, or an input inferred from it; it is met within the printed precision or the stated tolerance.
    Calibrated,
    /// Nothing was fitted to it, and it is met within the printed precision; or, where inputs are not stated, it lies in the band of values
    /// over their settings.
    Predicted,
    /// It is not met within the printed precision; the tolerance says how far off it is at most, and the note why.
    Open,
}

impl Status {
    /// All there are.
    pub const ALL: [Status; 4] = [Status::Arithmetic, Status::Calibrated, Status::Predicted, Status::Open];

    /// The name in reports and files.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Arithmetic => "arithmetic",
            Status::Calibrated => "calibrated",
            Status::Predicted => "predicted",
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
    /// How far from the truth the printed value may be, in `unit`: half a unit of its last digit, or what the source says of it.
    pub precision: f64,
    /// `simulated / printed - 1`.
    pub deviation: f64,
    /// Largest deviation that is claimed, of figures that were fitted or are open.
    pub tolerance: Option<f64>,
    /// The least and the greatest value over seeds, and over settings of inputs that the source does not state.
    pub band: Option<[f64; 2]>,
    /// The value under each of those settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<SettingRow>,
    /// What is claimed.
    pub status: Status,
    /// Where the value comes from.
    pub how: How,
    /// What a reader must know.
    pub note: String,
}

/// A figure under one setting of inputs that the source does not state.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct SettingRow {
    /// The setting.
    pub setting: String,
    /// The value under it.
    pub value: f64,
}

/// Doubles that differ by less than this part are the same figure.
const ROUNDING: f64 = 1e-9;

impl FigureRow {
    /// Whether the value is the printed one, as far as that is printed.
    pub fn agrees(&self) -> bool {
        (self.simulated - self.printed).abs() <= self.precision + ROUNDING * self.printed.abs()
    }

    /// Whether the printed value lies in the band, as far as it is printed.
    pub fn in_band(&self) -> bool {
        let slack = self.precision + ROUNDING * self.printed.abs();
        self.band.is_some_and(|[least, greatest]| least - slack <= self.printed && self.printed <= greatest + slack)
    }

    /// Whether the claim is true. An open figure that is met is as wrong as a predicted one that is not.
    pub fn holds(&self) -> bool {
        let within_tolerance = self.tolerance.is_some_and(|tolerance| self.deviation.abs() <= tolerance);
        match self.status {
            Status::Arithmetic => self.agrees(),
            Status::Calibrated => self.agrees() || within_tolerance,
            Status::Predicted => self.agrees() || self.in_band(),
            Status::Open => within_tolerance && !self.agrees() && !self.in_band(),
        }
    }

    /// The tolerance that the claim is held to: "0.005" in the figure's unit, "5%" of it.
    pub fn tolerance_text(&self) -> String {
        match self.tolerance {
            Some(tolerance) if self.status == Status::Open || !self.agrees() => {
                format!("{}%", number(100.0 * tolerance))
            }
            _ => number(self.precision),
        }
    }

    /// The band, for people; empty where there is none.
    pub(super) fn band_text(&self) -> String {
        self.band.map_or(String::new(), |[least, greatest]| format!("{} to {}", number(least), number(greatest)))
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
    /// Both sides under each setting that software may choose, where there are several; the best of each side is compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sides: Vec<WishSide>,
    /// What a reader must know.
    pub note: String,
}

/// Both sides of a wish under one setting.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct WishSide {
    /// The setting.
    pub setting: String,
    /// The value on today's hardware.
    pub today: f64,
    /// The value once the wish is granted.
    pub granted: f64,
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
    let counts: Vec<String> =
        Status::ALL.iter().map(|&status| format!("{} {}", count(status), status.name())).collect();
    let banded = figures.iter().filter(|figure| figure.status == Status::Predicted && figure.band.is_some()).count();
    let mut line = format!("{} figures: {}", figures.len(), counts.join(", "));
    if banded > 0 {
        write!(line, "; {banded} of the predicted ones as a band over what is not stated")
            .expect("writing to a string");
    }
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
        ("within", Align::Right),
        ("status", Align::Left),
        ("band", Align::Left),
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
            row.tolerance_text(),
            verdict,
            row.band_text(),
        ]);
    }
    let mut text = table.headed();
    for row in rows.iter().filter(|row| !row.settings.is_empty()) {
        let settings: Vec<String> =
            row.settings.iter().map(|setting| format!("{}: {}", setting.setting, number(setting.value))).collect();
        writeln!(text, "  {}, as it stands {}; {}", row.id, number(row.simulated), settings.join("; "))
            .expect("writing to a string");
    }
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
    for row in rows.iter().filter(|row| !row.sides.is_empty()) {
        let side = |side: &WishSide| {
            format!("{}: {} today, {} with it", side.setting, number(side.today), number(side.granted))
        };
        let sides: Vec<String> = row.sides.iter().map(side).collect();
        writeln!(text, "  {} [{}]: {}; the best of each is compared", row.id, row.unit, sides.join("; "))
            .expect("writing to a string");
    }
    for row in rows.iter().filter(|row| !row.note.is_empty()) {
        writeln!(text, "  {} ({}):\n      {}", row.id, row.source, row.note).expect("writing to a string");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: Status, simulated: f64) -> FigureRow {
        FigureRow {
            id: String::new(),
            source: String::new(),
            quantity: String::new(),
            along: String::new(),
            unit: String::new(),
            printed: 41.6,
            simulated,
            precision: 0.05,
            deviation: simulated / 41.6 - 1.0,
            tolerance: Some(0.1),
            band: None,
            settings: Vec::new(),
            status,
            how: How::Simulation,
            note: String::new(),
        }
    }

    #[test]
    fn a_claim_is_held_to_what_is_printed() {
        let holds = |status, simulated| row(status, simulated).holds();
        for status in [Status::Arithmetic, Status::Predicted] {
            assert!(holds(status, 41.65) && !holds(status, 41.66), "{status:?} is held to the printed digits");
        }
        assert!(holds(Status::Calibrated, 45.0) && !holds(Status::Calibrated, 46.0));
        assert!(holds(Status::Open, 45.0) && !holds(Status::Open, 46.0) && !holds(Status::Open, 41.6));
        let banded = |status, band| FigureRow { band: Some(band), ..row(status, 45.0) };
        assert!(banded(Status::Predicted, [40.0, 45.0]).holds() && !banded(Status::Predicted, [42.0, 45.0]).holds());
        assert!(!banded(Status::Open, [40.0, 45.0]).holds() && banded(Status::Open, [42.0, 45.0]).holds());
        assert!(
            !FigureRow { tolerance: None, ..row(Status::Open, 45.0) }.holds(),
            "an open figure says how far off it is"
        );
    }
}
