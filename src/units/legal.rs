//! Which values of a type some fields of files take and others do not; each rule is named at the field that it is for.

use super::fields::{Fraction, Within};
use super::text::Quantity;
use super::{Bytes, Duration, Watts};
use serde::de::{Deserialize, Deserializer, Error};
use std::fmt;

/// A type of which there may be too little to divide by.
pub trait Positive: fmt::Display + PartialOrd {
    /// The least that makes sense where there must be something.
    const LEAST: Self;
}

impl Positive for Fraction {
    const LEAST: Fraction = Fraction::SMALLEST;
}

impl Positive for Bytes {
    const LEAST: Bytes = Bytes::new(1);
}

fn checked<T: Positive, E: Error>(value: T) -> Result<T, E> {
    if value < T::LEAST {
        return Err(E::custom(format_args!("`{value}` is too little; at least {} is wanted here", T::LEAST)));
    }
    Ok(value)
}

/// A field that is never zero: an efficiency, a share of a wire, a size that something is cut into.
pub fn positive<'de, D: Deserializer<'de>, T: Deserialize<'de> + Positive>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(deserializer).and_then(checked)
}

/// The same of a field that may be left out.
pub fn positive_if_any<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Positive,
{
    Option::<T>::deserialize(deserializer)?.map(checked).transpose()
}

/// A rate that may also be zero, where that says that there is none.
pub fn or_zero<'de, D, Q>(deserializer: D) -> Result<Q, D::Error>
where
    D: Deserializer<'de>,
    Q: Quantity + Default + Copy + PartialOrd + fmt::Display + std::str::FromStr<Err = super::ParseQuantityError>,
{
    deserializer.deserialize_str(Within { least: Q::default(), most: Q::MOST })
}

/// The power of something that computes, which is never zero.
pub fn some_power<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Watts, D::Error> {
    deserializer.deserialize_str(Within { least: Watts::from_milli(1_000), most: Watts::MOST })
}

/// A time in the life of a deployment rather than of a device: as long as times can be.
pub fn long<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(Within { least: Duration::ZERO, most: Duration::from_ps(u64::MAX) })
}

/// The same of a field that may be left out.
pub fn long_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    struct Long(Duration);
    impl<'de> Deserialize<'de> for Long {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Long, D::Error> {
            long(deserializer).map(Long)
        }
    }
    Ok(Option::<Long>::deserialize(deserializer)?.map(|Long(time)| time))
}
