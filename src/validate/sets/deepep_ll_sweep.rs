//! DeepEP's low-latency kernels by tokens, from its own test script.
//!
//! `num_token` tokens on each rank, routed without a limit on nodes; FP8 dispatch with a scale for every 128 values, BF16 combine.
//! `ep_size_at_8gpu_per_node` counts all ranks. NVLink is used inside a node. Times are means of one kernel.

use super::exchange::{Shape, per_node, run, spec};
use super::{Context, Measured, Point, Skip};
use crate::metrics::MoeExchangeMetrics;
use crate::report::validation::Key;
use crate::workload::ExchangeKernels;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Row {
    system: String,
    table_version: String,
    node_num: u32,
    ep_size_at_8gpu_per_node: u32,
    hidden_size: u32,
    num_token: u32,
    num_topk: u32,
    num_experts: u32,
    combine_avg_t_us: f64,
    dispatch_avg_t_us: f64,
}

impl Row {
    fn exchange(&self, context: &Context) -> Result<MoeExchangeMetrics, Skip> {
        let shape = Shape {
            nodes: self.node_num,
            gpus_per_node: per_node(self.ep_size_at_8gpu_per_node, self.node_num)?,
            tokens: self.num_token,
            hidden: self.hidden_size,
            experts: self.num_experts,
            per_token: self.num_topk,
        };
        run(context, &self.system, shape, spec(ExchangeKernels::LowLatency, shape)?)
    }
}

impl Measured for Row {
    const ID: &'static str = "deepep_ll_sweep";
    const TITLE: &'static str = "low-latency dispatch and combine of DeepEP";
    const GROUP_BY: &'static [&'static str] = &["system", "node_num", "table_version"];
    const WORKLOAD: Option<&'static str> = Some("moe_exchange");

    fn system(&self) -> &str {
        &self.system
    }

    fn library(&self) -> Option<&str> {
        Some("low_latency")
    }

    fn key(&self) -> Key {
        vec![
            ("system", self.system.clone()),
            ("table_version", self.table_version.clone()),
            ("node_num", self.node_num.to_string()),
            ("num_token", self.num_token.to_string()),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        let (dispatch, combine) = match self.exchange(context) {
            Ok(metrics) => (Ok(metrics.dispatch), Ok(metrics.combine)),
            Err(Skip(reason)) => (Err(Skip(reason.clone())), Err(Skip(reason))),
        };
        vec![
            Point::micros("dispatch", self.dispatch_avg_t_us, dispatch),
            Point::micros("combine", self.combine_avg_t_us, combine),
        ]
    }
}
