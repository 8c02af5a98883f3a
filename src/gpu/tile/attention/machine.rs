//! What an attention kernel needs to know of a GPU, in the units of the calculation: seconds, cycles and bytes.

use super::grid::Grid;
use crate::dtype::Dtype;
use crate::gpu::course::Part;
use crate::hardware::{FlashAttentionSpec, GpuSpec, TensorSpec};
use crate::timeline::Bound;
use crate::units::Duration;

/// A GPU as attention kernels see it.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// SMs that the kernel is made for.
    pub(super) sms: u64,
    /// SMs that run it: those of them that no other kernel holds.
    pub(super) free: u64,
    /// Cycles per second that the datasheet's rates refer to.
    boost: f64,
    tensor: TensorSpec,
    /// SMs that the datasheet's rates refer to.
    all_sms: f64,
    /// Bytes per second that HBM yields.
    pub(super) hbm: f64,
    /// Lanes of an SM outside its tensor cores.
    pub(super) lanes: f64,
    /// Bytes of shared memory that the blocks of an SM can fill.
    pub(super) shared_memory: u64,
    pub(super) spec: FlashAttentionSpec,
}

impl Machine {
    /// The GPU; none where nothing is known of its attention kernels or of its SMs.
    pub(super) fn new(gpu: &GpuSpec) -> Option<Machine> {
        let sm = gpu.sm.as_ref()?;
        Some(Machine {
            sms: gpu.sms.wide(),
            free: gpu.sms.wide(),
            boost: gpu.boost_clock.get() as f64,
            tensor: gpu.tensor.clone(),
            all_sms: gpu.sms.wide() as f64,
            hbm: gpu.memory.achievable().get() as f64,
            lanes: f64::from(sm.lanes.get()),
            shared_memory: sm.shared_memory.get(),
            spec: gpu.attention.clone()?,
        })
    }

    /// Multiply-adds per cycle of one SM: what the datasheet's peak is made of.
    pub(super) fn macs(&self, dtype: Dtype) -> f64 {
        self.tensor.peak(dtype).get() as f64 / (2.0 * self.all_sms * self.boost)
    }

    /// Cycles that the matrix unit of one SM needs for `rows` x `columns` results over `depth`.
    pub(super) fn product(&self, rows: u64, columns: u64, depth: u64, dtype: Dtype) -> f64 {
        (rows * columns * depth) as f64 / self.macs(dtype)
    }

    /// Cycles that `lanes` lanes need for the softmax of `scores` scores and for rescaling `values` accumulated values.
    pub(super) fn softmax(&self, scores: u64, values: u64, lanes: f64) -> f64 {
        let operations = scores * self.spec.score_operations.wide() + values * self.spec.rescale_operations.wide();
        operations as f64 / lanes
    }

    /// Cycles that an SM needs to widen `values` values in its registers.
    pub(super) fn widening(&self, values: u64) -> f64 {
        values as f64 * self.spec.widen_operations.wide() as f64 / self.lanes
    }

    /// Seconds of a main loop's cycles.
    pub(super) fn seconds(&self, cycles: f64) -> f64 {
        cycles / (self.boost * self.spec.clock.get())
    }

    /// Bytes per second that one SM draws from L2.
    pub(super) fn l2_per_sm(&self) -> f64 {
        self.spec.l2_bytes_per_cycle.wide() as f64 * self.boost
    }

    /// Seconds of a kernel that converts `values` values, launch included: it is limited by the conversion's instructions.
    pub(super) fn cast(&self, values: u64) -> f64 {
        let operations = values as f64 * self.spec.cast_operations.wide() as f64;
        self.spec.cast_call.as_secs() + operations / (self.lanes * self.free as f64 * self.boost)
    }

    /// Seconds of a grid of blocks.
    pub(super) fn run(&self, grid: &Grid) -> Run {
        grid.run(self.free, self.hbm, self.l2_per_sm())
    }
}

/// What running a grid takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    /// Seconds from the first block's start to the last one's end.
    pub(super) seconds: f64,
    /// What most of the SMs' time goes to.
    pub(super) bound: Bound,
    /// While every SM has a block.
    pub(super) rounds: Part,
    /// Afterwards.
    pub(super) last: Part,
}

/// `seconds`, rounded up to the resolution of time.
pub(super) fn duration(seconds: f64) -> Duration {
    Duration::from_ps((seconds * 1e12).ceil() as u64)
}
