//! How long steps of workers take: asked for while requests are served, found by simulating steps at a few loads.
//!
//! Times are kept by pool and load, and by what else differs: the faults that reach the worker at the start of the step, and how much
//! of its NICs transfers of keys and values leave to it, in quarters. That is a mean over its NICs: a transfer on one of them has to share it with as
//! many flows of an exchange as there are peers, and slows a step less than a thousandth (`beside_tests`).

use super::Pool;
use super::sites::{Sites, with_nics_left};
use super::times::{StepTimes, axes};
use crate::experiment::watch::Watcher;
use crate::id::{DeviceId, LinkId};
use crate::invalid::Invalid;
use crate::network::{FaultSchedule, FaultSpec, at_work, resolve};
use crate::scenario::Scenario;
use crate::timeline::Effort;
use crate::topology::Cluster;
use crate::units::{BytesPerSec, Duration, Time};
use crate::workload::{KvBeside, PoolKind, StepLoad, StepOracle, WorkerId};
use std::cell::OnceCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Quarters of a NIC.
const ALL: u8 = 4;

/// What decides how long a step takes beside its load.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Condition {
    pool: PoolKind,
    /// The worker, where faults reach it; else the first stands for all.
    place: usize,
    /// Quarters of what NICs carry that are left.
    nics_left: u8,
    /// Faults that reach it, by number.
    faults: Vec<usize>,
}

/// The machines of the first instance of each pool with a part of their NICs, made when they are first asked for.
#[derive(Default)]
pub(super) struct Views([[OnceCell<Cluster>; ALL as usize]; 2]);

/// The steps of both pools.
pub(super) struct Steps<'s, 'p, 'w> {
    sites: &'s Sites<'s>,
    views: &'s Views,
    /// The pools on these machines.
    viewed: BTreeMap<(PoolKind, u8), Pool<'s>>,
    /// The one that decodes, and the one that computes prompts where that is another.
    pools: (&'s Pool<'p>, Option<&'s Pool<'p>>),
    tables: BTreeMap<Condition, StepTimes>,
    /// Conditions under which a step never ends.
    stuck: BTreeSet<Condition>,
    faults: Faults<'s>,
    /// Positions of a prompt that are computed, on average.
    prompt: u64,
    /// Time of the host between steps.
    overhead: Duration,
    /// What a NIC carries each way.
    nic: BytesPerSec,
    watcher: &'s Watcher<'w>,
    taken: u64,
}

impl<'s, 'p, 'w> Steps<'s, 'p, 'w> {
    /// The steps of `pools` at `sites`, under the faults of `scenario`. A prompt has so many positions on average, and the host takes
    /// so long between steps.
    pub(super) fn new(
        (scenario, sites, views): (&'s Scenario, &'s Sites, &'s Views),
        (decode, prefill): (&'s Pool<'p>, Option<&'s Pool<'p>>),
        (prompt, overhead): (u64, Duration),
        watcher: &'s Watcher<'w>,
    ) -> Result<Steps<'s, 'p, 'w>, Invalid> {
        let topology = &sites.whole.topology;
        let rate = |link: LinkId| topology.link(link).achievable;
        let cables = |nic: DeviceId| {
            topology.out_links(nic).filter(|&(_, to)| topology.device(to).kind.is_fabric_switch()).map(|(link, _)| link)
        };
        let nic = sites.whole.nics.first().map_or(BytesPerSec::new(0), |&nic| cables(nic).map(rate).sum());
        let faults = Faults::of(scenario, sites)?;
        let (viewed, tables, stuck) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let pools = (decode, prefill);
        Ok(Steps { sites, views, viewed, pools, tables, stuck, faults, prompt, overhead, nic, watcher, taken: 0 })
    }

    /// Steps that were simulated, and the largest relative error of times between them under the conditions that each pool met most. What was
    /// taken is counted.
    pub(super) fn close(mut self) -> Result<(usize, f64), Invalid> {
        self.watcher.took(Effort { instants: self.taken, ..Effort::default() });
        let mut error = 0.0_f64;
        for pool in [PoolKind::Decode, PoolKind::Prefill] {
            let of_pool = self.tables.iter().filter(|(condition, _)| condition.pool == pool);
            // Of equals, the first.
            let Some(most) = of_pool.rev().max_by_key(|(_, table)| table.uses()).map(|(most, _)| most.clone()) else {
                continue;
            };
            let mut table = self.tables.remove(&most).unwrap_or_default();
            error = error.max(table.error(|load| Ok(self.simulate(&most, load)?.unwrap_or_default()))?);
            self.tables.insert(most, table);
        }
        Ok((self.tables.values().map(StepTimes::runs).sum(), error))
    }

    fn pool(&self, kind: PoolKind) -> &'s Pool<'p> {
        match (kind, self.pools) {
            (PoolKind::Prefill, (_, Some(prefill))) => prefill,
            (_, (decode, _)) => decode,
        }
    }

    /// A step by itself; nothing where it never ends.
    fn simulate(&mut self, condition: &Condition, load: super::Load) -> Result<Option<Duration>, Invalid> {
        let Condition { pool, place, nics_left, faults } = condition;
        let of = self.pool(*pool);
        let worker = WorkerId { pool: *pool, place: *place };
        if faults.is_empty() {
            if *nics_left == ALL {
                return of.time(load, self.prompt, self.watcher);
            }
            let view = &self.views.0[*pool as usize][usize::from(*nics_left)];
            let cluster = view.get_or_init(|| with_nics_left(self.sites.of_worker(worker), *nics_left));
            let viewed = match self.viewed.entry((*pool, *nics_left)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(of.at(of.deployment.scenario, cluster)?),
            };
            return viewed.time(load, self.prompt, self.watcher);
        }
        let mut scenario = of.deployment.scenario.clone();
        scenario.fault = faults.iter().map(|&number| self.faults.lasting[number].clone()).collect();
        let cluster = with_nics_left(self.sites.of_worker(worker), *nics_left);
        of.at(&scenario, &cluster)?.time(load, self.prompt, self.watcher)
    }

    fn condition(&mut self, now: Time, worker: WorkerId, beside: KvBeside) -> Result<Condition, Invalid> {
        let nics = self.pool(worker.pool).deployment.cluster.nics.len() as u64;
        let nics_left = quarters_left(beside, self.nic * nics);
        let faults = self.faults.reaching(now, worker, self.sites)?;
        let place = if faults.is_empty() { 0 } else { worker.place };
        Ok(Condition { pool: worker.pool, place, nics_left, faults })
    }
}

impl StepOracle for Steps<'_, '_, '_> {
    fn time(&mut self, now: Time, worker: WorkerId, load: &StepLoad, beside: KvBeside) -> Result<Duration, Invalid> {
        let condition = self.condition(now, worker, beside)?;
        let mut table = self.tables.remove(&condition).unwrap_or_default();
        let mut ends = !self.stuck.contains(&condition);
        let mut time = Duration::ZERO;
        if ends {
            time = table.at(axes(load), |load| {
                let time = self.simulate(&condition, load)?;
                ends &= time.is_some();
                Ok(time.unwrap_or_default())
            })?;
        }
        self.tables.insert(condition.clone(), table);
        if ends {
            self.taken += 1;
            return Ok(time + self.overhead);
        }
        self.stuck.insert(condition);
        // It goes on when something heals.
        let Some(next) = self.faults.next_change(now) else {
            let message =
                format!("from {now} on no way is left between GPUs of an instance, so that no step of it ends");
            return Err(Invalid::at("fault", message).help("let faults end with `until`, or leave more of the fabric"));
        };
        Ok((next - now) + self.time(next, worker, load, KvBeside::default())?)
    }
}

/// How many quarters of what the NICs of an instance carry transfers leave to a step, if they go on as they did since the step before.
fn quarters_left(beside: KvBeside, nics: BytesPerSec) -> u8 {
    let passed = nics.over(beside.over);
    if passed.get() == 0 {
        return ALL;
    }
    let left = 1.0 - (beside.bytes / passed).min(1.0);
    ((left * f64::from(ALL)).round() as u8).clamp(1, ALL)
}

/// What breaks, and whom it reaches when.
struct Faults<'s> {
    all: &'s [FaultSpec],
    schedule: FaultSchedule,
    /// Each as if it stayed for good, as it was when it was last at work.
    lasting: Vec<FaultSpec>,
    /// The links that each changes.
    links: Vec<Vec<LinkId>>,
    /// Those at work, and from when until when these are.
    now: Vec<usize>,
    during: Range<Time>,
    reach: BTreeMap<(WorkerId, usize), bool>,
}

impl<'s> Faults<'s> {
    fn of(scenario: &'s Scenario, sites: &Sites) -> Result<Faults<'s>, Invalid> {
        let topology = &sites.whole.topology;
        let resolved = |faults: &[FaultSpec]| resolve(faults, topology).map_err(|invalid| invalid.under("fault"));
        let schedule = resolved(&scenario.fault)?;
        let links = scenario.fault.iter().map(|fault| {
            let changes = resolved(std::slice::from_ref(fault))?;
            let mut links: Vec<LinkId> = changes.changes().iter().map(|change| change.link).collect();
            links.sort_unstable();
            links.dedup();
            Ok(links)
        });
        let links = links.collect::<Result<_, Invalid>>()?;
        let (all, lasting) = (&scenario.fault[..], scenario.fault.clone());
        Ok(Faults {
            all,
            schedule,
            lasting,
            links,
            now: Vec::new(),
            during: Time::ZERO..Time::ZERO,
            reach: BTreeMap::new(),
        })
    }

    /// The next change after `now`.
    fn next_change(&self, now: Time) -> Option<Time> {
        let changes = self.schedule.changes();
        changes.get(changes.partition_point(|change| change.at <= now)).map(|change| change.at)
    }

    /// The faults that are at work at `now` and can reach the steps of `worker`.
    fn reaching(&mut self, now: Time, worker: WorkerId, sites: &Sites) -> Result<Vec<usize>, Invalid> {
        if self.all.is_empty() {
            return Ok(Vec::new());
        }
        if !self.during.contains(&now) {
            let found = at_work(self.all, now).map_err(|invalid| invalid.under("fault"))?;
            self.now = found.iter().map(|(number, _)| *number).collect();
            found.into_iter().for_each(|(number, fault)| self.lasting[number] = fault);
            self.during = now..self.next_change(now).unwrap_or(Time::FAR_FUTURE);
        }
        let mut reaching = Vec::new();
        for &number in &self.now {
            let links = &self.links;
            let reach = self.reach.entry((worker, number));
            if *reach.or_insert_with(|| links[number].iter().any(|&link| sites.concerns(link, worker))) {
                reaching.push(number);
            }
        }
        Ok(reaching)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;

    #[test]
    fn transfers_leave_quarters_of_a_nic() {
        let nic = BytesPerSec::new(1000);
        let second = Duration::from_ns(1_000_000_000);
        let left = |bytes, over| quarters_left(KvBeside { bytes: Bytes::new(bytes), over }, nic);
        assert_eq!(left(0, second), 4);
        assert_eq!([100, 200, 400, 600, 900, 5000].map(|bytes| left(bytes, second)), [4, 3, 2, 2, 1, 1]);
        assert_eq!(left(5000, Duration::ZERO), 4, "no step before");
    }
}
