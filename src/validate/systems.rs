//! From the names of systems in measurements to the hardware that they stand for.

use crate::hardware::{GpuSpec, NodeSpec};
use crate::scenario::{Loaded, UserError, load};
use crate::topology::TopologySpec;
use schemars::JsonSchema;
use serde::Deserialize;
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
}

impl Library {
    /// Loads what `names` stand for. A name that stands for nothing is no error: its rows are skipped.
    pub(super) fn load<'n>(root: &Path, names: impl Iterator<Item = &'n str>) -> Result<Library, UserError> {
        let listed: Loaded<SystemsSpec> = load(&root.join(SYSTEMS), &[])?;
        let mut library = Library { systems: Vec::new(), by_name: BTreeMap::new() };
        for name in names {
            let name = name.to_lowercase();
            if library.by_name.contains_key(&name) {
                continue;
            }
            let is_named = |system: &&SystemSpec| system.names.iter().any(|known| known.to_lowercase() == name);
            let found = match listed.value.system.iter().find(is_named) {
                Some(spec) => Some(library.listed(root, spec)?),
                None => library.unlisted(root, &name)?,
            };
            library.by_name.insert(name, found);
        }
        Ok(library)
    }

    /// The system that `name` stands for.
    pub(super) fn get(&self, name: &str) -> Option<&System> {
        let index = self.by_name.get(&name.to_lowercase()).copied().flatten()?;
        Some(&self.systems[index])
    }

    fn listed(&mut self, root: &Path, spec: &SystemSpec) -> Result<usize, UserError> {
        let node = node(&root.join(&spec.node))?;
        let fabric = match &spec.fabric {
            Some(file) => Some(load::<TopologySpec>(&root.join(file), &[])?.value),
            None => None,
        };
        Ok(self.add(node.gpu.clone(), Some(node), fabric))
    }

    /// A system that is named like a file of the library.
    fn unlisted(&mut self, root: &Path, name: &str) -> Result<Option<usize>, UserError> {
        let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let file = |folder: &str| root.join("hardware").join(folder).join(format!("{name}.toml"));
        if is_word && file("nodes").is_file() {
            let node = node(&file("nodes"))?;
            return Ok(Some(self.add(node.gpu.clone(), Some(node), None)));
        }
        if is_word && file("gpus").is_file() {
            let gpu: Loaded<GpuSpec> = load(&file("gpus"), &[])?;
            return Ok(Some(self.add(gpu.value, None, None)));
        }
        Ok(None)
    }

    fn add(&mut self, gpu: GpuSpec, node: Option<NodeSpec>, fabric: Option<TopologySpec>) -> usize {
        let index = self.systems.len();
        self.systems.push(System { index, gpu, node, fabric });
        index
    }
}

fn node(path: &Path) -> Result<NodeSpec, UserError> {
    let loaded: Loaded<NodeSpec> = load(path, &[])?;
    loaded.value.check().map_err(|invalid| loaded.error(&invalid))?;
    Ok(loaded.value)
}
