//! What a packet-level model needs to know of devices: how they cut data into packets, what they hold, and how they keep
//! from losing any.

use crate::invalid::Invalid;
use crate::units::{Bytes, BytesPerSec, Count, Duration, Fraction, positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How data is cut on a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WireSpec {
    /// The most data in one packet.
    #[serde(deserialize_with = "positive")]
    pub payload: Bytes,
    /// What every packet carries beside its data: headers, checks, and gaps where the line needs them.
    pub header: Bytes,
}

impl WireSpec {
    /// The bytes on the wire for `data`, which is cut into as few packets as can be.
    pub fn on_wire(&self, data: u64) -> u64 {
        data + data.div_ceil(self.payload.get()).max(1) * self.header.get()
    }

    /// The part of the wire that full packets leave for data.
    pub fn share(&self) -> Fraction {
        let whole = self.payload.get() + self.header.get();
        Fraction::new(self.payload.get() as f64 / whole as f64).expect("a part of a whole")
    }
}

/// How a NIC makes packets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NicPacketSpec {
    /// Packets on the fabric: the MTU, and the headers of InfiniBand or RoCE.
    pub wire: WireSpec,
    /// Buffer for what arrives, beyond what the cable holds.
    pub buffer: Bytes,
    /// Time that the NIC spends on one message at its highest message rate.
    pub message_interval: Duration,
    /// Time between messages that a GPU posts itself: work request and doorbell, many threads taking part.
    pub post_by_gpu: Duration,
    /// Time between messages that a thread of the CPU posts in the GPU's place.
    pub post_by_cpu: Duration,
    /// Queue pairs of a connection, which take turns message part by message part.
    pub queue_pairs: Count,
    /// How the NIC slows down when the fabric marks its packets; without it, it never does.
    pub congestion: Option<DcqcnSpec>,
}

/// Congestion control of RoCE end points: DCQCN (Zhu et al., "Congestion Control for Large-Scale RDMA Deployments", SIGCOMM
/// 2015; names in brackets are those of the paper).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DcqcnSpec {
    /// The least time between two notifications to the same sender (N).
    pub notification_interval: Duration,
    /// How fast the estimate of congestion follows (g).
    pub gain: Fraction,
    /// Time without a notification after which the estimate falls (K).
    pub alpha_interval: Duration,
    /// Time after which the rate rises by a step (T).
    pub rise_interval: Duration,
    /// Data after which the rate rises by a step (B).
    pub rise_bytes: Bytes,
    /// Steps back towards the old rate before the rate goes beyond it (F).
    pub recovery_steps: Count,
    /// What a step beyond the old rate adds (R_AI).
    pub additive_step: BytesPerSec,
}

/// How a switch holds packets back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchPacketSpec {
    /// Input buffer of each port and virtual lane, beyond what the cable holds.
    pub buffer: Bytes,
    /// What happens when it fills.
    pub flow_control: FlowControl,
    /// Virtual lanes of data, if they are fewer than its flow control allows: 15 with credits, 8 priorities with pauses.
    pub virtual_lanes: Option<Count>,
}

impl SwitchPacketSpec {
    /// Whether it asks for more virtual lanes than its flow control has.
    pub fn check_lanes(&self) -> Result<(), Invalid> {
        let most = self.flow_control.lanes_max();
        match self.virtual_lanes {
            Some(lanes) if lanes.get() > u32::from(most) => {
                let message = format!("{lanes} virtual lanes, of which this flow control has {most}");
                Err(Invalid::at("virtual_lanes", message)
                    .help(format!("give a number from 1 to {most}, or leave it out")))
            }
            _ => Ok(()),
        }
    }

    /// Virtual lanes of data; more than its flow control has are no more.
    pub fn lanes(&self) -> u8 {
        let most = self.flow_control.lanes_max();
        self.virtual_lanes.map_or(most, |lanes| u8::try_from(lanes.get()).unwrap_or(most).min(most))
    }
}

/// What happens when an input buffer fills. Neither way loses packets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlowControl {
    /// The sender has credits for the free part of the buffer (InfiniBand).
    Credits,
    /// The sender is told to pause and to resume (RoCE, priority flow control), and packets are marked as queues grow.
    Pause(PauseSpec),
}

impl FlowControl {
    /// The most virtual lanes of data: 15 beside that of management (InfiniBand Architecture Specification, volume 1), or
    /// eight priorities (IEEE 802.1Qbb).
    pub const fn lanes_max(self) -> u8 {
        match self {
            FlowControl::Credits => 15,
            FlowControl::Pause(_) => 8,
        }
    }
}

/// Thresholds of a switch with priority flow control and explicit congestion notification.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseSpec {
    /// Filling of an input buffer at which its sender is paused (XOFF).
    pub pause_at: Bytes,
    /// Filling at which it resumes (XON).
    pub resume_at: Bytes,
    /// Length of an output queue below which nothing is marked.
    pub mark_from: Bytes,
    /// Length of an output queue above which everything is marked.
    pub mark_all: Bytes,
    /// Probability of a mark just below `mark_all`.
    pub mark_max: Fraction,
}
