//! Kernels bounded by arithmetic or by memory traffic, whichever takes longer (the roofline of Williams et al., 2009).

use super::{Capacity, Conditions, Cost, Course, KernelModel, Stretch, Taken};
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
    /// Equal parts of its arithmetic that kernels can have: SMs, or cores.
    parts: u64,
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
            parts: spec.sms.wide(),
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
            parts: spec.cores.wide() * sockets,
        }
    }

    /// Launch plus the longer of arithmetic and traffic, at what other kernels leave. It occupies as many parts as keep arithmetic and
    /// traffic equally long, so that kernels of the two kinds may overlap as well as they ever can.
    pub(super) fn course(&self, beside: Taken, kernel: &Kernel) -> Course {
        let flops = kernel.flops();
        let alone = if flops == Flops::ZERO { Duration::ZERO } else { flops / self.rates[&kernel.operands()] };
        let free = self.parts.saturating_sub(beside.sms).max(1);
        let compute =
            Duration::from_ps((u128::from(alone.as_ps()) * u128::from(self.parts)).div_ceil(u128::from(free)) as u64);
        let left = self.memory.get().saturating_sub(beside.memory.get()).max(1);
        let memory = kernel.bytes() / BytesPerSec::new(left);
        let longer = compute.max(memory);
        let bound = match longer {
            _ if self.launch > longer => Bound::Launch,
            _ if compute > memory => Bound::Tensor,
            _ => Bound::Memory,
        };
        let cost = Cost { time: self.launch + longer, bound };
        let part = |used: Duration, all: u64| {
            if longer == Duration::ZERO { 0 } else { (used / longer * all as f64).ceil() as u64 }
        };
        let last = Stretch { time: longer, sms: part(compute, free), memory: BytesPerSec::new(part(memory, left)) };
        Course { cost, launch: self.launch, stretches: [Stretch::default(), Stretch::default(), last] }
    }

    pub(super) fn capacity(&self) -> Capacity {
        Capacity { sms: self.parts, memory: self.memory }
    }
}

/// The roofline of every processor of a cluster. What communication takes makes no difference to it.
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
    fn course_under(&mut self, conditions: &Conditions, device: DeviceId, kernel: &Kernel) -> Course {
        let processor = self.processors.get(&device);
        let processor = processor.unwrap_or_else(|| panic!("{device} runs {kernel}, but is no processor"));
        processor.course(conditions.beside, kernel)
    }

    fn capacity_beside(&self, _: &Taken, device: DeviceId) -> Capacity {
        self.processors.get(&device).unwrap_or_else(|| panic!("{device} is no processor")).capacity()
    }
}

/// Kernels that take no time: communication alone decides, as in the bounds of arXiv 2505.09343 section 2.3.2.
pub struct Instant;

impl KernelModel for Instant {
    fn course_under(&mut self, _: &Conditions, _: DeviceId, _: &Kernel) -> Course {
        Course::NOTHING
    }

    fn capacity_beside(&self, _: &Taken, _: DeviceId) -> Capacity {
        Capacity { sms: u64::MAX, memory: BytesPerSec::new(u64::MAX) }
    }
}
