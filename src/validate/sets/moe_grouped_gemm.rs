//! The routed experts of one GPU of an expert-parallel group: both products and what lies between them, FP8 with block scales.
//!
//! `num_tokens` counts tokens of all ranks together; each chooses `topk` of `num_experts` experts. `uniform` gives every expert the
//! same rows; `power_law_A` draws loads from a power law and takes the busiest rank, averaged over five draws.
//! - `*_generation_*`: the layout with a fixed room per expert, whose rooms hold 32768 rows in all. Scales of all rooms are
//!   rearranged before each product. One CUDA graph.
//! - `*_context_*`: rows of experts one after the other, padded to 128. Tokens of all ranks are scattered to experts' rows first
//!   and gathered from them last. Kernels are launched one by one from Python and the end is waited for, so that a call takes at
//!   least as long as the host needs for its launches; half of that passes before the first one.

use super::skew::busiest_rank;
use super::{Context, Measured, Point, Skip, dtype};
use crate::dtype::Dtype;
use crate::report::validation::Key;
use crate::units::{Bytes, Duration};
use crate::validate::systems::System;
use crate::workload::{GroupedGemm, Kernel, RowLayout};
use serde::Deserialize;

/// Draws of a power law that are averaged.
const DRAWS: u64 = 5;
/// Rows that all rooms of experts hold together: 128 tokens per rank times 256 experts.
const ROOM: u64 = 32_768;
/// What the host takes to launch the kernels of one call, and to see its end.
const HOST: Duration = Duration::from_ns(350_000);

#[derive(Deserialize)]
pub(super) struct Row {
    system: String,
    table: String,
    moe_dtype: String,
    num_tokens: u64,
    hidden_size: u64,
    inter_size: u64,
    topk: u64,
    num_experts: u64,
    moe_ep_size: u64,
    distribution: String,
    time_us: f64,
}

impl Row {
    fn time(&self, context: &Context) -> Result<Duration, Skip> {
        let system = context.system(&self.system)?;
        if self.moe_ep_size == 0 || !self.num_experts.is_multiple_of(self.moe_ep_size) || self.num_tokens == 0 {
            return Err(Skip::because("experts that do not divide among ranks"));
        }
        let dtype = dtype(&self.moe_dtype)?;
        let prefill = self.table.contains("context");
        if !prefill && !self.table.contains("generation") {
            return Err(Skip::because(format!("unsupported table `{}`", self.table)));
        }
        let loads = self.loads(prefill)?;
        let mut sum = Duration::ZERO;
        for rows in &loads {
            let layer = Layer { context, system, dtype, hidden: self.hidden_size, inter: self.inter_size };
            sum += if prefill {
                HOST.max(Duration::from_ps(HOST.as_ps() / 2) + layer.prefill(rows, self.num_tokens)?)
            } else {
                layer.decode(rows)?
            };
        }
        Ok(Duration::from_ps(sum.as_ps() / loads.len() as u64))
    }

    /// Rows of each expert of this GPU, for each draw.
    fn loads(&self, prefill: bool) -> Result<Vec<Vec<u64>>, Skip> {
        let local = self.num_experts / self.moe_ep_size;
        if self.distribution == "uniform" {
            let each = self.num_tokens * self.topk / self.num_experts;
            // Fewer choices than experts fall on as many experts of this rank, one each.
            let touched = if each > 0 { local } else { (self.num_tokens * self.topk / self.moe_ep_size).min(local) };
            let row = |expert| if expert < touched.max(1) { each.max(1) } else { 0 };
            return Ok(vec![(0..local).map(row).collect()]);
        }
        let exponent = self.distribution.strip_prefix("power_law_").and_then(|text| text.parse().ok());
        let Some(exponent) = exponent.filter(|&exponent: &f64| exponent > 0.0 && exponent != 1.0) else {
            return Err(Skip::because(format!("unsupported distribution `{}`", self.distribution)));
        };
        let draw = |sample| {
            let loads = busiest_rank(self.num_tokens, self.num_experts, self.topk, self.moe_ep_size, exponent, sample);
            if prefill { loads.iter().map(|rows| rows.next_multiple_of(128)).collect() } else { loads }
        };
        Ok((0..DRAWS).map(draw).collect())
    }
}

/// Where a layer runs, and its sizes.
struct Layer<'a> {
    context: &'a Context<'a>,
    system: &'a System,
    dtype: Dtype,
    hidden: u64,
    inter: u64,
}

impl Layer<'_> {
    fn product(&self, layout: RowLayout, rows: &[u64], n: u64, k: u64) -> Result<Duration, Skip> {
        if rows.iter().all(|&rows| rows == 0) {
            return Ok(Duration::ZERO);
        }
        self.context.kernel(self.system, &Kernel::GroupedGemm(GroupedGemm::new(layout, rows, n, k, self.dtype)))
    }

    /// Reads and writes rows of so many values.
    fn pass(&self, read: (u64, u64, Dtype), written: (u64, u64, Dtype)) -> Result<Duration, Skip> {
        let bytes = |(rows, columns, dtype): (u64, u64, Dtype)| Bytes::new(rows * columns * dtype.bits() / 8);
        self.context.kernel(self.system, &Kernel::Elementwise { read: bytes(read), written: bytes(written) })
    }

    fn rearrange_scales(&self, rows: u64, columns: u64) -> Result<Duration, Skip> {
        let scales = (rows, columns.div_ceil(128), Dtype::Fp32);
        self.pass(scales, scales)
    }

    fn decode(&self, rows: &[u64]) -> Result<Duration, Skip> {
        let (hidden, inter, total) = (self.hidden, self.inter, rows.iter().sum());
        let masked = |n, k| self.product(RowLayout::Masked, rows, n, k);
        Ok(self.rearrange_scales(ROOM, hidden)?
            + masked(2 * inter, hidden)?
            + self.pass((total, 2 * inter, Dtype::Bf16), (total, inter, self.dtype))?
            + self.rearrange_scales(ROOM, inter)?
            + masked(hidden, inter)?)
    }

    fn prefill(&self, rows: &[u64], tokens: u64) -> Result<Duration, Skip> {
        let (hidden, inter, total) = (self.hidden, self.inter, rows.iter().sum::<u64>());
        // Rows are taken in tiles of 128, of which each belongs to one expert: less than a tile per expert is not computed.
        let tiled: Vec<u64> = packed(rows);
        let contiguous = |n, k| self.product(RowLayout::Contiguous, &tiled, n, k);
        let (wide, narrow) = (Dtype::Bf16, self.dtype);
        Ok(self.pass((tokens, hidden, narrow), (total, hidden, narrow))?
            + self.rearrange_scales(total, hidden)?
            + contiguous(2 * inter, hidden)?
            + self.pass((total, 2 * inter, wide), (total, inter, wide))?
            + self.pass((total, inter, wide), (total, inter, narrow))?
            + self.rearrange_scales(total, inter)?
            + contiguous(hidden, inter)?
            + self.pass((total, hidden, wide), (tokens, hidden, wide))?)
    }
}

/// Rows of experts that are not padded, as whole tiles see them.
fn packed(rows: &[u64]) -> Vec<u64> {
    let total: u64 = rows.iter().sum();
    let tiles = total.div_ceil(128);
    if rows.iter().all(|&rows| rows.is_multiple_of(128)) || tiles >= rows.len() as u64 {
        return rows.to_vec();
    }
    vec![128; tiles as usize]
}

impl Measured for Row {
    const ID: &'static str = "moe_grouped_gemm";
    const TITLE: &'static str = "routed experts of one GPU under expert parallelism";
    const GROUP_BY: &'static [&'static str] = &["system", "table"];

    fn system(&self) -> &str {
        &self.system
    }

    fn key(&self) -> Key {
        vec![
            ("system", self.system.clone()),
            ("table", self.table.clone()),
            ("num_tokens", self.num_tokens.to_string()),
            ("moe_ep_size", self.moe_ep_size.to_string()),
            ("distribution", self.distribution.clone()),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        vec![Point::micros("", self.time_us, self.time(context))]
    }
}
