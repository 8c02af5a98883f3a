//! How spans occupied streams and ports, by phase.

use super::busy::{PhaseTime, PortUse};
use super::union::Union;
use crate::timeline::{Place, Span, Timeline};
use crate::units::{Bytes, Duration};
use crate::workload::{Phase, Work};
use std::cmp::Reverse;

/// Adds up how streams and ports were occupied. Transfers that share a port at the same time occupy it once.
#[derive(Default)]
pub(super) struct Occupancy {
    streams: Vec<Kinds>,
    ports: Vec<(Kinds, Occupied)>,
}

/// By phase, and whether it is communication: what a place did of it; nothing beyond the last that it did anything of.
type Kinds = Vec<Occupied>;

#[derive(Clone, Default)]
struct Occupied {
    spans: usize,
    bytes: Bytes,
    when: Union,
}

impl Occupied {
    fn add(&mut self, span: &Span) {
        self.spans += 1;
        if let Work::Send { bytes, .. } = span.work {
            self.bytes += bytes;
        }
        self.when.add(span.start, span.released);
    }
}

impl Occupancy {
    pub(super) fn push(&mut self, span: &Span) {
        let kinds = match span.place {
            Place::Stream(stream) => at(&mut self.streams, stream.index()),
            Place::Port(link) => {
                let (kinds, all) = at(&mut self.ports, link.index());
                all.add(span);
                kinds
            }
        };
        let kind = 2 * span.label.phase as usize + usize::from(Timeline::is_communication(span));
        at(kinds, kind).add(span);
    }

    /// What each phase took of the place that was busiest with it, and how ports were used, the busiest first.
    pub(super) fn finish(self) -> (Vec<PhaseTime>, Vec<PortUse>) {
        let mut busiest = [(Duration::ZERO, 0); 2 * Phase::ALL.len()];
        for kinds in self.streams.iter().chain(self.ports.iter().map(|(kinds, _)| kinds)) {
            for (most, occupied) in busiest.iter_mut().zip(kinds) {
                *most = (occupied.when.length(), occupied.spans).max(*most);
            }
        }
        let phase = |phase: Phase| {
            let busiest = &busiest;
            let row = move |communication| {
                let (busy, operations) = busiest[2 * phase as usize + usize::from(communication)];
                (operations > 0).then_some(PhaseTime { phase, communication, operations, busy })
            };
            [false, true].into_iter().filter_map(row)
        };
        let port = |(link, (_, all)): (usize, (Kinds, Occupied))| PortUse {
            port: crate::id::LinkId::new(link),
            busy: all.when.length(),
            bytes: all.bytes,
        };
        let used = self.ports.into_iter().enumerate().filter(|(_, (_, all))| all.spans > 0);
        let mut ports: Vec<PortUse> = used.map(port).collect();
        ports.sort_by_key(|port| (Reverse(port.busy), port.port));
        (Phase::ALL.into_iter().flat_map(phase).collect(), ports)
    }
}

/// The entry at a place of a list that grows as far as it is needed.
fn at<T: Default>(list: &mut Vec<T>, place: usize) -> &mut T {
    if list.len() <= place {
        list.resize_with(place + 1, T::default);
    }
    &mut list[place]
}
