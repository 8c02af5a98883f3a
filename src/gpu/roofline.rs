//! Kernels bounded by arithmetic or by memory traffic, whichever takes longer (the roofline of Williams et al., 2009).

use super::{Conditions, Cost, KernelModel};
use crate::dtype::Dtype;
use crate::hardware::{CpuSpec, GpuSpec};
use crate::id::DeviceId;
use crate::timeline::Bound;
use crate::units::{BytesPerSec, Duration, Flops, FlopsPerSec};
use crate::workload::Kernel;
use std::collections::BTreeMap;

/// What the roofline needs to know of a GPU or CPU: achievable rates and the price of a launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Processor {
    rates: BTreeMap<Dtype, FlopsPerSec>,
    memory: BytesPerSec,
    launch: Duration,
}

impl Processor {
    /// A GPU.
    pub fn gpu(spec: &GpuSpec) -> Processor {
        let rate = |dtype: Dtype| (dtype, spec.tensor.peak(dtype).achieved(spec.tensor.efficiency));
        let dtypes = [Dtype::Fp64, Dtype::Fp32, Dtype::Bf16, Dtype::Fp8, Dtype::Int8, Dtype::Fp4, Dtype::Int4];
        Processor {
            rates: dtypes.into_iter().map(rate).collect(),
            memory: spec.memory.achievable(),
            launch: spec.kernel_launch,
        }
    }

    /// `sockets` CPU sockets that share the work; a CPU launches nothing.
    pub fn cpu(spec: &CpuSpec, sockets: u64) -> Processor {
        let rate = FlopsPerSec::new(spec.bf16.get() * sockets);
        let dtypes = [Dtype::Fp64, Dtype::Fp32, Dtype::Bf16, Dtype::Fp8, Dtype::Int8, Dtype::Fp4, Dtype::Int4];
        Processor {
            rates: dtypes.into_iter().map(|dtype| (dtype, rate)).collect(),
            memory: spec.memory.achievable() * sockets,
            launch: Duration::ZERO,
        }
    }

    /// Launch plus the longer of arithmetic and traffic.
    pub(super) fn cost(&self, kernel: &Kernel) -> Cost {
        let flops = kernel.flops();
        let compute = if flops == Flops::ZERO { Duration::ZERO } else { flops / self.rates[&kernel.operands()] };
        let memory = kernel.bytes() / self.memory;
        let longer = compute.max(memory);
        let bound = match longer {
            _ if self.launch > longer => Bound::Launch,
            _ if compute > memory => Bound::Tensor,
            _ => Bound::Memory,
        };
        Cost { time: self.launch + longer, bound }
    }
}

/// The roofline of every processor of a cluster. What else goes on makes no difference to it.
pub struct Roofline {
    processors: BTreeMap<DeviceId, Processor>,
}

impl Roofline {
    /// A model of the given processors.
    pub fn new(processors: BTreeMap<DeviceId, Processor>) -> Roofline {
        Roofline { processors }
    }
}

impl KernelModel for Roofline {
    fn cost_under(&mut self, _: &Conditions, device: DeviceId, kernel: &Kernel) -> Cost {
        let processor = self.processors.get(&device);
        processor.unwrap_or_else(|| panic!("{device} runs {kernel}, but is no processor")).cost(kernel)
    }
}

/// Kernels that take no time: communication alone decides, as in the bounds of arXiv 2505.09343 section 2.3.2.
pub struct Instant;

impl KernelModel for Instant {
    fn cost_under(&mut self, _: &Conditions, _: DeviceId, _: &Kernel) -> Cost {
        Cost { time: Duration::ZERO, bound: Bound::Nothing }
    }
}
