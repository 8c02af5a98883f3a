//! Keys and values on their way from the worker that computed a prompt to the one that decodes it.

use super::fleet::WorkerId;
use crate::id::{DeviceId, OpId};
use crate::units::{Bytes, Duration, Time};
use crate::workload::op::{Label, Op, OpGraph, Phase, Work};
use std::collections::BTreeMap;

/// Keys and values that change workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Whose they are.
    pub request: usize,
    /// Positions.
    pub positions: u64,
    /// Who computed them.
    pub from: WorkerId,
    /// The tensor-parallel group there.
    pub from_group: usize,
    /// Who decodes.
    pub to: WorkerId,
    /// The tensor-parallel group there.
    pub into_group: usize,
}

/// What one GPU sends to another of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvPart {
    /// Who sends.
    pub from: DeviceId,
    /// Who receives.
    pub to: DeviceId,
    /// How much.
    pub bytes: Bytes,
    /// The part, by its place, that has to be there before this one sets out.
    pub after: Option<usize>,
}

/// Who knows between which GPUs keys and values travel.
pub trait KvPath {
    /// The parts of which a handover consists; at least one.
    fn parts(&self, handover: &Handover) -> Vec<KvPart>;
}

/// What transfers of keys and values put on the NICs of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvBeside {
    /// Bytes that set out from or for its GPUs since the step before began, in the direction that has more.
    pub bytes: Bytes,
    /// How long ago that was; nothing where there was no step before.
    pub over: Duration,
}

/// All transfers under way, and what they put on GPUs.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    /// The request of each operation under way.
    of_op: BTreeMap<OpId, usize>,
    /// For each request, the operations that are left and when the first set out.
    left: BTreeMap<usize, (usize, Time)>,
    /// What set out from and for each worker since its last step began.
    on: BTreeMap<WorkerId, Since>,
}

/// Bytes that set out from and for a worker since a time.
#[derive(Clone, Copy, Debug, Default)]
struct Since {
    began: Time,
    out: Bytes,
    into: Bytes,
}

impl Transfers {
    /// Lets `parts` of a handover set out after `op`.
    pub(super) fn send(&mut self, now: Time, handover: &Handover, parts: &[KvPart], op: OpId, graph: &mut OpGraph) {
        let mut ops: Vec<OpId> = Vec::with_capacity(parts.len());
        for part in parts {
            let KvPart { from, to, bytes, after } = *part;
            let label = Label::of(Phase::KvTransfer);
            let send = Op { work: Work::Send { from, to, bytes }, label, stream: None, collective: None };
            let id = graph.push(send, &[after.map_or(op, |place| ops[place])]);
            ops.push(id);
            self.of_op.insert(id, handover.request);
            if after.is_none() {
                self.on.entry(handover.from).or_default().out += bytes;
                self.on.entry(handover.to).or_default().into += bytes;
            }
        }
        self.left.insert(handover.request, (ops.len(), now));
    }

    /// The request whose keys and values are complete with `op`, and when they set out.
    pub(super) fn arrive(&mut self, op: OpId) -> Option<(usize, Time)> {
        let request = self.of_op.remove(&op)?;
        let (left, since) = self.left.get_mut(&request)?;
        *left -= 1;
        let (done, since) = (*left == 0, *since);
        if done {
            self.left.remove(&request);
        }
        done.then_some((request, since))
    }

    /// What is beside the step of `worker` that begins at `now`; counted anew from here on.
    pub(super) fn beside(&mut self, now: Time, worker: WorkerId) -> KvBeside {
        let Some(on) = self.on.get_mut(&worker) else { return KvBeside::default() };
        let Since { began, out, into } = std::mem::replace(on, Since { began: now, ..Since::default() });
        KvBeside { bytes: out.max(into), over: now - began }
    }
}
