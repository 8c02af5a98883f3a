//! A value that a file holds for another file: any TOML value, kept as it was written.

use super::resolved::quoted;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Any TOML value.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// A text, which may be a quantity: `"50 GB/s"`.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with decimals.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A list.
    List(Vec<Literal>),
    /// A table, in the order in which it was written.
    Table(Vec<(String, Literal)>),
}

impl Literal {
    /// The value as it is written in TOML.
    pub fn to_toml(&self) -> String {
        match self {
            Literal::Text(text) => quoted(text),
            Literal::Integer(integer) => integer.to_string(),
            Literal::Float(float) => format!("{float:?}"),
            Literal::Boolean(boolean) => boolean.to_string(),
            Literal::List(elements) => {
                format!("[{}]", elements.iter().map(Literal::to_toml).collect::<Vec<_>>().join(", "))
            }
            Literal::Table(entries) => {
                let entry = |(key, value): &(String, Literal)| format!("{} = {}", quoted(key), value.to_toml());
                format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// The number that the value is or begins with, and the unit that follows it: `50` and `GB/s`. A plain number has none.
    pub fn quantity(&self) -> Option<(f64, &str)> {
        match self {
            Literal::Integer(integer) => Some((*integer as f64, "")),
            Literal::Float(float) => Some((*float, "")),
            Literal::Text(text) => {
                let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'))?;
                let number = text[..end].replace('_', "").parse().ok()?;
                Some((number, text[end..].trim()))
            }
            Literal::Boolean(_) | Literal::List(_) | Literal::Table(_) => None,
        }
    }
}

impl fmt::Display for Literal {
    /// As people read it: a text without its quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Text(text) => f.write_str(text),
            other => f.write_str(&other.to_toml()),
        }
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Literal, D::Error> {
        deserializer.deserialize_any(LiteralVisitor)
    }
}

struct LiteralVisitor;

impl<'de> Visitor<'de> for LiteralVisitor {
    type Value = Literal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Literal, E> {
        Ok(Literal::Text(text.to_owned()))
    }

    fn visit_i64<E>(self, integer: i64) -> Result<Literal, E> {
        Ok(Literal::Integer(integer))
    }

    fn visit_f64<E>(self, float: f64) -> Result<Literal, E> {
        Ok(Literal::Float(float))
    }

    fn visit_bool<E>(self, boolean: bool) -> Result<Literal, E> {
        Ok(Literal::Boolean(boolean))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Literal, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Literal::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Literal, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = table.next_entry()? {
            entries.push(entry);
        }
        Ok(Literal::Table(entries))
    }
}

impl JsonSchema for Literal {
    fn schema_name() -> Cow<'static, str> {
        "Literal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "Any value that the place takes: a number, a text, a quantity with its unit, a list, a table" })
    }
}
