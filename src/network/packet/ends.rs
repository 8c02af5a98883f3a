//! Where packets end: they give back what they took, and their flows end with their last ones.

use super::PacketModel;
use super::flows::Status;
use super::pool::{CONGESTED, LANDED, Packet};

impl PacketModel<'_> {
    /// Delivers a packet that has begun to leave for its destination, where nothing can come between: it needs no event, unless
    /// its flow ends with it.
    pub(super) fn land(&mut self, packet: &mut Packet) -> bool {
        let is_last = self.take_in(packet);
        if is_last {
            packet.marks |= LANDED;
        }
        is_last
    }

    /// A packet has arrived at its destination.
    pub(super) fn deliver(&mut self, packet: &Packet, now: u64) {
        if packet.marks & CONGESTED != 0 {
            self.notify(packet.flow, now);
        }
        if self.take_in(packet) {
            self.finish(packet.flow);
        }
    }

    /// A packet takes no more room and counts as delivered; tells whether it was the last of its flow.
    fn take_in(&mut self, packet: &Packet) -> bool {
        self.pool.count_out();
        self.give_back(packet.by, packet.lane, u32::from(packet.bytes));
        self.tally.delivered += u64::from(packet.bytes);
        let flow = &mut self.flows[packet.flow as usize];
        let bytes = u64::from(packet.bytes);
        assert!(bytes <= flow.missing, "flow{} misses {} B and gets {bytes}", packet.flow, flow.missing);
        flow.missing -= bytes;
        flow.missing == 0
    }

    /// The last packet of a flow has arrived.
    pub(super) fn finish(&mut self, id: u32) {
        self.flows[id as usize].status = Status::Done;
        self.open_flows -= 1;
        self.tally.arrived += 1;
        self.finished.push(id);
    }
}
