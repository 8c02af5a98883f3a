//! Thread blocks on SMs: equal blocks advance together, and everything in flight shares memory bandwidth.
//!
//! A block occupies one SM and runs its stages in order. A stage is a loop of equal steps over a ring of buffers; a step
//! takes as long as the slowest of what it needs: tensor cores (which wait for promotions), CUDA cores beside them, the
//! SM's port into L2, its share of memory bandwidth, and latency over the buffers that hide it (Little's law). Blocks
//! are handed to SMs in order as these fall free. This module must not know any kernel.

use super::machine::{Machine, Room};
use crate::gpu::course::{Part, tail_decides};

/// One loop of a block. Times are seconds per step, amounts are bytes per step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stage {
    /// Steps of the loop.
    pub steps: f64,
    /// Steps that are requested ahead: what hides the latency of memory. Zero: nothing is waited for.
    pub buffers: f64,
    /// Time on the tensor cores.
    pub tensor: f64,
    /// Time on CUDA cores that the tensor cores wait for.
    pub promotion: f64,
    /// Time on CUDA cores beside the tensor cores.
    pub cuda: f64,
    /// Bytes through the SM's port into L2.
    pub l2: f64,
    /// Bytes from and to memory.
    pub hbm: f64,
}

/// Blocks that do the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// How many.
    pub blocks: u64,
    /// What each of them does.
    pub stages: Vec<Stage>,
}

/// What can decide how long a step takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Tensor cores.
    Tensor,
    /// Promotion on CUDA cores.
    Promotion,
    /// CUDA cores.
    Cuda,
    /// The port into L2.
    L2,
    /// Memory bandwidth or latency.
    Hbm,
    /// Handing blocks to SMs.
    Start,
    /// SMs without a block.
    Tail,
}

const LIMITS: [Limit; 7] =
    [Limit::Tensor, Limit::Promotion, Limit::Cuda, Limit::L2, Limit::Hbm, Limit::Start, Limit::Tail];

/// Time, in seconds, and what it went to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// From the first block to the last.
    pub seconds: f64,
    /// While every SM has a block.
    pub rounds: Part,
    /// While some have none, because none is left.
    pub last: Part,
    by: [f64; LIMITS.len()],
}

impl Spent {
    fn add(&mut self, limit: Limit, seconds: f64) {
        self.by[limit as usize] += seconds;
    }

    /// SMs without a block in what ran in `room`, where these decide; else what most of the time went to of those with one.
    pub fn limit(&self, room: Room) -> Limit {
        if tail_decides(&self.rounds, &self.last, room.sms, room.memory) {
            return Limit::Tail;
        }
        let most = |a: &Limit, b: &Limit| self.by[*a as usize].total_cmp(&self.by[*b as usize]).then(b.cmp(a));
        LIMITS.into_iter().filter(|&limit| limit != Limit::Tail).max_by(most).expect("there are limits")
    }
}

/// Blocks that started together.
#[derive(Clone, Copy)]
struct Group {
    class: usize,
    stage: usize,
    blocks: u64,
    /// The part of the stage that is left.
    left: f64,
    /// Parts of the stage per second.
    rate: f64,
    limit: Limit,
}

/// Runs the blocks of `classes`, in that order, on `sms` SMs that have the memory for themselves.
pub fn run(machine: &Machine, classes: &[Class], sms: u64) -> Spent {
    run_in(machine, classes, Room { sms, memory: machine.memory })
}

/// The same in what is left of the machine.
pub(super) fn run_in(machine: &Machine, classes: &[Class], Room { sms, memory }: Room) -> Spent {
    assert!(sms > 0, "blocks need an SM to run on");
    let mut spent = Spent::default();
    let mut waiting: Vec<u64> = classes.iter().map(|class| class.blocks).collect();
    let mut groups: Vec<Group> = Vec::new();
    loop {
        let busy: u64 = groups.iter().map(|group| group.blocks).sum();
        fill(classes, &mut waiting, &mut groups, sms - busy);
        if groups.is_empty() {
            return spent;
        }
        // Blocks of one class that all start at once end at once: full rounds but the last repeat the first.
        if let [group] = groups[..] {
            let rounds = waiting[group.class] / sms;
            if busy == 0 && group.blocks == sms && rounds > 0 {
                waiting[group.class] -= rounds * sms;
                let stages = 0..classes[group.class].stages.len();
                for stage in stages {
                    let mut one = [Group { stage, left: 1.0, ..group }];
                    share(machine, memory, classes, &mut one);
                    account(&mut spent, classes, &one, (rounds as f64 / one[0].rate, sms));
                }
            }
        }
        share(machine, memory, classes, &mut groups);
        let next = groups.iter().map(|group| group.left / group.rate).fold(f64::INFINITY, f64::min);
        account(&mut spent, classes, &groups, (next, sms));
        advance(classes, &mut groups, next);
    }
}

/// Hands out blocks to free SMs.
fn fill(classes: &[Class], waiting: &mut [u64], groups: &mut Vec<Group>, mut free: u64) {
    for (class, waiting) in waiting.iter_mut().enumerate() {
        let blocks = free.min(*waiting);
        if blocks > 0 && !classes[class].stages.is_empty() {
            groups.push(Group { class, stage: 0, blocks, left: 1.0, rate: 0.0, limit: Limit::Tensor });
        }
        *waiting -= blocks;
        free -= blocks;
    }
}

/// How fast each group goes when `memory` bytes per second are shared fairly among all blocks in flight.
fn share(machine: &Machine, memory: f64, classes: &[Class], groups: &mut [Group]) {
    let mut order: Vec<(f64, usize)> = Vec::with_capacity(groups.len());
    for (index, group) in groups.iter_mut().enumerate() {
        let stage = &classes[group.class].stages[group.stage];
        let (step, limit) = alone(machine, stage);
        let seconds = step * stage.steps;
        (group.rate, group.limit) = (1.0 / seconds, limit);
        if stage.hbm > 0.0 {
            order.push((stage.hbm * stage.steps / seconds, index));
        }
    }
    // Max-min fairness: who wants less than an equal part gets it, the others share what is left.
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut rest = memory;
    let mut blocks: u64 = order.iter().map(|&(_, index)| groups[index].blocks).sum();
    for (wanted, index) in order {
        let group = &mut groups[index];
        let fair = rest / blocks as f64;
        let got = wanted.min(fair);
        if got < wanted {
            group.rate *= got / wanted;
            group.limit = Limit::Hbm;
        }
        rest -= got * group.blocks as f64;
        blocks -= group.blocks;
    }
}

/// Seconds per step of a block that has all of the memory bandwidth that one SM can use.
fn alone(machine: &Machine, stage: &Stage) -> (f64, Limit) {
    let multiply = if stage.promotion > stage.tensor { Limit::Promotion } else { Limit::Tensor };
    let latency = if stage.buffers > 0.0 { machine.latency / stage.buffers } else { 0.0 };
    let candidates = [
        (stage.tensor + stage.promotion, multiply),
        (stage.cuda, Limit::Cuda),
        (stage.l2 / machine.port, Limit::L2),
        ((stage.hbm / machine.sm_memory).max(latency), Limit::Hbm),
    ];
    let slowest = candidates.into_iter().reduce(|a, b| if b.0 > a.0 { b } else { a });
    let (seconds, limit) = slowest.expect("there are candidates");
    (seconds.max(f64::MIN_POSITIVE), limit)
}

/// Notes what `seconds` with these groups went to: idle SMs are tail, the others what limits them.
fn account(spent: &mut Spent, classes: &[Class], groups: &[Group], (seconds, sms): (f64, u64)) {
    spent.seconds += seconds;
    let mut idle = sms;
    let mut bytes = 0.0;
    for group in groups {
        spent.add(group.limit, seconds * group.blocks as f64 / sms as f64);
        idle -= group.blocks;
        let stage = &classes[group.class].stages[group.stage];
        bytes += stage.hbm * stage.steps * group.rate * seconds * group.blocks as f64;
    }
    spent.add(Limit::Tail, seconds * idle as f64 / sms as f64);
    let part = if idle == 0 { &mut spent.rounds } else { &mut spent.last };
    part.seconds += seconds;
    part.sm_seconds += seconds * (sms - idle) as f64;
    part.bytes += bytes;
}

/// Lets `seconds` pass; groups that end a stage go on to the next or leave.
fn advance(classes: &[Class], groups: &mut Vec<Group>, seconds: f64) {
    // What is this close to its end has reached it: rates are rounded.
    const END: f64 = 1e-9;
    for group in groups.iter_mut() {
        group.left -= group.rate * seconds;
        if group.left <= END {
            group.stage += 1;
            group.left = 1.0;
        }
    }
    groups.retain(|group| group.stage < classes[group.class].stages.len());
}
