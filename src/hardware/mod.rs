//! What a GPU, NIC, switch, cable, CPU and node *are*: figures from datasheets and measurements, nothing derived from a run.
//!
//! One device per TOML file under `hardware/`; families share a file through `extends`. This layer must not know any
//! topology, any model and any simulation.

mod attention;
mod cable;
mod communication;
mod cpu;
mod gpu;
mod lanes;
mod libraries;
mod memory;
mod nic;
mod node;
mod packet;
mod sm;
mod switch;

pub use attention::{Accumulators, FlashAttentionSpec, FlashPhaseSpec};
pub use cable::CableSpec;
pub use communication::{
    CollectiveCosts, CommunicationSpec, ExchangeSpec, ExpertCosts, InSwitchSpec, LowLatencyCosts, NetworkHopSpec,
    NormalCosts, PeerCosts, ProtocolSpec, ScaleUpExchangeCosts, ScaleUpPass, by_sms, on_wire,
};
pub use cpu::CpuSpec;
pub use gpu::{CacheSpec, GpuSpec, PortSpec, TensorSpec};
pub use lanes::Lanes;
pub use libraries::{Fp4Gemm, Fp8Gemm, Libraries, LibrariesSpec, MlaLibrary};
pub use memory::MemorySpec;
pub use nic::NicSpec;
pub use node::{NicsSpec, NodeSpec, ScaleUpSpec};
pub use packet::{DcqcnSpec, FlowControl, NicPacketSpec, PauseSpec, SwitchPacketSpec, WireSpec};
pub use sm::{Accumulator, EnergySpec, GroupScaling, MmaSpec, SmSpec};
pub use switch::{RoutingChoice, SwitchRoutingSpec, SwitchSpec};
