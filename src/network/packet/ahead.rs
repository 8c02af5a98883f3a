//! Reading ahead: what coming events need is read for many of them at once, so that the processor waits for memory once for
//! all of them instead of once for each. Nothing depends on what is read.
//!
//! Each step reads what the one before has told the place of, for all events of a batch; whatever it finds is a hint, as what
//! happens before may change it. In networks whose events are few nothing is read ahead, as all is in the cache anyway.

use super::events::{BATCH, Class};
use super::pool::NONE;
use super::{PacketModel, port_of};
use crate::id::DeviceId;

impl PacketModel<'_> {
    /// Reads what a batch of events of a run is about to need.
    pub(super) fn read_ahead(&self, run: u8) {
        let mut coming = [NONE; BATCH];
        let (mut n, mut arrivals) = (0, 0);
        for (class, what) in self.events.coming(run) {
            coming[n] = what;
            n += 1;
            arrivals += usize::from(class == Class::Arrival);
        }
        let read = match arrivals {
            0 => self.read_departures(&mut coming[..n]),
            _ if arrivals == n => self.read_arrivals(&mut coming[..n]),
            // Nothing to gain where events of several kinds come after each other.
            _ => 0,
        };
        std::hint::black_box(read);
    }

    /// For packets that arrive: where they came in, the loads of the ports among which they choose, the ends of their queues.
    fn read_arrivals(&self, coming: &mut [u32]) -> u32 {
        let mut read = 0;
        let packets = coming.iter().map(|&packet| self.pool.get(packet));
        let ports = packets.clone().fold(0, |ports, packet| ports ^ packet.by);
        read ^= packets.clone().fold(ports, |read, packet| read ^ self.ports.all[packet.by as usize].to);
        for place in coming.iter_mut() {
            let packet = self.pool.get(*place);
            let by = &self.ports.all[packet.by as usize];
            *place = NONE;
            if packet.target == by.to {
                read ^= self.flows[packet.flow as usize].delivered as u32;
                continue;
            }
            let (at, to) = (DeviceId::new(by.to as usize), DeviceId::new(packet.target as usize));
            match self.ways.next.hops(at, to) {
                &[hop] => {
                    read ^= self.ports.loads[hop.index()].queued;
                    *place = self.ports.last(port_of(hop), packet.lane, by.slot).unwrap_or(NONE);
                }
                hops => hops.iter().step_by(2).for_each(|hop| read ^= self.ports.loads[hop.index()].queued),
            }
        }
        let ends = coming.iter().filter(|&&packet| packet != NONE);
        ends.fold(read, |read, &packet| read ^ self.pool.get(packet).flow)
    }

    /// For ports that become free: their queues, the packet whose turn it is, and the buffer that it leaves.
    fn read_departures(&self, coming: &mut [u32]) -> u32 {
        let mut read = coming.iter().fold(0, |read, &port| read ^ self.ports.all[port as usize].to);
        for place in coming.iter_mut() {
            let waits = self.ports.foresee(*place);
            if waits.is_none()
                && let Some(flow) = self.rings.first(*place)
            {
                read ^= self.flows[flow as usize].left as u32;
            }
            *place = waits.unwrap_or(NONE);
        }
        for place in coming.iter_mut().filter(|place| **place != NONE) {
            *place = self.pool.get(*place).by;
        }
        for &port in coming.iter().filter(|&&port| port != NONE) {
            read ^= self.ports.all[port as usize].latency ^ self.ports.loads[port as usize].queued;
        }
        read
    }
}
