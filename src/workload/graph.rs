//! The growing graph that orders operations.
//!
//! An operation runs when all it depends on has finished and, if it belongs to a stream, when it is the stream's oldest
//! unfinished one. What has finished is no longer in the graph, but for its number, and its memory is freed while the run goes on. This
//! module must not know how long anything takes.

use super::op::{Chosen, Op, Stream, Work};
use super::packed::{Interned, PackedOp};
use crate::id::{CollectiveId, OpId, StreamId};
use crate::retiring::Retiring;
use crate::units::{Bytes, MemoryRoom, OutOfRange};
use std::collections::BTreeMap;

const NO_EDGE: u32 = u32::MAX;

/// What an operation waits for that has finished itself.
const FINISHED: u32 = u32::MAX;

/// How much there is to do in a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraphSize {
    /// Operations, transfers among them.
    pub ops: u64,
    /// Transfers.
    pub sends: u64,
    /// What they move.
    pub bytes: u64,
}

/// Memory that an operation takes at most with what it waits for, and with its span when it has ended.
const BYTES_PER_OP: u64 = 100;
/// What a transfer takes besides in a network model while it is under way: 215 B in all. Measured: 211 B in an all-to-all of 2,048 GPUs by
/// flows, where all are under way at once, 159 B in the analytic model; 90 B in rings of 1,024 GPUs and 63 B in an unfolded step of
/// decoding on 320, where few are.
const BYTES_PER_SEND: u64 = 115;

impl GraphSize {
    /// Memory that simulating it takes, in bytes.
    pub const fn memory(&self) -> u64 {
        self.ops.saturating_mul(BYTES_PER_OP).saturating_add(self.sends.saturating_mul(BYTES_PER_SEND))
    }

    fn count(&mut self, op: &Op) {
        self.ops += 1;
        if let Work::Send { bytes, .. } = op.work {
            self.sends += 1;
            self.bytes = self.bytes.saturating_add(bytes.get());
        }
    }
}

/// Operations that are counted at most where there are too many to keep them.
const COUNTED_MAX: u64 = 1 << 31;

/// An operation in the graph.
struct Node {
    op: PackedOp,
    /// Unfinished operations that it still waits for.
    waits_for: u32,
    /// Its dependents as a linked list.
    first_edge: u32,
}

/// A dependent, and the place of the next one.
struct Edge {
    dependent: OpId,
    next: u32,
}

/// Memory of an operation that has not finished, and of what it waits for once, in bytes.
pub const UNFINISHED_BYTES: usize = size_of::<Node>() + size_of::<Edge>();

/// Operations and what they wait for.
#[derive(Default)]
pub struct OpGraph {
    nodes: Retiring<Node>,
    edges: Retiring<Edge>,
    interned: Interned,
    streams: Vec<Stream>,
    /// New operations that wait for nothing that is left, and the latest operation whose end they follow.
    follows: Vec<(OpId, OpId)>,
    collectives: usize,
    size: GraphSize,
    /// What was taken off what counts against the room.
    forgotten: GraphSize,
    room: Option<MemoryRoom>,
    /// How often each was written down.
    chosen: BTreeMap<Chosen, u64>,
}

impl OpGraph {
    /// A graph that keeps no more than fits into `room`. What goes beyond is only counted, and ends the simulation with the figure as
    /// soon as somebody asks.
    pub fn within(room: MemoryRoom) -> OpGraph {
        OpGraph { room: Some(room), ..OpGraph::default() }
    }

    /// How much was added so far.
    pub fn size(&self) -> GraphSize {
        self.size
    }

    /// What memory is needed for: all that was added, but for what is forgotten.
    fn memory(&self) -> u64 {
        let GraphSize { ops, sends, bytes } = self.size;
        let of = self.forgotten;
        GraphSize { ops: ops - of.ops, sends: sends - of.sends, bytes: bytes.saturating_sub(of.bytes) }.memory()
    }

    /// Ends the simulation if there is more than fits into memory.
    pub fn check_room(&self) {
        if let Some(room) = self.room.filter(|room| self.memory() > room.bytes.get()) {
            OutOfRange::Memory { wanted: Bytes::new(self.memory()), room }.end();
        }
    }

    /// Counts an operation, and says whether it is kept.
    fn count(&mut self, op: &Op) -> bool {
        self.size.count(op);
        let keeps = self.room.is_none_or(|room| self.memory() <= room.bytes.get());
        if !keeps {
            // Whoever reads the figure needs nothing of what was kept.
            (self.nodes, self.edges) = (Retiring::default(), Retiring::default());
            if self.size.ops >= COUNTED_MAX {
                self.check_room();
            }
        }
        keeps
    }

    /// Adds a stream.
    pub fn stream(&mut self, stream: Stream) -> StreamId {
        self.streams.push(stream);
        StreamId::new(self.streams.len() - 1)
    }

    /// A fresh tag for the operations of one collective.
    pub fn collective(&mut self) -> CollectiveId {
        self.collectives += 1;
        CollectiveId::new(self.collectives - 1)
    }

    /// Remembers what was chosen for a collective that is written down.
    pub fn chose(&mut self, chosen: Chosen) {
        *self.chosen.entry(chosen).or_insert(0) += 1;
    }

    /// What was chosen for the collectives that were written down so far, and for how many.
    pub fn chosen(&self) -> &BTreeMap<Chosen, u64> {
        &self.chosen
    }

    /// Adds an operation that waits for all of `after`.
    pub fn push(&mut self, op: Op, after: &[OpId]) -> OpId {
        let is_send = matches!(op.work, Work::Send { .. });
        assert_eq!(op.stream.is_none(), is_send, "sends have no stream, all else has one: {op:?}");
        if !self.count(&op) {
            return OpId::new(self.size.ops as usize - 1);
        }
        let id = OpId::new(self.nodes.len());
        let mut waits_for = 0;
        for &earlier in after {
            assert!(earlier < id, "{id} waits for {earlier}, which is not older");
            if self.is_finished(earlier) {
                continue;
            }
            waits_for += 1;
            let edge = u32::try_from(self.edges.len()).ok().filter(|&edge| edge != NO_EDGE);
            let edge = edge.unwrap_or_else(|| OutOfRange::Amount.end());
            let next = std::mem::replace(&mut self.nodes[earlier.index()].first_edge, edge);
            self.edges.push(Edge { dependent: id, next });
        }
        if waits_for == 0
            && let Some(&latest) = after.iter().max()
        {
            self.follows.push((id, latest));
        }
        let op = self.interned.pack(&op);
        self.nodes.push(Node { op, waits_for, first_edge: NO_EDGE });
        id
    }

    /// Of the operations that were added since somebody asked: those all of whose dependencies had finished before, each with the latest of these.
    pub fn take_follows(&mut self) -> Vec<(OpId, OpId)> {
        std::mem::take(&mut self.follows)
    }

    /// Marks `op` as finished and appends the operations that waited for nothing else to `ready`, oldest first. What it was is handed
    /// over: to be unpacked by what [`OpGraph::into_interned`] gives, or for [`OpGraph::forget`].
    pub fn finish(&mut self, op: OpId, ready: &mut Vec<OpId>) -> PackedOp {
        let node = &mut self.nodes[op.index()];
        assert!(node.waits_for != FINISHED, "{op} finishes twice");
        assert_eq!(node.waits_for, 0, "{op} finishes before what it waits for");
        node.waits_for = FINISHED;
        let (packed, begin) = (node.op, ready.len());
        let mut edge = node.first_edge;
        self.nodes.retire(op.index());
        while edge != NO_EDGE {
            let Edge { dependent, next } = self.edges[edge as usize];
            let left = &mut self.nodes[dependent.index()].waits_for;
            *left -= 1;
            if *left == 0 {
                ready.push(dependent);
            }
            self.edges.retire(edge as usize);
            edge = next;
        }
        ready[begin..].reverse();
        packed
    }

    /// Gives up all that is known of an operation that has finished: it no longer counts against the room.
    pub fn forget(&mut self, packed: &PackedOp) {
        self.forgotten.count(&self.interned.unpack(packed));
        self.interned.release(packed);
    }

    /// Operations that wait for `op`, latest first.
    pub fn waiting_for(&self, op: OpId) -> impl Iterator<Item = OpId> + '_ {
        let edge = |edge: u32| (edge != NO_EDGE).then(|| &self.edges[edge as usize]);
        let first = edge(self.nodes[op.index()].first_edge);
        std::iter::successors(first, move |found| edge(found.next)).map(|found| found.dependent)
    }

    /// Whether `op` has finished.
    pub fn is_finished(&self, op: OpId) -> bool {
        self.nodes.get(op.index()).is_none_or(|node| node.waits_for == FINISHED)
    }

    /// Whether `op`, which has not finished, waits for nothing.
    pub fn is_ready(&self, op: OpId) -> bool {
        self.nodes[op.index()].waits_for == 0
    }

    /// The operation `id`.
    ///
    /// # Panics
    /// When it has finished.
    pub fn op(&self, id: OpId) -> Op {
        assert!(!self.is_finished(id), "{id} has finished, and is no longer in the graph");
        self.interned.unpack(&self.nodes[id.index()].op)
    }

    /// What `packed` was.
    pub fn unpack(&self, packed: &PackedOp) -> Op {
        self.interned.unpack(packed)
    }

    /// What packed operations have in common, for those that outlive the graph.
    pub fn into_interned(self) -> Interned {
        self.interned
    }

    /// Number of operations so far, finished ones included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no operation yet.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How often an operation was to wait for another one.
    pub fn n_dependencies(&self) -> usize {
        self.edges.len()
    }

    /// Every stream, in order of id.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DeviceId;
    use crate::retiring::CHUNK;
    use crate::workload::{Label, Phase};

    fn send(after: &[OpId], graph: &mut OpGraph) -> OpId {
        let work = Work::Send { from: DeviceId::new(0), to: DeviceId::new(1), bytes: Bytes::new(1) };
        graph.push(Op { work, label: Label::of(Phase::Collective), stream: None, collective: None }, after)
    }

    #[test]
    fn more_than_fits_is_counted_and_refused_with_the_figure() {
        use crate::units::within_range;
        let room = MemoryRoom { bytes: Bytes::new(10 * (BYTES_PER_OP + BYTES_PER_SEND)), limit: "a test" };
        let pushed = |sends: usize| {
            let mut graph = OpGraph::within(room);
            let mut last = None;
            for _ in 0..sends {
                last = Some(send(last.as_slice(), &mut graph));
            }
            within_range(|| graph.check_room()).map(|()| graph.size().sends)
        };
        assert_eq!(pushed(10), Ok(10));
        let wanted = Bytes::new(1000 * (BYTES_PER_OP + BYTES_PER_SEND));
        assert_eq!(pushed(1000), Err(OutOfRange::Memory { wanted, room }));
    }

    #[test]
    fn what_finished_before_is_not_waited_for() {
        let mut graph = OpGraph::default();
        let first = send(&[], &mut graph);
        let second = send(&[first], &mut graph);
        let third = send(&[first, second], &mut graph);
        let mut ready = Vec::new();
        graph.finish(first, &mut ready);
        assert_eq!(ready, [second]);
        let late = send(&[first], &mut graph);
        assert!(graph.is_ready(late) && !graph.is_ready(third));
        graph.finish(second, &mut ready);
        assert_eq!(ready, [second, third]);
    }

    #[test]
    fn what_is_forgotten_makes_room_for_more() {
        let room = MemoryRoom { bytes: Bytes::new(10 * (BYTES_PER_OP + BYTES_PER_SEND)), limit: "a test" };
        let mut graph = OpGraph::within(room);
        let mut ready = Vec::new();
        let mut last = send(&[], &mut graph);
        for _ in 0..3 * CHUNK {
            let next = send(&[last], &mut graph);
            let packed = graph.finish(last, &mut ready);
            graph.forget(&packed);
            graph.check_room();
            last = next;
        }
        assert_eq!((graph.len(), graph.n_dependencies(), ready.pop()), (3 * CHUNK + 1, 3 * CHUNK, Some(last)));
        assert!(graph.nodes.get(0).is_none() && graph.edges.get(CHUNK).is_none(), "memory is freed");
    }
}
