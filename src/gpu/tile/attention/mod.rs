//! Attention kernels, block by block: prefill forward and backward, MLA decode and GQA decode.
//!
//! A block holds some query rows and walks over tiles of keys. Its time is
//! `start + rows in and out + tiles x tile`, where a tile is matrix products and the softmax between them (`registers`,
//! `tensor_memory`, `warps`: the three ways to build the kernel), with the loads of the next tile hidden behind it. Blocks share HBM
//! bandwidth and are handed to SMs as these fall free (`grid`). Causal masks make blocks of many lengths; long ones start
//! first. Decode splits the cache of a request over SMs and combines what they found. A call in a serving engine brings
//! small kernels with it, and on some architectures a kernel that converts an FP8 cache or FP8 queries.
//!
//! This module must not know any model, and no memory of a run: the same kernel costs the same every time.

mod grid;
mod machine;
mod registers;
mod shape;
mod tensor_memory;
mod warps;

use crate::dtype::Dtype;
use crate::gpu::course::Part;
use crate::gpu::{Cost, Course};
use crate::hardware::{Accumulators, GpuSpec};
use crate::timeline::Bound;
use crate::units::Duration;
use crate::workload::{DecodeAttention, Kernel, Pass, PrefillAttention};
use machine::{Machine, Run, duration};
use shape::{Backward, Shape};

/// The attention kernels of one GPU.
#[derive(Clone, Debug)]
pub struct Attention {
    machine: Machine,
    launch: Duration,
}

impl Attention {
    /// The kernels of `gpu`; none where nothing is known of how its SMs do softmax.
    pub fn new(gpu: &GpuSpec) -> Option<Attention> {
        Some(Attention { machine: Machine::new(gpu)?, launch: gpu.kernel_launch })
    }

    /// The same GPU with `sms` SMs left to attention: the others communicate.
    pub fn on(&self, sms: u64) -> Attention {
        assert!(sms > 0, "attention needs an SM to run on");
        let mut fewer = self.clone();
        (fewer.machine.sms, fewer.machine.free) = (sms, sms);
        fewer
    }

    /// The same GPU as `machine` leaves it: kernels are made for the SMs that do not communicate, and run on what communication and
    /// other kernels leave of these and of the memory.
    pub(super) fn left_by(&self, machine: &super::Machine) -> Attention {
        let mut less = self.on(machine.sms);
        less.machine.free = machine.left.sms;
        less.machine.hbm = machine.left.memory;
        less
    }

    /// How `kernel` runs; none if it is no attention.
    pub fn course(&self, kernel: &Kernel) -> Option<Course> {
        match kernel {
            Kernel::DecodeAttention(kernel) => Some(self.decode_course(kernel)),
            Kernel::PrefillAttention(kernel) => Some(self.prefill_course(kernel)),
            Kernel::Gemm(_)
            | Kernel::WeightGradient(_)
            | Kernel::GroupedGemm(_)
            | Kernel::Rows(_)
            | Kernel::Elementwise { .. } => None,
        }
    }

    /// What one decode step of a layer costs: a call to the engine's attention, with what belongs to it.
    pub fn decode(&self, kernel: &DecodeAttention) -> Cost {
        self.decode_course(kernel).cost
    }

    /// What attention of many queries per request costs, causal.
    pub fn prefill(&self, kernel: &PrefillAttention) -> Cost {
        self.prefill_course(kernel).cost
    }

    fn decode_course(&self, kernel: &DecodeAttention) -> Course {
        let machine = &self.machine;
        let wide = kernel.key_dim.max(kernel.value_dim) > 256;
        let (operands, cast) = match (machine.spec.accumulators, kernel.cache) {
            // Kernels for the wide latent exist in BF16 only: an FP8 cache is converted first, all of it.
            (Accumulators::Registers, Dtype::Fp8) if wide => {
                (Dtype::Bf16, machine.cast(kernel.requests * kernel.context * kernel.cached_values))
            }
            (_, Dtype::Fp8) => (Dtype::Fp8, 0.0),
            _ => (Dtype::Bf16, 0.0),
        };
        let shape = Shape::decode(kernel, operands);
        let (grid, splits) = match machine.spec.accumulators {
            Accumulators::Registers => registers::decode(machine, &shape),
            Accumulators::TensorMemory => tensor_memory::decode(machine, &shape),
            Accumulators::Warps => warps::decode(machine, &shape),
        };
        let combine = self.combine(splits, kernel.requests * kernel.queries * kernel.heads * kernel.value_dim);
        let fixed = machine.spec.decode.call.as_secs();
        self.finish(&Kernel::DecodeAttention(*kernel), machine.run(&grid), fixed, Around { cast, combine })
    }

    fn prefill_course(&self, kernel: &PrefillAttention) -> Course {
        let machine = &self.machine;
        let ((grid, splits), fixed, cast) = match kernel.pass {
            Pass::Backward => {
                let shape = Backward::new(kernel);
                let grid = match machine.spec.accumulators {
                    Accumulators::Registers => registers::backward(machine, &shape),
                    Accumulators::TensorMemory => tensor_memory::backward(machine, &shape),
                    Accumulators::Warps => warps::backward(machine, &shape),
                };
                ((grid, 1), self.launch.as_secs(), 0.0)
            }
            Pass::Forward => (self.forward(kernel, false), self.launch.as_secs(), 0.0),
            Pass::Serving => {
                let (operands, cast) = self.served(kernel);
                let grid = self.forward(&PrefillAttention { operands, ..*kernel }, true);
                (grid, machine.spec.prefill.call.as_secs(), cast)
            }
        };
        let combine = self.combine(splits, kernel.requests * kernel.queries * kernel.heads * kernel.value_dim);
        self.finish(&Kernel::PrefillAttention(*kernel), machine.run(&grid), fixed, Around { cast, combine })
    }

    /// The grid of a forward pass, and the number of parts that the keys of a request are split into, where they may be.
    fn forward(&self, kernel: &PrefillAttention, split: bool) -> (grid::Grid, u64) {
        let rows = match self.machine.spec.accumulators {
            Accumulators::Registers => registers::block_rows(kernel),
            Accumulators::TensorMemory => tensor_memory::BLOCK_ROWS,
            Accumulators::Warps => warps::BLOCK_ROWS,
        };
        let shape = Shape::prefill(kernel, kernel.operands, rows);
        match self.machine.spec.accumulators {
            Accumulators::Registers => registers::prefill(&self.machine, &shape, split),
            Accumulators::TensorMemory => tensor_memory::prefill(&self.machine, &shape, split),
            Accumulators::Warps => warps::prefill(&self.machine, &shape, split),
        }
    }

    /// Seconds of joining `splits` parts of `values` results: in FP32, written by the block of each, they are read again.
    fn combine(&self, splits: u64, values: u64) -> f64 {
        if splits == 1 {
            return 0.0;
        }
        self.machine.spec.combine.as_secs() + splits as f64 * values as f64 * 4.0 / self.machine.hbm
    }

    /// The operands that a serving engine multiplies when it asks for FP8, and the seconds of converting them.
    fn served(&self, kernel: &PrefillAttention) -> (Dtype, f64) {
        let machine = &self.machine;
        let keys = kernel.requests * (kernel.context + kernel.queries);
        match (machine.spec.accumulators, kernel.operands) {
            // Keys and values are widened where they are used.
            (Accumulators::Warps, operands) => (operands, 0.0),
            (Accumulators::Registers, Dtype::Fp8) if kernel.latent => {
                (Dtype::Bf16, machine.cast(keys * kernel.key_heads * kernel.key_dim))
            }
            (_, Dtype::Fp8) => {
                let queries = kernel.requests * kernel.queries * kernel.heads * kernel.key_dim;
                (Dtype::Fp8, machine.cast(queries))
            }
            (_, other) => (other, 0.0),
        }
    }

    /// Everything added up, and never less than the roofline at the rates that the main loop sustains.
    fn finish(&self, kernel: &Kernel, run: Run, fixed: f64, around: Around) -> Course {
        let Around { cast, combine } = around;
        let floor = kernel.bytes().get() as f64 / self.machine.hbm;
        let main = run.seconds.max(floor);
        let bound = match () {
            () if fixed > main + cast + combine => Bound::Launch,
            () if cast > main.max(combine) => Bound::Cuda,
            () if combine > main || floor > run.seconds => Bound::Memory,
            () => run.bound,
        };
        let around = cast + combine;
        let cost = Cost { time: duration(fixed + around + main), bound };
        // The small kernels around fill the machine.
        let stretched = if run.seconds > 0.0 { main / run.seconds } else { 1.0 };
        // Keys and values that come through L2 are read once from memory.
        let missing = (kernel.bytes().get() as f64 - run.rounds.bytes - run.last.bytes).max(0.0);
        let busy = run.rounds.sm_seconds + run.last.sm_seconds;
        let read = |part: &Part| part.bytes + if busy > 0.0 { missing * part.sm_seconds / busy } else { 0.0 };
        let rounds = Part {
            seconds: around + run.rounds.seconds * stretched,
            sm_seconds: around * self.machine.free as f64 + run.rounds.sm_seconds * stretched,
            bytes: read(&run.rounds),
        };
        let last = Part {
            seconds: run.last.seconds * stretched,
            sm_seconds: run.last.sm_seconds * stretched,
            bytes: read(&run.last),
        };
        Course::of(cost, (fixed, 0.0), &rounds, &last)
    }
}

/// Seconds of kernels before and after the main one.
struct Around {
    /// Conversion of operands.
    cast: f64,
    /// Joining what several blocks found for the same queries.
    combine: f64,
}
