//! All-reduce on two binary trees, each of which reduces half of the data to its root and hands the sum back.
//!
//! The trees are complementary, so that inner ranks of one are leaves of the other and every rank sends and receives about
//! the same amount (Sanders, Speck and Träff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan",
//! 2009). Chunks follow each other through a tree.

use super::desk::{Desk, Front, piece};
use super::ring::hop;
use crate::hardware::ProtocolSpec;
use crate::units::Bytes;

/// All-reduce of `bytes` among `members` in `chunks` chunks.
pub(super) fn tree_all_reduce(
    desk: &mut Desk<'_>,
    (members, channel): (&[usize], usize),
    bytes: Bytes,
    chunks: usize,
    protocol: Option<&ProtocolSpec>,
    front: &Front,
) -> Front {
    let mut done = front.clone();
    members.iter().for_each(|&rank| done[rank].clear());
    for (half, parents) in trees(members.len()).iter().enumerate() {
        for chunk in 0..chunks {
            let bytes = piece(piece(bytes, 2, half), chunks, chunk);
            let channel = channel + 1 + half * chunks + chunk;
            let ended = pass(desk, (members, channel), parents, bytes, protocol, front);
            members.iter().for_each(|&rank| done[rank].extend(&ended[rank]));
        }
    }
    done
}

/// One chunk up a tree and down again.
fn pass(
    desk: &mut Desk<'_>,
    (members, channel): (&[usize], usize),
    parents: &[Option<usize>],
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    front: &Front,
) -> Front {
    let order = from_leaves(parents);
    let mut held = front.clone();
    for &at in &order {
        if let Some(parent) = parents[at] {
            let (from, to) = (members[at], members[parent]);
            let ready = held[from].clone();
            hop(desk, (from, to, channel), bytes, protocol, (&ready, &[]), &mut held);
        }
    }
    for &at in order.iter().rev() {
        if let Some(parent) = parents[at] {
            let (from, to) = (members[parent], members[at]);
            let ready = held[from].clone();
            hop(desk, (from, to, channel), bytes, protocol, (&ready, &[]), &mut held);
        }
    }
    held
}

/// Places such that each comes before its parent.
fn from_leaves(parents: &[Option<usize>]) -> Vec<usize> {
    let depth = |mut at: usize| {
        let mut depth = 0;
        while let Some(parent) = parents[at] {
            (at, depth) = (parent, depth + 1);
        }
        depth
    };
    let mut order: Vec<usize> = (0..parents.len()).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(depth(at)), at));
    order
}

/// The parent of each place in the two trees. In the first, a place with lowest set bit `b` hangs below the place without
/// that bit and with the next one, which makes odd places leaves; the second is the first with everyone moved by one.
pub(super) fn trees(n: usize) -> [Vec<Option<usize>>; 2] {
    let first: Vec<Option<usize>> = (0..n).map(|at| parent(at, n)).collect();
    let second = (0..n).map(|at| first[(at + n - 1) % n].map(|parent| (parent + 1) % n)).collect();
    [first, second]
}

fn parent(at: usize, n: usize) -> Option<usize> {
    if at == 0 {
        return None;
    }
    let bit = 1 << at.trailing_zeros();
    let up = (at ^ bit) | (bit << 1);
    Some(if up < n { up } else { at ^ bit })
}

/// Steps from the deepest leaf to the root.
pub(super) fn depth(n: usize) -> usize {
    let parents = &trees(n)[0];
    let steps = |mut at: usize| {
        let mut steps = 0;
        while let Some(parent) = parents[at] {
            (at, steps) = (parent, steps + 1);
        }
        steps
    };
    (0..n).map(steps).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_trees_span_all_and_stay_shallow_with_two_children_at_most() {
        for n in 2..130 {
            for parents in trees(n) {
                assert_eq!(parents.iter().filter(|parent| parent.is_none()).count(), 1, "{n}: one root");
                let children = |at: usize| parents.iter().filter(|&&parent| parent == Some(at)).count();
                let most = (0..n).map(children).max();
                // The root of the whole hangs its tree below one child.
                assert!(most <= Some(2), "{n}: {most:?}");
                assert_eq!(from_leaves(&parents).len(), n);
            }
            assert!(depth(n) <= n.next_power_of_two().ilog2() as usize + 1, "{n}: {}", depth(n));
        }
    }

    #[test]
    fn inner_places_of_one_tree_are_leaves_of_the_other_when_their_number_is_even() {
        for n in [4, 8, 16, 34] {
            let [first, second] = trees(n);
            let inner = |parents: &[Option<usize>], at: usize| parents.contains(&Some(at));
            let both = (0..n).filter(|&at| inner(&first, at) && inner(&second, at)).count();
            assert!(both == 0, "{n}: {both} places work twice");
        }
    }
}
