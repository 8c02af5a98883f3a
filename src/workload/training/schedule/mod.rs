//! Pipeline schedules: in which order each rank of a pipeline works on which part of which micro-batch.
//!
//! A schedule is a pure function of the number of ranks and of micro-batches. It knows neither models nor durations. One file
//! holds one schedule; what they share is here: units of work, where stages live, and what waits for what.

mod dual_pipe;
mod dual_pipe_v;
mod interleaved;
mod one_f_one_b;
#[cfg(test)]
mod testing;
mod zb1p;

use crate::invalid::Invalid;
use crate::units::Count;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pipeline schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleSpec {
    /// One forward, one backward (PipeDream-flush; arXiv 2104.04473, section 2.2.1).
    OneFOneB,
    /// The same with several model chunks per rank, each of which passes the ranks in turn (arXiv 2104.04473, section 2.2.2).
    Interleaved {
        /// Model chunks per rank.
        chunks: Count,
    },
    /// Zero bubble within the memory of 1F1B: weight gradients fill what would be idle (ZB-H1 of arXiv 2401.10241).
    Zb1p,
    /// Micro-batches enter at both ends, and a forward overlaps with a backward (arXiv 2412.19437, section 3.2.1).
    DualPipe,
    /// DualPipe folded in the middle: each rank holds two stages, and micro-batches go there and back.
    DualPipeV,
}

/// One micro-batch in one of the model chunks of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit {
    /// Micro-batch, from 0.
    pub micro_batch: u32,
    /// Which of the rank's model chunks, from 0.
    pub chunk: u32,
}

/// What a rank does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Forward pass.
    Forward(Unit),
    /// Backward pass with the gradients of inputs and weights.
    Backward(Unit),
    /// Backward pass with the gradients of inputs only.
    BackwardInput(Unit),
    /// Gradients of weights that an earlier [`BackwardInput`](Action::BackwardInput) left.
    BackwardWeight(Unit),
    /// A forward and a full backward pass whose computation hides each other's communication.
    Overlapped {
        /// The forward pass.
        forward: Unit,
        /// The backward pass.
        backward: Unit,
    },
}

/// The three parts of the work on a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Forward pass.
    Forward,
    /// Gradient of the input.
    Input,
    /// Gradient of the weights.
    Weight,
}

impl Action {
    /// The parts that the action completes, in order.
    pub fn parts(self) -> Vec<(Part, Unit)> {
        match self {
            Action::Forward(unit) => vec![(Part::Forward, unit)],
            Action::Backward(unit) => vec![(Part::Input, unit), (Part::Weight, unit)],
            Action::BackwardInput(unit) => vec![(Part::Input, unit)],
            Action::BackwardWeight(unit) => vec![(Part::Weight, unit)],
            Action::Overlapped { forward, backward } => {
                vec![(Part::Forward, forward), (Part::Input, backward), (Part::Weight, backward)]
            }
        }
    }
}

/// The order of work on every rank of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    spec: ScheduleSpec,
    micro_batches: u32,
    ranks: Vec<Vec<Action>>,
}

impl Schedule {
    /// `spec` for `ranks` ranks and `micro_batches` micro-batches. Findings are about `micro_batches` or `pp`.
    pub fn new(spec: ScheduleSpec, ranks: u32, micro_batches: u32) -> Result<Schedule, Invalid> {
        let refuse = |place: &str, message: String, help: &str| Err(Invalid::at(place, message).help(help));
        let bidirectional = matches!(spec, ScheduleSpec::DualPipe | ScheduleSpec::DualPipeV);
        if spec == ScheduleSpec::DualPipe && (ranks % 2 == 1 || micro_batches % 2 == 1) {
            let message = format!("DualPipe with {ranks} ranks and {micro_batches} micro-batches per replica");
            return refuse("schedule", message, "both must be even, because micro-batches enter at both ends");
        }
        if bidirectional && micro_batches < 2 * ranks {
            let message = format!("{micro_batches} micro-batches per replica for {ranks} pipeline ranks");
            return refuse("schedule", message, "bidirectional schedules need twice as many micro-batches as ranks");
        }
        if matches!(spec, ScheduleSpec::Interleaved { .. }) && !micro_batches.is_multiple_of(ranks) {
            let message = format!("{micro_batches} micro-batches per replica for {ranks} pipeline ranks");
            return refuse("schedule", message, "interleaving needs a multiple of the ranks");
        }
        let order = |rank| match spec {
            ScheduleSpec::OneFOneB => one_f_one_b::order(rank, ranks, micro_batches),
            ScheduleSpec::Interleaved { chunks } => interleaved::order(rank, ranks, micro_batches, chunks.get()),
            ScheduleSpec::Zb1p => zb1p::order(rank, ranks, micro_batches),
            ScheduleSpec::DualPipe => dual_pipe::order(rank, ranks, micro_batches),
            ScheduleSpec::DualPipeV => dual_pipe_v::order(rank, ranks, micro_batches),
        };
        Ok(Schedule { spec, micro_batches, ranks: (0..ranks).map(order).collect() })
    }

    /// What each rank does, in order.
    pub fn ranks(&self) -> &[Vec<Action>] {
        &self.ranks
    }

    /// Micro-batches that pass the pipeline.
    pub fn micro_batches(&self) -> u32 {
        self.micro_batches
    }

    /// Stages that the model is cut into.
    pub fn stages(&self) -> u32 {
        stages(self.spec, self.ranks.len() as u32)
    }

    /// Model chunks that a rank holds.
    pub fn chunks(&self) -> u32 {
        chunks(self.spec)
    }

    /// The stage that is chunk `chunk` of `rank`.
    pub fn stage(&self, rank: u32, chunk: u32) -> u32 {
        let ranks = self.ranks.len() as u32;
        match self.spec {
            ScheduleSpec::OneFOneB | ScheduleSpec::Zb1p => rank,
            ScheduleSpec::Interleaved { .. } => chunk * ranks + rank,
            ScheduleSpec::DualPipe if chunk == 0 => rank,
            ScheduleSpec::DualPipe => ranks - 1 - rank,
            ScheduleSpec::DualPipeV if chunk == 0 => rank,
            ScheduleSpec::DualPipeV => 2 * ranks - 1 - rank,
        }
    }

    /// Where `micro_batch` meets `stage`: the rank and its chunk.
    pub fn holder(&self, stage: u32, micro_batch: u32) -> (u32, u32) {
        let ranks = self.ranks.len() as u32;
        match self.spec {
            ScheduleSpec::OneFOneB | ScheduleSpec::Zb1p => (stage, 0),
            ScheduleSpec::Interleaved { .. } => (stage % ranks, stage / ranks),
            ScheduleSpec::DualPipe if micro_batch < self.micro_batches / 2 => (stage, 0),
            ScheduleSpec::DualPipe => (ranks - 1 - stage, 1),
            ScheduleSpec::DualPipeV if stage < ranks => (stage, 0),
            ScheduleSpec::DualPipeV => (2 * ranks - 1 - stage, 1),
        }
    }

    /// The numbers of units, by chunk, whose activations `rank` keeps after each action; every distinct state once. A unit is
    /// kept from its forward pass until the gradient of its weights is done.
    pub fn kept(&self, rank: u32) -> Vec<Vec<u64>> {
        let mut now = vec![0; self.chunks() as usize];
        let mut states = Vec::new();
        for &action in &self.ranks[rank as usize] {
            // While two passes overlap, the activations of both are there.
            for (part, unit) in action.parts() {
                match part {
                    Part::Forward => now[unit.chunk as usize] += 1,
                    Part::Input => {}
                    Part::Weight => now[unit.chunk as usize] -= 1,
                }
                states.push(now.clone());
            }
        }
        states.sort_unstable();
        states.dedup();
        states
    }
}

/// Stages that `spec` cuts a model into over `ranks` ranks.
pub fn stages(spec: ScheduleSpec, ranks: u32) -> u32 {
    match spec {
        ScheduleSpec::OneFOneB | ScheduleSpec::Zb1p | ScheduleSpec::DualPipe => ranks,
        ScheduleSpec::Interleaved { chunks } => chunks.get() * ranks,
        ScheduleSpec::DualPipeV => 2 * ranks,
    }
}

fn chunks(spec: ScheduleSpec) -> u32 {
    match spec {
        ScheduleSpec::OneFOneB | ScheduleSpec::Zb1p => 1,
        ScheduleSpec::Interleaved { chunks } => chunks.get(),
        ScheduleSpec::DualPipe | ScheduleSpec::DualPipeV => 2,
    }
}
