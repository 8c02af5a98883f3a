//! What the metrics are that steps, collectives and exchanges share: where the time went.

use super::{Entry, MetricDef, OWN, ms};
use crate::metrics::{Better, Breakdown};

/// Where the time of rank 0 went.
pub(super) static BREAKDOWN: &[Entry<Breakdown>] = &[
    Entry {
        def: MetricDef {
            name: "computing",
            of: "",
            unit: "ms",
            better: Better::Lower,
            definition: "Time during which rank 0 computes.",
            formula: "length of the union of the spans on its stream",
            source: OWN,
            hint: "With communicating it may exceed the step: the two overlap.",
        },
        value: |m| Some(ms(m.computing)),
    },
    Entry {
        def: MetricDef {
            name: "communicating",
            of: "",
            unit: "ms",
            better: Better::Lower,
            definition: "Time during which transfers of rank 0 are under way.",
            formula: "length of the union of the spans of its sends and of the software that drives them",
            source: OWN,
            hint: "Only what is exposed costs anything.",
        },
        value: |m| Some(ms(m.communicating)),
    },
    Entry {
        def: MetricDef {
            name: "exposed_communication",
            of: "",
            unit: "ms",
            better: Better::Lower,
            definition: "Communication that nothing hides: transfers of rank 0 are under way and it computes nothing.",
            formula: "length of (union of sends - union of kernels)",
            source: OWN,
            hint: "What two micro-batches are for: it falls towards zero where computation is long enough.",
        },
        value: |m| Some(ms(m.exposed_communication)),
    },
    Entry {
        def: MetricDef {
            name: "idle",
            of: "",
            unit: "ms",
            better: Better::Lower,
            definition: "Time during which rank 0 neither computes nor communicates.",
            formula: "step - length of the union of kernels and sends",
            source: OWN,
            hint: "Launch gaps, and waiting for others.",
        },
        value: |m| Some(ms(m.idle)),
    },
];
