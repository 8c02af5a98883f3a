//! Any network model, with word of its progress now and then.
//!
//! A model that works long between two arrivals tells of itself; this is for those that do little at a time and much of it.

use super::{Arrived, Flow, LinkUse, NetworkModel, Stranded, Tally, Watch};
use crate::units::Time;

/// Steps and arrivals between two calls of a watch: a fraction of a second of work.
const WATCH_INTERVAL: u64 = 1 << 12;

/// A network model that tells of its progress.
pub struct Watched<'w> {
    inner: Box<dyn NetworkModel + 'w>,
    watch: Watch<'w>,
    tally: Tally,
}

impl<'w> Watched<'w> {
    /// Tells `watch` of the progress of `inner`: each step is an event, each flow that has arrived is counted.
    pub fn new(inner: Box<dyn NetworkModel + 'w>, watch: Watch<'w>) -> Watched<'w> {
        Watched { inner, watch, tally: Tally::default() }
    }
}

impl NetworkModel for Watched<'_> {
    fn start(&mut self, now: Time, flow: Flow) {
        self.inner.start(now, flow);
    }

    fn advance_until(&mut self, limit: Time, arrived: &mut Vec<Arrived>) -> Time {
        let before = arrived.len();
        let now = self.inner.advance_until(limit, arrived);
        let told = (self.tally.events + self.tally.arrived) / WATCH_INTERVAL;
        self.tally.events += 1;
        self.tally.arrived += (arrived.len() - before) as u64;
        if (self.tally.events + self.tally.arrived) / WATCH_INTERVAL > told && now != Time::FAR_FUTURE {
            (self.watch)(now, self.tally);
        }
        now
    }

    fn stranded(&self) -> Vec<Stranded> {
        self.inner.stranded()
    }

    fn link_use(&self) -> Vec<LinkUse> {
        self.inner.link_use()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DeviceId, FlowId, LinkId};
    use crate::units::Bytes;

    /// Hands back whatever it was given, at once.
    struct Echo(Vec<Flow>);

    impl NetworkModel for Echo {
        fn start(&mut self, _: Time, flow: Flow) {
            self.0.push(flow);
        }

        fn advance_until(&mut self, limit: Time, arrived: &mut Vec<Arrived>) -> Time {
            let Some(flow) = self.0.pop() else { return limit };
            let at = Time::from_ps(flow.bytes.get());
            arrived.push(Arrived {
                flow: flow.id,
                port: LinkId::new(0),
                start: at,
                injected: at,
                end: at,
                waited_for: None,
                latency_bound: false,
            });
            at
        }
    }

    #[test]
    fn progress_is_told_every_so_many_steps() {
        let mut told = Vec::new();
        let watch: Watch<'_> = Box::new(|now, tally| told.push((now, tally.events, tally.arrived)));
        let mut network = Watched::new(Box::new(Echo(Vec::new())), watch);
        let mut arrived = Vec::new();
        // Each step is one and brings one arrival.
        for step in 0..WATCH_INTERVAL + 5 {
            let (from, to) = (DeviceId::new(0), DeviceId::new(1));
            network.start(Time::ZERO, Flow { id: FlowId::new(step as usize), from, to, bytes: Bytes::new(step) });
            network.advance_until(Time::FAR_FUTURE, &mut arrived);
        }
        drop(network);
        let at = |step: u64| (Time::from_ps(step - 1), step, step);
        assert_eq!(told, [at(WATCH_INTERVAL / 2), at(WATCH_INTERVAL)]);
    }
}
