//! A training step with what goes on inside its chunks, each of which is one operation of the pipeline.

use super::busy::{Breakdown, PathShare, PhaseTime, beside_known, breakdown, path_shares};
use super::kernels::{KernelSum, KernelTime, kernel_times};
use super::training::ChunkTime;
use crate::id::{DeviceId, OpId};
use crate::timeline::{Place, Timeline};
use crate::units::{Duration, Time};
use crate::workload::{Phase, Work};
use std::collections::BTreeMap;

/// The chunks of a step by the operations of its pipeline.
pub(super) struct InChunks<'a> {
    timeline: &'a Timeline,
    chunks: &'a [ChunkTime],
    /// Which chunk an operation is.
    rows: BTreeMap<OpId, usize>,
    /// How many of each chunk each stream has: by rank, then by chunk.
    counts: Vec<Vec<u64>>,
}

impl<'a> InChunks<'a> {
    /// The pipeline of `timeline`, whose ranks take the `chunks` that `actions` name, by rank and in that order.
    pub(super) fn new(timeline: &'a Timeline, chunks: &'a [ChunkTime], actions: &[Vec<usize>]) -> InChunks<'a> {
        let mut rows = BTreeMap::new();
        let mut taken = vec![0; timeline.streams.len()];
        let mut counts = vec![vec![0; chunks.len()]; actions.len()];
        for span in timeline.spans() {
            let (Place::Stream(stream), Work::Known(_)) = (span.place, span.work) else { continue };
            // Streams of a replica follow each other, rank by rank; then come those of the next.
            let (stream, rank) = (stream.index(), stream.index() % actions.len());
            let row = actions[rank][taken[stream]];
            taken[stream] += 1;
            rows.insert(span.op, row);
            counts[rank][row] += u64::from(stream == rank);
        }
        InChunks { timeline, chunks, rows, counts }
    }

    /// Communication that nothing hides in the chunks of each rank.
    pub(super) fn exposed(&self) -> Vec<Duration> {
        (0..self.counts.len()).map(|rank| self.sum(rank, |chunk| chunk.exposed)).collect()
    }

    /// Where the step first has each chunk: on which GPU, and when.
    pub(super) fn first(&self) -> Vec<Option<(DeviceId, Time)>> {
        let mut first = vec![None; self.chunks.len()];
        for span in self.timeline.spans() {
            let (Some(&row), Place::Stream(stream)) = (self.rows.get(&span.op), span.place) else { continue };
            let here = (span.start, self.timeline.streams[stream.index()].device);
            first[row] = Some(first[row].map_or(here, |before: (Time, DeviceId)| before.min(here)));
        }
        first.into_iter().map(|first| first.map(|(at, device)| (device, at))).collect()
    }

    /// The kernels of a GPU of the first rank, those inside its chunks included.
    pub(super) fn kernels(&self) -> Vec<KernelTime> {
        let mut sum = KernelSum::default();
        for (chunk, &count) in self.chunks.iter().zip(&self.counts[0]) {
            sum.add(&chunk.kernels, count);
        }
        sum.add(&kernel_times(self.timeline), 1);
        sum.into_times()
    }

    /// Where the time of the step went, inside chunks as well. What passes between stages while a chunk runs is not counted beside it.
    pub(super) fn breakdown(&self) -> Breakdown {
        let outside = breakdown(self.timeline);
        let known = self.sum(0, |chunk| chunk.time);
        let computing = outside.computing.saturating_sub(known) + self.sum(0, |chunk| chunk.computing);
        let exposed_communication = outside.exposed_communication + self.sum(0, |chunk| chunk.exposed);
        let whole = self.timeline.end() - Time::ZERO;
        Breakdown {
            phases: self.phases(outside.phases),
            computing,
            communicating: beside_known(self.timeline) + self.sum(0, |chunk| chunk.communicating),
            exposed_communication,
            idle: whole.saturating_sub(computing + exposed_communication),
            critical_path: self.critical_path(),
            ports: outside.ports,
        }
    }

    fn sum(&self, rank: usize, of: impl Fn(&ChunkTime) -> Duration) -> Duration {
        self.chunks.iter().zip(&self.counts[rank]).map(|(chunk, &count)| of(chunk) * count).sum()
    }

    /// Phases of the pipeline, and of the layers inside its chunks, these of the rank that is busiest with each.
    fn phases(&self, mut phases: Vec<PhaseTime>) -> Vec<PhaseTime> {
        let mut busiest: BTreeMap<(Phase, bool), (Duration, usize)> = BTreeMap::new();
        for counts in &self.counts {
            let mut of_rank: BTreeMap<(Phase, bool), (Duration, usize)> = BTreeMap::new();
            for (chunk, &count) in self.chunks.iter().zip(counts) {
                for phase in &chunk.phases {
                    let (busy, operations) = of_rank.entry((phase.phase, phase.communication)).or_default();
                    *busy += phase.busy * count;
                    *operations += phase.operations * count as usize;
                }
            }
            for (key, found) in of_rank {
                let most = busiest.entry(key).or_default();
                *most = (*most).max(found);
            }
        }
        let phase = |((phase, communication), (busy, operations))| PhaseTime { phase, communication, operations, busy };
        phases.extend(busiest.into_iter().map(phase).filter(|phase| phase.operations > 0));
        phases.sort_by_key(|phase| (phase.phase, phase.communication));
        phases
    }

    /// The critical path, on which a chunk stands for what it waited for itself.
    fn critical_path(&self) -> Vec<PathShare> {
        path_shares(self.timeline, |op| self.rows.get(&op).map(|&row| &self.chunks[row].critical_path[..]))
    }
}
