//! What the metrics of collectives and exchanges with experts are.

use super::{Entry, MetricDef, us};
use crate::metrics::{Better, CollectiveMetrics, MoeExchangeMetrics};

/// Metrics of a collective.
pub(super) static COLLECTIVE: &[Entry<CollectiveMetrics>] = &[
    Entry {
        def: MetricDef {
            name: "time",
            of: "collective",
            unit: "us",
            better: Better::Lower,
            definition: "Duration of a collective: from its start to its last arrival.",
            formula: "end of the timeline - 0",
            source: "nccl-tests, doc/PERFORMANCE.md",
            hint: "For small sizes it is latency and software, for large ones bandwidth.",
        },
        value: |m| Some(us(m.time)),
    },
    Entry {
        def: MetricDef {
            name: "algbw",
            of: "collective",
            unit: "GB/s",
            better: Better::Higher,
            definition: "Algorithm bandwidth of a collective.",
            formula: "size / time; what counts as size is as in nccl-tests",
            source: "nccl-tests, doc/PERFORMANCE.md",
            hint: "Depends on the number of ranks; compare busbw with hardware instead.",
        },
        value: |m| Some(m.algbw / 1e9),
    },
    Entry {
        def: MetricDef {
            name: "busbw",
            of: "collective",
            unit: "GB/s",
            better: Better::Higher,
            definition: "Bus bandwidth of a collective: algbw times the factor that makes it comparable with the speed of a link.",
            formula: "algbw * 2(n-1)/n for all-reduce, * (n-1)/n for all-gather, reduce-scatter and all-to-all, * 1 for a send",
            source: "nccl-tests, doc/PERFORMANCE.md",
            hint: "Above the speed of a link only where switches reduce.",
        },
        value: |m| Some(m.busbw / 1e9),
    },
];

/// Metrics of an exchange of tokens with experts.
pub(super) static MOE_EXCHANGE: &[Entry<MoeExchangeMetrics>] = &[
    Entry {
        def: MetricDef {
            name: "prepare",
            of: "moe_exchange",
            unit: "us",
            better: Better::Lower,
            definition: "Time to count tokens by destination and to announce the counts, before the dispatch of an exchange.",
            formula: "end of the last operation of the gate - 0; 0 where counting is part of dispatch",
            source: "DeepEP README: normal kernels",
            hint: "Low-latency kernels have none.",
        },
        value: |m| Some(us(m.prepare)),
    },
    Entry {
        def: MetricDef {
            name: "dispatch",
            of: "moe_exchange",
            unit: "us",
            better: Better::Lower,
            definition: "Time of a dispatch: from the end of prepare to the last token at its expert.",
            formula: "end of the last operation of dispatch - end of prepare",
            source: "DeepEP README",
            hint: "With FP8 tokens it carries about half the bytes of a combine.",
        },
        value: |m| Some(us(m.dispatch)),
    },
    Entry {
        def: MetricDef {
            name: "combine",
            of: "moe_exchange",
            unit: "us",
            better: Better::Lower,
            definition: "Time of a combine: from the end of dispatch to the last result back at its GPU.",
            formula: "end of the last operation of combine - end of dispatch",
            source: "DeepEP README",
            hint: "Its tokens are BF16 unless the precision says otherwise.",
        },
        value: |m| Some(us(m.combine)),
    },
    Entry {
        def: MetricDef {
            name: "dispatch_bandwidth",
            of: "moe_exchange",
            unit: "GB/s",
            better: Better::Higher,
            definition: "Bandwidth of a dispatch as the test scripts of its library print it, copies that stay at home counted too.",
            formula: "tokens * copies per token * bytes of a copy / dispatch; copies: one per expert (low-latency kernels), one per node visited or, in one node, per GPU (normal kernels)",
            source: "DeepEP README; tests/test_low_latency.py and tests/test_internode.py count so",
            hint: "Copies that stay at home use no NIC, so that it may exceed the speed of one.",
        },
        value: |m| Some(m.dispatch_bandwidth / 1e9),
    },
    Entry {
        def: MetricDef {
            name: "combine_bandwidth",
            of: "moe_exchange",
            unit: "GB/s",
            better: Better::Higher,
            definition: "Bandwidth of a combine as the test scripts of its library print it, copies that stay at home counted too.",
            formula: "tokens * copies per token * bytes of a copy / combine; copies: one per expert (low-latency kernels), one per node visited or, in one node, per GPU (normal kernels)",
            source: "DeepEP README; tests/test_low_latency.py and tests/test_internode.py count so",
            hint: "Copies that stay at home use no NIC, so that it may exceed the speed of one.",
        },
        value: |m| Some(m.combine_bandwidth / 1e9),
    },
    Entry {
        def: MetricDef {
            name: "gpus_per_token",
            of: "moe_exchange",
            unit: "",
            better: Better::Neither("what the gate decides, which is no merit of the hardware"),
            definition: "GPUs that a token visits.",
            formula: "mean over the tokens of the sampled gate",
            source: "arXiv 2505.09343, section 4.3",
            hint: "At most the experts per token; fewer where experts share a GPU.",
        },
        value: |m| Some(m.gpus_per_token),
    },
    Entry {
        def: MetricDef {
            name: "nodes_per_token",
            of: "moe_exchange",
            unit: "",
            better: Better::Neither("what the gate decides, which is no merit of the hardware"),
            definition: "Nodes that a token visits.",
            formula: "mean over the tokens of the sampled gate",
            source: "arXiv 2505.09343, section 4.3 (node-limited routing: at most 4)",
            hint: "Each visit crosses the NIC once; inside the node the copies go over NVLink.",
        },
        value: |m| Some(m.nodes_per_token),
    },
];
