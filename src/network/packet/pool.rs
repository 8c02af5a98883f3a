//! Packets: small; those that wait are in one array, linked by their places in it.

use crate::routing::PortGroup;

/// No packet, no port, no flow.
pub(super) const NONE: u32 = u32::MAX;

/// One packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    /// When its tail has arrived in the buffer in which it is.
    pub(super) tail: u64,
    pub(super) flow: u32,
    /// Where it goes: its destination, or a router on a detour.
    pub(super) target: u32,
    /// The port by which it came; none where it started.
    pub(super) by: u32,
    /// What hashes see of its connection.
    pub(super) key: u32,
    pub(super) bytes: u16,
    /// The virtual lane on which it came.
    pub(super) lane: u8,
    pub(super) marks: u8,
    /// The ports of NICs that its queue pair may use.
    pub(super) group: PortGroup,
}

/// The fabric saw congestion.
pub(super) const CONGESTED: u8 = 1;
/// A router has decided whether it takes a detour.
pub(super) const DECIDED: u8 = 2;
/// It is on the first part of a detour.
pub(super) const ASTRAY: u8 = 4;
/// It has been counted as delivered when it left for its destination, and was the last of its flow.
pub(super) const LANDED: u8 = 8;

/// A place for a packet: half a line of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Place(Packet);

/// Packets that wait, and how many there are on cables besides.
#[derive(Default)]
pub(super) struct Pool {
    packets: Vec<Place>,
    /// The packet behind each in its queue. Apart from them, so that most links stay in the cache.
    next: Vec<u32>,
    free: Vec<u32>,
    in_network: usize,
    most: usize,
}

impl Pool {
    /// Keeps a packet that waits.
    pub(super) fn insert(&mut self, packet: Packet) -> u32 {
        match self.free.pop() {
            Some(at) => {
                self.packets[at as usize] = Place(packet);
                at
            }
            None => {
                self.packets.push(Place(packet));
                self.next.push(NONE);
                (self.packets.len() - 1) as u32
            }
        }
    }

    /// Hands a packet out that waits no more.
    pub(super) fn take(&mut self, at: u32) -> Packet {
        self.free.push(at);
        self.packets[at as usize].0
    }

    pub(super) fn get(&self, at: u32) -> &Packet {
        &self.packets[at as usize].0
    }

    /// Puts a packet behind the last of a queue, which is a ring: behind the last comes the first.
    pub(super) fn append(&mut self, last: u32, at: u32) {
        self.next[at as usize] = if last == NONE { at } else { std::mem::replace(&mut self.next[last as usize], at) };
    }

    /// Takes the first packet out of the queue with the given last one, which may be the same.
    pub(super) fn unlink_first(&mut self, last: u32) -> u32 {
        let first = self.next[last as usize];
        self.next[last as usize] = self.next[first as usize];
        first
    }

    /// The first packet of the queue with the given last one.
    pub(super) fn first(&self, last: u32) -> u32 {
        self.next[last as usize]
    }

    /// A packet has entered the network.
    pub(super) fn count_in(&mut self) {
        self.in_network += 1;
        self.most = self.most.max(self.in_network);
    }

    /// A packet has left the network.
    pub(super) fn count_out(&mut self) {
        self.in_network -= 1;
    }

    /// Packets in the network, on cables too.
    pub(super) fn len(&self) -> usize {
        self.in_network
    }

    /// Packets that were in the network at once, at most.
    pub(super) fn most(&self) -> usize {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_stay_small() {
        assert_eq!(size_of::<Place>(), 32);
    }

    #[test]
    fn queues_hand_out_what_came_first() {
        let packet = Packet {
            tail: 0,
            flow: 0,
            target: 0,
            by: NONE,
            key: 0,
            bytes: 1,
            lane: 0,
            marks: 0,
            group: PortGroup::ANY,
        };
        let mut pool = Pool::default();
        let mut last = NONE;
        for flow in 0..3 {
            let at = pool.insert(Packet { flow, ..packet });
            pool.append(last, at);
            last = at;
        }
        for flow in 0..3 {
            let first = pool.unlink_first(last);
            assert_eq!(pool.take(first).flow, flow);
            assert_eq!(first == last, flow == 2);
        }
    }
}
