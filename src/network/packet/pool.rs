//! Packets: small, in one array, linked by their places in it.

/// No packet, no port, no flow.
pub(super) const NONE: u32 = u32::MAX;

/// One packet: half a line of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Packet {
    /// When its tail has arrived in the buffer in which it is.
    pub(super) tail: u64,
    pub(super) flow: u32,
    /// The packet behind it in its queue.
    pub(super) next: u32,
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
}

/// The fabric saw congestion.
pub(super) const CONGESTED: u8 = 1;
/// A router has decided whether it takes a detour.
pub(super) const DECIDED: u8 = 2;
/// It is on the first part of a detour.
pub(super) const ASTRAY: u8 = 4;

/// All packets in the network.
#[derive(Default)]
pub(super) struct Pool {
    packets: Vec<Packet>,
    free: Vec<u32>,
}

impl Pool {
    pub(super) fn insert(&mut self, packet: Packet) -> u32 {
        match self.free.pop() {
            Some(at) => {
                self.packets[at as usize] = packet;
                at
            }
            None => {
                self.packets.push(packet);
                (self.packets.len() - 1) as u32
            }
        }
    }

    pub(super) fn remove(&mut self, at: u32) {
        self.free.push(at);
    }

    pub(super) fn get(&self, at: u32) -> &Packet {
        &self.packets[at as usize]
    }

    pub(super) fn get_mut(&mut self, at: u32) -> &mut Packet {
        &mut self.packets[at as usize]
    }

    /// Packets in the network.
    pub(super) fn len(&self) -> usize {
        self.packets.len() - self.free.len()
    }

    /// Packets that were in the network at once, at most.
    pub(super) fn most(&self) -> usize {
        self.packets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_stay_small() {
        assert_eq!(size_of::<Packet>(), 32);
    }
}
