//! How a model is spread over GPUs: the parallel plan, the place of every rank in it, and the memory that it takes.
//!
//! This layer must not know which GPU is which device of a topology, nor when anything is computed or sent.

mod activations;
mod memory;
mod placement;
mod plan;
mod reserve;

pub use activations::RecomputeSpec;
pub use memory::{
    InferenceLoad, MemoryUse, OptimizerSpec, RankLoad, TrainedWeights, TrainingLoad, inference_memory, trained_weights,
    training_memory,
};
pub use placement::Coordinates;
pub use plan::{ExpertPlacement, Plan, PlanSpec};
pub use reserve::{
    MemoryBudgetSpec, Reserve, ReserveSpec, communicator_buffers, domain_buffers, low_latency_buffers, normal_buffers,
};
