//! One copy of a deployment that takes step after step: chunks of prompts, decoding requests, or both.

use super::times::{FULL, Load};
use crate::invalid::Invalid;
use crate::units::{Duration, Time};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// What an instance is able to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ability {
    /// GPUs.
    pub(super) gpus: u64,
    /// Tensor-parallel groups.
    pub(super) groups: u64,
    /// Decoding requests, at most; none where it only computes prompts.
    pub(super) requests_max: u64,
    /// Positions of prompts in a step, at most; none where it only decodes.
    pub(super) prompt_tokens_max: u64,
    /// Cached positions, at most.
    pub(super) positions_max: u64,
    /// Part of what running requests have yet to yield for which room is kept when others are admitted.
    pub(super) answers_kept: f64,
    /// Whether decoding requests wait while there are prompts.
    pub(super) prompts_first: bool,
    /// Whether prompts stay whole: a step ends with the last one that fits.
    pub(super) whole_prompts: bool,
    /// Steps from one look for new prompts to the next, while requests decode.
    pub(super) look_every: u64,
    /// For what new prompts wait while requests decode.
    pub(super) gather: Option<Gather>,
    /// Tokens of a decoding request that a step works on.
    pub(super) queries: u64,
    /// Tokens that a request gains in a step, on average.
    pub(super) tokens_per_step: f64,
    /// Time of the host between steps.
    pub(super) overhead: Duration,
    /// Whether a step also depends on what the groups have together.
    pub(super) counts_groups: bool,
}

/// How long the steps of an instance take.
pub(super) type Steps<'a> = &'a mut dyn FnMut(Load) -> Result<Duration, Invalid>;

/// For what new prompts wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gather {
    /// Steps, at most.
    pub(super) steps: u64,
    /// Positions, with tokens of decoding requests, that are enough.
    pub(super) positions: u64,
    /// Whether one prompt for every tensor-parallel group is enough.
    pub(super) one_each: bool,
}

/// A request as an instance sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// Which one.
    pub(super) request: usize,
    /// Positions of its prompt.
    pub(super) input: u32,
    /// Those of them that are computed.
    pub(super) computed: u32,
    /// Tokens of its answer.
    pub(super) output: u32,
    /// The tensor-parallel group that computes it; the instance that takes it says which.
    pub(super) group: usize,
}

impl Ticket {
    fn positions(&self) -> u64 {
        u64::from(self.input) + u64::from(self.output)
    }
}

/// What a step has brought about.
#[derive(Clone, Debug, Default)]
pub(super) struct StepEnd {
    /// Prompts whose first token is there.
    pub(super) prompted: Vec<Ticket>,
    /// Requests that have all their tokens.
    pub(super) finished: Vec<Ticket>,
    /// Requests that came from another pool and yielded their first token here.
    pub(super) begun: Vec<Ticket>,
    /// Decoding requests that gained tokens, and how long after their last ones.
    pub(super) gained: Option<(Duration, u64)>,
    /// When the step started.
    pub(super) start: Time,
    /// Tokens that requests which decode here yield at its end.
    pub(super) emitted: f64,
}

/// What of prompts is in a step.
#[derive(Debug, Default)]
struct Taken {
    /// Prompts that end in it.
    prompted: Vec<Ticket>,
    /// Positions.
    tokens: u64,
    /// Positions of the prompt that has most.
    largest: u64,
    /// Positions before the pieces that are taken, added up over all positions of these.
    before: f64,
}

#[derive(Debug)]
struct Running {
    start: Time,
    end: Time,
    prompted: Vec<Ticket>,
    begun: Vec<Ticket>,
    decoding: u64,
}

/// One copy of a deployment.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) ability: Ability,
    /// Prompts that wait, the first of them perhaps begun: positions of it that are still to be computed.
    prompts: VecDeque<(Ticket, u32)>,
    /// Positions of prompts that wait.
    pub(super) queued: u64,
    /// Prompts at the head of the queue that the scheduler has taken notice of, and those of them that have their place.
    noticed: usize,
    admitted: usize,
    /// Steps since it last looked for new ones, and since there was one that it did not take.
    unlooked: u64,
    waited: u64,
    /// Requests that wait to decode.
    waiting: VecDeque<Ticket>,
    /// Decoding requests by the step after which they are done.
    decoding: BinaryHeap<Reverse<(u64, usize)>>,
    tickets: Vec<Option<Ticket>>,
    free: Vec<usize>,
    /// Requests that wait to decode and have got their place since the last step.
    begun: Vec<Ticket>,
    /// Requests of each tensor-parallel group.
    of_group: Vec<usize>,
    /// Cached positions of the decoding requests, positions of prompts that are admitted, and positions that all of these will have
    /// in the end.
    context: f64,
    entering: u64,
    reserved: u64,
    steps: u64,
    running: Option<Running>,
    last_gain: Option<Time>,
}

impl Instance {
    pub(super) fn new(ability: Ability) -> Instance {
        Instance {
            begun: Vec::new(),
            of_group: vec![0; ability.groups as usize],
            entering: 0,
            ability,
            prompts: VecDeque::new(),
            queued: 0,
            noticed: 0,
            admitted: 0,
            unlooked: 0,
            waited: 0,
            waiting: VecDeque::new(),
            decoding: BinaryHeap::new(),
            tickets: Vec::new(),
            free: Vec::new(),
            context: 0.0,
            reserved: 0,
            steps: 0,
            running: None,
            last_gain: None,
        }
    }

    /// Requests that decode or wait to.
    pub(super) fn load(&self) -> usize {
        self.decoding.len() + self.waiting.len()
    }

    /// A prompt to be computed.
    pub(super) fn prompt(&mut self, ticket: Ticket) {
        let ticket = self.assign(ticket);
        self.queued += u64::from(ticket.computed);
        self.prompts.push_back((ticket, ticket.computed));
    }

    /// A request whose keys and values are there.
    pub(super) fn decode(&mut self, ticket: Ticket) {
        let ticket = self.assign(ticket);
        self.waiting.push_back(ticket);
    }

    /// Gives a request to the group that has fewest.
    fn assign(&mut self, ticket: Ticket) -> Ticket {
        let group = (0..self.of_group.len()).min_by_key(|&group| self.of_group[group]).unwrap_or_default();
        self.of_group[group] += 1;
        Ticket { group, ..ticket }
    }

    /// Forgets a request that is done here.
    fn release(&mut self, ticket: &Ticket) {
        self.of_group[ticket.group] -= 1;
        self.reserved -= ticket.positions();
    }

    fn fits(&self, ticket: &Ticket) -> bool {
        let decodes = self.ability.requests_max > 0;
        let held = self.context + self.entering as f64;
        let to_come = (self.reserved as f64 - held).max(0.0) * self.ability.answers_kept;
        !decodes || held + to_come + ticket.positions() as f64 <= self.ability.positions_max as f64
    }

    /// Starts a step at `now` if there is something to do, and says when it ends and which prompts were admitted to it.
    pub(super) fn start(
        &mut self,
        now: Time,
        admitted: &mut Vec<usize>,
        steps: Steps<'_>,
    ) -> Result<Option<Time>, Invalid> {
        if self.running.is_some() {
            return Ok(None);
        }
        if self.decoding.is_empty() {
            self.last_gain = None;
        }
        self.look();
        self.admit(admitted);
        let Taken { prompted, tokens, largest, before } = self.take_prompts();
        let wait = self.ability.prompts_first && tokens > 0;
        let decoding = if wait { 0 } else { self.decoding.len() as u64 };
        if decoding == 0 && tokens == 0 {
            return Ok(None);
        }
        let groups = self.ability.groups;
        let context = if decoding == 0 { 0.0 } else { self.context / decoding as f64 };
        let cached = if tokens == 0 { 0.0 } else { before / tokens as f64 };
        // Work is spread evenly over groups, but a prompt stays on one; the group that has most decides.
        let prompts = (tokens as f64 / groups as f64).max(largest as f64);
        let requests = decoding.div_ceil(groups) as f64;
        let queries = self.ability.queries as f64;
        let (all, most) = (decoding as f64 * queries + tokens as f64, requests * queries + prompts);
        let filled = if self.ability.counts_groups { all / (most * groups as f64) } else { 1.0 };
        let load = [requests, context, prompts, cached, filled.min(1.0) * FULL];
        let time = steps(load)? + self.ability.overhead;
        // A step with prompts is followed by a look.
        self.unlooked = if tokens > 0 { self.ability.look_every } else { self.unlooked + 1 };
        self.waited += u64::from(self.prompts.len() > self.noticed);
        let begun = std::mem::take(&mut self.begun);
        self.running = Some(Running { start: now, end: now + time, prompted, begun, decoding });
        Ok(Some(now + time))
    }

    /// Takes notice of new prompts: at once where nothing decodes, else where it is time to look and enough of them are there.
    fn look(&mut self) {
        let idle = self.decoding.is_empty();
        if !idle && self.unlooked < self.ability.look_every {
            return;
        }
        self.unlooked = 0;
        if idle || self.gathered() {
            (self.noticed, self.waited) = (self.prompts.len(), 0);
        }
    }

    /// Whether new prompts wait no longer for others.
    fn gathered(&self) -> bool {
        let Some(gather) = self.ability.gather else { return true };
        let new = self.prompts.range(self.noticed..);
        let positions: u64 = new.clone().map(|(_, left)| u64::from(*left)).sum();
        let decoding = self.decoding.len() as u64 * self.ability.queries;
        let mut groups: Vec<usize> = new.map(|(ticket, _)| ticket.group).collect();
        groups.sort_unstable();
        groups.dedup();
        let each = gather.one_each && groups.len() == self.of_group.len();
        self.waited >= gather.steps || positions + decoding >= gather.positions || each
    }

    /// Gives places to prompts and to waiting requests, in order.
    fn admit(&mut self, admitted: &mut Vec<usize>) {
        let most = self.ability.requests_max as usize;
        while let Some(ticket) = self.waiting.front().copied()
            && self.decoding.len() < most
            && self.fits(&ticket)
        {
            self.waiting.pop_front();
            self.reserved += ticket.positions();
            self.begun.push(ticket);
            self.join(ticket);
        }
        while self.admitted < self.noticed
            && let Some(&(ticket, _)) = self.prompts.get(self.admitted)
            && (most == 0 || self.decoding.len() + self.admitted < most)
            && self.fits(&ticket)
        {
            self.admitted += 1;
            self.entering += u64::from(ticket.input);
            self.reserved += ticket.positions();
            admitted.push(ticket.request);
        }
    }

    /// Takes the next positions of admitted prompts, of each what a group can take.
    fn take_prompts(&mut self) -> Taken {
        let most = self.ability.prompt_tokens_max;
        let mut taken = Taken::default();
        let mut place = 0;
        while place < self.admitted && taken.tokens < most {
            let (ticket, left) = &mut self.prompts[place];
            let part = u64::from(*left).min(most - taken.tokens).min(most / self.ability.groups);
            if self.ability.whole_prompts && part < u64::from(*left) {
                break;
            }
            let before = f64::from(ticket.input - *left);
            taken.tokens += part;
            taken.largest = taken.largest.max(part);
            taken.before += part as f64 * before;
            *left -= part as u32;
            if *left > 0 {
                place += 1;
                continue;
            }
            taken.prompted.push(*ticket);
            self.prompts.remove(place);
            self.admitted -= 1;
            self.noticed -= 1;
        }
        self.queued -= taken.tokens;
        taken
    }

    /// Lets a request decode from the next step on; its first token is there.
    fn join(&mut self, ticket: Ticket) {
        let place = self.free.pop().unwrap_or(self.tickets.len());
        if place == self.tickets.len() {
            self.tickets.push(None);
        }
        self.tickets[place] = Some(ticket);
        let steps = self.steps_of(&ticket);
        self.context += f64::from(ticket.input);
        self.decoding.push(Reverse((self.steps + steps, place)));
    }

    /// Ends the step that ends at `now`.
    pub(super) fn end(&mut self, now: Time) -> StepEnd {
        let running = self.running.take().expect("a step ends once");
        assert_eq!(running.end, now, "a step ends when it was said to");
        let (prompted, begun) = (running.prompted, running.begun);
        let mut end = StepEnd { prompted, begun, start: running.start, ..StepEnd::default() };
        // Who came from another pool sends out its first token here.
        end.emitted = end.begun.len() as f64;
        if running.decoding > 0 {
            end.gained = self.last_gain.map(|last| (now - last, running.decoding));
            self.last_gain = Some(now);
            self.steps += 1;
            let gained = running.decoding as f64 * self.ability.tokens_per_step;
            self.context += gained;
            end.emitted += gained;
            while let Some(&Reverse((step, place))) = self.decoding.peek()
                && step <= self.steps
            {
                self.decoding.pop();
                let ticket = self.tickets[place].take().expect("who decodes has a ticket");
                self.free.push(place);
                let yielded = self.steps_of(&ticket) as f64 * self.ability.tokens_per_step;
                self.context -= f64::from(ticket.input) + yielded;
                // The last step of a request may draft beyond its end.
                end.emitted -= yielded - f64::from(ticket.output - 1);
                self.release(&ticket);
                end.finished.push(ticket);
            }
        }
        self.after_prompts(&mut end);
        let optimistic = self.ability.answers_kept < 1.0;
        while optimistic && self.context > self.ability.positions_max as f64 && self.decoding.len() > 1 {
            end.emitted += self.retract();
        }
        end
    }

    /// Decode steps from a request's first token to its last.
    fn steps_of(&self, ticket: &Ticket) -> u64 {
        (f64::from(ticket.output - 1) / self.ability.tokens_per_step).ceil() as u64
    }

    /// Takes the place of the request that would hold it longest. What it has yielded is computed again with its prompt; where another
    /// pool computes prompts, it is kept elsewhere meanwhile. Returns by how many tokens what it has yielded is rounded.
    fn retract(&mut self) -> f64 {
        let mut decoding = std::mem::take(&mut self.decoding).into_sorted_vec();
        // Sorted by what ends first in reverse: the first one ends last.
        let Reverse((last, place)) = decoding.remove(0);
        self.decoding = decoding.into();
        let ticket = self.tickets[place].take().expect("who decodes has a ticket");
        self.free.push(place);
        let left = last - self.steps;
        let done = (self.steps_of(&ticket) - left) as f64 * self.ability.tokens_per_step;
        self.context -= f64::from(ticket.input) + done;
        self.reserved -= ticket.positions();
        let output = ((left as f64 * self.ability.tokens_per_step).ceil() as u32).clamp(1, ticket.output - 1);
        let input = ticket.input + (ticket.output - output);
        let again = Ticket { input, computed: input, output, ..ticket };
        let rounded = |output: u32| f64::from(ticket.output) - f64::from(output) - 1.0 - done;
        if self.ability.prompt_tokens_max == 0 {
            let output = output.max(2);
            self.waiting.push_front(Ticket { output, ..again });
            return rounded(output);
        }
        self.queued += u64::from(input);
        self.prompts.insert(self.admitted, (again, input));
        self.noticed += 1;
        rounded(output)
    }

    /// Prompts go on to decode here, or leave.
    fn after_prompts(&mut self, end: &mut StepEnd) {
        for &ticket in &end.prompted {
            self.entering -= u64::from(ticket.input);
            if self.ability.requests_max > 0 {
                end.emitted += 1.0;
            }
            if self.ability.requests_max == 0 {
                self.release(&ticket);
            } else if ticket.output > 1 {
                self.join(ticket);
            } else {
                self.release(&ticket);
                end.finished.push(ticket);
            }
        }
    }
}
