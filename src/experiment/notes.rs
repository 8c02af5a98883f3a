//! What an answer says beside its figures, because a reader may not expect it: rates that something else limits, formats that a
//! GPU lacks, costs that are not known.

use super::{Known, collisions, unread};
use crate::gpu::KernelModel;
use crate::id::DeviceId;
use crate::invalid::Invalid;
use crate::metrics::Outcome;
use crate::scenario::{Scenario, WorkloadSpec};
use crate::timeline::{Bound, Place, Timeline};
use crate::topology::{ShapeSpec, built_otherwise};
use crate::units::Duration;
use crate::workload::{DecodeAttention, Kernel, Work};
use std::collections::BTreeMap;

/// The notes on `scenario` and its `outcome`, as fragments without a full stop.
pub(crate) fn of(scenario: &Scenario, outcome: &Outcome, known: &Known) -> Result<Vec<String>, Invalid> {
    let stated = [slower_ports(scenario), missing_format(scenario), missing_rent(scenario)];
    let mut notes: Vec<String> = stated.into_iter().flatten().collect();
    notes.extend(unread::notes(scenario));
    if let Some(fabric) = &scenario.topology {
        notes.extend(
            built_otherwise(fabric, &outcome.cluster.topology).into_iter().map(|note| format!("topology.{note}")),
        );
    }
    let timelines = [Some(&outcome.timeline), outcome.parts.first().map(|part| &part.timeline)];
    for timeline in timelines.into_iter().flatten() {
        let collide = collisions::note(scenario, &outcome.cluster, timeline, known)?;
        notes.extend(collide.filter(|note| !notes.contains(note)));
    }
    Ok(notes)
}

/// NICs and switches whose ports differ: a cable is as fast as the slower end.
fn slower_ports(scenario: &Scenario) -> Option<String> {
    let topology = scenario.topology.as_ref()?;
    if matches!(topology.shape, ShapeSpec::Explicit(_) | ShapeSpec::NvlinkDomain(_)) || scenario.nodes.get() == 1 {
        return None;
    }
    let nic = scenario.hardware.nics.as_ref()?.nic.port_bandwidth_per_direction;
    let switch = topology.switch.as_ref()?.port_bandwidth_per_direction;
    let gigabits = |rate: crate::units::BytesPerSec| rate.get() as f64 * 8.0 / 1e9;
    let (own, other) = (gigabits(nic), gigabits(switch));
    if nic > switch {
        return Some(format!(
            "NIC ports of {own} Gb/s run at {other} Gb/s: that of the switch's ports \
             (topology.switch.port_bandwidth_per_direction)"
        ));
    }
    (nic < switch).then(|| {
        format!(
            "switch ports of {other} Gb/s run at {own} Gb/s where NICs are attached \
             (hardware.nics.nic.port_bandwidth_per_direction)"
        )
    })
}

/// Operands in a format that the GPU's matrix units lack.
fn missing_format(scenario: &Scenario) -> Option<String> {
    scenario.model.as_ref()?;
    let tensor = &scenario.hardware.gpu.tensor;
    let wanted = scenario.precision.unwrap_or_default().operands;
    let taken = tensor.runs_as(wanted);
    if taken == wanted {
        return None;
    }
    let gpu = &scenario.hardware.gpu.name;
    Some(format!("{gpu} has no {wanted} rate (precision.operands): computed at that of {taken}"))
}

/// A GPU without a rent, where the answer would have costs.
fn missing_rent(scenario: &Scenario) -> Option<String> {
    let costs = match &scenario.workload {
        WorkloadSpec::Decode(_) | WorkloadSpec::Prefill(_) => true,
        WorkloadSpec::Serving(spec) => spec.capital.is_none(),
        _ => false,
    };
    let gpu = &scenario.hardware.gpu;
    let unknown = costs && gpu.rent.is_none();
    unknown.then(|| format!("no rent is known for {}: no cost; set hardware.gpu.rent", gpu.name))
}

/// The least part of a run that is worth a note.
const WORTH: f64 = 0.05;

/// The notes on what `kernels` did in `timeline`, as fragments without a full stop.
pub(super) fn of_kernels(timeline: &Timeline, kernels: &mut dyn KernelModel) -> Vec<String> {
    [casts(timeline), tail(timeline, kernels)].into_iter().flatten().collect()
}

/// Attention that waits for the conversion of its cache.
fn casts(timeline: &Timeline) -> Option<String> {
    let bound = timeline.spans().find(|span| span.bound == Bound::Cast)?;
    let Work::Compute(kernel) = bound.work else { return None };
    Some(format!(
        "{kernel}: the kernel before it that converts FP8 takes longer than attention itself (bound by cast); it belongs to the \
         library (libraries.mla), and others convert inside"
    ))
}

/// Attention whose last wave of blocks leaves SMs idle, and the most requests with which it does not.
fn tail(timeline: &Timeline, kernels: &mut dyn KernelModel) -> Option<String> {
    let mut found: BTreeMap<(DeviceId, DecodeAttention), Duration> = BTreeMap::new();
    for span in timeline.spans().filter(|span| span.bound == Bound::Tail) {
        if let (Work::Compute(Kernel::DecodeAttention(attention)), Place::Stream(stream)) = (span.work, span.place) {
            let device = timeline.streams[stream.index()].device;
            *found.entry((device, attention)).or_default() += span.end - span.start;
        }
    }
    let ((device, attention), spent) = found.into_iter().max_by_key(|&(_, time)| time)?;
    let whole = timeline.end() - crate::units::Time::ZERO;
    if spent < whole.scaled(WORTH) {
        return None;
    }
    let mut with = |requests| kernels.cost(device, &Kernel::DecodeAttention(DecodeAttention { requests, ..attention }));
    let now = with(attention.requests).time;
    let fuller = (1..attention.requests).rev().map(|requests| (requests, with(requests)));
    let (fewer, cost) = fuller.into_iter().find(|(_, cost)| cost.bound != Bound::Tail)?;
    Some(format!(
        "attention of {} requests leaves SMs idle in its last wave of blocks (bound by tail, {now:.1} a layer); {fewer} requests fill \
         it ({:.1})",
        attention.requests, cost.time
    ))
}
