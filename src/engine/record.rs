//! Hands the spans of what has ended over, and keeps those that are asked for.

use crate::id::{DeviceId, LinkId};
use crate::timeline::{Ended, Place, Recorder, Spans};
use crate::topology::Topology;
use crate::workload::{Interned, Op, OpGraph, PackedOp};

/// Takes spans as operations end.
pub(super) struct Recording<'a> {
    recorder: Recorder<'a>,
    spans: Spans,
    /// Per link: whether data entered the network there.
    is_port: Vec<bool>,
    /// How many operations have ended.
    ended: usize,
}

impl<'a> Recording<'a> {
    pub(super) fn new(recorder: Recorder<'a>, topology: &Topology) -> Recording<'a> {
        let spans = match recorder {
            Recorder::Whole => Spans::default(),
            Recorder::Each(_) => Spans::of_some(),
        };
        Recording { recorder, spans, is_port: vec![false; topology.n_links()], ended: 0 }
    }

    /// Takes the span of an operation that has left `graph`, and gives up what is not kept of it.
    pub(super) fn record(&mut self, ended: &Ended, (op, packed): (&Op, PackedOp), graph: &mut OpGraph) {
        self.ended += 1;
        self.spans.count(&op.work, ended.end);
        if let Place::Port(link) = ended.place {
            self.is_port[link.index()] = true;
        }
        let keeps = match &mut self.recorder {
            Recorder::Whole => true,
            Recorder::Each(keeps) => keeps(&ended.span(op)),
        };
        if keeps {
            self.spans.keep(ended, packed);
        } else {
            graph.forget(&packed);
        }
    }

    /// How many operations have ended.
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    /// The spans that were kept, and the links on which data entered the network, with the devices where they begin.
    pub(super) fn complete(self, interned: Interned, topology: &Topology) -> (Spans, Vec<(LinkId, DeviceId)>) {
        let ports = topology.links().map(|(link, _)| link).filter(|link| self.is_port[link.index()]);
        let ports = ports.map(|link| (link, topology.ends(link).0)).collect();
        (self.spans.complete(interned), ports)
    }
}
