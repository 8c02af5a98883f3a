//! From the names of systems in measurements to the hardware that they stand for.

use super::Override;
use crate::hardware::{GpuSpec, NodeSpec};
use crate::scenario::{Loaded, UserError, load, tomls_under};
use crate::topology::TopologySpec;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;

/// The file that names systems, from the root.
const SYSTEMS: &str = "validation/systems.toml";

/// What names of systems in tables of measurements stand for.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemsSpec {
    /// The systems.
    pub system: Vec<SystemSpec>,
}

/// One system.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemSpec {
    /// Names under which tables know it, in whatever case.
    pub names: Vec<String>,
    /// File of its node, from the repository's root.
    pub node: String,
    /// File of the fabric that joins several nodes, from the repository's root.
    pub fabric: Option<String>,
}

/// The hardware of one system.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct System {
    /// Its place in the library, which identifies it in memos.
    pub(super) index: usize,
    /// Whether an override changes something of it.
    pub(super) overridden: bool,
    /// Its GPU.
    pub(super) gpu: GpuSpec,
    /// The node around the GPU, where one is described.
    pub(super) node: Option<NodeSpec>,
    /// What joins several nodes, where that is described.
    pub(super) fabric: Option<TopologySpec>,
}

/// The systems that a comparison needs, each loaded once.
#[derive(Debug)]
pub(super) struct Library {
    systems: Vec<System>,
    /// Which system a name (in lower case) stands for; none where nothing is known of it.
    by_name: BTreeMap<String, Option<usize>>,
    /// Names that stand for something.
    known: Vec<String>,
}

impl Library {
    /// Loads what `names` stand for. A name that stands for nothing is no error: its rows are skipped.
    pub(super) fn load<'n>(
        root: &Path,
        names: impl Iterator<Item = &'n str>,
        overrides: &[Override],
    ) -> Result<Library, UserError> {
        let listed: Loaded<SystemsSpec> = load(&root.join(SYSTEMS), &[])?;
        let mut library = Library { systems: Vec::new(), by_name: BTreeMap::new(), known: known(root, &listed.value)? };
        for name in names {
            let name = name.to_lowercase();
            if library.by_name.contains_key(&name) {
                continue;
            }
            let is_named = |system: &&SystemSpec| system.names.iter().any(|known| known.to_lowercase() == name);
            let found = match listed.value.system.iter().find(is_named) {
                Some(spec) => Some(library.listed(root, spec, overrides)?),
                None => library.unlisted(root, &name, overrides)?,
            };
            library.by_name.insert(name, found);
        }
        Ok(library)
    }

    /// Names that stand for something, in lower case.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(String::as_str)
    }

    /// The system that `name` stands for.
    pub(super) fn get(&self, name: &str) -> Option<&System> {
        let index = self.by_name.get(&name.to_lowercase()).copied().flatten()?;
        Some(&self.systems[index])
    }

    fn listed(&mut self, root: &Path, spec: &SystemSpec, overrides: &[Override]) -> Result<usize, UserError> {
        let (node, overridden) = node(root, &root.join(&spec.node), overrides)?;
        let fabric = match &spec.fabric {
            Some(file) => Some(load::<TopologySpec>(&root.join(file), &[])?.value),
            None => None,
        };
        Ok(self.add(node.gpu.clone(), overridden, Some(node), fabric))
    }

    /// A system that is named like a file of the library.
    fn unlisted(&mut self, root: &Path, name: &str, overrides: &[Override]) -> Result<Option<usize>, UserError> {
        let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let file = |folder: &str| root.join("hardware").join(folder).join(format!("{name}.toml"));
        if is_word && file("nodes").is_file() {
            let (node, overridden) = node(root, &file("nodes"), overrides)?;
            return Ok(Some(self.add(node.gpu.clone(), overridden, Some(node), None)));
        }
        if is_word && file("gpus").is_file() {
            let (gpu, overridden) = load_overridden::<GpuSpec>(root, &file("gpus"), overrides)?;
            return Ok(Some(self.add(gpu.value, overridden, None, None)));
        }
        Ok(None)
    }

    fn add(&mut self, gpu: GpuSpec, overridden: bool, node: Option<NodeSpec>, fabric: Option<TopologySpec>) -> usize {
        let index = self.systems.len();
        self.systems.push(System { index, overridden, gpu, node, fabric });
        index
    }
}

/// The names that are listed, and those of the files of nodes and GPUs.
fn known(root: &Path, listed: &SystemsSpec) -> Result<Vec<String>, UserError> {
    let mut known: Vec<String> = listed.system.iter().flat_map(|system| &system.names).cloned().collect();
    for folder in ["nodes", "gpus"] {
        let files = tomls_under(&root.join("hardware").join(folder))?;
        known.extend(files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())));
    }
    known.iter_mut().for_each(|name| *name = name.to_lowercase());
    known.sort_unstable();
    known.dedup();
    Ok(known)
}

fn node(root: &Path, path: &Path, overrides: &[Override]) -> Result<(NodeSpec, bool), UserError> {
    let (loaded, overridden) = load_overridden::<NodeSpec>(root, path, overrides)?;
    loaded.value.check().map_err(|invalid| loaded.error(&invalid))?;
    Ok((loaded.value, overridden))
}

/// The places of a node's file at which other files are extended.
const EXTENDED_AT: &[&str] = &["", "gpu.", "communication.", "nics.nic.", "cpu."];

/// Loads a file with those overrides of which it takes the value from the file that they name, and says whether there are any.
fn load_overridden<T: DeserializeOwned>(
    root: &Path,
    path: &Path,
    overrides: &[Override],
) -> Result<(Loaded<T>, bool), UserError> {
    let loaded: Loaded<T> = load(path, &[])?;
    if overrides.is_empty() {
        return Ok((loaded, false));
    }
    let leaves = loaded.leaves();
    let mut sets = Vec::new();
    for change in overrides {
        let file = root.join(&change.file).display().to_string();
        for start in EXTENDED_AT {
            let place = format!("{start}{}", change.key);
            let comes_from = |origin: &str| origin.rsplit_once(':').is_some_and(|(from, _)| same_file(from, &file));
            if leaves.iter().any(|(path, _, origin)| *path == place && comes_from(origin)) {
                sets.push(format!("{place} = {}", change.value));
            }
        }
    }
    if sets.is_empty() { Ok((loaded, false)) } else { Ok((load(path, &sets)?, true)) }
}

/// Whether two spellings lead to the same file.
fn same_file(a: &str, b: &str) -> bool {
    let is_step = |part: &std::path::Component<'_>| *part != std::path::Component::CurDir;
    let parts = |path: &str| Path::new(path).components().filter(is_step).collect::<std::path::PathBuf>();
    parts(a) == parts(b)
}
