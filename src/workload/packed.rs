//! Operations as they are stored while there are millions of them: what many have in common is kept once and named by a number.
//!
//! Kernels are kept for ever, because there are few; what else operations have in common is given up with the last of them.

use super::Kernel;
use super::op::{Label, Op, Work};
use crate::id::{CollectiveId, DeviceId, StreamId};
use crate::units::{Bytes, OutOfRange, Time};
use std::collections::BTreeMap;

/// An operation, of which the rest is in [`Interned`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedOp {
    /// A send's ends; else the stream, and nothing.
    ends: [u32; 2],
    /// Picoseconds, bytes, or the number of a kernel, in halves.
    amount: [u32; 2],
    /// The number of what it has in common with others.
    common: u32,
}

/// What kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Compute,
    Copy,
    Send,
    HostDelay,
    Known,
    Software,
}

/// What many operations have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Common {
    kind: Kind,
    label: Label,
    collective: Option<CollectiveId>,
}

/// What packed operations have in common, each once.
#[derive(Clone, Debug, Default)]
pub struct Interned {
    kernels: Vec<Kernel>,
    kernel_numbers: BTreeMap<Kernel, u32>,
    /// With how many operations have it.
    common: Vec<(Common, u32)>,
    numbers: BTreeMap<Common, u32>,
    free: Vec<u32>,
    /// Numbers that were asked for last, and the place of the oldest: operations that are alike come one after the other.
    recent: [u32; 4],
    oldest: usize,
}

impl Interned {
    /// Packs an operation.
    pub fn pack(&mut self, op: &Op) -> PackedOp {
        let (kind, amount) = match op.work {
            Work::Compute(kernel) => (Kind::Compute, u64::from(self.kernel(&kernel))),
            Work::Copy(bytes) => (Kind::Copy, bytes.get()),
            Work::Send { bytes, .. } => (Kind::Send, bytes.get()),
            Work::HostDelay(time) => (Kind::HostDelay, time.as_ps()),
            Work::Known(time) => (Kind::Known, time.as_ps()),
            Work::Software(time) => (Kind::Software, time.as_ps()),
        };
        let ends = match op.work {
            Work::Send { from, to, .. } => [from.index() as u32, to.index() as u32],
            _ => [op.stream.map_or(0, |stream| stream.index() as u32), 0],
        };
        let common = self.number(Common { kind, label: op.label, collective: op.collective });
        PackedOp { ends, amount: Time::from_ps(amount).halves(), common }
    }

    /// Undoes [`Interned::pack`].
    pub fn unpack(&self, packed: &PackedOp) -> Op {
        let (Common { kind, label, collective }, _) = self.common[packed.common as usize];
        let [first, second] = packed.ends;
        let amount = Time::from_halves(packed.amount);
        let (amount, time) = (amount.as_ps(), amount - Time::ZERO);
        let work = match kind {
            Kind::Compute => Work::Compute(self.kernels[amount as usize]),
            Kind::Copy => Work::Copy(Bytes::new(amount)),
            Kind::Send => {
                let (from, to) = (DeviceId::new(first as usize), DeviceId::new(second as usize));
                Work::Send { from, to, bytes: Bytes::new(amount) }
            }
            Kind::HostDelay => Work::HostDelay(time),
            Kind::Known => Work::Known(time),
            Kind::Software => Work::Software(time),
        };
        let stream = (kind != Kind::Send).then(|| StreamId::new(first as usize));
        Op { work, label, stream, collective }
    }

    /// Gives up an operation that will not be unpacked again.
    pub fn release(&mut self, packed: &PackedOp) {
        let (common, users) = &mut self.common[packed.common as usize];
        *users -= 1;
        if *users == 0 {
            self.numbers.remove(common);
            self.free.push(packed.common);
        }
    }

    fn kernel(&mut self, kernel: &Kernel) -> u32 {
        *self.kernel_numbers.entry(*kernel).or_insert_with(|| {
            self.kernels.push(*kernel);
            number(self.kernels.len() - 1)
        })
    }

    fn number(&mut self, common: Common) -> u32 {
        for known in self.recent {
            if let Some((other, users)) = self.common.get_mut(known as usize)
                && *other == common
                && *users > 0
            {
                *users += 1;
                return known;
            }
        }
        let found = match self.numbers.get(&common) {
            Some(&known) => known,
            None => {
                let fresh = self.free.pop().unwrap_or_else(|| {
                    self.common.push((common, 0));
                    number(self.common.len() - 1)
                });
                self.common[fresh as usize] = (common, 0);
                self.numbers.insert(common, fresh);
                fresh
            }
        };
        self.common[found as usize].1 += 1;
        self.recent[self.oldest] = found;
        self.oldest = (self.oldest + 1) % self.recent.len();
        found
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or_else(|_| OutOfRange::Amount.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Duration;
    use crate::workload::Phase;

    fn op(work: Work, micro_batch: u32) -> Op {
        let stream = (!matches!(work, Work::Send { .. })).then(|| StreamId::new(3));
        let label = Label { phase: Phase::Experts, layer: 1 << 20, micro_batch };
        Op { work, label, stream, collective: Some(CollectiveId::new(7)) }
    }

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        let kernel = |read| Kernel::Elementwise { read: Bytes::new(read), written: Bytes::new(2) };
        let send = Work::Send { from: DeviceId::new(1), to: DeviceId::new(70_000), bytes: Bytes::new(1 << 40) };
        let works = [
            Work::Compute(kernel(1)),
            Work::Compute(kernel(5)),
            Work::Compute(kernel(1)),
            Work::Copy(Bytes::new(u64::MAX)),
            send,
            Work::HostDelay(Duration::from_ps(1 << 33)),
            Work::Known(Duration::from_ps(3)),
            Work::Software(Duration::ZERO),
        ];
        let mut interned = Interned::default();
        let ops: Vec<Op> = works.into_iter().zip(0..).map(|(work, at)| op(work, at)).collect();
        let packed: Vec<PackedOp> = ops.iter().map(|op| interned.pack(op)).collect();
        let unpacked: Vec<Op> = packed.iter().map(|packed| interned.unpack(packed)).collect();
        assert_eq!(unpacked, ops);
        assert_eq!(interned.kernels.len(), 2);
    }

    #[test]
    fn what_nobody_has_in_common_any_more_is_given_up() {
        let mut interned = Interned::default();
        for request in 0..1000 {
            let packed = [0, 0].map(|_| interned.pack(&op(Work::Known(Duration::ZERO), request)));
            assert_eq!(interned.unpack(&packed[1]).label.micro_batch, request);
            packed.iter().for_each(|packed| interned.release(packed));
        }
        assert_eq!((interned.common.len(), interned.numbers.len()), (1, 0));
    }
}
