//! What the packet model takes from the hardware, besides the graph.

use crate::hardware::{DcqcnSpec, FlowControl, NicSpec, NodeSpec, SwitchSpec, WireSpec};
use crate::invalid::Invalid;
use crate::topology::{DeviceKind, LinkKind, TopologySpec};
use crate::units::{Bytes, Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a scenario says about the packet model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PacketSpec {
    /// Who posts work to the NIC.
    #[serde(default)]
    pub post_by: PostBy,
    /// How much data moves as one unit inside a scale-up domain, whose own packets are too small to follow one by one: the
    /// headers of all of them are counted, only their interleaving is coarser.
    #[serde(default = "four_kib")]
    pub scale_up_unit: Bytes,
}

/// Who posts work to the NIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PostBy {
    /// Threads of the GPU (IBGDA).
    #[default]
    Gpu,
    /// A proxy thread on the CPU.
    Cpu,
}

impl Default for PacketSpec {
    fn default() -> PacketSpec {
        PacketSpec { post_by: PostBy::Gpu, scale_up_unit: four_kib() }
    }
}

const fn four_kib() -> Bytes {
    Bytes::new(4096)
}

/// The figures of the packet model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PacketParams {
    /// Packets on the fabric.
    pub fabric: WireSpec,
    /// Packets between a GPU and its NIC or CPU; without it, no header is counted.
    pub host: Option<WireSpec>,
    /// Packets in a scale-up domain; without it, no header is counted.
    pub scale_up: Option<WireSpec>,
    /// What moves as one unit in a scale-up domain.
    pub scale_up_unit: Bytes,
    /// Input buffer of a fabric switch, for each port and virtual lane, beyond what the cable holds.
    pub switch_buffer: Bytes,
    /// Input buffer of a NIC, likewise.
    pub nic_buffer: Bytes,
    /// Input buffer of a scale-up switch, likewise.
    pub scale_up_buffer: Bytes,
    /// How a fabric switch holds packets back.
    pub flow_control: FlowControl,
    /// Virtual lanes of data that there are.
    pub lanes: u8,
    /// Time between messages that one GPU hands to its NIC.
    pub post_interval: Duration,
    /// Time that a NIC spends on one message at its highest message rate.
    pub message_interval: Duration,
    /// Queue pairs of a connection.
    pub queue_pairs: u32,
    /// Congestion control of the end points.
    pub congestion: Option<DcqcnSpec>,
}

impl PacketParams {
    /// The figures of `node`s on `fabric`.
    ///
    /// # Errors
    /// When a description lacks what only this model asks for, or a unit is too large for it.
    pub fn new(node: &NodeSpec, fabric: Option<&TopologySpec>, spec: &PacketSpec) -> Result<PacketParams, Invalid> {
        let mut params = PacketParams::bare(WireSpec { payload: four_kib(), header: Bytes::ZERO });
        params.host = node.gpu.host.wire;
        params.scale_up = node.gpu.scale_up.as_ref().and_then(|port| port.wire);
        params.scale_up_unit = spec.scale_up_unit;
        if let Some(scale_up) = &node.scale_up {
            params.scale_up_buffer = scale_up.buffer.ok_or_else(|| missing("hardware.scale_up", "buffer"))?;
        }
        if let (Some(fabric), Some(nics)) = (fabric, &node.nics) {
            params.add_nic(&nics.nic, spec.post_by)?;
            match &fabric.switch {
                Some(switch) => params.add_switch(switch)?,
                None => params.switch_buffer = params.nic_buffer,
            }
        }
        if params.scale_up_unit.get() == 0 || params.scale_up_unit.get() > 1 << 15 {
            let message = format!("{} at a time; between 1 B and 32 KiB are followed", params.scale_up_unit);
            return Err(Invalid::at("packet.scale_up_unit", message));
        }
        Ok(params)
    }

    /// The figures of a fabric without nodes, whose NICs keep up with everything and send packets like `wire`.
    ///
    /// # Errors
    /// When the description of its switch lacks what only this model asks for.
    pub fn of_fabric(fabric: &TopologySpec, wire: WireSpec) -> Result<PacketParams, Invalid> {
        let mut params = PacketParams::bare(wire);
        params.add_switch(fabric.switch()?)?;
        params.nic_buffer = params.switch_buffer;
        Ok(params)
    }

    /// Nothing but wires of one kind, with buffers of 32 packets.
    pub fn bare(wire: WireSpec) -> PacketParams {
        let buffer = wire.payload * 32;
        PacketParams {
            fabric: wire,
            host: None,
            scale_up: None,
            scale_up_unit: four_kib(),
            switch_buffer: buffer,
            nic_buffer: buffer,
            scale_up_buffer: buffer,
            flow_control: FlowControl::Credits,
            lanes: FlowControl::Credits.lanes_max(),
            post_interval: Duration::ZERO,
            message_interval: Duration::ZERO,
            queue_pairs: 1,
            congestion: None,
        }
    }

    fn add_nic(&mut self, nic: &NicSpec, post_by: PostBy) -> Result<(), Invalid> {
        let packet = nic.packet.as_ref().ok_or_else(|| missing("hardware.nics.nic", "packet"))?;
        if packet.wire.payload.get() == 0 || packet.wire.payload.get() > 1 << 15 {
            let message = format!("packets of {}; between 1 B and 32 KiB are followed", packet.wire.payload);
            return Err(Invalid::at("hardware.nics.nic.packet.wire.payload", message));
        }
        self.fabric = packet.wire;
        self.nic_buffer = packet.buffer;
        self.message_interval = packet.message_interval;
        self.post_interval = match post_by {
            PostBy::Gpu => packet.post_by_gpu,
            PostBy::Cpu => packet.post_by_cpu,
        };
        self.queue_pairs = packet.queue_pairs.get();
        self.congestion = packet.congestion;
        Ok(())
    }

    fn add_switch(&mut self, switch: &SwitchSpec) -> Result<(), Invalid> {
        let packet = switch.packet.as_ref().ok_or_else(|| missing("topology.switch", "packet"))?;
        packet.check_lanes().map_err(|invalid| invalid.under("topology.switch.packet"))?;
        self.switch_buffer = packet.buffer;
        self.flow_control = packet.flow_control;
        self.lanes = packet.lanes();
        if let FlowControl::Pause(pause) = packet.flow_control
            && !(pause.resume_at <= pause.pause_at
                && pause.pause_at <= packet.buffer
                && pause.mark_from < pause.mark_all)
        {
            let message = "thresholds must rise: resume_at, pause_at, buffer; and mark_from, mark_all";
            return Err(Invalid::at("topology.switch.packet.flow_control.pause", message));
        }
        Ok(())
    }

    /// Packets on links of one kind.
    pub(super) fn wire(&self, kind: LinkKind) -> Option<WireSpec> {
        match kind {
            LinkKind::ScaleUp => self.scale_up,
            LinkKind::Host => self.host,
            LinkKind::Endpoint | LinkKind::Fabric => Some(self.fabric),
        }
    }
}

fn missing(place: &str, key: &str) -> Invalid {
    let invalid = Invalid::at(place, format!("the packet model needs `{key}` here, and there is none"));
    invalid.help("see the files under hardware/ for an example, or use `network = \"flow\"`")
}

/// What moves as one unit on links of one kind.
pub(super) fn unit(kind: LinkKind, params: &PacketParams) -> Bytes {
    match kind {
        LinkKind::ScaleUp => params.scale_up_unit,
        _ => params.fabric.payload,
    }
}

/// Filling of an input buffer at which its sender stops, and at which it goes on.
pub(super) fn thresholds(to: DeviceKind, params: &PacketParams) -> (Bytes, Bytes) {
    let same = |bytes| (bytes, bytes);
    match to {
        // Memory takes what comes.
        DeviceKind::Gpu | DeviceKind::Cpu => same(Bytes::new(1 << 31)),
        DeviceKind::NvSwitch => same(params.scale_up_buffer),
        DeviceKind::Nic => same(params.nic_buffer),
        DeviceKind::Leaf | DeviceKind::Spine | DeviceKind::Core | DeviceKind::Router => match params.flow_control {
            FlowControl::Credits => same(params.switch_buffer),
            FlowControl::Pause(pause) => (pause.pause_at, pause.resume_at),
        },
    }
}
