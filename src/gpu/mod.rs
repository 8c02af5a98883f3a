//! How long kernels take on a processor.
//!
//! This layer knows kernels and processors, never models, schedules or the network.

mod roofline;
mod tile;

pub use roofline::{Instant, Processor, Roofline};
pub use tile::Attention;

use crate::id::DeviceId;
use crate::timeline::Bound;
use crate::units::Duration;
use crate::workload::Kernel;

/// How long something takes, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// How long its stream is occupied.
    pub time: Duration,
    /// What decides that.
    pub bound: Bound,
}

/// Runs kernels.
pub trait KernelModel {
    /// What running `kernel` on `device` costs.
    fn cost(&mut self, device: DeviceId, kernel: &Kernel) -> Cost;
}
