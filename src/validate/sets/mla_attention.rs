//! Attention of DeepSeek-V3 in one layer, as serving engines call it.
//!
//! `num_heads` counts the query heads of the GPU, `batch_size` requests, all alike. `kv_cache_dtype` is the format of the cache.
//! Times are of calls replayed from a CUDA graph: cache write, work plan and conversions are part of them.
//! - `context_mla_perf`: prefill of `isl` tokens per request, `step` is 0. On Hopper (`flash_attention`) all heads attend to
//!   the latent (576 and 512 values); elsewhere each head has keys and values of its own (192 and 128), and `trtllm_mla` joins
//!   the two parts of the queries first.
//! - `generation_mla_perf`: one token per request against `isl + step` cached ones, itself included, over the latent.
//! - `wideep_*`: the attention module with its projections in FP8, from the low-rank latents (random, but written) to the output.
//!   The cache is BF16 whatever the column says, for the engine is not asked for another. Generation is replayed from a graph,
//!   against `isl + 1` tokens; prefill is launched kernel by kernel, so that the host decides small ones.

use super::{Context, Measured, Point, Skip, dtype};
use crate::dtype::Dtype;
use crate::gpu::Conditions;
use crate::hardware::{LibrariesSpec, MlaLibrary};
use crate::report::validation::Key;
use crate::units::{Bytes, Duration};
use crate::validate::systems::System;
use crate::workload::{DecodeAttention, Gemm, Kernel, Pass, PrefillAttention};
use serde::Deserialize;

/// Dimensions of DeepSeek-V3 (arXiv 2412.19437 section 4.2).
const HIDDEN: u64 = 7168;
const QUERY_RANK: u64 = 1536;
const LATENT: u64 = 512;
const ROPE: u64 = 64;
const PER_HEAD: u64 = 128;
/// What the host needs per kernel without a graph: assumed, for an engine in Python.
const HOST_PER_KERNEL: Duration = Duration::from_ns(10_000);

#[derive(Deserialize)]
pub(super) struct Row {
    system: String,
    table: String,
    kernel_source: String,
    kv_cache_dtype: String,
    num_heads: u64,
    batch_size: u64,
    isl: u64,
    step: u64,
    time_us: f64,
}

impl Row {
    fn time(&self, context: &Context) -> Result<Duration, Skip> {
        let system = context.system(&self.system)?;
        let cache = dtype(&self.kv_cache_dtype)?;
        if self.num_heads == 0 || self.batch_size == 0 || self.isl == 0 {
            return Err(Skip::because("no attention"));
        }
        match self.table.as_str() {
            "context_mla_perf" => self.total(context, system, &self.context(cache)),
            "generation_mla_perf" => self.total(context, system, &[self.decode(self.isl + self.step, cache)]),
            "wideep_context_mla_perf" => {
                let kernels = self.prefill_module();
                let host = HOST_PER_KERNEL * kernels.len() as u64;
                Ok(self.total(context, system, &kernels)?.max(host))
            }
            "wideep_generation_mla_perf" => self.total(context, system, &self.decode_module()),
            other => Err(Skip::unknown(
                "table",
                other,
                ["context_mla_perf", "generation_mla_perf", "wideep_context_mla_perf", "wideep_generation_mla_perf"],
            )),
        }
    }

    /// The kernels one after the other, attention as the library of the row has it.
    fn total(&self, context: &Context, system: &System, kernels: &[Kernel]) -> Result<Duration, Skip> {
        let mla = match self.kernel_source.as_str() {
            "flash_attention" => Some(MlaLibrary::FlashAttention3),
            "trtllm_mla" => Some(MlaLibrary::Trtllm),
            _ => None,
        };
        let libraries = LibrariesSpec { mla, ..LibrariesSpec::default() };
        let time = |kernel| context.kernel_with(libraries, &Conditions::default(), system, kernel);
        let times: Result<Vec<Duration>, Skip> = kernels.iter().map(time).collect();
        Ok(times?.into_iter().sum())
    }

    fn tokens(&self) -> u64 {
        self.batch_size * self.isl
    }

    /// A call to the attention of a prefill.
    fn context(&self, cache: Dtype) -> Vec<Kernel> {
        let own = self.prefill(cache);
        match self.kernel_source.as_str() {
            "flash_attention" => vec![Kernel::PrefillAttention(PrefillAttention {
                key_heads: 1,
                key_dim: LATENT + ROPE,
                value_dim: LATENT,
                latent: true,
                ..own
            })],
            "trtllm_mla" => {
                let joined = pass(self.tokens(), self.num_heads * own.key_dim);
                vec![joined, Kernel::PrefillAttention(own)]
            }
            _ => vec![Kernel::PrefillAttention(own)],
        }
    }

    /// Prefill with keys and values of each head's own.
    fn prefill(&self, operands: Dtype) -> PrefillAttention {
        PrefillAttention {
            requests: self.batch_size,
            queries: self.isl,
            context: 0,
            heads: self.num_heads,
            key_heads: self.num_heads,
            key_dim: PER_HEAD + ROPE,
            value_dim: PER_HEAD,
            latent: false,
            operands,
            pass: Pass::Serving,
        }
    }

    fn decode(&self, cached: u64, cache: Dtype) -> Kernel {
        Kernel::DecodeAttention(DecodeAttention {
            requests: self.batch_size,
            queries: 1,
            context: cached,
            heads: self.num_heads,
            key_dim: LATENT + ROPE,
            value_dim: LATENT,
            cached_values: LATENT + ROPE,
            cache,
        })
    }

    /// From latents to the output, keys and values expanded per head.
    fn prefill_module(&self) -> Vec<Kernel> {
        let (tokens, heads) = (self.tokens(), self.num_heads);
        let mut kernels = latents(tokens);
        kernels.extend(projection(tokens, heads * (PER_HEAD + ROPE), QUERY_RANK));
        kernels.push(pass(tokens, heads * ROPE));
        kernels.extend(projection(tokens, heads * 2 * PER_HEAD, LATENT));
        kernels.push(pass(tokens, LATENT + ROPE));
        // Keys are put together from both their parts.
        kernels.push(pass(tokens, heads * (PER_HEAD + ROPE)));
        kernels.push(Kernel::PrefillAttention(self.prefill(Dtype::Bf16)));
        kernels.extend(projection(tokens, HIDDEN, heads * PER_HEAD));
        kernels
    }

    /// From latents to the output, absorbed (arXiv 2405.04434 section 2.1.2).
    fn decode_module(&self) -> Vec<Kernel> {
        let (tokens, heads) = (self.batch_size, self.num_heads);
        let mut kernels = latents(tokens);
        kernels.extend(projection(tokens, heads * (PER_HEAD + ROPE), QUERY_RANK));
        kernels.extend(per_head(heads, tokens, LATENT, PER_HEAD));
        kernels.push(pass(tokens, heads * ROPE));
        kernels.push(self.decode(self.isl + 1, Dtype::Bf16));
        kernels.extend(per_head(heads, tokens, PER_HEAD, LATENT));
        kernels.extend(projection(tokens, HIDDEN, heads * PER_HEAD));
        kernels
    }
}

/// Latents of queries, keys and values, and their norms.
fn latents(tokens: u64) -> Vec<Kernel> {
    vec![pass(tokens, QUERY_RANK + LATENT + ROPE), pass(tokens, QUERY_RANK), pass(tokens, LATENT)]
}

/// Quantisation to FP8 and a product.
fn projection(rows: u64, n: u64, k: u64) -> [Kernel; 2] {
    let product = Gemm { groups: 1, rows, n, k, operands: Dtype::Fp8, weights: Dtype::Fp8 };
    [quantise(rows, k), Kernel::Gemm(product)]
}

/// The same per head.
fn per_head(heads: u64, tokens: u64, n: u64, k: u64) -> [Kernel; 2] {
    let rows = heads * tokens;
    let product = Gemm { groups: heads, rows, n, k, operands: Dtype::Fp8, weights: Dtype::Fp8 };
    [quantise(rows, k), Kernel::Gemm(product)]
}

fn quantise(rows: u64, columns: u64) -> Kernel {
    Kernel::Elementwise { read: Bytes::new(2 * rows * columns), written: Bytes::new(rows * columns) }
}

/// Reads and writes BF16 values once.
fn pass(rows: u64, columns: u64) -> Kernel {
    let bytes = Bytes::new(2 * rows * columns);
    Kernel::Elementwise { read: bytes, written: bytes }
}

impl Measured for Row {
    const ID: &'static str = "mla_attention";
    const TITLE: &'static str = "attention of DeepSeek-V3 in one layer";
    const GROUP_BY: &'static [&'static str] = &["system", "table", "kv_cache_dtype"];

    fn system(&self) -> &str {
        &self.system
    }

    fn key(&self) -> Key {
        vec![
            ("system", self.system.clone()),
            ("table", self.table.clone()),
            ("kernel_source", self.kernel_source.clone()),
            ("kv_cache_dtype", self.kv_cache_dtype.clone()),
            ("num_heads", self.num_heads.to_string()),
            ("batch_size", self.batch_size.to_string()),
            ("isl", self.isl.to_string()),
            ("step", self.step.to_string()),
        ]
    }

    fn points(&self, context: &Context) -> Vec<Point> {
        vec![Point::micros("", self.time_us, self.time(context))]
    }
}
