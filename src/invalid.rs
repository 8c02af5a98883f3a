//! A value that is well-formed but makes no sense, named by its place in the file it came from.
//!
//! Lower layers report what is wrong in these terms; only `scenario` knows files, lines and columns, and turns the
//! place into them. This module must not know any file format.

use std::fmt;

/// One finding about one value of an input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Keys from the root of the checked table to the value: `["parallelism", "ep"]`. A key that the file does not
    /// hold stands for its nearest existing ancestor.
    pub place: Vec<String>,
    /// What is wrong, with the values found, as a lower-case fragment without a full stop.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Invalid {
    /// A finding about the value at the dotted `place`; the empty place is the whole file.
    pub fn at(place: &str, message: impl Into<String>) -> Invalid {
        let place = place.split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        Invalid { place, message: message.into(), help: None }
    }

    /// The same finding with a hint.
    pub fn help(mut self, help: impl Into<String>) -> Invalid {
        self.help = Some(help.into());
        self
    }

    /// The same finding, seen from the file that holds the checked table under the dotted `place`.
    pub fn under(mut self, place: &str) -> Invalid {
        let outer = place.split('.').filter(|key| !key.is_empty()).map(str::to_owned);
        self.place = outer.chain(self.place).collect();
        self
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.join(".");
        write!(f, "{place}{}{}", if place.is_empty() { "" } else { ": " }, self.message)
    }
}

impl std::error::Error for Invalid {}

/// Names beyond which a list of all is no help beside the one that was meant.
const LISTED_MAX: usize = 20;

/// What a name may have meant, and what names there are.
pub fn among(found: &str, known: &[&str]) -> String {
    match meant(found, known) {
        Some(near) if known.len() > LISTED_MAX => format!("did you mean `{near}`?"),
        Some(near) => format!("did you mean `{near}`? there are {}", known.join(", ")),
        None => format!("there are {}", known.join(", ")),
    }
}

/// The nearest of `known` to `found`, if it is near enough to be meant.
pub fn meant<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = nearest(found, known.iter().copied())?;
    let close = distance(found, near) <= 1 + near.len() / 5 || near.contains(found) || found.contains(near);
    close.then_some(near)
}

/// The nearest of `known` to `found`, however far; the first of several.
pub fn nearest<'k>(found: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known.into_iter().min_by_key(|name| distance(found, name))
}

/// Letters that are to be put in, left out, replaced or swapped.
fn distance(a: &str, b: &str) -> usize {
    strsim::damerau_levenshtein(a, b)
}
