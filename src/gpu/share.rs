//! What each of several kernels gets that run on one processor at the same time.
//!
//! Blocks of an older kernel are placed before those of a younger one, and a block keeps its SM to its end: so an older
//! kernel has the SMs that it can fill, and a younger one those that are left, all of them once the older one's last
//! blocks run out (the "left-over" policy of Xu et al., Warped-Slicer, ISCA 2016). A block has its SM for itself, as in every kernel modelled here. Memory bandwidth is shared fairly:
//! who draws less than an equal part gets it, the others share what is left. Nothing is handed out twice, and nothing
//! that is wanted is kept back. This module must not know how long kernels have run, or what they belong to.

use super::{Capacity, Conditions, Course, KernelModel, Taken};
use crate::id::DeviceId;
use crate::units::BytesPerSec;
use crate::workload::Kernel;

/// A kernel whose blocks are to run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contender {
    /// The kernel.
    pub kernel: Kernel,
    /// What it met when it started, without the others.
    pub conditions: Conditions,
    /// The part of its blocks' time that is over.
    pub done: f64,
}

/// What a kernel gets while those beside it stay as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// SMs and memory bandwidth that it does without.
    pub beside: Taken,
    /// How it runs so.
    pub course: Course,
    /// SMs that its blocks hold.
    pub sms: u64,
    /// Memory bandwidth that it draws.
    pub memory: BytesPerSec,
}

/// What each of `contenders` gets of `device`, oldest first; nothing where every SM is held by older ones.
pub fn share(model: &mut dyn KernelModel, device: DeviceId, contenders: &[Contender]) -> Vec<Option<Share>> {
    let capacity = model.capacity(device);
    let mut shares = place(model, device, capacity, contenders);
    let wanted: Vec<u64> = shares.iter().map(|share| share.map_or(0, |share| share.memory.get())).collect();
    let granted = fair(capacity.memory.get(), &wanted);
    for (((share, contender), wanted), granted) in shares.iter_mut().zip(contenders).zip(wanted).zip(granted) {
        let Some(share) = share.as_mut().filter(|_| granted < wanted) else { continue };
        share.beside.memory = BytesPerSec::new(capacity.memory.get() - granted);
        share.course = under(model, device, share.beside, contender);
        share.memory = BytesPerSec::new(granted);
    }
    shares
}

/// Hands out SMs, and asks what is drawn from memory by those that have some.
fn place(
    model: &mut dyn KernelModel,
    device: DeviceId,
    capacity: Capacity,
    contenders: &[Contender],
) -> Vec<Option<Share>> {
    let mut held = 0;
    let mut place = |contender: &Contender| {
        let free = capacity.sms - held;
        if free == 0 {
            return None;
        }
        let beside = Taken { sms: held, memory: BytesPerSec::default() };
        let course = under(model, device, beside, contender);
        let (now, _) = course.at(contender.done);
        let (sms, memory) = (now.sms.clamp(1, free), now.memory.min(capacity.memory));
        held += sms;
        Some(Share { beside, course, sms, memory })
    };
    contenders.iter().map(&mut place).collect()
}

fn under(model: &mut dyn KernelModel, device: DeviceId, beside: Taken, contender: &Contender) -> Course {
    model.course_under(&Conditions { beside, ..contender.conditions }, device, &contender.kernel)
}

/// Max-min fair parts of `all` for those who want `wanted`, rounded down.
fn fair(all: u64, wanted: &[u64]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|&at| (wanted[at], at));
    let mut granted = vec![0; wanted.len()];
    let mut rest = all;
    for (served, &at) in order.iter().enumerate() {
        granted[at] = wanted[at].min(rest / (wanted.len() - served) as u64);
        rest -= granted[at];
    }
    granted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Cost, Stretch};
    use crate::timeline::Bound;
    use crate::units::{Bytes, Duration};

    #[test]
    fn small_wishes_are_granted_and_large_ones_share_the_rest() {
        assert_eq!(fair(100, &[10, 20, 30]), [10, 20, 30]);
        assert_eq!(fair(100, &[90, 10, 80]), [45, 10, 45]);
        assert_eq!(fair(100, &[100, 100]), [50, 50]);
        assert_eq!(fair(100, &[]), [0; 0]);
    }

    /// A processor of 10 SMs and 100 B/s. The number of bytes that a kernel reads says what it is: tens are SMs in its full rounds,
    /// which take half of its time, ones are SMs of its last round; what it writes is what it draws.
    struct Ten;

    impl KernelModel for Ten {
        fn course_under(&mut self, _: &Conditions, _: DeviceId, kernel: &Kernel) -> Course {
            let &Kernel::Elementwise { read, written } = kernel else { panic!("{kernel} is no kernel of this test") };
            let time = Duration::from_ns(1);
            let memory = BytesPerSec::new(written.get());
            let stretch = |sms| Stretch { time, sms, memory };
            Course {
                cost: Cost { time: time * 2, bound: Bound::Tensor },
                launch: Duration::ZERO,
                stretches: [Stretch::default(), stretch(read.get() / 10), stretch(read.get() % 10)],
            }
        }

        fn capacity_beside(&self, _: &Taken, _: DeviceId) -> Capacity {
            Capacity { sms: 10, memory: BytesPerSec::new(100) }
        }
    }

    fn shares(contenders: &[(u64, u64, f64)]) -> Vec<Option<(u64, u64)>> {
        let contender = |&(sms, memory, done)| {
            let kernel = Kernel::Elementwise { read: Bytes::new(sms), written: Bytes::new(memory) };
            Contender { kernel, conditions: Conditions::default(), done }
        };
        let contenders: Vec<Contender> = contenders.iter().map(contender).collect();
        let shares = share(&mut Ten, DeviceId::new(0), &contenders);
        let pair = |share: Share| (share.sms, share.memory.get());
        shares.into_iter().map(|share| share.map(pair)).collect()
    }

    #[test]
    fn the_younger_gets_what_the_older_leaves() {
        // The older one fills the GPU, and later holds three SMs to its end.
        assert_eq!(shares(&[(103, 10, 0.0), (105, 10, 0.0)]), [Some((10, 10)), None]);
        assert_eq!(shares(&[(103, 10, 0.5), (105, 10, 0.0)]), [Some((3, 10)), Some((7, 10))]);
        assert_eq!(shares(&[(40, 0, 0.0), (40, 0, 0.0), (40, 0, 0.0)]), [Some((4, 0)), Some((4, 0)), Some((2, 0))]);
    }

    #[test]
    fn no_more_is_handed_out_than_there_is() {
        let mut random = 12345_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        for _ in 0..2000 {
            let contenders: Vec<(u64, u64, f64)> =
                (0..1 + next(5)).map(|_| (next(11) * 10 + next(10), next(150), next(2) as f64 * 0.5)).collect();
            let got = shares(&contenders);
            let (sms, memory) = got.iter().flatten().fold((0, 0), |sum, got| (sum.0 + got.0, sum.1 + got.1));
            assert!(sms <= 10 && memory <= 100, "{contenders:?} get {got:?}");
            // What is left over, nobody who runs wants.
            let mut pairs = got.iter().zip(&contenders);
            let starved = pairs.any(|(got, wanted)| got.is_some_and(|got| got.1 < wanted.1.min(100)));
            assert!(!starved || memory + got.len() as u64 > 100, "{contenders:?} get {got:?}");
            assert!(got.iter().all(Option::is_some) || sms == 10, "{contenders:?} get {got:?}");
        }
    }
}
