//! Thread blocks on SMs: equal blocks advance together, the next block goes to the SM that is free first.
//!
//! A block occupies an SM, or a place on it: as many as find room in shared memory beside each other, which then share the SM's port into L2.

use super::machine::Run;
use crate::gpu::course::{Part, tail_decides};
use crate::timeline::Bound;
use std::collections::BTreeMap;

/// More kinds of blocks than this are merged with their neighbours, so that a long context costs no more to simulate.
const GROUPS_MAX: usize = 256;

/// Blocks that do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// How many.
    pub(super) blocks: u64,
    /// Tiles of keys that each visits.
    pub(super) tiles: u64,
}

/// What happens in a block, once and per tile: seconds on the SM, bytes from HBM, bytes into the SM.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    /// Seconds that the SM is busy.
    pub(super) seconds: f64,
    /// The part of these in which tensor cores wait for arithmetic of the CUDA cores.
    pub(super) waiting: f64,
    /// Bytes that come from or go to HBM; data that several blocks share is divided among them.
    pub(super) hbm: f64,
    /// Bytes that cross the port between the SM and L2.
    pub(super) port: f64,
}

/// A kernel: its blocks in the order in which they start, and what they do.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub(super) groups: Vec<Group>,
    /// Before and after the tiles: nothing overlaps with it, since the tiles fill shared memory.
    pub(super) ends: Step,
    /// One tile: loads of the next tile hide behind it.
    pub(super) tile: Step,
    /// Blocks that an SM runs at once; seconds of steps are those of a block beside the others.
    pub(super) resident: u64,
}

impl Grid {
    /// Time on `sms` SMs that share `hbm` bytes per second and draw up to `port` bytes per second each.
    ///
    /// Blocks share HBM with as many others as run beside them: one for each place, or what is left for the last, partial round.
    pub(super) fn run(&self, sms: u64, hbm: f64, port: f64) -> Run {
        let (sms, port) = (sms * self.resident, port / self.resident as f64);
        let blocks: u64 = self.groups.iter().map(|group| group.blocks).sum();
        let full = blocks / sms * sms;
        let mut left = full;
        let mut times = Vec::with_capacity(GROUPS_MAX + 1);
        let mut spent = Spent::default();
        for group in merged(&self.groups) {
            let early = group.blocks.min(left);
            left -= early;
            for (count, active) in [(early, sms), (group.blocks - early, (blocks - full).max(1))] {
                times.push((self.block(group.tiles, active, hbm, port), count));
                self.account(&mut spent, Group { blocks: count, ..group }, active as f64, hbm, port);
            }
        }
        let tiles: u64 = self.groups.iter().map(|group| group.blocks * group.tiles).sum();
        let made = makespan(&times, sms);
        let bytes = self.ends.hbm * blocks as f64 + self.tile.hbm * tiles as f64;
        let (rounds, last) = made.parts(sms, bytes);
        let seconds = made.end as f64 / 1e12;
        let bound = if tail_decides(&rounds, &last, sms, hbm) { Bound::Tail } else { spent.most() };
        // Places of an SM are busy one by one.
        let on_sms = |part: Part| Part { sm_seconds: part.sm_seconds / self.resident as f64, ..part };
        Run { seconds, bound, rounds: on_sms(rounds), last: on_sms(last) }
    }

    /// Notes what the SMs of `group` are busy with, beside `active` blocks.
    fn account(&self, spent: &mut Spent, group: Group, active: f64, hbm: f64, port: f64) {
        let (blocks, tiles) = (group.blocks as f64, (group.blocks * group.tiles) as f64);
        spent.add(Bound::Launch, blocks * self.ends.seconds);
        let (traffic, bound) = self.ends.traffic(active, hbm, port);
        spent.add(bound, blocks * traffic);
        let (traffic, bound) = self.tile.traffic(active, hbm, port);
        let bound = match () {
            () if traffic > self.tile.seconds => bound,
            () if 2.0 * self.tile.waiting > self.tile.seconds => Bound::Cuda,
            () => Bound::Tensor,
        };
        spent.add(bound, tiles * hidden(self.tile.seconds, traffic));
    }

    /// Picoseconds of a block of `tiles` tiles beside `active` blocks.
    fn block(&self, tiles: u64, active: u64, hbm: f64, port: f64) -> u64 {
        let active = active as f64;
        let ends = self.ends.seconds + self.ends.traffic(active, hbm, port).0;
        let tile = hidden(self.tile.seconds, self.tile.traffic(active, hbm, port).0);
        ((ends + tiles as f64 * tile) * 1e12).ceil() as u64
    }
}

impl Step {
    /// Seconds that a block's traffic takes beside `active` blocks with the same, and whose.
    fn traffic(&self, active: f64, hbm: f64, port: f64) -> (f64, Bound) {
        let (memory, l2) = (self.hbm * active / hbm, self.port / port);
        if memory > l2 { (memory, Bound::Memory) } else { (l2, Bound::L2) }
    }
}

const BOUNDS: [Bound; 5] = [Bound::Tensor, Bound::Cuda, Bound::L2, Bound::Memory, Bound::Launch];

/// Seconds of all SMs together, by what they went to.
#[derive(Default)]
struct Spent {
    by: [f64; BOUNDS.len()],
}

impl Spent {
    fn add(&mut self, bound: Bound, seconds: f64) {
        let index = BOUNDS.iter().position(|&known| known == bound).expect("every bound of a block is listed");
        self.by[index] += seconds;
    }

    /// What most of them went to; the first of `BOUNDS` where several are equal.
    fn most(&self) -> Bound {
        let more = |a: usize, b: usize| if self.by[b] > self.by[a] { b } else { a };
        BOUNDS[(0..BOUNDS.len()).reduce(more).expect("there are bounds")]
    }
}

/// Two activities that overlap but for the moments when one waits for the other: close to the longer, 19 % above it where
/// they are equal (the fourth-power mean of modelling practice, without a constant).
fn hidden(arithmetic: f64, traffic: f64) -> f64 {
    let square = |x: f64| x * x;
    (square(square(arithmetic)) + square(square(traffic))).sqrt().sqrt()
}

/// Neighbours joined until at most `GROUPS_MAX` remain; the number of blocks stays, tiles are averaged upwards.
fn merged(groups: &[Group]) -> Vec<Group> {
    let join = |part: &[Group]| {
        let blocks = part.iter().map(|group| group.blocks).sum::<u64>();
        let tiles = part.iter().map(|group| group.blocks * group.tiles).sum::<u64>();
        Group { blocks, tiles: if blocks == 0 { 0 } else { tiles.div_ceil(blocks) } }
    };
    let joined = groups.chunks(groups.len().div_ceil(GROUPS_MAX).max(1)).map(join);
    joined.filter(|group| group.blocks > 0).collect()
}

/// When SMs are done, in picoseconds.
#[derive(Clone, Copy, Debug)]
struct Makespan {
    /// The last one.
    end: u64,
    /// The first one, for which no block was left.
    idle: u64,
    /// What SMs still do after that, all of them together.
    after: f64,
}

impl Makespan {
    /// While all SMs have a block, and afterwards; `bytes` move in proportion to SMs that have one.
    fn parts(&self, sms: u64, bytes: f64) -> (Part, Part) {
        let seconds = |ps: u64| ps as f64 / 1e12;
        let (full, rest) = (seconds(self.idle) * sms as f64, self.after / 1e12);
        let part = |time: u64, sm_seconds: f64| {
            let share = if sm_seconds > 0.0 { sm_seconds / (full + rest) } else { 0.0 };
            Part { seconds: seconds(time), sm_seconds, bytes: bytes * share }
        };
        (part(self.idle, full), part(self.end - self.idle, rest))
    }
}

/// When SMs are done: list scheduling of `(picoseconds, blocks)` in the given order, exactly.
fn makespan(groups: &[(u64, u64)], sms: u64) -> Makespan {
    // SMs by when they are free, all of it later by `shift`.
    let mut free: BTreeMap<u64, u64> = BTreeMap::from([(0, sms)]);
    let mut shift = 0;
    for &(time, mut left) in groups {
        while left > 0 {
            let (first, last) = (free.first_key_value(), free.last_key_value());
            let spread = first.zip(last).map_or(0, |((first, _), (last, _))| last - first);
            if spread <= time && left >= sms {
                // Every SM is free again after all the others took a block: rounds keep their order.
                shift += time * (left / sms);
                left %= sms;
                continue;
            }
            let Some((at, idle)) = free.pop_first() else { break };
            let taken = idle.min(left);
            *free.entry(at + time).or_insert(0) += taken;
            if idle > taken {
                free.insert(at, idle - taken);
            }
            left -= taken;
        }
    }
    let first = free.first_key_value().map_or(0, |(&at, _)| at);
    let after = free.iter().map(|(&at, &sms)| (at - first) as f64 * sms as f64).sum();
    Makespan { end: shift + free.last_key_value().map_or(0, |(&at, _)| at), idle: shift + first, after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_takes_as_long_as_a_block_and_one_block_more_starts_another_wave() {
        let end = |groups, sms| makespan(groups, sms).end;
        assert_eq!(end(&[(10, 4)], 4), 10);
        assert_eq!(end(&[(10, 5)], 4), 20);
        assert_eq!(end(&[(10, 1)], 4), 10);
        // Long blocks first: 8 and 8, then 3, 3, 3 beside and behind them.
        let uneven = makespan(&[(8, 2), (3, 3)], 3);
        assert_eq!((uneven.end, uneven.idle, uneven.after), (9, 8, 1.0));
    }

    #[test]
    fn a_block_pays_its_ends_once_and_every_tile_in_turn() {
        let grid = Grid {
            groups: vec![Group { blocks: 3, tiles: 5 }],
            ends: Step { seconds: 2e-6, waiting: 0.0, hbm: 1000.0, port: 0.0 },
            tile: Step { seconds: 1e-6, waiting: 0.0, hbm: 0.0, port: 0.0 },
            resident: 1,
        };
        // Two SMs share 1 GB/s: 2 us for the ends of both, then 2 us and 5 tiles of 1 us. The third block is alone: 1 us.
        let run = grid.run(2, 1e9, 1e12);
        assert!((run.seconds - (9e-6 + 8e-6)).abs() < 1e-11, "{run:?}");
        assert_eq!(run.bound, Bound::Tensor);
    }

    #[test]
    fn what_bounds_a_grid_is_what_most_of_its_sms_do() {
        let bound = |blocks: u64, waiting: f64, hbm: f64, port: f64| {
            let ends = Step { seconds: 1e-9, waiting: 0.0, hbm: 0.0, port: 0.0 };
            let tile = Step { seconds: 1e-6, waiting, hbm, port };
            Grid { groups: vec![Group { blocks, tiles: 10 }], ends, tile, resident: 1 }.run(8, 1e9, 1e9).bound
        };
        assert_eq!(bound(8, 0.0, 0.0, 0.0), Bound::Tensor);
        // Tensor cores wait for the softmax most of the time.
        assert_eq!(bound(8, 0.6e-6, 0.0, 0.0), Bound::Cuda);
        // 4000 bytes through a port of 1 GB/s; 1000 bytes for each of eight blocks from a memory of 1 GB/s.
        assert_eq!(bound(8, 0.0, 0.0, 4000.0), Bound::L2);
        assert_eq!(bound(8, 0.0, 1000.0, 4000.0), Bound::Memory);
        // Three of eight SMs have a block; of nine blocks the last one runs alone.
        assert_eq!(bound(3, 0.0, 0.0, 0.0), Bound::Tail);
        assert_eq!(bound(9, 0.0, 0.0, 0.0), Bound::Tail);
        // A last wave of four behind two full ones costs a sixth of the time.
        assert_eq!(bound(20, 0.0, 0.0, 0.0), Bound::Tensor);
        // Three blocks that draw all of the memory's bandwidth lose nothing by the other SMs.
        assert_eq!(bound(3, 0.0, 2e4, 0.0), Bound::Memory);
    }

    #[test]
    fn two_blocks_on_an_sm_share_its_port() {
        let step = |port| Step { seconds: 0.0, waiting: 0.0, hbm: 0.0, port };
        let run = |blocks, resident| {
            let groups = vec![Group { blocks, tiles: 1 }];
            Grid { groups, ends: step(0.0), tile: step(1000.0), resident }.run(3, 1e12, 1e9).seconds
        };
        assert!((run(3, 1) - 1e-6).abs() < 1e-11 && (run(6, 1) - 2e-6).abs() < 1e-11);
        assert!((run(6, 2) - 2e-6).abs() < 1e-11 && (run(7, 2) - 4e-6).abs() < 1e-11);
    }

    #[test]
    fn merging_keeps_blocks_and_never_loses_tiles() {
        let groups: Vec<Group> = (1..=1000).rev().map(|tiles| Group { blocks: 3, tiles }).collect();
        let merged = merged(&groups);
        let total = |groups: &[Group]| groups.iter().map(|group| group.blocks * group.tiles).sum::<u64>();
        assert!(merged.len() <= GROUPS_MAX);
        assert_eq!(merged.iter().map(|group| group.blocks).sum::<u64>(), 3000);
        assert!(total(&merged) >= total(&groups) && total(&merged) < total(&groups) * 101 / 100);
    }
}
