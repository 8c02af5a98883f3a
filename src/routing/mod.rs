//! Which way data goes: shortest paths as sets of next hops, and the policies that choose among them.
//!
//! A policy sees next hops and loads, never shapes. This module must not know what is sent or when.

mod cables;
mod choose;
mod next_hops;
mod port_groups;
mod routes;
mod shares;
mod spec;
mod store;
mod tables;
mod waits;

pub use crate::hardware::RoutingChoice;
pub use cables::{Cable, Cables, Direction, next_lane};
pub use choose::{Chooser, Connection};
pub use next_hops::NextHops;
pub use port_groups::{PortGroup, PortGroups, PortHops};
pub use routes::{Entrance, Path, Routes};
pub use shares::{Passage, Share};
pub use spec::{DetourChoice, ForwardChoice, NicPorts, RoutingSpec};
pub use store::{TableStore, table_store};
pub use waits::{Channel, WAIT_STEPS, Waits, find_waits};
