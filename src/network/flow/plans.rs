//! When flows will have entered the network: one list for all flows that were planned together.
//!
//! A plan is put in order only as far as it is needed, because a change of rates may well replace it before its end. Flows that
//! are alike end at one instant; their plan is in order from the start and costs nothing.

use crate::id::FlowId;
use crate::units::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A list of flows that were planned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlanId(u32);

/// The plan of flows that have none.
pub(super) const NO_PLAN: PlanId = PlanId(u32::MAX);

/// Memory of a flow's place on a list, in bytes.
pub(super) const ENTRY_BYTES: usize = size_of::<(Time, FlowId)>();

/// The least part of a list that is put in order at a time.
const CHUNK_MIN: usize = 64;
/// The part of a list that is put in order at first: one of so many. Then it is twice as much each time, because a plan that
/// has been followed so far is likely to be followed on.
const CHUNKS: usize = 64;

/// All plans. A flow is on many lists, but only one of them is its own; the caller knows which.
#[derive(Default)]
pub(super) struct Plans {
    plans: Vec<Plan>,
    free: Vec<PlanId>,
    /// The first entry of each plan. One that is no longer the first of its plan is put right when it comes up.
    queue: BinaryHeap<Reverse<(Time, PlanId, u32)>>,
}

#[derive(Default)]
struct Plan {
    entries: Vec<(Time, FlowId)>,
    /// Entries before this one are done with.
    next: usize,
    /// Entries before this one are in order, and none after it is earlier.
    ordered: usize,
    /// How many entries are put in order next.
    chunk: usize,
    /// Flows whose plan this is.
    flows: usize,
    /// How often this place has been used for another plan.
    generation: u32,
}

impl Plans {
    /// The plan that [`Plans::open`] makes next.
    pub(super) fn next_id(&self) -> PlanId {
        self.free.last().copied().unwrap_or(PlanId(self.plans.len() as u32))
    }

    /// Plans the flows of `entries`, which are not empty, and leaves `entries` empty.
    pub(super) fn open(&mut self, entries: &mut Vec<(Time, FlowId)>) -> PlanId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.plans.push(Plan::default());
            PlanId(self.plans.len() as u32 - 1)
        });
        let plan = &mut self.plans[id.0 as usize];
        std::mem::swap(&mut plan.entries, entries);
        (plan.next, plan.ordered, plan.flows) = (0, 0, plan.entries.len());
        plan.chunk = CHUNK_MIN.max(plan.entries.len() / CHUNKS);
        if plan.entries.is_sorted() {
            plan.ordered = plan.entries.len();
        }
        plan.order(|_| true);
        self.queue.push(Reverse((plan.entries[0].0, id, plan.generation)));
        id
    }

    /// A flow gives up its plan.
    pub(super) fn leave(&mut self, id: PlanId) {
        if id == NO_PLAN {
            return;
        }
        let plan = &mut self.plans[id.0 as usize];
        plan.flows -= 1;
        if plan.flows == 0 {
            plan.entries.clear();
            // Few plans are long, and short ones take up little.
            plan.entries.shrink_to(1 << 10);
            plan.generation = plan.generation.wrapping_add(1);
            self.free.push(id);
        }
    }

    /// When the next flow will have entered; `is_on` says whether a plan is that of a flow.
    pub(super) fn next(&mut self, is_on: impl Fn(FlowId, PlanId) -> bool) -> Option<Time> {
        while let Some(&Reverse((at, id, generation))) = self.queue.peek() {
            let plan = &mut self.plans[id.0 as usize];
            if plan.generation != generation {
                self.queue.pop();
                continue;
            }
            let first = plan.first(|flow| is_on(flow, id)).expect("a plan in use has a flow");
            if first.0 == at {
                return Some(at);
            }
            self.queue.pop();
            self.queue.push(Reverse((first.0, id, generation)));
        }
        None
    }

    /// The next flow if it will have entered at `now`. It is to leave its plan before the next call.
    pub(super) fn due(&mut self, now: Time, is_on: impl Fn(FlowId, PlanId) -> bool) -> Option<FlowId> {
        if self.next(&is_on)? > now {
            return None;
        }
        let &Reverse((_, id, _)) = self.queue.peek()?;
        let plan = &mut self.plans[id.0 as usize];
        plan.next += 1;
        Some(plan.entries[plan.next - 1].1)
    }
}

impl Plan {
    /// The first entry whose flow is still on this plan.
    fn first(&mut self, is_on: impl Fn(FlowId) -> bool) -> Option<(Time, FlowId)> {
        loop {
            if self.next == self.ordered {
                self.order(&is_on);
            }
            let entry = *self.entries.get(self.next)?;
            if is_on(entry.1) {
                return Some(entry);
            }
            self.next += 1;
        }
    }

    /// Puts the next entries in order, and drops those of flows that have left.
    fn order(&mut self, is_on: impl Fn(FlowId) -> bool) {
        if self.next < self.ordered || self.ordered == self.entries.len() {
            return;
        }
        if self.next > 0 {
            self.entries.drain(..self.next);
            self.entries.retain(|&(_, flow)| is_on(flow));
            self.next = 0;
        }
        self.ordered = self.entries.len().min(self.chunk);
        self.chunk *= 2;
        if self.ordered < self.entries.len() {
            self.entries.select_nth_unstable(self.ordered);
        }
        self.entries[..self.ordered].sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_come_in_order_and_only_by_their_own_plan() {
        let mut plans = Plans::default();
        let at = |flow: usize, times: usize| Time::from_ps((flow * times % 1009) as u64);
        let flow = |n: usize| FlowId::new(n);
        let mut own = vec![NO_PLAN; 1000];
        let mut entries: Vec<_> = (0..1000).map(|n| (at(n, 7), flow(n))).collect();
        own.fill(plans.open(&mut entries));
        // Every third flow changes its mind.
        let mut entries: Vec<_> = (0..1000).step_by(3).map(|n| (at(n, 11), flow(n))).collect();
        let second = plans.open(&mut entries);
        for n in (0..1000).step_by(3) {
            plans.leave(own[n]);
            own[n] = second;
        }
        let mut came = Vec::new();
        while let Some(now) = plans.next(|flow, plan| own[flow.index()] == plan) {
            while let Some(due) = plans.due(now, |flow, plan| own[flow.index()] == plan) {
                came.push((now, due));
                plans.leave(own[due.index()]);
                own[due.index()] = NO_PLAN;
            }
        }
        let time = |n: usize| at(n, if n.is_multiple_of(3) { 11 } else { 7 });
        let mut expected: Vec<_> = (0..1000).map(|n| (time(n), flow(n))).collect();
        expected.sort_unstable();
        came.sort_by_key(|&(at, flow)| (at, flow));
        assert_eq!(came, expected);
        assert_eq!(plans.free.len(), 2);
    }
}
