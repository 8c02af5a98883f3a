//! A topology file: one fabric, named by its shape and by the switch and cables it is built from.
//!
//! The specs mirror the file and nothing else; `build` turns them into a graph or says what is wrong with them.

use super::dragonfly::DragonflySpec;
use super::explicit::ExplicitSpec;
use super::fat_tree::FatTreeSpec;
use super::multi_plane::MultiPlaneFatTreeSpec;
use super::multi_rail::MultiRailFatTreeSpec;
use super::nvlink_domain::NvlinkDomainSpec;
use super::slim_fly::SlimFlySpec;
use crate::hardware::{CableSpec, SwitchSpec};
use crate::invalid::Invalid;
use crate::sources::Sources;
use crate::units::{Count, Fraction, Usd};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One fabric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopologySpec {
    /// What people call it.
    pub name: String,
    /// How its switches are wired.
    pub shape: ShapeSpec,
    /// The switch, the same in every place; every shape but `nvlink_domain` and `explicit` needs one.
    pub switch: Option<SwitchSpec>,
    /// The cable from a NIC to its switch; needed where `switch` is.
    pub endpoint_cable: Option<CableSpec>,
    /// The cable from switch to switch; needed where `switch` is, unless there is a single switch.
    pub switch_cable: Option<CableSpec>,
    /// What must be true of it.
    pub expect: Option<ExpectSpec>,
    /// Where the figures come from.
    #[serde(default)]
    pub source: Sources,
}

/// Limits within which a fabric must stay; `octoplane check` holds it to them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectSpec {
    /// Endpoints.
    pub endpoints: Option<Count>,
    /// Parts that no cable between switches joins. Without it, as many as the shape has planes.
    pub planes: Option<Count>,
    /// Largest over-subscription of a tier: bandwidth towards the endpoints over bandwidth towards the top.
    pub max_oversubscription: Option<f64>,
    /// Least bisection bandwidth, as a part of what half of the endpoints can send.
    pub min_bisection: Option<Fraction>,
    /// Largest distance between two switches with endpoints, in links.
    pub max_diameter: Option<Count>,
    /// Largest capital cost of switches and cables.
    pub max_cost: Option<Usd>,
    /// Whether all switches of a kind must be wired alike.
    #[serde(default)]
    pub regular: bool,
}

/// How the switches of a fabric are wired, and where its endpoints attach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShapeSpec {
    /// The GPUs of one scale-up domain, joined by NVSwitch chips.
    NvlinkDomain(NvlinkDomainSpec),
    /// A folded Clos of one (star), two (leaf-spine) or three (pods and core) layers.
    FatTree(FatTreeSpec),
    /// Independent copies of a fat tree; NIC `i` of a node, or port `i` of a multi-port NIC, attaches to plane `i`.
    MultiPlaneFatTree(MultiPlaneFatTreeSpec),
    /// One fat tree whose leaves each serve a single rail, the same-index NICs of all nodes.
    MultiRailFatTree(MultiRailFatTreeSpec),
    /// A direct network of diameter two on a McKay-Miller-Siran graph.
    SlimFly(SlimFlySpec),
    /// Fully meshed groups of routers, joined by global links.
    Dragonfly(DragonflySpec),
    /// Devices and links listed one by one.
    Explicit(ExplicitSpec),
}

impl ShapeSpec {
    /// The key of the shape's table in the file.
    pub const fn key(&self) -> &'static str {
        match self {
            ShapeSpec::NvlinkDomain(_) => "nvlink_domain",
            ShapeSpec::FatTree(_) => "fat_tree",
            ShapeSpec::MultiPlaneFatTree(_) => "multi_plane_fat_tree",
            ShapeSpec::MultiRailFatTree(_) => "multi_rail_fat_tree",
            ShapeSpec::SlimFly(_) => "slim_fly",
            ShapeSpec::Dragonfly(_) => "dragonfly",
            ShapeSpec::Explicit(_) => "explicit",
        }
    }
}

impl TopologySpec {
    /// The switch, for a shape that cannot do without.
    pub fn switch(&self) -> Result<&SwitchSpec, Invalid> {
        self.switch.as_ref().ok_or_else(|| self.missing("switch", "[switch]"))
    }

    /// The cable between NIC and switch, for a shape that cannot do without.
    pub fn endpoint_cable(&self) -> Result<&CableSpec, Invalid> {
        self.endpoint_cable.as_ref().ok_or_else(|| self.missing("endpoint_cable", "[endpoint_cable]"))
    }

    /// The cable between switches, for a shape that cannot do without.
    pub fn switch_cable(&self) -> Result<&CableSpec, Invalid> {
        self.switch_cable.as_ref().ok_or_else(|| self.missing("switch_cable", "[switch_cable]"))
    }

    fn missing(&self, key: &str, table: &str) -> Invalid {
        let message =
            format!("the shape `{}` needs a {}, and none is described", self.shape.key(), key.replace('_', " "));
        Invalid::at(key, message).help(format!("add a {table} table, for example `extends` of a file under hardware/"))
    }
}
