//! Stretches of cables that many flows have in common, each stored once.
//!
//! A way is cut where it enters the fabric and where it leaves it, so that all flows of a sender share its first stretch, all
//! flows to a receiver its last, and all flows between two switches the stretches between. That makes a flow three numbers,
//! and the load of a cable a sum over few stretches instead of over many flows.
//!
//! Cables that every stretch passes with equal parts, if at all, are a bundle: equally loaded, they need one entry for all of them. Where
//! flows split over a tier of parallel cables that is the tier. A stretch that passes only some of a bundle parts it, and so does a fault.

use crate::id::CableId;
use crate::rng::scatter;

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

/// A bundle of cables of a stretch, by the cable that stands for it, and the part of the flow that passes each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) cable: CableId,
    pub(super) part: f64,
}

/// Every stretch in use.
pub(super) struct Segments {
    members: Vec<Member>,
    /// Where the members of each stretch begin, and how many there are; they are in order of cable.
    spans: Vec<(u32, u32)>,
    /// Open hash table of stretches by their members; its places depend on nothing but the members. A stretch whose bundles parted
    /// has a second place, and its old one does no harm.
    table: Vec<u32>,
    entries: usize,
    /// Per cable: the stretches that pass the bundle that it stands for, with the part of each flow of theirs.
    through: Vec<Vec<(SegmentId, f64)>>,
    /// Per cable: the one that stands for its bundle. One that no stretch has passed stands for itself.
    bundles: Vec<CableId>,
    /// Per cable that stands for a bundle: how many are in it; none that no stretch has passed.
    sizes: Vec<u32>,
    /// Bundles that parted: the cable that stood for both parts, and the one that stands for the new one.
    parted: Vec<(CableId, CableId)>,
    /// What was found of the bundles of a stretch; kept for its memory.
    found: Vec<Found>,
    /// Per cable: its place in `found` while a stretch is looked at.
    place: Vec<u32>,
}

/// What a stretch has of a bundle.
#[derive(Clone, Copy)]
struct Found {
    member: Member,
    count: u32,
    /// Whether all of them have equal parts.
    even: bool,
}

const NOT_FOUND: u32 = u32::MAX;

impl Segments {
    pub(super) fn new(n_cables: usize) -> Segments {
        Segments {
            members: Vec::new(),
            spans: vec![(0, 0)],
            table: vec![0; 1 << 10],
            entries: 0,
            through: vec![Vec::new(); n_cables],
            bundles: (0..n_cables).map(CableId::new).collect(),
            sizes: vec![0; n_cables],
            parted: Vec::new(),
            found: Vec::new(),
            place: vec![NOT_FOUND; n_cables],
        }
    }

    /// Number of stretches, the one without cables included.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The bundles of a stretch.
    pub(super) fn members(&self, id: SegmentId) -> &[Member] {
        let (start, len) = self.spans[id.index()];
        &self.members[start as usize..(start + len) as usize]
    }

    /// The stretches that pass a bundle, and the part of each flow of theirs that passes each of its cables.
    pub(super) fn through(&self, bundle: CableId) -> &[(SegmentId, f64)] {
        &self.through[bundle.index()]
    }

    /// The cable that stands for the bundle of `cable`.
    pub(super) fn bundle(&self, cable: CableId) -> CableId {
        self.bundles[cable.index()]
    }

    /// Hands out what has parted since the last call, oldest first: the cable that stood for both parts, and the one that stands for the
    /// new one.
    pub(super) fn parted(&mut self) -> impl Iterator<Item = (CableId, CableId)> + use<> {
        std::mem::take(&mut self.parted).into_iter()
    }

    /// The stretch of exactly these cables, each named once. `alike` says whether two cables have equal capacities.
    pub(super) fn intern(&mut self, cables: &[Member], alike: impl Fn(CableId, CableId) -> bool) -> SegmentId {
        if cables.is_empty() {
            return NOWHERE;
        }
        self.bundle_up(cables, alike);
        while self.find(cables) {
            self.part(cables);
        }
        let mut members: Vec<Member> = self.found.iter().map(|found| found.member).collect();
        members.sort_unstable_by_key(|member| member.cable);
        self.known(&members)
    }

    /// Takes a cable out of its bundle.
    pub(super) fn single_out(&mut self, cable: CableId) {
        if self.sizes[self.bundle(cable).index()] > 1 {
            self.part_off(self.bundle(cable), &[cable]);
        }
    }

    /// Forms bundles of the cables that no stretch has passed so far: of those with equal parts, if they are alike.
    fn bundle_up(&mut self, cables: &[Member], alike: impl Fn(CableId, CableId) -> bool) {
        let mut fresh: Vec<Member> = Vec::new();
        for &Member { cable, part } in cables {
            if self.sizes[self.bundle(cable).index()] > 0 {
                continue;
            }
            // What passes as a whole keeps to one way, which is one of many: its cables have little in common with each other.
            let of = |known: &&Member| part < 1.0 && known.part == part && alike(known.cable, cable);
            let first = fresh.iter().find(of).map_or(cable, |first| first.cable);
            self.bundles[cable.index()] = first;
            if first == cable {
                fresh.push(Member { cable, part });
            }
        }
        for &Member { cable, .. } in cables {
            let first = self.bundle(cable);
            if fresh.iter().any(|member| member.cable == first) {
                self.sizes[first.index()] += 1;
            }
        }
    }

    /// Finds the bundles of a stretch, in order of their first cables. Says whether one of them has to part.
    fn find(&mut self, cables: &[Member]) -> bool {
        self.found.clear();
        for &Member { cable, part } in cables {
            let bundle = self.bundle(cable);
            let place = &mut self.place[bundle.index()];
            if *place == NOT_FOUND {
                *place = self.found.len() as u32;
                self.found.push(Found { member: Member { cable: bundle, part }, count: 0, even: true });
            }
            let found = &mut self.found[*place as usize];
            found.count += 1;
            found.even &= found.member.part == part;
        }
        self.found.iter().for_each(|found| self.place[found.member.cable.index()] = NOT_FOUND);
        self.found.iter().any(|found| !self.is_whole(found))
    }

    fn is_whole(&self, found: &Found) -> bool {
        found.even && found.count == self.sizes[found.member.cable.index()]
    }

    /// Parts the bundles that a stretch does not pass as a whole and with equal parts: what has the part of the first goes.
    fn part(&mut self, cables: &[Member]) {
        let found = std::mem::take(&mut self.found);
        for found in &found {
            if self.is_whole(found) {
                continue;
            }
            let Member { cable: bundle, part } = found.member;
            let of = |member: &&Member| self.bundle(member.cable) == bundle && member.part == part;
            let away: Vec<CableId> = cables.iter().filter(of).map(|member| member.cable).collect();
            self.part_off(bundle, &away);
        }
        self.found = found;
    }

    /// Makes some of the cables of a bundle, but not all, a bundle of their own.
    fn part_off(&mut self, bundle: CableId, away: &[CableId]) {
        let rest = |cable: &CableId| self.bundles[cable.index()] == bundle && !away.contains(cable);
        // The cable that stands for the bundle stays what it is for one of the two.
        let stays = !away.contains(&bundle);
        let moved: Vec<CableId> =
            if stays { away.to_vec() } else { (0..self.bundles.len()).map(CableId::new).filter(rest).collect() };
        let first = moved[0];
        for cable in &moved {
            self.bundles[cable.index()] = first;
        }
        self.sizes[first.index()] = moved.len() as u32;
        self.sizes[bundle.index()] -= moved.len() as u32;
        self.through[first.index()] = self.through[bundle.index()].clone();
        self.parted.push((bundle, first));
        for at in 0..self.through[first.index()].len() {
            let (id, part) = self.through[first.index()][at];
            let ((start, len), moved) = (self.spans[id.index()], self.end());
            self.spans[id.index()] = (moved, len + 1);
            self.members.extend_from_within(start as usize..(start + len) as usize);
            self.members.push(Member { cable: first, part });
            self.members[moved as usize..].sort_unstable_by_key(|member| member.cable);
            self.enter(id);
        }
    }

    /// The stretch of these bundles, which are in order.
    fn known(&mut self, members: &[Member]) -> SegmentId {
        let mut place = hash(members) as usize & (self.table.len() - 1);
        loop {
            match SegmentId(self.table[place]) {
                NOWHERE => break,
                known if self.members(known) == members => return known,
                _ => place = (place + 1) & (self.table.len() - 1),
            }
        }
        let id = SegmentId(self.len() as u32);
        for member in members {
            self.through[member.cable.index()].push((id, member.part));
        }
        self.spans.push((self.end(), members.len() as u32));
        self.members.extend_from_slice(members);
        self.enter(id);
        id
    }

    fn end(&self) -> u32 {
        u32::try_from(self.members.len()).expect("stretches fit into memory")
    }

    /// Gives a stretch its place in the table.
    fn enter(&mut self, id: SegmentId) {
        if 2 * (self.entries + 1) > self.table.len() {
            let size = self.table.len() * 4;
            self.table.clear();
            self.table.resize(size, NOWHERE.0);
            self.entries = 0;
            (1..self.len() as u32).map(SegmentId).for_each(|id| self.put(id));
        } else {
            self.put(id);
        }
    }

    fn put(&mut self, id: SegmentId) {
        let mask = self.table.len() - 1;
        let mut place = hash(self.members(id)) as usize & mask;
        while self.table[place] != NOWHERE.0 {
            place = (place + 1) & mask;
        }
        self.table[place] = id.0;
        self.entries += 1;
    }
}

fn hash(members: &[Member]) -> u64 {
    let mut hash = members.len() as u64;
    for member in members {
        hash = scatter(hash ^ member.cable.index() as u64);
        hash ^= hash >> 29;
    }
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(cables: std::ops::Range<usize>, part: f64) -> Vec<Member> {
        cables.map(|at| Member { cable: CableId::new(at), part }).collect()
    }

    fn all_alike(_: CableId, _: CableId) -> bool {
        true
    }

    #[test]
    fn equal_stretches_are_one_and_others_are_not() {
        let mut segments = Segments::new(5000);
        let mut intern = |from: usize| segments.intern(&stretch(from..from + 2, 1.0), all_alike);
        let first: Vec<SegmentId> = (0..4000).map(&mut intern).collect();
        let again: Vec<SegmentId> = (0..4000).map(&mut intern).collect();
        assert_eq!((first, segments.len()), (again, 4001));
        let halved = segments.intern(&stretch(7..8, 0.5), all_alike);
        assert_eq!(segments.through(CableId::new(7)).last(), Some(&(halved, 0.5)));
        assert_eq!(segments.intern(&[], all_alike), NOWHERE);
    }

    /// The cables of a stretch with their parts, bundles undone.
    fn spread(segments: &Segments, id: SegmentId) -> Vec<(usize, f64)> {
        let members = segments.members(id);
        let of = |at: usize| {
            let bundle = segments.bundle(CableId::new(at));
            members.iter().find(|member| member.cable == bundle).map(|member| (at, member.part))
        };
        (0..segments.bundles.len()).filter_map(of).collect()
    }

    #[test]
    fn what_all_pass_alike_is_a_bundle_until_something_parts_it() {
        let mut segments = Segments::new(100);
        let tier = |first: usize| [stretch(0..16, 0.0625), stretch(first..first + 16, 0.0625)].concat();
        let ids: Vec<SegmentId> = (1..6).map(|at| segments.intern(&tier(16 * at), all_alike)).collect();
        assert!(ids.iter().all(|&id| segments.members(id).len() == 2), "two tiers are two bundles");
        let half = segments.intern(&stretch(0..8, 0.125), all_alike);
        assert_eq!((segments.members(half).len(), segments.members(ids[0]).len()), (1, 3));
        segments.single_out(CableId::new(20));
        assert_eq!(segments.members(ids[0]).len(), 4);
        for (at, &id) in (1..6).zip(&ids) {
            let expected: Vec<(usize, f64)> = tier(16 * at).iter().map(|m| (m.cable.index(), m.part)).collect();
            assert_eq!(spread(&segments, id), expected);
            assert_eq!(segments.intern(&tier(16 * at), all_alike), id, "it is found again");
        }
        // What is uneven parts too, and unlike cables never were one.
        let uneven = [stretch(96..98, 0.25), stretch(98..100, 0.5)].concat();
        let uneven = segments.intern(&uneven, |a, b| (a.index() == 96) == (b.index() == 96));
        assert_eq!(segments.members(uneven).len(), 3);
        assert!(segments.parted().count() > 0 && segments.parted().count() == 0);
    }
}
