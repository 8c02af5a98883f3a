//! Golden files: what a program prints, whole, kept beside the test.
//!
//! `UPDATE_EXPECT=1 cargo test --release` writes what is printed now; the difference is then reviewed like code.

use std::fs;
use std::path::Path;

/// Compares `actual` with the golden file `path`, or writes it when asked to.
pub(crate) fn check(path: &Path, actual: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(path.parent().expect("a golden file has a folder")).unwrap();
        fs::write(path, actual).unwrap();
        return Ok(());
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return Ok(());
    }
    let line = (1..).zip(expected.lines().zip(actual.lines())).find(|(_, (e, a))| e != a);
    let shown = match line {
        Some((number, (expected, actual))) => format!("line {number}\n  expected: {expected}\n  actual:   {actual}"),
        None => format!("one is longer:\n--- expected\n{expected}\n--- actual\n{actual}"),
    };
    Err(format!("{} differs, {shown}\n(UPDATE_EXPECT=1 rewrites it)", path.display()))
}

/// Fails with all the differences.
pub(crate) fn all(found: Vec<Result<(), String>>) {
    let broken: Vec<String> = found.into_iter().filter_map(Result::err).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n\n"));
}
