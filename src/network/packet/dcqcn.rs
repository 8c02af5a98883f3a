//! DCQCN, the congestion control of RoCE end points (Zhu et al., SIGCOMM 2015, section 3): how the rate of a sender falls
//! with notifications and rises without.
//!
//! Timers are worked out when the sender next looks at its rate, so that a sender costs no events of its own.

use crate::hardware::DcqcnSpec;

/// The rate limiter of one flow. Rates are in bytes per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limiter {
    /// The rate now, that before the last fall, and that of the line.
    rate: f64,
    target: f64,
    line: f64,
    /// Estimate of congestion (alpha).
    alpha: f64,
    /// When the estimate falls next, and when the rate rises next by time; none while it is at the line's rate.
    alpha_due: u64,
    rise_due: u64,
    /// Data until the rate rises next by volume.
    rise_bytes: u64,
    /// Rises since the last fall, by time and by volume.
    rises: [u32; 2],
    /// When the sender was last told.
    notified: Option<u64>,
}

impl Limiter {
    pub(super) fn new(line: f64) -> Limiter {
        Limiter {
            rate: line,
            target: line,
            line,
            alpha: 1.0,
            // The estimate falls only after the first notification has been heard.
            alpha_due: u64::MAX,
            rise_due: 0,
            rise_bytes: 0,
            rises: [0; 2],
            notified: None,
        }
    }

    /// Whether the receiver notifies the sender of a mark seen at `now`.
    pub(super) fn notifies(&mut self, now: u64, spec: &DcqcnSpec) -> bool {
        let due = self.notified.is_none_or(|last| now >= last + spec.notification_interval.as_ps());
        if due {
            self.notified = Some(now);
        }
        due
    }

    /// The sender hears of congestion.
    pub(super) fn fall(&mut self, now: u64, spec: &DcqcnSpec) {
        self.catch_up(now, spec);
        let gain = spec.gain.get();
        self.target = self.rate;
        self.rate *= 1.0 - self.alpha / 2.0;
        self.alpha = (1.0 - gain) * self.alpha + gain;
        self.alpha_due = now + spec.alpha_interval.as_ps();
        self.rise_due = now + spec.rise_interval.as_ps();
        self.rise_bytes = spec.rise_bytes.get();
        self.rises = [0; 2];
    }

    /// Sends `bytes` at `now`, and tells when the next packet may go, in ps.
    pub(super) fn pace(&mut self, now: u64, bytes: u32, spec: &DcqcnSpec) -> u64 {
        self.catch_up(now, spec);
        if self.rate >= self.line {
            return now;
        }
        let left = self.rise_bytes.saturating_sub(u64::from(bytes));
        self.rise_bytes = left;
        if left == 0 {
            self.rise_bytes = spec.rise_bytes.get();
            self.rises[1] += 1;
            self.rise(spec);
        }
        now + (f64::from(bytes) * 1e12 / self.rate) as u64
    }

    /// Works out what timers have done until `now`.
    fn catch_up(&mut self, now: u64, spec: &DcqcnSpec) {
        while self.rate < self.line && self.rise_due <= now {
            self.rise_due += spec.rise_interval.as_ps();
            self.rises[0] += 1;
            self.rise(spec);
        }
        // The estimate matters at the next fall only, and what is left of it after so long is nothing.
        let mut steps = 0;
        while self.alpha_due <= now && steps < 4096 {
            self.alpha_due += spec.alpha_interval.as_ps();
            self.alpha *= 1.0 - spec.gain.get();
            steps += 1;
        }
    }

    /// One step: halfway back to the old rate, and after enough of them beyond it.
    fn rise(&mut self, spec: &DcqcnSpec) {
        let recovery = spec.recovery_steps.get();
        let [by_time, by_volume] = self.rises;
        if by_time.max(by_volume) > recovery {
            // Beyond recovery by both, each further step adds as many times as much (hyper increase).
            let hyper = by_time.min(by_volume).saturating_sub(recovery).max(1);
            self.target = (self.target + f64::from(hyper) * spec.additive_step.get() as f64).min(self.line);
        }
        self.rate = f64::midpoint(self.rate, self.target);
        // A rate within a thousandth of the line is the line's.
        if self.rate > self.line * 0.999 {
            self.rate = self.line;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Bytes, BytesPerSec, Count, Duration, Fraction};

    fn spec() -> DcqcnSpec {
        DcqcnSpec {
            notification_interval: Duration::from_ns(50_000),
            gain: Fraction::new(1.0 / 256.0).expect("a part"),
            alpha_interval: Duration::from_ns(55_000),
            rise_interval: Duration::from_ns(55_000),
            rise_bytes: Bytes::new(10_000_000),
            recovery_steps: Count::new(5).expect("positive"),
            additive_step: BytesPerSec::new(50_000_000),
        }
    }

    #[test]
    fn the_first_notification_halves_the_rate_and_recovery_halves_the_gap() {
        let (spec, line) = (spec(), 50e9);
        let mut limiter = Limiter::new(line);
        assert_eq!(limiter.pace(7, 4096, &spec), 7, "an idle fabric does not slow anyone down");
        assert!(limiter.notifies(1_000, &spec));
        assert!(!limiter.notifies(2_000, &spec), "one notification in 50 us");
        limiter.fall(1_000, &spec);
        let gap = |limiter: &mut Limiter, now: u64| limiter.pace(now, 4096, &spec) - now;
        assert_eq!(gap(&mut limiter, 1_001), (4096.0 * 1e12 / 25e9) as u64);
        // After one interval it is three quarters of the line's rate.
        assert_eq!(gap(&mut limiter, 55_001_001), (4096.0 * 1e12 / 37.5e9) as u64);
        // After long enough, it is back.
        assert_eq!(gap(&mut limiter, 5_000_000_000), 0);
    }
}
