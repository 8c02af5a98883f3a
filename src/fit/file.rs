//! Single values of hardware files: found, and replaced without touching anything else of the text.

use super::Fitted;
use std::ops::Range;

/// A value as TOML: a quantity where there is a unit. Four decimals are finer than any step.
pub(super) fn toml(value: f64, unit: &str) -> String {
    let fixed = format!("{value:.4}");
    let number = match fixed.trim_end_matches('0') {
        whole if whole.ends_with('.') && !unit.is_empty() => whole.trim_end_matches('.').to_owned(),
        whole if whole.ends_with(".") && value.fract() == 0.0 && value > 1.0 => whole.trim_end_matches('.').to_owned(),
        whole if whole.ends_with('.') => format!("{whole}0"),
        part => part.to_owned(),
    };
    if unit.is_empty() { number } else { format!("\"{number} {unit}\"") }
}

/// The number and unit at the dotted `key` of a TOML text, which may end in an inline table.
pub fn value_in(text: &str, key: &str) -> Option<(f64, String)> {
    let value = text[place(text, key)?].trim_matches('"');
    let (number, unit) = value.split_once(' ').unwrap_or((value, ""));
    Some((number.parse().ok()?, unit.to_owned()))
}

/// Where the value of `key` stands in `text`.
fn place(text: &str, key: &str) -> Option<Range<usize>> {
    let mut table = String::new();
    for line in text.lines() {
        let start = line.as_ptr() as usize - text.as_ptr() as usize;
        if let Some(name) = line.trim().strip_prefix('[') {
            table = format!("{}.", name.trim_end_matches(']'));
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let behind = |part: &str| start + (part.as_ptr() as usize - line.as_ptr() as usize);
        let of = |value: &str| {
            let value = value.trim();
            behind(value)..behind(value) + value.len()
        };
        let full = format!("{table}{}", name.trim());
        if full == key {
            return Some(of(value));
        }
        if let Some(inner) = key.strip_prefix(&format!("{full}.")) {
            let fields = value.trim().strip_prefix('{')?.strip_suffix('}')?;
            return fields.split(',').find_map(|field| {
                let (name, value) = field.split_once('=')?;
                (name.trim() == inner).then(|| of(value))
            });
        }
    }
    None
}

/// `text` with the fitted values in place of the old ones; comments, order and everything else stay.
pub fn written(text: &str, constants: &[Fitted]) -> String {
    constants.iter().fold(text.to_owned(), |text, constant| {
        let Some(at) = place(&text, constant.key) else { return text };
        format!("{}{}{}", &text[..at.start], toml(constant.after, &constant.unit), &text[at.end..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_written_as_they_were() {
        let text = "a = 1\n[b.c]\nd = \"2.5 us\"\ne = { f = 3, g = \"4 ns\" }\n";
        assert_eq!(value_in(text, "a"), Some((1.0, String::new())));
        assert_eq!(value_in(text, "b.c.d"), Some((2.5, "us".to_owned())));
        assert_eq!(value_in(text, "b.c.e.g"), Some((4.0, "ns".to_owned())));
        assert_eq!(value_in(text, "b.c.h"), None);
        assert_eq!((toml(2.5, "us").as_str(), toml(1.0, "").as_str()), ("\"2.5 us\"", "1.0"));
        assert_eq!((toml(26.0, "").as_str(), toml(68.0, "KiB").as_str()), ("26", "\"68 KiB\""));
    }

    #[test]
    fn fitted_values_replace_old_ones_and_leave_the_rest() {
        let text = "# why\na = 1\n[b.c]\nd = \"2.5 us\"\ne = { f = 3, g = \"4 ns\" }\n";
        let fitted = |key, unit: &str, after| Fitted {
            key,
            meaning: "",
            unit: unit.to_owned(),
            before: 0.0,
            after,
            rises: [0.0; 2],
        };
        let changed =
            written(text, &[fitted("b.c.e.g", "ns", 5.5), fitted("b.c.d", "us", 3.0), fitted("b.c.x", "", 1.0)]);
        assert_eq!(changed, "# why\na = 1\n[b.c]\nd = \"3 us\"\ne = { f = 3, g = \"5.5 ns\" }\n");
    }
}
