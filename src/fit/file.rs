//! Single values of hardware files: found, and replaced without touching anything else of the text.

use super::Fitted;
use crate::scenario::UserError;
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
        let line = without_comment(line);
        if let Some(name) = line.trim().strip_prefix('[') {
            table = format!("{}.", name.split(']').next().unwrap_or(name).trim());
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

/// What of a line stands before its comment; a `#` within quotes starts none.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, found) in line.char_indices() {
        match quote {
            None if found == '#' => return &line[..at],
            None if found == '"' || found == '\'' => quote = Some(found),
            Some(open) if found == open && !escaped => quote = None,
            _ => {}
        }
        escaped = quote == Some('"') && found == '\\' && !escaped;
    }
    line
}

/// `text` with the fitted values in place of the old ones; comments, order and everything else stay.
///
/// # Errors
/// For a constant that the text does not hold.
pub fn written(text: &str, constants: &[Fitted]) -> Result<String, UserError> {
    constants.iter().try_fold(text.to_owned(), |text, constant| {
        let missing = || UserError::plain(format!("the file holds no value at `{}`", constant.key));
        let at = place(&text, constant.key).ok_or_else(missing)?;
        Ok(format!("{}{}{}", &text[..at.start], toml(constant.after, &constant.unit), &text[at.end..]))
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

    fn fitted(key: &'static str, unit: &str, after: f64) -> Fitted {
        Fitted { key, meaning: "", unit: unit.to_owned(), before: 0.0, after, rises: [0.0; 2] }
    }

    #[test]
    fn fitted_values_replace_old_ones_and_leave_the_rest() {
        let text = "# why\na = 1\n[b.c]\nd = \"2.5 us\"\ne = { f = 3, g = \"4 ns\" }\n";
        let changed = written(text, &[fitted("b.c.e.g", "ns", 5.5), fitted("b.c.d", "us", 3.0)]).unwrap();
        assert_eq!(changed, "# why\na = 1\n[b.c]\nd = \"3 us\"\ne = { f = 3, g = \"5.5 ns\" }\n");
    }

    const COMMENTED: &str = r#"
        launch = "0.90 us" # a "comment"
        [sm] # x = [1]
        fp8 = 0.98 # why
        e = { f = 3 } # }
    "#;

    #[test]
    fn comments_are_no_part_of_values_and_tables() {
        assert_eq!(value_in(COMMENTED, "launch"), Some((0.9, "us".to_owned())));
        assert_eq!(value_in(COMMENTED, "sm.fp8"), Some((0.98, String::new())));
        assert_eq!(value_in(COMMENTED, "sm.e.f"), Some((3.0, String::new())));
        assert_eq!(without_comment(r##"a = "# \" #" # b"##), r##"a = "# \" #" "##);
        assert_eq!(without_comment("a = '#' # b"), "a = '#' ");
    }

    #[test]
    fn comments_stay_where_values_are_replaced() {
        let values = [fitted("launch", "us", 1.5), fitted("sm.fp8", "", 0.5), fitted("sm.e.f", "", 4.0)];
        let changed = written(COMMENTED, &values).unwrap();
        let expected = COMMENTED.replace("0.90 us", "1.5 us").replace("0.98", "0.5").replace("f = 3", "f = 4");
        assert_eq!(changed, expected);
    }

    #[test]
    fn a_value_without_a_place_is_not_skipped() {
        let error = written("a = 1\n", &[fitted("b.x", "", 1.0)]).unwrap_err();
        assert!(error.to_string().contains("`b.x`"), "{error}");
    }
}
