//! Quantities as fields of files: how each type is deserialised and described in a JSON Schema.
//!
//! Range rules live in the types (`Count` is never zero, `Fraction` is in 0..=1, rates are above zero), so that an error points
//! at the value.

use super::text::Quantity;
use super::{Bytes, BytesPerSec, Duration, Flops, FlopsPerSec, Hertz, Joules, Usd, UsdPerHour, Watts};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;

/// A whole number of things, at least one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(NonZeroU32);

impl Count {
    /// Exactly one.
    pub const ONE: Count = Count(NonZeroU32::MIN);

    /// A count of `n`; none for zero.
    pub const fn new(n: u32) -> Option<Count> {
        match NonZeroU32::new(n) {
            Some(n) => Some(Count(n)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The number, for arithmetic on amounts.
    pub fn wide(self) -> u64 {
        u64::from(self.get())
    }

    /// The number, for indexing.
    pub fn index(self) -> usize {
        self.get() as usize
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A part of a whole, in 0..=1.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct Fraction(f64);

impl Fraction {
    /// The whole.
    pub const ONE: Fraction = Fraction(1.0);
    /// Nothing of it.
    pub const ZERO: Fraction = Fraction(0.0);
    /// The smallest part that still moves or computes something in a time worth waiting for.
    pub(super) const SMALLEST: Fraction = Fraction(1e-4);

    /// The part `value`; none outside 0..=1.
    pub fn new(value: f64) -> Option<Fraction> {
        (0.0..=1.0).contains(&value).then_some(Fraction(value))
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Reads a quantity that lies between two others, or is one of them.
pub(super) struct Within<Q> {
    pub(super) least: Q,
    pub(super) most: Q,
}

impl<Q> Visitor<'_> for Within<Q>
where
    Q: Quantity + PartialOrd + fmt::Display + std::str::FromStr<Err = super::ParseQuantityError>,
{
    type Value = Q;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} such as \"{}\"", Q::NOUN, Q::EXAMPLES[0])
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Q, E> {
        let value: Q = text.parse().map_err(E::custom)?;
        let (noun, least, most) = (Q::NOUN, &self.least, &self.most);
        if value < *least {
            return Err(E::custom(format_args!("`{text}` is too little; {noun} here is {least} to {most}")));
        }
        if value > *most {
            return Err(E::custom(format_args!("`{text}` is too much; {noun} here is {least} to {most}")));
        }
        Ok(value)
    }
}

macro_rules! field {
    ($($ty:ident),*) => {$(
        impl<'de> Deserialize<'de> for $ty {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$ty, D::Error> {
                deserializer.deserialize_str(Within { least: $ty::LEAST, most: $ty::MOST })
            }
        }
        impl Serialize for $ty {
            /// Exactly, as files write it.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl JsonSchema for $ty {
            fn schema_name() -> Cow<'static, str> {
                stringify!($ty).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let units = <$ty as Quantity>::units().join("|");
                json_schema!({
                    "type": "string",
                    "description": format!("{}, with its unit", <$ty as Quantity>::NOUN),
                    "pattern": format!("^[0-9_]+(\\.[0-9]+)? *({units})$"),
                    "examples": <$ty as Quantity>::EXAMPLES,
                })
            }
        }
    )*};
}

field!(Duration, Bytes, BytesPerSec, Flops, FlopsPerSec, Hertz, Watts, Joules, Usd, UsdPerHour);

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of at least 1")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Count, E> {
        let count = u32::try_from(value).ok().and_then(Count::new);
        count
            .ok_or_else(|| E::custom(format_args!("`{value}` is out of range; a whole number of at least 1 is wanted")))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
        deserializer.deserialize_i64(CountVisitor)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.get())
    }
}

impl JsonSchema for Count {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": u32::MAX })
    }
}

struct FractionVisitor;

impl Visitor<'_> for FractionVisitor {
    type Value = Fraction;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number between 0 and 1")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Fraction, E> {
        Fraction::new(value).ok_or_else(|| E::custom(format_args!("`{value}` is not between 0 and 1")))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Fraction, E> {
        self.visit_f64(value as f64)
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fraction, D::Error> {
        deserializer.deserialize_f64(FractionVisitor)
    }
}

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl JsonSchema for Fraction {
    fn schema_name() -> Cow<'static, str> {
        "Fraction".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}
