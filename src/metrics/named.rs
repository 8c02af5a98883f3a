//! Metrics as a flat list: every figure with a stable name, its unit and its definition.
//!
//! JSON output, reproductions, sweeps and checks all name figures by these names.

use super::{Breakdown, CollectiveMetrics, DecodeMetrics, MoeExchangeMetrics, PrefillMetrics, ServingMetrics};
use crate::units::Duration;

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Stable name.
    pub name: &'static str,
    /// Value in `unit`.
    pub value: f64,
    /// Unit; empty for a plain ratio.
    pub unit: &'static str,
    /// What it is, with its formula.
    pub definition: &'static str,
}

pub(super) const fn metric(name: &'static str, value: f64, unit: &'static str, definition: &'static str) -> Metric {
    Metric { name, value, unit, definition }
}

fn ms(time: Duration) -> f64 {
    time.as_secs() * 1e3
}

fn us(time: Duration) -> f64 {
    time.as_secs() * 1e6
}

/// The figures of a decode step.
pub fn named_decode(m: &DecodeMetrics) -> Vec<Metric> {
    let mut named = vec![
        metric("step", ms(m.step), "ms", "start of the decode step to its last sampled token"),
        metric("tpot", ms(m.tpot), "ms", "time per output token: step / tokens that a request gains in it"),
        metric("tokens_per_s_per_user", m.tokens_per_sec_per_user, "tokens/s", "1 / tpot"),
        metric("tokens_per_s_per_gpu", m.tokens_per_sec_per_gpu, "tokens/s", "requests per GPU / tpot"),
        metric("tokens_per_s_per_node", m.tokens_per_sec_per_node, "tokens/s", "tokens_per_s_per_gpu * GPUs of a node"),
        metric("tflops_per_gpu", m.flops_per_sec / 1e12, "TFLOP/s", "work of all kernels of a GPU / step"),
    ];
    let dispatch = "dispatch + combine of one micro-batch in the first MoE layer: time on the GPU's port";
    named.extend(m.ep_step.map(|time| metric("ep_step", us(time), "us", dispatch)));
    let layer = "dispatch + combine of all micro-batches in the first MoE layer: time on the GPU's port";
    named.extend(m.ep_layer.map(|time| metric("ep_layer", us(time), "us", layer)));
    let usd = "rent of a GPU / its tokens per second, per million output tokens";
    named.extend(m.usd_per_million_tokens.map(|value| metric("usd_per_million_tokens", value, "USD", usd)));
    named.extend(named_breakdown(&m.breakdown));
    named
}

/// The figures of a prefill step.
pub fn named_prefill(m: &PrefillMetrics) -> Vec<Metric> {
    let step = "start of the prefill step to the first token of its last prompt: what the step adds to TTFT";
    let input = "the same with positions that are found in the cache";
    let mut named = vec![
        metric("step", ms(m.step), "ms", step),
        metric("tokens_per_s_per_gpu", m.tokens_per_sec_per_gpu, "tokens/s", "computed positions per GPU / step"),
        metric("tokens_per_s_per_node", m.tokens_per_sec_per_node, "tokens/s", "computed positions per node / step"),
        metric("input_tokens_per_s_per_node", m.input_tokens_per_sec_per_node, "tokens/s", input),
        metric("tflops_per_gpu", m.flops_per_sec / 1e12, "TFLOP/s", "work of all kernels of a GPU / step"),
    ];
    let usd = "rent of a GPU / its computed positions per second, per million";
    named.extend(m.usd_per_million_tokens.map(|value| metric("usd_per_million_tokens", value, "USD", usd)));
    named.extend(named_breakdown(&m.breakdown));
    named
}

/// The figures of serving over time.
pub fn named_serving(m: &ServingMetrics) -> Vec<Metric> {
    let facts = &m.facts;
    let per_gpu = |rate: f64, gpus: u64| rate / gpus.max(1) as f64;
    let node = facts.gpus_per_node as f64;
    let out = "output tokens per second of all GPUs, while the middle three fifths of the requests are answered";
    let input = "positions of prompts per second, those found in the cache included, in the same time";
    let prompt_gpus = if facts.prefill_gpus > 0 { facts.prefill_gpus } else { facts.decode_gpus };
    let mut named = vec![
        metric("requests", m.requests as f64, "", "requests that were answered"),
        metric("ttft", ms(m.ttft.mean), "ms", "time to first token from arrival, mean"),
        metric("ttft_p50", ms(m.ttft.median), "ms", "the same, median"),
        metric("ttft_p99", ms(m.ttft.p99), "ms", "the same, 99th percentile"),
        metric("ttft_admitted", ms(m.ttft_admitted.mean), "ms", "time to first token from admission to a step, mean"),
        metric("tpot", ms(m.tpot.mean), "ms", "(last token - first token) / (tokens - 1), mean over requests"),
        metric("tpot_p99", ms(m.tpot.p99), "ms", "the same, 99th percentile"),
        metric("itl_p50", ms(m.itl.median), "ms", "time between decode steps, median over tokens"),
        metric("itl_p99", ms(m.itl.p99), "ms", "the same, 99th percentile"),
        metric("tokens_per_s_per_user", m.tokens_per_sec_per_user, "tokens/s", "1 / tpot"),
        metric("output_tokens_per_s", m.output_per_sec, "tokens/s", out),
        metric(
            "output_tokens_per_s_per_gpu",
            per_gpu(m.output_per_sec, facts.decode_gpus),
            "tokens/s",
            "the same per GPU that decodes",
        ),
        metric(
            "output_tokens_per_s_per_node",
            per_gpu(m.output_per_sec, facts.decode_gpus) * node,
            "tokens/s",
            "the same per node that decodes",
        ),
        metric("input_tokens_per_s", m.input_per_sec, "tokens/s", input),
        metric(
            "input_tokens_per_s_per_node",
            per_gpu(m.input_per_sec, prompt_gpus) * node,
            "tokens/s",
            "the same per node that computes prompts",
        ),
        metric(
            "decode_utilisation",
            m.decode_utilisation,
            "",
            "part of the time that a decoding instance is in a step",
        ),
        metric("prefill_utilisation", m.prefill_utilisation, "", "the same of one that computes prompts"),
        metric("interpolation_error", facts.steps.1, "", "largest relative error of step times between simulated ones"),
    ];
    let prefilled = "from arrival until the pool that computes prompts has computed it, mean";
    named.extend(m.prefilled.map(|spread| metric("prefilled", ms(spread.mean), "ms", prefilled)));
    let energy = "power of all GPUs and nodes / output_tokens_per_s";
    named.extend(m.kwh_per_million_output.map(|value| metric("kwh_per_million_output", value, "kWh", energy)));
    let usd = "GPU hours of the pool that computes prompts per million positions, those found in the cache included";
    named.extend(m.usd_per_million_input.map(|value| metric("usd_per_million_input", value, "USD", usd)));
    let usd = "GPU hours of the pool that decodes per million output tokens";
    named.extend(m.usd_per_million_output.map(|value| metric("usd_per_million_output", value, "USD", usd)));
    named
}

/// The figures of a collective.
pub fn named_collective(m: &CollectiveMetrics) -> Vec<Metric> {
    let mut named = vec![
        metric("time", us(m.time), "us", "start of the collective to its last arrival"),
        metric("algbw", m.algbw / 1e9, "GB/s", "size / time, as nccl-tests defines it"),
        metric("busbw", m.busbw / 1e9, "GB/s", "algbw * bus factor: 2(n-1)/n all-reduce, (n-1)/n others, 1 send"),
    ];
    named.extend(named_breakdown(&m.breakdown));
    named
}

/// The figures of an exchange of tokens with experts.
pub fn named_moe_exchange(m: &MoeExchangeMetrics) -> Vec<Metric> {
    let bandwidth = "bytes of the copies that the library's own test counts, over the time";
    let mut named = vec![
        metric("prepare", us(m.prepare), "us", "counting and announcing tokens, where that is a kernel of its own"),
        metric("dispatch", us(m.dispatch), "us", "start of dispatch to the last token at its expert"),
        metric("combine", us(m.combine), "us", "start of combine to the last result back"),
        metric("dispatch_bandwidth", m.dispatch_bandwidth / 1e9, "GB/s", bandwidth),
        metric("combine_bandwidth", m.combine_bandwidth / 1e9, "GB/s", bandwidth),
        metric("gpus_per_token", m.gpus_per_token, "", "GPUs that a token visits, on average over the sampled gate"),
        metric("nodes_per_token", m.nodes_per_token, "", "nodes that a token visits, on average over the sampled gate"),
    ];
    named.extend(named_breakdown(&m.breakdown));
    named
}

pub(super) fn named_breakdown(b: &Breakdown) -> Vec<Metric> {
    vec![
        metric("computing", ms(b.computing), "ms", "time during which rank 0 computes"),
        metric("communicating", ms(b.communicating), "ms", "time during which transfers of rank 0 are under way"),
        metric(
            "exposed_communication",
            ms(b.exposed_communication),
            "ms",
            "time during which transfers of rank 0 are under way and it computes nothing",
        ),
        metric("idle", ms(b.idle), "ms", "time during which rank 0 neither computes nor communicates"),
    ]
}
