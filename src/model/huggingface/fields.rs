//! Looking things up in a `config.json`, and what can go wrong.

use crate::invalid::Invalid;
use crate::units::Count;
use serde_json::{Map, Value};
use std::fmt;

/// Why a `config.json` cannot become a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// It is not JSON, or not an object.
    Syntax {
        /// What is wrong, and where.
        message: String,
    },
    /// A field is missing.
    Missing {
        /// The names under which it was looked for.
        names: Vec<&'static str>,
        /// What it would say.
        meaning: &'static str,
    },
    /// A field holds something unexpected.
    Value {
        /// The field.
        name: &'static str,
        /// What it holds, as JSON.
        found: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The model does something that a description here cannot say and that would change its figures.
    Unsupported {
        /// The field that says so.
        name: &'static str,
        /// What the model does.
        what: String,
    },
    /// All fields were read, but they contradict one another.
    Inconsistent(Invalid),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Syntax { message } => f.write_str(message),
            ImportError::Missing { names, meaning } => {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                write!(f, "{meaning} is missing (looked for {})", names.join(", "))
            }
            ImportError::Value { name, found, wanted } => write!(f, "`{name}` is {found}, but {wanted} is wanted"),
            ImportError::Unsupported { name, what } => write!(f, "`{name}`: {what}, which is not supported"),
            ImportError::Inconsistent(finding) => fmt::Display::fmt(finding, f),
        }
    }
}

impl std::error::Error for ImportError {}

/// The fields of a configuration: those of its text model, and behind them those of the file.
pub(super) struct Fields {
    text: Map<String, Value>,
    file: Map<String, Value>,
}

impl Fields {
    pub(super) fn parse(json: &str) -> Result<Fields, ImportError> {
        let syntax = |message: String| ImportError::Syntax { message };
        let value: Value = serde_json::from_str(json).map_err(|e| syntax(format!("not JSON: {e}")))?;
        let Value::Object(file) = value else {
            return Err(syntax(format!("a JSON object is wanted, found {}", shown(&value))));
        };
        let text = match file.get("text_config") {
            Some(Value::Object(text)) => text.clone(),
            Some(_) | None => Map::new(),
        };
        Ok(Fields { text, file })
    }

    /// Whether the model is one part of several.
    pub(super) fn is_nested(&self) -> bool {
        !self.text.is_empty()
    }

    /// The field `name`; `null` means that it is not there.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.text.get(name).or_else(|| self.file.get(name)).filter(|value| !value.is_null())
    }

    /// The first of `names` that is there, as a whole number.
    pub(super) fn optional_number(&self, names: &[&'static str]) -> Result<Option<u32>, ImportError> {
        let Some((name, value)) = names.iter().find_map(|name| Some((*name, self.get(name)?))) else {
            return Ok(None);
        };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let unexpected = || ImportError::Value { name, found: shown(value), wanted: "a whole number" };
        number.map(Some).ok_or_else(unexpected)
    }

    /// The first of `names` that is there, as a whole number of at least one.
    pub(super) fn optional_count(&self, names: &[&'static str]) -> Result<Option<Count>, ImportError> {
        let Some(number) = self.optional_number(names)? else { return Ok(None) };
        let name = names.iter().find(|name| self.get(name).is_some()).copied().expect("a field that was just read");
        let zero = || ImportError::Value { name, found: "0".to_owned(), wanted: "a whole number of at least 1" };
        Count::new(number).map(Some).ok_or_else(zero)
    }

    /// The first of `names` that is there, as a whole number of at least one; `meaning` names it where none is.
    pub(super) fn count(&self, names: &[&'static str], meaning: &'static str) -> Result<Count, ImportError> {
        let missing = || ImportError::Missing { names: names.to_vec(), meaning };
        self.optional_count(names)?.ok_or_else(missing)
    }

    /// The field `name` as true or false.
    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, ImportError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let unexpected = || ImportError::Value { name, found: shown(value), wanted: "true or false" };
        value.as_bool().map(Some).ok_or_else(unexpected)
    }

    /// The field `name` as text; empty where it is not there.
    pub(super) fn text(&self, name: &'static str) -> Result<&str, ImportError> {
        let Some(value) = self.get(name) else { return Ok("") };
        value.as_str().ok_or_else(|| ImportError::Value { name, found: shown(value), wanted: "a text" })
    }

    /// The field `name` as a list; empty where it is not there.
    pub(super) fn list(&self, name: &'static str) -> Result<&[Value], ImportError> {
        let Some(value) = self.get(name) else { return Ok(&[]) };
        let unexpected = || ImportError::Value { name, found: shown(value), wanted: "a list" };
        value.as_array().map(Vec::as_slice).ok_or_else(unexpected)
    }
}

/// A value as JSON, cut where it is long.
pub(super) fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= MOST { text } else { text.chars().take(MOST).chain("...".chars()).collect() }
}
