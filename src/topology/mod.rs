//! The graph of devices and directed links, built from nodes and from the shape of the fabric that joins them.
//!
//! This layer must not know any traffic, any routing policy and any file. `petgraph` is private to it.

mod bisection;
mod build;
mod built;
mod cluster;
mod distance;
mod dragonfly;
mod explicit;
mod fat_tree;
mod field;
mod graph;
mod measure;
mod multi_plane;
mod multi_rail;
mod nvlink_domain;
mod regular;
mod slim_fly;
mod spec;
mod switch_graph;
#[cfg(test)]
mod testing;
mod tree;
mod wiring;

pub use bisection::{Bisection, BisectionMethod};
pub use build::build_fabric;
pub use built::built_otherwise;
pub use cluster::{Cluster, build_cluster};
pub use distance::Distances;
pub use dragonfly::DragonflySpec;
pub use explicit::{ExplicitDevice, ExplicitLink, ExplicitSpec};
pub use fat_tree::FatTreeSpec;
pub use graph::{Device, DeviceKind, Link, LinkKind, Topology, TopologyBuilder};
pub use measure::{CountOrigin, FabricMeasures, TierMeasures, measure, measure_spec, power_per_endpoint_cable};
pub use multi_plane::MultiPlaneFatTreeSpec;
pub use multi_rail::MultiRailFatTreeSpec;
pub use nvlink_domain::NvlinkDomainSpec;
pub use regular::{OddSwitch, odd_switches};
pub use slim_fly::{SlimFlyCounts, SlimFlySpec, slim_fly_counts};
pub use spec::{ExpectSpec, ShapeSpec, TopologySpec};
