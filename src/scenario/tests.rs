//! Files that extend files, overlays, and what is known of each value afterwards. Messages are golden files of `tests/it`.

use super::{Loaded, load};
use crate::invalid::Invalid;
use crate::units::{BytesPerSec, Count, Duration};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Box {
    name: String,
    wheels: Option<Count>,
    engine: Engine,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Engine {
    bandwidth: BytesPerSec,
    latency: Duration,
    kind: Kind,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Plain,
    Tuned { factor: f64 },
}

/// A folder of its own for each test, with the files that it needs.
fn folder(test: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("octoplane-{}-{test}", std::process::id()));
    for (name, content) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder to write to");
        fs::write(path, content).expect("a file to write");
    }
    folder
}

const ENGINE: &str = "bandwidth = '50 GB/s'\nlatency = '1 us'\nkind = 'plain'\n";
const CAR: &str =
    "name = 'car'\nwheels = 4\ntags = ['a', 'b']\n[engine]\nextends = 'parts/engine.toml'\nlatency = '2 us'\n";

fn read(path: &Path, sets: &[&str]) -> Loaded<Box> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    load(path, &sets).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_table_may_extend_a_file_and_change_it() {
    let folder = folder("extends", &[("parts/engine.toml", ENGINE), ("car.toml", CAR)]);
    let car = read(&folder.join("car.toml"), &[]).value;
    assert_eq!(car.engine.bandwidth, BytesPerSec::new(50_000_000_000));
    assert_eq!(car.engine.latency, Duration::from_ns(2_000));
}

#[test]
fn a_later_extends_replaces_the_base_and_keeps_the_changes() {
    let other = "bandwidth = '9 GB/s'\nlatency = '9 us'\nkind = { tuned = { factor = 2.0 } }\n";
    let van = "extends = 'car.toml'\nname = 'van'\ntags = ['c']\n[engine]\nextends = 'other.toml'\n";
    let files = [("parts/engine.toml", ENGINE), ("car.toml", CAR), ("other.toml", other), ("van.toml", van)];
    let folder = folder("replaces", &files);
    let van = read(&folder.join("van.toml"), &[]).value;
    assert_eq!((van.name.as_str(), van.wheels), ("van", Count::new(4)));
    assert_eq!(van.tags, ["c"], "lists are replaced whole");
    assert_eq!(van.engine.bandwidth, BytesPerSec::new(9_000_000_000), "from the new base");
    assert_eq!(van.engine.latency, Duration::from_ns(2_000), "what car.toml changed stays changed");
    assert_eq!(van.engine.kind, Kind::Tuned { factor: 2.0 });
}

#[test]
fn later_overlays_win_and_need_no_quotes() {
    let folder = folder("sets", &[("parts/engine.toml", ENGINE), ("car.toml", CAR)]);
    let sets = ["engine.bandwidth=60 GB/s", "engine.bandwidth = \"70 GB/s\"", "wheels=3", "tags=['x']"];
    let car = read(&folder.join("car.toml"), &sets);
    assert_eq!(car.value.engine.bandwidth, BytesPerSec::new(70_000_000_000));
    assert_eq!((car.value.wheels, car.value.tags), (Count::new(3), vec!["x".to_owned()]));
}

#[test]
fn every_value_knows_its_origin() {
    let folder = folder("origin", &[("parts/engine.toml", ENGINE), ("car.toml", CAR)]);
    let car = read(&folder.join("car.toml"), &["wheels=3"]);
    let origin = |place: &str| car.origin(place).map(|origin| origin.replace(&format!("{}/", folder.display()), ""));
    assert_eq!(origin("wheels").as_deref(), Some("--set #1"));
    assert_eq!(origin("engine.latency").as_deref(), Some("car.toml:6"));
    assert_eq!(origin("engine.bandwidth").as_deref(), Some("parts/engine.toml:1"));
    assert_eq!(origin("nothing"), None);
}

#[test]
fn a_finding_points_at_the_nearest_thing_that_exists() {
    let folder = folder("finding", &[("parts/engine.toml", ENGINE), ("car.toml", CAR)]);
    let car = read(&folder.join("car.toml"), &[]);
    let message = car.error(&Invalid::at("engine.torque", "no torque").help("add one")).to_string();
    let message = message.replace(&format!("{}/", folder.display()), "");
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines[0], "error: no torque");
    assert_eq!(lines[1].trim(), "--> car.toml:4:2");
    assert!(message.contains("= help: add one"), "{message}");
}

#[test]
fn what_was_resolved_reads_back_as_itself() {
    let folder = folder("resolved", &[("parts/engine.toml", ENGINE), ("car.toml", CAR)]);
    let sets = ["name = \"a \\\"quoted\\\" name\"", "engine.kind={tuned={factor=3.0}}"];
    let car = read(&folder.join("car.toml"), &sets);
    let text = car.resolved();
    fs::write(folder.join("again.toml"), &text).expect("a file to write");
    let again = read(&folder.join("again.toml"), &[]);
    assert_eq!(again.value, car.value);
    assert_eq!(again.resolved(), text);
}

#[test]
fn schemas_require_nothing_and_know_extends() {
    let schema = super::schema_for::<Box>("Box");
    let text = schema.to_string();
    assert!(!text.contains("\"required\"") && !text.contains("\"null\""), "{text}");
    assert!(schema["properties"]["extends"].is_object());
    assert!(schema["$defs"]["Engine"]["properties"]["extends"].is_object());
    assert_eq!(schema["additionalProperties"], false);
}
