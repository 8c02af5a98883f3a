//! First come, first served, in steps of at most so many tokens: chunks of prompts beside decoding sequences, or before them.

use super::{ScheduledBatch, Scheduler};
use crate::workload::serving::kv_cache::KvCache;
use crate::workload::serving::queues::RequestQueues;

/// What a step takes, and when.
#[derive(Clone, Copy, Debug)]
pub struct FcfsLimits {
    /// Decoding sequences, at most; none where only prompts are computed.
    pub max_sequences: u64,
    /// Positions of prompts in a step, at most; none where sequences only decode.
    pub max_batched_tokens: u64,
    /// Whether decoding sequences wait while there are prompts.
    pub prefill_first: bool,
    /// Whether a step takes a part of the next prompt too; else it ends with the last prompt that fits.
    pub chunked_prefill: bool,
    /// Steps from one look for new prompts to the next, while sequences decode.
    pub look_every: u64,
    /// For what new prompts wait while sequences decode.
    pub gather: Option<Gather>,
    /// Tokens of a decoding sequence that a step works on.
    pub queries: u64,
}

impl FcfsLimits {
    /// So many sequences and tokens in a step at most, chunks of prompts beside decoding sequences, and a look for new prompts at
    /// every step.
    pub const fn new(max_sequences: u64, max_batched_tokens: u64) -> FcfsLimits {
        FcfsLimits {
            max_sequences,
            max_batched_tokens,
            prefill_first: false,
            chunked_prefill: true,
            look_every: 1,
            gather: None,
            queries: 1,
        }
    }
}

/// Requests in order of arrival.
#[derive(Clone, Copy, Debug)]
pub struct Fcfs {
    limits: FcfsLimits,
    /// Steps since the last look for new prompts, and since there was one that was not taken.
    unlooked: u64,
    waited: u64,
}

/// For what new prompts wait.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    /// Steps, at most.
    pub steps: u64,
    /// Positions, with tokens of decoding sequences, that are enough.
    pub positions: u64,
    /// Whether one prompt for every tensor-parallel group is enough.
    pub one_each: bool,
}

impl Fcfs {
    /// One within these limits.
    pub const fn new(limits: FcfsLimits) -> Fcfs {
        Fcfs { limits, unlooked: 0, waited: 0 }
    }

    /// Takes notice of new prompts: at once where nothing decodes, else where it is time to look and enough of them are there.
    fn look(&mut self, queues: &mut RequestQueues) {
        let idle = queues.decoding().is_empty();
        if !idle && self.unlooked < self.limits.look_every {
            return;
        }
        self.unlooked = 0;
        if idle || self.gathered(queues) {
            queues.notice();
            self.waited = 0;
        }
    }

    /// Whether new prompts wait no longer for others.
    fn gathered(&self, queues: &RequestQueues) -> bool {
        let Some(gather) = self.limits.gather else { return true };
        let new = queues.new_prompts();
        let positions: u64 = new.clone().map(|prompt| u64::from(prompt.left)).sum();
        let decoding = queues.decoding().len() as u64 * self.limits.queries;
        let mut groups: Vec<usize> = new.map(|prompt| prompt.sequence.group).collect();
        groups.sort_unstable();
        groups.dedup();
        let each = gather.one_each && groups.len() == queues.groups();
        self.waited >= gather.steps || positions + decoding >= gather.positions || each
    }

    /// Gives places to waiting sequences and to prompts, in order.
    fn admit(&self, queues: &mut RequestQueues, cache: &mut dyn KvCache) {
        let most = self.limits.max_sequences as usize;
        while queues.decoding().len() < most && queues.next_waiting().is_some_and(|sequence| cache.fits(sequence)) {
            queues.admit_waiting(cache);
        }
        while (most == 0 || queues.decoding().len() + queues.admitted() < most)
            && queues.next_prompt().is_some_and(|sequence| cache.fits(sequence))
        {
            queues.admit_prompt(cache);
        }
    }

    /// Takes the next positions of admitted prompts, of each what a group can take.
    fn take_prompts(&self, queues: &mut RequestQueues) -> ScheduledBatch {
        let most = self.limits.max_batched_tokens;
        let mut batch = ScheduledBatch::default();
        let mut place = 0;
        while batch.tokens < most
            && let Some(prompt) = queues.prompt(place)
        {
            let left = u64::from(prompt.left);
            let part = left.min(most - batch.tokens).min(most / queues.groups() as u64);
            if !self.limits.chunked_prefill && part < left {
                break;
            }
            if !batch.add_chunk(queues, place, part) {
                place += 1;
            }
        }
        batch
    }
}

impl Scheduler for Fcfs {
    fn schedule(&mut self, queues: &mut RequestQueues, cache: &mut dyn KvCache) -> ScheduledBatch {
        self.look(queues);
        self.admit(queues, cache);
        let mut batch = self.take_prompts(queues);
        let waits = self.limits.prefill_first && batch.tokens > 0;
        batch.decoding = if waits { 0 } else { queues.decoding().len() as u64 };
        if !batch.is_empty() {
            // A step with prompts is followed by a look.
            self.unlooked = if batch.tokens > 0 { self.limits.look_every } else { self.unlooked + 1 };
            self.waited += u64::from(queues.has_new());
        }
        batch
    }

    fn preempt(&mut self, queues: &mut RequestQueues, cache: &mut dyn KvCache) -> Option<f64> {
        let over = cache.is_over() && queues.decoding().len() > 1;
        over.then(|| queues.preempt_last(self.limits.max_batched_tokens > 0, cache))
    }
}
