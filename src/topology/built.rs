//! What a fabric was built as, where that is not what its file asks for.

use super::graph::{DeviceKind, Topology};
use super::spec::{ShapeSpec, TopologySpec};
use crate::units::Count;

/// Notes on keys of the shape of `spec` that the `topology` built from it could not follow, as fragments without a full stop.
pub fn built_otherwise(spec: &TopologySpec, topology: &Topology) -> Vec<String> {
    let (layers, oversubscription): (Count, Option<Count>) = match &spec.shape {
        ShapeSpec::FatTree(shape) => (shape.layers, shape.oversubscription),
        ShapeSpec::MultiPlaneFatTree(shape) => (shape.layers, shape.oversubscription),
        ShapeSpec::MultiRailFatTree(shape) => (shape.layers, shape.oversubscription),
        // These are built in full or refused.
        ShapeSpec::SlimFly(_) | ShapeSpec::Dragonfly(_) | ShapeSpec::NvlinkDomain(_) | ShapeSpec::Explicit(_) => {
            return Vec::new();
        }
    };
    let has = |kind| topology.devices_of(kind).next().is_some();
    let built = 1 + u32::from(has(DeviceKind::Spine)) + u32::from(has(DeviceKind::Core));
    if built >= layers.get() {
        return Vec::new();
    }
    let place = format!("shape.{}", spec.shape.key());
    let without = if built == 1 { "without spine switches" } else { "without core switches" };
    let mut notes =
        vec![format!("{place}.layers = {layers} was built as {built}, {without}: its endpoints fill no more")];
    if let (1, Some(ratio)) = (built, oversubscription.filter(|ratio| *ratio > Count::ONE)) {
        notes.push(format!("{place}.oversubscription = {ratio} changes nothing: a single leaf has no uplinks"));
    }
    notes
}
