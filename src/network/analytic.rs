//! Latency plus bytes over the narrowest link, without contention inside the network.
//!
//! The one thing that flows share is the port on which they leave their node: it serves them one after the other, in order
//! of start; where a NIC has several, each serves its part of every flow. That is what makes an all-to-all take the sum of its bytes over the port's rate, as the closed forms of arXiv
//! 2505.09343 section 2.3.2 do, and it is a lower bound for every model with contention.

use super::{Arrived, Flow, NetworkModel};
use crate::id::{CableId, DeviceId, FlowId, LinkId};
use crate::retiring::Retiring;
use crate::routing::{Passage, Path, Routes};
use crate::topology::Topology;
use crate::units::{Bytes, BytesPerSec, Duration, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// The analytic network model over one topology.
pub struct Analytic<'t> {
    topology: &'t Topology,
    routes: Routes<'t>,
    paths: Paths,
    ports: BTreeMap<CableId, Port>,
    on_the_way: BinaryHeap<Reverse<(Time, FlowId)>>,
    /// What is known of flows that have not arrived.
    records: Retiring<Record>,
}

/// What is asked of a path. Those from one device are few.
#[derive(PartialEq)]
struct Course {
    latency: Duration,
    narrowest: BytesPerSec,
    port: LinkId,
    ports: Vec<Passage>,
}

/// Paths that have been taken, those that are alike once.
#[derive(Default)]
struct Paths {
    courses: Vec<Course>,
    /// The courses of paths from a device, by their places.
    from: BTreeMap<DeviceId, Vec<u32>>,
    known: BTreeMap<(DeviceId, DeviceId), u32>,
}

impl Paths {
    /// The course of the path between two devices, which `find` finds.
    fn get(&mut self, ends: (DeviceId, DeviceId), find: impl FnOnce() -> Path) -> &Course {
        let Paths { courses, from, known } = self;
        let place = *known.entry(ends).or_insert_with(|| {
            let Path { latency, narrowest, port, ports, .. } = find();
            let course = Course { latency, narrowest, port, ports };
            let own = from.entry(ends.0).or_default();
            own.iter().copied().find(|&place| courses[place as usize] == course).unwrap_or_else(|| {
                courses.push(course);
                own.push(courses.len() as u32 - 1);
                courses.len() as u32 - 1
            })
        });
        &courses[place as usize]
    }
}

/// What will be told of a flow when it arrives.
struct Record {
    /// In halves, as the next.
    start: [u32; 2],
    injected: [u32; 2],
    port: LinkId,
    /// The place of the flow that it waited for.
    waited_for: u32,
    latency_bound: bool,
}

const NONE: u32 = u32::MAX;

/// Memory of a flow that has not arrived, in bytes.
pub const ANALYTIC_FLOW_BYTES: usize = size_of::<Record>() + size_of::<Reverse<(Time, FlowId)>>();

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
            paths: Paths::default(),
            ports: BTreeMap::new(),
            on_the_way: BinaryHeap::new(),
            records: Retiring::default(),
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
        let path = self.paths.get((flow.from, flow.to), || {
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
        self.records.push(Record {
            start: start.halves(),
            injected: injected.halves(),
            port: path.port,
            waited_for: waited_for.map_or(NONE, |other| other.index() as u32),
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
            let Record { start, injected, port, waited_for, latency_bound } = self.records[flow.index()];
            let waited_for = (waited_for != NONE).then(|| FlowId::new(waited_for as usize));
            let (start, injected) = (Time::from_halves(start), Time::from_halves(injected));
            arrived.push(Arrived { flow, port, start, injected, end, waited_for, latency_bound });
            self.records.retire(flow.index());
        }
        now
    }
}
