//! Stretches of cables that many flows have in common, each stored once.
//!
//! A way is cut where it enters the fabric and where it leaves it, so that all flows of a sender share its first stretch, all
//! flows to a receiver its last, and all flows between two switches the stretches between. That makes a flow three numbers,
//! and the load of a cable a sum over few stretches instead of over many flows.

use crate::id::CableId;

/// A stretch, by its place in [`Segments`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentId(u32);

/// The stretch without cables.
pub(super) const NOWHERE: SegmentId = SegmentId(0);

impl SegmentId {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A cable of a stretch, and the part of the flow that passes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) cable: CableId,
    pub(super) part: f64,
}

/// Every stretch in use.
pub(super) struct Segments {
    members: Vec<Member>,
    /// Where each stretch begins in `members`, and where the last one ends.
    starts: Vec<u32>,
    /// Open hash table of stretches by their members; its places depend on nothing but the members.
    table: Vec<u32>,
    /// Per cable: the stretches that pass it, with the part of each flow of theirs that does.
    through: Vec<Vec<(SegmentId, f64)>>,
}

impl Segments {
    pub(super) fn new(n_cables: usize) -> Segments {
        let (starts, table) = (vec![0, 0], vec![0; 1 << 10]);
        Segments { members: Vec::new(), starts, table, through: vec![Vec::new(); n_cables] }
    }

    /// Number of stretches, the one without cables included.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The cables of a stretch.
    pub(super) fn members(&self, id: SegmentId) -> &[Member] {
        &self.members[self.starts[id.index()] as usize..self.starts[id.index() + 1] as usize]
    }

    /// The stretches that pass a cable, and the part of each flow of theirs that does.
    pub(super) fn through(&self, cable: CableId) -> &[(SegmentId, f64)] {
        &self.through[cable.index()]
    }

    /// The stretch of exactly these cables.
    pub(super) fn intern(&mut self, members: &[Member]) -> SegmentId {
        if members.is_empty() {
            return NOWHERE;
        }
        let mut place = hash(members) as usize & (self.table.len() - 1);
        loop {
            match SegmentId(self.table[place]) {
                NOWHERE => break,
                known if self.members(known) == members => return known,
                _ => place = (place + 1) & (self.table.len() - 1),
            }
        }
        let id = SegmentId(self.len() as u32);
        self.table[place] = id.0;
        for member in members {
            self.through[member.cable.index()].push((id, member.part));
        }
        self.members.extend_from_slice(members);
        self.starts.push(u32::try_from(self.members.len()).expect("stretches fit into memory"));
        if self.len() * 2 > self.table.len() {
            self.grow();
        }
        id
    }

    fn grow(&mut self) {
        let size = self.table.len() * 4;
        self.table.clear();
        self.table.resize(size, NOWHERE.0);
        for id in 1..self.len() as u32 {
            let mut place = hash(self.members(SegmentId(id))) as usize & (size - 1);
            while self.table[place] != NOWHERE.0 {
                place = (place + 1) & (size - 1);
            }
            self.table[place] = id;
        }
    }
}

fn hash(members: &[Member]) -> u64 {
    let mut hash = members.len() as u64;
    for member in members {
        hash = (hash ^ member.cable.index() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stretches_are_one_and_others_are_not() {
        let mut segments = Segments::new(5000);
        let stretch = |from: usize| [from, from + 1].map(|at| Member { cable: CableId::new(at), part: 1.0 });
        let first: Vec<SegmentId> = (0..4000).map(|at| segments.intern(&stretch(at))).collect();
        let again: Vec<SegmentId> = (0..4000).map(|at| segments.intern(&stretch(at))).collect();
        assert_eq!((first, segments.len()), (again, 4001));
        let halved = [Member { cable: CableId::new(7), part: 0.5 }];
        let halved = segments.intern(&halved);
        assert_eq!(segments.through(CableId::new(7)).last(), Some(&(halved, 0.5)));
        assert_eq!(segments.intern(&[]), NOWHERE);
    }
}
