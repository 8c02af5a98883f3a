//! ZB1P: 1F1B whose weight gradients wait until they would fill idle time, within the memory of 1F1B (ZB-H1 of arXiv
//! 2401.10241).
//!
//! Rank `r` starts with `ranks - r` forwards, so that `r` units of its memory are free for weight gradients put off.

use super::{Action, Unit};

/// What `rank` of `ranks` does.
pub(super) fn order(rank: u32, ranks: u32, micro_batches: u32) -> Vec<Action> {
    let unit = |micro_batch| Unit { micro_batch, chunk: 0 };
    let filling = (ranks - rank).min(micro_batches);
    let mut actions: Vec<Action> = (0..filling).map(|micro_batch| Action::Forward(unit(micro_batch))).collect();
    let (mut forwards, mut weights) = (filling, 0);
    for micro_batch in 0..micro_batches {
        actions.push(Action::BackwardInput(unit(micro_batch)));
        // When there is nothing left to go forward with, weight gradients fill the time until the next gradient comes.
        let owed = micro_batch + 1 - weights;
        if owed > rank || forwards == micro_batches {
            actions.push(Action::BackwardWeight(unit(weights)));
            weights += 1;
        }
        if forwards < micro_batches {
            actions.push(Action::Forward(unit(forwards)));
            forwards += 1;
        }
    }
    actions.extend((weights..micro_batches).map(|micro_batch| Action::BackwardWeight(unit(micro_batch))));
    actions
}
