//! Results of simulations that other simulations are made of: chunks of a training step, steps of serving. Each is simulated once.
//!
//! Within an experiment they are found by what they do; between experiments by the contents of all that decides them.

use super::Known;
use super::watch::Watcher;
use crate::fingerprint::Fingerprint;
use crate::invalid::Invalid;
use crate::scenario::Scenario;
use crate::timeline::Effort;
use crate::topology::Cluster;
use crate::units::Duration;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

/// Results by what was simulated.
#[derive(Clone, Debug)]
pub(super) struct Memo<K, V>(BTreeMap<K, V>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Memo<K, V> {
        Memo(BTreeMap::new())
    }
}

impl<K: Ord, V> Memo<K, V> {
    /// The result for `key`, which `simulate` finds out if it is not known.
    pub(super) fn of(&mut self, key: K, simulate: impl FnOnce() -> Result<V, Invalid>) -> Result<&V, Invalid> {
        use std::collections::btree_map::Entry;
        Ok(match self.0.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(simulate()?),
        })
    }

    /// How many were simulated.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// How long simulations took that other experiments may ask for too, and what it took to simulate them.
#[derive(Debug, Default)]
pub(super) struct SharedTimes(Mutex<BTreeMap<Fingerprint, (Option<Duration>, Effort)>>);

/// Times that are kept at most.
const TIMES_MAX: usize = 1 << 20;

impl SharedTimes {
    /// The time of what is called `name`, none where it never ends; `simulate` finds out if no experiment has. The effort counts as if this one had.
    pub(super) fn of(
        &self,
        name: Fingerprint,
        watcher: &Watcher<'_>,
        simulate: impl FnOnce() -> Result<Option<Duration>, Invalid>,
    ) -> Result<Option<Duration>, Invalid> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name).copied();
        if let Some((time, effort)) = known {
            watcher.took(effort);
            return Ok(time);
        }
        let before = watcher.effort();
        let time = simulate()?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < TIMES_MAX {
            kept.insert(name, (time, watcher.effort() - before));
        }
        Ok(time)
    }
}

/// A name for all of a scenario but its workload: with a part of that it decides what is simulated.
pub(super) fn name_of(scenario: &Scenario) -> Fingerprint {
    let Scenario {
        name: _,
        description: _,
        workload: _,
        simulation_memory: _,
        seed,
        hardware,
        nodes,
        topology,
        model,
        parallelism,
        memory,
        precision,
        kernel,
        libraries,
        network,
        packet,
        fault,
        routing,
        symmetry,
    } = scenario;
    let plan = (seed, nodes, model, parallelism, memory, precision);
    let machine = (hardware, topology, kernel, libraries, network, packet, fault, routing, symmetry);
    let written = serde_json::to_vec(&(plan, machine)).expect("a scenario can be written down");
    Fingerprint::of(&written)
}

/// A name for a scenario that is called `name` on those nodes of a fabric that `cluster` has, with the rates of their links.
pub(super) fn name_on(name: Fingerprint, cluster: &Cluster) -> Fingerprint {
    let Cluster { topology, gpus, nics, .. } = cluster;
    let mut name = name.then(&topology.wiring().to_le_bytes());
    for device in gpus.iter().chain(nics) {
        name = name.then(&(device.index() as u64).to_le_bytes());
        for (link, _) in topology.out_links(*device).chain(topology.in_links(*device)) {
            name = name.then(&topology.link(link).achievable.get().to_le_bytes());
        }
    }
    name
}

/// A name for `part` of what is called `whole`.
pub(super) fn name_within(whole: Fingerprint, part: &impl Debug) -> Fingerprint {
    whole.then(format!("{part:?}").as_bytes())
}

impl Known {
    /// Times of simulations that experiments have in common.
    pub(super) fn times(&self) -> &SharedTimes {
        &self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Observer;

    #[test]
    fn what_another_experiment_simulated_is_not_simulated_again_and_counts_alike() {
        let known = Known::default();
        let steps = |part: u32, simulated: &mut u32| {
            let watcher = Watcher::new(Observer::default(), &known);
            let simulate = || {
                *simulated += 1;
                watcher.took(Effort { operations: 7, ..Effort::default() });
                Ok(Some(Duration::from_ns(u64::from(part))))
            };
            let name = name_within(Fingerprint::of(b"a deployment"), &part);
            let time = known.times().of(name, &watcher, simulate).expect("a time");
            (time, watcher.effort().operations)
        };
        let mut simulated = 0;
        for part in [3, 4, 3, 3] {
            assert_eq!(steps(part, &mut simulated), (Some(Duration::from_ns(u64::from(part))), 7));
        }
        assert_eq!(simulated, 2);
    }
}
