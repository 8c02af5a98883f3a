//! DeepEP as its authors publish it: README tables of several versions, and arXiv 2505.09343, Figure 7.
//!
//! Low-latency rows give times. Normal rows give a bandwidth: copies for all GPUs that tokens visit, inside one node; copies
//! for all nodes that they visit, the own one included, over several. It is turned into the time that those bytes take.
//! Low-latency kernels used RDMA even inside a node before the version that says so. Kernels of later designs (V2, Hybrid-EP)
//! are not described and are skipped.

use super::exchange::{Shape, count, limit_nodes, per_node, run, spec};
use super::{Context, Measured, Point, Skip};
use crate::metrics::MoeExchangeMetrics;
use crate::report::validation::Key;
use crate::units::Duration;
use crate::workload::{ExchangeKernels, MoeExchangeSpec, RowFormat};
use serde::Deserialize;

/// Routed experts in the tests; the tables do not repeat them.
const EXPERTS: u32 = 256;

#[derive(Deserialize)]
pub(super) struct Row {
    version: String,
    date: String,
    kernel: String,
    gpu: String,
    tokens_per_rank: u32,
    hidden: u32,
    topk: u32,
    topk_groups: Option<u32>,
    dispatch_dtype: String,
    combine_dtype: String,
    ep_ranks: u32,
    gpus_per_node: u32,
    sm_count: Option<u32>,
    #[serde(rename = "dispatch_GBps")]
    dispatch_gbps: Option<f64>,
    #[serde(rename = "combine_GBps")]
    combine_gbps: Option<f64>,
    dispatch_us: Option<f64>,
    combine_us: Option<f64>,
}

impl Row {
    fn is_low_latency(&self) -> bool {
        self.kernel == "low_latency"
    }

    fn spec(&self, shape: Shape) -> Result<MoeExchangeSpec, Skip> {
        if self.version.contains("V2") || self.version.contains("Hybrid") {
            return Err(Skip::because("kernels of a later design"));
        }
        let row = |name: &str| match name {
            "FP8" => Ok(RowFormat::FP8),
            "BF16" => Ok(RowFormat::BF16),
            other => Err(Skip::unknown("number format", other, ["FP8", "BF16"])),
        };
        let mut spec = match self.kernel.as_str() {
            "low_latency" => spec(ExchangeKernels::LowLatency, shape)?,
            "normal" => spec(ExchangeKernels::Normal, shape)?,
            other => return Err(Skip::unknown("kernel", other, ["low_latency", "normal"])),
        };
        (spec.dispatch, spec.combine) = (row(&self.dispatch_dtype)?, row(&self.combine_dtype)?);
        if self.is_low_latency() {
            spec.scale_up = self.version.contains("NVLink");
        } else {
            limit_nodes(&mut spec, shape.nodes, self.topk_groups.unwrap_or(shape.nodes))?;
        }
        if let Some(sms) = self.sm_count {
            spec.sms = count(sms, "SMs")?;
        }
        Ok(spec)
    }

    fn exchange(&self, context: &Context) -> Result<(MoeExchangeMetrics, MoeExchangeSpec), Skip> {
        let nodes = per_node(self.ep_ranks, self.gpus_per_node)?;
        let shape = Shape {
            nodes,
            gpus_per_node: self.gpus_per_node,
            tokens: self.tokens_per_rank,
            hidden: self.hidden,
            experts: EXPERTS,
            per_token: self.topk,
        };
        let spec = self.spec(shape)?;
        Ok((run(context, self.system(), shape, spec.clone())?, spec))
    }
}

/// The point of one direction: a time as it is, or the time that a bandwidth amounts to.
fn point(
    part: &'static str,
    (micros, gbps): (Option<f64>, Option<f64>),
    found: Result<(Duration, f64), Skip>,
) -> Option<Point> {
    if let Some(micros) = micros {
        return Some(Point::micros(part, micros, found.map(|(time, _)| time)));
    }
    let gbps = gbps?;
    Some(match found {
        // The same bytes over both rates.
        Ok((time, bandwidth)) => Point::micros(part, time.as_secs() * 1e6 * bandwidth / (gbps * 1e9), Ok(time)),
        // Without bytes there is no time to compare with.
        Err(reason) => Point::micros(part, 1e3 / gbps, Err(reason)),
    })
}

impl Measured for Row {
    const ID: &'static str = "deepep_published";
    const TITLE: &'static str = "DeepEP as published";
    const GROUP_BY: &'static [&'static str] = &["kernel", "ep_ranks"];
    const WORKLOAD: Option<&'static str> = Some("moe_exchange");

    fn system(&self) -> &str {
        if self.gpu != "H800" {
            return &self.gpu;
        }
        match (self.is_low_latency(), self.version.contains("first release")) {
            // RDMA between the GPUs of a node needs a fabric in which their NICs reach each other.
            (true, _) => "h800_one_fabric",
            (false, true) => "h800_early2025",
            (false, false) => &self.gpu,
        }
    }

    fn library(&self) -> Option<&str> {
        Some(if self.is_low_latency() { "low_latency" } else { "normal" })
    }

    fn key(&self) -> Key {
        vec![
            ("version", self.version.clone()),
            ("date", self.date.clone()),
            ("kernel", self.kernel.clone()),
            ("gpu", self.gpu.clone()),
            ("ep_ranks", self.ep_ranks.to_string()),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        let (there, back) = match self.exchange(context) {
            Ok((found, _)) => {
                (Ok((found.dispatch, found.dispatch_bandwidth)), Ok((found.combine, found.combine_bandwidth)))
            }
            Err(Skip(reason)) => (Err(Skip(reason.clone())), Err(Skip(reason))),
        };
        let dispatch = point("dispatch", (self.dispatch_us, self.dispatch_gbps), there);
        let combine = point("combine", (self.combine_us, self.combine_gbps), back);
        dispatch.into_iter().chain(combine).collect()
    }
}
