//! Where the time of a step went: per phase, exposed, along the critical path, and per port.
//!
//! What adds up is added up span by span, in one pass that others may share.

use super::occupied::Occupancy;
use super::union::Union;
use crate::id::{DeviceId, LinkId, OpId, StreamId};
use crate::timeline::{Bound, Place, Span, Timeline, critical_path};
use crate::units::{Bytes, Duration, Time};
use crate::workload::{Phase, Stream, Work};
use std::collections::BTreeMap;

/// Where the time went.
#[derive(Clone, Debug, PartialEq)]
pub struct Breakdown {
    /// Time that each phase occupied its stream or port, on the busiest GPU that has it.
    pub phases: Vec<PhaseTime>,
    /// Time during which rank 0 computed, on whatever stream.
    pub computing: Duration,
    /// Time during which transfers of rank 0 were under way.
    pub communicating: Duration,
    /// Time during which transfers of rank 0 were under way and it computed nothing.
    pub exposed_communication: Duration,
    /// Time during which rank 0 neither computed nor communicated.
    pub idle: Duration,
    /// The critical path by phase and by what bounds it, longest first; the parts add up to the whole run.
    pub critical_path: Vec<PathShare>,
    /// The ports through which data entered the network, busiest first.
    pub ports: Vec<PortUse>,
}

/// Time of one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseTime {
    /// The phase.
    pub phase: Phase,
    /// Whether this is what it computes or what it sends.
    pub communication: bool,
    /// Operations.
    pub operations: usize,
    /// Time that they occupied their place.
    pub busy: Duration,
}

/// A part of the critical path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathShare {
    /// The phase.
    pub phase: Phase,
    /// What bounds it.
    pub bound: Bound,
    /// How long the run waited for it.
    pub time: Duration,
}

/// What passed a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortUse {
    /// The link on which data entered the network.
    pub port: LinkId,
    /// Time that the port was occupied.
    pub busy: Duration,
    /// Data that passed.
    pub bytes: Bytes,
}

/// Works out where the time of a run went.
pub fn breakdown(timeline: &Timeline) -> Breakdown {
    let mut busy = Busy::new(timeline);
    timeline.spans().for_each(|span| busy.push(&span));
    busy.finish(timeline)
}

/// Adds up where the time of a run goes, span by span.
pub(super) struct Busy<'a> {
    first: First<'a>,
    occupancy: Occupancy,
    computing: Union,
    communicating: Union,
}

impl<'a> Busy<'a> {
    pub(super) fn new(timeline: &'a Timeline) -> Busy<'a> {
        let (computing, communicating) = (Union::default(), Union::default());
        Busy { first: First::of(timeline), occupancy: Occupancy::default(), computing, communicating }
    }

    pub(super) fn push(&mut self, span: &Span) {
        self.occupancy.push(span);
        if self.first.computes(span) {
            self.computing.add(span.start, span.released);
        } else if self.first.communicates(span) {
            self.communicating.add(span.start, span.end);
        }
    }

    /// Where the time went, when all spans of `timeline` have come.
    pub(super) fn finish(self, timeline: &Timeline) -> Breakdown {
        let (computing, either) = (self.computing.length(), self.computing.or(&self.communicating).length());
        let (phases, ports) = self.occupancy.finish();
        Breakdown {
            phases,
            computing,
            communicating: self.communicating.length(),
            exposed_communication: either - computing,
            idle: timeline.end() - Time::ZERO - either,
            critical_path: path_shares(timeline, |_| None),
            ports,
        }
    }
}

/// The first GPU, which stands for all: its streams, and the transfers that it takes part in.
struct First<'a> {
    streams: &'a [Stream],
}

impl First<'_> {
    fn of(timeline: &Timeline) -> First<'_> {
        First { streams: &timeline.streams }
    }

    fn is(&self, device: DeviceId) -> bool {
        self.streams.first().is_none_or(|first| first.device == device)
    }

    fn computes(&self, span: &Span) -> bool {
        let Place::Stream(stream) = span.place else { return false };
        match span.work {
            Work::Compute(_) | Work::Copy(_) => self.is(self.streams[stream.index()].device),
            Work::Software(_) => false,
            _ => stream.index() == 0,
        }
    }

    /// Whether a transfer of it is under way, or the software of one runs.
    fn communicates(&self, span: &Span) -> bool {
        match (span.work, span.place) {
            (Work::Send { from, to, .. }, _) => self.is(from) || self.is(to),
            (Work::Software(_), Place::Stream(stream)) => self.is(self.streams[stream.index()].device),
            _ => false,
        }
    }
}

/// Time during which transfers of the first GPU were under way and its first stream did nothing that was simulated by itself.
pub(super) fn beside_known(timeline: &Timeline) -> Duration {
    let (first, place) = (First::of(timeline), Place::Stream(StreamId::new(0)));
    let (mut known, mut communicating) = (Union::default(), Union::default());
    for span in timeline.spans() {
        if matches!(span.work, Work::Known(_)) && span.place == place {
            known.add(span.start, span.released);
        } else if first.communicates(&span) {
            communicating.add(span.start, span.end);
        }
    }
    known.or(&communicating).length() - known.length()
}

/// The critical path by phase and by what bounds it. An operation of which `inside` knows what it waited for itself stands for that, in these parts.
pub(super) fn path_shares<'a>(timeline: &Timeline, inside: impl Fn(OpId) -> Option<&'a [PathShare]>) -> Vec<PathShare> {
    let mut shares: BTreeMap<(Phase, Bound), Duration> = BTreeMap::new();
    for segment in critical_path(timeline) {
        let span = &segment.span;
        if let Some(parts) = inside(span.op).filter(|parts| !parts.is_empty()) {
            for (part, time) in parts.iter().zip(in_proportion(segment.until - segment.from, parts)) {
                *shares.entry((part.phase, part.bound)).or_default() += time;
            }
            continue;
        }
        let phase = span.label.phase;
        // A transfer is bound by the link while it enters the network, and by latency until it has arrived.
        let is_transfer = matches!(span.work, Work::Send { .. });
        let entered = if is_transfer { span.released.min(segment.until) } else { segment.until };
        let bound = if is_transfer { Bound::Link } else { span.bound };
        *shares.entry((phase, bound)).or_default() += entered - segment.from;
        *shares.entry((phase, Bound::Latency)).or_default() += segment.until - entered;
    }
    let mut shares: Vec<PathShare> =
        shares.into_iter().map(|((phase, bound), time)| PathShare { phase, bound, time }).collect();
    shares.retain(|share| share.time > Duration::ZERO);
    shares.sort_by_key(|share| std::cmp::Reverse(share.time));
    shares
}

/// `whole` in proportion to `parts`; the first takes what is left by rounding.
fn in_proportion(whole: Duration, parts: &[PathShare]) -> Vec<Duration> {
    let all: u128 = parts.iter().map(|part| u128::from(part.time.as_ps())).sum();
    let of = |part: &PathShare| u128::from(whole.as_ps()) * u128::from(part.time.as_ps()) / all.max(1);
    let mut times: Vec<Duration> = parts.iter().map(|part| Duration::from_ps(of(part) as u64)).collect();
    let found: Duration = times.iter().copied().sum();
    times[0] += whole - found;
    times
}
