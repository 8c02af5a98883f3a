//! The event loop.

use super::events::Events;
use crate::gpu::{Cost, KernelModel};
use crate::id::{FlowId, LinkId, OpId, StreamId};
use crate::network::{Arrived, Flow, NetworkModel};
use crate::timeline::{Bound, Place, Span, Stranded, Timeline};
use crate::topology::Topology;
use crate::units::Time;
use crate::workload::{Op, OpGraph, Work, Workload};
use std::collections::VecDeque;

/// Runs `workload` to its end, or until nothing is left but transfers without a way and what waits for them.
///
/// # Panics
/// When operations are left that nothing can start: a workload whose streams and dependencies contradict each other.
pub fn run(
    workload: &mut dyn Workload,
    kernels: &mut dyn KernelModel,
    network: &mut dyn NetworkModel,
    topology: &Topology,
) -> Timeline {
    let mut engine = Engine {
        kernels,
        network,
        graph: OpGraph::default(),
        events: Events::default(),
        queues: Vec::new(),
        queued: 0,
        spans: Vec::new(),
        flows: Vec::new(),
        touched: Vec::new(),
        ready: Vec::new(),
    };
    let mut arrived = Vec::new();
    let mut done = Vec::new();
    let mut now = Time::ZERO;
    engine.ask(workload, now, &done);
    loop {
        let next = [engine.events.next(), workload.next_arrival()].into_iter().flatten().min();
        now = engine.network.advance_until(next.unwrap_or(Time::FAR_FUTURE), &mut arrived);
        if now == Time::FAR_FUTURE {
            break;
        }
        done.clear();
        for flow in arrived.drain(..) {
            done.push(engine.land(&flow));
        }
        if done.is_empty() {
            while let Some(op) = engine.events.pop_due(now) {
                done.push(op);
            }
        }
        engine.complete(now, &done);
        engine.ask(workload, now, &done);
    }
    engine.finish(topology)
}

struct Engine<'a> {
    kernels: &'a mut dyn KernelModel,
    network: &'a mut dyn NetworkModel,
    graph: OpGraph,
    events: Events,
    /// Per stream: the operations that have not started, oldest first, and what runs.
    queues: Vec<Queue>,
    /// Operations already put into queues or sent.
    queued: usize,
    spans: Vec<Option<Span>>,
    /// The operation of each flow.
    flows: Vec<OpId>,
    /// Streams that may start something now; kept for its memory.
    touched: Vec<StreamId>,
    /// Operations that have just become ready; kept for its memory.
    ready: Vec<OpId>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<OpId>,
    running: Option<OpId>,
    last: Option<OpId>,
}

/// Why an operation could start when it did.
#[derive(Clone, Copy)]
struct Cleared {
    ready: Time,
    by: Option<OpId>,
}

impl Engine<'_> {
    /// Lets the workload add operations, then queues them and starts what can.
    fn ask(&mut self, workload: &mut dyn Workload, now: Time, done: &[OpId]) {
        workload.advance(now, done, &mut self.graph);
        self.queues.resize_with(self.graph.streams().len(), Queue::default);
        self.spans.resize(self.graph.len(), None);
        let fresh = self.queued..self.graph.len();
        self.queued = self.graph.len();
        for id in fresh.map(OpId::new) {
            let op = *self.graph.op(id);
            match op.stream {
                Some(stream) => {
                    self.queues[stream.index()].waiting.push_back(id);
                    self.touched.push(stream);
                }
                None if self.graph.is_ready(id) => self.send(now, id, op, None),
                None => {}
            }
            if self.graph.is_ready(id) {
                self.clear(id, op, Cleared { ready: now, by: None });
            }
        }
        self.start_heads(now);
    }

    /// Starts what can on the touched streams, in order of stream.
    fn start_heads(&mut self, now: Time) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        touched.drain(..).for_each(|stream| self.start_head(now, stream));
        self.touched = touched;
    }

    /// Remembers when `id` became ready, in a span that is completed when it starts.
    fn clear(&mut self, id: OpId, op: Op, cleared: Cleared) {
        let Some(stream) = op.stream else { return };
        self.spans[id.index()] = Some(Span {
            op: id,
            work: op.work,
            label: op.label,
            collective: op.collective,
            place: Place::Stream(stream),
            ready: cleared.ready,
            start: Time::FAR_FUTURE,
            released: Time::FAR_FUTURE,
            end: Time::FAR_FUTURE,
            cause: cleared.by,
            bound: Bound::Nothing,
        });
    }

    /// Finishes `done` at `now`, and starts what that allows.
    fn complete(&mut self, now: Time, done: &[OpId]) {
        let mut ready = std::mem::take(&mut self.ready);
        for &id in done {
            if let Some(stream) = self.graph.op(id).stream {
                let queue = &mut self.queues[stream.index()];
                assert_eq!(queue.running.take(), Some(id), "{stream} runs one operation at a time");
                queue.last = Some(id);
                self.touched.push(stream);
            }
            ready.clear();
            self.graph.finish(id, &mut ready);
            for &next in &ready {
                let op = *self.graph.op(next);
                match op.stream {
                    Some(stream) => {
                        self.clear(next, op, Cleared { ready: now, by: Some(id) });
                        self.touched.push(stream);
                    }
                    None => self.send(now, next, op, Some(id)),
                }
            }
        }
        self.ready = ready;
        self.start_heads(now);
    }

    /// Starts the oldest operation of `stream` if it waits for nothing.
    fn start_head(&mut self, now: Time, stream: StreamId) {
        let queue = &mut self.queues[stream.index()];
        let Some(&id) = queue.waiting.front() else { return };
        if queue.running.is_some() || !self.graph.is_ready(id) {
            return;
        }
        queue.waiting.pop_front();
        queue.running = Some(id);
        let before = queue.last;
        let device = self.graph.streams()[stream.index()].device;
        let cost = match self.graph.op(id).work {
            Work::Compute(kernel) => self.kernels.cost(device, &kernel),
            Work::Copy(bytes) => {
                let kernel = crate::workload::Kernel::Elementwise { read: bytes, written: bytes };
                self.kernels.cost(device, &kernel)
            }
            Work::HostDelay(time) => Cost { time, bound: Bound::Host },
            Work::Known(time) => Cost { time, bound: Bound::Chunk },
            Work::Software(time) => Cost { time, bound: Bound::Software },
            Work::Send { .. } => unreachable!("sends have no stream"),
        };
        let end = now + cost.time;
        let span = self.spans[id.index()].as_mut().expect("an operation that starts has become ready");
        // What became ready before its turn waited for its stream, else for what it depends on.
        span.cause = if now > span.ready { before } else { span.cause };
        (span.start, span.released, span.end, span.bound) = (now, end, end, cost.bound);
        self.events.push(end, id);
    }

    fn send(&mut self, now: Time, id: OpId, op: Op, by: Option<OpId>) {
        let Work::Send { from, to, bytes } = op.work else { unreachable!("{op:?} has no stream and is no send") };
        let flow = FlowId::new(self.flows.len());
        self.flows.push(id);
        self.spans[id.index()] = Some(Span {
            op: id,
            work: op.work,
            label: op.label,
            collective: op.collective,
            place: Place::Port(LinkId::new(0)),
            ready: now,
            start: Time::FAR_FUTURE,
            released: Time::FAR_FUTURE,
            end: Time::FAR_FUTURE,
            cause: by,
            bound: Bound::Link,
        });
        self.network.start(now, Flow { id: flow, from, to, bytes });
    }

    /// Records the arrival of a flow and names its operation.
    fn land(&mut self, flow: &Arrived) -> OpId {
        let id = self.flows[flow.flow.index()];
        let cause = flow.waited_for.map(|other| self.flows[other.index()]);
        let span = self.spans[id.index()].as_mut().expect("a flow that arrives has started");
        (span.start, span.released, span.end) = (flow.start, flow.injected, flow.end);
        span.place = Place::Port(flow.port);
        span.cause = cause.or(span.cause);
        span.bound = if flow.latency_bound { Bound::Latency } else { Bound::Link };
        id
    }

    fn finish(self, topology: &Topology) -> Timeline {
        let stranded: Vec<Stranded> = self.network.stranded().into_iter().map(|flow| self.stranded(flow)).collect();
        let mut spans = self.spans;
        if stranded.is_empty() {
            let stuck = self.queues.iter().find_map(|queue| queue.waiting.front());
            assert!(stuck.is_none(), "{} of {} can never start", stuck.expect("there is one"), self.graph.len());
        } else {
            spans.retain(|span| span.is_some_and(|span| span.end != Time::FAR_FUTURE));
        }
        let spans: Vec<Span> = spans.into_iter().map(|span| span.expect("every operation has run")).collect();
        let mut is_port = vec![false; topology.n_links()];
        for span in &spans {
            if let Place::Port(link) = span.place {
                is_port[link.index()] = true;
            }
        }
        let ports = topology.links().map(|(link, _)| link).filter(|link| is_port[link.index()]);
        let ports = ports.map(|link| (link, topology.ends(link).0)).collect();
        Timeline { spans, streams: self.graph.streams().to_vec(), ports, stranded, links: self.network.link_use() }
    }

    fn stranded(&self, stranded: crate::network::Stranded) -> Stranded {
        let op = self.flows[stranded.flow.index()];
        match self.graph.op(op).work {
            Work::Send { from, to, bytes } => Stranded { op, from, to, bytes, since: stranded.since },
            other => unreachable!("{other:?} is no transfer"),
        }
    }
}
