//! Gives the program a name for the sources that it was built from, so that results are only ever gone on with by the same program.

#[path = "src/fingerprint.rs"]
mod fingerprint;

use fingerprint::Fingerprint;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What the program is made of: its code, the files that are built into it, and the versions of what it builds on.
const SOURCES: [&str; 4] = ["src", "models", "Cargo.toml", "Cargo.lock"];

fn main() -> io::Result<()> {
    let mut fingerprint = Fingerprint::of(&[]);
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
        let mut files = Vec::new();
        collect(Path::new(source), &mut files)?;
        files.sort();
        for file in files {
            let content = fs::read(&file)?;
            let head = format!("{} {}\n", file.display(), content.len());
            fingerprint = fingerprint.then(head.as_bytes()).then(&content);
        }
    }
    println!("cargo:rustc-env=OCTOPLANE_SOURCES={fingerprint}");
    Ok(())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if path.is_file() {
        files.push(path.to_owned());
    }
    Ok(())
}
