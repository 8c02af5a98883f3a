//! A training step, in two levels.
//!
//! First a chunk: a pipeline stage forward, backward, or both overlapped, down to kernels and transfers. Then the step: the
//! pipeline schedule over the times that chunks were found to take, and the update of the weights. Neither level knows how
//! long anything takes.

mod chunk;
mod kernels;
mod schedule;
mod spec;
mod stage;
mod step;
mod uneven;
mod update;
mod wire;

pub use chunk::{Chunk, ChunkWork, ChunkWorkload};
pub use schedule::{Action, Part, Schedule, ScheduleSpec, Unit, stages};
pub use spec::{BesideExchanges, CastChoice, LossChoice, PipelineSpec, TrainingSpec};
pub use stage::StageShape;
pub use step::{Step, StepWorkload};
pub use uneven::{Loads, Uneven};
pub use update::{Ring, Update, UpdateSoftware};
pub use wire::{TrainingTraffic, training_traffic};
