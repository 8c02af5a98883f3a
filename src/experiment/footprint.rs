//! What a simulation will take: memory, which is refused where there is too little, and time, which is told beforehand.

use super::build;
use super::watch::Watcher;
use crate::engine::{self, Limits};
use crate::gpu::KernelModel;
use crate::invalid::Invalid;
use crate::scenario::{NetworkChoice, Scenario, simulation_room};
use crate::timeline::{Recorder, Timeline};
use crate::topology::Cluster;
use crate::units::Bytes;
use crate::workload::{GraphSize, Workload};

/// What a simulation will take on this kind of machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// What is simulated.
    pub size: GraphSize,
    /// Memory that operations, their spans and transfers take.
    pub memory: Bytes,
    /// Seconds of one core, within a factor of three or so.
    pub seconds: f64,
}

/// Operations that are worked through in a second, transfers among them.
const OPS_PER_SEC: f64 = 1.0e6;
/// Hops of packets that are.
const HOPS_PER_SEC: f64 = 4.0e6;
/// Hops of a packet from GPU to GPU by two NICs, two leaves and a spine.
const HOPS: f64 = 6.0;
/// The data of a packet.
const PACKET: f64 = 4096.0;

/// From so many seconds on a run says beforehand how long it will take.
const SECONDS_UNTOLD: f64 = 60.0;

impl Estimate {
    /// What a graph of operations takes under a network model.
    pub fn of(size: GraphSize, network: NetworkChoice) -> Estimate {
        let packets = match network {
            NetworkChoice::Analytic | NetworkChoice::Flow => 0.0,
            NetworkChoice::Packet => size.bytes as f64 / PACKET + size.sends as f64,
        };
        let seconds = size.ops as f64 / OPS_PER_SEC + packets * HOPS / HOPS_PER_SEC;
        Estimate { size, memory: Bytes::new(size.memory()), seconds }
    }

    /// Whether whoever waits for it ought to know.
    pub fn is_long(&self) -> bool {
        self.seconds >= SECONDS_UNTOLD
    }
}

/// Runs `workload` on the network of `cluster` within the memory that there is, and tells whoever watches if it will take long.
pub(super) fn run(
    scenario: &Scenario,
    cluster: &Cluster,
    (workload, recorder): (&mut dyn Workload, Recorder<'_>),
    kernels: &mut dyn KernelModel,
    watcher: &Watcher<'_>,
) -> Result<Timeline, Invalid> {
    let (left, tell) = (watcher.room(), watcher.tell());
    let room = simulation_room(scenario, left);
    let expect = |size: GraphSize| {
        let estimate = Estimate::of(size, scenario.network);
        if let Some(tell) = tell.filter(|_| estimate.is_long()) {
            tell(&estimate);
        }
    };
    let mut network = build::network(scenario, cluster, watcher)?;
    let limits = Limits { room, expect: &expect };
    let timeline = engine::run_within(workload, kernels, network.as_mut(), &cluster.topology, limits, recorder);
    drop(network);
    let timeline = timeline?;
    watcher.took(timeline.effort);
    Ok(timeline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_lie_near_what_was_measured() {
        // All-to-alls of 2,048 GPUs by flows: 4.2 million transfers took 4.0 s and 0.88 GB; of 64 MiB by packets, 47 s.
        let sends = 2048 * 2047;
        let size = GraphSize { ops: sends, sends, bytes: 2047 << 26 };
        let flow = Estimate::of(size, NetworkChoice::Flow);
        assert!((3.0..6.0).contains(&flow.seconds), "{flow:?}");
        assert!((0.8e9..1.0e9).contains(&(flow.memory.get() as f64)), "{flow:?}");
        let packet = Estimate::of(size, NetworkChoice::Packet);
        assert!((25.0..120.0).contains(&packet.seconds), "{packet:?}");
        assert!(!flow.is_long());
    }
}
