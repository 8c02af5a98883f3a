//! Moves flows over links.
//!
//! Three levels of fidelity answer the same two questions. This layer knows flows, never operations, and it does not own
//! the clock: it is told how far it may go.

mod analytic;
mod packet;

pub use analytic::Analytic;
pub use packet::{PacketModel, PacketParams, PacketSpec, PostBy, Tally};

use crate::id::{DeviceId, FlowId, LinkId};
use crate::units::{Bytes, Time};

/// A transfer of data from one device to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its identity; ids are given in the order in which flows start.
    pub id: FlowId,
    /// Where the data is.
    pub from: DeviceId,
    /// Where it goes.
    pub to: DeviceId,
    /// How much.
    pub bytes: Bytes,
}

/// A transfer that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The flow.
    pub flow: FlowId,
    /// The link on which it entered the network.
    pub port: LinkId,
    /// When it began to enter the network.
    pub start: Time,
    /// When all of it had entered.
    pub injected: Time,
    /// When all of it had arrived.
    pub end: Time,
    /// The flow that it waited for at its port, if it had to wait.
    pub waited_for: Option<FlowId>,
    /// Whether latency rather than bandwidth took most of its time.
    pub latency_bound: bool,
}

/// How data moves.
pub trait NetworkModel {
    /// Takes a flow that starts at `now`, which never runs backwards.
    fn start(&mut self, now: Time, flow: Flow);

    /// Works until the first arrival or until `limit`, appends what arrives at that instant and returns the instant.
    fn advance_until(&mut self, limit: Time, arrived: &mut Vec<Arrived>) -> Time;
}
