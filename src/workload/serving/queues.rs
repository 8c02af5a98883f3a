//! The sequences of a worker: prompts that wait or are being computed, sequences that wait to decode, and those that decode.
//!
//! It keeps order and counts. Who is admitted and who is computed when is the scheduler's, who has room the cache's.

use super::decoding::DecodingSet;
use super::kv_cache::KvCache;
use super::sequence::Sequence;
use std::collections::VecDeque;

/// A prompt and how many of its positions are still to be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingPrompt {
    /// Whose it is.
    pub sequence: Sequence,
    /// Positions that are still to be computed.
    pub left: u32,
}

/// All sequences of a worker.
#[derive(Debug)]
pub struct RequestQueues {
    /// Prompts in order: those that are admitted, then those that the scheduler has noticed, then new ones.
    prompts: VecDeque<PendingPrompt>,
    admitted: usize,
    noticed: usize,
    /// Positions of prompts that are still to be computed.
    queued: u64,
    /// Sequences whose keys and values are there and that wait to decode.
    waiting: VecDeque<Sequence>,
    /// Of these, those that were admitted since the last step.
    begun: Vec<Sequence>,
    /// Requests whose prompts were admitted since somebody asked.
    newly_admitted: Vec<usize>,
    decoding: DecodingSet,
    /// Sequences of each tensor-parallel group.
    of_group: Vec<usize>,
}

impl RequestQueues {
    /// Nobody, for a worker of so many tensor-parallel groups, whose decoding sequences gain so many tokens in a step on average.
    pub fn new(groups: usize, tokens_per_step: f64) -> RequestQueues {
        RequestQueues {
            prompts: VecDeque::new(),
            admitted: 0,
            noticed: 0,
            queued: 0,
            waiting: VecDeque::new(),
            begun: Vec::new(),
            newly_admitted: Vec::new(),
            decoding: DecodingSet::new(tokens_per_step),
            of_group: vec![0; groups],
        }
    }

    /// Tensor-parallel groups.
    pub fn groups(&self) -> usize {
        self.of_group.len()
    }

    /// Positions of prompts that are still to be computed.
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Sequences that decode or wait to.
    pub fn requests(&self) -> usize {
        self.decoding.len() + self.waiting.len()
    }

    /// Those that decode.
    pub fn decoding(&self) -> &DecodingSet {
        &self.decoding
    }

    /// Prompts that are admitted and not yet complete.
    pub fn admitted(&self) -> usize {
        self.admitted
    }

    /// Whether there are prompts that the scheduler has not taken notice of.
    pub fn has_new(&self) -> bool {
        self.prompts.len() > self.noticed
    }

    /// Prompts that the scheduler has not taken notice of.
    pub fn new_prompts(&self) -> impl Iterator<Item = &PendingPrompt> + Clone {
        self.prompts.range(self.noticed..)
    }

    /// Takes notice of all prompts.
    pub fn notice(&mut self) {
        self.noticed = self.prompts.len();
    }

    /// A prompt to be computed.
    pub(super) fn push_prompt(&mut self, sequence: Sequence) {
        let sequence = Sequence { group: self.assign(), ..sequence };
        self.queued += u64::from(sequence.computed);
        self.prompts.push_back(PendingPrompt { sequence, left: sequence.computed });
    }

    /// A sequence whose keys and values are there, in the group that was chosen for it.
    pub(super) fn push_waiting(&mut self, sequence: Sequence) {
        self.waiting.push_back(sequence);
    }

    /// Chooses the group that has fewest sequences for another one.
    pub(super) fn assign(&mut self) -> usize {
        let group = (0..self.of_group.len()).min_by_key(|&group| self.of_group[group]).unwrap_or_default();
        self.of_group[group] += 1;
        group
    }

    /// The next sequence that waits to decode.
    pub fn next_waiting(&self) -> Option<&Sequence> {
        self.waiting.front()
    }

    /// Lets the next sequence that waits decode from this step on.
    pub fn admit_waiting(&mut self, cache: &mut dyn KvCache) {
        let Some(sequence) = self.waiting.pop_front() else { return };
        self.begun.push(sequence);
        cache.allocate(&sequence);
        self.join(sequence, cache);
    }

    /// The next noticed prompt that is not admitted.
    pub fn next_prompt(&self) -> Option<&Sequence> {
        let next = (self.admitted < self.noticed).then(|| self.prompts.get(self.admitted)).flatten();
        next.map(|prompt| &prompt.sequence)
    }

    /// Admits the next noticed prompt.
    pub fn admit_prompt(&mut self, cache: &mut dyn KvCache) {
        let Some(sequence) = self.next_prompt().copied() else { return };
        self.admitted += 1;
        self.newly_admitted.push(sequence.request);
        cache.allocate(&sequence);
    }

    /// The admitted prompt at `place`, counted from the oldest.
    pub fn prompt(&self, place: usize) -> Option<&PendingPrompt> {
        self.prompts.get(place).filter(|_| place < self.admitted)
    }

    /// Takes the next `part` positions of the admitted prompt at `place`. Where these are its last, it leaves the queue.
    ///
    /// # Panics
    /// When it has fewer positions, or no prompt is admitted there.
    pub fn take_chunk(&mut self, place: usize, part: u64) -> Option<Sequence> {
        assert!(place < self.admitted, "a chunk is of an admitted prompt");
        let PendingPrompt { sequence, left } = &mut self.prompts[place];
        *left -= part as u32;
        self.queued -= part;
        if *left > 0 {
            return None;
        }
        let sequence = *sequence;
        self.prompts.remove(place);
        self.admitted -= 1;
        self.noticed -= 1;
        Some(sequence)
    }

    /// The prompt of an admitted sequence is complete: it decodes from the next step on.
    pub(super) fn join(&mut self, sequence: Sequence, cache: &mut dyn KvCache) {
        self.decoding.join(sequence);
        cache.begin_decoding(&sequence);
    }

    /// The prompt of an admitted sequence is complete, and it does not decode here.
    pub(super) fn leave(&mut self, sequence: &Sequence, cache: &mut dyn KvCache) {
        self.of_group[sequence.group] -= 1;
        cache.free(sequence, None);
    }

    /// Counts a step of so many decoding sequences, and says how many tokens they gained.
    pub(super) fn step(&mut self, decoding: u64, cache: &mut dyn KvCache) -> f64 {
        let gained = self.decoding.step(decoding);
        cache.append(gained);
        gained
    }

    /// Lets a sequence go that has all its tokens, with what its steps yielded.
    pub(super) fn finish(&mut self, cache: &mut dyn KvCache) -> Option<(Sequence, f64)> {
        let (sequence, yielded) = self.decoding.pop_finished()?;
        self.of_group[sequence.group] -= 1;
        cache.free(&sequence, Some(yielded));
        Some((sequence, yielded))
    }

    /// Takes the place of the sequence that would hold it longest. What it has yielded is computed again with its prompt where prompts
    /// are `computed_here`; else it is kept elsewhere meanwhile. Returns by how many tokens what it has yielded is rounded.
    pub fn preempt_last(&mut self, computed_here: bool, cache: &mut dyn KvCache) -> f64 {
        let (sequence, done, output) = self.decoding.pop_last();
        cache.free(&sequence, Some(done));
        let input = sequence.input + (sequence.output - output);
        let again = Sequence { input, computed: input, output, ..sequence };
        let rounded = |output: u32| f64::from(sequence.output) - f64::from(output) - 1.0 - done;
        if !computed_here {
            let output = output.max(2);
            self.waiting.push_front(Sequence { output, ..again });
            return rounded(output);
        }
        self.queued += u64::from(input);
        self.prompts.insert(self.admitted, PendingPrompt { sequence: again, left: input });
        self.noticed += 1;
        rounded(output)
    }

    /// Sequences that were to decode and were admitted since the last step.
    pub(super) fn take_begun(&mut self) -> Vec<Sequence> {
        std::mem::take(&mut self.begun)
    }

    /// Moves the requests whose prompts were admitted to `into`.
    pub(super) fn drain_admitted(&mut self, into: &mut Vec<usize>) {
        into.append(&mut self.newly_admitted);
    }
}
