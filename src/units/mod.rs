//! Typed quantities with only the algebra that means something.
//!
//! Instants and durations are integer picoseconds (213 days of range), amounts and rates are integers too, so that a
//! simulation never depends on rounding order. Durations round **up**, volumes round **down**: a model built on these
//! types is never faster than its hardware. This module must not know what the quantities describe.

mod fields;
mod legal;
mod overflow;
mod text;

pub use fields::{Count, Fraction};
pub use legal::{Positive, long, long_if_any, or_zero, positive, positive_if_any, some_power};
pub use overflow::{MemoryRoom, OutOfRange, within_range};
pub use text::{ParseQuantityError, Quantity};

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

/// Picoseconds in one second.
pub const PS_PER_SEC: u128 = 1_000_000_000_000;

/// An instant on the simulation's one clock, in picoseconds since its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

/// A difference of two instants, in picoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(u64);

/// An amount of data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(u64);

/// A data rate, always per direction and always stored in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BytesPerSec(u64);

/// An amount of floating-point work (a multiply-add counts as two).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Flops(u128);

/// A rate of floating-point work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FlopsPerSec(u64);

/// A clock rate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hertz(u64);

/// Electrical power, in milliwatts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Watts(u64);

/// Energy, in attojoules.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Joules(u64);

/// Money, in micro-dollars.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Usd(u64);

/// A price of time, in micro-dollars per hour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UsdPerHour(u64);

impl Time {
    /// The start of the simulation.
    pub const ZERO: Time = Time(0);
    /// Later than every event: "no limit".
    pub const FAR_FUTURE: Time = Time(u64::MAX);

    /// The instant `ps` picoseconds after the start.
    pub const fn from_ps(ps: u64) -> Time {
        Time(ps)
    }

    /// Picoseconds since the start.
    pub const fn as_ps(self) -> u64 {
        self.0
    }

    /// The same in two halves, the lower one first, for records that are to be small.
    pub const fn halves(self) -> [u32; 2] {
        [self.0 as u32, (self.0 >> 32) as u32]
    }

    /// Undoes [`Time::halves`].
    pub const fn from_halves([low, high]: [u32; 2]) -> Time {
        Time(low as u64 | (high as u64) << 32)
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(0);

    /// A duration of `ps` picoseconds.
    pub const fn from_ps(ps: u64) -> Duration {
        Duration(ps)
    }

    /// A duration of `ns` nanoseconds.
    pub const fn from_ns(ns: u64) -> Duration {
        Duration(ns * 1_000)
    }

    /// Picoseconds.
    pub const fn as_ps(self) -> u64 {
        self.0
    }

    /// Seconds, for ratios and reports.
    pub fn as_secs(self) -> f64 {
        self.0 as f64 / PS_PER_SEC as f64
    }

    /// `ps` picoseconds, rounded up to whole ones; what exceeds a whole number by no more than rounding does is that number.
    pub fn rounded_up(ps: f64) -> Duration {
        const RANGE: f64 = (1_u64 << 62) as f64;
        if ps.is_nan() || ps >= RANGE {
            OutOfRange::Time.end();
        }
        let whole = ps as u64;
        let slack = 1e-3 + ps / (1_u64 << 40) as f64;
        Duration(whole + u64::from(ps - whole as f64 > slack))
    }

    /// `factor` times as long, rounded up.
    pub fn scaled(self, factor: f64) -> Duration {
        Duration::rounded_up(self.0 as f64 * factor)
    }

    /// One of so many equal parts, rounded up.
    pub const fn part_of(self, parts: u64) -> Duration {
        Duration(self.0.div_ceil(parts))
    }

    /// `self - other`, or nothing when `other` is longer.
    pub fn saturating_sub(self, other: Duration) -> Duration {
        Duration(self.0.saturating_sub(other.0))
    }
}

impl Bytes {
    /// No data.
    pub const ZERO: Bytes = Bytes(0);

    /// An amount of `bytes` bytes.
    pub const fn new(bytes: u64) -> Bytes {
        Bytes(bytes)
    }

    /// The amount that `bits` bits occupy, rounded up to whole bytes.
    pub fn from_bits(bits: u128) -> Bytes {
        Bytes(narrow(bits.div_ceil(8), OutOfRange::Amount))
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl BytesPerSec {
    /// A rate of `bytes` bytes per second.
    pub const fn new(bytes: u64) -> BytesPerSec {
        BytesPerSec(bytes)
    }

    /// Bytes per second.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The part of this rate that is achieved, rounded down but never to zero.
    pub fn achieved(self, part: Fraction) -> BytesPerSec {
        BytesPerSec(scale_rate(self.0, part))
    }

    /// What moves in `time`, rounded down.
    pub fn over(self, time: Duration) -> Bytes {
        Bytes(narrow(u128::from(self.0) * u128::from(time.0) / PS_PER_SEC, OutOfRange::Amount))
    }
}

impl Flops {
    /// No work.
    pub const ZERO: Flops = Flops(0);

    /// An amount of `flops` floating-point operations.
    pub const fn new(flops: u128) -> Flops {
        Flops(flops)
    }

    /// The number of operations.
    pub const fn get(self) -> u128 {
        self.0
    }

    /// The number of operations, for ratios and reports.
    pub fn as_f64(self) -> f64 {
        self.0 as f64
    }
}

impl FlopsPerSec {
    /// A rate of `flops` operations per second.
    pub const fn new(flops: u64) -> FlopsPerSec {
        FlopsPerSec(flops)
    }

    /// Operations per second.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The part of this rate that is achieved, rounded down but never to zero.
    pub fn achieved(self, part: Fraction) -> FlopsPerSec {
        FlopsPerSec(scale_rate(self.0, part))
    }
}

impl Hertz {
    /// A clock of `hertz` cycles per second.
    pub const fn new(hertz: u64) -> Hertz {
        Hertz(hertz)
    }

    /// Cycles per second.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Watts {
    /// A power of `milliwatts` thousandths of a watt.
    pub const fn from_milli(milliwatts: u64) -> Watts {
        Watts(milliwatts)
    }

    /// Watts, for reports.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e3
    }
}

impl Joules {
    /// An energy of `attojoules` billionths of a nanojoule.
    pub const fn from_atto(attojoules: u64) -> Joules {
        Joules(attojoules)
    }

    /// Joules, for ratios.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e18
    }
}

impl Usd {
    /// No money.
    pub const ZERO: Usd = Usd(0);

    /// An amount of `micro` millionths of a dollar.
    pub const fn from_micro(micro: u64) -> Usd {
        Usd(micro)
    }

    /// Dollars, for ratios and reports.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl UsdPerHour {
    /// A price of `micro` millionths of a dollar per hour.
    pub const fn from_micro(micro: u64) -> UsdPerHour {
        UsdPerHour(micro)
    }

    /// Dollars per hour, for ratios and reports.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// What `time` costs, rounded up.
    pub fn over(self, time: Duration) -> Usd {
        Usd(narrow((u128::from(self.0) * u128::from(time.0)).div_ceil(3600 * PS_PER_SEC), OutOfRange::Amount))
    }
}

fn narrow(value: u128, what: OutOfRange) -> u64 {
    u64::try_from(value).unwrap_or_else(|_| what.end())
}

fn scale_rate(rate: u64, part: Fraction) -> u64 {
    ((rate as f64 * part.get()) as u64).max(1)
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, rhs: Duration) -> Time {
        Time(self.0.checked_add(rhs.0).unwrap_or_else(|| OutOfRange::Time.end()))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub for Time {
    type Output = Duration;
    fn sub(self, rhs: Time) -> Duration {
        assert!(self.0 >= rhs.0, "time runs forward: {self} - {rhs}");
        Duration(self.0 - rhs.0)
    }
}

/// How long moving this amount at that rate takes, rounded up.
impl Div<BytesPerSec> for Bytes {
    type Output = Duration;
    fn div(self, rate: BytesPerSec) -> Duration {
        assert!(rate.0 > 0, "a rate of zero moves nothing: {self} / {rate}");
        Duration(narrow((u128::from(self.0) * PS_PER_SEC).div_ceil(u128::from(rate.0)), OutOfRange::Time))
    }
}

/// How long this much work at that rate takes, rounded up.
impl Div<FlopsPerSec> for Flops {
    type Output = Duration;
    fn div(self, rate: FlopsPerSec) -> Duration {
        assert!(rate.0 > 0, "a rate of zero does no work: {self} / {rate}");
        let scaled = self.0.checked_mul(PS_PER_SEC).unwrap_or_else(|| OutOfRange::Time.end());
        Duration(narrow(scaled.div_ceil(u128::from(rate.0)), OutOfRange::Time))
    }
}

macro_rules! additive {
    ($($quantity:ident($repr:ty, $what:ident)),*) => {$(
        impl Add for $quantity {
            type Output = $quantity;
            fn add(self, rhs: $quantity) -> $quantity {
                $quantity(self.0.checked_add(rhs.0).unwrap_or_else(|| OutOfRange::$what.end()))
            }
        }
        impl AddAssign for $quantity {
            fn add_assign(&mut self, rhs: $quantity) {
                *self = *self + rhs;
            }
        }
        impl Sub for $quantity {
            type Output = $quantity;
            fn sub(self, rhs: $quantity) -> $quantity {
                $quantity(self.0 - rhs.0)
            }
        }
        impl Mul<u64> for $quantity {
            type Output = $quantity;
            fn mul(self, rhs: u64) -> $quantity {
                $quantity(self.0.checked_mul(<$repr>::from(rhs)).unwrap_or_else(|| OutOfRange::$what.end()))
            }
        }
        impl Sum for $quantity {
            fn sum<I: Iterator<Item = $quantity>>(items: I) -> $quantity {
                items.fold($quantity(0), Add::add)
            }
        }
        /// How many times the right side fits into the left, as a plain ratio.
        impl Div for $quantity {
            type Output = f64;
            fn div(self, rhs: $quantity) -> f64 {
                self.0 as f64 / rhs.0 as f64
            }
        }
    )*};
}

additive!(
    Duration(u64, Time),
    Bytes(u64, Amount),
    BytesPerSec(u64, Amount),
    Flops(u128, Amount),
    FlopsPerSec(u64, Amount),
    Watts(u64, Amount),
    Usd(u64, Amount),
    UsdPerHour(u64, Amount)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_up_and_volumes_round_down() {
        assert_eq!(Bytes::new(1) / BytesPerSec::new(3), Duration::from_ps(333_333_333_334));
        assert_eq!(BytesPerSec::new(3).over(Duration::from_ps(333_333_333_333)), Bytes::new(0));
        assert_eq!(Flops::new(2_000) / FlopsPerSec::new(1_000_000_000_000_000), Duration::from_ps(2));
        assert_eq!(Duration::from_ps(10).scaled(0.25), Duration::from_ps(3));
        assert_eq!(BytesPerSec::new(10).achieved(Fraction::new(0.25).unwrap()), BytesPerSec::new(2));
    }

    #[test]
    fn durations_round_up_but_not_for_what_rounding_adds() {
        let ps = |value: f64| Duration::rounded_up(value).as_ps();
        assert_eq!((ps(0.0), ps(25.0), ps(25.000_000_1), ps(25.01), ps(25.99)), (0, 25, 25, 26, 26));
        assert_eq!(ps(1e12 * (1.0 + 1e-13)), 1_000_000_000_000);
        for tenths in 0..100 {
            assert_eq!(Duration::from_ps(10 * tenths).scaled(0.1), Duration::from_ps(tenths));
        }
    }

    #[test]
    fn an_hour_costs_its_price() {
        let hour = Duration::from_ps((3600 * PS_PER_SEC) as u64);
        assert_eq!(UsdPerHour::from_micro(2_000_000).over(hour), Usd::from_micro(2_000_000));
    }
}
