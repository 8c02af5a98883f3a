//! Kernels as thread blocks on streaming multiprocessors: the cycle-level model.
//!
//! A kernel becomes a grid of blocks (`grid`), each a few loops of equal steps; which tiles it is cut into is the kernel
//! library's choice (`library`). Simulating equal blocks together makes a kernel cost microseconds, and what was simulated once
//! is remembered. This module knows kernels and one GPU at a time, never models, schedules or the network.

mod attention;
mod elementwise;
mod gemm;
mod grid;
mod library;
mod machine;
#[cfg(test)]
mod tests;

pub use attention::Attention;
pub use machine::{Machine, Room};

use super::course::Part;
use super::{Capacity, Conditions, Cost, Course, KernelModel, Processor, Taken, picoseconds};
use crate::fingerprint::Fingerprint;
use crate::id::DeviceId;
use crate::store::{Home, Keep, Store};
use crate::timeline::Bound;
use crate::workload::{Gemm, GroupedGemm, Kernel, RowLayout};
use gemm::Product;
use grid::{Class, Limit, run_in};
use library::Layout;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What simulating a kernel found.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Timing {
    /// Seconds before the first block is placed.
    launch: f64,
    /// Seconds before the first block and after the last: launch, first latency, reductions.
    fixed: f64,
    /// Seconds of the blocks.
    blocks: f64,
    /// What most of those went to.
    limit: Limit,
    /// The blocks while all SMs have one.
    rounds: Part,
    /// The blocks afterwards.
    last: Part,
}

impl Timing {
    /// A launch, `first` seconds until what is loaded first has come, `classes` of blocks, and `rest` seconds.
    fn of(machine: &Machine, classes: &[Class], first: f64, rest: f64) -> Timing {
        let spent = run_in(machine, classes, machine.left);
        Timing {
            launch: machine.launch,
            fixed: machine.launch + first + rest,
            blocks: spent.seconds,
            limit: spent.limit(machine.left),
            rounds: spent.rounds,
            last: spent.last,
        }
    }

    fn course(&self) -> Course {
        let seconds = self.fixed + self.blocks;
        let bound = match self.limit {
            _ if self.fixed > self.blocks => Bound::Launch,
            Limit::Tensor => Bound::Tensor,
            Limit::Promotion => Bound::Promotion,
            Limit::Cuda => Bound::Cuda,
            Limit::L2 => Bound::L2,
            Limit::Hbm => Bound::Memory,
            Limit::Start => Bound::Launch,
            Limit::Tail => Bound::Tail,
        };
        Course::of(
            Cost { time: picoseconds(seconds), bound },
            (self.launch, self.fixed - self.launch),
            &self.rounds,
            &self.last,
        )
    }
}

/// What `kernel` costs on `machine`.
pub fn simulate(machine: &Machine, kernel: &Kernel) -> Cost {
    course(machine, kernel).cost
}

/// How `kernel` runs on `machine`.
pub fn course(machine: &Machine, kernel: &Kernel) -> Course {
    match kernel {
        Kernel::Gemm(gemm) => multiply(machine, &dense(machine, gemm), Layout::Even),
        Kernel::WeightGradient(gemm) => {
            let product = Product { result_bytes: 4.0, accumulates: true, ..dense(machine, gemm) };
            multiply(machine, &product, Layout::Even)
        }
        Kernel::GroupedGemm(gemm) => {
            let product = Product {
                groups: gemm.touched,
                rows: gemm.rows,
                most: gemm.most,
                n: gemm.n,
                k: gemm.k,
                operands: machine.runs_as(gemm.operands),
                weight_bits: gemm.weights.bits(),
                result_bytes: 2.0,
                accumulates: false,
            };
            let GroupedGemm { groups, tiles_of_16, tiles_of_64, tiles_of_128, .. } = *gemm;
            let layout = match gemm.layout {
                RowLayout::Contiguous => Layout::Contiguous { tiles_of_128 },
                RowLayout::Masked => Layout::Masked { groups, tiles_of_64, tiles_of_128 },
                RowLayout::Indexed => Layout::Indexed { tiles_of_16, tiles_of_64, tiles_of_128 },
            };
            multiply(machine, &product, layout)
        }
        Kernel::DecodeAttention(_) | Kernel::PrefillAttention(_) => {
            let known = machine.attention.as_ref().map(|attention| attention.left_by(machine));
            let known = known.and_then(|attention| attention.course(kernel));
            known.unwrap_or_else(|| machine.roofline.course(machine.held(), kernel))
        }
        Kernel::Rows(rows) => elementwise::rows(machine, rows).course(),
        Kernel::Elementwise { read, written } => elementwise::pass(machine, *read, *written).course(),
    }
}

fn dense(machine: &Machine, gemm: &Gemm) -> Product {
    Product {
        groups: gemm.groups,
        rows: gemm.rows,
        most: gemm.rows.div_ceil(gemm.groups),
        n: gemm.n,
        k: gemm.k,
        operands: machine.runs_as(gemm.operands),
        weight_bits: gemm.weights.bits(),
        result_bytes: 2.0,
        accumulates: false,
    }
}

fn multiply(machine: &Machine, product: &Product, layout: Layout) -> Course {
    let launch =
        if library::launches_early(machine, product, layout) { machine.dependent_launch } else { machine.launch };
    let tiling = library::tiling(machine, product, layout);
    let (class, rest) = gemm::blocks(machine, product, tiling, layout.row_tiles(product, tiling.rows));
    // Every block looks up the rows of one group after the other to find its tiles.
    let search = match layout {
        Layout::Masked { groups, .. } => groups as f64 * machine.sm.l2_latency.as_secs(),
        Layout::Even | Layout::Contiguous { .. } | Layout::Indexed { .. } => 0.0,
    };
    let mut timing = Timing::of(machine, &[class], machine.latency, rest + search);
    (timing.launch, timing.fixed) = (launch, timing.fixed - machine.launch + launch);
    let limited = machine.under_power(timing.blocks, product.operations(), product.operands);
    if limited > 1.5 * timing.blocks {
        timing.limit = Limit::Tensor;
    }
    timing.blocks = limited;
    timing.course()
}

/// The cycle-level model of the GPUs of a cluster; CPUs stay with the roofline.
pub struct Tile {
    machine: Machine,
    others: BTreeMap<DeviceId, Processor>,
    known: Courses,
    /// Where what is known goes back to.
    home: Option<Home<Fingerprint, Courses>>,
}

/// Kernels that were simulated, of one GPU with its libraries.
#[derive(Clone, Debug, Default)]
pub struct Courses(BTreeMap<(Conditions, Kernel), Course>);

impl Keep for Courses {
    fn bytes(&self) -> usize {
        self.0.len() * size_of::<((Conditions, Kernel), Course)>()
    }
}

/// Kernels that were simulated, by a name for the GPU and its libraries.
pub type CourseStore = Store<Fingerprint, Courses>;

/// Memory that kept kernels may take, in bytes.
const BYTES_MAX: usize = 64 << 20;

/// An empty store.
pub fn course_store() -> Arc<CourseStore> {
    Arc::new(Store::new(BYTES_MAX))
}

impl Tile {
    /// A cluster whose GPUs are all `machine`, beside the processors `others`.
    pub fn new(machine: Machine, others: BTreeMap<DeviceId, Processor>) -> Tile {
        Tile { machine, others, known: Courses::default(), home: None }
    }

    /// The same with what `store` knows of such a machine, whose `name` no other one has. It goes back there at the end.
    #[must_use]
    pub fn stored(mut self, name: Fingerprint, store: &Arc<CourseStore>) -> Tile {
        let home = Home::of(store, name);
        self.known = home.take().unwrap_or_default();
        self.home = Some(home);
        self
    }
}

impl Drop for Tile {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.put(std::mem::take(&mut self.known));
        }
    }
}

impl KernelModel for Tile {
    fn course_under(&mut self, conditions: &Conditions, device: DeviceId, kernel: &Kernel) -> Course {
        if let Some(processor) = self.others.get(&device) {
            return processor.course(conditions.beside, kernel);
        }
        let Tile { machine, known, .. } = self;
        *known.0.entry((*conditions, *kernel)).or_insert_with(|| course(&machine.under(conditions), kernel))
    }

    fn capacity_beside(&self, taken: &Taken, device: DeviceId) -> Capacity {
        let conditions = Conditions { taken: *taken, ..Conditions::default() };
        self.others.get(&device).map_or_else(|| self.machine.under(&conditions).capacity(), Processor::capacity)
    }
}
