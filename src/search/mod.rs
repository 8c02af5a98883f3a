//! The best deployment among many: a goal names a base scenario, choices, what must be met and what is wanted most.
//!
//! What cannot be the answer is not simulated: points that make no sense, do not fit, cost more than allowed, miss a target even by a
//! figure that the simulation cannot beat, or are beaten by another point even so. The answer is the one of trying everything. This
//! module must not know what a scenario simulates, nor how bounds come about.

mod aim;
mod explore;
mod spec;
mod text;

pub use explore::{Failure, Fate, Found, Manner, Seen, makes_sense, search};
pub use spec::{GoalSpec, ObjectiveSpec, TargetSpec};
pub use text::{found_text, front_chart, objective_name, shown_metrics, target_texts};
