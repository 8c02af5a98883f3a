//! An engine worker: one copy of a deployment that takes step after step. It joins a scheduler and a KV cache over its own queues.
//!
//! It must not know how long a step takes: it is told.

use super::kv_cache::KvCache;
use super::queues::RequestQueues;
use super::router::WorkerLoad;
use super::scheduler::{ScheduledBatch, Scheduler};
use super::sequence::{Sequence, StepEnd, StepLoad};
use crate::units::{Duration, Time};

/// What a worker is.
#[derive(Clone, Copy, Debug)]
pub struct WorkerShape {
    /// Tensor-parallel groups; at least one.
    pub groups: u64,
    /// Whether sequences decode here; else they leave when their prompts are computed.
    pub decodes: bool,
    /// Tokens of a decoding sequence that a step works on.
    pub queries: u64,
    /// Tokens that a sequence gains in a step, on average.
    pub tokens_per_step: f64,
    /// Whether a step also depends on what the groups have together.
    pub counts_groups: bool,
}

/// What is under way.
#[derive(Debug)]
struct RunningStep {
    start: Time,
    prompted: Vec<Sequence>,
    begun: Vec<Sequence>,
    decoding: u64,
}

/// One copy of a deployment.
#[derive(Debug)]
pub struct EngineWorker {
    shape: WorkerShape,
    scheduler: Box<dyn Scheduler>,
    cache: Box<dyn KvCache>,
    queues: RequestQueues,
    running: Option<RunningStep>,
    last_gain: Option<Time>,
}

impl EngineWorker {
    /// An idle worker.
    pub fn new(shape: WorkerShape, scheduler: Box<dyn Scheduler>, cache: Box<dyn KvCache>) -> EngineWorker {
        let queues = RequestQueues::new(shape.groups as usize, shape.tokens_per_step);
        EngineWorker { shape, scheduler, cache, queues, running: None, last_gain: None }
    }

    /// What it has to do.
    pub fn load(&self) -> WorkerLoad {
        WorkerLoad { requests: self.queues.requests() as u64, queued: self.queues.queued() }
    }

    /// What it holds.
    pub fn cache(&self) -> &dyn KvCache {
        &*self.cache
    }

    /// Takes a prompt to be computed.
    pub fn prefill(&mut self, sequence: Sequence) {
        self.queues.push_prompt(sequence);
    }

    /// The tensor-parallel group that will decode a sequence which is on its way.
    pub fn expect(&mut self) -> usize {
        self.queues.assign()
    }

    /// Takes a sequence whose keys and values are there, in the group that was chosen for it.
    pub fn decode(&mut self, sequence: Sequence) {
        self.queues.push_waiting(sequence);
    }

    /// Starts a step at `now` if none is under way and there is something to do, and says what it works on. Requests whose prompts
    /// were admitted are added to `admitted`.
    pub fn start(&mut self, now: Time, admitted: &mut Vec<usize>) -> Option<StepLoad> {
        if self.running.is_some() {
            return None;
        }
        if self.queues.decoding().is_empty() {
            self.last_gain = None;
        }
        let batch = self.scheduler.schedule(&mut self.queues, &mut *self.cache);
        self.queues.drain_admitted(admitted);
        if batch.is_empty() {
            return None;
        }
        let load = self.step_load(&batch);
        let begun = self.queues.take_begun();
        let ScheduledBatch { prompted, decoding, .. } = batch;
        self.running = Some(RunningStep { start: now, prompted, begun, decoding });
        Some(load)
    }

    /// Work is spread evenly over groups, but a prompt stays on one; the group that has most decides.
    fn step_load(&self, batch: &ScheduledBatch) -> StepLoad {
        let &ScheduledBatch { tokens, largest, before, decoding, .. } = batch;
        let groups = self.shape.groups;
        let prompts = (tokens as f64 / groups as f64).max(largest as f64);
        let requests = decoding.div_ceil(groups) as f64;
        let queries = self.shape.queries as f64;
        let (all, most) = (decoding as f64 * queries + tokens as f64, requests * queries + prompts);
        let filled = if self.shape.counts_groups { all / (most * groups as f64) } else { 1.0 };
        StepLoad {
            requests,
            context: if decoding == 0 { 0.0 } else { self.cache.decoding_positions() / decoding as f64 },
            prompts,
            cached: if tokens == 0 { 0.0 } else { before / tokens as f64 },
            filled: filled.min(1.0),
        }
    }

    /// Ends the step that is under way, at `now`.
    ///
    /// # Panics
    /// When none is.
    pub fn end(&mut self, now: Time) -> StepEnd {
        let running = self.running.take().expect("a step ends once");
        let (prompted, begun) = (running.prompted, running.begun);
        let mut end = StepEnd { prompted, begun, start: running.start, ..StepEnd::default() };
        // Who came from another worker sends out its first token here.
        end.emitted = end.begun.len() as f64;
        if running.decoding > 0 {
            self.gain(now, running.decoding, &mut end);
        }
        self.after_prompts(&mut end);
        while let Some(rounded) = self.scheduler.preempt(&mut self.queues, &mut *self.cache) {
            end.emitted += rounded;
        }
        end
    }

    /// So many decoding sequences gain tokens, and those that have all of them leave.
    fn gain(&mut self, now: Time, decoding: u64, end: &mut StepEnd) {
        let since: Option<Duration> = self.last_gain.map(|last| now - last);
        end.gained = since.map(|since| (since, decoding));
        self.last_gain = Some(now);
        end.emitted += self.queues.step(decoding, &mut *self.cache);
        while let Some((sequence, yielded)) = self.queues.finish(&mut *self.cache) {
            // The last step of a request may draft beyond its end.
            end.emitted -= yielded - f64::from(sequence.output - 1);
            end.finished.push(sequence);
        }
    }

    /// Sequences whose prompts are complete go on to decode here, or leave.
    fn after_prompts(&mut self, end: &mut StepEnd) {
        for &sequence in &end.prompted {
            if self.shape.decodes {
                end.emitted += 1.0;
            }
            if self.shape.decodes && sequence.output > 1 {
                self.queues.join(sequence, &mut *self.cache);
                continue;
            }
            self.queues.leave(&sequence, &mut *self.cache);
            if self.shape.decodes {
                end.finished.push(sequence);
            }
        }
    }
}
