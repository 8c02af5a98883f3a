//! What the engine runs by itself, of an experiment or of a part of one.

use super::watch::Watcher;
use super::{Known, build, footprint};
use crate::gpu::{Beside, Taken};
use crate::id::LinkId;
use crate::invalid::Invalid;
use crate::metrics::Folding;
use crate::scenario::Scenario;
use crate::timeline::{Recorder, Timeline};
use crate::topology::Cluster;
use crate::units::Duration;
use crate::workload::Workload;

/// GPUs that are simulated by themselves, and what they do.
pub(super) struct CaseRun<'w> {
    pub(super) workload: Box<dyn Workload + 'w>,
    /// How alike the ranks are for which one stands.
    pub(super) folding: Folding,
    /// The share of links that is left to these GPUs, where those for which they stand have the rest.
    pub(super) shares: Vec<(LinkId, f64)>,
    /// What communication takes from kernels that run beside it.
    pub(super) taken: Taken,
    /// What the host leaves empty after every kernel.
    pub(super) gap: Duration,
    /// Which spans are kept.
    pub(super) recorder: Recorder<'w>,
}

impl<'w> CaseRun<'w> {
    /// A workload that has its cluster for itself, in which nothing runs beside kernels.
    pub(super) fn of(workload: Box<dyn Workload + 'w>) -> CaseRun<'w> {
        let (folding, shares, taken, gap) = (Folding::None, Vec::new(), Taken::default(), Duration::ZERO);
        CaseRun { workload, folding, shares, taken, gap, recorder: Recorder::Whole }
    }

    /// Runs it on the machines of the scenario.
    pub(super) fn run(mut self, scenario: &Scenario, cluster: &Cluster, watcher: &Watcher<'_>) -> Result<Ran, Invalid> {
        let shared = || Cluster { topology: cluster.topology.with_parts(&self.shares), ..cluster.clone() };
        let shared = (!self.shares.is_empty()).then(shared);
        let cluster = shared.as_ref().unwrap_or(cluster);
        let mut kernels = kernels(scenario, cluster, (self.taken, self.gap), watcher.known())?;
        let timeline =
            footprint::run(scenario, cluster, (self.workload.as_mut(), self.recorder), &mut kernels, watcher)?;
        Ok(Ran { timeline, folding: self.folding })
    }
}

/// The kernels of the scenario beside communication, on streams that the host may feed too slowly.
pub(super) fn kernels(
    scenario: &Scenario,
    cluster: &Cluster,
    (taken, gap): (Taken, Duration),
    known: &Known,
) -> Result<Beside, Invalid> {
    Ok(Beside { kernels: build::kernels(scenario, cluster, known)?, taken, gap })
}

/// What happened in a case.
pub(crate) struct Ran {
    pub(crate) timeline: Timeline,
    pub(crate) folding: Folding,
}

/// Runs `cases`, and keeps what ends last: a run that cannot end is slower than all others.
///
/// # Errors
/// When one of them asks for what cannot be.
///
/// # Panics
/// When there is none.
pub(super) fn slowest(
    scenario: &Scenario,
    cluster: &Cluster,
    cases: Vec<CaseRun<'_>>,
    watcher: &Watcher<'_>,
) -> Result<Ran, Invalid> {
    let key = |ran: &Ran| (!ran.timeline.stranded.is_empty(), ran.timeline.end());
    let mut slowest: Option<Ran> = None;
    for case in cases {
        let ran = case.run(scenario, cluster, watcher)?;
        if slowest.as_ref().is_none_or(|other| key(other) < key(&ran)) {
            slowest = Some(ran);
        }
    }
    Ok(slowest.expect("something is simulated"))
}
