//! Writes what people and other programs read: text, JSON, pictures and traces.
//!
//! The only layer that writes files. It reads outcomes and must not know how they came about.

pub mod chart;
mod facts;
pub mod figures;
pub mod files;
pub mod folder;
pub mod frame;
pub mod inside;
pub mod json;
mod kernels_text;
pub mod overlap;
mod overlap_picture;
pub mod page;
pub mod perfetto;
pub mod plot;
mod raster;
pub mod run_text;
mod scale;
mod serving_text;
pub mod sheet;
pub mod table;
mod topology_fold;
pub mod topology_picture;
pub mod topology_text;
mod training_text;
pub mod validation;
pub mod verdict;
