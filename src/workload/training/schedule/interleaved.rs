//! Interleaved 1F1B: micro-batches pass the ranks in groups of as many as there are ranks, once per model chunk
//! (arXiv 2104.04473, section 2.2.2). Forwards meet the chunks in order, backwards in reverse order.

use super::{Action, Unit};

/// What `rank` of `ranks` does with `chunks` model chunks.
pub(super) fn order(rank: u32, ranks: u32, micro_batches: u32, chunks: u32) -> Vec<Action> {
    let all = micro_batches * chunks;
    // The n-th unit of work: groups of `ranks` micro-batches go through all chunks before the next group starts.
    let unit = |n: u32| {
        let (group, place) = (n / (ranks * chunks), n % (ranks * chunks));
        Unit { micro_batch: group * ranks + place % ranks, chunk: place / ranks }
    };
    let mirrored = |unit: Unit| Unit { chunk: chunks - 1 - unit.chunk, ..unit };
    // All chunks but the last fill first; then every rank is two units ahead of the next one, because the gradient of the
    // first unit has to come back past as many ranks as its activations went.
    let ahead = if chunks == 1 { ranks - 1 - rank } else { 2 * (ranks - 1 - rank) + (chunks - 1) * ranks };
    let filling = ahead.min(all);
    let mut actions: Vec<Action> = (0..filling).map(|n| Action::Forward(unit(n))).collect();
    for n in 0..all {
        if n + filling < all {
            actions.push(Action::Forward(unit(n + filling)));
        }
        actions.push(Action::Backward(mirrored(unit(n))));
    }
    actions
}
