//! The regression check: what breaks a topology is caught and named, in every format.

use crate::cli::{golden_file, octoplane, root, scratch, stderr, stdout};
use crate::golden;
use octoplane::metrics::catalog;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const SWITCH: &str = r#"
[switch]
name = "test switch"
radix = 8
port_bandwidth_per_direction = "400 Gb/s"
latency = "300 ns"
power = "1000 W"
[endpoint_cable]
name = "copper"
latency = "15 ns"
power = "0 W"
[switch_cable]
name = "optics"
latency = "150 ns"
power = "10 W"
"#;

const PLANES: &str = "name = \"eight planes\"\n[shape.multi_plane_fat_tree]\nplanes = 8\nlayers = 2\nendpoints_per_plane = 16\n\
    [expect]\nmax_oversubscription = 1.0\nmin_bisection = 1.0\n";

/// Two planes of three leaves under two spines, cable by cable.
fn listed() -> String {
    let mut text = "name = \"two planes, listed\"\n\n[expect]\nplanes = 2\nmax_oversubscription = 1.0\n\n[shape.explicit]\ndevices = [\n".to_owned();
    for plane in ["a", "b"] {
        for spine in 0..2 {
            writeln!(text, "    {{ name = \"spine-{plane}{spine}\", kind = \"spine\" }},").unwrap();
        }
        for leaf in 0..3 {
            writeln!(text, "    {{ name = \"leaf-{plane}{leaf}\", kind = \"leaf\" }},").unwrap();
        }
    }
    for nic in 0..6 {
        writeln!(
            text,
            "    {{ name = \"nic-a{nic}\", kind = \"nic\" }},\n    {{ name = \"nic-b{nic}\", kind = \"nic\" }},"
        )
        .unwrap();
    }
    text.push_str("]\nlinks = [\n");
    let mut link = |a: String, b: String| {
        writeln!(
            text,
            "    {{ between = [\"{a}\", \"{b}\"], bandwidth_per_direction = \"50 GB/s\", latency = \"450 ns\" }},"
        )
        .unwrap();
    };
    for plane in ["a", "b"] {
        for leaf in 0..3 {
            for spine in 0..2 {
                link(format!("leaf-{plane}{leaf}"), format!("spine-{plane}{spine}"));
            }
            for nic in 0..2 {
                link(format!("nic-{plane}{}", 2 * leaf + nic), format!("leaf-{plane}{leaf}"));
            }
        }
    }
    text.push_str("]\n");
    text
}

/// A repository of two topologies and a scenario, with its baseline.
fn repository(name: &str) -> PathBuf {
    let folder = scratch(name);
    fs::remove_dir_all(&folder).unwrap();
    for inner in ["topologies", "scenarios"] {
        fs::create_dir_all(folder.join(inner)).unwrap();
    }
    fs::write(folder.join("topologies/planes.toml"), format!("{PLANES}{SWITCH}")).unwrap();
    fs::write(folder.join("topologies/listed.toml"), listed()).unwrap();
    let scenario = format!(
        "name = \"all-to-all over planes\"\nnodes = 4\n[hardware]\nextends = \"{}\"\n[hardware.nics.nic]\nefficiency = 0.8\n[topology]\n\
         extends = \"../topologies/planes.toml\"\n[workload.collective]\nkind = \"all_to_all\"\nbytes = \"128 MiB\"\n",
        root().join("hardware/nodes/dgx_h800.toml").display()
    );
    fs::write(folder.join("scenarios/exchange.toml"), scenario).unwrap();
    // Part of others, as it has no name.
    fs::write(folder.join("scenarios/part.toml"), "[workload.collective]\nbytes = \"1 MiB\"\n").unwrap();
    let updated = check(&folder, &["--update"]);
    assert!(updated.status.success(), "{}{}", stdout(&updated), stderr(&updated));
    folder
}

fn check(folder: &Path, more: &[&str]) -> std::process::Output {
    octoplane(folder, &[&["check", "--root", "."], more].concat())
}

/// Changes one file of a repository, checks it, and compares what is said.
fn broken(name: &str, file: &str, changes: &[(&str, &str)]) -> Result<(), String> {
    let folder = repository(&format!("check_{name}"));
    let path = folder.join(file);
    let mut text = fs::read_to_string(&path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{file} holds {from}");
        text = text.replacen(from, to, 1);
    }
    fs::write(&path, text).unwrap();
    let output = check(&folder, &[]);
    if output.status.code() != Some(1) {
        return Err(format!("{name}: {:?}\n{}{}", output.status, stdout(&output), stderr(&output)));
    }
    let said = stdout(&output).replace(&format!("{}/", root().display()), "");
    golden::check(&golden_file(&format!("check/{name}.txt")), &said)
}

#[test]
fn what_breaks_a_repository_is_caught_and_named() {
    let planes = "topologies/planes.toml";
    let wrong_port = ("[\"leaf-b1\", \"spine-b1\"]", "[\"leaf-b1\", \"spine-a1\"]");
    golden::all(vec![
        broken("lost_plane", planes, &[("planes = 8", "planes = 4")]),
        broken("halved_links", planes, &[("layers = 2", "layers = 2\noversubscription = 2")]),
        broken("miswired_leaf", "topologies/listed.toml", &[wrong_port]),
        broken(
            "lost_cable",
            "topologies/listed.toml",
            &[(
                "    { between = [\"leaf-a2\", \"spine-a0\"], bandwidth_per_direction = \"50 GB/s\", latency = \"450 ns\" },\n",
                "",
            )],
        ),
        broken("too_many_ports", planes, &[("radix = 8", "radix = 4")]),
        broken("slower_nic", "scenarios/exchange.toml", &[("efficiency = 0.8", "efficiency = 0.7")]),
    ]);
}

#[test]
fn a_file_that_cannot_be_read_is_named_once_and_leaves_the_baseline_alone() {
    let folder = repository("check_not_toml");
    let path = folder.join("topologies/planes.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("planes = 8", "planes = = 8", 1)).unwrap();
    let output = check(&folder, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    assert_eq!(stderr(&output), "error: 2 files cannot be read, as said above\n");
    golden::all(vec![golden::check(&golden_file("check/not_toml.txt"), &stdout(&output))]);
    let alone = check(&folder, &["topologies/planes.toml"]);
    assert_eq!((alone.status.code(), stdout(&alone).matches("extra `=`").count()), (Some(2), 1), "{}", stdout(&alone));
    let baseline = fs::read_to_string(folder.join("baseline.toml")).unwrap();
    let update = check(&folder, &["--update"]);
    assert_eq!(update.status.code(), Some(2), "{}", stdout(&update));
    assert_eq!(fs::read_to_string(folder.join("baseline.toml")).unwrap(), baseline);
    // A key that means nothing is as unreadable as a text that is no TOML, and is told of the file that others extend.
    fs::write(&path, text.replacen("planes = 8", "plains = 8", 1)).unwrap();
    let output = check(&folder, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    let said: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let problems = said["files"].as_array().unwrap().iter().map(|file| file["problems"][0]["message"].as_str());
    let problems: Vec<&str> = problems.flatten().collect();
    assert!(problems[0].starts_with("error: it extends topologies/planes.toml: `plains`"), "{problems:?}");
    assert!(problems[1].contains("did you mean `planes`?"), "{problems:?}");
}

#[test]
fn a_repository_as_it_was_holds_and_a_better_one_does_too() {
    let folder = repository("check_holds");
    let output = check(&folder, &[]);
    assert_eq!(
        (stdout(&output).as_str(), output.status.code()),
        ("2 topologies and 1 scenario checked: all hold\n", Some(0))
    );
    let path = folder.join("scenarios/exchange.toml");
    let text = fs::read_to_string(&path).unwrap().replace("efficiency = 0.8", "efficiency = 0.9");
    fs::write(&path, text).unwrap();
    let better = check(&folder, &[]);
    assert_eq!(better.status.code(), Some(0), "{}", stdout(&better));
    assert!(stdout(&better).contains("--update takes them"), "{}", stdout(&better));
    // A tolerance that people wrote stays when the baseline is taken anew.
    let baseline = folder.join("baseline.toml");
    let text = fs::read_to_string(&baseline).unwrap();
    fs::write(&baseline, text.replacen("[tolerance]\n", "[tolerance]\ntime = 0.5\nbusbw = 0.5\nalgbw = 0.5\n", 1))
        .unwrap();
    assert!(check(&folder, &["--update"]).status.success());
    assert!(fs::read_to_string(&baseline).unwrap().contains("time = 0.5"));
    fs::remove_file(folder.join("topologies/listed.toml")).unwrap();
    let gone = check(&folder, &[]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(stdout(&gone).contains("FAILED: topologies/listed.toml"), "{}", stdout(&gone));
    assert_eq!(check(&folder, &["topologies/planes.toml"]).status.code(), Some(0), "only what is named is looked at");
}

#[test]
fn every_format_names_the_same_thing() {
    let folder = repository("check_formats");
    let path = folder.join("scenarios/exchange.toml");
    let text = fs::read_to_string(&path).unwrap().replace("efficiency = 0.8", "efficiency = 0.7");
    fs::write(&path, text).unwrap();
    let said = |format: &str| {
        let output = check(&folder, &["--format", format]);
        assert_eq!(output.status.code(), Some(1));
        stdout(&output).replace(&format!("{}/", root().display()), "")
    };
    let formats = [("github", "txt"), ("junit", "xml"), ("json", "json")];
    golden::all(
        formats.map(|(format, end)| golden::check(&golden_file(&format!("check/format.{end}")), &said(format))).into(),
    );
}

/// A baseline with other figures, as if the program had become better or worse: what is said of each metric, and whether it fails.
#[test]
fn a_change_is_judged_by_the_catalogue_whatever_its_unit() {
    let folder = repository("check_judged");
    let path = folder.join("baseline.toml");
    let whole = fs::read_to_string(&path).unwrap();
    let start = whole.find("[file.\"topologies/planes.toml\".metrics]").expect("it is checked");
    let judged = |metric: &str, line: &str| {
        let at = start + whole[start..].find(&format!("\n{metric} = ")).expect("the metric is there") + 1;
        let end = at + whole[at..].find('\n').unwrap();
        fs::write(&path, format!("{}{line}{}", &whole[..at], &whole[end..])).unwrap();
        let output = check(&folder, &["--json"]);
        let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        let file = found["files"].as_array().unwrap().iter().find(|file| file["path"] == "topologies/planes.toml");
        let changes = file.unwrap()["changes"].as_array().unwrap().clone();
        let change = changes.iter().find(|change| change["metric"] == metric).unwrap_or_else(|| panic!("{changes:?}"));
        let said = format!("{} {}", change["better"].as_str().unwrap(), change["judgement"].as_str().unwrap());
        (said, output.status.code().unwrap())
    };
    let said = |text: &str, code: i32| (text.to_owned(), code);
    assert_eq!(judged("oversubscription", "oversubscription = 2.0"), said("lower better", 0));
    assert_eq!(judged("oversubscription", "oversubscription = 0.5"), said("lower worse", 1));
    assert_eq!(judged("bisection_of_full", "bisection_of_full = 0.5"), said("higher better", 0));
    assert_eq!(judged("diameter", "diameter = 5.0"), said("lower better", 0));
    assert_eq!(judged("endpoints", "endpoints = 127.0"), said("none changed", 1));
    assert_eq!(judged("endpoints", "endpoints = 128.01"), said("none within", 0));
    assert_eq!(judged("power", ""), said("lower new", 0));
    assert_eq!(judged("power", "busbw = 1.0"), said("lower new", 1), "busbw is gone");
}

/// What the repository's own baseline names is in the catalogue, and of the figures of topologies each is in some answer.
#[test]
fn every_metric_of_the_baseline_is_in_the_catalogue() {
    let baseline: toml::Table = fs::read_to_string(root().join("baseline.toml")).unwrap().parse().unwrap();
    let mut met = BTreeSet::new();
    for (path, file) in baseline["file"].as_table().unwrap() {
        for name in file["metrics"].as_table().unwrap().keys() {
            // A run that does not end has no figures: what is counted of it is `check`'s own.
            if name == "stranded_transfers" {
                continue;
            }
            let known =
                catalog().any(|def| def.name == name && (def.of == "topology") == path.starts_with("topologies/"));
            assert!(known, "{path}: `{name}`");
            met.insert(name.clone());
        }
    }
    for def in catalog().filter(|def| def.of == "topology") {
        assert!(met.contains(def.name), "`{}` is in no answer", def.name);
    }
}
