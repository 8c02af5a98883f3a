//! The graph of devices and directed links, built from nodes and from the shape of the fabric that joins them.
//!
//! This layer must not know any traffic, any routing policy and any file. `petgraph` is private to it.

mod graph;

pub use graph::{Device, DeviceKind, Link, LinkKind, Topology, TopologyBuilder};
mod cluster;
pub use cluster::*;
