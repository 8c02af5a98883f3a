//! What each metric is, in full: for people who meet its name in an answer.

/// Everything there is to say about a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Stable name.
    pub name: &'static str,
    /// Unit; empty for a plain ratio.
    pub unit: &'static str,
    /// What it is.
    pub definition: &'static str,
    /// How it is computed.
    pub formula: &'static str,
    /// Who defines it so.
    pub source: &'static str,
    /// How to read it, and what not to take it for.
    pub hint: &'static str,
}

const OWN: &str = "this program's own; from the timeline of a run";

/// Every metric that a run can have.
pub const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        name: "step",
        unit: "ms",
        definition: "Duration of one decode step: from its start to its last sampled token.",
        formula: "end of the timeline - 0",
        source: OWN,
        hint: "A step yields one token per request, or more with multi-token prediction.",
    },
    Explanation {
        name: "tpot",
        unit: "ms",
        definition: "Time per output token of a request while it decodes.",
        formula: "step / tokens that a request gains per step (1 without multi-token prediction)",
        source: "arXiv 2505.09343, section 2.3.2",
        hint: "What a user feels. It falls with bandwidth and with smaller batches, and says nothing of the first token.",
    },
    Explanation {
        name: "tokens_per_s_per_user",
        unit: "tokens/s",
        definition: "Output tokens per second of one request.",
        formula: "1 / tpot",
        source: "arXiv 2505.09343, section 2.3.2",
        hint: "Against tokens_per_s_per_gpu it is the trade of every serving system.",
    },
    Explanation {
        name: "tokens_per_s_per_gpu",
        unit: "tokens/s",
        definition: "Output tokens per second, by GPU.",
        formula: "requests per GPU / tpot",
        source: OWN,
        hint: "What an operator is paid for. It rises with the batch until memory or links are full.",
    },
    Explanation {
        name: "tflops_per_gpu",
        unit: "TFLOP/s",
        definition: "Arithmetic that a GPU does per second, averaged over the step.",
        formula: "work of all kernels of the simulated GPUs / GPUs / step",
        source: OWN,
        hint: "Far below the peak in decode, which is bound by memory and links.",
    },
    Explanation {
        name: "ep_step",
        unit: "us",
        definition: "Dispatch and combine of one micro-batch in the first layer with experts: time that they occupy the port of a GPU.",
        formula: "sum over the sends of dispatch and combine of (release of the port - start)",
        source: "arXiv 2505.09343, section 2.3.2 (120.96 us over InfiniBand at its assumptions)",
        hint: "Present for models with experts on several GPUs only.",
    },
    Explanation {
        name: "ep_layer",
        unit: "us",
        definition: "The same for all micro-batches of that layer.",
        formula: "sum of ep_step over the micro-batches",
        source: "arXiv 2505.09343, section 2.3.2 (241.92 us over InfiniBand at its assumptions)",
        hint: "Times the number of layers it bounds a step from below where two micro-batches overlap perfectly.",
    },
    Explanation {
        name: "usd_per_million_tokens",
        unit: "USD",
        definition: "Rent of the GPUs per million output tokens.",
        formula: "rent per hour / 3600 / tokens_per_s_per_gpu * 1,000,000",
        source: "this program's own; the rent and its source are in the GPU's file",
        hint: "Decode alone, at full load: no prefill, no idle time, no margin. Absent where a GPU has no rent.",
    },
    Explanation {
        name: "time",
        unit: "us",
        definition: "Duration of a collective: from its start to its last arrival.",
        formula: "end of the timeline - 0",
        source: "nccl-tests, doc/PERFORMANCE.md",
        hint: "For small sizes it is latency and software, for large ones bandwidth.",
    },
    Explanation {
        name: "algbw",
        unit: "GB/s",
        definition: "Algorithm bandwidth of a collective.",
        formula: "size / time; what counts as size is as in nccl-tests",
        source: "nccl-tests, doc/PERFORMANCE.md",
        hint: "Depends on the number of ranks; compare busbw with hardware instead.",
    },
    Explanation {
        name: "busbw",
        unit: "GB/s",
        definition: "Bus bandwidth of a collective: algbw times the factor that makes it comparable with the speed of a link.",
        formula: "algbw * 2(n-1)/n for all-reduce, * (n-1)/n for all-gather, reduce-scatter and all-to-all, * 1 for a send",
        source: "nccl-tests, doc/PERFORMANCE.md",
        hint: "Above the speed of a link only where switches reduce.",
    },
    Explanation {
        name: "prepare",
        unit: "us",
        definition: "Time to count tokens by destination and to announce the counts, before the dispatch of an exchange.",
        formula: "end of the last operation of the gate - 0; 0 where counting is part of dispatch",
        source: "DeepEP README: normal kernels",
        hint: "Low-latency kernels have none.",
    },
    Explanation {
        name: "dispatch",
        unit: "us",
        definition: "Time of a dispatch: from the end of prepare to the last token at its expert.",
        formula: "end of the last operation of dispatch - end of prepare",
        source: "DeepEP README",
        hint: "With FP8 tokens it carries about half the bytes of a combine.",
    },
    Explanation {
        name: "combine",
        unit: "us",
        definition: "Time of a combine: from the end of dispatch to the last result back at its GPU.",
        formula: "end of the last operation of combine - end of dispatch",
        source: "DeepEP README",
        hint: "Its tokens are BF16 unless the precision says otherwise.",
    },
    Explanation {
        name: "dispatch_bandwidth",
        unit: "GB/s",
        definition: "Bandwidth of a dispatch, with the own node's copies counted.",
        formula: "bytes of one copy for each node visited (in one node: each GPU), the own one included / dispatch",
        source: "DeepEP README",
        hint: "Copies that stay at home use no NIC, so that it may exceed the speed of one.",
    },
    Explanation {
        name: "combine_bandwidth",
        unit: "GB/s",
        definition: "The same for a combine.",
        formula: "bytes of one copy for each node visited (in one node: each GPU), the own one included / combine",
        source: "DeepEP README",
        hint: "Copies that stay at home use no NIC, so that it may exceed the speed of one.",
    },
    Explanation {
        name: "gpus_per_token",
        unit: "",
        definition: "GPUs that a token visits.",
        formula: "mean over the tokens of the sampled gate",
        source: "arXiv 2505.09343, section 4.3",
        hint: "At most the experts per token; fewer where experts share a GPU.",
    },
    Explanation {
        name: "nodes_per_token",
        unit: "",
        definition: "Nodes that a token visits.",
        formula: "mean over the tokens of the sampled gate",
        source: "arXiv 2505.09343, section 4.3 (node-limited routing: at most 4)",
        hint: "Each visit crosses the NIC once; inside the node the copies go over NVLink.",
    },
    Explanation {
        name: "computing",
        unit: "ms",
        definition: "Time during which rank 0 computes.",
        formula: "length of the union of the spans on its stream",
        source: OWN,
        hint: "With communicating it may exceed the step: the two overlap.",
    },
    Explanation {
        name: "communicating",
        unit: "ms",
        definition: "Time during which transfers of rank 0 are under way.",
        formula: "length of the union of the spans of its sends and of the software that drives them",
        source: OWN,
        hint: "Only what is exposed costs anything.",
    },
    Explanation {
        name: "exposed_communication",
        unit: "ms",
        definition: "Communication that nothing hides: transfers of rank 0 are under way and it computes nothing.",
        formula: "length of (union of sends - union of kernels)",
        source: OWN,
        hint: "What two micro-batches are for: it falls towards zero where computation is long enough.",
    },
    Explanation {
        name: "idle",
        unit: "ms",
        definition: "Time during which rank 0 neither computes nor communicates.",
        formula: "step - length of the union of kernels and sends",
        source: OWN,
        hint: "Launch gaps, and waiting for others.",
    },
];
