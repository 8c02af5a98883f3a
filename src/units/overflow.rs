//! What happens when a simulation leaves the range of quantities, or the memory that there is: it ends, and whoever started it hears why.
//!
//! Only input that makes no sense brings this about, so that no sum of two instants hands on an error: it unwinds with a value
//! of its own, which [`within_range`] turns into one. Nothing of what was being worked out survives.

use super::Bytes;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What became too large to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfRange {
    /// A duration or an instant.
    Time,
    /// Bytes, operations, rates or money.
    Amount,
    /// The memory that is wanted.
    Memory {
        /// How much.
        wanted: Bytes,
        /// How much there is.
        room: MemoryRoom,
    },
}

/// Memory that is left for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRoom {
    /// How much.
    pub bytes: Bytes,
    /// What limits it.
    pub limit: &'static str,
}

impl MemoryRoom {
    /// As much as anybody wants.
    pub const UNLIMITED: MemoryRoom = MemoryRoom { bytes: Bytes::new(u64::MAX), limit: "nothing" };
}

impl OutOfRange {
    /// What to look for in the input.
    pub const fn hint(self) -> &'static str {
        match self {
            OutOfRange::Time => "is some rate too low, or some size, count or latency too large?",
            OutOfRange::Amount => "is some size, rate or count too large?",
            OutOfRange::Memory { .. } => {
                "simulate fewer ranks, layers or micro-batches, leave `symmetry = \"fold\"` as it is, or use a machine with more memory"
            }
        }
    }

    /// Ends what [`within_range`] began.
    #[cold]
    pub fn end(self) -> ! {
        resume_unwind(Box::new(self))
    }
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutOfRange::Time => f.write_str("the simulated time exceeds 213 days"),
            OutOfRange::Amount => f.write_str("an amount exceeds what can be counted, which is 18 EB of data"),
            OutOfRange::Memory { wanted, room } => {
                write!(f, "the simulation takes {wanted:.3} of memory, and {:.3} are left: {}", room.bytes, room.limit)
            }
        }
    }
}

impl std::error::Error for OutOfRange {}

/// Does `work`, unless a quantity in it leaves its range.
///
/// # Errors
/// What became too large.
pub fn within_range<T>(work: impl FnOnce() -> T) -> Result<T, OutOfRange> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|reason| match reason.downcast::<OutOfRange>() {
        Ok(beyond) => *beyond,
        Err(bug) => resume_unwind(bug),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Bytes, BytesPerSec, Duration, Time};
    use super::*;

    #[test]
    fn what_becomes_too_large_ends_the_work_with_a_reason() {
        let most = Duration::from_ps(u64::MAX);
        assert_eq!(within_range(|| most + Duration::from_ps(1)), Err(OutOfRange::Time));
        assert_eq!(within_range(|| Time::FAR_FUTURE + Duration::from_ps(1)), Err(OutOfRange::Time));
        assert_eq!(within_range(|| most * 2), Err(OutOfRange::Time));
        assert_eq!(within_range(|| Bytes::new(u64::MAX) / BytesPerSec::new(1)), Err(OutOfRange::Time));
        assert_eq!(within_range(|| Bytes::new(u64::MAX) * 2), Err(OutOfRange::Amount));
        assert_eq!(within_range(|| most), Ok(most));
    }
}
