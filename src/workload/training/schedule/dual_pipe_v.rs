//! DualPipeV: DualPipe cut in half and folded. Rank `r` of `n` holds stages `r` and `2n - 1 - r` of a single pipeline, so that
//! no parameters are held twice; the way there and the way back play the parts of DualPipe's two directions (DualPipe
//! repository of DeepSeek, "cut-in-half" schedule by Sea AI Lab).

use super::dual_pipe::two_way;
use super::{Action, Unit};

/// What `rank` of `ranks` does. Chunk 0 is the stage on the way there, chunk 1 the one on the way back.
pub(super) fn order(rank: u32, ranks: u32, micro_batches: u32) -> Vec<Action> {
    two_way(rank, ranks, micro_batches, |there, micro_batch| Unit { micro_batch, chunk: u32::from(!there) })
}
