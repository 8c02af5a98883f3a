//! What a large language model *is*: its configuration, and the parameters, work and bytes that follow from it.
//!
//! One model per TOML file under `models/`. This layer must not know any hardware, any parallel plan and any schedule.

mod spec;

pub use spec::{AttentionSpec, GqaSpec, MlaSpec, ModelSpec, MoeSpec};
