//! Rings, trees and collectives in two levels: inside nodes over the scale-up domain, and between GPUs of equal index of different
//! nodes, each of which has a NIC of its own. Parts of the data follow each other through the levels, so that these work at the
//! same time.

use super::Collective;
use super::desk::{Desk, Front, piece};
use super::levels::{Levels, Paces, Stage};
use super::ring::{own_piece, ring_behind};
use super::tree::tree_all_reduce;
use crate::hardware::ProtocolSpec;
use crate::units::Bytes;

/// Channels of a part of the data: its stages take one or a few each.
const CHANNELS_OF_PART: usize = 64;
/// Channels of a stage.
const CHANNELS_OF_STAGE: usize = 8;

/// Runs `collective` over `bytes` part by part.
///
/// A stage takes up a part when it has finished one before it, so that the first parts leave it early and the next stage can
/// begin: what is sent later on a connection does not share the link with what was sent before. Parts that it works on at once
/// begin one step after the other, so that one is on the wire while another is posted.
pub(super) fn in_parts(
    desk: &mut Desk<'_>,
    (levels, paces): (&Levels, &Paces),
    collective: Collective,
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    front: &Front,
) -> Front {
    let mut done: Front = vec![Vec::new(); front.len()];
    // By part and stage: what ends it, and what was sent first.
    let mut passed: Vec<Vec<(Front, Front)>> = Vec::new();
    for part in 0..paces.parts {
        let bytes = piece(bytes, paces.parts, part);
        let channel = part * CHANNELS_OF_PART;
        let mut held = front.clone();
        if collective == Collective::AllGather {
            for (index, rail) in levels.rails.iter().enumerate() {
                own_piece(desk, (rail, channel), piece(bytes, levels.rails.len(), index), protocol, &mut held);
            }
        }
        let mut stages = Vec::new();
        for (number, pace) in paces.stages.iter().enumerate() {
            let earlier = |parts: usize| part.checked_sub(parts).map(|earlier| &passed[earlier][number]);
            if let Some((ended, _)) = earlier(pace.at_once) {
                held.iter_mut().zip(ended).for_each(|(held, ended)| held.extend(ended));
            }
            let ahead = earlier(pace.apart).map(|(_, first)| first);
            let place = (levels, channel + number * CHANNELS_OF_STAGE);
            let first = run(desk, pace.stage, place, bytes, protocol, (&mut held, ahead));
            stages.push((held.clone(), first));
        }
        passed.push(stages);
        done.iter_mut().zip(held).for_each(|(done, ended)| done.extend(ended));
    }
    done
}

/// One stage of a part of `bytes`: `front` becomes what ends it, and what is sent first is returned.
fn run(
    desk: &mut Desk<'_>,
    stage: Stage,
    (levels, channel): (&Levels, usize),
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    (front, ahead): (&mut Front, Option<&Front>),
) -> Front {
    let mut first: Front = vec![Vec::new(); front.len()];
    let among = if matches!(stage, Stage::Nodes { .. }) { &levels.nodes } else { &levels.rails };
    for (index, members) in among.iter().enumerate() {
        let held: Front = members.iter().map(|&rank| std::mem::take(&mut front[rank])).collect();
        let ahead: Option<Front> = ahead.map(|ahead| members.iter().map(|&rank| ahead[rank].clone()).collect());
        let on_rail = piece(bytes, levels.rails.len(), index);
        let mut ring = |steps: usize, bytes: Bytes, held: Front| {
            let (ended, sent) = ring_behind(desk, (members, channel), steps, bytes, protocol, (held, ahead.as_ref()));
            members.iter().zip(sent).for_each(|(&rank, sent)| first[rank] = sent);
            ended
        };
        let ended = match stage {
            Stage::Nodes { steps } => ring(steps, bytes, held),
            Stage::Rails { steps } => ring(steps, on_rail, held),
            Stage::Trees => tree_all_reduce(desk, (members, channel), &levels.trees, on_rail, protocol, &held),
        };
        members.iter().zip(ended).for_each(|(&rank, ended)| front[rank] = ended);
    }
    first
}
