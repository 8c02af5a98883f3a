//! Which way data goes: shortest paths as sets of next hops, and the policies that choose among them.
//!
//! A policy sees next hops and loads, never shapes. This module must not know what is sent or when.

mod cables;
mod choose;
mod next_hops;
mod routes;
mod shares;
mod spec;
mod tables;
mod waits;

pub use cables::{Cable, Cables, Direction, next_lane};
pub use choose::{Chooser, Connection};
pub use next_hops::NextHops;
pub use routes::{Entrance, Path, Routes};
pub use shares::{Passage, Share};
pub use spec::{DetourChoice, ForwardChoice, RoutingChoice, RoutingSpec};
pub use waits::{Channel, WAIT_STEPS, Waits, find_waits};
