//! High-throughput kernels: one copy of a token per node that it visits, over the NIC to the GPU of equal index, which forwards
//! it to the GPUs of its node; back the same way, adding up at each stop.
//!
//! Half of the SMs send and receive, the other half forward (in one node: half send, half receive). The first tokens pass all
//! stages one after the other; then all stages work at once, and the slowest decides. A communication co-processor takes the same stages without
//! SMs, at rates of its own.

use super::coding::Turn;
use super::copies::amount;
use super::{Direction, MoeExchange};
use crate::hardware::by_sms;
use crate::id::OpId;
use crate::units::{Bytes, BytesPerSec, Duration};
use crate::workload::collective::desk::{Desk, Front};

/// A stage that tokens pass.
#[derive(Clone, Copy)]
enum Stage {
    /// Copies by one half of the SMs.
    Copy(Half, Share),
    /// Over NICs to GPUs of equal index.
    Nic,
    /// Over the scale-up domain.
    ScaleUp,
}

/// A half of the SMs; each is a channel of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Ends = 0,
    Middle = 1,
}

/// Which copies a GPU handles in a stage.
#[derive(Clone, Copy)]
enum Share {
    /// One for each node that its tokens visit.
    OwnByNode,
    /// One for each GPU that its tokens visit.
    OwnByGpu,
    /// What it forwards: the tokens of all GPUs of its index, for the GPUs of its node.
    Forwarded,
    /// What all tokens leave at its own experts.
    Arriving,
}

pub(super) fn pass(exchange: &MoeExchange, desk: &mut Desk<'_>, direction: Direction, front: &Front) -> Front {
    let costs = &exchange.costs.normal;
    let start = match direction {
        Direction::Dispatch => costs.dispatch_start,
        Direction::Combine => costs.combine_start,
    };
    let mut stages: Vec<Stage> = if exchange.nodes() == 1 {
        vec![Stage::Copy(Half::Ends, Share::OwnByGpu), Stage::ScaleUp, Stage::Copy(Half::Middle, Share::Arriving)]
    } else {
        vec![
            Stage::Copy(Half::Ends, Share::OwnByNode),
            Stage::Nic,
            Stage::Copy(Half::Middle, Share::Forwarded),
            Stage::ScaleUp,
            Stage::Copy(Half::Ends, Share::Arriving),
        ]
    };
    if direction == Direction::Combine {
        stages.reverse();
    }
    let mut held: Front = vec![Vec::new(); front.len()];
    for gpu in exchange.simulated() {
        held[gpu] = desk.software((gpu, 0), start, &front[gpu]);
    }
    let tokens = exchange.spec.tokens_per_gpu.wide();
    let first = tokens.min(costs.fill_tokens.wide());
    let work = Pass { exchange, direction };
    for &stage in &stages {
        held = work.stage(desk, stage, first, &held);
    }
    if tokens == first {
        return held;
    }
    let mut ended: Front = vec![Vec::new(); front.len()];
    for &stage in &stages {
        let done = work.stage(desk, stage, tokens - first, &held);
        ended.iter_mut().zip(done).for_each(|(ended, done)| ended.extend(done));
    }
    ended
}

struct Pass<'a> {
    exchange: &'a MoeExchange,
    direction: Direction,
}

impl Pass<'_> {
    /// One stage for `tokens` tokens of every GPU.
    fn stage(&self, desk: &mut Desk<'_>, stage: Stage, tokens: u64, held: &Front) -> Front {
        let exchange = self.exchange;
        let mut done: Front = vec![Vec::new(); held.len()];
        for gpu in exchange.simulated() {
            match stage {
                Stage::Copy(half, share) => {
                    let bytes = amount(self.copies(gpu, share), tokens, exchange.row(self.direction));
                    let time = by_sms(bytes, self.rate(), exchange.movers()) + self.coding(gpu, share, tokens);
                    done[gpu].extend(desk.software((gpu, half as usize), time, &held[gpu]));
                }
                Stage::Nic => {
                    // A GPU that sends nothing over its NIC goes on with what it has.
                    done[gpu].extend(&held[gpu]);
                    for to in exchange.rail(gpu) {
                        let visited = exchange.node(self.visited(gpu, to));
                        let sent = self.send(desk, (gpu, to), exchange.copies.to_node[visited], tokens, &held[gpu]);
                        done[exchange.receiver(gpu, to)].push(sent);
                    }
                }
                Stage::ScaleUp => {
                    done[gpu].extend(&held[gpu]);
                    for to in exchange.neighbours(gpu) {
                        let copies = exchange.copies.to_gpu[self.visited(gpu, to)] * exchange.nodes() as f64;
                        let sent = self.send(desk, (gpu, to), copies, tokens, &held[gpu]);
                        done[exchange.receiver(gpu, to)].push(sent);
                    }
                }
            }
        }
        done
    }

    /// The GPU whose experts what `from` sends to `to` is about. Who stands for all sends what it receives.
    fn visited(&self, from: usize, to: usize) -> usize {
        match self.direction {
            Direction::Dispatch => self.exchange.receiver(from, to),
            Direction::Combine => from,
        }
    }

    fn send(&self, desk: &mut Desk<'_>, way: (usize, usize), copies: f64, tokens: u64, after: &[OpId]) -> OpId {
        let costs = &self.exchange.costs.normal;
        let near = self.exchange.node(way.0) == self.exchange.node(way.1);
        let share = if near { costs.scale_up_share } else { costs.scale_out_share };
        let bytes: Bytes = amount(copies, tokens, self.exchange.row(self.direction));
        desk.send(way, bytes, share, after)
    }

    /// What values that come back cost the SMs of a stage beside copying: they are encoded where they leave, decoded where they are
    /// added up, and sums that go on are encoded again.
    fn coding(&self, gpu: usize, share: Share, tokens: u64) -> Duration {
        let exchange = self.exchange;
        if exchange.spec.sms == 0 {
            return Duration::ZERO;
        }
        let half = u64::from(exchange.spec.sms) / 2;
        let turn = |turn, copies: f64| exchange.coding(self.direction, turn, copies * tokens as f64, Some(half));
        let copies = self.copies(gpu, share);
        match share {
            Share::Arriving => turn(Turn::Encoded, copies),
            Share::OwnByNode | Share::OwnByGpu => turn(Turn::Decoded, copies),
            Share::Forwarded => {
                let sums = exchange.copies.to_node[exchange.node(gpu)] * exchange.nodes() as f64;
                turn(Turn::Decoded, copies) + turn(Turn::Encoded, sums)
            }
        }
    }

    /// Copies that `gpu` handles for every token of a GPU.
    fn copies(&self, gpu: usize, share: Share) -> f64 {
        let copies = &self.exchange.copies;
        match share {
            Share::OwnByNode => copies.nodes_per_token(),
            Share::OwnByGpu => copies.gpus_per_token(),
            Share::Forwarded => {
                let first = self.exchange.node(gpu) * self.exchange.per_node;
                let here: f64 = copies.to_gpu[first..].iter().take(self.exchange.per_node).sum();
                here * self.exchange.nodes() as f64
            }
            Share::Arriving => copies.to_gpu[gpu] * self.exchange.group.len() as f64,
        }
    }

    fn rate(&self) -> BytesPerSec {
        let costs = &self.exchange.costs.normal;
        match self.direction {
            Direction::Dispatch => costs.dispatch_copy_rate_per_sm,
            Direction::Combine if self.exchange.nodes() == 1 => costs.combine_copy_rate_per_sm,
            Direction::Combine => costs.combine_forward_rate_per_sm,
        }
    }
}
