//! Kernels inside one scale-up domain: one copy of a token for each GPU that it visits.

use super::copies::amount;
use super::{Direction, ExchangeKernels, MoeExchange};
use crate::dtype::Dtype;
use crate::hardware::{ScaleUpExchangeCosts, ScaleUpPass};
use crate::workload::collective::desk::{Desk, Front};

/// What these kernels cost.
fn costs(exchange: &MoeExchange) -> Option<&ScaleUpExchangeCosts> {
    match exchange.spec.kernels {
        ExchangeKernels::OneSided => exchange.costs.one_sided.as_ref(),
        ExchangeKernels::TwoSided => exchange.costs.two_sided.as_ref(),
        ExchangeKernels::Normal | ExchangeKernels::LowLatency => None,
    }
}

/// Counting and announcing tokens, where that is a kernel of its own.
pub(super) fn prepare(exchange: &MoeExchange, desk: &mut Desk<'_>, front: &Front) -> Front {
    let Some(costs) = costs(exchange).and_then(|costs| costs.prepare) else { return front.clone() };
    let mut ready = front.clone();
    for gpu in exchange.simulated() {
        ready[gpu] = on_tokens(exchange, desk, &costs, gpu, front);
    }
    ready
}

/// The part of a kernel that takes place before data is on the wire.
fn on_tokens(
    exchange: &MoeExchange,
    desk: &mut Desk<'_>,
    costs: &ScaleUpPass,
    gpu: usize,
    front: &Front,
) -> Vec<crate::id::OpId> {
    let visited = exchange.copies.gpus_per_token().round() as u64;
    let begun = desk.software((gpu, 0), costs.start + costs.per_copy * visited, &front[gpu]);
    desk.software((gpu, 0), costs.token * exchange.spec.tokens_per_gpu.wide(), &begun)
}

pub(super) fn pass(exchange: &MoeExchange, desk: &mut Desk<'_>, direction: Direction, front: &Front) -> Front {
    let all = costs(exchange).expect("only described kernels run");
    let narrow = exchange.spec.combine.dtype.bits() < Dtype::Bf16.bits();
    let pass = match direction {
        Direction::Dispatch => all.dispatch,
        Direction::Combine if narrow => all.combine_low_precision.unwrap_or(all.combine),
        Direction::Combine => all.combine,
    };
    let row = exchange.row(direction);
    let tokens = exchange.spec.tokens_per_gpu.wide();
    let mut received: Front = vec![Vec::new(); exchange.group.len()];
    for from in exchange.simulated() {
        let ready = on_tokens(exchange, desk, &pass, from, front);
        for to in exchange.neighbours(from) {
            let visited = if direction == Direction::Dispatch { to } else { from };
            let bytes = amount(exchange.copies.to_gpu[visited], tokens, row);
            let sent = desk.send((from, to), bytes, pass.wire_share, &ready);
            received[exchange.receiver(from, to)].push(sent);
        }
        // Tokens follow each other no faster than this, whatever they carry.
        let least = (pass.token_min * tokens).saturating_sub(pass.token * tokens);
        let paced = desk.software((from, 0), least, &ready);
        received[from].extend(paced);
    }
    received
}
