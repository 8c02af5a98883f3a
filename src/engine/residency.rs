//! What the cache of a device still holds when a kernel starts: how much the device touched since the kernel's operands were last used.
//!
//! Weights are used once in a step, so that all that the step touches lies between two uses of them. What a kernel reads of the one before it
//! was written after that one began. Kernel models say how much of it is left after so many bytes. This module must not know
//! the size of any cache.

use crate::gpu::Conditions;
use crate::units::Bytes;
use crate::workload::Kernel;

/// How much a device had touched at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(Bytes);

/// What a device has touched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Residency {
    touched: Bytes,
    between_uses: Option<Bytes>,
}

impl Residency {
    /// A device that uses its weights again after `between_uses` bytes; none where it uses them once.
    pub fn new(between_uses: Option<Bytes>) -> Residency {
        Residency { touched: Bytes::ZERO, between_uses }
    }

    /// What a kernel meets that reads what another one wrote, which began at `written`; nothing, where it reads something else.
    pub fn conditions(&self, written: Option<Mark>) -> Conditions {
        Conditions {
            reused_after: self.between_uses,
            fresh_after: written.map(|Mark(before)| self.touched - before),
            ..Conditions::default()
        }
    }

    /// Notes that `kernel` begins, and returns the moment.
    pub fn begin(&mut self, kernel: &Kernel) -> Mark {
        let before = Mark(self.touched);
        self.touched += kernel.bytes();
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(read: u64, written: u64) -> Kernel {
        Kernel::Elementwise { read: Bytes::new(read), written: Bytes::new(written) }
    }

    #[test]
    fn what_was_written_ages_with_all_that_is_touched_since() {
        let mut device = Residency::new(Some(Bytes::new(1000)));
        let first = device.begin(&pass(10, 5));
        assert_eq!(device.conditions(Some(first)).fresh_after, Some(Bytes::new(15)));
        device.begin(&pass(20, 20));
        assert_eq!(device.conditions(Some(first)).fresh_after, Some(Bytes::new(55)));
        let other = device.conditions(None);
        assert_eq!((other.fresh_after, other.reused_after), (None, Some(Bytes::new(1000))));
    }
}
