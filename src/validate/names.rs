//! From the names of models and serving engines in measurements to what they stand for.

use crate::dtype::Dtype;
use crate::model::ModelSpec;
use crate::scenario::{Loaded, UserError, load};
use crate::sources::Sources;
use crate::units::{Count, Duration};
use crate::workload::{CacheSpec, GatherSpec, MtpSpec};
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
    /// Positions of prompts that a tensor-parallel group computes in a step, at most; where prompts stay whole, its decoding requests are among them.
    pub prompt_tokens: Count,
    /// Where prompts stay whole: how many of the greatest length a step takes beside all decoding requests and 64 positions, at least.
    pub whole_prompts: Option<f64>,
    /// Requests that decode at once, at most; without it, all.
    pub requests: Option<Count>,
    /// How the cache of an engine is laid out that computes prompts beside decoding requests.
    pub cache: Option<CacheSpec>,
    /// Whether decoding requests wait while prompts are computed; else a step takes both.
    pub prompts_first: bool,
    /// Format of cached keys and values.
    pub kv_cache: Dtype,
    /// Steps from one look for new requests to the next, while requests decode and no prompt is computed.
    #[serde(default = "one")]
    pub look_every: Count,
    /// For what new prompts wait while requests decode.
    pub gather: Option<GatherSpec>,
    /// Multi-token prediction, where it is used.
    pub mtp: Option<MtpSpec>,
    /// Time of the host between steps.
    pub step_overhead: Duration,
    /// From the arrival of a request until the scheduler knows of it, and from its first token back to the user.
    pub front_end: Duration,
    /// Where the figures come from.
    #[serde(default)]
    pub source: Sources,
    /// What is otherwise in some runs. All that agree with a run hold, a later one before an earlier one.
    #[serde(default)]
    pub setting: Vec<SettingSpec>,
}

/// What is otherwise in some runs of an engine; what is left out stays as it is.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingSpec {
    /// Of which runs it speaks.
    pub when: WhenSpec,
    /// Positions of prompts in a step.
    pub prompt_tokens: Option<Count>,
    /// Prompts of the greatest length that a step takes, at least.
    pub whole_prompts: Option<f64>,
    /// Requests that decode at once.
    pub requests: Option<Count>,
    /// How the cache is laid out.
    pub cache: Option<CacheSpec>,
    /// Format of cached keys and values.
    pub kv_cache: Option<Dtype>,
    /// Steps from one look for new requests to the next.
    pub look_every: Option<Count>,
    /// For what new prompts wait.
    pub gather: Option<GatherSpec>,
    /// Multi-token prediction.
    pub mtp: Option<MtpSpec>,
    /// Where the figures come from.
    #[serde(default)]
    pub source: Sources,
}

impl EngineSpec {
    /// The engine as it is set up for `run`.
    fn for_run(&self, run: &EngineRun<'_>) -> EngineSpec {
        let mut engine = self.clone();
        for setting in self.setting.iter().filter(|setting| setting.when.agrees(run)) {
            engine.prompt_tokens = setting.prompt_tokens.unwrap_or(engine.prompt_tokens);
            engine.whole_prompts = setting.whole_prompts.or(engine.whole_prompts);
            engine.requests = setting.requests.or(engine.requests);
            engine.cache = setting.cache.or(engine.cache);
            engine.kv_cache = setting.kv_cache.unwrap_or(engine.kv_cache);
            engine.look_every = setting.look_every.unwrap_or(engine.look_every);
            engine.gather = setting.gather.or(engine.gather);
            engine.mtp = setting.mtp.clone().or(engine.mtp);
        }
        engine
    }
}

/// Of which runs of an engine a setting speaks: of those that agree with everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WhenSpec {
    /// Versions of the engine.
    pub versions: Option<Vec<String>>,
    /// Systems, as tables name them.
    pub systems: Option<Vec<String>>,
    /// Formats of experts, as tables name them.
    pub experts: Option<Vec<String>>,
    /// `agg` or `disagg`.
    pub mode: Option<String>,
    /// Whether attention is repeated for several groups of GPUs.
    pub data_parallel: Option<bool>,
    /// GPUs of an engine.
    pub gpus: Option<Vec<Count>>,
    /// Positions of the longest prompt.
    pub isl: Option<Vec<Count>>,
    /// Tokens of the longest answer.
    pub osl: Option<Vec<Count>>,
    /// As many users as this, or more.
    pub users_from: Option<Count>,
    /// Fewer users than this.
    pub users_below: Option<Count>,
    /// Days on which it was measured, as `2026-01-14`.
    pub measured: Option<Vec<String>>,
}

/// A run of an engine, as a table describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct EngineRun<'a> {
    pub(super) engine: &'a str,
    pub(super) version: &'a str,
    pub(super) system: &'a str,
    pub(super) experts: &'a str,
    pub(super) mode: &'a str,
    pub(super) data_parallel: bool,
    /// GPUs of the engine, or of one that decodes.
    pub(super) gpus: u32,
    /// The longest prompt and answer.
    pub(super) lengths: (u32, u32),
    pub(super) users: u32,
    /// The day on which it was measured, as far as that is known.
    pub(super) measured: &'a str,
}

impl WhenSpec {
    fn agrees(&self, run: &EngineRun<'_>) -> bool {
        let among = |names: &Option<Vec<String>>, name| names.as_ref().is_none_or(|names| is_among(names, name));
        let one_of = |counts: &Option<Vec<Count>>, count: u32| {
            counts.as_ref().is_none_or(|counts| counts.iter().any(|known| known.get() == count))
        };
        among(&self.versions, run.version)
            && among(&self.systems, run.system)
            && among(&self.experts, run.experts)
            && self.mode.as_ref().is_none_or(|mode| mode.eq_ignore_ascii_case(run.mode))
            && self.data_parallel.is_none_or(|repeated| repeated == run.data_parallel)
            && one_of(&self.gpus, run.gpus)
            && one_of(&self.isl, run.lengths.0)
            && one_of(&self.osl, run.lengths.1)
            && self.users_from.is_none_or(|users| run.users >= users.get())
            && self.users_below.is_none_or(|users| run.users < users.get())
            && among(&self.measured, run.measured)
    }
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

    /// Names that models have.
    pub(super) fn models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().flat_map(|(names, _)| names).map(String::as_str)
    }

    /// Names that engines have.
    pub(super) fn engines(&self) -> impl Iterator<Item = &str> {
        self.engines.iter().flat_map(|engine| &engine.names).map(String::as_str)
    }

    /// The model that a table calls `name`.
    pub(super) fn model(&self, name: &str) -> Option<&ModelSpec> {
        self.models.iter().find(|(names, _)| is_among(names, name)).map(|(_, model)| model)
    }

    /// What the engine of `run` does in it.
    pub(super) fn engine(&self, run: &EngineRun<'_>) -> Option<EngineSpec> {
        self.engines.iter().find(|engine| is_among(&engine.names, run.engine)).map(|engine| engine.for_run(run))
    }
}

const fn one() -> Count {
    Count::ONE
}

fn is_among(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}
