//! Reads what users write: TOML files that extend each other, overlays from the command line, and the mistakes in both.
//!
//! The only layer that reads files. Everything below it works on checked values and must not know where they came from.

mod choice;
mod complete;
mod deserialize;
mod error;
mod explained;
mod library;
mod literal;
mod load;
mod memory;
mod merge;
mod resolved;
mod schema;
mod sets;
mod spec;
mod table;
#[cfg(test)]
mod tests;
mod texts;
mod tree;

pub use choice::{choice, choice_name};
pub use error::{Mistake, UserError};
pub use library::Library;
pub use literal::Literal;
pub use load::{Loaded, load, load_with};
pub use memory::{memory_room, simulation_room};
pub use schema::schema_for;
pub use sets::Overlay;
pub use spec::{CollectiveSpec, KernelChoice, NetworkChoice, Scenario, SymmetryChoice, WorkloadSpec};
pub use table::{Row, load_table, tables};
pub use texts::{declared_kind, folders_in, read_bytes, read_text, tomls_under};
