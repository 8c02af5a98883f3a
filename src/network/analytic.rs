//! Latency plus bytes over the narrowest link, without contention inside the network.
//!
//! The one thing that flows share is the port on which they leave their node: it serves them one after the other, in order
//! of start; where a NIC has several, each serves its part of every flow. That is what makes an all-to-all take the sum of its bytes over the port's rate, as the closed forms of arXiv
//! 2505.09343 section 2.3.2 do, and it is a lower bound for every model with contention.

use super::{Arrived, Flow, NetworkModel};
use crate::id::{CableId, DeviceId, FlowId};
use crate::routing::{Passage, Path, Routes};
use crate::topology::Topology;
use crate::units::{Bytes, BytesPerSec, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// The analytic network model over one topology.
pub struct Analytic<'t> {
    topology: &'t Topology,
    routes: Routes<'t>,
    paths: BTreeMap<(DeviceId, DeviceId), Path>,
    ports: BTreeMap<CableId, Port>,
    on_the_way: BinaryHeap<Reverse<(Time, FlowId)>>,
    records: Vec<Arrived>,
}

#[derive(Clone, Copy)]
struct Port {
    /// Since when it has been busy without a pause, and what it has passed since.
    busy_since: Time,
    passed: Bytes,
    free: Time,
    last: FlowId,
}

/// What became of a flow at the ports that it leaves by.
struct Served {
    /// When the first part of it began to leave, and when all of it had left.
    start: Time,
    injected: Time,
    /// The rate of those ports together.
    rate: BytesPerSec,
    waited_for: Option<FlowId>,
}

impl<'t> Analytic<'t> {
    /// An idle network with static routing.
    pub fn new(topology: &'t Topology) -> Analytic<'t> {
        Analytic::with(topology, Routes::new(topology))
    }

    /// An idle network with the given routes over `topology`.
    pub fn with(topology: &'t Topology, routes: Routes<'t>) -> Analytic<'t> {
        Analytic {
            topology,
            routes,
            paths: BTreeMap::new(),
            ports: BTreeMap::new(),
            on_the_way: BinaryHeap::new(),
            records: Vec::new(),
        }
    }
}

/// The bytes of a part, rounded up but for what rounding of the part adds.
fn part_of(bytes: Bytes, part: f64) -> Bytes {
    if part == 1.0 { bytes } else { Bytes::new((bytes.get() as f64 * part - 1e-6).ceil() as u64) }
}

impl NetworkModel for Analytic<'_> {
    fn start(&mut self, now: Time, flow: Flow) {
        assert_eq!(flow.id.index(), self.records.len(), "flows are numbered in the order in which they start");
        let path = self.paths.entry((flow.from, flow.to)).or_insert_with(|| {
            let name = |id| self.topology.device(id);
            let path = self.routes.path(flow.from, flow.to);
            path.unwrap_or_else(|| panic!("no way from {} to {}", name(flow.from), name(flow.to)))
        });
        let idle = Port { busy_since: now, passed: Bytes::ZERO, free: now, last: flow.id };
        let mut served = Served { start: Time::FAR_FUTURE, injected: now, rate: BytesPerSec::new(0), waited_for: None };
        for &Passage { cable, part } in &path.ports {
            let link = self.routes.cables().get(cable).link;
            let rate = self.routes.cables().share_of(link, self.topology.link(link).achievable);
            let port = self.ports.entry(cable).or_insert(idle);
            if port.free > now {
                served.waited_for = served.waited_for.or(Some(port.last));
            } else {
                *port = idle;
            }
            served.start = served.start.min(port.free);
            // What a port passes without a pause is rounded once, however many transfers it is.
            port.passed += part_of(flow.bytes, part);
            (port.free, port.last) = (port.busy_since + port.passed / rate, flow.id);
            served.injected = served.injected.max(port.free);
            served.rate += rate;
        }
        let Served { start, injected, rate, waited_for } = served;
        let transfer = flow.bytes / path.narrowest;
        let end = if path.narrowest == rate { injected } else { injected.max(start + transfer) } + path.latency;
        self.records.push(Arrived {
            flow: flow.id,
            port: path.port,
            start,
            injected,
            end,
            waited_for,
            latency_bound: path.latency > transfer,
        });
        self.on_the_way.push(Reverse((end, flow.id)));
    }

    fn advance_until(&mut self, limit: Time, arrived: &mut Vec<Arrived>) -> Time {
        let now = match self.on_the_way.peek() {
            Some(&Reverse((end, _))) if end <= limit => end,
            _ => return limit,
        };
        while let Some(&Reverse((end, flow))) = self.on_the_way.peek()
            && end == now
        {
            self.on_the_way.pop();
            arrived.push(self.records[flow.index()]);
        }
        now
    }
}
