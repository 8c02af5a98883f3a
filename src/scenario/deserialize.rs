//! From the merged tree to typed values, with an error that knows where it is and what would be legal.
//!
//! Every value hands its place to errors that have none yet, so that the innermost place wins: a wrong unit points at the
//! value, an unknown key at the key, a missing one at the header of its table.

use super::error::Finding;
use super::tree::{Entry, Node, Span, Table, Value};
use crate::invalid::meant;
use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::fmt;

/// Why a tree is not the value that was wanted.
#[derive(Debug)]
pub(super) struct Error {
    pub(super) finding: Finding,
    pub(super) about: About,
}

/// What a mistake is about, for whoever can say more of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A key that is not there.
    Missing(&'static str),
    /// A key that means nothing in its table.
    UnknownKey,
    /// A key that means nothing in the table of the choice `chosen`, or that is no choice itself. `choices` are those there are,
    /// and `span` is where the choice is made.
    NoKeyOf { chosen: Option<String>, choices: &'static [&'static str], span: Span },
    /// A choice that does not exist.
    UnknownChoice,
    /// A choice beside this one.
    SecondChoice(String),
    /// A table where something else was wanted, in the words for what is wanted.
    Wanted(String),
    /// Anything else.
    Other,
}

impl Error {
    fn new(finding: Finding, about: About) -> Error {
        Error { finding, about }
    }

    /// The same error, at `span` unless it already has a place.
    fn or_at(self, span: &Span) -> Error {
        Error { finding: self.finding.or_at(span), ..self }
    }

    /// The same error, which came up where `choice` was made among `choices` at `span`.
    fn in_choice(mut self, choice: &Choice<'_>, choices: &'static [&'static str], span: &Span) -> Error {
        let at = self.finding.span();
        let chosen = match self.about {
            About::UnknownKey if choice.has_key_at(at) => Some(choice.name.to_owned()),
            About::UnknownChoice if at == Some(choice.name_span) && choice.content.is_some() => None,
            _ => return self,
        };
        self.about = About::NoKeyOf { chosen, choices, span: span.clone() };
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finding.message)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Error {
        Error::new(Finding::anywhere(message.to_string()), About::Other)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Error {
        let wanted = wanted(expected);
        let finding = Finding::anywhere(format!("wrong type: found {}, expected {wanted}", in_words(&found)));
        // TOML takes what has a point or an exponent for a number with decimals.
        let finding = match found {
            Unexpected::Float(number) if number.fract() == 0.0 && wanted.starts_with("a whole number") => {
                finding.help(Some(format!("write {number}, without a point or an exponent")))
            }
            _ => finding,
        };
        Error::new(finding, if found == Unexpected::Map { About::Wanted(wanted) } else { About::Other })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Error {
        Error::custom(format!("wrong value: found {}, expected {}", in_words(&found), wanted(expected)))
    }

    fn unknown_field(found: &str, known: &'static [&'static str]) -> Error {
        unknown("key", "keys", found, known, About::UnknownKey)
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Error {
        unknown("choice", "choices", found, known, About::UnknownChoice)
    }

    fn missing_field(name: &'static str) -> Error {
        let finding = Finding::anywhere(format!("`{name}` is missing")).label("in this table");
        Error::new(finding, About::Missing(name))
    }
}

fn in_words(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("the text \"{text}\""),
        Unexpected::Signed(number) => format!("the whole number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Bool(value) => format!("{value}"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// What was wanted, as people say it: the types of numbers have names that only programmers know.
fn wanted(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        other => other.to_owned(),
    }
}

fn unknown(one: &str, many: &str, found: &str, known: &[&str], about: About) -> Error {
    let finding = Finding::anywhere(format!("`{found}` is not a {one} here"));
    let near = meant(found, known).map(|near| format!("did you mean `{near}`?"));
    let list = if known.is_empty() { format!("no {many} at all") } else { known.join(", ") };
    Error::new(finding.note(format!("legal {many}: {list}")).help(near), about)
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let visited = match &self.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Integer(integer) => visitor.visit_i64(*integer),
            Value::Float(float) => visitor.visit_f64(*float),
            Value::Boolean(boolean) => visitor.visit_bool(*boolean),
            Value::Array(elements) => visitor.visit_seq(Elements(elements.iter())),
            Value::Table(table) => visitor.visit_map(Entries { left: table.0.iter(), value: None }),
        };
        visited.map_err(|error| error.or_at(&self.span))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self).map_err(|error| error.or_at(&self.span))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self).map_err(|error| error.or_at(&self.span))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let choice = match &self.value {
            Value::Text(name) => Choice { name, name_span: &self.span, content: None },
            Value::Table(table) => one_choice(table, &self.span, known)?,
            other => {
                let message = format!("{} is no choice", other.kind());
                let finding =
                    Finding::at(self.span.clone(), message).note(format!("legal choices: {}", known.join(", ")));
                return Err(Error::new(finding, About::Other));
            }
        };
        let made = visitor.visit_enum(choice);
        made.map_err(|error| error.or_at(&self.span).in_choice(&choice, known, &self.span))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// A choice is written as a table with one key, or as a text where it has nothing to say.
fn one_choice<'de>(table: &'de Table, span: &Span, known: &'static [&'static str]) -> Result<Choice<'de>, Error> {
    let legal = || format!("legal choices: {}", known.join(", "));
    // One that does not exist is the mistake, not that there are two.
    if table.0.len() > 1
        && let Some(entry) = table.0.iter().find(|entry| !known.contains(&entry.key.as_str()))
    {
        let about = About::NoKeyOf { chosen: None, choices: known, span: span.clone() };
        return Err(unknown("choice", "choices", &entry.key, known, about).or_at(&entry.key_span));
    }
    let found = match table.0.as_slice() {
        [Entry { key, key_span, node }] => return Ok(Choice { name: key, name_span: key_span, content: Some(node) }),
        [] => {
            let finding = Finding::at(span.clone(), "one choice is wanted here, and none is made").note(legal());
            Error::new(finding, About::Wanted(format!("one of {}", known.join(", "))))
        }
        [first, second, ..] => {
            let message = format!("`{}` and `{}` are both chosen, and only one can be", first.key, second.key);
            let finding = Finding::at(second.key_span.clone(), message).label("second choice");
            let help = "a file that extends another adds to its choice; extend one without the choice instead";
            let finding = finding.other(first.key_span.clone(), "first choice").note(legal());
            Error::new(finding.help(Some(help.to_owned())), About::SecondChoice(first.key.clone()))
        }
    };
    Err(found)
}

struct Elements<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|element| seed.deserialize(element)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Entries<'de> {
    left: std::slice::Iter<'de, Entry>,
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(entry) = self.left.next() else { return Ok(None) };
        self.value = Some(&entry.node);
        let key = seed.deserialize(BorrowedStrDeserializer::<Error>::new(&entry.key));
        key.map(Some).map_err(|error| error.or_at(&entry.key_span))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let value = self.value.take().ok_or_else(|| Error::custom("a value is asked for before its key"))?;
        seed.deserialize(value).map_err(|error| error.or_at(&value.span))
    }
}

#[derive(Clone, Copy)]
struct Choice<'de> {
    name: &'de str,
    name_span: &'de Span,
    content: Option<&'de Node>,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = Error;
    type Variant = Choice<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Choice<'de>), Error> {
        let name: StrDeserializer<'_, Error> = self.name.into_deserializer();
        let variant = seed.deserialize(name).map_err(|error| error.or_at(self.name_span))?;
        Ok((variant, self))
    }
}

impl<'de> Choice<'de> {
    /// Whether the table of the choice has a key at `span`.
    fn has_key_at(&self, span: Option<&Span>) -> bool {
        let Some(Value::Table(table)) = self.content.map(|node| &node.value) else { return false };
        table.0.iter().any(|entry| Some(&entry.key_span) == span)
    }

    fn content(&self) -> Result<&'de Node, Error> {
        self.content.ok_or_else(|| {
            let finding =
                Finding::at(self.name_span.clone(), format!("the choice `{}` needs a table of its own", self.name));
            Error::new(finding.help(Some(format!("write it as `[... .{}]`", self.name))), About::Other)
        })
    }
}

impl<'de> VariantAccess<'de> for Choice<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None => Ok(()),
            Some(node) if matches!(&node.value, Value::Table(table) if table.0.is_empty()) => Ok(()),
            Some(node) => {
                let message = format!("the choice `{}` has nothing to set", self.name);
                Err(Error::new(Finding::at(node.span.clone(), message), About::Other))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let content = self.content()?;
        seed.deserialize(content).map_err(|error| error.or_at(&content.span))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.content()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.content()?.deserialize_any(visitor)
    }
}
