//! What happens when links break and heal: packets on them are lost and sent again, ways change under way.

use super::PacketModel;
use super::events::Class;
use super::flows::Status;
use super::pool::{NONE, Packet};
use crate::id::FlowId;
use crate::network::{FaultSchedule, Stranded};
use crate::units::Time;

impl PacketModel<'_> {
    /// Plans the changes of a schedule: one event for all changes of an instant.
    pub(super) fn plan(&mut self, faults: FaultSchedule) {
        let changes = faults.changes();
        for (at, change) in changes.iter().enumerate() {
            if at == 0 || changes[at - 1].at < change.at {
                self.events.push(change.at.as_ps(), Class::Fault, at as u32);
            }
        }
        self.faults = faults;
    }

    /// Links change their rate, from the `first` change on all of the same instant.
    pub(super) fn change_links(&mut self, first: u32, now: u64) {
        let changes = &self.faults.changes()[first as usize..];
        let (mut rerouted, mut dead, mut alive) = (false, Vec::new(), Vec::new());
        for change in changes.iter().take_while(|change| change.at.as_ps() == now) {
            let usable = &mut self.usable[change.link.index()];
            let goes = !change.is_down();
            rerouted |= std::mem::replace(usable, goes) != goes;
            let cables = self.ways.next.cables().of(self.topology, change.link);
            for cable in cables {
                self.ports.set_share(cable, change.share.get(), &self.params);
                if goes { alive.push(cable.index() as u32) } else { dead.push(cable.index() as u32) }
            }
        }
        if rerouted {
            self.reroute(now);
        }
        for port in dead {
            self.drop_waiting(port, now);
        }
        alive.into_iter().for_each(|port| self.try_send(port, now));
    }

    /// Works the ways out anew and lets every flow that has something left choose its exits again.
    fn reroute(&mut self, now: u64) {
        self.ways.avoid(self.topology, &self.usable);
        self.rings.clear();
        for port in 0..self.ports.all.len() as u32 {
            self.ports.unmark(port, 0, self.ports.local(port));
        }
        for id in 0..self.flows.len() as u32 {
            let flow = &mut self.flows[id as usize];
            if flow.status == Status::Done {
                continue;
            }
            flow.rings = 0;
            let (to, ready) = (flow.to, flow.ready);
            self.ways.prepare_within(flow.groups, to);
            // What has not been posted yet has its event to come.
            if ready <= now {
                self.events.push(now, Class::Flow, id);
            }
        }
    }

    /// Loses what waits for a port that has died.
    fn drop_waiting(&mut self, port: u32, now: u64) {
        for (lane, input) in self.ports.inputs(port) {
            while !self.ports.is_empty(port, lane, input) {
                let packet = self.ports.dequeue(port, lane, input, &mut self.pool);
                let packet = self.pool.take(packet);
                self.ports.loads[port as usize].pending -= u32::from(packet.bytes);
                self.lose(&packet, now);
            }
        }
    }

    /// A packet cannot go on. Its source hears of it as soon as news can travel back, and sends its data again.
    pub(super) fn lose(&mut self, packet: &Packet, now: u64) {
        self.pool.count_out();
        let bytes = u64::from(packet.bytes);
        if packet.by != NONE {
            self.give_back(packet.by, packet.lane, u32::from(packet.bytes));
        }
        self.tally.lost += bytes;
        let flow = &mut self.flows[packet.flow as usize];
        flow.left += bytes;
        if flow.bytes == 0 {
            flow.start = u64::MAX;
        }
        self.events.push(now + flow.latency, Class::Flow, packet.flow);
    }

    /// Lets a flow go on if it has a way; else it is stranded until it has one.
    pub(super) fn find_way(&mut self, id: u32, now: u64) -> bool {
        let mut flow = self.flows[id as usize];
        flow.groups = self.ways.prepare(flow.from, flow.to);
        let was_stranded = flow.status == Status::Stranded;
        let bytes = crate::units::Bytes::new(flow.bytes);
        let goes = self.follow(&mut flow, bytes);
        if goes {
            flow.status = Status::Open;
        } else if !was_stranded {
            (flow.status, flow.stranded) = (Status::Stranded, now);
        }
        self.flows[id as usize] = flow;
        goes
    }

    pub(super) fn list_stranded(&self) -> Vec<Stranded> {
        let stranded = |(_, flow): &(usize, &super::flows::FlowState)| flow.status == Status::Stranded;
        let entry = |(id, flow): (usize, &super::flows::FlowState)| Stranded {
            flow: FlowId::new(id),
            since: Time::from_ps(flow.stranded),
        };
        self.flows.iter().enumerate().filter(stranded).map(entry).collect()
    }
}
