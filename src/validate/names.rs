//! From the names of models and serving engines in measurements to what they stand for.

use crate::dtype::Dtype;
use crate::model::ModelSpec;
use crate::scenario::{Loaded, UserError, load};
use crate::sources::Sources;
use crate::units::{Count, Duration};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::Path;

/// The file that names models, from the root.
const MODELS: &str = "validation/models.toml";
/// The file that names serving engines, from the root.
const ENGINES: &str = "validation/engines.toml";

/// What names of models in tables of measurements stand for.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelsSpec {
    /// The models.
    pub model: Vec<NamedModelSpec>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedModelSpec {
    /// Names under which tables know it, in whatever case.
    pub names: Vec<String>,
    /// Its file, from the repository's root.
    pub file: String,
}

/// Serving engines of tables of measurements.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnginesSpec {
    /// The engines.
    pub engine: Vec<EngineSpec>,
}

/// What a serving engine does beside kernels and transfers.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EngineSpec {
    /// Names under which tables know it, in whatever case.
    pub names: Vec<String>,
    /// Positions of prompts that a tensor-parallel group computes in a step, at most.
    pub prompt_tokens: Count,
    /// Whether decoding requests wait while prompts are computed; else a step takes both.
    pub prompts_first: bool,
    /// Format of cached keys and values.
    pub kv_cache: Dtype,
    /// Time of the host between steps.
    pub step_overhead: Duration,
    /// From the arrival of a request until the scheduler knows of it, and from its first token back to the user.
    pub front_end: Duration,
    /// Where the figures come from.
    #[serde(default)]
    pub source: Sources,
}

/// Models and engines by name.
#[derive(Debug)]
pub(super) struct Names {
    models: Vec<(Vec<String>, ModelSpec)>,
    engines: Vec<EngineSpec>,
}

impl Names {
    /// Loads every model and engine that has a name.
    pub(super) fn load(root: &Path) -> Result<Names, UserError> {
        let listed: Loaded<ModelsSpec> = load(&root.join(MODELS), &[])?;
        let engines: Loaded<EnginesSpec> = load(&root.join(ENGINES), &[])?;
        let mut models = Vec::with_capacity(listed.value.model.len());
        for NamedModelSpec { names, file } in listed.value.model {
            let model: Loaded<ModelSpec> = load(&root.join(file), &[])?;
            models.push((names, model.value));
        }
        Ok(Names { models, engines: engines.value.engine })
    }

    /// The model that a table calls `name`.
    pub(super) fn model(&self, name: &str) -> Option<&ModelSpec> {
        self.models.iter().find(|(names, _)| is_among(names, name)).map(|(_, model)| model)
    }

    /// The engine that a table calls `name`.
    pub(super) fn engine(&self, name: &str) -> Option<&EngineSpec> {
        self.engines.iter().find(|engine| is_among(&engine.names, name))
    }
}

fn is_among(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}
