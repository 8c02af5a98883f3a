//! What faults change while flows are on their way: capacities, and ways.
//!
//! What has entered the network arrives, even if a cable of its way fails in the meantime; what has not takes another way, or
//! waits for one. A flow that keeps its way and its rate does not notice.

use super::FairShare;
use super::load::Capacity;
use super::plans::NO_PLAN;
use crate::id::FlowId;
use crate::units::Time;

impl FairShare<'_> {
    /// When the next fault begins or ends.
    pub(super) fn next_change(&self) -> Option<Time> {
        self.faults.changes().get(self.faults_done).map(|change| change.at)
    }

    /// Applies what has changed by now.
    pub(super) fn change_by_now(&mut self) {
        if self.next_change().is_none_or(|at| at > self.now) {
            return;
        }
        let mut reroute = false;
        while let Some(&change) = self.faults.changes().get(self.faults_done)
            && change.at <= self.now
        {
            self.faults_done += 1;
            let was = std::mem::replace(&mut self.usable[change.link.index()], !change.is_down());
            reroute |= was == change.is_down();
            let rate = self.topology.link(change.link).achievable.get();
            let cables = self.ways.cables();
            let count = cables.of_link(change.link);
            for (id, _) in cables.out(self.topology.ends(change.link).0).filter(|(_, cable)| cable.link == change.link)
            {
                self.load.segments.single_out(id);
                self.load.capacities[id.index()] = Capacity::new(rate, count, change.share.get());
            }
        }
        self.usage.part(&mut self.load.segments);
        if reroute {
            self.ways.restrict(&self.usable);
            self.reroute();
        }
        if self.load.moving > 0 {
            self.solver.all_changed();
        }
    }

    /// Looks for the way of every flow anew.
    fn reroute(&mut self) {
        let mut moving: Vec<FlowId> = self.load.all().collect();
        moving.sort_unstable();
        let mut stranded = std::mem::take(&mut self.stranded);
        self.load.clear();
        self.usage.close_all(self.now);
        self.solver.forget();
        for flow in moving {
            let transfer = &mut self.transfers[flow.index()];
            let found = self.ways.find(transfer.from, transfer.to, &mut self.load);
            self.usage.part(&mut self.load.segments);
            let known = *self.load.flow(flow);
            if let Some(route) = found
                && route.way == known.way
            {
                for segment in self.load.join(flow, known.way) {
                    self.usage.open(&self.load.segments, segment, self.now);
                }
                continue;
            }
            let moved = known.rate * (self.now - transfer.since).as_ps() as f64;
            (transfer.left, transfer.since) = ((transfer.left - moved).max(0.0), self.now);
            let entered = transfer.bytes.get() - (transfer.left as u64).min(transfer.bytes.get());
            self.usage.change(&self.load.segments, known.way, flow, entered);
            self.entering.leave(std::mem::replace(&mut transfer.plan, NO_PLAN));
            self.load.stop(flow);
            self.set_off(flow);
        }
        stranded.sort_unstable();
        for flow in stranded {
            let since = self.transfers[flow.index()].since;
            if !self.set_off(flow) {
                self.transfers[flow.index()].since = since;
            }
        }
        self.stranded.sort_unstable();
    }
}
