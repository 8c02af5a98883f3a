//! One dense matrix multiplication: `m` rows of activations times weights of `n` outputs and `k` inputs.
//!
//! `gemm_dtype` is the format of both operands: `bfloat16`; `fp8_block`, with one scale per 128 activations and per 128 x 128
//! weights; `nvfp4`, with one scale per 16 values. The output is BF16. `time_us` is what the linear layer of an inference engine
//! takes: activations come in BF16, so that FP8 and FP4 begin with a kernel that quantises them. In
//! DeepGEMM for Blackwell, FP8 weights come with FP32 scales that are expanded and packed in each call, in four small kernels. Six layers
//! take turns in one CUDA graph, each with operands and results of its own (those of BF16 share one room for results, and quantised
//! activations another), so that small ones find their operands in L2; what was just quantised is there as well.

use super::{Context, Measured, Point, Skip, dtype};
use crate::dtype::Dtype;
use crate::engine::Residency;
use crate::hardware::{Fp8Gemm, LibrariesSpec};
use crate::report::validation::Key;
use crate::units::{Bytes, Duration};
use crate::workload::{Gemm, Kernel, Rows};
use serde::Deserialize;

/// Layers that take turns.
const LAYERS: u64 = 6;
/// Kernels that expand and pack the scales of weights.
const SCALE_KERNELS: u64 = 4;

/// Values that share a scale.
const GROUP: u64 = 128;
/// Threads that quantise a group: each loads 16 bytes.
const THREADS: u64 = 16;

/// The kernel that quantises `rows x k` activations in groups. A block takes the largest power of two of groups, 16 at most, that
/// divides all of them: with odd rows there are several times as many blocks.
fn quantise(rows: u64, k: u64) -> Kernel {
    let groups = rows * k.div_ceil(GROUP);
    let each = 1 << groups.trailing_zeros().min(4);
    let (read, written) = (Bytes::new(each * GROUP * 2), Bytes::new(each * (GROUP + 4)));
    Kernel::Rows(Rows::once(groups / each, each * THREADS, 1, read, written))
}

#[derive(Deserialize)]
pub(super) struct Row {
    system: String,
    gemm_dtype: String,
    m: u32,
    n: u32,
    k: u32,
    time_us: f64,
}

impl Row {
    fn time(&self, context: &Context) -> Result<Duration, Skip> {
        let system = context.system(&self.system)?;
        let operands = dtype(&self.gemm_dtype)?;
        if self.m == 0 || self.n == 0 || self.k == 0 {
            return Err(Skip::because("an empty matrix"));
        }
        let (rows, n, k) = (u64::from(self.m), u64::from(self.n), u64::from(self.k));
        let matrix = |rows: u64, columns: u64, dtype: Dtype| Bytes::new(rows * columns * dtype.bits() / 8);
        let quantised = operands != Dtype::Bf16;
        let wide = matrix(rows, k, Dtype::Bf16);
        // FP4 comes with a scale of 8 bits for 16 values.
        let scaled = |rows: u64, columns: u64| {
            let scales =
                if operands == Dtype::Fp4 { matrix(rows, columns.div_ceil(16), Dtype::Fp8) } else { Bytes::ZERO };
            matrix(rows, columns, operands) + scales
        };
        let (weights, results) = (scaled(n, k), matrix(rows, n, Dtype::Bf16));
        let narrow = if quantised { scaled(rows, k) } else { Bytes::ZERO };
        let round =
            if quantised { (wide + weights + results) * LAYERS + narrow } else { (wide + weights) * LAYERS + results };
        let mut caches = Residency::new(Some(round));
        let cast = match operands {
            Dtype::Fp8 => Some(quantise(rows, k)),
            _ if quantised => Some(Kernel::Elementwise { read: wide, written: narrow }),
            _ => None,
        };
        let product = Kernel::Gemm(Gemm { groups: 1, rows, n, k, operands, weights: operands });
        let mut time = Duration::ZERO;
        let mut written = None;
        for kernel in cast.into_iter().chain([product]) {
            time += context.kernel_under(&caches.conditions(written), system, &kernel)?;
            written = Some(caches.begin(&kernel));
        }
        let library = LibrariesSpec::default().or(system.gpu.libraries).fp8_gemm;
        if operands == Dtype::Fp8 && library == Fp8Gemm::DeepgemmSm100 {
            let scales = matrix(n, k.div_ceil(128), Dtype::Fp32);
            let kernel = Kernel::Elementwise { read: scales, written: scales };
            time += context.kernel_under(&caches.conditions(None), system, &kernel)? * SCALE_KERNELS;
        }
        Ok(time)
    }
}

impl Measured for Row {
    const ID: &'static str = "gemm";
    const TITLE: &'static str = "one dense matrix multiplication";
    const GROUP_BY: &'static [&'static str] = &["system", "gemm_dtype"];

    fn system(&self) -> &str {
        &self.system
    }

    fn key(&self) -> Key {
        vec![
            ("system", self.system.clone()),
            ("gemm_dtype", self.gemm_dtype.clone()),
            ("m", self.m.to_string()),
            ("n", self.n.to_string()),
            ("k", self.k.to_string()),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        vec![Point::micros("", self.time_us, self.time(context))]
    }
}
