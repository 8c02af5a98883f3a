//! The states in which faults leave the network.

use crate::network::{FaultSchedule, LinkChange};
use crate::units::Time;
use std::collections::BTreeMap;

/// States that are told apart.
const STATES_MAX: usize = 8;

/// What is left of the rates of links.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    /// Share of the healthy rate, by place of the link; healthy ones are not named.
    left: BTreeMap<usize, f64>,
    n_links: usize,
}

impl State {
    pub(super) fn is_healthy(&self) -> bool {
        self.left.is_empty()
    }

    /// Which links pass anything, by place of the link.
    pub(super) fn usable(&self) -> Vec<bool> {
        let mut usable = vec![true; self.n_links];
        for (&link, &share) in &self.left {
            usable[link] = share > 0.0;
        }
        usable
    }

    /// What is left of the rate of the link at `place`.
    pub(super) fn share(&self, place: usize) -> f64 {
        self.left.get(&place).copied().unwrap_or(1.0)
    }

    fn change(&mut self, change: &LinkChange) {
        match change.share.get() {
            1.0 => self.left.remove(&change.link.index()),
            share => self.left.insert(change.link.index(), share),
        };
    }
}

/// The different states that `faults` leave the network in; none where there are too many.
pub(super) fn states(faults: &FaultSchedule, n_links: usize) -> Option<Vec<State>> {
    let mut state = State { left: BTreeMap::new(), n_links };
    let changes = faults.changes();
    let mut states = Vec::new();
    if changes.first().is_none_or(|change| change.at > Time::ZERO) {
        states.push(state.clone());
    }
    for together in changes.chunk_by(|one, next| one.at == next.at) {
        together.iter().for_each(|change| state.change(change));
        if !states.contains(&state) {
            states.push(state.clone());
        }
        if states.len() > STATES_MAX {
            return None;
        }
    }
    Some(states)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;
    use crate::units::Fraction;

    fn change(at: u64, link: usize, share: f64) -> LinkChange {
        LinkChange { at: Time::from_ps(at), link: LinkId::new(link), share: Fraction::new(share).expect("a share") }
    }

    #[test]
    fn a_fault_that_heals_leaves_two_states_and_one_from_the_start_leaves_one() {
        let of = |changes: Vec<LinkChange>| states(&FaultSchedule::new(changes), 4).expect("few");
        assert_eq!(of(Vec::new()).len(), 1);
        let stays = of(vec![change(0, 1, 0.0), change(0, 2, 0.5)]);
        assert_eq!((stays.len(), stays[0].share(2), stays[0].usable()), (1, 0.5, vec![true, false, true, true]));
        let flaps: Vec<LinkChange> = (0..9).map(|turn| change(turn + 1, 3, f64::from(turn as u32 % 2))).collect();
        assert_eq!(of(flaps).len(), 2);
        let many = (0..9).map(|turn| change(turn, 3, 0.1 * turn as f64)).collect();
        assert_eq!(states(&FaultSchedule::new(many), 4), None);
    }
}
