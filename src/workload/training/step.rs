//! A whole training step as a pipeline of chunks whose times are known, and the update of the weights at its end.
//!
//! One replica of the pipeline is simulated, or several. This module is told how long chunks take and must not know how that
//! was found.

use super::schedule::{Action, Part, Schedule, Unit};
use super::update::{Update, UpdateSoftware};
use crate::id::{DeviceId, OpId, StreamId};
use crate::invalid::Invalid;
use crate::units::{Bytes, Duration, Time};
use crate::workload::Workload;
use crate::workload::op::{Label, Op, OpGraph, Phase, Stream, Work};
use std::collections::BTreeMap;

/// Everything that decides the operations of a step.
#[derive(Clone, Debug)]
pub struct Step {
    /// In which order ranks work.
    pub schedule: Schedule,
    /// How long each action of each rank takes.
    pub times: Vec<Vec<Duration>>,
    /// For each simulated replica of the pipeline, the GPU of each rank.
    pub replicas: Vec<Vec<DeviceId>>,
    /// What one GPU hands to the next stage, either way; with nothing, results are there at once.
    pub handed_over: Bytes,
    /// What each rank does when its pipeline has run dry; nothing for a schedule on its own.
    pub updates: Option<Vec<Update>>,
    /// What the software of collectives costs meanwhile.
    pub software: UpdateSoftware,
}

/// Lowers a step to operations, once.
pub struct StepWorkload {
    step: Step,
    started: bool,
}

impl StepWorkload {
    /// The workload of one step.
    pub fn new(step: Step) -> StepWorkload {
        StepWorkload { step, started: false }
    }
}

impl Workload for StepWorkload {
    fn next_arrival(&self) -> Option<Time> {
        None
    }

    fn advance(&mut self, _: Time, _: &[OpId], graph: &mut OpGraph) -> Result<(), Invalid> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        let mut last = Vec::new();
        for replica in 0..self.step.replicas.len() {
            last.push(Lowering::new(&self.step, replica, graph).pipeline());
        }
        if let Some(updates) = &self.step.updates {
            super::update::lower((updates, self.step.software), &self.step.replicas, &last, graph);
        }
        Ok(())
    }
}

/// The last operation of a rank, and its stream.
pub(super) type Last = (StreamId, OpId);

struct Lowering<'a> {
    step: &'a Step,
    graph: &'a mut OpGraph,
    gpus: &'a [DeviceId],
    streams: Vec<StreamId>,
    /// What makes a part of a micro-batch's work available to the stage that goes on from it.
    available: BTreeMap<(Part, u32, u32), OpId>,
}

impl<'a> Lowering<'a> {
    fn new(step: &'a Step, replica: usize, graph: &'a mut OpGraph) -> Lowering<'a> {
        let gpus = &step.replicas[replica];
        let stream = |(rank, &device): (usize, &DeviceId)| Stream { device, rank, name: "pipeline" };
        let streams = gpus.iter().enumerate().map(|gpu| graph.stream(stream(gpu))).collect();
        Lowering { step, graph, gpus, streams, available: BTreeMap::new() }
    }

    /// All actions of all ranks, each after what it needs.
    fn pipeline(mut self) -> Vec<Last> {
        let actions = self.step.schedule.ranks();
        let mut next = vec![0; actions.len()];
        let mut last = vec![None; actions.len()];
        loop {
            let mut moved = false;
            for (rank, actions) in actions.iter().enumerate() {
                while let Some(&action) = actions.get(next[rank]) {
                    let Some(after) = self.needs(rank, action) else { break };
                    let time = self.step.times[rank][next[rank]];
                    last[rank] = Some(self.act(rank, action, time, &after));
                    next[rank] += 1;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        let done = next.iter().zip(actions).all(|(next, actions)| *next == actions.len());
        assert!(done, "a schedule never waits for ever: {next:?}");
        let last = last.into_iter().map(|op| op.expect("every rank has something to do"));
        self.streams.iter().copied().zip(last).collect()
    }

    /// The operations that `action` waits for, if all of them exist already.
    fn needs(&self, rank: usize, action: Action) -> Option<Vec<OpId>> {
        let last = self.step.schedule.stages() - 1;
        let mut needed = Vec::new();
        for (part, Unit { micro_batch, chunk }) in action.parts() {
            let stage = self.step.schedule.stage(rank as u32, chunk);
            let key = match part {
                Part::Forward if stage > 0 => (Part::Forward, micro_batch, stage - 1),
                Part::Input if stage < last => (Part::Input, micro_batch, stage + 1),
                Part::Input => (Part::Forward, micro_batch, stage),
                Part::Forward | Part::Weight => continue,
            };
            needed.push(*self.available.get(&key)?);
        }
        Some(needed)
    }

    /// Adds an action and what it hands on.
    fn act(&mut self, rank: usize, action: Action, time: Duration, after: &[OpId]) -> OpId {
        let (phase, unit) = match action {
            Action::Forward(unit) => (Phase::Forward, unit),
            Action::Backward(unit) => (Phase::Backward, unit),
            Action::BackwardInput(unit) => (Phase::BackwardInput, unit),
            Action::BackwardWeight(unit) => (Phase::BackwardWeight, unit),
            Action::Overlapped { forward, .. } => (Phase::Overlapped, forward),
        };
        let stage = self.step.schedule.stage(rank as u32, unit.chunk);
        let label = Label { phase, layer: stage, micro_batch: unit.micro_batch };
        let op = Op { work: Work::Known(time), label, stream: Some(self.streams[rank]), collective: None };
        let op = self.graph.push(op, after);
        for (part, unit) in action.parts() {
            let stage = self.step.schedule.stage(rank as u32, unit.chunk);
            let to = match part {
                Part::Forward if stage + 1 < self.step.schedule.stages() => Some(stage + 1),
                Part::Input if stage > 0 => Some(stage - 1),
                Part::Forward | Part::Input | Part::Weight => None,
            };
            let sent = to.map_or(op, |to| self.hand_over(rank, op, unit.micro_batch, stage, to));
            self.available.insert((part, unit.micro_batch, stage), sent);
        }
        op
    }

    fn hand_over(&mut self, rank: usize, op: OpId, micro_batch: u32, stage: u32, to: u32) -> OpId {
        let (holder, _) = self.step.schedule.holder(to, micro_batch);
        if holder as usize == rank || self.step.handed_over == Bytes::ZERO {
            return op;
        }
        let (from, to) = (self.gpus[rank], self.gpus[holder as usize]);
        let work = Work::Send { from, to, bytes: self.step.handed_over };
        let label = Label { phase: Phase::Pipeline, layer: stage, micro_batch };
        self.graph.push(Op { work, label, stream: None, collective: None }, &[op])
    }
}
