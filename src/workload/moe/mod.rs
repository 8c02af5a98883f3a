//! The exchange of tokens with experts: dispatch and combine as kernels of communication libraries do them.
//!
//! Three forms: high-throughput kernels that send one copy per node and forward it by SMs, low-latency kernels that send one
//! copy per expert, and kernels inside one scale-up domain. Each becomes sends and software; how long software takes is read
//! from the hardware's description.

mod coding;
mod copies;
mod low_latency;
mod normal;
mod scale_up;
mod spec;

pub use copies::Copies;
pub use spec::{ExchangeKernels, MoeExchangeSpec, RowFormat};

use super::Workload;
use super::collective::Group;
use super::collective::desk::{Desk, Front};
use super::op::{Label, OpGraph, Phase};
use crate::hardware::{ExpertCosts, Lanes};
use crate::id::{DeviceId, OpId};
use crate::invalid::Invalid;
use crate::units::{Bytes, Count, Time};

/// Everything that decides the operations of an exchange.
#[derive(Clone, Debug)]
pub struct MoeExchange {
    /// Kernels, tokens and formats.
    pub spec: MoeExchangeSpec,
    /// The GPUs.
    pub group: Group,
    /// The NIC of each GPU, where it has one.
    pub nics: Vec<Option<DeviceId>>,
    /// GPUs of each node.
    pub per_node: usize,
    /// GPUs of the first node that come before the first of the group.
    pub offset: usize,
    /// Copies per token.
    pub copies: Copies,
    /// What the kernels, or the co-processor in their place, cost beside the wire.
    pub costs: ExpertCosts,
    /// What turns results into a narrow format, where that is known.
    pub lanes: Option<Lanes>,
    /// The GPU that stands for all, where they all do the same at the same time: what it sends stands for what it receives.
    pub folded: Option<usize>,
}

/// The direction of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::workload) enum Direction {
    Dispatch,
    Combine,
}

impl MoeExchange {
    /// The same exchange where the experts of each GPU have `loads` times as many visits.
    pub(in crate::workload) fn with_loads(&self, loads: &[f64]) -> MoeExchange {
        MoeExchange { copies: self.copies.weighted(loads, self.per_node), ..self.clone() }
    }

    /// What one copy occupies.
    fn row(&self, direction: Direction) -> Bytes {
        match direction {
            Direction::Dispatch => self.spec.dispatch.bytes(self.spec.hidden),
            Direction::Combine => self.spec.combine.bytes(self.spec.hidden),
        }
    }

    /// What copies tokens at the rates that the costs state: SMs, or one co-processor.
    fn movers(&self) -> Count {
        Count::new(self.spec.sms).unwrap_or(Count::ONE)
    }

    /// The GPUs whose operations are written down.
    fn simulated(&self) -> Vec<usize> {
        self.folded.map_or_else(|| (0..self.group.len()).collect(), |one| vec![one])
    }

    /// Whose operations wait for what `from` sends to `to`.
    fn receiver(&self, from: usize, to: usize) -> usize {
        if self.folded.is_some() { from } else { to }
    }

    fn node(&self, gpu: usize) -> usize {
        (self.offset + gpu) / self.per_node
    }

    fn nodes(&self) -> usize {
        (self.offset + self.group.len()).div_ceil(self.per_node)
    }

    /// The other GPUs of a GPU's node, its neighbours first.
    fn neighbours(&self, gpu: usize) -> impl Iterator<Item = usize> {
        let first = (self.node(gpu) * self.per_node).saturating_sub(self.offset);
        let end = (self.node(gpu) + 1) * self.per_node - self.offset;
        let size = end.min(self.group.len()) - first;
        (1..size).map(move |offset| first + (gpu - first + offset) % size)
    }

    /// The GPUs of equal index in the other nodes.
    fn rail(&self, gpu: usize) -> impl Iterator<Item = usize> {
        let (all, step) = (self.group.len(), self.per_node);
        (1..self.nodes()).map(move |offset| (gpu + offset * step) % all)
    }

    /// Adds what precedes a dispatch, where that is a kernel of its own.
    pub(super) fn prepare(&self, desk: &mut Desk<'_>, front: &Front) -> Front {
        scale_up::prepare(self, desk, front)
    }

    /// Adds one pass of the kernels; each GPU joins when its operations in `front` have finished.
    pub(in crate::workload) fn pass(&self, desk: &mut Desk<'_>, direction: Direction, front: &Front) -> Front {
        match self.spec.kernels {
            ExchangeKernels::Normal => normal::pass(self, desk, direction, front),
            ExchangeKernels::LowLatency => low_latency::pass(self, desk, direction, front),
            ExchangeKernels::OneSided | ExchangeKernels::TwoSided => scale_up::pass(self, desk, direction, front),
        }
    }
}

/// One dispatch and, when it has ended everywhere, one combine.
pub struct MoeExchangeWorkload {
    exchange: MoeExchange,
    started: bool,
}

impl MoeExchangeWorkload {
    /// The workload of one exchange.
    pub fn new(exchange: MoeExchange) -> MoeExchangeWorkload {
        MoeExchangeWorkload { exchange, started: false }
    }
}

impl Workload for MoeExchangeWorkload {
    fn next_arrival(&self) -> Option<Time> {
        None
    }

    fn advance(&mut self, _: Time, _: &[OpId], graph: &mut OpGraph) -> Result<(), Invalid> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        let exchange = &self.exchange;
        let mut front: Front = vec![Vec::new(); exchange.group.len()];
        let mut desk = Desk::new(graph, &exchange.group, Label::of(Phase::Gate));
        front = scale_up::prepare(exchange, &mut desk, &front);
        for (direction, phase) in [(Direction::Dispatch, Phase::Dispatch), (Direction::Combine, Phase::Combine)] {
            desk.relabel(Label::of(phase));
            front = exchange.pass(&mut desk, direction, &front);
            // The two are timed one by one: nobody begins before all have ended.
            let all: Vec<OpId> = front.iter().flatten().copied().collect();
            exchange.simulated().into_iter().for_each(|gpu| front[gpu].clone_from(&all));
        }
        Ok(())
    }
}
