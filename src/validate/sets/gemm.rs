//! One dense matrix multiplication: `m` rows of activations times weights of `n` outputs and `k` inputs.
//!
//! `time_us` is the time of one kernel, launched back to back with others of its kind; weights are reused between launches.
//! `gemm_dtype` is the format of both operands: `bfloat16`; `fp8_block`, with one scale per 128 activations and per 128 x 128
//! weights; `nvfp4`, with one scale per 16 values. Quantisation of the activations is not part of the time. The output is BF16.

use super::{Context, Measured, Point, Skip, dtype};
use crate::report::validation::Key;
use crate::units::Duration;
use crate::workload::{Gemm, Kernel};
use serde::Deserialize;

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
        let (rows, n, k) = (self.m.into(), self.n.into(), self.k.into());
        let gemm = Gemm { groups: 1, rows, n, k, operands, weights: operands };
        Ok(context.kernel(system, &Kernel::Gemm(gemm)))
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
