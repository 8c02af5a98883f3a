//! Collectives as sends, in the algorithms and with the byte counts of nccl-tests.
//!
//! `bytes` is what nccl-tests calls the size: the buffer of an all-reduce or all-to-all, the whole output of an all-gather,
//! the whole input of a reduce-scatter. Reduction itself is not charged.

use super::Workload;
use super::op::{Label, Op, OpGraph, Phase, Work};
use crate::id::{DeviceId, OpId};
use crate::units::{Bytes, Time};
use schemars::JsonSchema;
use serde::Deserialize;

/// A collective and its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Collective {
    /// Reduce-scatter, then all-gather, on one ring: `2 (n - 1)` steps of `bytes / n`.
    AllReduce,
    /// `n - 1` steps of `bytes / n` on one ring.
    AllGather,
    /// `n - 1` steps of `bytes / n` on one ring.
    ReduceScatter,
    /// `bytes / n` from everyone to everyone else, at once.
    AllToAll,
    /// All `bytes` from the first rank to the last.
    Send,
}

impl Collective {
    /// The name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Collective::AllReduce => "all_reduce",
            Collective::AllGather => "all_gather",
            Collective::ReduceScatter => "reduce_scatter",
            Collective::AllToAll => "all_to_all",
            Collective::Send => "send",
        }
    }

    /// Bus bandwidth per algorithm bandwidth, as nccl-tests defines it (its PERFORMANCE.md).
    pub fn bus_factor(self, ranks: usize) -> f64 {
        let n = ranks as f64;
        match self {
            Collective::AllReduce => 2.0 * (n - 1.0) / n,
            Collective::AllGather | Collective::ReduceScatter | Collective::AllToAll => (n - 1.0) / n,
            Collective::Send => 1.0,
        }
    }
}

/// Adds a collective among `ranks`, each of which joins when its operation in `after` has finished.
/// Returns, for each rank, the operations whose end completes the collective there.
pub fn expand(
    graph: &mut OpGraph,
    collective: Collective,
    ranks: &[DeviceId],
    bytes: Bytes,
    after: &[Vec<OpId>],
    label: Label,
) -> Vec<Vec<OpId>> {
    assert_eq!(ranks.len(), after.len(), "every rank joins once");
    let tag = graph.collective();
    let n = ranks.len();
    let mut send = |from: usize, to: usize, bytes: Bytes, after: &[OpId]| {
        let work = Work::Send { from: ranks[from], to: ranks[to], bytes };
        graph.push(Op { work, label, stream: None, collective: Some(tag) }, after)
    };
    match collective {
        Collective::AllReduce => ring(2 * (n - 1), n, bytes, after, send),
        Collective::AllGather | Collective::ReduceScatter => ring(n - 1, n, bytes, after, send),
        Collective::AllToAll => {
            let mut received = after.to_vec();
            for offset in 1..n {
                for (from, after) in after.iter().enumerate() {
                    let to = (from + offset) % n;
                    received[to].push(send(from, to, piece(bytes, n, to), after));
                }
            }
            received
        }
        Collective::Send => {
            let mut received = after.to_vec();
            received[n - 1].push(send(0, n - 1, bytes, &after[0]));
            received
        }
    }
}

/// In every step each rank passes on to the next what it received in the step before.
fn ring(
    steps: usize,
    n: usize,
    bytes: Bytes,
    after: &[Vec<OpId>],
    mut send: impl FnMut(usize, usize, Bytes, &[OpId]) -> OpId,
) -> Vec<Vec<OpId>> {
    let mut held = after.to_vec();
    for step in 0..steps {
        let mut received = vec![Vec::new(); n];
        for (from, held) in held.iter().enumerate() {
            let to = (from + 1) % n;
            // A rank starts the ring with its own piece, so that in step s it passes on the piece of s ranks before it.
            let chunk = (from + steps * n - step) % n;
            received[to].push(send(from, to, piece(bytes, n, chunk), held));
        }
        held = received;
    }
    held
}

/// The `index`-th of `n` pieces of `bytes`; the first ones take the remainder.
fn piece(bytes: Bytes, n: usize, index: usize) -> Bytes {
    let (n, index) = (n as u64, index as u64);
    Bytes::new(bytes.get() / n + u64::from(index < bytes.get() % n))
}

/// One collective, run once.
pub struct CollectiveWorkload {
    collective: Collective,
    ranks: Vec<DeviceId>,
    bytes: Bytes,
    started: bool,
}

impl CollectiveWorkload {
    /// `collective` of `bytes` among `ranks`.
    pub fn new(collective: Collective, ranks: Vec<DeviceId>, bytes: Bytes) -> CollectiveWorkload {
        CollectiveWorkload { collective, ranks, bytes, started: false }
    }
}

impl Workload for CollectiveWorkload {
    fn next_arrival(&self) -> Option<Time> {
        None
    }

    fn advance(&mut self, _: Time, _: &[OpId], graph: &mut OpGraph) {
        if !std::mem::replace(&mut self.started, true) {
            let after = vec![Vec::new(); self.ranks.len()];
            expand(graph, self.collective, &self.ranks, self.bytes, &after, Label::of(Phase::Collective));
        }
    }
}
