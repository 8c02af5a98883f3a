//! All-reduce on two binary trees, each of which reduces half of the data to its root and hands the sum back.
//!
//! The trees are complementary, so that inner ranks of one are leaves of the other and every rank sends and receives about
//! the same amount (Sanders, Speck and Träff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan",
//! 2009). Chunks follow each other through a tree.

use super::Group;
use super::desk::{Desk, Front, piece};
use super::ring::hand_on;
use crate::hardware::ProtocolSpec;
use crate::units::Bytes;

/// The parent of each place in a tree; the root has none.
pub(super) type Parents = Vec<Option<usize>>;

/// All-reduce of `bytes` among `members` on two trees over their places. The front is that of the members, in their order.
pub(super) fn tree_all_reduce(
    desk: &mut Desk<'_>,
    (members, channel): (&[usize], usize),
    trees: &[Parents; 2],
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    front: &Front,
) -> Front {
    let mut done: Front = vec![Vec::new(); members.len()];
    for (half, parents) in trees.iter().enumerate() {
        let members = (members, channel + half);
        let ended = pass(desk, members, parents, piece(bytes, 2, half), protocol, front.clone());
        done.iter_mut().zip(ended).for_each(|(done, ended)| done.extend(ended));
    }
    done
}

/// Up a tree and down again.
fn pass(
    desk: &mut Desk<'_>,
    (members, channel): (&[usize], usize),
    parents: &[Option<usize>],
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    mut held: Front,
) -> Front {
    let order = from_leaves(parents);
    for &at in &order {
        if let Some(parent) = parents[at] {
            let ready = std::mem::take(&mut held[at]);
            let to = [members[parent]];
            let handed = hand_on(desk, (members[at], channel, &to), bytes, protocol, (&ready, &[]));
            held[at] = handed.copied;
            held[parent].extend(handed.sent.iter().map(|&(_, sent)| sent));
        }
    }
    let mut children = vec![Vec::new(); parents.len()];
    for &at in order.iter().rev() {
        if let Some(parent) = parents[at] {
            children[parent].push(at);
        }
    }
    for &at in order.iter().rev().filter(|&&at| !children[at].is_empty()) {
        let to: Vec<usize> = children[at].iter().map(|&child| members[child]).collect();
        let handed = hand_on(desk, (members[at], channel, &to), bytes, protocol, (&held[at], &[]));
        held[at].extend(handed.copied);
        handed.sent.iter().for_each(|&(child, sent)| held[children[at][child]].push(sent));
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

/// Two trees over all ranks of `group`: over its nodes, in each of which a chain hangs below the rank that is joined to other nodes,
/// the first one in one tree and the last one in the other, so that two NICs carry them. In one node, over its ranks.
pub(super) fn over(group: &Group) -> [Parents; 2] {
    let nodes = group.in_nodes();
    if nodes.len() < 2 {
        return trees(group.len());
    }
    let [first, second] = trees(nodes.len());
    let chained: Vec<Vec<usize>> = nodes.iter().map(|node| node.iter().rev().copied().collect()).collect();
    [chains_below(&first, &nodes), chains_below(&second, &chained)]
}

/// A tree over nodes, with the ranks of each node below each other from the first to the last.
fn chains_below(above: &[Option<usize>], nodes: &[Vec<usize>]) -> Parents {
    let mut parents = vec![None; nodes.iter().map(Vec::len).sum()];
    for (node, ranks) in nodes.iter().enumerate() {
        parents[ranks[0]] = above[node].map(|parent| nodes[parent][0]);
        ranks.windows(2).for_each(|pair| parents[pair[1]] = Some(pair[0]));
    }
    parents
}

/// Two trees over `n` places. In the first, a place with lowest set bit `b` hangs below the place without that bit and with the
/// next one, which makes odd places leaves; the second is the first with everyone moved by one.
pub(super) fn trees(n: usize) -> [Parents; 2] {
    let first: Parents = (0..n).map(|at| parent(at, n)).collect();
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

/// What two trees ask of those in them: steps inside nodes, and steps between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Steps of each kind from a leaf to its root, at most.
    pub(super) depth: (usize, usize),
    /// Transfers of each kind, on the way from a root to a leaf, that the same parents send to others.
    pub(super) waits: (usize, usize),
    /// Transfers of each kind that one member sends in both trees together, at most.
    pub(super) sends: (usize, usize),
}

/// What `trees` over `members` of `group` ask.
pub(super) fn asked(group: &Group, members: &[usize], trees: &[Parents; 2]) -> Asked {
    let mut asked = Asked::default();
    let mut sends = vec![(0, 0); members.len()];
    let count = |(near, far): &mut (usize, usize), a: usize, b: usize| match group.together(members[a], members[b]) {
        true => *near += 1,
        false => *far += 1,
    };
    let most = |a: (usize, usize), b: (usize, usize)| (a.0.max(b.0), a.1.max(b.1));
    for parents in trees {
        let mut down = vec![(0, 0); members.len()];
        for at in 0..parents.len() {
            if let Some(parent) = parents[at] {
                count(&mut down[parent], at, parent);
                count(&mut sends[at], at, parent);
                count(&mut sends[parent], at, parent);
            }
        }
        for leaf in 0..parents.len() {
            let (mut at, mut steps, mut sent) = (leaf, (0, 0), (0, 0));
            while let Some(parent) = parents[at] {
                count(&mut steps, at, parent);
                sent = (sent.0 + down[parent].0, sent.1 + down[parent].1);
                at = parent;
            }
            asked.depth = most(asked.depth, steps);
            // What is sent to those on the way itself is no wait.
            asked.waits = most(asked.waits, (sent.0.saturating_sub(steps.0), sent.1.saturating_sub(steps.1)));
        }
    }
    asked.sends = sends.into_iter().fold((0, 0), most);
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_trees_span_all_and_stay_shallow_with_two_children_at_most() {
        for n in 2..130 {
            let group = Group::bare((0..n).map(crate::id::DeviceId::new).collect());
            let asked = asked(&group, &(0..n).collect::<Vec<_>>(), &trees(n));
            assert!(asked.depth.0 <= n.next_power_of_two().ilog2() as usize + 1, "{n}: {asked:?}");
            // Three in one tree and one in the other, where inner places of one are leaves of the other.
            assert!(asked.sends.0 <= 4 + 2 * (n % 2), "{n}: {asked:?}");
            for parents in trees(n) {
                assert_eq!(parents.iter().filter(|parent| parent.is_none()).count(), 1, "{n}: one root");
                let children = |at: usize| parents.iter().filter(|&&parent| parent == Some(at)).count();
                let most = (0..n).map(children).max();
                // The root of the whole hangs its tree below one child.
                assert!(most <= Some(2), "{n}: {most:?}");
                assert_eq!(from_leaves(&parents).len(), n);
            }
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
    #[test]
    fn nodes_of_any_size_hang_below_each_other_as_chains() {
        let mut group = Group::bare((0..7).map(crate::id::DeviceId::new).collect());
        group.nodes = vec![0, 0, 0, 1, 2, 2, 3];
        let [first, second] = over(&group);
        // Node 1 and 3 are leaves below node 2, which is below node 0.
        assert_eq!(first, [None, Some(0), Some(1), Some(4), Some(0), Some(4), Some(4)]);
        // Everyone moved by one node: node 3 is above node 2 and 0, and below node 1; heads are the last ranks.
        assert_eq!(second, [Some(1), Some(2), Some(6), None, Some(5), Some(6), Some(3)]);
        // Rank 0 is below two of its node and two nodes. Rank 1 is amid both its chains, and rank 6 has three in one tree, one in the other.
        let asked = asked(&group, &[0, 1, 2, 3, 4, 5, 6], &[first, second]);
        assert_eq!((asked.depth, asked.sends), ((2, 2), (4, 4)));
    }
}
