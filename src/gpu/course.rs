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

/// A kernel from launch to end: launch, full rounds of blocks, last round. The three add up to its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// How long in all, and why.
    pub cost: Cost,
    /// Launch and all else that does not grow with the work: it occupies neither SMs nor memory.
    pub launch: Duration,
    /// While blocks wait for SMs.
    pub rounds: Stretch,
    /// While the last blocks run and none waits.
    pub last: Stretch,
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
        rounds: Stretch { time: Duration::ZERO, sms: 0, memory: BytesPerSec::new(0) },
        last: Stretch { time: Duration::ZERO, sms: 0, memory: BytesPerSec::new(0) },
    };

    /// Time of its blocks.
    pub fn blocks(&self) -> Duration {
        self.cost.time - self.launch
    }

    /// The part of its blocks' time after which none waits for an SM.
    pub fn full(&self) -> f64 {
        let blocks = self.blocks();
        if blocks == Duration::ZERO { 0.0 } else { self.rounds.time / blocks }
    }

    /// What it occupies when a part `done` of its blocks' time is over.
    pub fn at(&self, done: f64) -> &Stretch {
        // Parts are sums of rounded ones.
        const NEAR: f64 = 1e-9;
        if done + NEAR < self.full() { &self.rounds } else { &self.last }
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
    /// A kernel that costs `cost`, of which `fixed` seconds are launch and the rest its blocks' `rounds` and `last` parts.
    pub(super) fn of(cost: Cost, fixed: f64, rounds: &Part, last: &Part) -> Course {
        let launch = super::picoseconds(fixed).min(cost.time);
        let blocks = cost.time - launch;
        let all = rounds.seconds + last.seconds;
        let full = if all > 0.0 { blocks.scaled(rounds.seconds / all).min(blocks) } else { Duration::ZERO };
        Course { cost, launch, rounds: rounds.within(full), last: last.within(blocks - full) }
    }
}
