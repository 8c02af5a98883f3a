//! All instances of all pools over time: events in one total order (time, kind, index).

use crate::invalid::Invalid;
use crate::metrics::{Served, ServedStep};
use crate::units::{Bytes, BytesPerSec, Duration, Time};
use crate::workload::{EngineWorker, Request, Requests, Router, Sequence, StepLoad, WorkerLoad};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How keys and values get from one pool to the other. Prompts leave an instance, and reach one, in turn: what several send to
/// one waits for its NICs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    /// Keys and values of one position, all GPUs of an instance that send it together.
    pub(super) per_position: Bytes,
    /// What the GPUs of a prefill instance send.
    pub(super) out: NicRates,
    /// What the GPUs of a decode instance take in; what a tensor-parallel group needs on every GPU is passed on within it.
    pub(super) into: NicRates,
    /// Latency of the network.
    pub(super) latency: Duration,
}

/// What the NICs of an instance carry per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct NicRates {
    /// Those of all its GPUs.
    pub(super) all: BytesPerSec,
    /// Those of the GPUs that hold one request.
    pub(super) of_one: BytesPerSec,
}

/// When the NICs of an instance are free.
struct Line {
    rates: NicRates,
    free: Time,
}

impl Line {
    /// When `bytes` of one request that are ready at `now` have passed.
    fn pass(&mut self, now: Time, bytes: Bytes) -> Time {
        self.free = self.free.max(now) + bytes / self.rates.all;
        self.free.max(now + bytes / self.rates.of_one)
    }
}

/// The pools.
pub(super) struct Fleet {
    /// Instances that decode; where there are no others, they compute prompts too.
    pub(super) decode: Vec<EngineWorker>,
    /// Instances that only compute prompts.
    pub(super) prefill: Vec<EngineWorker>,
    /// Which of them take requests.
    pub(super) router: Box<dyn Router>,
    /// From these to those.
    pub(super) transfer: Option<Transfer>,
}

/// One of the pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Decode,
    Prefill,
}

/// How long a step of an instance of a pool takes.
pub(super) type StepTime<'a> = &'a mut dyn FnMut(Which, StepLoad) -> Result<Duration, Invalid>;

/// What happens, in the order in which it happens at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    DecodeStep(usize),
    PrefillStep(usize),
    Moved(usize),
    Arrival(usize),
}

struct Known {
    request: Request,
    admitted: Time,
    /// When its first token was there.
    first: Option<Time>,
    /// The instance to which its keys and values go.
    goes_to: usize,
}

struct Run<'a> {
    fleet: Fleet,
    steps: StepTime<'a>,
    source: Requests<'a>,
    events: BinaryHeap<Reverse<(Time, Event)>>,
    known: Vec<Known>,
    /// The NICs of each prefill instance outwards, and of each decode instance inwards.
    out: Vec<Line>,
    into: Vec<Line>,
    /// Requests on their way to each decode instance.
    coming: Vec<u64>,
    served: Served,
    admitted: Vec<usize>,
    /// From the arrival of a request until it is known here.
    front_end: Duration,
}

/// Serves all requests.
pub(super) fn serve<'a>(
    fleet: Fleet,
    source: Requests<'a>,
    front_end: Duration,
    steps: StepTime<'a>,
) -> Result<Served, Invalid> {
    let lines = |rates: Option<NicRates>, count: usize| -> Vec<Line> {
        rates.map_or_else(Vec::new, |rates| (0..count).map(|_| Line { rates, free: Time::ZERO }).collect())
    };
    let mut run = Run {
        out: lines(fleet.transfer.map(|transfer| transfer.out), fleet.prefill.len()),
        into: lines(fleet.transfer.map(|transfer| transfer.into), fleet.decode.len()),
        coming: vec![0; fleet.decode.len()],
        fleet,
        steps,
        source,
        events: BinaryHeap::new(),
        known: Vec::new(),
        served: Served::default(),
        admitted: Vec::new(),
        front_end,
    };
    let users = run.source.users().map_or(1, |users| users.get());
    (0..users).for_each(|_| run.draw(Time::ZERO));
    while let Some(Reverse((now, event))) = run.events.pop() {
        match event {
            Event::Arrival(request) => run.arrive(now, request)?,
            Event::Moved(request) => run.moved(now, request)?,
            Event::PrefillStep(instance) => run.prefill_step(now, instance)?,
            Event::DecodeStep(instance) => run.decode_step(now, instance)?,
        }
    }
    Ok(run.served)
}

impl Run<'_> {
    /// The next request, if there is one.
    fn draw(&mut self, now: Time) {
        if let Some(request) = self.source.next(now) {
            let index = self.known.len();
            self.served.last_arrival = self.served.last_arrival.max(request.arrival);
            self.known.push(Known { request, admitted: Time::ZERO, first: None, goes_to: 0 });
            self.events.push(Reverse((request.arrival + self.front_end, Event::Arrival(index))));
        }
    }

    fn sequence(&self, request: usize) -> Sequence {
        Sequence::of(request, &self.known[request].request)
    }

    fn arrive(&mut self, now: Time, request: usize) -> Result<(), Invalid> {
        if self.source.users().is_none() {
            self.draw(now);
        }
        let sequence = self.sequence(request);
        self.served.input_tokens += u64::from(sequence.input);
        self.served.computed_tokens += u64::from(sequence.computed);
        if self.fleet.prefill.is_empty() {
            let instance = route(&mut *self.fleet.router, &sequence, &self.fleet.decode, &self.coming);
            self.fleet.decode[instance].prefill(sequence);
            self.start_decode(now, instance)
        } else {
            let instance = route(&mut *self.fleet.router, &sequence, &self.fleet.prefill, &[]);
            self.fleet.prefill[instance].prefill(sequence);
            self.start_prefill(now, instance)
        }
    }

    fn moved(&mut self, now: Time, request: usize) -> Result<(), Invalid> {
        let sequence = self.sequence(request);
        let instance = self.known[request].goes_to;
        self.coming[instance] -= 1;
        self.fleet.decode[instance].decode(sequence);
        self.start_decode(now, instance)
    }

    fn prefill_step(&mut self, now: Time, instance: usize) -> Result<(), Invalid> {
        let end = self.fleet.prefill[instance].end(now);
        let input = end.prompted.iter().map(|sequence| u64::from(sequence.input)).sum();
        // Answers of one token are complete.
        let output = end.prompted.iter().filter(|sequence| sequence.output == 1).count() as f64;
        self.served.prefill_steps.push(ServedStep { start: end.start, end: now, output, input });
        for sequence in end.prompted {
            self.served.prefilled.push(now - self.known[sequence.request].request.arrival);
            if sequence.output == 1 {
                self.first_token(now, &sequence);
                self.finish(now, &sequence);
                continue;
            }
            self.hand_over(now, instance, &sequence);
        }
        self.start_prefill(now, instance)
    }

    /// Sends keys and values from a prefill instance to the decode instance that has least to do.
    fn hand_over(&mut self, now: Time, from: usize, sequence: &Sequence) {
        let transfer = self.fleet.transfer.expect("pools are joined");
        let to = route(&mut *self.fleet.router, sequence, &self.fleet.decode, &self.coming);
        self.coming[to] += 1;
        self.known[sequence.request].goes_to = to;
        let bytes = transfer.per_position * u64::from(sequence.input);
        let there = self.out[from].pass(now, bytes).max(self.into[to].pass(now, bytes)) + transfer.latency;
        self.served.moved.push(there - now);
        self.events.push(Reverse((there, Event::Moved(sequence.request))));
    }

    fn decode_step(&mut self, now: Time, instance: usize) -> Result<(), Invalid> {
        let end = self.fleet.decode[instance].end(now);
        // What is computed again came in before.
        let new = end.prompted.iter().filter(|sequence| self.known[sequence.request].first.is_none());
        let input = new.map(|sequence| u64::from(sequence.input)).sum();
        self.served.decode_steps.push(ServedStep { start: end.start, end: now, output: end.emitted, input });
        // A decoding instance sends out the first token of a request from another pool with the next one.
        end.prompted.iter().chain(&end.begun).for_each(|sequence| self.first_token(now, sequence));
        end.finished.iter().for_each(|sequence| self.finish(now, sequence));
        if let Some((gap, requests)) = end.gained {
            self.served.gaps.push((gap, requests));
        }
        self.start_decode(now, instance)
    }

    fn first_token(&mut self, now: Time, sequence: &Sequence) {
        let known = &mut self.known[sequence.request];
        if known.first.is_some() {
            // It was computed again.
            return;
        }
        known.first = Some(now);
        self.served.ttft.push(now - known.request.arrival);
        self.served.ttft_admitted.push(now - known.admitted);
    }

    fn finish(&mut self, now: Time, sequence: &Sequence) {
        let Known { request: Request { arrival, input, output, .. }, first, .. } = self.known[sequence.request];
        if let Some(first) = first
            && output > 1
        {
            self.served.tpot.push(Duration::from_ps((now - first).as_ps() / u64::from(output - 1)));
        }
        self.served.whole.push(now - arrival);
        self.served.output_tokens += u64::from(output);
        self.served.finished.push((now, input, output));
        if self.source.users().is_some() {
            self.draw(now);
        }
    }

    fn start_prefill(&mut self, now: Time, instance: usize) -> Result<(), Invalid> {
        if let Some(load) = self.fleet.prefill[instance].start(now, &mut self.admitted) {
            let time = (self.steps)(Which::Prefill, load)?;
            self.events.push(Reverse((now + time, Event::PrefillStep(instance))));
        }
        self.note_admitted(now);
        Ok(())
    }

    fn start_decode(&mut self, now: Time, instance: usize) -> Result<(), Invalid> {
        if let Some(load) = self.fleet.decode[instance].start(now, &mut self.admitted) {
            let time = (self.steps)(Which::Decode, load)?;
            self.events.push(Reverse((now + time, Event::DecodeStep(instance))));
        }
        self.note_admitted(now);
        Ok(())
    }

    fn note_admitted(&mut self, now: Time) {
        for request in self.admitted.drain(..) {
            self.known[request].admitted = now;
        }
    }
}

/// The worker that takes `sequence`, where so many are on their way to each.
fn route(router: &mut dyn Router, sequence: &Sequence, workers: &[EngineWorker], coming: &[u64]) -> usize {
    let mut loads = workers.iter().enumerate().map(|(place, worker)| {
        let WorkerLoad { requests, queued } = worker.load();
        WorkerLoad { requests: requests + coming.get(place).copied().unwrap_or(0), queued }
    });
    router.route(sequence, &mut loads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_pass_nics_in_turn_and_one_alone_at_the_rate_of_its_own() {
        let rates = NicRates { all: BytesPerSec::new(100), of_one: BytesPerSec::new(25) };
        let mut line = Line { rates, free: Time::ZERO };
        let at = |secs: u64| Time::from_ps(secs * 1_000_000_000_000);
        let pass = |line: &mut Line, now, bytes| line.pass(at(now), Bytes::new(bytes));
        assert_eq!(pass(&mut line, 0, 100), at(4), "a quarter of the NICs");
        assert_eq!(pass(&mut line, 0, 100), at(4), "another quarter, at the same time");
        assert_eq!(pass(&mut line, 0, 600), at(24), "alone for most of the time");
        assert_eq!(pass(&mut line, 0, 2000), at(80));
        assert_eq!(pass(&mut line, 0, 100), at(29), "all have to pass before it");
        assert_eq!(pass(&mut line, 1000, 100), at(1004), "idle again");
    }
}
