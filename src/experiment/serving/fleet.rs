//! All instances of all pools over time: events in one total order (time, kind, index).

use super::instance::{Instance, Ticket};
use super::times::Load;
use crate::invalid::Invalid;
use crate::metrics::{Served, ServedStep};
use crate::units::{Bytes, BytesPerSec, Duration, Time};
use crate::workload::{Request, Requests};
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
    pub(super) decode: Vec<Instance>,
    /// Instances that only compute prompts.
    pub(super) prefill: Vec<Instance>,
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
pub(super) type StepTime<'a> = &'a mut dyn FnMut(Which, Load) -> Result<Duration, Invalid>;

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
    coming: Vec<usize>,
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

    fn ticket(&self, request: usize) -> Ticket {
        let Request { input, computed, output, .. } = self.known[request].request;
        Ticket { request, input, computed, output, group: 0 }
    }

    fn arrive(&mut self, now: Time, request: usize) -> Result<(), Invalid> {
        if self.source.users().is_none() {
            self.draw(now);
        }
        let ticket = self.ticket(request);
        self.served.input_tokens += u64::from(ticket.input);
        self.served.computed_tokens += u64::from(ticket.computed);
        if self.fleet.prefill.is_empty() {
            let instance = least(&self.fleet.decode, |_, instance| (instance.load() as u64, instance.queued));
            self.fleet.decode[instance].prompt(ticket);
            self.start_decode(now, instance)
        } else {
            let instance = least(&self.fleet.prefill, |_, instance| (instance.queued, 0));
            self.fleet.prefill[instance].prompt(ticket);
            self.start_prefill(now, instance)
        }
    }

    fn moved(&mut self, now: Time, request: usize) -> Result<(), Invalid> {
        let ticket = self.ticket(request);
        let instance = self.known[request].goes_to;
        self.coming[instance] -= 1;
        self.fleet.decode[instance].decode(ticket);
        self.start_decode(now, instance)
    }

    fn prefill_step(&mut self, now: Time, instance: usize) -> Result<(), Invalid> {
        let end = self.fleet.prefill[instance].end(now);
        let input = end.prompted.iter().map(|ticket| u64::from(ticket.input)).sum();
        // Answers of one token are complete.
        let output = end.prompted.iter().filter(|ticket| ticket.output == 1).count() as f64;
        self.served.prefill_steps.push(ServedStep { start: end.start, end: now, output, input });
        for ticket in end.prompted {
            self.served.prefilled.push(now - self.known[ticket.request].request.arrival);
            if ticket.output == 1 {
                self.first_token(now, &ticket);
                self.finish(now, &ticket);
                continue;
            }
            self.hand_over(now, instance, &ticket);
        }
        self.start_prefill(now, instance)
    }

    /// Sends keys and values from a prefill instance to the decode instance that has least to do.
    fn hand_over(&mut self, now: Time, from: usize, ticket: &Ticket) {
        let transfer = self.fleet.transfer.expect("pools are joined");
        let coming = &self.coming;
        let to = least(&self.fleet.decode, |at, instance| ((instance.load() + coming[at]) as u64, 0));
        self.coming[to] += 1;
        self.known[ticket.request].goes_to = to;
        let bytes = transfer.per_position * u64::from(ticket.input);
        let there = self.out[from].pass(now, bytes).max(self.into[to].pass(now, bytes)) + transfer.latency;
        self.served.moved.push(there - now);
        self.events.push(Reverse((there, Event::Moved(ticket.request))));
    }

    fn decode_step(&mut self, now: Time, instance: usize) -> Result<(), Invalid> {
        let end = self.fleet.decode[instance].end(now);
        // What is computed again came in before.
        let new = end.prompted.iter().filter(|ticket| self.known[ticket.request].first.is_none());
        let input = new.map(|ticket| u64::from(ticket.input)).sum();
        self.served.decode_steps.push(ServedStep { start: end.start, end: now, output: end.emitted, input });
        // A decoding instance sends out the first token of a request from another pool with the next one.
        end.prompted.iter().chain(&end.begun).for_each(|ticket| self.first_token(now, ticket));
        end.finished.iter().for_each(|ticket| self.finish(now, ticket));
        if let Some((gap, requests)) = end.gained {
            self.served.gaps.push((gap, requests));
        }
        self.start_decode(now, instance)
    }

    fn first_token(&mut self, now: Time, ticket: &Ticket) {
        let known = &mut self.known[ticket.request];
        if known.first.is_some() {
            // It was computed again.
            return;
        }
        known.first = Some(now);
        self.served.ttft.push(now - known.request.arrival);
        self.served.ttft_admitted.push(now - known.admitted);
    }

    fn finish(&mut self, now: Time, ticket: &Ticket) {
        let Known { request: Request { arrival, input, output, .. }, first, .. } = self.known[ticket.request];
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
        let steps = &mut |load| (self.steps)(Which::Prefill, load);
        if let Some(end) = self.fleet.prefill[instance].start(now, &mut self.admitted, steps)? {
            self.events.push(Reverse((end, Event::PrefillStep(instance))));
        }
        self.note_admitted(now);
        Ok(())
    }

    fn start_decode(&mut self, now: Time, instance: usize) -> Result<(), Invalid> {
        let steps = &mut |load| (self.steps)(Which::Decode, load);
        if let Some(end) = self.fleet.decode[instance].start(now, &mut self.admitted, steps)? {
            self.events.push(Reverse((end, Event::DecodeStep(instance))));
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

/// The instance with the least of something; the first of equals.
fn least(instances: &[Instance], of: impl Fn(usize, &Instance) -> (u64, u64)) -> usize {
    (0..instances.len()).min_by_key(|&place| of(place, &instances[place])).expect("a pool has an instance")
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
