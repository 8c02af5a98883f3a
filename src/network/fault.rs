//! Faults: what breaks, how, and when; worked out as changes of the rates of links.
//!
//! A network model is handed the finished [`FaultSchedule`] and knows nothing else of faults. This module must not know
//! how a model reacts.

use crate::id::{DeviceId, LinkId};
use crate::invalid::{Invalid, nearest};
use crate::topology::{DeviceKind, LinkKind, Topology};
use crate::units::{Duration, Fraction, Time, long, long_if_any, positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Changes that a schedule may hold; far above any experiment, it bounds memory.
const CHANGES_MAX: u64 = 1 << 22;

/// From `at` on, `link` has `share` of its healthy rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkChange {
    /// When.
    pub at: Time,
    /// Which direction of which cables.
    pub link: LinkId,
    /// Share of the healthy rate: 0 is down, 1 is healthy.
    pub share: Fraction,
}

impl LinkChange {
    /// Whether nothing passes from then on.
    pub fn is_down(&self) -> bool {
        self.share.get() == 0.0
    }
}

/// Every change of a run, in order of time and then of link, at most one for each link and instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultSchedule(Vec<LinkChange>);

impl FaultSchedule {
    /// The schedule of `changes`, given in order of time and then of link.
    pub fn new(changes: Vec<LinkChange>) -> FaultSchedule {
        let key = |change: &LinkChange| (change.at, change.link);
        let ordered = changes.windows(2).all(|pair| key(&pair[0]) < key(&pair[1]));
        assert!(ordered, "changes come in order of time and link, one for each link and instant");
        FaultSchedule(changes)
    }

    /// The changes, in order.
    pub fn changes(&self) -> &[LinkChange] {
        &self.0
    }

    /// Whether everything stays healthy.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One fault, as a scenario's `[[fault]]` describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// What breaks.
    pub target: FaultTarget,
    /// How.
    pub effect: FaultEffect,
    /// From when on, counted from the start of the run.
    #[serde(default)]
    #[serde(deserialize_with = "long")]
    pub from: Duration,
    /// When it is healthy again; never without it.
    #[serde(default, deserialize_with = "long_if_any")]
    pub until: Option<Duration>,
}

/// What breaks. Devices are called as `octoplane topo show` calls them: "node003/nic2", "plane1/pod00/leaf004".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultTarget {
    /// All cables between two devices, in both directions.
    Link(LinkTarget),
    /// One cable at a device, in both directions; of a bundle of parallel cables the others stay.
    Port(PortTarget),
    /// The NIC of that name: its cables and its way to the node.
    Nic(String),
    /// Every switch of a plane, counted from 0.
    Plane(u32),
    /// The switch of that name, with all its cables.
    Switch(String),
}

/// All cables between two devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkTarget {
    /// The names of the two ends.
    pub between: [String; 2],
}

/// One cable at a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortTarget {
    /// The name of the device.
    pub device: String,
    /// Which of its network ports, counted from 0 in the order in which the topology lists its cables.
    pub index: u32,
}

/// How it breaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultEffect {
    /// Nothing passes.
    Down,
    /// It passes a share of its healthy rate.
    Degraded(Degraded),
    /// It goes down again and again.
    Flapping(Flapping),
}

/// A share of the healthy rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Degraded {
    /// The share that is left, between 0 and 1.
    #[serde(deserialize_with = "positive")]
    pub to: Fraction,
}

/// Each period begins with a time of failure and ends in health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flapping {
    /// From one failure to the next.
    #[serde(deserialize_with = "long")]
    pub period: Duration,
    /// How long it is down in each period.
    #[serde(deserialize_with = "long")]
    pub down_for: Duration,
}

/// Works `faults` out on `topology`. Findings are placed by the number of the fault.
///
/// Where faults overlap, each takes its share of what the others leave.
///
/// # Errors
/// When a fault names what the topology does not have, or times that make no sense.
pub fn resolve(faults: &[FaultSpec], topology: &Topology) -> Result<FaultSchedule, Invalid> {
    let mut names = None;
    let mut links: BTreeMap<LinkId, Vec<Turn>> = BTreeMap::new();
    let mut total = 0;
    for (number, fault) in faults.iter().enumerate() {
        let here = |invalid: Invalid| invalid.under(&number.to_string());
        let phases = phases(fault).map_err(here)?;
        let names = names.get_or_insert_with(|| names_of(topology));
        let hits = hits(&fault.target, topology, names).map_err(|invalid| here(invalid.under("target")))?;
        total += 2 * phases.len() as u64 * hits.len() as u64;
        if total > CHANGES_MAX {
            let message = format!("the faults so far change links {total} times; at most {CHANGES_MAX} are worked out");
            return Err(here(Invalid::at("effect", message).help("use a longer period, or end the fault earlier")));
        }
        for Hit { link, cable } in hits {
            let turns = links.entry(link).or_default();
            for &(from, until, share) in &phases {
                turns.push(Turn { at: from, fault: number, cable, share: Some(share) });
                turns.extend(until.map(|at| Turn { at, fault: number, cable, share: None }));
            }
        }
    }
    let mut changes = Vec::new();
    for (link, mut turns) in links {
        // What ends goes before what begins, so that a fault may begin again at the instant at which it ends.
        turns.sort_by_key(|turn| (turn.at, turn.share.is_some(), turn.fault));
        changes.extend(changes_of(link, topology.link(link).cables, &turns));
    }
    changes.sort_by_key(|change: &LinkChange| (change.at, change.link));
    Ok(FaultSchedule::new(changes))
}

/// What of `faults` is at work at `now`, by number, each as a fault that stays.
///
/// # Errors
/// When a fault names times that make no sense.
pub fn at_work(faults: &[FaultSpec], now: Time) -> Result<Vec<(usize, FaultSpec)>, Invalid> {
    let mut found = Vec::new();
    for (number, fault) in faults.iter().enumerate() {
        let phases = phases(fault).map_err(|invalid| invalid.under(&number.to_string()))?;
        let at_now = |&&(from, until, _): &&Phase| from <= now && until.is_none_or(|until| now < until);
        if let Some(&(_, _, share)) = phases.iter().find(at_now) {
            let down = share == Fraction::ZERO;
            let effect = if down { FaultEffect::Down } else { FaultEffect::Degraded(Degraded { to: share }) };
            found.push((number, FaultSpec { effect, from: Duration::ZERO, until: None, ..fault.clone() }));
        }
    }
    Ok(found)
}

/// When a fault is at work, and what share it leaves.
type Phase = (Time, Option<Time>, Fraction);

fn phases(fault: &FaultSpec) -> Result<Vec<Phase>, Invalid> {
    let time = |since_start: Duration| Time::ZERO + since_start;
    if let Some(until) = fault.until
        && until <= fault.from
    {
        let message = format!("the fault ends at {until}, and begins at {}", fault.from);
        return Err(Invalid::at("until", message).help("end it later, or leave `until` out for a fault that stays"));
    }
    let down = Fraction::new(0.0).expect("zero is a part");
    let (from, until) = (time(fault.from), fault.until.map(time));
    match &fault.effect {
        FaultEffect::Down => Ok(vec![(from, until, down)]),
        FaultEffect::Degraded(degraded) => Ok(vec![(from, until, degraded.to)]),
        FaultEffect::Flapping(flapping) => {
            let Flapping { period, down_for } = *flapping;
            let Some(end) = until else {
                let invalid = Invalid::at("effect.flapping", "a link that flaps for ever would keep a run from ending");
                return Err(invalid.help("say with `until` when it stops"));
            };
            if down_for == Duration::ZERO || down_for >= period {
                let message = format!("it is down for {down_for} of every {period}");
                let help = "use more than nothing and less than the period";
                return Err(Invalid::at("effect.flapping.down_for", message).help(help));
            }
            let count = (end - from).as_ps().div_ceil(period.as_ps());
            if count > CHANGES_MAX {
                let message = format!("it fails {count} times; at most {CHANGES_MAX} are worked out");
                return Err(Invalid::at("effect.flapping.period", message).help("use a longer period"));
            }
            let phase = |n: u64| (from + period * n, Some((from + period * n + down_for).min(end)), down);
            Ok((0..count).map(phase).collect())
        }
    }
}

/// What a fault hits of a link: all of it, or one cable of a bundle.
#[derive(Clone, Copy)]
struct Hit {
    link: LinkId,
    cable: Option<u32>,
}

fn hits(target: &FaultTarget, topology: &Topology, names: &[(String, DeviceId)]) -> Result<Vec<Hit>, Invalid> {
    let any = |_: DeviceKind| true;
    let at = |device: DeviceId| {
        topology.out_links(device).chain(topology.in_links(device)).map(|(link, _)| Hit { link, cable: None })
    };
    match target {
        FaultTarget::Link(LinkTarget { between }) => {
            let place = "link.between";
            let [a, b] = [&between[0], &between[1]].map(|name| find(names, topology, name, place, any));
            let (a, b) = (a?, b?);
            let other = |&(_, end): &(LinkId, DeviceId)| end == b;
            let both = topology.out_links(a).filter(other).chain(topology.in_links(a).filter(other));
            let hits: Vec<Hit> = both.map(|(link, _)| Hit { link, cable: None }).collect();
            if hits.is_empty() {
                let message = format!("no cable joins `{}` and `{}`", between[0], between[1]);
                let near: Vec<String> = topology.out_links(a).take(4).map(|(_, end)| topology.name(end)).collect();
                return Err(Invalid::at(place, message).help(format!("`{}` is joined to {}", between[0], list(&near))));
            }
            Ok(hits)
        }
        FaultTarget::Port(port) => port_hits(port, topology, names),
        FaultTarget::Nic(name) => Ok(at(find(names, topology, name, "nic", |kind| kind == DeviceKind::Nic)?).collect()),
        FaultTarget::Switch(name) => {
            let is_switch = |kind: DeviceKind| kind.is_fabric_switch() || kind == DeviceKind::NvSwitch;
            Ok(at(find(names, topology, name, "switch", is_switch)?).collect())
        }
        FaultTarget::Plane(plane) => {
            let switches = || topology.devices().filter(|(_, device)| device.kind.is_fabric_switch());
            let planes = switches().map(|(_, device)| device.plane + 1).max().unwrap_or(0);
            if *plane >= planes {
                let message = format!("there is no plane {plane}; the fabric has {planes}");
                return Err(Invalid::at("plane", message).help("planes are counted from 0"));
            }
            let mut links: Vec<LinkId> = switches()
                .filter(|(_, device)| device.plane == *plane)
                .flat_map(|(id, _)| at(id))
                .map(|hit| hit.link)
                .collect();
            // A cable between two switches of the plane is met from both ends.
            links.sort_unstable();
            links.dedup();
            Ok(links.into_iter().map(|link| Hit { link, cable: None }).collect())
        }
    }
}

/// Both directions of one cable: the `index`-th of the device's network cables, bundle by bundle.
fn port_hits(port: &PortTarget, topology: &Topology, names: &[(String, DeviceId)]) -> Result<Vec<Hit>, Invalid> {
    let device = find(names, topology, &port.device, "port.device", |_| true)?;
    let in_network = |link: LinkId| topology.link(link).kind != LinkKind::Host;
    let mut out: Vec<(LinkId, DeviceId)> = topology.out_links(device).filter(|&(link, _)| in_network(link)).collect();
    out.sort_unstable();
    let mut left = port.index;
    for (link, _) in out.iter().copied() {
        let cables = topology.link(link).cables;
        if left < cables {
            return Ok([link, topology.opposite(link)].map(|link| Hit { link, cable: Some(left) }).into());
        }
        left -= cables;
    }
    let message = format!("`{}` has {} network ports, counted from 0", port.device, port.index - left);
    Err(Invalid::at("port.index", message).help("name a port that it has"))
}

fn names_of(topology: &Topology) -> Vec<(String, DeviceId)> {
    let mut names: Vec<(String, DeviceId)> = topology.devices().map(|(id, _)| (topology.name(id), id)).collect();
    names.sort_unstable();
    names
}

/// The device called `name`, of a kind that is `wanted`.
fn find(
    names: &[(String, DeviceId)],
    topology: &Topology,
    name: &str,
    place: &str,
    wanted: impl Fn(DeviceKind) -> bool,
) -> Result<DeviceId, Invalid> {
    let is_wanted = |id: DeviceId| wanted(topology.device(id).kind);
    if let Ok(at) = names.binary_search_by(|(known, _)| known.as_str().cmp(name))
        && is_wanted(names[at].1)
    {
        return Ok(names[at].1);
    }
    let invalid = Invalid::at(place, format!("no device that can be meant here is called `{name}`"));
    let known = names.iter().filter(|&&(_, id)| is_wanted(id)).map(|(known, _)| known.as_str());
    Err(match nearest(name, known) {
        Some(nearest) => invalid.help(format!("the nearest name is `{nearest}`")),
        None => invalid.help("the topology has no such device"),
    })
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A fault that begins (with the share that it leaves) or ends.
struct Turn {
    at: Time,
    fault: usize,
    cable: Option<u32>,
    share: Option<Fraction>,
}

/// What the turns of one link, in order, make of its rate.
fn changes_of(link: LinkId, cables: u32, turns: &[Turn]) -> Vec<LinkChange> {
    let mut active: BTreeMap<(usize, Option<u32>), Fraction> = BTreeMap::new();
    let mut changes: Vec<LinkChange> = Vec::new();
    let mut before = Fraction::ONE;
    for (at, turn) in turns.iter().enumerate() {
        match turn.share {
            Some(share) => active.insert((turn.fault, turn.cable), share),
            None => active.remove(&(turn.fault, turn.cable)),
        };
        if turns.get(at + 1).is_some_and(|next| next.at == turn.at) {
            continue;
        }
        let share = share_left(cables, &active);
        if share != before {
            changes.push(LinkChange { at: turn.at, link, share });
            before = share;
        }
    }
    changes
}

/// The mean over the cables of what all active faults leave of each.
fn share_left(cables: u32, active: &BTreeMap<(usize, Option<u32>), Fraction>) -> Fraction {
    let product = |cable: Option<u32>| -> f64 {
        active.iter().filter(|((_, hit), _)| *hit == cable).map(|(_, share)| share.get()).product()
    };
    let mut singled_out: Vec<u32> = active.keys().filter_map(|&(_, cable)| cable).collect();
    singled_out.sort_unstable();
    singled_out.dedup();
    let untouched = f64::from(cables) - singled_out.len() as f64;
    let whole: f64 = singled_out.iter().map(|&cable| product(Some(cable))).sum::<f64>() + untouched;
    Fraction::new(product(None) * (whole / f64::from(cables))).expect("shares of a whole make a share")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Device, Link, TopologyBuilder};
    use crate::units::BytesPerSec;

    /// Two NICs behind two leaves, which four cables join.
    fn fabric() -> Topology {
        let mut builder = TopologyBuilder::default();
        let mut device = |kind, index| builder.device(Device { kind, group: 0, plane: 0, index });
        let nics = [device(DeviceKind::Nic, 0), device(DeviceKind::Nic, 1)];
        let leaves = [device(DeviceKind::Leaf, 0), device(DeviceKind::Leaf, 1)];
        let rate = BytesPerSec::new(1_000);
        let link = |kind, cables| Link { kind, bandwidth: rate, achievable: rate, latency: Duration::ZERO, cables };
        builder.connect(nics[0], leaves[0], link(LinkKind::Endpoint, 1));
        builder.connect(nics[1], leaves[1], link(LinkKind::Endpoint, 1));
        builder.connect(leaves[0], leaves[1], link(LinkKind::Fabric, 4));
        builder.finish()
    }

    fn fault(target: FaultTarget, effect: FaultEffect, from: u64, until: Option<u64>) -> FaultSpec {
        FaultSpec { target, effect, from: Duration::from_ps(from), until: until.map(Duration::from_ps) }
    }

    fn port(index: u32) -> FaultTarget {
        FaultTarget::Port(PortTarget { device: "plane0/pod00/leaf000".into(), index })
    }

    fn shares(faults: &[FaultSpec], link: usize) -> Vec<(u64, f64)> {
        let schedule = resolve(faults, &fabric()).expect("legal");
        let of = schedule.changes().iter().filter(|change| change.link == LinkId::new(link));
        of.map(|change| (change.at.as_ps(), change.share.get())).collect()
    }

    #[test]
    fn a_port_takes_one_cable_and_overlapping_faults_multiply() {
        // Port 0 of the leaf leads to its NIC, ports 1 to 4 to the other leaf.
        let half = FaultEffect::Degraded(Degraded { to: Fraction::new(0.5).expect("a half") });
        let between = ["plane0/pod00/leaf001".into(), "plane0/pod00/leaf000".into()];
        let faults = [
            fault(port(1), FaultEffect::Down, 10, Some(40)),
            fault(port(4), FaultEffect::Down, 20, Some(40)),
            fault(FaultTarget::Link(LinkTarget { between }), half, 30, None),
        ];
        for direction in [4, 5] {
            assert_eq!(shares(&faults, direction), [(10, 0.75), (20, 0.5), (30, 0.25), (40, 0.5)]);
        }
        assert_eq!(shares(&faults, 0), []);
    }

    #[test]
    fn flapping_fails_once_a_period_and_ends_in_health() {
        let flapping = Flapping { period: Duration::from_ps(10), down_for: Duration::from_ps(4) };
        let nic = FaultTarget::Nic("node000/nic1".into());
        let faults = [fault(nic, FaultEffect::Flapping(flapping), 5, Some(28))];
        let expected = [(5, 0.0), (9, 1.0), (15, 0.0), (19, 1.0), (25, 0.0), (28, 1.0)];
        assert_eq!(shares(&faults, 2), expected);
        assert_eq!(shares(&faults, 3), expected);
        assert_eq!(shares(&faults, 0), []);
    }

    #[test]
    fn planes_and_switches_take_all_their_cables() {
        let down = |target| resolve(&[fault(target, FaultEffect::Down, 0, None)], &fabric()).expect("legal");
        assert_eq!(down(FaultTarget::Plane(0)).changes().len(), 6);
        let leaf = down(FaultTarget::Switch("plane0/pod00/leaf001".into()));
        let links: Vec<usize> = leaf.changes().iter().map(|change| change.link.index()).collect();
        assert_eq!(links, [2, 3, 4, 5]);
        assert!(leaf.changes().iter().all(LinkChange::is_down));
    }

    #[test]
    fn what_does_not_exist_is_answered_with_what_does() {
        let refused = |spec: FaultSpec| {
            let invalid = resolve(&[spec], &fabric()).expect_err("does not exist");
            (invalid.place.join("."), invalid.help.unwrap_or_default())
        };
        let down = |target| refused(fault(target, FaultEffect::Down, 0, None));
        let (place, help) = down(FaultTarget::Nic("node000/nic7".into()));
        assert_eq!((place.as_str(), help.as_str()), ("0.target.nic", "the nearest name is `node000/nic0`"));
        let (place, help) = down(FaultTarget::Switch("node000/nic0".into()));
        assert_eq!(place, "0.target.switch");
        assert!(help.contains("leaf000"), "{help}");
        assert_eq!(down(FaultTarget::Plane(1)).0, "0.target.plane");
        assert_eq!(down(port(5)).0, "0.target.port.index");
        let between = ["node000/nic0".into(), "node000/nic1".into()];
        assert_eq!(down(FaultTarget::Link(LinkTarget { between })).0, "0.target.link.between");
        assert_eq!(refused(fault(port(0), FaultEffect::Down, 7, Some(7))).0, "0.until");
        let flapping = Flapping { period: Duration::from_ps(10), down_for: Duration::from_ps(4) };
        assert_eq!(refused(fault(port(0), FaultEffect::Flapping(flapping), 0, None)).0, "0.effect.flapping");
    }
}
