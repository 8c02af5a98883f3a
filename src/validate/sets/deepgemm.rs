//! DeepGEMM's own table: FP8 products with one scale per 128 activations and per 128 x 128 weights, on H800.
//!
//! A row is one kernel by itself, as a profiler sees it: without the gap before it. Caches are flushed between runs. `M` counts
//! rows of one group. The table gives TFLOP/s, from which the time follows: 2 x groups x M x N x K over it.

use super::{Context, Measured, Point, Skip};
use crate::dtype::Dtype;
use crate::report::validation::Key;
use crate::units::Duration;
use crate::workload::{Gemm, GroupedGemm, Kernel, RowLayout};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Row {
    kind: String,
    num_groups: Option<u64>,
    #[serde(rename = "M_or_M_per_group")]
    m: u64,
    #[serde(rename = "N")]
    n: u64,
    #[serde(rename = "K")]
    k: u64,
    #[serde(rename = "TFLOPS")]
    tflops: f64,
}

impl Row {
    fn groups(&self) -> u64 {
        self.num_groups.unwrap_or(1)
    }

    fn time(&self, context: &Context) -> Result<Duration, Skip> {
        let system = context.system(self.system())?;
        if self.m == 0 || self.n == 0 || self.k == 0 {
            return Err(Skip::because("an empty matrix"));
        }
        let (n, k, dtype) = (self.n, self.k, Dtype::Fp8);
        let rows = vec![self.m; usize::try_from(self.groups()).map_err(Skip::because)?];
        let grouped = |layout| Kernel::GroupedGemm(GroupedGemm::new(layout, &rows, n, k, dtype));
        let kernel = match self.kind.as_str() {
            "dense" => Kernel::Gemm(Gemm { groups: 1, rows: self.m, n, k, operands: dtype, weights: dtype }),
            "grouped contiguous" => grouped(RowLayout::Contiguous),
            "grouped masked" => grouped(RowLayout::Masked),
            other => return Err(Skip::unknown("kind", other, ["dense", "grouped contiguous", "grouped masked"])),
        };
        Ok(context.kernel(system, &kernel)?.saturating_sub(system.gpu.kernel_launch))
    }
}

impl Measured for Row {
    const ID: &'static str = "deepgemm";
    const TITLE: &'static str = "FP8 products of DeepGEMM on H800";
    const GROUP_BY: &'static [&'static str] = &["kind"];

    fn system(&self) -> &str {
        "h800_sxm"
    }

    fn key(&self) -> Key {
        vec![
            ("kind", self.kind.clone()),
            ("groups", self.groups().to_string()),
            ("M", self.m.to_string()),
            ("N", self.n.to_string()),
            ("K", self.k.to_string()),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        let operations = 2.0 * self.groups() as f64 * self.m as f64 * self.n as f64 * self.k as f64;
        vec![Point::micros("", operations / self.tflops / 1e6, self.time(context))]
    }
}
