//! What a large language model *is*: its configuration, and the parameters, work and bytes that follow from it.
//!
//! One model per TOML file under `models/`. This layer must not know any hardware, any parallel plan and any schedule.

mod cache;
pub mod huggingface;
mod parameters;
mod precision;
mod projection;
#[cfg(test)]
pub(crate) mod published;
mod spec;
mod work;

pub use parameters::Parameters;
pub use precision::{Coding, PrecisionSpec};
pub use projection::{Division, Projection};
pub use spec::{AttentionSpec, GqaSpec, MlaSpec, ModelSpec, MoeSpec};
pub use work::{AttentionForm, CountedAttention, CountedWeights, FlopConvention};
