//! What communication software costs beside the wire: launches, protocol steps, copies by SMs, and the part of a link that its
//! protocols leave for data.
//!
//! Two families: collectives in the manner of NCCL, and the exchange of tokens with experts in the manner of DeepEP (normal,
//! low latency) and of TensorRT-LLM inside one scale-up domain. The forms are stated at each field; the constants are
//! fitted per architecture. This module must not know who talks to whom.

use crate::sources::Sources;
use crate::units::{Bytes, BytesPerSec, Count, Duration, Fraction, or_zero, positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The communication software of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommunicationSpec {
    /// What it describes, for people.
    pub name: String,
    /// Collectives.
    pub collectives: CollectiveCosts,
    /// Exchange of tokens with experts.
    pub experts: ExpertCosts,
    /// Where the figures come from.
    #[serde(default)]
    pub source: Sources,
}

/// What a library of collectives costs beside the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectiveCosts {
    /// Launch of the kernel, first handshake and completion: once per collective.
    pub launch: Duration,
    /// Data and flags in one word; the receiver polls the data itself.
    pub ll: ProtocolSpec,
    /// Data and flags in lines of 128 bytes.
    pub ll128: ProtocolSpec,
    /// Chunks in buffers, with a flag and a fence for each.
    pub simple: ProtocolSpec,
    /// All-reduce inside the scale-up switch, where the switch can.
    pub in_switch: Option<InSwitchSpec>,
    /// All-reduce by direct access to peers, where serving engines have such kernels.
    pub peers: Option<PeerCosts>,
    /// Everyone to everyone in words with flags.
    pub exchange_ll: ExchangeSpec,
    /// Everyone to everyone in chunks.
    pub exchange_simple: ExchangeSpec,
    /// What a hop between nodes adds.
    pub network: NetworkHopSpec,
}

/// A protocol of rings and trees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProtocolSpec {
    /// Once per collective, beside the launch.
    pub start: Duration,
    /// Per step of the algorithm, beside the latency of the link.
    pub step: Duration,
    /// Rate at which the SMs of a GPU handle data under this protocol.
    pub copy_rate: BytesPerSec,
    /// Whether a step's data is on the wire while SMs still copy it; else one follows the other.
    pub overlapped: bool,
    /// Data per byte on the scale-up link.
    #[serde(deserialize_with = "positive")]
    pub wire_share: Fraction,
    /// Data per byte of what it hands to a NIC, flags among it; what of the link is left for both is `network.wire_share`.
    #[serde(deserialize_with = "positive")]
    pub line_share: Fraction,
}

/// All-reduce inside a switch: each GPU reads its part reduced and writes it to all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InSwitchSpec {
    /// Once per collective, beside the launch.
    pub start: Duration,
    /// Data per byte on the link.
    #[serde(deserialize_with = "positive")]
    pub wire_share: Fraction,
}

/// A kernel that writes to the memory of its peers in one scale-up domain: `launch`, the wire, then `bytes / copy_rate` for what has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerCosts {
    /// Launch from a recorded graph, first write and last poll.
    pub launch: Duration,
    /// Rate at which the SMs of a GPU read and add what has arrived.
    pub copy_rate: BytesPerSec,
    /// Data per byte on the link.
    #[serde(deserialize_with = "positive")]
    pub wire_share: Fraction,
}

/// A protocol of exchanges between all pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExchangeSpec {
    /// Once per collective, beside the launch.
    pub start: Duration,
    /// Per peer.
    pub per_peer: Duration,
    /// Rate at which the SMs of a GPU handle data: of each peer by itself, or of all peers and the own part together.
    pub copy_rate: BytesPerSec,
    /// Whether data is on the wire while SMs still copy; then `copy_rate` is that of all peers together, else of each.
    pub overlapped: bool,
    /// Data per byte on the scale-up link.
    #[serde(deserialize_with = "positive")]
    pub wire_share: Fraction,
    /// Data per byte of what it hands to a NIC, flags among it; what of the link is left for both is a share of `network`.
    #[serde(deserialize_with = "positive")]
    pub line_share: Fraction,
}

/// What a hop over NICs adds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkHopSpec {
    /// Time to post a transfer and to notice its end, beside the latency of the network.
    pub step: Duration,
    /// Data and flags per byte on the link in rings and trees, and from one GPU to another: long transfers to one peer.
    #[serde(deserialize_with = "positive")]
    pub wire_share: Fraction,
    /// Data and flags per byte on the link in exchanges between all pairs.
    #[serde(deserialize_with = "positive")]
    pub exchange_wire_share: Fraction,
    /// What a transfer is cut into where stages follow each other.
    #[serde(deserialize_with = "positive")]
    pub chunk: Bytes,
}

/// What the exchange of tokens with experts costs beside the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpertCosts {
    /// High-throughput kernels: one copy per node over the NIC, forwarded inside the node by SMs.
    pub normal: NormalCosts,
    /// Low-latency kernels: one copy per expert straight to its GPU.
    pub low_latency: LowLatencyCosts,
    /// Writes to the destination's memory inside one scale-up domain.
    pub one_sided: Option<ScaleUpExchangeCosts>,
    /// Queues between sender and receiver inside one scale-up domain.
    pub two_sided: Option<ScaleUpExchangeCosts>,
}

/// High-throughput kernels. Half of their SMs send, the other half receive or forward.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NormalCosts {
    /// Dispatch: launch and everything else that no token changes.
    pub dispatch_start: Duration,
    /// Combine: the same.
    pub combine_start: Duration,
    /// Rate at which one SM copies tokens in dispatch.
    pub dispatch_copy_rate_per_sm: BytesPerSec,
    /// Rate at which one SM copies and adds tokens in combine inside a node.
    pub combine_copy_rate_per_sm: BytesPerSec,
    /// The same where a combine crosses nodes.
    pub combine_forward_rate_per_sm: BytesPerSec,
    /// What all rates keep while kernels compute on the other SMs, with which these share memory and L2.
    #[serde(deserialize_with = "positive")]
    pub beside_compute: Fraction,
    /// Memory bandwidth of a GPU that an exchange uses on average, which kernels beside it lack.
    #[serde(deserialize_with = "or_zero")]
    pub memory_beside: BytesPerSec,
    /// Tokens that pass through all stages before the stages overlap.
    pub fill_tokens: Count,
    /// First dispatch of tokens, before those of gradients go the same ways: counting, per token of a GPU.
    pub count_token: Duration,
    /// The same: until the host knows how many tokens arrive, and has launched what moves them.
    pub count_wait: Duration,
    /// The same: what all rates keep, of those of a dispatch whose numbers are known, while kernels compute on the other SMs.
    #[serde(deserialize_with = "positive")]
    pub beside_counts: Fraction,
    /// Data per byte on the scale-up link.
    #[serde(deserialize_with = "positive")]
    pub scale_up_share: Fraction,
    /// Data per byte on the NIC's link.
    #[serde(deserialize_with = "positive")]
    pub scale_out_share: Fraction,
}

impl NormalCosts {
    /// The costs while kernels compute beside the exchange: every rate is `beside_compute` of its own.
    pub fn while_computing(self) -> NormalCosts {
        self.slowed(self.beside_compute)
    }

    /// The same of a dispatch that has to find out how many tokens arrive: every rate is `beside_counts` of that.
    pub fn while_counting(self) -> NormalCosts {
        self.while_computing().slowed(self.beside_counts)
    }

    fn slowed(self, part: Fraction) -> NormalCosts {
        NormalCosts {
            dispatch_copy_rate_per_sm: self.dispatch_copy_rate_per_sm.achieved(part),
            combine_copy_rate_per_sm: self.combine_copy_rate_per_sm.achieved(part),
            combine_forward_rate_per_sm: self.combine_forward_rate_per_sm.achieved(part),
            scale_up_share: share(self.scale_up_share, part),
            scale_out_share: share(self.scale_out_share, part),
            ..self
        }
    }
}

/// Low-latency kernels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LowLatencyCosts {
    /// Launch, first write and polling.
    pub start: Duration,
    /// Dispatch that leaves the node: posting and noticing, beside the latency of the network.
    pub dispatch_post: Duration,
    /// Combine that leaves the node: the same.
    pub combine_post: Duration,
    /// Rate at which arrived copies are added up.
    pub reduce_rate: BytesPerSec,
    /// Data per byte on the scale-up link.
    #[serde(deserialize_with = "positive")]
    pub scale_up_share: Fraction,
    /// Data per byte on the NIC's link.
    #[serde(deserialize_with = "positive")]
    pub scale_out_share: Fraction,
}

/// Kernels inside one scale-up domain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleUpExchangeCosts {
    /// Counting and announcing tokens, where that is a kernel of its own.
    pub prepare: Option<ScaleUpPass>,
    /// Tokens to experts.
    pub dispatch: ScaleUpPass,
    /// Results back.
    pub combine: ScaleUpPass,
    /// Results back in the narrow format of the dispatch, where there is such a kernel.
    pub combine_low_precision: Option<ScaleUpPass>,
}

/// One kernel: `start + copies * per_copy`, then per token the larger of `token_min` and `token` plus the time on the link.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleUpPass {
    /// Once.
    pub start: Duration,
    /// For each GPU that a token visits.
    pub per_copy: Duration,
    /// Work of the SMs on each token that does not overlap with the link.
    pub token: Duration,
    /// Least time between tokens.
    pub token_min: Duration,
    /// Data per byte on the link.
    #[serde(deserialize_with = "positive")]
    pub wire_share: Fraction,
}

/// What `bytes` of data occupy on a link whose protocol leaves `share` of it for data, rounded up.
pub fn on_wire(bytes: Bytes, share: Fraction) -> Bytes {
    assert!(share.get() > 0.0, "a protocol that leaves nothing for data moves nothing");
    Bytes::new((bytes.get() as f64 / share.get()).ceil() as u64)
}

impl NetworkHopSpec {
    /// Data per byte on the link in rings and trees under a protocol whose lines hold `line_share` of data.
    pub fn in_steps(&self, line_share: Fraction) -> Fraction {
        share(self.wire_share, line_share)
    }

    /// The same in exchanges between all pairs.
    pub fn in_exchanges(&self, line_share: Fraction) -> Fraction {
        share(self.exchange_wire_share, line_share)
    }
}

fn share(of: Fraction, part: Fraction) -> Fraction {
    Fraction::new(of.get() * part.get()).expect("a part of a part")
}

impl ProtocolSpec {
    /// Time of the SMs for one step over `bytes`, before the data is on the wire.
    pub fn before_wire(&self, bytes: Bytes) -> Duration {
        if self.overlapped { self.step } else { self.step + bytes / self.copy_rate }
    }

    /// Time of the SMs for `bytes` while they are on the wire.
    pub fn beside_wire(&self, bytes: Bytes) -> Duration {
        if self.overlapped { bytes / self.copy_rate } else { Duration::ZERO }
    }
}

impl ExchangeSpec {
    /// Time of the SMs before data is on the wire, with `each` for every one of `peers` peers.
    pub fn before_wire(&self, each: Bytes, peers: u64) -> Duration {
        let copies = if self.overlapped { Duration::ZERO } else { each / self.copy_rate };
        self.start + self.per_peer * peers + copies
    }

    /// Time of the SMs while data is on the wire: all peers and the own part.
    pub fn beside_wire(&self, each: Bytes, peers: u64) -> Duration {
        if self.overlapped { each * (peers + 1) / self.copy_rate } else { Duration::ZERO }
    }
}

/// Time in which `sms` SMs, each at `rate`, handle `bytes`; SMs that read and write are counted once.
pub fn by_sms(bytes: Bytes, rate: BytesPerSec, sms: Count) -> Duration {
    bytes / (rate * sms.wide())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_take_their_part_of_the_wire() {
        let half = Fraction::new(0.5).expect("a part");
        assert_eq!(on_wire(Bytes::new(7), half), Bytes::new(14));
        assert_eq!(on_wire(Bytes::new(10), Fraction::new(0.3).expect("a part")), Bytes::new(34));
    }

    #[test]
    fn words_with_flags_are_copied_before_they_travel_and_chunks_meanwhile() {
        let mut protocol = ProtocolSpec {
            start: Duration::ZERO,
            step: Duration::from_ns(10),
            copy_rate: BytesPerSec::new(1_000_000_000),
            overlapped: false,
            wire_share: Fraction::ONE,
            line_share: Fraction::ONE,
        };
        let bytes = Bytes::new(1000);
        let times = |p: &ProtocolSpec| (p.before_wire(bytes), p.beside_wire(bytes));
        assert_eq!(times(&protocol), (Duration::from_ns(1010), Duration::ZERO));
        protocol.overlapped = true;
        assert_eq!(times(&protocol), (Duration::from_ns(10), Duration::from_ns(1000)));
    }
}
