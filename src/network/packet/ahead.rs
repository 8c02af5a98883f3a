//! Reading ahead: what coming events need is read for many of them at once, so that the processor waits for memory once for
//! all of them instead of once for each. Nothing depends on what is read.
//!
//! Each step reads what the one before has told the place of, for all events of a batch; whatever it finds is a hint, as what
//! happens before may change it. In networks whose events are few nothing is read ahead, as all is in the cache anyway.

use super::events::{BATCH, Batch};
use super::pool::NONE;
use super::{PacketModel, port_of};
use crate::id::DeviceId;

impl PacketModel<'_> {
    /// Reads what a batch of events of a run is about to need.
    pub(super) fn read_ahead(&self, batch: Batch) {
        let read = match batch {
            Batch::Packets(run) => self.read_arrivals(run),
            Batch::Ports(run) => self.read_departures(run),
        };
        std::hint::black_box(read);
    }

    /// For packets that arrive: the loads of the ports among which they choose, the ends of their queues.
    fn read_arrivals(&self, run: u8) -> u32 {
        let mut read = 0;
        for moving in self.events.coming_packets(run) {
            let packet = &moving.packet;
            if packet.target == moving.to {
                read ^= self.flows[packet.flow as usize].missing as u32;
                continue;
            }
            let (at, to) = (DeviceId::new(moving.to as usize), DeviceId::new(packet.target as usize));
            match self.ways.next.hops(packet.group, at, to) {
                &[hop] => {
                    read ^= self.ports.loads[hop.index()].pending;
                    read ^= self.ports.last(port_of(hop), packet.lane, moving.input).unwrap_or(NONE);
                }
                hops => hops.iter().step_by(4).for_each(|hop| read ^= self.ports.loads[hop.index()].pending),
            }
        }
        read
    }

    /// For ports that become free: their queues, the packet whose turn it is, and the buffer that it leaves.
    fn read_departures(&self, run: u8) -> u32 {
        let mut coming = [NONE; BATCH];
        let mut n = 0;
        for &port in self.events.coming_ports(run) {
            coming[n] = port;
            n += 1;
        }
        let coming = &mut coming[..n];
        let mut read = coming.iter().fold(0, |read, &port| read ^ self.ports.all[port as usize].to);
        for place in coming.iter_mut() {
            let waits = self.ports.foresee(*place);
            if waits.is_none()
                && let Some(flow) = self.rings.first(*place)
            {
                read ^= self.flows[flow as usize].left as u32;
            }
            *place = waits.map_or(NONE, |last| self.pool.first(last));
        }
        for place in coming.iter_mut().filter(|place| **place != NONE) {
            *place = self.pool.get(*place).by;
        }
        for &port in coming.iter().filter(|&&port| port != NONE) {
            read ^= self.ports.loads[port as usize].pending;
        }
        read
    }
}
