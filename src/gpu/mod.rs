//! How long kernels take on a processor.
//!
//! This layer knows kernels and processors, never models, schedules or the network.

mod least;
mod roofline;
pub mod tile;

pub use least::least_seconds;
pub use roofline::{Instant, Processor, Roofline};
pub use tile::Attention;

use crate::id::DeviceId;
use crate::timeline::Bound;
use crate::units::{Bytes, BytesPerSec, Duration};
use crate::workload::Kernel;

/// How long something takes, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// How long its stream is occupied.
    pub time: Duration,
    /// What decides that.
    pub bound: Bound,
}

/// What else goes on while a kernel runs, and what went on before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conditions {
    /// What other kernels take meanwhile, such as those of communication.
    pub taken: Taken,
    /// Data touched since the kernel's operands were last used, where that is little enough to be still in cache.
    pub reused_after: Option<Bytes>,
    /// Which kernels the software has.
    pub library: Library,
}

/// The generation of matrix kernels for FP8 with block scales on Hopper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Library {
    /// DeepGEMM as of 2026: tiles that fit the shape.
    #[default]
    Current,
    /// What DeepSeek-V3 was trained with: tiles of 128 x 128.
    Early2025,
}

/// Runs kernels.
pub trait KernelModel {
    /// What running `kernel` on `device` costs under `conditions`.
    fn cost_under(&mut self, conditions: &Conditions, device: DeviceId, kernel: &Kernel) -> Cost;

    /// What running `kernel` on an otherwise idle `device` costs.
    fn cost(&mut self, device: DeviceId, kernel: &Kernel) -> Cost {
        self.cost_under(&Conditions::default(), device, kernel)
    }
}

/// What kernels take from those that run beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    /// Streaming multiprocessors.
    pub sms: u64,
    /// Memory bandwidth.
    pub memory: BytesPerSec,
}

/// The same kernels beside communication, on a stream that the host may feed too slowly.
pub struct Beside {
    /// How long kernels take.
    pub kernels: Box<dyn KernelModel>,
    /// What communication takes.
    pub taken: Taken,
    /// Which kernels the software has.
    pub library: Library,
    /// What the host leaves empty after every kernel.
    pub gap: Duration,
}

impl KernelModel for Beside {
    fn cost_under(&mut self, conditions: &Conditions, device: DeviceId, kernel: &Kernel) -> Cost {
        let Taken { sms, memory } = conditions.taken;
        let taken = Taken { sms: sms + self.taken.sms, memory: memory + self.taken.memory };
        let beside = Conditions { taken, library: self.library, ..*conditions };
        let cost = self.kernels.cost_under(&beside, device, kernel);
        Cost { time: cost.time + self.gap, ..cost }
    }
}
