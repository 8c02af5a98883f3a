//! Tables for terminals and for files. The only module that knows `comfy-table`.

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table as ComfyTable, TableStyle};

/// A line under the column names, and nothing else.
const HEADED: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// The unit in which a time of so many microseconds is read, and that unit over a microsecond.
pub(super) fn time_unit(us: f64) -> (&'static str, f64) {
    if us >= 2e6 {
        ("s", 1e-6)
    } else if us >= 2e3 {
        ("ms", 1e-3)
    } else {
        ("us", 1.0)
    }
}

/// A time of so many microseconds in the unit in which the longest one beside it is read.
pub(super) fn duration_beside(us: f64, longest: f64) -> String {
    let (unit, per_us) = time_unit(longest);
    match us * per_us {
        small if small > 0.0 && small < 1e-4 => format!("< 0.0001 {unit}"),
        value => format!("{} {unit}", number(value)),
    }
}

/// On which side a column's text starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table under construction.
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with the given column names.
    pub fn new(columns: &[(&str, Align)]) -> Table {
        let columns = columns.iter().map(|&(name, align)| (name.to_owned(), align)).collect();
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.columns.len(), "a row has a cell for every column: {cells:?}");
        self.rows.push(cells);
    }

    /// Aligned columns without lines or names, indented.
    pub fn plain(&self) -> String {
        let mut table = self.build(false);
        table.load_style(TableStyle::new());
        trimmed(&table.to_string())
    }

    /// Columns under their names, with a line between them and the rows.
    pub fn headed(&self) -> String {
        let mut table = self.build(true);
        table.load_style(HEADED);
        trimmed(&table.to_string()) + "\n"
    }

    fn build(&self, named: bool) -> ComfyTable {
        let mut table = ComfyTable::new();
        table.set_content_arrangement(ContentArrangement::Disabled);
        if named {
            table.set_header(self.columns.iter().map(|(name, _)| Cell::new(name)));
        }
        table.add_rows(self.rows.iter().cloned());
        for ((_, align), column) in self.columns.iter().zip(table.column_iter_mut()) {
            column.set_cell_alignment(match align {
                Align::Left => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
            });
        }
        table
    }
}

/// Without the blanks that pad the last column.
fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Five significant digits, or all of a whole number.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 10_000.0 || v == v.trunc() => 0,
        v if v >= 1000.0 => 1,
        v if v >= 100.0 => 2,
        v if v >= 10.0 => 3,
        _ => 4,
    };
    format!("{value:.digits$}")
}
