//! Collectives in two levels: inside nodes over the scale-up domain, and between GPUs of equal index of different nodes, each of
//! which has a NIC of its own. Parts of the data follow each other through the levels.

use super::Collective;
use super::desk::{Desk, Front, piece};
use super::ring::{own_piece, ring};
use super::tree::tree_all_reduce;
use crate::hardware::ProtocolSpec;
use crate::units::Bytes;

/// How the levels are gone through.
#[derive(Clone, Copy)]
pub(super) struct Levels<'a> {
    /// The ranks of each node.
    pub(super) nodes: &'a [Vec<usize>],
    /// Whether the sum between nodes is made on trees instead of a ring.
    pub(super) tree: bool,
    /// Parts that follow each other.
    pub(super) parts: usize,
}

/// Runs `collective` over `bytes` in two levels.
pub(super) fn two_levels(
    desk: &mut Desk<'_>,
    levels: Levels<'_>,
    collective: Collective,
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    front: &Front,
) -> Front {
    let mut done: Front = vec![Vec::new(); front.len()];
    for part in 0..levels.parts {
        let bytes = piece(bytes, levels.parts, part);
        // The channels of a part: one for each level, and the trees' own.
        let channel = 1 + part * 64;
        let ended = part_of(desk, levels, (collective, channel), bytes, protocol, front);
        done.iter_mut().zip(ended).for_each(|(done, ended)| done.extend(ended));
    }
    done
}

fn part_of(
    desk: &mut Desk<'_>,
    levels: Levels<'_>,
    (collective, channel): (Collective, usize),
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    front: &Front,
) -> Front {
    let nodes = levels.nodes;
    let per_node = nodes[0].len();
    let rails: Vec<Vec<usize>> = (0..per_node).map(|index| nodes.iter().map(|node| node[index]).collect()).collect();
    let on_rails = |desk: &mut Desk<'_>, front: Front, steps: usize| {
        let each = |(index, rail): (usize, &Vec<usize>)| (piece(bytes, per_node, index), rail.clone());
        rails
            .iter()
            .enumerate()
            .map(each)
            .fold(front, |front, (bytes, rail)| ring(desk, (&rail, channel + 1), steps, bytes, protocol, &front))
    };
    let in_nodes = |desk: &mut Desk<'_>, front: Front, channel: usize| {
        nodes.iter().fold(front, |front, node| ring(desk, (node, channel), per_node - 1, bytes, protocol, &front))
    };
    let others = nodes.len() - 1;
    match collective {
        Collective::AllGather => {
            let own = rails.iter().enumerate().fold(front.clone(), |front, (index, rail)| {
                own_piece(desk, (rail, channel), piece(bytes, per_node, index), protocol, &front)
            });
            let gathered = on_rails(desk, own, others);
            in_nodes(desk, gathered, channel)
        }
        Collective::ReduceScatter => {
            let reduced = in_nodes(desk, front.clone(), channel);
            on_rails(desk, reduced, others)
        }
        _ => {
            let reduced = in_nodes(desk, front.clone(), channel);
            let summed = if levels.tree {
                rails.iter().enumerate().fold(reduced, |front, (index, rail)| {
                    tree_all_reduce(desk, (rail, channel + 3), piece(bytes, per_node, index), 1, protocol, &front)
                })
            } else {
                on_rails(desk, reduced, 2 * others)
            };
            in_nodes(desk, summed, channel + 2)
        }
    }
}
