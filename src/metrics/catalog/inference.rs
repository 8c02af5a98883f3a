//! What the metrics of steps of inference are.

use super::{Entry, MetricDef, OWN, RENT, ms, us};
use crate::metrics::{Better, DecodeMetrics, PrefillMetrics};

/// Metrics of a decode step.
pub(super) static DECODE: &[Entry<DecodeMetrics>] = &[
    Entry {
        def: MetricDef {
            name: "step",
            of: "decode",
            unit: "ms",
            better: Better::Lower,
            definition: "Duration of one decode step: from its start to its last sampled token.",
            formula: "end of the timeline - 0",
            source: OWN,
            hint: "A step yields one token per request, or more with multi-token prediction.",
        },
        value: |m| Some(ms(m.step)),
    },
    Entry {
        def: MetricDef {
            name: "tpot",
            of: "decode",
            unit: "ms",
            better: Better::Lower,
            definition: "Time per output token of a request while it decodes.",
            formula: "step / tokens that a request gains per step (1 without multi-token prediction)",
            source: "arXiv 2505.09343, section 2.3.2",
            hint: "What a user feels. It falls with bandwidth and with smaller batches, and says nothing of the first token.",
        },
        value: |m| Some(ms(m.tpot)),
    },
    Entry {
        def: MetricDef {
            name: "tokens_per_s_per_user",
            of: "decode",
            unit: "tokens/s",
            better: Better::Higher,
            definition: "Output tokens per second of one request.",
            formula: "1 / tpot",
            source: "arXiv 2505.09343, section 2.3.2",
            hint: "Against tokens_per_s_per_gpu it is the trade of every serving system.",
        },
        value: |m| Some(m.tokens_per_sec_per_user),
    },
    Entry {
        def: MetricDef {
            name: "tokens_per_s_per_gpu",
            of: "decode",
            unit: "tokens/s",
            better: Better::Higher,
            definition: "Output tokens per second, by GPU.",
            formula: "requests per GPU / tpot",
            source: OWN,
            hint: "What an operator is paid for. It rises with the batch until memory or links are full.",
        },
        value: |m| Some(m.tokens_per_sec_per_gpu),
    },
    Entry {
        def: MetricDef {
            name: "tokens_per_s_per_node",
            of: "decode",
            unit: "tokens/s",
            better: Better::Higher,
            definition: "Output tokens per second, by node.",
            formula: "tokens_per_s_per_gpu * GPUs of a node",
            source: OWN,
            hint: "The form in which deployments of DeepSeek-V3 were published.",
        },
        value: |m| Some(m.tokens_per_sec_per_node),
    },
    Entry {
        def: MetricDef {
            name: "tflops_per_gpu",
            of: "decode",
            unit: "TFLOP/s",
            better: Better::Higher,
            definition: "Arithmetic that a GPU does per second, averaged over the step.",
            formula: "work of all kernels of the simulated GPUs / GPUs / step",
            source: OWN,
            hint: "Far below the peak in decode, which is bound by memory and links.",
        },
        value: |m| Some(m.flops_per_sec / 1e12),
    },
    Entry {
        def: MetricDef {
            name: "ep_step",
            of: "decode",
            unit: "us",
            better: Better::Lower,
            definition: "Dispatch and combine of one micro-batch in the first layer with experts: time that they occupy the port of a GPU.",
            formula: "sum over the sends of dispatch and combine of (release of the port - start)",
            source: "arXiv 2505.09343, section 2.3.2 (120.96 us over InfiniBand at its assumptions)",
            hint: "Present for models with experts on several GPUs only.",
        },
        value: |m| m.ep_step.map(us),
    },
    Entry {
        def: MetricDef {
            name: "ep_layer",
            of: "decode",
            unit: "us",
            better: Better::Lower,
            definition: "Dispatch and combine of all micro-batches in the first layer with experts: time that they occupy the port of a GPU.",
            formula: "sum of ep_step over the micro-batches",
            source: "arXiv 2505.09343, section 2.3.2 (241.92 us over InfiniBand at its assumptions)",
            hint: "Times the number of layers it bounds a step from below where two micro-batches overlap perfectly.",
        },
        value: |m| m.ep_layer.map(us),
    },
    Entry {
        def: MetricDef {
            name: "usd_per_million_tokens",
            of: "decode",
            unit: "USD",
            better: Better::Lower,
            definition: "Rent of the GPUs per million output tokens.",
            formula: "rent per hour / 3600 / tokens_per_s_per_gpu * 1,000,000",
            source: RENT,
            hint: "Decode alone, at full load: no prefill, no idle time, no margin. Absent where a GPU has no rent.",
        },
        value: |m| m.usd_per_million_tokens,
    },
];

/// Metrics of a prefill step.
pub(super) static PREFILL: &[Entry<PrefillMetrics>] = &[
    Entry {
        def: MetricDef {
            name: "step",
            of: "prefill",
            unit: "ms",
            better: Better::Lower,
            definition: "Duration of one prefill step: from its start to the first token of its last prompt.",
            formula: "end of the timeline - 0",
            source: OWN,
            hint: "What the step adds to the time to first token of everyone in it.",
        },
        value: |m| Some(ms(m.step)),
    },
    Entry {
        def: MetricDef {
            name: "tokens_per_s_per_gpu",
            of: "prefill",
            unit: "tokens/s",
            better: Better::Higher,
            definition: "Positions of prompts computed per second, by GPU.",
            formula: "computed positions per GPU / step",
            source: OWN,
            hint: "Positions that were found in the cache do not count.",
        },
        value: |m| Some(m.tokens_per_sec_per_gpu),
    },
    Entry {
        def: MetricDef {
            name: "tokens_per_s_per_node",
            of: "prefill",
            unit: "tokens/s",
            better: Better::Higher,
            definition: "Positions of prompts computed per second, by node.",
            formula: "tokens_per_s_per_gpu * GPUs of a node",
            source: OWN,
            hint: "Published prefill throughput is often of this kind; look whether cache hits are in it.",
        },
        value: |m| Some(m.tokens_per_sec_per_node),
    },
    Entry {
        def: MetricDef {
            name: "input_tokens_per_s_per_node",
            of: "prefill",
            unit: "tokens/s",
            better: Better::Higher,
            definition: "Positions of prompts per second and node, those found in the cache included.",
            formula: "tokens_per_s_per_node * (prompt + cached) / prompt",
            source: "open-infra-index, day 6",
            hint: "The figure that DeepSeek publishes; more than half of it may be cache hits.",
        },
        value: |m| Some(m.input_tokens_per_sec_per_node),
    },
    Entry {
        def: MetricDef {
            name: "tflops_per_gpu",
            of: "prefill",
            unit: "TFLOP/s",
            better: Better::Higher,
            definition: "Work of all kernels of a GPU per second of the step.",
            formula: "sum of the kernels' operations / step",
            source: OWN,
            hint: "Against the datasheet's peak it says how much of the step is arithmetic.",
        },
        value: |m| Some(m.flops_per_sec / 1e12),
    },
    Entry {
        def: MetricDef {
            name: "usd_per_million_tokens",
            of: "prefill",
            unit: "USD",
            better: Better::Lower,
            definition: "What a million computed positions cost at the rent of the GPUs.",
            formula: "rent of a GPU per second / tokens_per_s_per_gpu * 1e6",
            source: OWN,
            hint: "GPU rent alone: no power, no CPUs, no network.",
        },
        value: |m| m.usd_per_million_tokens,
    },
];
