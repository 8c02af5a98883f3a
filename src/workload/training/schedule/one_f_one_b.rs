//! 1F1B: forwards until the pipeline is full, then one backward for every forward (arXiv 2104.04473, section 2.2.1).

use super::{Action, Unit};

/// What `rank` of `ranks` does.
pub(super) fn order(rank: u32, ranks: u32, micro_batches: u32) -> Vec<Action> {
    let unit = |micro_batch| Unit { micro_batch, chunk: 0 };
    let filling = (ranks - 1 - rank).min(micro_batches);
    let mut actions: Vec<Action> = (0..filling).map(|micro_batch| Action::Forward(unit(micro_batch))).collect();
    for micro_batch in 0..micro_batches {
        if micro_batch + filling < micro_batches {
            actions.push(Action::Forward(unit(micro_batch + filling)));
        }
        actions.push(Action::Backward(unit(micro_batch)));
    }
    actions
}
