//! Max-min fair sharing of every cable, with latency.
//!
//! A flow uses all cables of its way at once, at one rate that is the same all along. Rates are max-min fair and change only
//! when a flow comes or goes or a cable changes; in between the model jumps from event to event. What has entered the network
//! arrives after the latency of the way. Flows of one sender share its port evenly, as queue pairs of a NIC do, so that many
//! equal ones end together where the analytic model would serve them in turn; the last ends at the same time in both.
//!
//! Flows that start together, are equally long and move equally fast are one event from start to end.

mod batches;
mod changes;
mod fill;
mod load;
mod plans;
mod segments;
mod solve;
mod usage;
mod ways;

use self::batches::{BatchId, Batches};
use self::load::{Capacity, FlowLoad, Load};
use self::plans::{NO_PLAN, PlanId, Plans};
use self::solve::{Change, Solver};
use self::usage::Usage;
use self::ways::{Route, Ways};
use super::{Arrived, FaultSchedule, Flow, LinkUse, NetworkModel, Stranded};
use crate::id::{CableId, DeviceId, FlowId, LinkId};
use crate::retiring::Retiring;
use crate::routing::Routes;
use crate::topology::Topology;
use crate::units::{Bytes, Duration, OutOfRange, PS_PER_SEC, Time};

/// Arrivals that are handed over at once; more of one instant follow in the next call.
const HANDED_OVER_MAX: usize = 1 << 16;

/// The flow-level network model.
pub struct FairShare<'t> {
    topology: &'t Topology,
    ways: Ways<'t>,
    load: Load,
    solver: Solver,
    usage: Usage,
    /// Flows that have not arrived.
    transfers: Retiring<Transfer>,
    /// Flows without a way.
    stranded: Vec<FlowId>,
    /// Flows that will have entered the network.
    entering: Plans,
    /// Flows that will arrive.
    arriving: Batches,
    /// Flows that have arrived by now and are to be handed over, last first.
    due: Vec<FlowId>,
    faults: FaultSchedule,
    faults_done: usize,
    usable: Vec<bool>,
    now: Time,
    /// Instants worked out for the flows that change together.
    ends: Vec<(Time, FlowId)>,
}

struct Transfer {
    from: DeviceId,
    to: DeviceId,
    bytes: Bytes,
    /// When it began to enter the network.
    begun: Time,
    /// While it moves: when `left` was worked out. Without a way: since when. Afterwards: when all of it had entered.
    since: Time,
    /// Bytes that had not entered the network at `since`.
    left: f64,
    latency: Duration,
    port: LinkId,
    plan: PlanId,
}

/// Memory of a flow that moves, in bytes: what is known of it, its places in lists, and its plan.
pub const SHARED_FLOW_BYTES: usize =
    size_of::<Transfer>() + load::FLOW_BYTES + fill::FLOW_BYTES + plans::ENTRY_BYTES + size_of::<FlowId>();

impl<'t> FairShare<'t> {
    /// An idle network with the given routes over `topology`, and with `faults` to come.
    pub fn new(topology: &'t Topology, routes: Routes<'t>, faults: FaultSchedule) -> FairShare<'t> {
        let ways = Ways::new(topology, routes);
        let cables = ways.cables();
        let capacity = |(_, cable): (CableId, &crate::routing::Cable)| {
            let link = cable.link;
            Capacity::new(topology.link(link).achievable.get(), cables.of_link(link), 1.0)
        };
        let capacities: Vec<Capacity> = cables.iter().map(capacity).collect();
        let usage = Usage::new(capacities.len());
        FairShare {
            topology,
            ways,
            load: Load::new(capacities),
            solver: Solver::default(),
            usage,
            transfers: Retiring::default(),
            stranded: Vec::new(),
            entering: Plans::default(),
            arriving: Batches::default(),
            due: Vec::new(),
            faults,
            faults_done: 0,
            usable: vec![true; topology.n_links()],
            now: Time::ZERO,
            ends: Vec::new(),
        }
    }

    /// How often flows were looked at to keep rates fair: the work that was done, the same on any machine.
    pub fn visits(&self) -> u64 {
        self.load.visits()
    }

    /// Gives a flow its way and lets it move, or leaves it stranded. Whether it has a way.
    fn set_off(&mut self, flow: FlowId) -> bool {
        let transfer = &mut self.transfers[flow.index()];
        let found = self.ways.find(transfer.from, transfer.to, &mut self.load);
        self.usage.part(&mut self.load.segments);
        let Some(Route { way, latency, port }) = found else {
            transfer.since = self.now;
            self.stranded.push(flow);
            return false;
        };
        transfer.begun = transfer.begun.min(self.now);
        (transfer.since, transfer.latency, transfer.port) = (self.now, latency, port);
        if transfer.bytes == Bytes::ZERO {
            let batch = self.arriving.open(self.now + latency);
            self.arriving.add(batch, flow);
            return true;
        }
        for segment in self.load.join(flow, way) {
            self.usage.open(&self.load.segments, segment, self.now);
        }
        self.solver.joined(flow);
        true
    }

    /// Makes rates fair, and plans when those that changed will have entered the network.
    fn share_out(&mut self) {
        let (now, transfers, ends, plans) = (self.now, &mut self.transfers, &mut self.ends, &mut self.entering);
        let mut last = None;
        self.solver.solve(&mut self.load, |change| {
            let transfer = &mut transfers[change.flow.index()];
            let moved = change.before * (now - transfer.since).as_ps() as f64;
            (transfer.left, transfer.since) = ((transfer.left - moved).max(0.0), now);
            ends.push((now + duration(transfer, &change, &mut last), change.flow));
            plans.leave(std::mem::replace(&mut transfer.plan, NO_PLAN));
        });
        if ends.is_empty() {
            return;
        }
        let planned = plans.next_id();
        for (_, flow) in ends.iter() {
            transfers[flow.index()].plan = planned;
        }
        let opened = plans.open(ends);
        assert_eq!(opened, planned, "plans are numbered in turn");
    }

    /// Ends the stay of those that have entered the network by now.
    fn enter(&mut self) {
        let mut open: Vec<(Time, BatchId)> = Vec::new();
        loop {
            let transfers = &self.transfers;
            let is_on = |flow, plan| is_on(transfers, flow, plan);
            let Some(flow) = self.entering.due(self.now, is_on) else { return };
            let transfer = &mut self.transfers[flow.index()];
            transfer.since = self.now;
            self.entering.leave(std::mem::replace(&mut transfer.plan, NO_PLAN));
            let arrival = self.now + transfer.latency;
            let known = open.iter().find(|(at, _)| *at == arrival).copied();
            let (_, to_arrive) = known.unwrap_or_else(|| {
                open.push((arrival, self.arriving.open(arrival)));
                open[open.len() - 1]
            });
            self.arriving.add(to_arrive, flow);
            let FlowLoad { way, rate, .. } = *self.load.flow(flow);
            self.usage.carry(&self.load.segments, way, flow, transfer.bytes.get());
            for segment in self.load.leave(flow) {
                self.usage.close(&self.load.segments, segment, self.now);
            }
            self.solver.left(&self.load, way, rate);
        }
    }

    /// Takes those that arrive now.
    fn arrive(&mut self) {
        while let Some((batch, flows)) = self.arriving.pop_due(self.now) {
            self.due.extend_from_slice(&flows);
            self.arriving.close(batch, flows);
        }
        // Batches are in order, and this kind of sorting makes use of that.
        self.due.sort_by(|a, b| b.cmp(a));
    }
}

impl NetworkModel for FairShare<'_> {
    fn start(&mut self, now: Time, flow: Flow) {
        assert_eq!(flow.id.index(), self.transfers.len(), "flows are numbered in the order in which they start");
        assert!(now >= self.now, "time runs forward: {now} after {}", self.now);
        if now > self.now && self.solver.is_due() {
            self.share_out();
        }
        self.now = now;
        self.change_by_now();
        let Flow { id, from, to, bytes } = flow;
        let port = LinkId::new(0);
        self.transfers.push(Transfer {
            from,
            to,
            bytes,
            begun: Time::FAR_FUTURE,
            since: now,
            left: bytes.get() as f64,
            latency: Duration::ZERO,
            port,
            plan: NO_PLAN,
        });
        self.load.push();
        self.solver.push();
        self.set_off(id);
    }

    fn advance_until(&mut self, limit: Time, arrived: &mut Vec<Arrived>) -> Time {
        while self.due.is_empty() {
            if self.solver.is_due() {
                self.share_out();
            }
            let waits = self.load.moving > 0 || !self.stranded.is_empty();
            let change = self.next_change().filter(|_| waits);
            let transfers = &self.transfers;
            let enters = self.entering.next(|flow, plan| is_on(transfers, flow, plan));
            let next = [enters, self.arriving.next(), change].into_iter().flatten().min();
            match next {
                Some(next) if next <= limit => self.now = next,
                _ => return limit,
            }
            self.enter();
            self.change_by_now();
            self.arrive();
        }
        let kept = self.due.len().saturating_sub(HANDED_OVER_MAX);
        for flow in self.due.split_off(kept).into_iter().rev() {
            let transfer = &self.transfers[flow.index()];
            arrived.push(Arrived {
                flow,
                port: transfer.port,
                start: transfer.begun,
                injected: transfer.since,
                end: self.now,
                waited_for: None,
                latency_bound: transfer.latency > transfer.since - transfer.begun,
            });
            self.transfers.retire(flow.index());
            self.load.retire(flow);
            self.solver.retire(flow);
        }
        self.now
    }

    fn stranded(&self) -> Vec<Stranded> {
        let stranded = |&flow: &FlowId| Stranded { flow, since: self.transfers[flow.index()].since };
        self.stranded.iter().map(stranded).collect()
    }

    fn link_use(&self) -> Vec<LinkUse> {
        self.usage.report(self.ways.cables(), &self.load.segments, self.now)
    }
}

/// Whether `plan` is that of `flow`. One that has arrived has none.
fn is_on(transfers: &Retiring<Transfer>, flow: FlowId, plan: PlanId) -> bool {
    transfers.get(flow.index()).is_some_and(|transfer| transfer.plan == plan)
}

/// The duration that the last flow of this size and rate took: flows that are alike come one after the other.
type Known = Option<(Bytes, (u64, u64), Duration)>;

/// How long what is left of a transfer takes at its new rate, rounded up.
fn duration(transfer: &Transfer, change: &Change, last: &mut Known) -> Duration {
    let bytes = transfer.bytes;
    if let Some((capacity, among)) = change.exact
        && transfer.left == bytes.get() as f64
    {
        if let Some((known, exact, duration)) = *last
            && (known, exact) == (bytes, (capacity, among))
        {
            return duration;
        }
        let work = u128::from(bytes.get()) * u128::from(among) * PS_PER_SEC;
        let ps = u64::try_from(work.div_ceil(u128::from(capacity))).unwrap_or_else(|_| OutOfRange::Time.end());
        *last = Some((bytes, (capacity, among), Duration::from_ps(ps)));
        return Duration::from_ps(ps);
    }
    Duration::rounded_up(transfer.left / change.rate)
}
