//! A training step.

mod schedule;

pub use schedule::{Action, Part, Schedule, ScheduleSpec, Unit, stages};
