//! Where the time of a step went: per phase, exposed, along the critical path, and per port.

use crate::id::{LinkId, OpId, StreamId};
use crate::timeline::{Bound, Place, Span, Timeline, critical_path};
use crate::units::{Bytes, Duration, Time};
use crate::workload::{Phase, Work};
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
    // The first GPU stands for all: its streams, and the transfers that it takes part in.
    let device = timeline.streams.first().map(|stream| stream.device);
    let ours = |id| device.is_none_or(|device| device == id);
    let software = |span: &Span| matches!(span.work, Work::Software(_));
    let kernel = |span: &Span| matches!(span.work, Work::Compute(_) | Work::Copy(_));
    let stream = |span: &&Span| match span.place {
        Place::Stream(stream) if kernel(span) => ours(timeline.streams[stream.index()].device),
        Place::Stream(stream) => !software(span) && stream.index() == 0,
        Place::Port(_) => false,
    };
    let computing = Intervals::new(timeline.spans.iter().filter(stream).map(|s| (s.start, s.released)));
    let communicating = communicating(timeline);
    let either = computing.or(&communicating);
    let end = timeline.end() - Time::ZERO;
    Breakdown {
        phases: phases(timeline),
        computing: computing.length(),
        communicating: communicating.length(),
        exposed_communication: either.length() - computing.length(),
        idle: end - either.length(),
        critical_path: path_shares(timeline, |_| None),
        ports: ports(timeline),
    }
}

/// When transfers of the first GPU were under way, or their software ran.
fn communicating(timeline: &Timeline) -> Intervals {
    let device = timeline.streams.first().map(|stream| stream.device);
    let ours = |id| device.is_none_or(|device| device == id);
    let sent = |span: &&Span| match span.work {
        Work::Send { from, to, .. } => ours(from) || ours(to),
        Work::Software(_) => match span.place {
            Place::Stream(stream) => ours(timeline.streams[stream.index()].device),
            Place::Port(_) => false,
        },
        _ => false,
    };
    Intervals::new(timeline.spans.iter().filter(sent).map(|span| (span.start, span.end)))
}

/// Time during which transfers of the first GPU were under way and its first stream did nothing that was simulated by itself.
pub(super) fn beside_known(timeline: &Timeline) -> Duration {
    let first = Place::Stream(StreamId::new(0));
    let known = |span: &&Span| matches!(span.work, Work::Known(_)) && span.place == first;
    let known = Intervals::new(timeline.spans.iter().filter(known).map(|span| (span.start, span.released)));
    known.or(&communicating(timeline)).length() - known.length()
}

fn phases(timeline: &Timeline) -> Vec<PhaseTime> {
    let kind = |span: &Span| 2 * span.label.phase as usize + usize::from(Timeline::is_communication(span));
    let mut busiest = [(Duration::ZERO, 0); 2 * Phase::ALL.len()];
    for (kind, _, used) in Occupied::by_place(timeline, 2 * Phase::ALL.len(), kind) {
        busiest[kind] = (used.busy, used.spans).max(busiest[kind]);
    }
    let phase = |phase: Phase| {
        let busiest = &busiest;
        let row = move |communication| {
            let (busy, operations) = busiest[2 * phase as usize + usize::from(communication)];
            (operations > 0).then_some(PhaseTime { phase, communication, operations, busy })
        };
        [false, true].into_iter().filter_map(row)
    };
    Phase::ALL.into_iter().flat_map(phase).collect()
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

fn ports(timeline: &Timeline) -> Vec<PortUse> {
    let used = Occupied::by_place(timeline, 1, |_| 0).into_iter();
    let port = |(_, place, used): (usize, Place, Occupied)| match place {
        Place::Port(port) => Some(PortUse { port, busy: used.busy, bytes: used.bytes }),
        Place::Stream(_) => None,
    };
    let mut uses: Vec<PortUse> = used.filter_map(port).collect();
    uses.sort_by_key(|port| (std::cmp::Reverse(port.busy), port.port));
    uses
}

/// How spans occupied a place. Transfers that share a port at the same time occupy it once.
#[derive(Clone, Copy, Default)]
struct Occupied {
    spans: usize,
    bytes: Bytes,
    busy: Duration,
    /// Where the last stretch began and ends, as far as spans came in order of start.
    begun: Time,
    until: Time,
    disordered: bool,
}

impl Occupied {
    /// One entry per place and kind that has spans, in order of kind and then of place; `kind` sorts spans into `kinds`.
    fn by_place(timeline: &Timeline, kinds: usize, kind: impl Fn(&Span) -> usize) -> Vec<(usize, Place, Occupied)> {
        let links = timeline.ports.iter().map(|(link, _)| link.index() + 1).max().unwrap_or(0);
        let mut port = vec![0; links];
        for (at, (link, _)) in timeline.ports.iter().enumerate() {
            port[link.index()] = timeline.streams.len() + at;
        }
        let places = timeline.streams.len() + timeline.ports.len();
        let key = |span: &Span| match span.place {
            Place::Stream(stream) => kind(span) * places + stream.index(),
            Place::Port(link) => kind(span) * places + port[link.index()],
        };
        let mut all = vec![Occupied::default(); kinds * places];
        for span in &timeline.spans {
            all[key(span)].add(span);
        }
        if all.iter().any(|occupied| occupied.disordered) {
            let disordered = |span: &&Span| all[key(span)].disordered;
            let mut spans: Vec<&Span> = timeline.spans.iter().filter(disordered).collect();
            spans.sort_by_key(|span| span.start);
            all.iter_mut().filter(|occupied| occupied.disordered).for_each(|occupied| *occupied = Occupied::default());
            spans.into_iter().for_each(|span| all[key(span)].add(span));
        }
        let place = |at: usize| match timeline.ports.get((at % places).wrapping_sub(timeline.streams.len())) {
            Some(&(link, _)) => Place::Port(link),
            None => Place::Stream(StreamId::new(at % places)),
        };
        let used = all.into_iter().enumerate().filter(|(_, occupied)| occupied.spans > 0);
        used.map(|(at, occupied)| (at / places, place(at), occupied)).collect()
    }

    fn add(&mut self, span: &Span) {
        self.disordered |= span.start < self.begun;
        self.begun = span.start;
        self.spans += 1;
        if let Work::Send { bytes, .. } = span.work {
            self.bytes += bytes;
        }
        if span.released > self.until {
            self.busy += span.released - span.start.max(self.until);
            self.until = span.released;
        }
    }
}

/// Disjoint stretches of time, in order.
pub(super) struct Intervals(Vec<(Time, Time)>);

impl Intervals {
    /// The union of `parts`.
    pub(super) fn new(parts: impl Iterator<Item = (Time, Time)>) -> Intervals {
        let mut parts: Vec<(Time, Time)> = parts.filter(|(from, until)| from < until).collect();
        parts.sort_unstable();
        let mut union: Vec<(Time, Time)> = Vec::new();
        for (from, until) in parts {
            match union.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => union.push((from, until)),
            }
        }
        Intervals(union)
    }

    /// All stretches of both.
    fn or(&self, other: &Intervals) -> Intervals {
        Intervals::new(self.0.iter().chain(&other.0).copied())
    }

    pub(super) fn length(&self) -> Duration {
        self.0.iter().map(|&(from, until)| until - from).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_stretches_count_once() {
        let ps = Time::from_ps;
        let parts = [(ps(5), ps(7)), (ps(0), ps(2)), (ps(1), ps(3)), (ps(3), ps(4)), (ps(9), ps(9))];
        assert_eq!(Intervals::new(parts.into_iter()).0, [(ps(0), ps(4)), (ps(5), ps(7))]);
    }
}
