//! The code guards itself: layers, absences, sizes, and a map that matches the territory.

use crate::cli::root;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the bottom up. A module may import from its own layer and from those above it in this list.
const LAYERS: &[&[&str]] = &[
    &["units", "id", "rng", "dtype", "numerics", "invalid", "sources", "fingerprint", "store", "retiring"],
    &["hardware", "model"],
    &["topology", "parallelism"],
    &["routing", "workload"],
    &["network", "gpu", "timeline"],
    &["engine"],
    &["metrics"],
    &["report", "scenario"],
    &["experiment"],
    &["run"],
    &["check", "fit", "reproduce", "search", "sweep", "validate"],
    &["lib", "main", "cli"],
];

/// What a module must never mention, and why.
const ABSENCES: &[(&str, &[&str], &str)] = &[
    (
        "engine",
        &["toml", "crate::model", "ModelSpec", "serde"],
        "the engine has never heard of TOML or of language models",
    ),
    ("network", &["crate::workload", "Op>", "OpId", "OpGraph"], "the network knows flows, never operations"),
    ("topology", &["crate::network", "crate::workload", "FlowId"], "the topology knows no traffic"),
    (
        "routing",
        &["ShapeSpec", "TopologySpec", "FatTree", "Dragonfly"],
        "a routing policy sees next hops, never shapes",
    ),
    ("workload", &["Duration::from", "/ BytesPerSec", "FlopsPerSec"], "the workload computes no durations"),
    ("metrics", &["crate::engine", "crate::network", "crate::gpu"], "metrics read the timeline only"),
    (
        "report",
        &["crate::engine", "crate::network", "crate::gpu", "crate::run", "crate::experiment"],
        "reports read outcomes only",
    ),
];

/// Who may touch the world, by the words that do it.
const WORLD: &[(&str, &[&str], &str)] = &[
    ("fs::read", &["scenario"], "only `scenario` reads files"),
    ("File::open", &["scenario"], "only `scenario` reads files"),
    ("fs::write", &["report"], "only `report` writes files"),
    ("File::create", &["report"], "only `report` writes files"),
    ("OpenOptions", &["report"], "only `report` writes files"),
    ("fs::remove", &["report"], "only `report` writes files"),
    ("println!", &["main", "cli"], "only the command line prints"),
    ("std::env", &["main", "cli"], "only the command line knows its surroundings"),
    ("Instant::now", &[], "nobody reads a clock"),
    ("SystemTime", &[], "nobody reads a clock"),
    ("petgraph::", &["topology"], "petgraph is private to `topology`"),
    ("plotters::", &["report"], "plotters is private to `report`"),
    ("png::", &["report"], "png is private to `report`"),
    ("comfy_table::", &["report"], "comfy-table is private to `report`"),
    ("annotate_snippets::", &["scenario"], "annotate-snippets is private to `scenario`"),
    ("csv::", &["scenario", "report"], "csv is read in `scenario` and written in `report`"),
    ("toml::", &["scenario"], "toml is private to `scenario`"),
    ("rand::", &["rng"], "rand is private to `rng`"),
    (
        "wrapping_mul",
        &["rng", "fingerprint"],
        "random numbers come from named streams of `rng`, and hashes from its `mix` and `scatter`; `fingerprint` is what names answers",
    ),
    ("parquet::", &["report"], "parquet is private to `report`"),
    (
        "rayon::",
        &["search", "sweep", "check", "validate"],
        "threads are for whole runs beside each other, never inside one",
    ),
    ("indicatif::", &["cli"], "indicatif is private to the command line"),
    ("ctrlc::", &["cli"], "only the command line listens to Ctrl-C"),
];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 75;
const FILE_BYTES_MAX: u64 = 1 << 20;

struct Source {
    path: PathBuf,
    module: String,
    /// The code without its unit tests and without comments.
    code: String,
    text: String,
}

pub(crate) fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files(&root().join("src"), "rs", &mut paths);
    let test_only = test_modules(&paths);
    let source = |path: PathBuf| {
        let inside = path.strip_prefix(root().join("src")).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let module = first.trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let shipped =
            if test_only.contains(&path) { "" } else { text.split("#[cfg(test)]\nmod tests {").next().unwrap() };
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let code = shipped.lines().filter(is_code).collect::<Vec<_>>().join("\n");
        Source { path, module, code, text }
    };
    paths.into_iter().map(source).collect()
}

/// Files of modules that are compiled for tests only.
fn test_modules(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path).unwrap();
        for declared in text.split("#[cfg(test)]\n").skip(1) {
            let line = declared.lines().next().unwrap().trim_start_matches("pub(crate) ");
            if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                found.push(path.with_file_name(format!("{name}.rs")));
            }
        }
    }
    found
}

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|layer| layer.contains(&module));
    found.unwrap_or_else(|| panic!("src/{module} belongs to no layer; name it in tests/it/tidy.rs and ARCHITECTURE.md"))
}

/// The top-level modules that `code` imports or names in full, with the text that does.
fn imports(code: &str) -> Vec<(String, String)> {
    let mut imports = Vec::new();
    for line in code.lines() {
        let mut rest = line;
        while let Some(at) = rest.find("crate::") {
            rest = &rest[at + "crate::".len()..];
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if name.chars().next().is_some_and(|c| c.is_ascii_lowercase()) {
                imports.push((name, line.trim().to_owned()));
            }
        }
    }
    imports
}

fn report(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn imports_point_down() {
    let mut broken = Vec::new();
    for source in sources() {
        let own = layer(&source.module);
        for (import, line) in imports(&source.code) {
            if layer(&import) > own {
                let path = source.path.strip_prefix(root()).unwrap().display();
                broken.push(format!("{path}: `{line}` reaches up to `{import}`"));
            }
        }
    }
    report(broken);
}

#[test]
fn the_import_check_sees_a_bad_import() {
    let found = imports("use crate::engine::run;\nlet x = crate::units::Bytes::ZERO;");
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["engine", "units"]);
    assert!(layer("engine") > layer("network"));
}

#[test]
fn modules_do_not_know_what_they_must_not() {
    let mut broken = Vec::new();
    for source in sources() {
        let path = source.path.strip_prefix(root()).unwrap().display().to_string();
        for (module, words, why) in ABSENCES {
            for word in words.iter().filter(|word| source.module == *module && source.code.contains(**word)) {
                broken.push(format!("{path}: mentions `{word}`, but {why}"));
            }
        }
        for (word, allowed, why) in WORLD {
            // `eprintln!` holds `println!`, and is a message rather than data.
            let code = source.code.replace("eprintln!", "");
            if code.contains(word) && !allowed.contains(&source.module.as_str()) {
                broken.push(format!("{path}: uses `{word}`, but {why}"));
            }
        }
    }
    report(broken);
}

#[test]
fn files_and_functions_stay_small() {
    let mut broken = Vec::new();
    for source in sources() {
        let path = source.path.strip_prefix(root()).unwrap().display().to_string();
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            broken.push(format!("{path}: {lines} lines, more than {FILE_LINES_MAX}"));
        }
        let mut begin: Option<(usize, String, String)> = None;
        for (number, line) in (1..).zip(source.text.lines()) {
            let indent: String = line.chars().take_while(|c| *c == ' ').collect();
            let starts =
                line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(super) ").starts_with("fn ");
            if starts && begin.is_none() && !line.trim_end().ends_with([';', '}']) {
                begin = Some((number, indent.clone(), line.trim().to_owned()));
            } else if let Some((from, outer, name)) = &begin
                && indent == *outer
                && line.trim() == "}"
            {
                if number - from > FUNCTION_LINES_MAX {
                    broken.push(format!("{path}:{from}: `{name}` has {} lines", number - from));
                }
                begin = None;
            }
        }
    }
    report(broken);
}

#[test]
fn every_module_says_what_it_does() {
    let silent = |source: &Source| !source.text.starts_with("//!");
    report(sources().iter().filter(|s| silent(s)).map(|s| format!("{}: no `//!`", s.path.display())).collect());
}

/// Types whose `Deserialize` takes them from files of ours, which must refuse keys that mean nothing. Results that are read again and
/// lines of measurements may hold more than is asked for.
#[test]
fn what_reads_keys_refuses_unknown_ones() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for source in sources().iter().filter(|source| source.module != "report") {
        if source.path.parent().unwrap().ends_with("validate/sets") {
            continue;
        }
        for derived in source
            .code
            .split("#[derive(")
            .skip(1)
            .filter(|code| code.split(')').next().unwrap().contains("Deserialize"))
        {
            let (attributes, body) = derived.split_once('{').unwrap();
            let body = body.split("\n}").next().unwrap();
            let is_enum = attributes.contains("enum ");
            // Only choices with keys of their own read any.
            if is_enum && !body.lines().any(|line| line.starts_with("    ") && line.trim_end().ends_with(" {")) {
                continue;
            }
            // A wrapped value has no keys.
            if attributes.contains(';') {
                continue;
            }
            seen += 1;
            if !attributes.contains("deny_unknown_fields") {
                let name = attributes.split_whitespace().last().unwrap();
                broken.push(format!("{}: `{name}` takes keys that it does not know", source.path.display()));
            }
        }
    }
    assert!(seen > 60, "{seen} types that read keys");
    report(broken);
}

#[test]
fn nothing_is_left_to_do_in_the_code() {
    let words = ["TODO", "FIXME", "XXX"];
    let unfinished = |source: &Source| words.iter().any(|word| source.text.contains(word));
    report(sources().iter().filter(|s| unfinished(s)).map(|s| format!("{}: unfinished", s.path.display())).collect());
}

#[test]
fn the_architecture_names_every_module_and_no_other() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut modules: Vec<String> = sources().into_iter().map(|source| source.module).collect();
    modules.dedup();
    let mut broken: Vec<String> = modules
        .iter()
        .filter(|module| !map.contains(&format!("`src/{module}")))
        .map(|module| format!("ARCHITECTURE.md does not name `src/{module}`"))
        .collect();
    for named in map.split("`src/").skip(1).map(|rest| rest.split('`').next().unwrap()) {
        if !root().join("src").join(named).exists() {
            broken.push(format!("ARCHITECTURE.md names `src/{named}`, which does not exist"));
        }
    }
    report(broken);
}

#[test]
fn files_in_the_repository_are_small() {
    let mut found = Vec::new();
    for folder in
        ["src", "tests", "hardware", "models", "topologies", "scenarios", "validation", "schemas", "benches", "docs"]
    {
        for extension in ["rs", "toml", "json", "md", "txt", "svg"] {
            files(&root().join(folder), extension, &mut found);
        }
    }
    assert!(found.len() > 50, "the folders of the repository are found");
    let big = |path: &&PathBuf| fs::metadata(path).unwrap().len() > FILE_BYTES_MAX;
    report(found.iter().filter(big).map(|path| format!("{}: over 1 MiB", path.display())).collect());
}
