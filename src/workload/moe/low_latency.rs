//! Low-latency kernels: every copy of a token is written straight into the memory of its expert's GPU, over the scale-up domain
//! where that reaches and over the NIC elsewhere. What comes back is added up where it arrives.

use super::coding::Turn;
use super::copies::amount;
use super::{Direction, MoeExchange};
use crate::units::Duration;
use crate::workload::collective::desk::{Desk, Front};

pub(super) fn pass(exchange: &MoeExchange, desk: &mut Desk<'_>, direction: Direction, front: &Front) -> Front {
    let costs = &exchange.costs.low_latency;
    let row = exchange.row(direction);
    let tokens = exchange.spec.tokens_per_gpu.wide();
    let post = match direction {
        Direction::Dispatch => costs.dispatch_post,
        Direction::Combine => costs.combine_post,
    };
    let n = exchange.group.len();
    let mut received: Front = vec![Vec::new(); n];
    for from in exchange.simulated() {
        // The kernel runs on all SMs, and so does what it does to values.
        let results = exchange.copies.to_experts[from] * (tokens * n as u64) as f64;
        let encoded = exchange.coding(direction, Turn::Encoded, results, None);
        let begun = desk.software((from, 0), costs.start + encoded, &front[from]);
        let leaves = exchange.nodes() > 1 || !exchange.spec.scale_up;
        let posted = if leaves { desk.software((from, 1), post, &begun) } else { Vec::new() };
        for offset in 1..n {
            let to = (from + offset) % n;
            // A token that comes back came from `to`, and visited `from`.
            let visited = if direction == Direction::Dispatch { to } else { from };
            let bytes = amount(exchange.copies.to_experts[visited], tokens, row);
            let near = exchange.node(from) == exchange.node(to);
            let sent = match (exchange.nics[from], exchange.nics[to]) {
                _ if near && exchange.spec.scale_up => desk.send((from, to), bytes, costs.scale_up_share, &begun),
                (Some(here), Some(there)) if near => {
                    desk.move_between(here, there, bytes, costs.scale_out_share, &posted)
                }
                _ => desk.send((from, to), bytes, costs.scale_out_share, &posted),
            };
            received[exchange.receiver(from, to)].push(sent);
        }
    }
    let visits: f64 = exchange.copies.to_experts.iter().sum();
    let summed = match direction {
        Direction::Dispatch => Duration::ZERO,
        Direction::Combine => amount(visits, tokens, row) / costs.reduce_rate,
    };
    let summed = summed + exchange.coding(direction, Turn::Decoded, visits * tokens as f64, None);
    for gpu in exchange.simulated() {
        received[gpu] = desk.software((gpu, 0), summed, &received[gpu]);
    }
    received
}
