//! The event loop.

use super::beside::Beside;
use super::events::Events;
use super::flows::Flows;
use super::record::Recording;
use super::residency::{Mark, Residency};
use crate::gpu::{Cost, KernelModel};
use crate::id::{DeviceId, OpId, StreamId};
use crate::invalid::Invalid;
use crate::network::{Arrived, Flow, NetworkModel};
use crate::timeline::{Bound, Effort, Ended, Place, Recorder, Stranded, Timeline};
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
    let limits = Limits { room: MemoryRoom::UNLIMITED, expect: &|_| {} };
    run_within(workload, kernels, network, topology, limits, Recorder::Whole)
}

/// What a run may take, and who is told what it will.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// Memory for operations, spans and transfers. What wants more ends as [`OutOfRange::Memory`](crate::units::OutOfRange).
    pub room: MemoryRoom,
    /// Is told how much there is to do, before it is done: at first, and whenever that has doubled.
    pub expect: &'a dyn Fn(GraphSize),
}

/// Runs `workload` within `limits`, hands spans to `recorder`, and otherwise is as [`run`].
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
    recorder: Recorder<'_>,
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
        cleared: BTreeMap::new(),
        flows: Flows::default(),
        recording: Recording::new(recorder, topology),
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
        done.extend(arrived.iter().map(|arrived: &Arrived| engine.flows.op(arrived.flow)));
        if done.is_empty() {
            while let Some(op) = engine.events.pop_due(now) {
                if engine.is_over(now, op) {
                    done.push(op);
                }
            }
        }
        engine.complete(now, &done, &arrived);
        arrived.clear();
        // Where kernels only got other shares, there is nothing to tell.
        if !done.is_empty() || workload.next_arrival().is_some_and(|at| at <= now) {
            engine.ask(workload, now, &done)?;
        }
    }
    Ok(engine.finish(topology))
}

struct Engine<'a, 'r> {
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
    /// Operations of streams that are ready and have not started: since when, and why.
    cleared: BTreeMap<OpId, Cleared>,
    /// Transfers in the network.
    flows: Flows,
    recording: Recording<'r>,
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
    running: Option<Running>,
    last: Option<OpId>,
}

/// An operation on its stream.
#[derive(Clone, Copy)]
struct Running {
    op: OpId,
    ready: Time,
    start: Time,
    /// When it ends as things stand.
    end: Time,
    cause: Option<OpId>,
    bound: Bound,
}

/// Why an operation could start when it did.
#[derive(Clone, Copy)]
struct Cleared {
    ready: Time,
    by: Option<OpId>,
}

impl Engine<'_, '_> {
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
        let fresh = self.queued..self.graph.len();
        self.queued = self.graph.len();
        let mut follows = self.graph.take_follows().into_iter().peekable();
        for id in fresh.map(OpId::new) {
            let op = self.graph.op(id);
            let by = follows.next_if(|&(added, _)| added == id).map(|(_, earlier)| earlier);
            match op.stream {
                Some(stream) => {
                    self.queues[stream.index()].waiting.push_back(id);
                    self.touched.push(stream);
                }
                None if self.graph.is_ready(id) => self.send(now, id, op, by),
                None => {}
            }
            if op.stream.is_some() && self.graph.is_ready(id) {
                self.cleared.insert(id, Cleared { ready: now, by });
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
        let Op { work, stream, .. } = self.graph.op(op);
        let kernel = match work {
            Work::Compute(kernel) => kernel,
            Work::Copy(bytes) => Kernel::Elementwise { read: bytes, written: bytes },
            Work::HostDelay(_) | Work::Known(_) | Work::Software(_) | Work::Send { .. } => return None,
        };
        Some((self.graph.streams()[stream?.index()].device, kernel))
    }

    /// Notes that the kernel of `op` has ended on `device`. What bounded it, if it was not alone all the time.
    fn finish_kernel(&mut self, now: Time, op: OpId, device: DeviceId) -> Option<Bound> {
        let (running, others) = self.devices[device.index()].finish(op);
        if let Some(mark) = self.begun.remove(&op) {
            let readers =
                self.graph.waiting_for(op).filter(|&reader| self.kernel(reader).is_some_and(|(on, _)| on == device));
            self.written.extend(readers.collect::<Vec<_>>().into_iter().map(|reader| (reader, mark)));
        }
        if others {
            self.changed.push(device);
        }
        running.bound(now)
    }

    /// Takes the operation that runs on `stream`, which ends at `now`, off it.
    fn stop(&mut self, now: Time, id: OpId, stream: StreamId) -> Ended {
        let queue = &mut self.queues[stream.index()];
        let running = queue.running.take().filter(|running| running.op == id);
        let Running { op, ready, start, mut end, cause, mut bound } =
            running.unwrap_or_else(|| panic!("{stream} runs one operation at a time, and not {id}"));
        queue.last = Some(id);
        self.touched.push(stream);
        if let Some((device, _)) = self.kernel(id)
            && let Some(found) = self.finish_kernel(now, id, device)
        {
            (end, bound) = (now, found);
        }
        Ended { op, place: Place::Stream(stream), ready, start, released: end, end, cause, bound }
    }

    /// What is to be recorded of a transfer that has arrived.
    fn landed(&mut self, arrived: &Arrived) -> Ended {
        let Arrived { flow, port, start, injected, end, waited_for, latency_bound } = *arrived;
        let (ready, by) = self.flows.arrive(flow);
        let cause = waited_for.map(|other| self.flows.op(other)).or(by);
        let bound = if latency_bound { Bound::Latency } else { Bound::Link };
        Ended { op: self.flows.op(flow), place: Place::Port(port), ready, start, released: injected, end, cause, bound }
    }

    /// Finishes `done` at `now`, of which transfers are in `arrived` in the same order, and starts what that allows.
    fn complete(&mut self, now: Time, done: &[OpId], arrived: &[Arrived]) {
        let mut ready = std::mem::take(&mut self.ready);
        for (at, &id) in done.iter().enumerate() {
            let op = self.graph.op(id);
            let ended = match op.stream {
                Some(stream) => self.stop(now, id, stream),
                None => self.landed(&arrived[at]),
            };
            ready.clear();
            let packed = self.graph.finish(id, &mut ready);
            self.recording.record(&ended, (&op, packed), &mut self.graph);
            for &next in &ready {
                let op = self.graph.op(next);
                match op.stream {
                    Some(stream) => {
                        self.cleared.insert(next, Cleared { ready: now, by: Some(id) });
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
        let before = queue.last;
        let cost = match self.graph.op(id).work {
            Work::Compute(_) | Work::Copy(_) => self.start_kernel(now, id),
            Work::HostDelay(time) => Cost { time, bound: Bound::Host },
            Work::Known(time) => Cost { time, bound: Bound::Chunk },
            Work::Software(time) => Cost { time, bound: Bound::Software },
            Work::Send { .. } => unreachable!("sends have no stream"),
        };
        let end = now + cost.time;
        let Cleared { ready, by } = self.cleared.remove(&id).expect("an operation that starts has become ready");
        // What became ready before its turn waited for its stream, else for what it depends on.
        let cause = if now > ready { before } else { by };
        self.queues[stream.index()].running =
            Some(Running { op: id, ready, start: now, end, cause, bound: cost.bound });
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
        let flow = self.flows.start(id, now, by);
        self.network.start(now, Flow { id: flow, from, to, bytes });
    }

    fn finish(self, topology: &Topology) -> Timeline {
        let stranded: Vec<Stranded> = self.network.stranded().into_iter().map(|flow| self.stranded(flow)).collect();
        if stranded.is_empty() {
            let stuck = self.queues.iter().find_map(|queue| queue.waiting.front());
            assert!(stuck.is_none(), "{} of {} can never start", stuck.expect("there is one"), self.graph.len());
            assert_eq!(self.recording.ended(), self.graph.len(), "every operation has run");
        }
        let effort = Effort {
            operations: self.graph.len() as u64,
            dependencies: self.graph.n_dependencies() as u64,
            instants: self.instants,
        };
        let (streams, links) = (self.graph.streams().to_vec(), self.network.link_use());
        let collectives = self.graph.chosen().iter().map(|(chosen, count)| (*chosen, *count)).collect();
        let (recorded, ports) = self.recording.complete(self.graph.into_interned(), topology);
        Timeline { recorded, streams, ports, stranded, links, collectives, effort, requests: Vec::new() }
    }

    fn stranded(&self, stranded: crate::network::Stranded) -> Stranded {
        let op = self.flows.op(stranded.flow);
        match self.graph.op(op).work {
            Work::Send { from, to, bytes } => Stranded { op, from, to, bytes, since: stranded.since },
            other => unreachable!("{other:?} is no transfer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::flows::FLOW_BYTES;
    use crate::network::{ANALYTIC_FLOW_BYTES, SHARED_FLOW_BYTES};
    use crate::timeline::SPAN_BYTES;
    use crate::workload::UNFINISHED_BYTES;

    #[test]
    fn a_transfer_takes_little_memory_at_any_time() {
        // One that waits for its turn, and one that has ended and is kept.
        assert_eq!([UNFINISHED_BYTES, SPAN_BYTES], [36, 52]);
        // One that is under way, with all that can be there at once: a chunk of spans is begun before that of operations is freed.
        let under_way = UNFINISHED_BYTES + FLOW_BYTES;
        assert!(under_way + ANALYTIC_FLOW_BYTES + SPAN_BYTES <= 150, "{under_way} {ANALYTIC_FLOW_BYTES}");
        assert!(under_way + SHARED_FLOW_BYTES <= 185, "{under_way} {SHARED_FLOW_BYTES}");
    }
}
