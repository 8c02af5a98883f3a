//! Kernels of a recorded training step: one overlapped forward and backward chunk of a mixture-of-experts layer on H800.
//!
//! `dur_us` is one kernel as a profiler sees it, without the gap before it. Communication kernels hold 20 of the 132 SMs all the
//! time. Products are named in `op_inferred` with their shape `m x n x k`: forward and input gradients (`dgrad`) write BF16,
//! weight gradients (`wgrad`) add to FP32. Products of several experts give the rows of all of them; they are close to equal.
//! Casts read BF16 and write FP8. Weight gradients of routed down
//! projections run two at a time, each on half of the SMs; those of gate and up projections follow one another, as the starts show.
//! Attention has 128 heads of 192 values per key and 128 per value, over 4096 tokens (arXiv 2412.19437 section 4.2); its gradient
//! is a kernel beside a pass before it (results and their gradient in, cleared FP32 sums out) and one behind it (sums in, BF16
//! out). Everything else is skipped.

use super::{Context, Measured, Point, Skip};
use crate::dtype::Dtype;
use crate::gpu::{Conditions, Taken};
use crate::hardware::{Fp8Gemm, LibrariesSpec, NodeSpec};
use crate::report::validation::Key;
use crate::units::{Bytes, Duration};
use crate::workload::{Gemm, GroupedGemm, Kernel, Pass, PrefillAttention, RowLayout, Rows};
use serde::Deserialize;

/// SMs that communication kernels hold (arXiv 2412.19437 section 3.2.2).
const COMMUNICATION_SMS: u64 = 20;

#[derive(Deserialize)]
pub(super) struct Row {
    layer_idx: u64,
    phase: String,
    pos_in_phase: Option<u64>,
    op_inferred: String,
    shape_mxnxk_inferred: Option<String>,
    dur_us: f64,
}

impl Row {
    fn time(&self, context: &Context) -> Result<Duration, Skip> {
        let system = context.system(self.system())?;
        let kernel = self.kernel()?;
        let left = system.gpu.sms.wide().saturating_sub(COMMUNICATION_SMS);
        let beside = if self.op_inferred.starts_with("routed down wgrad") { left / 2 } else { 0 };
        let conditions = Conditions {
            taken: Taken {
                sms: COMMUNICATION_SMS + beside,
                memory: system.node.as_ref().map(NodeSpec::exchange_memory).unwrap_or_default(),
            },
            ..Conditions::default()
        };
        let libraries = LibrariesSpec { fp8_gemm: Some(Fp8Gemm::Cutlass128x128), ..LibrariesSpec::default() };
        Ok(context.kernel_with(libraries, &conditions, system, &kernel)?.saturating_sub(system.gpu.kernel_launch))
    }

    fn kernel(&self) -> Result<Kernel, Skip> {
        let op = self.op_inferred.as_str();
        let unsupported = || Skip::because("no product, cast or attention of known shape");
        if let Some(which) = op.strip_prefix("FlashAttention") {
            return attention(which).ok_or_else(unsupported);
        }
        if let Some(shape) = op.strip_prefix("cast") {
            if !shape.starts_with(" FP8 ") && !shape.starts_with("+transpose") {
                return Err(unsupported());
            }
            let sizes = sizes(shape.split_whitespace().find(|word| word.contains('x')).ok_or_else(unsupported)?);
            let [rows, columns] = sizes[..] else { return Err(unsupported()) };
            // One block casts a row, load by load, or transposes 128 x 128 values, which it asks for at once.
            let (blocks, values, threads, loads) = if shape.starts_with("+transpose") {
                (rows.div_ceil(128) * columns.div_ceil(128), 128 * 128, 256, 8)
            } else {
                (rows, columns, 128, 1)
            };
            let (read, written) = (Bytes::new(2 * values), Bytes::new(values));
            return Ok(Kernel::Rows(Rows::once(blocks, threads, loads, read, written)));
        }
        let shape = self.shape_mxnxk_inferred.as_deref().filter(|_| op.contains("GEMM")).ok_or_else(unsupported)?;
        let sizes = sizes(shape.split_whitespace().next().unwrap_or_default());
        let [rows, n, k] = sizes[..] else { return Err(unsupported()) };
        let dtype = if op.contains("FP8") { Dtype::Fp8 } else { Dtype::Bf16 };
        if op.contains("grouped") {
            let groups = op.split('(').nth(1).and_then(|rest| rest.split_whitespace().next());
            let groups: u64 = groups.and_then(|text| text.parse().ok()).ok_or_else(unsupported)?;
            let each: Vec<u64> = (0..groups).map(|group| (rows + group) / groups).collect();
            return Ok(Kernel::GroupedGemm(GroupedGemm::new(RowLayout::Contiguous, &each, n, k, dtype)));
        }
        let gemm = Gemm { groups: 1, rows, n, k, operands: dtype, weights: dtype };
        Ok(if op.contains("wgrad") { Kernel::WeightGradient(gemm) } else { Kernel::Gemm(gemm) })
    }
}

/// Attention, or a pass over its queries or results.
fn attention(which: &str) -> Option<Kernel> {
    let (tokens, heads, key_dim, value_dim) = (4096, 128, 192, 128);
    let bytes = |values: u64, each: u64| Bytes::new(tokens * heads * values * each);
    let kernel = |pass| {
        Kernel::PrefillAttention(PrefillAttention {
            requests: 1,
            queries: tokens,
            context: 0,
            heads,
            key_heads: heads,
            key_dim,
            value_dim,
            latent: false,
            operands: Dtype::Bf16,
            pass,
        })
    };
    match which {
        _ if which.starts_with("-3 fwd") => Some(kernel(Pass::Forward)),
        _ if which.contains("bwd main") => Some(kernel(Pass::Backward)),
        _ if which.contains("preprocess") => {
            Some(Kernel::Elementwise { read: bytes(2 * value_dim, 2), written: bytes(key_dim, 4) })
        }
        _ if which.contains("postprocess") => {
            Some(Kernel::Elementwise { read: bytes(key_dim, 4), written: bytes(key_dim, 2) })
        }
        _ => None,
    }
}

/// The numbers of `4096x1536x7168`, any of which may be approximate (`~`).
fn sizes(text: &str) -> Vec<u64> {
    text.split('x').filter_map(|size| size.trim_start_matches('~').parse().ok()).collect()
}

impl Measured for Row {
    const ID: &'static str = "h800_train_chunk_kernels";
    const TITLE: &'static str = "kernels of an overlapped training chunk on H800";
    const GROUP_BY: &'static [&'static str] = &["phase"];

    fn system(&self) -> &str {
        "h800_sxm"
    }

    fn key(&self) -> Key {
        vec![
            ("layer", self.layer_idx.to_string()),
            ("phase", self.phase.clone()),
            ("position", self.pos_in_phase.map_or_else(String::new, |place| place.to_string())),
            ("op", self.op_inferred.clone()),
            ("shape", self.shape_mxnxk_inferred.clone().unwrap_or_default()),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        vec![Point::micros("", self.dur_us, self.time(context))]
    }
}
