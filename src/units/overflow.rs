//! What happens when a simulation leaves the range of quantities: it ends, and whoever started it hears why.
//!
//! Only input that makes no sense brings this about, so that no sum of two instants hands on an error: it unwinds with a value
//! of its own, which [`within_range`] turns into one. Nothing of what was being worked out survives.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What became too large to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfRange {
    /// A duration or an instant.
    Time,
    /// Bytes, operations, rates or money.
    Amount,
}

impl OutOfRange {
    /// What to look for in the input.
    pub const fn hint(self) -> &'static str {
        match self {
            OutOfRange::Time => "is some rate too low, or some size, count or latency too large?",
            OutOfRange::Amount => "is some size, rate or count too large?",
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
        f.write_str(match self {
            OutOfRange::Time => "the simulated time exceeds 213 days",
            OutOfRange::Amount => "an amount exceeds what can be counted, which is 18 EB of data",
        })
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
