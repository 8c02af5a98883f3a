//! What the tables of expert exchanges share.

use super::{Context, Skip};
use crate::metrics::{Metrics, MoeExchangeMetrics};
use crate::scenario::WorkloadSpec;
use crate::units::Count;
use crate::workload::{ExchangeKernels, GateChoice, MoeExchangeSpec, RowFormat};

/// The size of an exchange, as every table gives it.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) nodes: u32,
    pub(super) gpus_per_node: u32,
    pub(super) tokens: u32,
    pub(super) hidden: u32,
    pub(super) experts: u32,
    pub(super) per_token: u32,
}

/// An exchange of that size, without a limit on nodes, FP8 there and BF16 back.
pub(super) fn spec(kernels: ExchangeKernels, shape: Shape) -> Result<MoeExchangeSpec, Skip> {
    Ok(MoeExchangeSpec {
        kernels,
        tokens_per_gpu: count(shape.tokens, "tokens")?,
        hidden: count(shape.hidden, "values")?,
        experts: count(shape.experts, "experts")?,
        experts_per_token: count(shape.per_token, "experts per token")?,
        groups: Count::ONE,
        groups_per_token: Count::ONE,
        gate: GateChoice::Uniform,
        dispatch: RowFormat::FP8,
        combine: RowFormat::BF16,
        sms: MoeExchangeSpec::SMS,
        scale_up: true,
    })
}

/// Limits tokens to the best four nodes, as the tests of DeepEP's normal kernels do.
pub(super) fn limit_nodes(spec: &mut MoeExchangeSpec, nodes: u32, limit: u32) -> Result<(), Skip> {
    spec.groups = count(nodes, "nodes")?;
    spec.groups_per_token = count(nodes.min(limit), "groups")?;
    Ok(())
}

/// Runs the exchange on `system`.
pub(super) fn run(
    context: &Context,
    system: &str,
    shape: Shape,
    spec: MoeExchangeSpec,
) -> Result<MoeExchangeMetrics, Skip> {
    let system = context.system(system)?;
    let outcome = context.run(system, shape.nodes, shape.gpus_per_node, WorkloadSpec::MoeExchange(spec))?;
    match outcome.metrics {
        Metrics::MoeExchange(metrics) => Ok(metrics),
        _ => unreachable!("an exchange was asked for"),
    }
}

/// `n` of something, of which there must be some.
pub(super) fn count(n: u32, what: &str) -> Result<Count, Skip> {
    Count::new(n).ok_or_else(|| Skip::because(format!("no {what}")))
}

/// `whole` in equal parts.
pub(super) fn per_node(whole: u32, nodes: u32) -> Result<u32, Skip> {
    match whole.checked_div(nodes) {
        Some(part) if part > 0 && part * nodes == whole => Ok(part),
        _ => Err(Skip::because(format!("{whole} ranks on {nodes} nodes"))),
    }
}
