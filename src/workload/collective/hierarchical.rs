//! Collectives in two levels: inside nodes over the scale-up domain, and between GPUs of equal index of different nodes, each of
//! which has a NIC of its own. Parts of the data follow each other through the levels, so that these work at the same time.

use super::Collective;
use super::desk::{Desk, Front, piece};
use super::levels::{Pace, Stage};
use super::ring::{own_piece, ring_behind};
use super::tree::tree_all_reduce;
use crate::hardware::ProtocolSpec;
use crate::units::Bytes;

/// How the levels are gone through.
#[derive(Clone, Copy)]
pub(super) struct Levels<'a> {
    /// The ranks of each node.
    pub(super) nodes: &'a [Vec<usize>],
    /// What every part goes through.
    pub(super) stages: &'a [Pace],
    /// Parts that follow each other.
    pub(super) parts: usize,
}

/// Channels of a part of the data: its stages take one or a few each.
const CHANNELS_OF_PART: usize = 64;
/// Channels of a stage.
const CHANNELS_OF_STAGE: usize = 8;

/// Runs `collective` over `bytes` in two levels.
///
/// A stage takes up a part when it has finished one before it, so that the first parts leave it early and the next stage can
/// begin: what is sent later on a connection does not share the link with what was sent before. Parts that it works on at once
/// begin one step after the other, so that one is on the wire while another is posted.
pub(super) fn two_levels(
    desk: &mut Desk<'_>,
    levels: Levels<'_>,
    collective: Collective,
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    front: &Front,
) -> Front {
    let per_node = levels.nodes[0].len();
    let rails: Vec<Vec<usize>> =
        (0..per_node).map(|index| levels.nodes.iter().map(|node| node[index]).collect()).collect();
    let mut done: Front = vec![Vec::new(); front.len()];
    // By part and stage: what ends it, and what was sent first.
    let mut passed: Vec<Vec<(Front, Front)>> = Vec::new();
    for part in 0..levels.parts {
        let bytes = piece(bytes, levels.parts, part);
        let channel = 1 + part * CHANNELS_OF_PART;
        let mut held = front.clone();
        if collective == Collective::AllGather {
            for (index, rail) in rails.iter().enumerate() {
                held = own_piece(desk, (rail, channel), piece(bytes, per_node, index), protocol, &held);
            }
        }
        let mut stages = Vec::new();
        for (number, pace) in levels.stages.iter().enumerate() {
            let earlier = |parts: usize| part.checked_sub(parts).map(|earlier| &passed[earlier][number]);
            if let Some((ended, _)) = earlier(pace.at_once) {
                held.iter_mut().zip(ended).for_each(|(held, ended)| held.extend(ended));
            }
            let ahead = earlier(pace.apart).map(|(_, first)| first);
            let place = (levels.nodes, rails.as_slice(), channel + number * CHANNELS_OF_STAGE);
            let (ended, first) = run(desk, pace.stage, place, bytes, protocol, (held, ahead));
            held = ended.clone();
            stages.push((ended, first));
        }
        passed.push(stages);
        done.iter_mut().zip(held).for_each(|(done, ended)| done.extend(ended));
    }
    done
}

/// One stage of a part of `bytes`: what ends it, and what is sent first.
fn run(
    desk: &mut Desk<'_>,
    stage: Stage,
    (nodes, rails, channel): (&[Vec<usize>], &[Vec<usize>], usize),
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    (mut front, ahead): (Front, Option<&Front>),
) -> (Front, Front) {
    let mut first: Front = vec![Vec::new(); front.len()];
    let mut rings = |members: &[Vec<usize>], steps: usize, bytes: &dyn Fn(usize) -> Bytes| {
        for (index, members) in members.iter().enumerate() {
            let (ended, sent) = ring_behind(desk, (members, channel), steps, bytes(index), protocol, (&front, ahead));
            front = ended;
            first.iter_mut().zip(sent).for_each(|(first, sent)| first.extend(sent));
        }
    };
    let on_rail = |index: usize| piece(bytes, rails.len(), index);
    match stage {
        Stage::Nodes { steps } => rings(nodes, steps, &|_| bytes),
        Stage::Rails { steps } => rings(rails, steps, &on_rail),
        Stage::Trees => {
            for (index, rail) in rails.iter().enumerate() {
                front = tree_all_reduce(desk, (rail, channel), on_rail(index), 1, protocol, &front);
            }
        }
    }
    (front, first)
}
