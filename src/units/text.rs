//! Quantities as text: `"50 GB/s"`, `"400 Gb/s"`, `"80 GiB"`, `"3.7 us"`, `"989 TFLOP/s"`, `"2 USD/h"`.
//!
//! Parsing is exact decimal arithmetic; printing without a precision is exact too and reads back as the same value,
//! while `{:.3}` rounds for people.

use super::{Bytes, BytesPerSec, Duration, Flops, FlopsPerSec, Hertz, Joules, Time, Usd, UsdPerHour, Watts};
use std::fmt;
use std::str::FromStr;

/// One spelling of a unit: its base units are `scale / divisor`.
struct Unit {
    name: &'static str,
    scale: u128,
    divisor: u128,
}

const fn unit(name: &'static str, scale: u128) -> Unit {
    Unit { name, scale, divisor: 1 }
}

const fn bits(name: &'static str, scale: u128) -> Unit {
    Unit { name, scale, divisor: 8 }
}

const KI: u128 = 1 << 10;
const K: u128 = 1_000;
const M: u128 = 1_000_000;
const G: u128 = 1_000_000_000;
const T: u128 = 1_000_000_000_000;
const P: u128 = 1_000_000_000_000_000;

// Every table ascends in size; printing uses the names listed in `PRINTED`.
const DURATION: &[Unit] = &[
    unit("ps", 1),
    unit("ns", K),
    unit("us", M),
    unit("ms", G),
    unit("s", T),
    unit("min", 60 * T),
    unit("h", 3600 * T),
    unit("days", 86400 * T),
];
const BYTES: &[Unit] = &[
    unit("B", 1),
    unit("kB", K),
    unit("KB", K),
    unit("KiB", KI),
    unit("MB", M),
    unit("MiB", KI * KI),
    unit("GB", G),
    unit("GiB", KI * KI * KI),
    unit("TB", T),
    unit("TiB", KI * KI * KI * KI),
    unit("PB", P),
];
const BYTES_PER_SEC: &[Unit] = &[
    unit("B/s", 1),
    bits("b/s", 1),
    unit("kB/s", K),
    unit("KB/s", K),
    bits("kb/s", K),
    bits("Kb/s", K),
    unit("MB/s", M),
    bits("Mb/s", M),
    unit("MiB/s", KI * KI),
    unit("GB/s", G),
    bits("Gb/s", G),
    unit("GiB/s", KI * KI * KI),
    unit("TB/s", T),
    bits("Tb/s", T),
    unit("PB/s", P),
];
const FLOPS: &[Unit] =
    &[unit("FLOP", 1), unit("MFLOP", M), unit("GFLOP", G), unit("TFLOP", T), unit("PFLOP", P), unit("EFLOP", K * P)];
const FLOPS_PER_SEC: &[Unit] = &[
    unit("FLOP/s", 1),
    unit("MFLOP/s", M),
    unit("GFLOP/s", G),
    unit("TFLOP/s", T),
    unit("PFLOP/s", P),
    unit("EFLOP/s", K * P),
];
const HERTZ: &[Unit] = &[unit("Hz", 1), unit("kHz", K), unit("MHz", M), unit("GHz", G)];
const WATTS: &[Unit] = &[unit("mW", 1), unit("W", K), unit("kW", M), unit("MW", G)];
const JOULES: &[Unit] = &[unit("aJ", 1), unit("fJ", K), unit("pJ", M), unit("nJ", G), unit("uJ", T), unit("mJ", P)];
const USD: &[Unit] = &[unit("USD", M), unit("kUSD", G), unit("MUSD", T)];
const USD_PER_HOUR: &[Unit] = &[unit("USD/h", M)];

/// Spellings that print; the others are accepted only.
const PRINTED: &[&str] = &[
    "ps", "ns", "us", "ms", "s", "B", "kB", "MB", "GB", "TB", "B/s", "kB/s", "MB/s", "GB/s", "TB/s", "FLOP", "MFLOP",
    "GFLOP", "TFLOP", "PFLOP", "FLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s", "Hz", "kHz", "MHz", "GHz", "mW",
    "W", "kW", "MW", "aJ", "fJ", "pJ", "nJ", "uJ", "mJ", "USD", "kUSD", "MUSD", "USD/h",
];

/// What every typed quantity says about its own text form.
pub trait Quantity: Sized {
    /// What a person calls it: "a duration", "a bandwidth".
    const NOUN: &'static str;
    /// Examples of how it is written, for messages and schemas.
    const EXAMPLES: &'static [&'static str];
    /// Whether a value between two representable ones is rounded up.
    const ROUND_UP: bool;
    /// The least that a file may say.
    const LEAST: Self;
    /// The most that a file may say.
    const MOST: Self;
    #[doc(hidden)]
    fn units() -> Vec<&'static str>;
    #[doc(hidden)]
    fn from_base(base: u128) -> Option<Self>;
}

/// Why a text is not a quantity of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseQuantityError {
    /// What was found and what was wanted, as a lower-case fragment.
    pub message: String,
}

impl fmt::Display for ParseQuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseQuantityError {}

const KINDS: &[(&str, &[Unit])] = &[
    ("a duration", DURATION),
    ("an amount of data", BYTES),
    ("a bandwidth", BYTES_PER_SEC),
    ("an amount of work", FLOPS),
    ("a compute rate", FLOPS_PER_SEC),
    ("a clock rate", HERTZ),
    ("a power", WATTS),
    ("an energy", JOULES),
    ("a price", USD),
    ("a price per hour", USD_PER_HOUR),
];

fn parse<Q: Quantity>(text: &str, units: &[Unit]) -> Result<Q, ParseQuantityError> {
    let fail = |message: String| ParseQuantityError { message };
    let examples = || Q::EXAMPLES.iter().map(|e| format!("\"{e}\"")).collect::<Vec<_>>().join(" or ");
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(trimmed.len());
    let (digits, name) = (trimmed[..split].replace('_', ""), trimmed[split..].trim());
    let Some((mantissa, decimals)) = decimal(&digits) else {
        return Err(fail(format!("`{text}` does not start with a number; {} is written {}", Q::NOUN, examples())));
    };
    if name.is_empty() {
        return Err(fail(format!("`{text}` has no unit; {} is written {}", Q::NOUN, examples())));
    }
    let Some(unit) = units.iter().find(|u| u.name == name) else {
        let known = units.iter().map(|u| u.name).collect::<Vec<_>>().join(", ");
        let other = KINDS.iter().find(|(_, table)| table.iter().any(|u| u.name == name));
        return Err(fail(match other {
            Some((noun, _)) => format!("`{text}` is {noun}, but {} is wanted here (units: {known})", Q::NOUN),
            None => format!(
                "`{name}` is not a unit of {} (units: {known})",
                &Q::NOUN[Q::NOUN.find(' ').map_or(0, |i| i + 1)..]
            ),
        }));
    };
    let numerator = mantissa.checked_mul(unit.scale);
    let denominator = 10_u128.checked_pow(decimals).and_then(|d| d.checked_mul(unit.divisor));
    let base = match (numerator, denominator) {
        (Some(n), Some(d)) if Q::ROUND_UP => Some(n.div_ceil(d)),
        (Some(n), Some(d)) => Some(n / d),
        _ => None,
    };
    base.and_then(Q::from_base).ok_or_else(|| fail(format!("`{text}` is out of range for {}", Q::NOUN)))
}

/// Splits `12.50` into 1250 and 2 decimals.
fn decimal(digits: &str) -> Option<(u128, u32)> {
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || part.contains('.') || part.len() > 18 {
        return None;
    }
    let mantissa = format!("{whole}{part}").parse().ok()?;
    Some((mantissa, part.len() as u32))
}

fn print(f: &mut fmt::Formatter<'_>, base: u128, units: &[Unit]) -> fmt::Result {
    let printed = || units.iter().filter(|u| PRINTED.contains(&u.name));
    let unit = printed().rev().find(|u| base >= u.scale).or_else(|| printed().next()).expect("a printed unit");
    let text = match f.precision() {
        Some(_) if base == 0 => format!("0 {}", unit.name),
        Some(precision) => rounded(base, units, precision),
        None => {
            let fraction = format!("{:0width$}", base % unit.scale, width = unit.scale.ilog10() as usize);
            let fraction = if unit.scale == 1 { "" } else { fraction.trim_end_matches('0') };
            let dot = if fraction.is_empty() { "" } else { "." };
            format!("{}{dot}{fraction} {}", base / unit.scale, unit.name)
        }
    };
    f.pad_integral(true, "", &text)
}

/// `base` with `precision` decimals, in the largest unit whose rounded value is at least one.
fn rounded(base: u128, units: &[Unit], precision: usize) -> String {
    let mut best = None;
    for unit in units.iter().filter(|u| PRINTED.contains(&u.name)) {
        let value = format!("{:.precision$}", base as f64 / unit.scale as f64);
        let at_least_one = value.parse::<f64>().is_ok_and(|v| v >= 1.0);
        if best.is_none() || at_least_one {
            best = Some(format!("{value} {}", unit.name));
        }
    }
    best.expect("a printed unit")
}

macro_rules! quantity {
    ($($ty:ident($repr:ty), $units:ident, $noun:literal, $up:literal, [$($example:literal),*], $least:expr, $most:expr;)*) => {$(
        #[allow(clippy::unnecessary_cast)]
        impl Quantity for $ty {
            const NOUN: &'static str = $noun;
            const EXAMPLES: &'static [&'static str] = &[$($example),*];
            const ROUND_UP: bool = $up;
            const LEAST: $ty = $ty($least as $repr);
            const MOST: $ty = $ty($most as $repr);
            fn units() -> Vec<&'static str> {
                $units.iter().map(|u| u.name).collect()
            }
            fn from_base(base: u128) -> Option<$ty> {
                <$repr>::try_from(base).ok().map($ty)
            }
        }
        impl FromStr for $ty {
            type Err = ParseQuantityError;
            fn from_str(text: &str) -> Result<$ty, ParseQuantityError> {
                parse(text, $units)
            }
        }
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                #[allow(clippy::useless_conversion)]
                print(f, u128::from(self.0), $units)
            }
        }
        impl fmt::Debug for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

quantity! {
    Duration(u64), DURATION, "a duration", true, ["3.7 us", "600 ns"], 0, K * T;
    Bytes(u64), BYTES, "an amount of data", false, ["80 GB", "64 KiB"], 0, K * P;
    BytesPerSec(u64), BYTES_PER_SEC, "a bandwidth", false, ["50 GB/s", "400 Gb/s"], K, P;
    Flops(u128), FLOPS, "an amount of work", false, ["250 GFLOP"], 0, u128::MAX;
    FlopsPerSec(u64), FLOPS_PER_SEC, "a compute rate", false, ["989 TFLOP/s"], M, 10 * K * P;
    Hertz(u64), HERTZ, "a clock rate", false, ["1.83 GHz"], M, T;
    Watts(u64), WATTS, "a power", false, ["700 W"], 0, T;
    Joules(u64), JOULES, "an energy", true, ["0.8 pJ"], 0, K * P;
    Usd(u64), USD, "a price", false, ["37500 USD"], 0, M * T;
    UsdPerHour(u64), USD_PER_HOUR, "a price per hour", false, ["2 USD/h"], 0, G * G;
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Duration(self.0), f)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_exact() {
        assert_eq!("400 Gb/s".parse(), Ok(BytesPerSec::new(50_000_000_000)));
        assert_eq!("50GB/s".parse(), Ok(BytesPerSec::new(50_000_000_000)));
        assert_eq!("80 GiB".parse(), Ok(Bytes::new(80 << 30)));
        assert_eq!("3.7 us".parse(), Ok(Duration::from_ns(3_700)));
        assert_eq!("0.0001 ps".parse(), Ok(Duration::from_ps(1)));
        assert_eq!("989 TFLOP/s".parse(), Ok(FlopsPerSec::new(989_000_000_000_000)));
    }

    #[test]
    fn printing_rounds_only_when_asked() {
        let time = Duration::from_ps(14_757_123_456);
        assert_eq!(time.to_string(), "14.757123456 ms");
        assert_eq!(format!("{time:.2}"), "14.76 ms");
        assert_eq!(format!("{:.2}", Duration::from_ps(999_999)), "1.00 us");
        assert_eq!(format!("{:>10.1}|", Bytes::new(1_500)), "    1.5 kB|");
        assert_eq!(Duration::ZERO.to_string(), "0 ps");
    }

    #[test]
    fn messages_name_what_is_wanted() {
        let message = |text: &str| text.parse::<BytesPerSec>().map_err(|e| e.message);
        assert!(message("50 us").is_err_and(|m| m.contains("is a duration, but a bandwidth is wanted here")));
        assert!(message("50").is_err_and(|m| m.contains("has no unit")));
        assert!(message("fast").is_err_and(|m| m.contains("does not start with a number")));
        assert!(message("50 GBps").is_err_and(|m| m.contains("`GBps` is not a unit of bandwidth")));
    }

    proptest! {
        #[test]
        fn printed_text_reads_back(ps in 0..u64::MAX, bytes in 0..u64::MAX) {
            prop_assert_eq!(Duration::from_ps(ps).to_string().parse(), Ok(Duration::from_ps(ps)));
            prop_assert_eq!(Bytes::new(bytes).to_string().parse(), Ok(Bytes::new(bytes)));
            prop_assert_eq!(BytesPerSec::new(bytes).to_string().parse(), Ok(BytesPerSec::new(bytes)));
        }
    }
}
