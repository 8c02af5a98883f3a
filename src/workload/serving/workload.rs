//! Serving as the engine runs it: requests arrive, steps of workers are operations on their streams, keys and values travel in between.
//!
//! What happens at one time is taken in order: steps that end, of decoding workers first, then keys and values that come, then requests.

use super::fleet::{Fleet, PoolKind, WorkerId};
use super::handover::{Handover, KvBeside, KvPath, Transfers};
use super::ledger::{Ledger, RequestTrace};
use super::requests::Requests;
use super::sequence::{Sequence, StepLoad};
use super::served::Served;
use crate::id::{DeviceId, OpId, StreamId};
use crate::invalid::Invalid;
use crate::units::{Duration, Time};
use crate::workload::Workload;
use crate::workload::op::{Label, Op, OpGraph, Phase, Stream, Work};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Who knows how long steps take.
pub trait StepOracle {
    /// How long the step of `worker` takes that begins at `now`, beside these transfers of keys and values.
    ///
    /// # Errors
    /// When no such step can be simulated; the run ends with the finding.
    fn time(&mut self, now: Time, worker: WorkerId, load: &StepLoad, beside: KvBeside) -> Result<Duration, Invalid>;
}

/// Requests over time, and the workers that serve them.
pub struct ServingWorkload<'a> {
    fleet: Fleet,
    /// The GPU on which each worker is shown, in order of worker.
    devices: Vec<DeviceId>,
    streams: BTreeMap<WorkerId, StreamId>,
    source: Requests<'a>,
    /// From the arrival of a request until it is known to the router.
    front_end: Duration,
    steps: &'a mut dyn StepOracle,
    path: Option<&'a dyn KvPath>,
    transfers: Transfers,
    /// Requests to come, by when they are known to the router.
    arrivals: BinaryHeap<Reverse<(Time, usize)>>,
    running: BTreeMap<OpId, WorkerId>,
    ledger: Ledger,
    /// The decode step with most requests, and when it began.
    fullest: (f64, Time),
    /// Kept for their memory.
    ended: Vec<(WorkerId, OpId)>,
    moved: Vec<(usize, OpId)>,
    admitted: Vec<usize>,
}

/// What a run of serving leaves beside its timeline.
#[derive(Debug)]
pub struct ServingRecord {
    /// What happened to all requests.
    pub served: Served,
    /// Phases of some of them.
    pub traces: Vec<RequestTrace>,
    /// When the step with most decoding requests began.
    pub fullest: Time,
}

impl<'a> ServingWorkload<'a> {
    /// Serves the requests of `source` with the workers of `fleet`, whose steps take as long as is told. Each worker is shown on one
    /// of `devices`, in order. Keys and values travel as `path` says, where prompts are computed by a pool of their own.
    pub fn new(
        (fleet, devices): (Fleet, Vec<DeviceId>),
        (source, front_end): (Requests<'a>, Duration),
        steps: &'a mut dyn StepOracle,
        path: Option<&'a dyn KvPath>,
    ) -> ServingWorkload<'a> {
        ServingWorkload {
            fleet,
            devices,
            streams: BTreeMap::new(),
            ledger: Ledger::new(source.count()),
            source,
            front_end,
            steps,
            path,
            transfers: Transfers::default(),
            arrivals: BinaryHeap::new(),
            running: BTreeMap::new(),
            fullest: (0.0, Time::ZERO),
            ended: Vec::new(),
            moved: Vec::new(),
            admitted: Vec::new(),
        }
    }

    /// What happened, once the run is over.
    pub fn record(self) -> ServingRecord {
        let (served, traces) = self.ledger.close();
        ServingRecord { served, traces, fullest: self.fullest.1 }
    }

    /// Gives every worker a stream, and draws the first requests.
    fn begin(&mut self, graph: &mut OpGraph) {
        for (id, &device) in self.fleet.ids().zip(&self.devices) {
            let name = match id.pool {
                PoolKind::Decode => "decode worker",
                PoolKind::Prefill => "prefill worker",
            };
            self.streams.insert(id, graph.stream(Stream { device, rank: id.place, name }));
        }
        let users = self.source.users().map_or(1, |users| users.get());
        (0..users).for_each(|_| self.draw(Time::ZERO));
    }

    /// The next request, if there is one.
    fn draw(&mut self, now: Time) {
        if let Some(request) = self.source.next(now) {
            let index = self.ledger.add(request);
            self.arrivals.push(Reverse((request.arrival + self.front_end, index)));
        }
    }

    fn arrive(&mut self, now: Time, request: usize, graph: &mut OpGraph) -> Result<(), Invalid> {
        if self.source.users().is_none() {
            self.draw(now);
        }
        let sequence = self.ledger.sequence(request);
        self.ledger.arrives(&sequence);
        let worker = self.fleet.arrive(sequence);
        self.start(now, worker, None, graph)
    }

    /// The last of the keys and values of `request` have come with `op`.
    fn take_over(&mut self, now: Time, (request, op): (usize, OpId), graph: &mut OpGraph) -> Result<(), Invalid> {
        let (worker, group) = self.ledger.moved(now, request);
        self.fleet.take_over(worker, Sequence { group, ..self.ledger.sequence(request) });
        self.start(now, worker, Some(op), graph)
    }

    fn end_step(&mut self, now: Time, (worker, op): (WorkerId, OpId), graph: &mut OpGraph) -> Result<(), Invalid> {
        let end = self.fleet.worker(worker).end(now);
        self.ledger.step(now, worker, &end);
        match worker.pool {
            PoolKind::Prefill => {
                end.prompted.iter().for_each(|sequence| self.prefilled(now, (worker, op), sequence, graph));
            }
            PoolKind::Decode => {
                // A decoding worker sends out the first token of a request from another pool with the next one.
                let first = end.prompted.iter().chain(&end.begun);
                first.for_each(|sequence| self.ledger.first_token(now, sequence.request));
                end.finished.iter().for_each(|sequence| self.finish(now, sequence.request));
            }
        }
        self.start(now, worker, Some(op), graph)
    }

    /// A worker that only computes prompts has computed that of `sequence`, in the step `op`.
    fn prefilled(&mut self, now: Time, (from, op): (WorkerId, OpId), sequence: &Sequence, graph: &mut OpGraph) {
        let request = sequence.request;
        self.ledger.prefilled(now, request);
        if sequence.output == 1 {
            self.ledger.first_token(now, request);
            self.finish(now, request);
            return;
        }
        let (to, into_group) = self.fleet.hand_over(sequence);
        self.ledger.goes_to(request, to, into_group);
        let (positions, from_group) = (u64::from(sequence.input), sequence.group);
        let handover = Handover { request, positions, from, from_group, to, into_group };
        let parts = self.path.expect("pools are joined").parts(&handover);
        self.transfers.send(now, &handover, &parts, op, graph);
    }

    fn finish(&mut self, now: Time, request: usize) {
        self.ledger.finish(now, request);
        if self.source.users().is_some() {
            self.draw(now);
        }
    }

    /// Starts a step of `worker` if it idles and has something to do, after the operation that made it look.
    fn start(&mut self, now: Time, worker: WorkerId, after: Option<OpId>, graph: &mut OpGraph) -> Result<(), Invalid> {
        let load = self.fleet.worker(worker).start(now, &mut self.admitted);
        for request in self.admitted.drain(..) {
            self.ledger.admit(now, request);
        }
        let Some(load) = load else { return Ok(()) };
        let beside = self.transfers.beside(now, worker);
        let time = self.steps.time(now, worker, &load, beside)?;
        let phase = match (load.requests > 0.0, load.prompts > 0.0) {
            (true, true) => Phase::MixedStep,
            (false, true) => Phase::PrefillStep,
            _ => Phase::DecodeStep,
        };
        if load.requests > self.fullest.0 {
            self.fullest = (load.requests, now);
        }
        let stream = self.streams.get(&worker).copied();
        let op = Op { work: Work::Known(time), label: Label::of(phase), stream, collective: None };
        self.running.insert(graph.push(op, after.as_slice()), worker);
        Ok(())
    }
}

impl Workload for ServingWorkload<'_> {
    fn next_arrival(&self) -> Option<Time> {
        self.arrivals.peek().map(|&Reverse((at, _))| at)
    }

    fn advance(&mut self, now: Time, done: &[OpId], graph: &mut OpGraph) -> Result<(), Invalid> {
        if self.streams.is_empty() {
            self.begin(graph);
        }
        let (mut ended, mut moved) = (std::mem::take(&mut self.ended), std::mem::take(&mut self.moved));
        for &op in done {
            if let Some(worker) = self.running.remove(&op) {
                ended.push((worker, op));
            } else if let Some((request, since)) = self.transfers.arrive(op) {
                self.ledger.served.moved.push(now - since);
                moved.push((request, op));
            }
        }
        ended.sort_unstable();
        moved.sort_unstable();
        ended.drain(..).try_for_each(|step| self.end_step(now, step, graph))?;
        moved.drain(..).try_for_each(|request| self.take_over(now, request, graph))?;
        (self.ended, self.moved) = (ended, moved);
        while let Some(&Reverse((at, request))) = self.arrivals.peek()
            && at <= now
        {
            self.arrivals.pop();
            self.arrive(now, request, graph)?;
        }
        Ok(())
    }
}
