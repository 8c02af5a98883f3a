//! The event loop.

use super::beside::Beside;
use super::events::Events;
use super::residency::{Mark, Residency};
use crate::gpu::{Cost, KernelModel};
use crate::id::{DeviceId, FlowId, LinkId, OpId, StreamId};
use crate::invalid::Invalid;
use crate::network::{Arrived, Flow, NetworkModel};
use crate::timeline::{Bound, Effort, Place, Span, Stranded, Timeline};
use crate::topology::Topology;
use crate::units::{Bytes, MemoryRoom, Time};
use crate::workload::{GraphSize, Kernel, Op, OpGraph, Work, Workload};
use std::collections::{BTreeMap, VecDeque};

/// Runs `workload` to its end, or until nothing is left but transfers without a way and what waits for them.
///
/// # Errors
/// Those of the workload.
///
/// # Panics
/// When operations are left that nothing can start: a workload whose streams and dependencies contradict each other.
pub fn run(
    workload: &mut dyn Workload,
    kernels: &mut dyn KernelModel,
    network: &mut dyn NetworkModel,
    topology: &Topology,
) -> Result<Timeline, Invalid> {
    run_within(workload, kernels, network, topology, Limits { room: MemoryRoom::UNLIMITED, expect: &|_| {} })
}

/// What a run may take, and who is told what it will.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// Memory for operations, spans and transfers. What wants more ends as [`OutOfRange::Memory`](crate::units::OutOfRange).
    pub room: MemoryRoom,
    /// Is told how much there is to do, before it is done: at first, and whenever that has doubled.
    pub expect: &'a dyn Fn(GraphSize),
}

/// Runs `workload` within `limits`, and otherwise as [`run`].
///
/// # Errors
/// As [`run`].
///
/// # Panics
/// As [`run`].
pub fn run_within(
    workload: &mut dyn Workload,
    kernels: &mut dyn KernelModel,
    network: &mut dyn NetworkModel,
    topology: &Topology,
    limits: Limits<'_>,
) -> Result<Timeline, Invalid> {
    let mut engine = Engine {
        kernels,
        network,
        graph: OpGraph::within(limits.room),
        limits,
        told: 0,
        events: Events::default(),
        queues: Vec::new(),
        queued: 0,
        spans: Vec::new(),
        flows: Vec::new(),
        touched: Vec::new(),
        ready: Vec::new(),
        devices: Vec::new(),
        changed: Vec::new(),
        instants: 0,
        caches: Vec::new(),
        begun: BTreeMap::new(),
        written: BTreeMap::new(),
        between_uses: None,
    };
    let mut arrived = Vec::new();
    let mut done = Vec::new();
    let mut now = Time::ZERO;
    engine.ask(workload, now, &done)?;
    loop {
        let next = [engine.events.next(), workload.next_arrival()].into_iter().flatten().min();
        now = engine.network.advance_until(next.unwrap_or(Time::FAR_FUTURE), &mut arrived);
        if now == Time::FAR_FUTURE {
            break;
        }
        engine.instants += 1;
        done.clear();
        for flow in arrived.drain(..) {
            done.push(engine.land(&flow));
        }
        if done.is_empty() {
            while let Some(op) = engine.events.pop_due(now) {
                if engine.is_over(now, op) {
                    done.push(op);
                }
            }
        }
        engine.complete(now, &done);
        // Where kernels only got other shares, there is nothing to tell.
        if !done.is_empty() || workload.next_arrival().is_some_and(|at| at <= now) {
            engine.ask(workload, now, &done)?;
        }
    }
    Ok(engine.finish(topology))
}

struct Engine<'a> {
    kernels: &'a mut dyn KernelModel,
    network: &'a mut dyn NetworkModel,
    graph: OpGraph,
    limits: Limits<'a>,
    /// How many operations were told of.
    told: u64,
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
    /// The kernels that run on each device.
    devices: Vec<Beside>,
    /// Devices on which kernels get other shares now; kept for its memory.
    changed: Vec<DeviceId>,
    /// Instants at which something happened.
    instants: u64,
    /// What each device has touched.
    caches: Vec<Residency>,
    /// When kernels that run began, in what their device had touched.
    begun: BTreeMap<OpId, Mark>,
    /// For kernels that have not started: when the last one began that they waited for, on the same device.
    written: BTreeMap<OpId, Mark>,
    /// What a device touches between two uses of the same weights.
    between_uses: Option<Bytes>,
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
    fn ask(&mut self, workload: &mut dyn Workload, now: Time, done: &[OpId]) -> Result<(), Invalid> {
        workload.advance(now, done, &mut self.graph)?;
        self.graph.check_room();
        if self.graph.size().ops > 2 * self.told {
            self.told = self.graph.size().ops;
            (self.limits.expect)(self.graph.size());
        }
        self.between_uses = workload.between_uses();
        self.queues.resize_with(self.graph.streams().len(), Queue::default);
        self.spans.resize(self.graph.len(), None);
        let fresh = self.queued..self.graph.len();
        self.queued = self.graph.len();
        let mut follows = self.graph.take_follows().into_iter().peekable();
        for id in fresh.map(OpId::new) {
            let op = *self.graph.op(id);
            let by = follows.next_if(|&(added, _)| added == id).map(|(_, earlier)| earlier);
            match op.stream {
                Some(stream) => {
                    self.queues[stream.index()].waiting.push_back(id);
                    self.touched.push(stream);
                }
                None if self.graph.is_ready(id) => self.send(now, id, op, by),
                None => {}
            }
            if self.graph.is_ready(id) {
                self.clear(id, op, Cleared { ready: now, by });
            }
        }
        self.start_heads(now);
        Ok(())
    }

    /// Starts what can on the touched streams, in order of stream.
    fn start_heads(&mut self, now: Time) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        touched.drain(..).for_each(|stream| self.start_head(now, stream));
        self.touched = touched;
        self.reshare(now);
    }

    /// Gives kernels their shares on devices where that has changed, in order of device.
    fn reshare(&mut self, now: Time) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        for device in changed.drain(..) {
            for moved in self.devices[device.index()].reshare(now, device, self.kernels) {
                self.events.withdraw(moved.before, moved.op);
                self.events.push(moved.due, moved.op);
            }
        }
        self.changed = changed;
    }

    /// Whether the change that was planned for `op` is its end; else kernels get other shares.
    fn is_over(&mut self, now: Time, op: OpId) -> bool {
        let Some((device, _)) = self.kernel(op) else { return true };
        let over = self.devices[device.index()].is_over(now, op);
        if !over {
            self.changed.push(device);
        }
        over
    }

    /// The kernel that `op` runs, and where.
    fn kernel(&self, op: OpId) -> Option<(DeviceId, Kernel)> {
        let Op { work, stream, .. } = *self.graph.op(op);
        let kernel = match work {
            Work::Compute(kernel) => kernel,
            Work::Copy(bytes) => Kernel::Elementwise { read: bytes, written: bytes },
            Work::HostDelay(_) | Work::Known(_) | Work::Software(_) | Work::Send { .. } => return None,
        };
        Some((self.graph.streams()[stream?.index()].device, kernel))
    }

    /// Notes that the kernel of `op` has ended on `device`, and what bounded it.
    fn finish_kernel(&mut self, now: Time, op: OpId, device: DeviceId) {
        let (running, others) = self.devices[device.index()].finish(op);
        if let Some(mark) = self.begun.remove(&op) {
            let readers =
                self.graph.waiting_for(op).filter(|&reader| self.kernel(reader).is_some_and(|(on, _)| on == device));
            self.written.extend(readers.collect::<Vec<_>>().into_iter().map(|reader| (reader, mark)));
        }
        if others {
            self.changed.push(device);
        }
        if let Some(bound) = running.bound(now) {
            let span = self.spans[op.index()].as_mut().expect("an operation that runs has a span");
            (span.released, span.end, span.bound) = (now, now, bound);
        }
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
            if let Some((device, _)) = self.kernel(id) {
                self.finish_kernel(now, id, device);
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
        let cost = match self.graph.op(id).work {
            Work::Compute(_) | Work::Copy(_) => self.start_kernel(now, id),
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

    /// Starts the kernel of `op`. What it costs if it stays alone.
    fn start_kernel(&mut self, now: Time, op: OpId) -> Cost {
        let (device, kernel) = self.kernel(op).expect("a kernel is started");
        if self.devices.len() <= device.index() {
            self.devices.resize_with(device.index() + 1, Beside::default);
            self.caches.resize(device.index() + 1, Residency::new(self.between_uses));
        }
        let caches = &mut self.caches[device.index()];
        let conditions = caches.conditions(self.written.remove(&op));
        self.begun.insert(op, caches.begin(&kernel));
        let course = self.kernels.course_under(&conditions, device, &kernel);
        if !self.devices[device.index()].start(now, op, (kernel, conditions), course) {
            self.changed.push(device);
        }
        course.cost
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
        let effort = Effort {
            operations: self.graph.len() as u64,
            dependencies: self.graph.n_dependencies() as u64,
            instants: self.instants,
        };
        let (streams, links) = (self.graph.streams().to_vec(), self.network.link_use());
        let collectives = self.graph.chosen().iter().map(|(chosen, count)| (*chosen, *count)).collect();
        Timeline { spans, streams, ports, stranded, links, collectives, effort, requests: Vec::new() }
    }

    fn stranded(&self, stranded: crate::network::Stranded) -> Stranded {
        let op = self.flows[stranded.flow.index()];
        match self.graph.op(op).work {
            Work::Send { from, to, bytes } => Stranded { op, from, to, bytes, since: stranded.since },
            other => unreachable!("{other:?} is no transfer"),
        }
    }
}
