//! How long kernels take on a processor.
//!
//! This layer knows kernels and processors, never models, schedules or the network.

mod course;
mod least;
mod roofline;
mod share;
pub mod tile;

pub use course::{Capacity, Course, Stretch};
pub use least::least_seconds;
pub use roofline::{Instant, Processor, Roofline};
pub use share::{Contender, Share, share};
pub use tile::Attention;

use crate::id::DeviceId;
use crate::timeline::Bound;
use crate::units::{Bytes, BytesPerSec, Duration, PS_PER_SEC};
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
    /// What communication takes meanwhile: kernels are made for the rest.
    pub taken: Taken,
    /// What other kernels hold that happen to run at the same time: nothing was made for that.
    pub beside: Taken,
    /// Data touched since the kernel's operands were last used, where that is little enough to be still in cache.
    pub reused_after: Option<Bytes>,
    /// Data touched since the kernel's activations were written or read by the kernel before, where that is less.
    pub fresh_after: Option<Bytes>,
}

/// Runs kernels.
pub trait KernelModel {
    /// How `kernel` runs on `device` under `conditions`: its cost, and what it occupies when.
    fn course_under(&mut self, conditions: &Conditions, device: DeviceId, kernel: &Kernel) -> Course;

    /// What `device` has to hand out to kernels beside communication.
    fn capacity_beside(&self, taken: &Taken, device: DeviceId) -> Capacity;

    /// What `device` has to hand out to kernels.
    fn capacity(&self, device: DeviceId) -> Capacity {
        self.capacity_beside(&Taken::default(), device)
    }

    /// What running `kernel` on `device` costs under `conditions`.
    fn cost_under(&mut self, conditions: &Conditions, device: DeviceId, kernel: &Kernel) -> Cost {
        self.course_under(conditions, device, kernel).cost
    }

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
    /// What the host leaves empty after every kernel.
    pub gap: Duration,
}

impl KernelModel for Beside {
    fn course_under(&mut self, conditions: &Conditions, device: DeviceId, kernel: &Kernel) -> Course {
        let beside = Conditions { taken: conditions.taken + self.taken, ..*conditions };
        let course = self.kernels.course_under(&beside, device, kernel);
        // Nothing is occupied in the gap either.
        let cost = Cost { time: course.cost.time + self.gap, ..course.cost };
        Course { cost, launch: course.launch + self.gap, ..course }
    }

    fn capacity_beside(&self, taken: &Taken, device: DeviceId) -> Capacity {
        self.kernels.capacity_beside(&(*taken + self.taken), device)
    }
}

impl std::ops::Add for Taken {
    type Output = Taken;
    fn add(self, rhs: Taken) -> Taken {
        Taken { sms: self.sms + rhs.sms, memory: self.memory + rhs.memory }
    }
}

/// `seconds`, rounded up to the resolution of time.
fn picoseconds(seconds: f64) -> Duration {
    Duration::from_ps((seconds * PS_PER_SEC as f64).ceil() as u64)
}
