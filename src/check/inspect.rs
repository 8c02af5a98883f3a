//! One file: whether it holds what it promises, and its figures.

use super::find::{Found, Kind};
use super::{deadlock, fabric};
use crate::metrics::{Better, FabricMetrics, Metric, MetricDef, named_fabric};
use crate::report::verdict::Problem;
use crate::run::simulate;
use crate::scenario::{Library, Loaded, Mistake, Scenario, UserError, load_with};
use crate::topology::{TopologySpec, build_fabric, measure_spec, odd_switches};
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use std::path::Path;

/// The figure of a run that did not end.
pub static STRANDED: MetricDef = MetricDef {
    name: "stranded_transfers",
    of: "",
    unit: "",
    better: Better::Lower,
    definition: "Transfers that have no way left when nothing else can happen.",
    formula: "count",
    source: "this program's own; from the timeline of a run",
    hint: "A run that has any did not end, and has no other figures.",
};

/// What a file is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspected {
    /// Its path, as the baseline names it.
    pub path: String,
    /// What it is.
    pub kind: &'static str,
    /// Whether it can be read as what it is; if not, there is one problem, which says why.
    pub readable: bool,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// What is wrong with it unless the baseline says so as well: a run that does not end.
    pub unended: Option<Problem>,
    /// What is worth saying when a figure has changed.
    pub details: Vec<String>,
    /// Its figures.
    pub metrics: Vec<Metric>,
    /// Its configuration, everything merged: path, value, and where the value is set.
    pub config: Vec<(String, String, String)>,
}

/// Inspects files, several at a time. Paths are named as seen from `root`; `tick` is called whenever one is done with.
pub fn inspect_all(found: &[Found], root: &Path, library: &Library, tick: &(dyn Fn() + Sync)) -> Vec<Inspected> {
    let inspect = |found| {
        let inspected = inspect(found, root, library);
        tick();
        inspected
    };
    let (mut inspected, mistakes): (Vec<Inspected>, Vec<Option<Mistake>>) =
        found.par_iter().with_max_len(1).map(inspect).unzip();
    say_once(&mut inspected, &mistakes);
    inspected
}

/// A mistake in a file that others extend is told once: of that file if it is among them, else of the first.
fn say_once(inspected: &mut [Inspected], mistakes: &[Option<Mistake>]) {
    let teller_of = |mistake: &Mistake| {
        let is_source = |at: &usize| inspected[*at].path == mistake.source && !inspected[*at].readable;
        let told = |at: &usize| mistakes[*at].as_ref() == Some(mistake);
        (0..mistakes.len()).find(is_source).or_else(|| (0..mistakes.len()).find(told))
    };
    let tellers: Vec<Option<usize>> = mistakes.iter().map(|m| m.as_ref().and_then(teller_of)).collect();
    for (at, (teller, mistake)) in tellers.iter().zip(mistakes).enumerate() {
        let (Some(teller), Some(mistake)) = (*teller, mistake) else { continue };
        if teller == at || inspected[at].readable {
            continue;
        }
        let place = if inspected[teller].path == mistake.source { "" } else { ", as said of " };
        let teller = if place.is_empty() { "" } else { &inspected[teller].path };
        let message = format!("error: it extends {}: {}{place}{teller}", mistake.source, mistake.message);
        inspected[at].problems = vec![Problem { message, origin: None }];
    }
}

fn inspect(found: &Found, root: &Path, library: &Library) -> (Inspected, Option<Mistake>) {
    let path = found.path.strip_prefix(root).unwrap_or(&found.path).display().to_string().replace('\\', "/");
    let kind = found.kind.as_ref().map_or("file", |kind| kind.name());
    let mut inspected = Inspected {
        path,
        kind,
        readable: false,
        problems: Vec::new(),
        unended: None,
        details: Vec::new(),
        metrics: Vec::new(),
        config: Vec::new(),
    };
    let outcome = match &found.kind {
        Ok(Kind::Topology) => topology(&found.path, root, library, &mut inspected),
        Ok(Kind::Scenario) => scenario(&found.path, root, library, &mut inspected),
        Err(error) => Err(error.clone()),
    };
    let mistake = outcome.as_ref().err().and_then(|error| error.mistake()).cloned();
    if let Err(error) = outcome {
        inspected.problems.push(Problem { message: error.to_string(), origin: None });
    }
    (inspected, mistake)
}

fn open<T: DeserializeOwned>(
    path: &Path,
    root: &Path,
    library: &Library,
    into: &mut Inspected,
) -> Result<Loaded<T>, UserError> {
    let loaded: Loaded<T> = load_with(path, &[], library)?;
    let prefix = format!("{}/", root.display());
    let leaf =
        |(path, value, origin): (String, String, String)| (path, value, origin.trim_start_matches(&prefix).to_owned());
    into.readable = true;
    into.config = loaded.leaves().into_iter().map(leaf).collect();
    Ok(loaded)
}

fn topology(path: &Path, root: &Path, library: &Library, into: &mut Inspected) -> Result<(), UserError> {
    let loaded: Loaded<TopologySpec> = open(path, root, library, into)?;
    let spec = &loaded.value;
    if let Some(packet) = spec.switch.as_ref().and_then(|switch| switch.packet.as_ref()) {
        packet.check_lanes().map_err(|invalid| loaded.error(&invalid.under("switch.packet")))?;
    }
    let measures = measure_spec(spec).map_err(|invalid| loaded.error(&invalid))?;
    // A fabric that exists as a formula only has no switches to look at.
    let graph = build_fabric(spec).ok();
    let odd = graph.as_ref().map(odd_switches).unwrap_or_default();
    let name = |device| graph.as_ref().map_or(String::new(), |graph| graph.name(device));
    into.details = odd.iter().map(|odd| format!("{} is wired oddly: {}", name(odd.device), odd.why)).collect();
    let mut broken = fabric::broken(spec, &measures, graph.as_ref(), &into.details);
    let waits = graph.as_ref().map(|graph| deadlock::waits(spec, graph));
    if let (Some(graph), Some(waits)) = (&graph, &waits) {
        broken.extend(deadlock::broken(spec, graph, waits));
    }
    into.metrics = named_fabric(&FabricMetrics {
        measures,
        odd_switches: graph.as_ref().map(|_| odd.len()),
        virtual_lanes: waits.as_ref().map(|waits| waits.lanes_wanted),
        destinations_followed: waits.as_ref().filter(|waits| waits.is_sample()).map(|waits| waits.followed),
    });
    for (place, message) in broken {
        let origin =
            loaded.origin(place).map(|origin| origin.trim_start_matches(&format!("{}/", root.display())).to_owned());
        into.problems.push(Problem { message, origin });
    }
    Ok(())
}

fn scenario(path: &Path, root: &Path, library: &Library, into: &mut Inspected) -> Result<(), UserError> {
    let loaded: Loaded<Scenario> = open(path, root, library, into)?;
    let outcome = simulate(&loaded.value).map_err(|invalid| loaded.error(&invalid))?;
    if let Some(message) = outcome.unended() {
        // Nothing else can be said of it.
        into.metrics = vec![Metric { def: &STRANDED, value: outcome.timeline.stranded.len() as f64 }];
        into.unended = Some(Problem { message, origin: None });
        return Ok(());
    }
    into.metrics = outcome.metrics.named().into_iter().filter(|metric| metric.value.is_finite()).collect();
    Ok(())
}
