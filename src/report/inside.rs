//! What pictures of a run need beside its figures, kept as JSON: it is small, however long the run was and however large the fabric.

use super::overlap::Overlap;
use super::topology_fold::Loads;
use super::topology_picture::FabricPicture;
use crate::metrics::{Folding, Metrics, Outcome, link_loads};
use crate::topology::DeviceKind;
use serde::{Deserialize, Serialize};

/// What pictures of a run need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inside {
    /// Version of the form.
    schema: u32,
    /// What overlapped with what: in the run, then in a part of it that was simulated by itself.
    pub overlaps: Vec<Overlap>,
    /// The devices, with the use of their links, where every GPU was simulated and the network model knows it.
    pub fabric: Option<FabricPicture>,
}

impl Inside {
    /// What is worth drawing of `outcome`.
    pub fn new(outcome: &Outcome) -> Inside {
        let overlap = |title: &str, timeline| Overlap::new(title, timeline, &outcome.cluster);
        let whole = overlap("What overlaps with what", outcome.step());
        // Of serving, the part is the step that is shown.
        let part = outcome.parts.first().filter(|_| !matches!(outcome.metrics, Metrics::Serving(_)));
        let part = part.and_then(|part| overlap(&format!("Inside {}, on one GPU", part.name), &part.timeline));
        let overlaps = whole.into_iter().chain(part).collect();
        Inside { schema: super::json::SCHEMA, overlaps, fabric: fabric(outcome) }
    }

    /// The form in which it is kept.
    pub fn json(&self) -> String {
        let text = serde_json::to_string(self).expect("numbers and texts are JSON");
        format!("{text}\n")
    }

    /// Reads that form.
    ///
    /// # Errors
    /// When it is another form, with the reason.
    pub fn parse(text: &str) -> Result<Inside, String> {
        serde_json::from_str(text).map_err(|error| format!("these are no pictures of this version: {error}"))
    }
}

/// The fabric by the use of its links. Where one GPU stood for all, only its own links were used, and there is nothing to compare.
fn fabric(outcome: &Outcome) -> Option<FabricPicture> {
    let topology = &outcome.cluster.topology;
    let used = link_loads(outcome.step(), topology);
    if outcome.folding != Folding::None || used.is_empty() {
        return None;
    }
    let loads: Loads = used.into_iter().map(|load| (load.link, load.utilisation)).collect();
    let host = |id| topology.device(id).kind == DeviceKind::Cpu;
    let hosts_used = loads.keys().map(|&link| topology.ends(link)).any(|(from, to)| host(from) || host(to));
    let shown = |id| hosts_used || !host(id);
    Some(FabricPicture::of(topology, "How much the links are used", &shown, Some(&loads)))
}
