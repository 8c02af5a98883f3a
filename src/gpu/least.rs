//! The least time that a kernel can take on a GPU, for bounds that hold under every kernel model.

use crate::dtype::Dtype;
use crate::hardware::GpuSpec;
use crate::workload::Kernel;

/// Seconds that `kernel` takes at the least: its arithmetic at the peak of the datasheet, or what it must fetch from memory at
/// the achievable bandwidth, which every kernel model takes, whichever is longer. Launches, shapes that do not fill the machine and parts of
/// the peak that are not reached only add to it.
pub fn least_seconds(gpu: &GpuSpec, kernel: &Kernel) -> f64 {
    let peak = |dtype: Dtype| gpu.tensor.peak(dtype).get() as f64;
    let fastest = match kernel {
        // Attention may multiply in the format of its cache.
        Kernel::DecodeAttention(attention) => peak(Dtype::Bf16).max(peak(attention.cache)),
        Kernel::PrefillAttention(attention) => peak(Dtype::Bf16).max(peak(attention.operands)),
        other => peak(other.operands()),
    };
    let arithmetic = kernel.flops().as_f64() / fastest;
    let memory = kernel.stored().get() as f64 / gpu.memory.achievable().get() as f64;
    arithmetic.max(memory)
}
