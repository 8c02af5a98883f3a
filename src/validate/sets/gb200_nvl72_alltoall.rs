//! Kernels of TensorRT-LLM that exchange tokens with experts inside one NVLink domain.
//!
//! `num_tokens` tokens on each of `moe_ep_size` ranks. Dispatch moves rows of `moe_dtype` (FP4 with a scale for every 16 values),
//! combine BF16, `combine_low_precision` rows of `moe_dtype`. `balanced` spreads the experts of a token evenly. `prepare` counts
//! and announces tokens where that is a kernel of its own.

use super::exchange::{Shape, run, spec};
use super::{Context, Measured, Point, Skip};
use crate::dtype::Dtype;
use crate::report::validation::Key;
use crate::units::{Count, Duration};
use crate::workload::{ExchangeKernels, GateChoice, RowFormat};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Row {
    device: String,
    op_name: String,
    kernel_source: String,
    moe_dtype: String,
    num_tokens: u32,
    hidden_size: u32,
    topk: u32,
    num_experts: u32,
    moe_ep_size: u32,
    distribution: String,
    time_us: f64,
}

impl Row {
    fn time(&self, context: &Context) -> Result<Duration, Skip> {
        let kernels = match self.kernel_source.as_str() {
            "NVLinkOneSided" => ExchangeKernels::OneSided,
            "NVLinkTwoSided" => ExchangeKernels::TwoSided,
            other => return Err(Skip::unknown("kernel_source", other, ["NVLinkOneSided", "NVLinkTwoSided"])),
        };
        let shape = Shape {
            nodes: 1,
            gpus_per_node: self.moe_ep_size,
            tokens: self.num_tokens,
            hidden: self.hidden_size,
            experts: self.num_experts,
            per_token: self.topk,
        };
        let mut spec = spec(kernels, shape)?;
        spec.gate = match self.distribution.as_str() {
            "balanced" => GateChoice::Balanced,
            "uniform" => GateChoice::Uniform,
            other => return Err(Skip::unknown("distribution", other, ["balanced", "uniform"])),
        };
        spec.dispatch = self.row()?;
        if self.op_name == "alltoall_combine_low_precision" {
            spec.combine = spec.dispatch;
        }
        let found = run(context, &self.device, shape, spec)?;
        match self.op_name.as_str() {
            "alltoall_prepare" => Ok(found.prepare),
            "alltoall_dispatch" => Ok(found.dispatch),
            "alltoall_combine" | "alltoall_combine_low_precision" => Ok(found.combine),
            other => Err(Skip::unknown(
                "op_name",
                other,
                ["alltoall_prepare", "alltoall_dispatch", "alltoall_combine", "alltoall_combine_low_precision"],
            )),
        }
    }

    /// A token as dispatch sends it.
    fn row(&self) -> Result<RowFormat, Skip> {
        match self.moe_dtype.as_str() {
            "bfloat16" => Ok(RowFormat::BF16),
            "fp8" => Ok(RowFormat { dtype: Dtype::Fp8, ..RowFormat::BF16 }),
            "nvfp4" => {
                Ok(RowFormat { dtype: Dtype::Fp4, scale_group: Count::new(16), scale: Dtype::Fp8, ..RowFormat::BF16 })
            }
            other => Err(Skip::unknown("number format", other, ["bfloat16", "fp8", "nvfp4"])),
        }
    }
}

impl Measured for Row {
    const ID: &'static str = "gb200_nvl72_alltoall";
    const TITLE: &'static str = "token exchange of TensorRT-LLM inside one NVLink domain";
    const GROUP_BY: &'static [&'static str] = &["kernel_source", "op_name", "moe_ep_size"];
    const WORKLOAD: Option<&'static str> = Some("moe_exchange");

    fn system(&self) -> &str {
        &self.device
    }

    fn library(&self) -> Option<&str> {
        match self.kernel_source.as_str() {
            "NVLinkOneSided" => Some("one_sided"),
            "NVLinkTwoSided" => Some("two_sided"),
            _ => None,
        }
    }

    fn key(&self) -> Key {
        vec![
            ("device", self.device.clone()),
            ("kernel_source", self.kernel_source.clone()),
            ("op_name", self.op_name.clone()),
            ("moe_dtype", self.moe_dtype.clone()),
            ("moe_ep_size", self.moe_ep_size.to_string()),
            ("num_tokens", self.num_tokens.to_string()),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        vec![Point::micros("", self.time_us, self.time(context))]
    }
}
