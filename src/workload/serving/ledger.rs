//! What is written down of each request while it is served.

use super::fleet::{PoolKind, WorkerId};
use super::requests::Request;
use super::sequence::{Sequence, StepEnd};
use super::served::{Served, ServedStep};
use crate::units::Time;

/// Requests of which every phase is written down: the first ones, and of the rest one in so many that as many come together again.
const FIRST_TRACED: usize = 64;

/// A request that is known.
#[derive(Clone, Copy, Debug)]
struct RequestState {
    request: Request,
    admitted: Time,
    /// When its first token was there; in the far future before.
    first: Time,
    /// The place of the worker to which its keys and values go, and the tensor-parallel group there.
    goes_to: (u32, u32),
}

/// When the phases of a request began and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTrace {
    /// Which request, in order of arrival.
    pub request: usize,
    /// When it arrived.
    pub arrival: Time,
    /// When the step began that was to take its prompt first.
    pub admitted: Time,
    /// When its prompt was computed.
    pub prefilled: Time,
    /// When its keys and values were where it decodes.
    pub moved: Time,
    /// When it had all its tokens; in the far future where it has not.
    pub finished: Time,
}

/// All requests so far.
#[derive(Debug)]
pub(super) struct Ledger {
    states: Vec<RequestState>,
    pub(super) served: Served,
    traces: Vec<RequestTrace>,
    trace_every: usize,
}

impl Ledger {
    /// An empty one for so many requests.
    pub(super) fn new(requests: usize) -> Ledger {
        let trace_every = (requests / FIRST_TRACED).max(1);
        Ledger { states: Vec::new(), served: Served::default(), traces: Vec::new(), trace_every }
    }

    /// Notes a request, and says which one it is.
    pub(super) fn add(&mut self, request: Request) -> usize {
        let index = self.states.len();
        self.served.last_arrival = self.served.last_arrival.max(request.arrival);
        let far = Time::FAR_FUTURE;
        self.states.push(RequestState { request, admitted: Time::ZERO, first: far, goes_to: (0, 0) });
        if self.is_traced(index) {
            let arrival = request.arrival;
            let trace =
                RequestTrace { request: index, arrival, admitted: far, prefilled: far, moved: far, finished: far };
            self.traces.push(trace);
        }
        index
    }

    fn is_traced(&self, index: usize) -> bool {
        index < FIRST_TRACED || index.is_multiple_of(self.trace_every)
    }

    fn trace(&mut self, index: usize) -> Option<&mut RequestTrace> {
        if !self.is_traced(index) {
            return None;
        }
        let place = self.traces.binary_search_by_key(&index, |trace| trace.request).ok()?;
        self.traces.get_mut(place)
    }

    pub(super) fn sequence(&self, index: usize) -> Sequence {
        Sequence::of(index, &self.states[index].request)
    }

    /// A request comes before the workers.
    pub(super) fn arrives(&mut self, sequence: &Sequence) {
        self.served.input_tokens += u64::from(sequence.input);
        self.served.computed_tokens += u64::from(sequence.computed);
    }

    pub(super) fn admit(&mut self, now: Time, index: usize) {
        self.states[index].admitted = now;
        if let Some(trace) = self.trace(index) {
            trace.admitted = trace.admitted.min(now);
        }
    }

    /// A step of a worker has ended.
    pub(super) fn step(&mut self, now: Time, worker: WorkerId, end: &StepEnd) {
        let decodes = worker.pool == PoolKind::Decode;
        // What is computed again came in before.
        let is_new = |sequence: &&Sequence| self.states[sequence.request].first == Time::FAR_FUTURE;
        let new = end.prompted.iter().filter(is_new);
        let input = new.map(|sequence| u64::from(sequence.input)).sum();
        // Where prompts are computed by another pool, answers of one token are complete there.
        let single = end.prompted.iter().filter(|sequence| sequence.output == 1).count() as f64;
        let output = if decodes { end.emitted } else { single };
        let step = ServedStep { start: end.start, end: now, output, input };
        let steps = if decodes { &mut self.served.decode_steps } else { &mut self.served.prefill_steps };
        steps.push(step);
        self.served.gaps.extend(end.gained);
        for sequence in &end.prompted {
            if let Some(trace) = self.trace(sequence.request) {
                trace.prefilled = trace.prefilled.min(now);
                // Where it decodes on the same worker, nothing travels.
                trace.moved = if decodes { trace.prefilled } else { trace.moved };
            }
        }
    }

    /// The prompt of a request is computed by a pool of its own.
    pub(super) fn prefilled(&mut self, now: Time, index: usize) {
        self.served.prefilled.push(now - self.states[index].request.arrival);
    }

    /// Keys and values of a request set out for a worker that decodes.
    pub(super) fn goes_to(&mut self, index: usize, worker: WorkerId, group: usize) {
        self.states[index].goes_to = (worker.place as u32, group as u32);
    }

    /// Keys and values of a request are at the worker and the tensor-parallel group that decode it.
    pub(super) fn moved(&mut self, now: Time, index: usize) -> (WorkerId, usize) {
        if let Some(trace) = self.trace(index) {
            trace.moved = now;
        }
        let (place, group) = self.states[index].goes_to;
        (WorkerId { pool: PoolKind::Decode, place: place as usize }, group as usize)
    }

    pub(super) fn first_token(&mut self, now: Time, index: usize) {
        let state = &mut self.states[index];
        if state.first != Time::FAR_FUTURE {
            // It was computed again.
            return;
        }
        state.first = now;
        self.served.ttft.push(now - state.request.arrival);
        self.served.ttft_admitted.push(now - state.admitted);
    }

    pub(super) fn finish(&mut self, now: Time, index: usize) {
        let RequestState { request: Request { arrival, input, output, .. }, first, .. } = self.states[index];
        if first != Time::FAR_FUTURE && output > 1 {
            self.served.decoded.push((now - first, output - 1));
        }
        self.served.whole.push(now - arrival);
        self.served.output_tokens += u64::from(output);
        self.served.finished.push((now, input, output));
        if let Some(trace) = self.trace(index) {
            trace.finished = now;
        }
    }

    /// What happened to all requests, and the phases of some.
    pub(super) fn close(self) -> (Served, Vec<RequestTrace>) {
        (self.served, self.traces)
    }
}
