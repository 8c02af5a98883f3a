//! Many experiments at once: a study names a base scenario and the axes along which it varies.
//!
//! A study becomes a list of points, every point a scenario of its own, simulated beside the others in any order and reported in
//! one. What finished is in a log that outlives the process. This module must not know what a scenario simulates.

mod checked;
mod condition;
mod frame;
mod plan;
mod point;
mod record;
mod spec;

pub use checked::{metric_known, values_known};
pub use frame::{record_frame, sweep_text};
pub use plan::{Place, Plan, Point, plan};
pub(crate) use point::record_of;
pub use point::{Ledger, Progress, Unfinished, run};
pub use record::{Answer, Kept, Record, read_log};
pub use spec::{AxisSpec, RangeSpec, StudySpec};
