//! Choices by their names in files, for use outside of files.

use serde::Serialize;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde_json::Value;

/// The choice that files call `name`.
///
/// # Errors
/// For a name that stands for nothing, with the legal ones.
pub fn choice<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    let deserializer: StrDeserializer<'_, Error> = name.into_deserializer();
    T::deserialize(deserializer).map_err(|error| error.to_string())
}

/// The name of a choice in files.
pub fn choice_name<T: Serialize>(choice: &T) -> String {
    match serde_json::to_value(choice) {
        Ok(Value::String(name)) => name,
        Ok(Value::Object(table)) => table.into_iter().next().map(|(name, _)| name).unwrap_or_default(),
        other => unreachable!("a choice is a name or a table: {other:?}"),
    }
}
