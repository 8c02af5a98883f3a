//! What the metrics of serving over time and of whole deployments are.

use super::{Entry, MetricDef, OWN, ms};
use crate::metrics::{Better, ServingFacts, ServingMetrics};

/// Metrics of serving over time.
pub(super) static SERVING: &[Entry<ServingMetrics>] = &[
    Entry {
        def: MetricDef {
            name: "requests",
            of: "serving",
            unit: "",
            better: Better::Neither("as many as the scenario asks for"),
            definition: "Requests that were answered.",
            formula: "count",
            source: OWN,
            hint: "Percentiles of few requests say little.",
        },
        value: |m| Some(m.requests as f64),
    },
    Entry {
        def: MetricDef {
            name: "ttft",
            of: "serving",
            unit: "ms",
            better: Better::Lower,
            definition: "Time to first token from arrival, mean over requests.",
            formula: "mean of (first token - arrival)",
            source: OWN,
            hint: "Waiting for a place in a step included; ttft_admitted leaves it out. Of two pools the decoding one sends it out, with its first step.",
        },
        value: |m| Some(ms(m.ttft.mean)),
    },
    Entry {
        def: MetricDef {
            name: "prefilled",
            of: "serving",
            unit: "ms",
            better: Better::Lower,
            definition: "From arrival until the prompt is computed, where a pool of its own does that, mean over requests.",
            formula: "mean of (end of the step that computes the last of the prompt - arrival)",
            source: OWN,
            hint: "ttft has the transfer of keys and values, and the wait for a place among decoding requests, beside it.",
        },
        value: |m| m.prefilled.map(|spread| ms(spread.mean)),
    },
    Entry {
        def: MetricDef {
            name: "ttft_p50",
            of: "serving",
            unit: "ms",
            better: Better::Lower,
            definition: "Time to first token from arrival, median.",
            formula: "median of (first token - arrival)",
            source: OWN,
            hint: "Half of the users wait no longer.",
        },
        value: |m| Some(ms(m.ttft.median)),
    },
    Entry {
        def: MetricDef {
            name: "ttft_p99",
            of: "serving",
            unit: "ms",
            better: Better::Lower,
            definition: "Time to first token from arrival, 99th percentile.",
            formula: "99th percentile of (first token - arrival)",
            source: OWN,
            hint: "It explodes first when load comes near what the pool can do.",
        },
        value: |m| Some(ms(m.ttft.p99)),
    },
    Entry {
        def: MetricDef {
            name: "ttft_admitted",
            of: "serving",
            unit: "ms",
            better: Better::Lower,
            definition: "Time to first token from admission to a step, mean.",
            formula: "mean of (first token - admission)",
            source: OWN,
            hint: "What is left when nobody queues.",
        },
        value: |m| Some(ms(m.ttft_admitted.mean)),
    },
    Entry {
        def: MetricDef {
            name: "tpot",
            of: "serving",
            unit: "ms",
            better: Better::Lower,
            definition: "Time per output token of a request, mean over requests.",
            formula: "mean of (last token - first token) / (tokens - 1)",
            source: "vLLM and SGLang benchmarks define it so",
            hint: "The first token is not in it.",
        },
        value: |m| Some(ms(m.tpot.mean)),
    },
    Entry {
        def: MetricDef {
            name: "tpot_p99",
            of: "serving",
            unit: "ms",
            better: Better::Lower,
            definition: "Time per output token of a request, 99th percentile over requests.",
            formula: "99th percentile of (last token - first token) / (tokens - 1)",
            source: OWN,
            hint: "Of requests, not of tokens: single slow steps even out within an answer.",
        },
        value: |m| Some(ms(m.tpot.p99)),
    },
    Entry {
        def: MetricDef {
            name: "itl_p50",
            of: "serving",
            unit: "ms",
            better: Better::Lower,
            definition: "Time between decode steps, median over all tokens.",
            formula: "median of the gaps between tokens",
            source: OWN,
            hint: "With multi-token prediction a step yields more than one token.",
        },
        value: |m| Some(ms(m.itl.median)),
    },
    Entry {
        def: MetricDef {
            name: "itl_p99",
            of: "serving",
            unit: "ms",
            better: Better::Lower,
            definition: "Time between decode steps, 99th percentile over all tokens.",
            formula: "99th percentile of the gaps between tokens",
            source: OWN,
            hint: "Where prompts are computed beside decoding, this is what they cost.",
        },
        value: |m| Some(ms(m.itl.p99)),
    },
    Entry {
        def: MetricDef {
            name: "tokens_per_s_per_user",
            of: "serving",
            unit: "tokens/s",
            better: Better::Higher,
            definition: "Output tokens per second of one request while it decodes.",
            formula: "1 / mean tpot",
            source: OWN,
            hint: "Against output_tokens_per_s_per_gpu it is the trade of every serving system.",
        },
        value: |m| Some(m.tokens_per_sec_per_user),
    },
    Entry {
        def: MetricDef {
            name: "output_tokens_per_s",
            of: "serving",
            unit: "tokens/s",
            better: Better::Higher,
            definition: "Output tokens per second of all GPUs.",
            formula: "tokens put out while the middle three fifths of the requests are answered / that time",
            source: OWN,
            hint: "Start and end, when batches are not full, are left out.",
        },
        value: |m| Some(m.output_per_sec),
    },
    Entry {
        def: MetricDef {
            name: "output_tokens_per_s_per_gpu",
            of: "serving",
            unit: "tokens/s",
            better: Better::Higher,
            definition: "Output tokens per second, by GPU that decodes.",
            formula: "output_tokens_per_s / GPUs of decoding instances",
            source: OWN,
            hint: "GPUs that only compute prompts do not count.",
        },
        value: |m| Some(per_gpu(m.output_per_sec, m.facts.decode_gpus)),
    },
    Entry {
        def: MetricDef {
            name: "output_tokens_per_s_per_node",
            of: "serving",
            unit: "tokens/s",
            better: Better::Higher,
            definition: "Output tokens per second, by node that decodes.",
            formula: "output_tokens_per_s_per_gpu * GPUs of a node",
            source: "open-infra-index, day 6",
            hint: "DeepSeek publishes 14.8k on average.",
        },
        value: |m| Some(per_gpu(m.output_per_sec, m.facts.decode_gpus) * m.facts.gpus_per_node as f64),
    },
    Entry {
        def: MetricDef {
            name: "input_tokens_per_s",
            of: "serving",
            unit: "tokens/s",
            better: Better::Higher,
            definition: "Positions of prompts per second, those found in the cache included.",
            formula: "positions taken in while the middle three fifths of the requests are answered / that time",
            source: OWN,
            hint: "Not all of them are computed.",
        },
        value: |m| Some(m.input_per_sec),
    },
    Entry {
        def: MetricDef {
            name: "input_tokens_per_s_per_node",
            of: "serving",
            unit: "tokens/s",
            better: Better::Higher,
            definition: "Positions of prompts per second, by node that computes prompts.",
            formula: "input_tokens_per_s / GPUs that compute prompts * GPUs of a node",
            source: "open-infra-index, day 6",
            hint: "DeepSeek publishes 73.7k on average, hits included.",
        },
        value: |m| Some(per_gpu(m.input_per_sec, prompt_gpus(&m.facts)) * m.facts.gpus_per_node as f64),
    },
    Entry {
        def: MetricDef {
            name: "decode_utilisation",
            of: "serving",
            unit: "",
            better: Better::Neither("at a given load less is headroom, and more is hardware in use"),
            definition: "Part of the time that a decoding instance is in a step.",
            formula: "time in steps / time, mean over instances",
            source: OWN,
            hint: "1 does not mean full batches: look at output_tokens_per_s.",
        },
        value: |m| Some(m.decode_utilisation),
    },
    Entry {
        def: MetricDef {
            name: "prefill_utilisation",
            of: "serving",
            unit: "",
            better: Better::Neither("at a given load less is headroom, and more is hardware in use"),
            definition: "Part of the time that an instance that computes prompts is in a step.",
            formula: "time in steps / time, mean over instances",
            source: OWN,
            hint: "Near 1, the time to first token grows with every further request; 0 without a pool of its own.",
        },
        value: |m| Some(m.prefill_utilisation),
    },
    Entry {
        def: MetricDef {
            name: "kwh_per_million_output",
            of: "serving",
            unit: "kWh",
            better: Better::Lower,
            definition: "Energy of the whole fleet per million output tokens, if every part draws the most it may.",
            formula: "(GPUs + CPUs + NICs + overhead of nodes + switches, cables and optics) at the power of their files / output_tokens_per_s * 1e6",
            source: OWN,
            hint: "A bound from above. Without cooling of the hall, storage and management.",
        },
        value: |m| m.kwh_per_million_output,
    },
    Entry {
        def: MetricDef {
            name: "interpolation_error",
            of: "serving",
            unit: "",
            better: Better::Lower,
            definition: "Largest relative error of step times between simulated ones, in the middle of those places that are used most.",
            formula: "max |interpolated / simulated - 1|",
            source: OWN,
            hint: "Steps are simulated at a few loads; this is what the interpolation between them is worth.",
        },
        value: |m| Some(m.facts.steps.1),
    },
    Entry {
        def: MetricDef {
            name: "usd_per_million_input",
            of: "serving",
            unit: "USD",
            better: Better::Lower,
            definition: "What a million positions of prompts cost, those found in the cache included.",
            formula: "GPU hours of the pool that computes prompts / positions",
            source: OWN,
            hint: "Absent where no price of a GPU hour is known, or no pool of its own computes prompts.",
        },
        value: |m| m.usd_per_million_input,
    },
    Entry {
        def: MetricDef {
            name: "usd_per_million_output",
            of: "serving",
            unit: "USD",
            better: Better::Lower,
            definition: "What a million output tokens cost.",
            formula: "GPU hours of the pool that decodes / output tokens",
            source: OWN,
            hint: "GPUs that compute prompts are paid by usd_per_million_input.",
        },
        value: |m| m.usd_per_million_output,
    },
];

/// What a search knows of a deployment before anything is simulated.
pub(super) static SEARCH: &[MetricDef] = &[
    MetricDef {
        name: "gpus",
        of: "search",
        unit: "",
        better: Better::Lower,
        definition: "GPUs of the whole deployment, all pools together.",
        formula: "nodes * GPUs of a node, over all instances of all pools",
        source: OWN,
        hint: "Known before anything is simulated.",
    },
    MetricDef {
        name: "usd_per_hour",
        of: "search",
        unit: "USD",
        better: Better::Lower,
        definition: "What the whole deployment costs per hour.",
        formula: "gpus * rent of a GPU, or its capital and energy where it is owned",
        source: OWN,
        hint: "A budget as a target of a search; no power, CPUs or network where GPUs are rented.",
    },
];

fn per_gpu(rate: f64, gpus: u64) -> f64 {
    rate / gpus.max(1) as f64
}

/// GPUs that compute prompts: those of a pool of their own, or all.
fn prompt_gpus(facts: &ServingFacts) -> u64 {
    if facts.prefill_gpus > 0 { facts.prefill_gpus } else { facts.decode_gpus }
}
