//! What may be fitted: groups of constants of one file, the tables that decide, and what each constant is.
//!
//! Bounds and steps are in the unit that the file uses. Bounds are physical: a value outside them would mean something else.

/// Constants that are fitted together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Its name on the command line.
    pub name: &'static str,
    /// The file that holds the constants, from the root.
    pub file: &'static str,
    /// Tables that decide, with the weight of the mean loss of each.
    pub sets: &'static [(&'static str, f64)],
    /// The constants.
    pub constants: &'static [Constant],
}

/// One constant.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// Dotted place in the file.
    pub key: &'static str,
    /// What it is, physically.
    pub meaning: &'static str,
    /// Smallest value.
    pub low: f64,
    /// Largest value.
    pub high: f64,
    /// Values are multiples of it.
    pub step: f64,
}

const fn constant(key: &'static str, meaning: &'static str, low: f64, high: f64, step: f64) -> Constant {
    Constant { key, meaning, low, high, step }
}

const PRODUCTS_HOPPER: &[Constant] = &[
    constant("kernel_launch", "end of a kernel to start of the next in a graph", 0.3, 4.0, 0.01),
    constant("memory.efficiency", "part of peak HBM bandwidth that streams reach", 0.6, 0.95, 0.01),
    // More than a load of a thread takes: a block first fetches descriptors and waits at barriers.
    constant("sm.memory_latency", "first operands of a tile from HBM", 0.3, 1.2, 0.01),
    constant("sm.in_flight", "bytes that one SM has requested", 16.0, 226.0, 1.0),
    constant("sm.l2_per_cycle", "port of an SM into L2", 16.0, 128.0, 1.0),
    constant("sm.l2_latency", "one of several dependent look-ups in L2", 100.0, 600.0, 5.0),
    constant("l2.shared", "part of L2 that holds what all SMs read", 0.4, 1.0, 0.01),
    constant("sm.block_start", "between the starts of two blocks of a grid", 0.1, 4.0, 0.05),
    constant("sm.epilogue", "last results on their way, beside the traffic", 0.1, 4.0, 0.01),
    constant("sm.handover", "tensor cores idle between two tiles", 0.02, 4.0, 0.01),
    constant("sm.reduction", "meeting of blocks that split K", 0.5, 10.0, 0.01),
    constant("sm.mma.bf16", "part of the peak BF16 rate in the main loop", 0.5, 1.0, 0.01),
    constant("sm.mma.fp8", "part of the peak FP8 rate in the main loop", 0.5, 1.0, 0.01),
    constant("sm.mma.step", "barriers and issue per 128 bytes of K", 1.0, 60.0, 1.0),
    constant("sm.mma.promotion_drain", "tensor cores idle per promotion", 10.0, 300.0, 1.0),
    constant("sm.energy.bf16", "energy per BF16 operation", 0.2, 2.0, 0.01),
    constant("sm.energy.fp8", "energy per FP8 operation", 0.1, 1.0, 0.01),
];

const PRODUCTS_BLACKWELL: &[Constant] = &[
    constant("kernel_launch", "end of a kernel to start of the next in a graph", 0.4, 4.0, 0.01),
    constant("dependent_launch", "the same where the next one is launched early", 0.2, 4.0, 0.01),
    constant("memory.efficiency", "part of peak HBM bandwidth that streams reach", 0.6, 0.95, 0.01),
    constant("sm.memory_latency", "first operands of a tile from HBM", 0.3, 1.5, 0.01),
    constant("sm.in_flight", "bytes that one SM has requested", 16.0, 226.0, 1.0),
    constant("sm.l2_per_cycle", "port of an SM into L2", 16.0, 128.0, 1.0),
    constant("sm.l2_latency", "one of several dependent look-ups in L2", 100.0, 600.0, 5.0),
    constant("l2.shared", "part of L2 that holds what all SMs read", 0.4, 1.0, 0.01),
    constant("sm.block_start", "between the starts of two blocks of a grid", 0.1, 4.0, 0.05),
    constant("sm.epilogue", "tensor memory to shared memory, beside the traffic", 0.1, 4.0, 0.01),
    constant("sm.reduction", "meeting of blocks that split K", 0.5, 10.0, 0.01),
    constant("sm.mma.bf16", "part of the peak BF16 rate in the main loop", 0.5, 1.0, 0.01),
    constant("sm.mma.fp4", "part of the peak FP4 rate in the main loop", 0.3, 1.0, 0.01),
    constant("sm.mma.alone", "part of the rate that an SM without a partner keeps", 0.3, 1.0, 0.01),
    constant("sm.mma.step", "barriers and issue per 128 bytes of K", 1.0, 100.0, 1.0),
    constant("sm.mma.scale_load", "FP4 scale factors per step and 256 rows", 5.0, 300.0, 1.0),
    constant("sm.energy.bf16", "energy per BF16 operation", 0.2, 2.0, 0.01),
    constant("sm.energy.fp8", "energy per FP8 operation", 0.1, 1.0, 0.01),
    constant("sm.energy.fp4", "energy per FP4 operation", 0.05, 1.0, 0.005),
];

const ATTENTION: &[Constant] = &[
    constant("attention.score_operations", "lane operations of softmax per score", 5.0, 60.0, 1.0),
    constant("attention.cast_operations", "lane operations per value of the converting kernel", 5.0, 200.0, 1.0),
    constant("attention.prefill.call", "launches, cache write and plan of a prefill call", 2.0, 30.0, 0.1),
    constant("attention.prefill.block", "start and drain of a block of prefill", 0.1, 10.0, 0.1),
    constant("attention.decode.call", "launches, cache write and plan of a decode call", 2.0, 30.0, 0.1),
    constant("attention.decode.block", "start and drain of a block of decode", 0.1, 10.0, 0.1),
    constant("attention.combine", "joining the parts of a split cache", 0.1, 10.0, 0.1),
    constant("attention.cast_call", "launch of the conversion and what is around it", 1.0, 20.0, 0.1),
];

const COLLECTIVES: &[Constant] = &[
    constant("collectives.ll128.start", "start of the 128-byte protocol", 0.1, 10.0, 0.02),
    constant("collectives.ll128.copy_rate", "copies by its SMs", 100.0, 3000.0, 1.0),
    constant("collectives.ll.copy_rate", "copies by the SMs of the low-latency protocol", 2.0, 100.0, 0.1),
    constant("collectives.simple.start", "start of the simple protocol", 2.0, 60.0, 0.1),
    constant("collectives.simple.copy_rate", "copies by its SMs", 200.0, 6000.0, 10.0),
    constant("collectives.exchange_ll.start", "start of an exchange of small messages", 0.1, 10.0, 0.05),
    constant("collectives.exchange_ll.per_peer", "each peer of it", 0.02, 5.0, 0.01),
    constant("collectives.exchange_simple.start", "start of an exchange of large messages", 1.0, 40.0, 0.05),
    constant("collectives.exchange_simple.copy_rate", "copies by its SMs", 100.0, 3000.0, 5.0),
];

const EXCHANGE_NORMAL: &[Constant] = &[
    constant("experts.normal.dispatch_start", "notification and start of dispatch", 5.0, 100.0, 0.5),
    constant("experts.normal.combine_start", "start of combine", 5.0, 150.0, 0.5),
    constant("experts.normal.dispatch_copy_rate_per_sm", "copies by one SM in dispatch", 2.0, 60.0, 0.5),
    constant("experts.normal.combine_copy_rate_per_sm", "copies by one SM in combine", 2.0, 60.0, 0.5),
    constant("experts.normal.combine_forward_rate_per_sm", "reduction and forwarding by one SM", 2.0, 60.0, 0.5),
];

const EXCHANGE_LOW_LATENCY: &[Constant] = &[
    constant("experts.low_latency.start", "launch, counting and waiting", 2.0, 60.0, 0.1),
    constant("experts.low_latency.dispatch_post", "posting of dispatch", 0.5, 30.0, 0.1),
    constant("experts.low_latency.combine_post", "posting of combine", 0.5, 30.0, 0.1),
    constant("experts.low_latency.reduce_rate", "weighted sum of what came back", 300.0, 10000.0, 20.0),
];

const EXCHANGE_ONE_SIDED: &[Constant] = &[
    constant("experts.one_sided.dispatch.start", "start of dispatch", 2.0, 40.0, 0.1),
    constant("experts.one_sided.dispatch.per_copy", "each copy of a token in dispatch", 0.05, 5.0, 0.01),
    constant("experts.one_sided.combine.start", "start of combine", 2.0, 40.0, 0.1),
    constant("experts.one_sided.combine.per_copy", "each copy of a token in combine", 0.05, 5.0, 0.01),
];

/// Every group.
pub const GROUPS: &[Group] = &[
    Group {
        name: "gemm_hopper",
        file: "hardware/architectures/hopper.toml",
        sets: &[("gemm", 1.0), ("deepgemm", 0.35), ("moe_grouped_gemm", 0.5), ("h800_train_chunk_kernels", 0.4)],
        constants: PRODUCTS_HOPPER,
    },
    Group {
        name: "gemm_blackwell",
        file: "hardware/architectures/blackwell.toml",
        sets: &[("gemm", 1.0), ("moe_grouped_gemm", 0.5)],
        constants: PRODUCTS_BLACKWELL,
    },
    Group {
        name: "attention_hopper",
        file: "hardware/architectures/hopper.toml",
        sets: &[("mla_attention", 1.0)],
        constants: ATTENTION,
    },
    Group {
        name: "attention_blackwell",
        file: "hardware/architectures/blackwell.toml",
        sets: &[("mla_attention", 1.0)],
        constants: ATTENTION,
    },
    Group {
        name: "collectives",
        file: "hardware/communication/shared.toml",
        sets: &[("nccl_one_domain", 1.0)],
        constants: COLLECTIVES,
    },
    Group {
        name: "exchange_normal",
        file: "hardware/communication/shared.toml",
        sets: &[("deepep_normal_sweep", 1.0)],
        constants: EXCHANGE_NORMAL,
    },
    Group {
        name: "exchange_low_latency",
        file: "hardware/communication/shared.toml",
        sets: &[("deepep_ll_sweep", 1.0)],
        constants: EXCHANGE_LOW_LATENCY,
    },
    Group {
        name: "exchange_one_sided",
        file: "hardware/communication/blackwell.toml",
        sets: &[("gb200_nvl72_alltoall", 1.0)],
        constants: EXCHANGE_ONE_SIDED,
    },
];
