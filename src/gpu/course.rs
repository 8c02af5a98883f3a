//! How a kernel runs: how long, and what of its processor it occupies when. This must not know who else runs.

use super::Cost;
use crate::timeline::Bound;
use crate::units::{BytesPerSec, Duration};

/// What a processor has to hand out to kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Streaming multiprocessors.
    pub sms: u64,
    /// Memory bandwidth.
    pub memory: BytesPerSec,
}

/// A kernel from launch to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// How long in all, and why.
    pub cost: Cost,
    /// Before its first block is placed: it occupies nothing.
    pub launch: Duration,
    /// From then to its end: filling and draining of pipelines, which draws little; blocks while others wait for SMs; and the last
    /// blocks, when none waits.
    pub stretches: [Stretch; 3],
}

/// A part of a kernel's time, and what it occupies meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// How long.
    pub time: Duration,
    /// Streaming multiprocessors that have a block, on average, rounded up.
    pub sms: u64,
    /// Memory bandwidth that it draws, on average, rounded up.
    pub memory: BytesPerSec,
}

impl Course {
    /// A kernel that takes no time.
    pub const NOTHING: Course = Course {
        cost: Cost { time: Duration::ZERO, bound: Bound::Nothing },
        launch: Duration::ZERO,
        stretches: [Stretch { time: Duration::ZERO, sms: 0, memory: BytesPerSec::new(0) }; 3],
    };

    /// Time of its blocks.
    pub fn blocks(&self) -> Duration {
        self.cost.time - self.launch
    }

    /// What it occupies when a part `done` of its blocks' time is over, and at which part that changes: 1 is the end.
    pub fn at(&self, done: f64) -> (&Stretch, f64) {
        // Parts are sums of rounded ones.
        const NEAR: f64 = 1e-9;
        let mut until = Duration::ZERO;
        for stretch in &self.stretches[..2] {
            until += stretch.time;
            if stretch.time > Duration::ZERO && done + NEAR < until / self.blocks() {
                return (stretch, until / self.blocks());
            }
        }
        (&self.stretches[2], 1.0)
    }
}

/// A kernel's blocks as a model finds them, in plain numbers, before their time is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Part {
    /// Seconds.
    pub seconds: f64,
    /// Seconds times SMs that have a block.
    pub sm_seconds: f64,
    /// Bytes from and to memory.
    pub bytes: f64,
}

/// Whether SMs without a block decide how long blocks take that run on `sms` SMs and `memory` bytes per second: spread evenly, the same work
/// would end a quarter of the time earlier or more, with what it draws from memory.
pub(super) fn tail_decides(rounds: &Part, last: &Part, sms: u64, memory: f64) -> bool {
    const EARLIER: f64 = 0.25;
    let evenly = (rounds.sm_seconds + last.sm_seconds) / sms as f64;
    let traffic = (rounds.bytes + last.bytes) / memory;
    evenly.max(traffic) <= (1.0 - EARLIER) * (rounds.seconds + last.seconds)
}

impl Part {
    /// The same work in `time`.
    pub(super) fn within(&self, time: Duration) -> Stretch {
        if self.seconds <= 0.0 || time == Duration::ZERO {
            return Stretch { time, ..Stretch::default() };
        }
        // Sums of seconds are rounded.
        let sms = (self.sm_seconds / self.seconds - 1e-9).ceil().max(1.0);
        let memory = (self.bytes / time.as_secs()).ceil();
        Stretch { time, sms: sms as u64, memory: BytesPerSec::new(memory as u64) }
    }
}

impl Course {
    /// A kernel that costs `cost`, of which `launch` seconds are launch, `ends` seconds go to filling and draining, and the rest is its
    /// blocks' `rounds` and `last` parts.
    pub(super) fn of(cost: Cost, (launch, ends): (f64, f64), rounds: &Part, last: &Part) -> Course {
        let launch = super::picoseconds(launch).min(cost.time);
        let ends = super::picoseconds(ends).min(cost.time - launch);
        let blocks = cost.time - launch - ends;
        let all = rounds.seconds + last.seconds;
        let full = if all > 0.0 { blocks.scaled(rounds.seconds / all).min(blocks) } else { Duration::ZERO };
        let (rounds, last) = (rounds.within(full), last.within(blocks - full));
        let ends = Stretch { time: ends, sms: rounds.sms.max(last.sms), memory: BytesPerSec::default() };
        Course { cost, launch, stretches: [ends, rounds, last] }
    }
}
