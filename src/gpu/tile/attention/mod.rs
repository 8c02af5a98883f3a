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
use crate::hardware::{Accumulators, GpuSpec, LibrariesSpec, MlaLibrary};
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
    library: MlaLibrary,
}

/// What the products over a cache run in, and what turns the cache into that.
struct Operands {
    /// Format of the products.
    multiplied: Dtype,
    /// Format in which keys and values come to the SM.
    loaded: Dtype,
    /// Seconds of a kernel before that converts operands.
    cast: f64,
}

impl Operands {
    /// Products in the format in which operands come.
    const fn of(dtype: Dtype) -> Operands {
        Operands { multiplied: dtype, loaded: dtype, cast: 0.0 }
    }
}

impl Attention {
    /// The kernels of `gpu` in the library that it names; none where nothing is known of how its SMs do softmax.
    pub fn new(gpu: &GpuSpec) -> Option<Attention> {
        Attention::with(gpu, LibrariesSpec::default().or(gpu.libraries).mla)
    }

    /// The same in `library`.
    pub fn with(gpu: &GpuSpec, library: MlaLibrary) -> Option<Attention> {
        Some(Attention { machine: Machine::new(gpu)?, launch: gpu.kernel_launch, library })
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
        let cached = kernel.requests * kernel.context * kernel.cached_values;
        let Operands { multiplied, loaded, cast } = self.operands(kernel.cache, wide, cached);
        let shape = Shape { stored: loaded, ..Shape::decode(kernel, multiplied) };
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
            Pass::Forward => (self.forward(kernel, kernel.operands, false), self.launch.as_secs(), 0.0),
            Pass::Serving => {
                let Operands { multiplied, loaded, cast } = self.served(kernel);
                let grid = self.forward(&PrefillAttention { operands: multiplied, ..*kernel }, loaded, true);
                (grid, machine.spec.prefill.call.as_secs(), cast)
            }
        };
        let combine = self.combine(splits, kernel.requests * kernel.queries * kernel.heads * kernel.value_dim);
        self.finish(&Kernel::PrefillAttention(*kernel), machine.run(&grid), fixed, Around { cast, combine })
    }

    /// What products over `cached` keys and values in `cache` run in: those over a wide latent exist in BF16 only in some libraries for Hopper.
    fn operands(&self, cache: Dtype, wide: bool, cached: u64) -> Operands {
        let latent = wide && self.machine.spec.accumulators == Accumulators::Registers;
        match (cache, self.library) {
            (Dtype::Fp8, MlaLibrary::FlashAttention3) if latent => {
                Operands { multiplied: Dtype::Bf16, loaded: Dtype::Bf16, cast: self.machine.cast(cached) }
            }
            (Dtype::Fp8, MlaLibrary::Flashmla) if latent => {
                Operands { multiplied: Dtype::Bf16, loaded: Dtype::Fp8, cast: 0.0 }
            }
            (Dtype::Fp8, _) => Operands::of(Dtype::Fp8),
            _ => Operands::of(Dtype::Bf16),
        }
    }

    /// The grid of a forward pass over keys and values that come in the format `stored`, and the number of parts that the keys of a
    /// request are split into, where they may be.
    fn forward(&self, kernel: &PrefillAttention, stored: Dtype, split: bool) -> (grid::Grid, u64) {
        let rows = match self.machine.spec.accumulators {
            Accumulators::Registers => registers::block_rows(kernel),
            Accumulators::TensorMemory => tensor_memory::BLOCK_ROWS,
            Accumulators::Warps => warps::BLOCK_ROWS,
        };
        let shape = Shape { stored, ..Shape::prefill(kernel, kernel.operands, rows) };
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
    fn served(&self, kernel: &PrefillAttention) -> Operands {
        let machine = &self.machine;
        let keys = kernel.requests * (kernel.context + kernel.queries);
        match (machine.spec.accumulators, kernel.operands) {
            // Keys and values are widened where they are used.
            (Accumulators::Warps, operands) => Operands::of(operands),
            (Accumulators::Registers, Dtype::Fp8) if kernel.latent => {
                self.operands(Dtype::Fp8, true, keys * kernel.key_heads * kernel.key_dim)
            }
            (_, Dtype::Fp8) => {
                let queries = kernel.requests * kernel.queries * kernel.heads * kernel.key_dim;
                Operands { cast: machine.cast(queries), ..Operands::of(Dtype::Fp8) }
            }
            (_, other) => Operands::of(other),
        }
    }

    /// Everything added up, and never less than the roofline at the rates that the main loop sustains.
    fn finish(&self, kernel: &Kernel, run: Run, fixed: f64, around: Around) -> Course {
        let Around { cast, combine } = around;
        let floor = kernel.bytes().get() as f64 / self.machine.hbm;
        let main = run.seconds.max(floor);
        let bound = match () {
            () if fixed > main + cast + combine => Bound::Launch,
            () if cast > main.max(combine) => Bound::Cast,
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
