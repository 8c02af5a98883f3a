//! Word of progress from the networks that an experiment simulates, one after the other, and what all of them took.
//!
//! This module must not know who is told.

use super::Known;
use super::footprint::Estimate;
use crate::network::{Tally, Watch};
use crate::scenario::memory_room;
use crate::timeline::Effort;
use crate::units::{MemoryRoom, Time};
use std::cell::{Cell, RefCell};

/// How far an experiment is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// What is simulated now, where an experiment consists of several simulations; else nothing.
    pub part: &'a str,
    /// The instant that this simulation has reached.
    pub at: Time,
    /// Events of the network, of all parts so far.
    pub events: u64,
    /// Hops of packets, likewise.
    pub hops: u64,
    /// Transfers that have arrived, likewise.
    pub transfers: u64,
}

/// Who is told of progress.
type Tell<'a> = &'a mut dyn FnMut(&Progress<'_>);

/// Who watches an experiment.
#[derive(Default)]
pub struct Observer<'a> {
    /// Is told of progress now and then.
    pub progress: Option<&'a mut dyn FnMut(&Progress<'_>)>,
    /// Is told what a simulation will take before it begins, if it is a long one.
    pub estimate: Option<&'a dyn Fn(&Estimate)>,
}

/// What the simulations of an experiment share: who hears of them, what they have in common, what all of them took. A workload may run
/// simulations while it is simulated itself.
pub(crate) struct Watcher<'a> {
    progress: Option<RefCell<Tell<'a>>>,
    estimate: Option<&'a dyn Fn(&Estimate)>,
    known: &'a Known,
    /// Memory that there was when the experiment began.
    room: MemoryRoom,
    part: RefCell<String>,
    /// What all networks have told of.
    told: Cell<Tally>,
    effort: Cell<Effort>,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(observer: Observer<'a>, known: &'a Known) -> Watcher<'a> {
        Watcher {
            progress: observer.progress.map(RefCell::new),
            estimate: observer.estimate,
            known,
            room: memory_room(),
            part: RefCell::default(),
            told: Cell::default(),
            effort: Cell::default(),
        }
    }

    /// What the experiment has in common with others.
    pub(super) fn known(&self) -> &'a Known {
        self.known
    }

    /// Who is told what a simulation will take.
    pub(super) fn tell(&self) -> Option<&'a dyn Fn(&Estimate)> {
        self.estimate
    }

    /// Memory that there is for a simulation.
    pub(super) fn room(&self) -> MemoryRoom {
        self.room
    }

    /// Names what is simulated from now on, if anybody watches.
    pub(super) fn begin(&self, part: impl FnOnce() -> String) {
        if self.progress.is_some() {
            self.part.replace(part());
        }
    }

    /// Counts what it took to simulate a part.
    pub(super) fn took(&self, more: Effort) {
        let mut effort = self.effort.get();
        effort += more;
        self.effort.set(effort);
    }

    /// What all parts took so far.
    pub(crate) fn effort(&self) -> Effort {
        self.effort.get()
    }

    /// What the next network is to tell, if anybody watches.
    pub(super) fn watch(&self) -> Option<Watch<'_>> {
        let progress = self.progress.as_ref()?;
        let (part, mut last) = (self.part.borrow().clone(), Tally::default());
        Some(Box::new(move |at, tally| {
            // Another network may have told of something meanwhile.
            let mut told = self.told.get();
            told.events += tally.events - last.events;
            told.hops += tally.hops - last.hops;
            told.arrived += tally.arrived - last.arrived;
            self.told.set(told);
            last = tally;
            let Tally { events, hops, arrived: transfers, .. } = told;
            (progress.borrow_mut())(&Progress { part: &part, at, events, hops, transfers });
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_networks_tell_is_added_up_under_the_name_of_the_part() {
        let mut told = Vec::new();
        let mut observer = |progress: &Progress<'_>| {
            told.push((progress.part.to_owned(), progress.at, progress.events, progress.hops, progress.transfers));
        };
        let known = Known::default();
        let watcher = Watcher::new(Observer { progress: Some(&mut observer), estimate: None }, &known);
        for (part, events) in [("one", [3, 5]), ("two", [2, 9])] {
            watcher.begin(|| part.to_owned());
            let mut watch = watcher.watch().expect("somebody watches");
            for events in events {
                let tally = Tally { events, hops: 10 * events, arrived: 1, ..Tally::default() };
                watch(Time::from_ps(events), tally);
            }
        }
        let at =
            |part: &str, ps, events, transfers| (part.to_owned(), Time::from_ps(ps), events, 10 * events, transfers);
        assert_eq!(told, [at("one", 3, 3, 1), at("one", 5, 5, 1), at("two", 2, 7, 2), at("two", 9, 14, 2)]);
        assert!(Watcher::new(Observer::default(), &known).watch().is_none(), "nobody watches");
    }
}
