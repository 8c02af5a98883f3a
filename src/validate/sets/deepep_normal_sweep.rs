//! DeepEP's high-throughput kernels by tokens and SMs, from its own test scripts.
//!
//! `num_token` tokens on each rank, routed to the best four nodes at most; FP8 dispatch with a scale for every 128 values, BF16
//! combine. `ep_size_at_8gpu_per_node` counts all ranks. The transmit times are compared; the notify times hold the wait for
//! other ranks and are no data movement.

use super::exchange::{Shape, count, limit_nodes, per_node, run, spec};
use super::{Context, Measured, Point, Skip};
use crate::metrics::MoeExchangeMetrics;
use crate::report::validation::Key;
use crate::units::Duration;
use crate::workload::ExchangeKernels;
use serde::Deserialize;

/// Nodes that a token of the test scripts may reach.
const NODES_PER_TOKEN: u32 = 4;

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
    dispatch_sms: u32,
    dispatch_transmit_us: f64,
    combine_sms: u32,
    combine_transmit_us: f64,
}

impl Row {
    fn exchange(&self, context: &Context, sms: u32) -> Result<MoeExchangeMetrics, Skip> {
        let shape = Shape {
            nodes: self.node_num,
            gpus_per_node: per_node(self.ep_size_at_8gpu_per_node, self.node_num)?,
            tokens: self.num_token,
            hidden: self.hidden_size,
            experts: self.num_experts,
            per_token: self.num_topk,
        };
        let mut spec = spec(ExchangeKernels::Normal, shape)?;
        limit_nodes(&mut spec, self.node_num, NODES_PER_TOKEN)?;
        spec.sms = count(sms, "SMs")?;
        run(context, &self.system, shape, spec)
    }

    fn times(&self, context: &Context) -> (Result<Duration, Skip>, Result<Duration, Skip>) {
        let there = self.exchange(context, self.dispatch_sms);
        if self.combine_sms == self.dispatch_sms
            && let Ok(both) = &there
        {
            return (Ok(both.dispatch), Ok(both.combine));
        }
        let back = self.exchange(context, self.combine_sms);
        (there.map(|metrics| metrics.dispatch), back.map(|metrics| metrics.combine))
    }
}

impl Measured for Row {
    const ID: &'static str = "deepep_normal_sweep";
    const TITLE: &'static str = "high-throughput dispatch and combine of DeepEP";
    const GROUP_BY: &'static [&'static str] = &["system", "node_num", "dispatch_sms"];
    const WORKLOAD: Option<&'static str> = Some("moe_exchange");

    fn system(&self) -> &str {
        &self.system
    }

    fn library(&self) -> Option<&str> {
        Some("normal")
    }

    fn key(&self) -> Key {
        vec![
            ("system", self.system.clone()),
            ("table_version", self.table_version.clone()),
            ("node_num", self.node_num.to_string()),
            ("dispatch_sms", self.dispatch_sms.to_string()),
            ("combine_sms", self.combine_sms.to_string()),
            ("num_token", self.num_token.to_string()),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        let (dispatch, combine) = self.times(context);
        vec![
            Point::micros("dispatch", self.dispatch_transmit_us, dispatch),
            Point::micros("combine", self.combine_transmit_us, combine),
        ]
    }
}
