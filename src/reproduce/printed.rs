//! A printed number, with the precision that its digits show.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use std::borrow::Cow;

/// A number as it is printed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Printed {
    /// The number.
    pub value: f64,
    /// Half a unit of its last digit.
    pub half_digit: f64,
}

impl Printed {
    fn parse(text: &str) -> Option<Printed> {
        let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite())?;
        if !text.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-') {
            return None;
        }
        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        // A power of ten as text, so that it is the nearest double on every machine.
        let half_digit = format!("5e-{}", decimals + 1).parse().ok()?;
        Some(Printed { value, half_digit })
    }
}

impl<'de> Deserialize<'de> for Printed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Printed, D::Error> {
        let text = String::deserialize(deserializer)?;
        Printed::parse(&text).ok_or_else(|| D::Error::custom(format!("\"{text}\" is not a number in decimal digits")))
    }
}

impl JsonSchema for Printed {
    fn schema_name() -> Cow<'static, str> {
        "Printed".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$", "description": "The number with the digits that are printed: \"43.05\"" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_show_the_precision() {
        let half = |text: &str| Printed::parse(text).map(|printed| printed.half_digit);
        assert_eq!(half("43.05"), Some(0.005));
        assert_eq!(half("41.60"), Some(0.005));
        assert_eq!(half("2048"), Some(0.5));
        assert_eq!([half("1e3"), half("about 20"), half("inf"), half("")], [None; 4]);
    }
}
