//! Moves flows over links.
//!
//! Three levels of fidelity answer the same two questions. This layer knows flows, never operations, and it does not own
//! the clock: it is told how far it may go.

mod analytic;
mod fault;
mod flow;
mod packet;
mod watched;

pub use analytic::{ANALYTIC_FLOW_BYTES, Analytic};
pub use fault::{
    Degraded, FaultEffect, FaultSchedule, FaultSpec, FaultTarget, Flapping, LinkChange, LinkTarget, PortTarget,
    at_work, resolve,
};
pub use flow::{FairShare, SHARED_FLOW_BYTES};
pub use packet::{PacketModel, PacketParams, PacketSpec, PostBy, Tally, Watch};
pub use watched::Watched;

use crate::id::{DeviceId, FlowId, LinkId};
use crate::units::{Bytes, Duration, Time};

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

/// A transfer that no way is left for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stranded {
    /// The flow.
    pub flow: FlowId,
    /// Since when.
    pub since: Time,
}

/// What passed a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkUse {
    /// The link.
    pub link: LinkId,
    /// Data of transfers that have left it.
    pub carried: Bytes,
    /// Time during which transfers used it; of parallel cables that of the busiest.
    pub busy: Duration,
}

/// How data moves.
pub trait NetworkModel {
    /// Takes a flow that starts at `now`, which never runs backwards.
    fn start(&mut self, now: Time, flow: Flow);

    /// Works until the first arrival or until `limit`, appends what arrives at that instant and returns the instant.
    fn advance_until(&mut self, limit: Time, arrived: &mut Vec<Arrived>) -> Time;

    /// The flows that no way is left for as things stand, in order of flow. A model that knows faults goes on as long as a
    /// coming change may give them one.
    fn stranded(&self) -> Vec<Stranded> {
        Vec::new()
    }

    /// What passed each link so far, for models that follow transfers along their links.
    fn link_use(&self) -> Vec<LinkUse> {
        Vec::new()
    }
}
