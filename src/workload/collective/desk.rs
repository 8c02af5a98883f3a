//! Where a collective is written down as operations: sends, and the software around them.

use super::group::Group;
use crate::hardware::on_wire;
use crate::id::{CollectiveId, DeviceId, OpId, StreamId};
use crate::units::{Bytes, Duration, Fraction};
use crate::workload::op::{Label, Op, OpGraph, Stream, Work};
use std::collections::BTreeMap;

/// What each rank's next operation waits for.
pub(in crate::workload) type Front = Vec<Vec<OpId>>;

/// Streams of software, by rank and by channel.
pub(in crate::workload) type Streams = BTreeMap<(usize, usize), StreamId>;

/// Adds the operations of one collective.
pub(in crate::workload) struct Desk<'a> {
    pub(in crate::workload) group: &'a Group,
    graph: &'a mut OpGraph,
    label: Label,
    tag: CollectiveId,
    /// Streams of software, by rank and by channel: channels of a rank do not wait for each other.
    streams: Streams,
}

impl<'a> Desk<'a> {
    pub(in crate::workload) fn new(graph: &'a mut OpGraph, group: &'a Group, label: Label) -> Desk<'a> {
        let tag = graph.collective();
        Desk { group, graph, label, tag, streams: BTreeMap::new() }
    }

    /// A desk that goes on with the streams of an earlier one for the same group.
    pub(in crate::workload) fn resumed(
        graph: &'a mut OpGraph,
        group: &'a Group,
        label: Label,
        streams: Streams,
    ) -> Desk<'a> {
        Desk { streams, ..Desk::new(graph, group, label) }
    }

    /// The streams that it made, for the next one.
    pub(in crate::workload) fn into_streams(self) -> Streams {
        self.streams
    }

    /// From here on, what is added belongs to `label`.
    pub(in crate::workload) fn relabel(&mut self, label: Label) {
        self.label = label;
    }

    /// Software of `rank` on one of its channels: what follows waits for the result. No time, no operation.
    pub(in crate::workload) fn software(
        &mut self,
        (rank, channel): (usize, usize),
        time: Duration,
        after: &[OpId],
    ) -> Vec<OpId> {
        if time == Duration::ZERO {
            return after.to_vec();
        }
        let (graph, device) = (&mut *self.graph, self.group.ranks[rank]);
        let stream = *self
            .streams
            .entry((rank, channel))
            .or_insert_with(|| graph.stream(Stream { device, rank, name: "communication" }));
        let op = Op { work: Work::Software(time), label: self.label, stream: Some(stream), collective: Some(self.tag) };
        vec![self.graph.push(op, after)]
    }

    /// Moves `bytes` of data from one rank to another, under a protocol that leaves `share` of the wire for it.
    pub(in crate::workload) fn send(
        &mut self,
        (from, to): (usize, usize),
        bytes: Bytes,
        share: Fraction,
        after: &[OpId],
    ) -> OpId {
        self.move_between(self.group.ranks[from], self.group.ranks[to], bytes, share, after)
    }

    /// The same between any two devices.
    pub(in crate::workload) fn move_between(
        &mut self,
        from: DeviceId,
        to: DeviceId,
        bytes: Bytes,
        share: Fraction,
        after: &[OpId],
    ) -> OpId {
        let work = Work::Send { from, to, bytes: on_wire(bytes, share) };
        let op = Op { work, label: self.label, stream: None, collective: Some(self.tag) };
        self.graph.push(op, after)
    }
}

/// The `index`-th of `n` pieces of `bytes`; the first ones take the remainder.
pub(in crate::workload) fn piece(bytes: Bytes, n: usize, index: usize) -> Bytes {
    let (n, index) = (n as u64, index as u64);
    Bytes::new(bytes.get() / n + u64::from(index < bytes.get() % n))
}
