//! The KV cache of a worker: what is held for its sequences, and whether there is room for another one.
//!
//! To add a policy: a file beside `kv_cache/reserving.rs` that implements [`KvCache`], and a line where `experiment/serving` makes workers.

mod reserving;

pub use reserving::ReservingCache;

use super::sequence::Sequence;
use std::fmt;

/// Who may hold keys and values, and who has to give them up.
pub trait KvCache: fmt::Debug {
    /// Whether there is room for `sequence` beside what is held.
    fn fits(&self, sequence: &Sequence) -> bool;

    /// Takes room for a sequence that is admitted: its prompt, which is there or is about to be computed.
    fn allocate(&mut self, sequence: &Sequence);

    /// The prompt of an allocated sequence is complete, and it decodes from the next step on.
    fn begin_decoding(&mut self, sequence: &Sequence);

    /// Decoding sequences gained so many tokens together.
    fn append(&mut self, tokens: f64);

    /// Gives up the room of a sequence that decoded, and yielded so many tokens meanwhile; none where it never did.
    fn free(&mut self, sequence: &Sequence, decoded: Option<f64>);

    /// Whether more is held than there is room for, so that somebody has to be preempted.
    fn is_over(&self) -> bool;

    /// Positions of the decoding sequences, all together.
    fn decoding_positions(&self) -> f64;
}
