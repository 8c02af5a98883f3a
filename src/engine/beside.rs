//! Kernels beside each other on one device: how far each one is, and when something about it changes next.
//!
//! Whenever the set of those that have blocks to run changes, or one of them starts its last blocks, what each has done is
//! settled, each gets its share anew (`gpu::share`), and the rest of its time is priced under that share. A kernel that is alone all
//! the time is priced once, when it starts. This module must not know what the kernels belong to.

use crate::gpu::{Conditions, Contender, Course, KernelModel, Taken, share};
use crate::id::{DeviceId, OpId};
use crate::timeline::Bound;
use crate::units::{Duration, Time};
use crate::workload::Kernel;

/// The kernels of one device that have started and not ended.
#[derive(Default)]
pub(super) struct Beside(Vec<Running>);

/// A kernel under way.
pub(super) struct Running {
    pub(super) op: OpId,
    kernel: Kernel,
    /// What caches held when it started.
    conditions: Conditions,
    /// When its first block may start.
    from: Time,
    /// Until when its time is accounted for.
    since: Time,
    /// The part of its blocks that is done, by the time that they take in the course that they are in.
    done: f64,
    /// What others hold, and how it runs so; nothing while it waits for an SM.
    share: Option<(Taken, Course)>,
    /// When it ends if nothing changes.
    pub(super) end: Time,
    /// When it is looked at next.
    due: Time,
    /// What its time went to, as far as it was beside others.
    spent: Vec<(Bound, Duration)>,
}

/// An operation whose next change is due at another time.
pub(super) struct Moved {
    pub(super) op: OpId,
    pub(super) before: Time,
    pub(super) due: Time,
}

impl Beside {
    /// Starts a kernel as if it were alone. Whether it is.
    pub(super) fn start(
        &mut self,
        now: Time,
        op: OpId,
        (kernel, conditions): (Kernel, Conditions),
        course: Course,
    ) -> bool {
        let end = now + course.cost.time;
        self.0.push(Running {
            op,
            kernel,
            conditions,
            from: now + course.launch,
            since: now,
            done: 0.0,
            share: Some((Taken::default(), course)),
            end,
            due: end,
            spent: Vec::new(),
        });
        self.0.len() == 1
    }

    /// Notes that the planned change of `op` has come. Whether that is its end.
    pub(super) fn is_over(&mut self, now: Time, op: OpId) -> bool {
        let running = self.0.iter_mut().find(|running| running.op == op).expect("a change is planned for what runs");
        running.due = Time::FAR_FUTURE;
        running.end <= now
    }

    /// Takes out `op`, which ends, and whether others go on without it.
    pub(super) fn finish(&mut self, op: OpId) -> (Running, bool) {
        let at = self.0.iter().position(|running| running.op == op).expect("what ends has been running");
        (self.0.swap_remove(at), !self.0.is_empty())
    }

    /// Works out anew what each kernel gets from `now` on.
    pub(super) fn reshare(&mut self, now: Time, device: DeviceId, kernels: &mut dyn KernelModel) -> Vec<Moved> {
        self.0.iter_mut().for_each(|running| running.settle(now));
        // Blocks are placed in the order in which they could start.
        self.0.sort_by_key(|running| (running.from, running.op));
        let mut contending: Vec<&mut Running> = self.0.iter_mut().filter(|running| running.contends(now)).collect();
        let contender = |running: &&mut Running| {
            let Running { kernel, conditions, done, .. } = **running;
            Contender { kernel, conditions, done }
        };
        let contenders: Vec<Contender> = contending.iter().map(contender).collect();
        let shares = share(kernels, device, &contenders);
        for (running, share) in contending.iter_mut().zip(shares) {
            running.give(now, share.map(|share| (share.beside, share.course)));
        }
        let alone = self.0.len() == 1;
        let moved = |running: &mut Running| {
            let due = if alone { running.end } else { running.next_change(now) };
            let before = std::mem::replace(&mut running.due, due);
            (due != before).then_some(Moved { op: running.op, before, due })
        };
        self.0.iter_mut().filter_map(moved).collect()
    }
}

impl Running {
    /// Whether it has blocks to run at `now`.
    fn contends(&self, now: Time) -> bool {
        self.from <= now && now < self.end
    }

    /// Accounts for the time up to `now`.
    fn settle(&mut self, now: Time) {
        let launched = self.from.min(now);
        if self.since < launched {
            self.spend(Bound::Launch, launched - self.since);
            self.since = launched;
        }
        if self.since < now {
            let time = now - self.since;
            match self.share {
                Some((_, course)) => {
                    self.done += time / course.blocks();
                    self.spend(course.cost.bound, time);
                }
                None => self.spend(Bound::Held, time),
            }
            self.since = now;
        }
    }

    fn spend(&mut self, bound: Bound, time: Duration) {
        match self.spent.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, spent)) => *spent += time,
            None => self.spent.push((bound, time)),
        }
    }

    /// Goes on with `share`. What stays as it was ends when it would have.
    fn give(&mut self, now: Time, share: Option<(Taken, Course)>) {
        if self.share.map(|(beside, _)| beside) == share.map(|(beside, _)| beside) {
            return;
        }
        self.share = share;
        self.end = share.map_or(Time::FAR_FUTURE, |(_, course)| now + left(&course, 1.0 - self.done));
    }

    /// When it ends, starts its first or its last blocks, whichever comes next.
    fn next_change(&self, now: Time) -> Time {
        match self.share {
            _ if now < self.from => self.from,
            Some((_, course)) => match course.at(self.done).1 {
                // Time goes on, however little is left of these blocks.
                until if until < 1.0 => self.end.min(now + left(&course, until - self.done).max(Duration::from_ps(1))),
                _ => self.end,
            },
            None => self.end,
        }
    }

    /// What most of the time went to of a kernel that ends at `now`; nothing for one that was alone.
    pub(super) fn bound(mut self, now: Time) -> Option<Bound> {
        if self.spent.is_empty() {
            return None;
        }
        self.settle(now);
        // Of equals, the first.
        self.spent.iter().rev().max_by_key(|(_, time)| *time).map(|&(bound, _)| bound)
    }
}

/// The time of a `part` of a kernel's blocks.
fn left(course: &Course, part: f64) -> Duration {
    Duration::from_ps((course.blocks().as_ps() as f64 * part.max(0.0)).ceil() as u64)
}
