//! Where the figures of a description come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The origin of each figure of one file: a datasheet, a section of a paper, or `calibrated: <file of measurements>`.
///
/// Keys are dotted paths such as `"memory.bandwidth"`; a key covers its value and everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sources(BTreeMap<String, String>);

impl Sources {
    /// The origin of the value at the dotted `path`, from the most specific entry that covers it.
    pub fn of(&self, path: &str) -> Option<&str> {
        let mut covered = path;
        loop {
            if let Some(source) = self.0.get(covered) {
                return Some(source);
            }
            covered = &covered[..covered.rfind('.')?];
        }
    }

    /// Every entry: the dotted path and its origin.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, source)| (path.as_str(), source.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_entry_speaks() {
        let entry = |path: &str| (path.to_owned(), format!("source of {path}"));
        let sources = Sources(BTreeMap::from([entry("tensor"), entry("tensor.fp8")]));
        assert_eq!(sources.of("tensor.fp8"), Some("source of tensor.fp8"));
        assert_eq!(sources.of("tensor.bf16"), Some("source of tensor"));
        assert_eq!(sources.of("memory.bandwidth"), None);
    }
}
