//! A GPU as the cycle-level model sees it: rates in plain numbers (seconds, bytes, operations), worked out once.

use super::attention::Attention;
use crate::dtype::Dtype;
use crate::gpu::{Capacity, Conditions, Processor, Taken};
use crate::hardware::{Accumulator, GpuSpec, GroupScaling, Libraries, LibrariesSpec, SmSpec};
use crate::units::BytesPerSec;

/// One GPU.
#[derive(Clone, Debug)]
pub struct Machine {
    /// SMs that kernels are made for.
    pub sms: u64,
    /// What kernels that are in flight at the same time leave of those and of the memory.
    pub left: Room,
    /// Clock cycles per second of an SM.
    pub clock: f64,
    /// Bytes per second from or to memory, all SMs together.
    pub memory: f64,
    /// Bytes per second from or to memory that one SM can use: what it has in flight over the latency (Little's law).
    pub sm_memory: f64,
    /// Bytes per second between one SM and L2.
    pub port: f64,
    /// Seconds from the request of a tile to its arrival.
    pub latency: f64,
    /// Seconds from a thread's request to its answer.
    pub load_latency: f64,
    /// Seconds between dependent kernels of a stream.
    pub launch: f64,
    /// The same where the second one is launched early.
    pub dependent_launch: f64,
    /// Bytes of the L2 cache that hold what all SMs read.
    pub l2: f64,
    /// The part of a kernel's operands that L2 still holds when it starts.
    pub warm: f64,
    /// The same of its activations.
    pub warm_activations: f64,
    /// The kernels that there are.
    pub libraries: Libraries,
    /// The SM.
    pub sm: SmSpec,
    /// Its attention kernels, where something is known of them.
    pub attention: Option<Attention>,
    /// The fast model of the same GPU.
    pub roofline: Processor,
    /// Watts that the board may draw.
    pub(super) power: f64,
    /// Peak operations per second of one SM, per format in the order of [`DTYPES`].
    peaks: [f64; DTYPES.len()],
    /// In what format products of each of these run.
    formats: [Dtype; DTYPES.len()],
}

/// What a kernel may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// SMs.
    pub sms: u64,
    /// Bytes per second from or to memory, all SMs together.
    pub memory: f64,
}

/// Part of the memory bandwidth that kernels keep at least, whatever communication asks for: controllers share fairly.
const LEFT: f64 = 0.5;

const DTYPES: [Dtype; 7] = [Dtype::Fp64, Dtype::Fp32, Dtype::Bf16, Dtype::Fp8, Dtype::Int8, Dtype::Fp4, Dtype::Int4];

impl Machine {
    /// The machine that `spec` describes, with the libraries that it names; none where it says nothing about SMs.
    pub fn new(spec: &GpuSpec) -> Option<Machine> {
        Machine::with(spec, LibrariesSpec::default().or(spec.libraries))
    }

    /// The same with `libraries`.
    pub fn with(spec: &GpuSpec, libraries: Libraries) -> Option<Machine> {
        let sm = spec.sm.clone()?;
        let sms = spec.sms.wide();
        let clock = spec.boost_clock.get() as f64;
        let latency = sm.memory_latency.as_secs();
        let memory = spec.memory.achievable().get() as f64;
        Some(Machine {
            sms,
            left: Room { sms, memory },
            clock,
            memory,
            sm_memory: sm.in_flight.get() as f64 / latency,
            port: sm.l2_per_cycle.get() as f64 * clock,
            latency,
            load_latency: sm.load_latency.as_secs(),
            launch: spec.kernel_launch.as_secs(),
            dependent_launch: spec.dependent_launch.as_secs(),
            l2: spec.l2.capacity.get() as f64 * spec.l2.shared.get(),
            warm: 0.0,
            warm_activations: 0.0,
            libraries,
            power: spec.power.as_f64(),
            peaks: DTYPES.map(|dtype| spec.tensor.peak(dtype).get() as f64 / sms as f64),
            formats: DTYPES.map(|dtype| spec.tensor.runs_as(dtype)),
            attention: Attention::with(spec, libraries.mla),
            roofline: Processor::gpu(spec),
            sm,
        })
    }

    /// The same GPU as a kernel finds it under `conditions`.
    pub fn under(&self, conditions: &Conditions) -> Machine {
        let sms = self.sms.saturating_sub(conditions.taken.sms).max(1);
        let memory = (self.memory - conditions.taken.memory.get() as f64).max(self.memory * LEFT);
        let warm = conditions.reused_after.map_or(0.0, |bytes| self.kept(bytes.get() as f64));
        let fresh = conditions.fresh_after.map_or(0.0, |bytes| self.kept(bytes.get() as f64));
        let warm_activations = warm.max(fresh);
        let answered = |after: f64, warm: f64| after * (1.0 - warm) + self.sm.l2_latency.as_secs() * warm;
        let (latency, load_latency) = (answered(self.latency, warm), answered(self.load_latency, warm_activations));
        let Taken { sms: held, memory: drawn } = conditions.beside;
        let left = Room { sms: sms.saturating_sub(held).max(1), memory: (memory - drawn.get() as f64).max(1.0) };
        Machine { sms, left, memory, warm, warm_activations, latency, load_latency, ..self.clone() }
    }

    /// What kernels in flight at the same time hold of it.
    pub(super) fn held(&self) -> Taken {
        let memory = BytesPerSec::new((self.memory - self.left.memory) as u64);
        Taken { sms: self.sms - self.left.sms, memory }
    }

    /// What it has to hand out to kernels that know nothing of each other.
    pub fn capacity(&self) -> Capacity {
        Capacity { sms: self.sms, memory: BytesPerSec::new(self.memory as u64) }
    }

    /// The part of its operands that a kernel finds in L2 when `bytes` are touched between two uses: all while that fits, none
    /// of twice as much, since what is used in turn pushes itself out.
    fn kept(&self, bytes: f64) -> f64 {
        (2.0 - bytes / self.l2).clamp(0.0, 1.0)
    }

    /// Peak operations per second of one SM.
    pub fn peak(&self, dtype: Dtype) -> f64 {
        self.peaks[index(dtype)]
    }

    /// The format in which products of `dtype` run: one that the tensor cores lack is widened first, so that everything that goes with the
    /// narrow one (promotion, scales) goes with the wide one.
    pub fn runs_as(&self, dtype: Dtype) -> Dtype {
        self.formats[index(dtype)]
    }

    /// Seconds that the tensor cores of an SM take for `[rows, depth] x [depth, columns]`, operands in time, together with a neighbour
    /// if `paired`.
    ///
    /// The smaller side pays for the rows of the smallest instruction.
    pub fn multiply(&self, dtype: Dtype, [rows, columns, depth]: [f64; 3], paired: bool) -> f64 {
        let mma = &self.sm.mma;
        let least = f64::from(mma.rows.get());
        let area = (rows.max(least) * columns).min(rows * columns.max(least));
        let alone = if paired || dtype == Dtype::Fp4 { 1.0 } else { mma.alone.get() };
        2.0 * area * depth / (self.peak(dtype) * mma.efficiency(dtype).get() * alone)
    }

    /// Values along K between promotions of `dtype`; none where the tensor cores need no help.
    ///
    /// CUDA cores have to apply the scales of groups that the tensor cores cannot, and to add up what an accumulator of
    /// 22 bits would lose (arXiv 2505.09343 section 3.1.1).
    pub fn promotion_interval(&self, dtype: Dtype) -> Option<f64> {
        let mma = &self.sm.mma;
        let scales = mma.group_scaling == GroupScaling::CudaCores;
        let narrow = mma.accumulator == Accumulator::Fp22;
        (dtype == Dtype::Fp8 && (scales || narrow)).then(|| f64::from(mma.promotion_interval.get()))
    }

    /// Seconds to promote the accumulators of a `rows x columns` tile once, over `passes` scales per row.
    pub fn promote(&self, rows: f64, columns: f64, passes: f64) -> f64 {
        let mma = &self.sm.mma;
        let additions = rows * columns * passes / (f64::from(mma.promotion_per_cycle.get()) * self.clock);
        mma.promotion_drain.as_secs() + additions
    }

    /// Seconds that a step of a main loop over tiles of so many columns costs beside arithmetic.
    pub fn step(&self, dtype: Dtype, columns: f64) -> f64 {
        let mma = &self.sm.mma;
        if dtype == Dtype::Fp4 && mma.group_scaling == GroupScaling::TensorCores {
            return mma.scale_load.as_secs() * (1.0 + columns / 256.0);
        }
        mma.step.as_secs()
    }

    /// What `seconds` of tensor work become under the power limit.
    ///
    /// The board may exceed its limit for a while; then the clock falls to what the limit sustains.
    pub fn under_power(&self, seconds: f64, operations: f64, dtype: Dtype) -> f64 {
        let energy = &self.sm.energy;
        let work = operations * energy.per_operation(dtype).as_f64();
        let sustained = self.power - energy.base.as_f64();
        let surge = sustained + energy.surge.as_f64();
        let (at_surge, at_limit) = (seconds.max(work / surge), work / sustained);
        let surge_time = energy.surge_time.as_secs();
        if at_surge <= surge_time || at_limit <= at_surge {
            return at_surge;
        }
        surge_time + (at_surge - surge_time) * at_limit / at_surge
    }
}

/// The place of a format in [`DTYPES`].
fn index(dtype: Dtype) -> usize {
    DTYPES.iter().position(|&listed| listed == dtype).expect("every format is listed")
}
