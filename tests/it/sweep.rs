//! Sweeps: the same bytes on any number of threads, nothing lost when the process is killed, studies that make sense.

use crate::cli::{golden_file, octoplane, root, scratch, stderr, stdout};
use crate::golden;
use crate::tidy::files;
use octoplane::metrics::Metric;
use octoplane::scenario::{Loaded, Overlay, Scenario, load, load_with};
use octoplane::sweep::{Answer, Kept, Plan, Record, StudySpec, plan, record_frame};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A study of 42 points, of which seven have no answer, in a folder of its own.
fn study(name: &str) -> PathBuf {
    let folder = scratch(name);
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir_all(&folder).unwrap();
    let base = root().join("scenarios/h800_ep128_decode.toml");
    let text = format!(
        r#"
        name = "test study"
        base = "{}"
        metrics = ["tpot", "tokens_per_s_per_gpu"]
        [set]
        "workload.decode.micro_batches" = 1
        [[axis]]
        name = "requests_per_gpu"
        path = "workload.decode.requests_per_gpu"
        values = [1, 2, 4, 8, 16, 4096]
        [[axis]]
        name = "hbm"
        path = "hardware.gpu.memory.bandwidth"
        range = {{ from = "1 TB/s", to = "4 TB/s", step = 0.5 }}
        "#,
        base.display()
    );
    let path = folder.join("study.toml");
    fs::write(&path, text).unwrap();
    path
}

fn sweep(study: &Path, out: &Path, more: &[&str]) -> std::process::Output {
    let args = [&["sweep", study.to_str().unwrap(), "--out", out.to_str().unwrap()], more].concat();
    octoplane(root(), &args)
}

/// Everything that a sweep keeps.
fn kept(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<PathBuf> = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
        .iter()
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn any_number_of_jobs_leaves_the_same_bytes() {
    let study = study("sweep_jobs");
    let [one, four] = ["one", "four"].map(|name| study.with_file_name(name));
    let first = sweep(&study, &one, &["--jobs", "1"]);
    let second = sweep(&study, &four, &["--jobs", "4"]);
    assert!(first.status.success(), "{}", stderr(&first));
    assert_eq!(stdout(&first), stdout(&second));
    assert_eq!(kept(&one), kept(&four));
    let names: Vec<String> = kept(&one).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [".lock", "owner.json", "points.jsonl", "study.resolved.toml", "summary.txt", "table.csv", "table.parquet"]
    );
    let table = fs::read_to_string(one.join("table.csv")).unwrap();
    assert!(table.starts_with("point,requests_per_gpu,hbm [TB/s],tpot [ms],tokens_per_s_per_gpu [tokens/s],error,"));
    assert_eq!(table.matches("the plan needs").count(), 7, "points without an answer say why:\n{table}");
    golden::all(vec![golden::check(&golden_file("sweep.txt"), &stdout(&first))]);
}

#[test]
fn a_killed_sweep_goes_on_where_it_was() {
    let study = study("sweep_killed");
    let [whole, killed] = ["whole", "killed"].map(|name| study.with_file_name(name));
    assert!(sweep(&study, &whole, &[]).status.success());
    let log = killed.join("points.part.jsonl");
    let lines = || fs::read(&log).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count());
    let mut child = Command::new(env!("CARGO_BIN_EXE_octoplane"))
        .args(["sweep", study.to_str().unwrap(), "--out", killed.to_str().unwrap(), "--jobs", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while lines() < 5 {
        assert!(child.try_wait().unwrap().is_none(), "the sweep ended before it could be killed");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let finished = lines();
    assert!((5..42).contains(&finished), "{finished} of 42 points were over when the process was killed");
    assert!(!killed.join("table.csv").exists());
    // What was kept is used, not worked out again: a figure that no simulation gives survives.
    let text = fs::read_to_string(&log).unwrap();
    let record: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let figure = record["metrics"][1][2].to_string();
    assert_eq!(record["metrics"][1][0], "tpot");
    let marked = text.replacen(&format!("[\"tpot\",\"ms\",{figure}]"), "[\"tpot\",\"ms\",123456.75]", 1);
    // The system may have cut the last record anywhere.
    let torn = format!("{marked}{{\"schema\":1,\"inputs\":\"02");
    fs::write(&log, torn).unwrap();
    let refused = sweep(&study, &killed, &[]);
    assert_eq!(refused.status.code(), Some(2), "what was worked out is not thrown away unasked");
    assert!(stderr(&refused).contains("--resume"), "{}", stderr(&refused));
    let resumed = sweep(&study, &killed, &["--resume"]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert!(stderr(&resumed).contains("1 torn record"), "{}", stderr(&resumed));
    for name in ["points.jsonl", "table.csv"] {
        let table = fs::read_to_string(killed.join(name)).unwrap();
        assert!(table.contains("123456.75"), "{name}:\n{table}");
        assert_eq!(table.replace("123456.75", &figure), fs::read_to_string(whole.join(name)).unwrap(), "{name}");
    }
    // Going on with a finished sweep does nothing, and starting over works everything out again.
    assert!(sweep(&study, &killed, &["--resume"]).status.success());
    assert!(fs::read_to_string(killed.join("table.csv")).unwrap().contains("123456.75"));
    assert!(sweep(&study, &killed, &[]).status.success());
    assert_eq!(kept(&killed), kept(&whole));
}

/// Presses Ctrl-C once `lines` records are kept in `out`, and what the command says of it.
#[cfg(unix)]
fn interrupted(args: &[&str], out: &Path, lines: usize) -> std::process::Output {
    let log = out.join("points.part.jsonl");
    let kept = || fs::read(&log).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count());
    let mut child = Command::new(env!("CARGO_BIN_EXE_octoplane"))
        .current_dir(root())
        .args(args)
        .args(["--out", out.to_str().unwrap(), "--jobs", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while kept() < lines {
        assert!(child.try_wait().unwrap().is_none(), "{args:?} ended before it could be interrupted");
        std::thread::sleep(Duration::from_millis(1));
    }
    let pressed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(pressed.success());
    child.wait_with_output().unwrap()
}

/// Runs the command that an interrupted one names.
#[cfg(unix)]
fn go_on(said: &str) -> String {
    let command = said.split("go on with: ").nth(1).unwrap().lines().next().unwrap();
    assert!(command.ends_with(" --resume"), "{said}");
    let output = Command::new("sh").current_dir(root()).args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}

#[cfg(unix)]
#[test]
fn ctrl_c_loses_no_point_and_says_how_to_go_on() {
    let study = study("sweep_interrupted");
    // A path that a shell would take apart.
    let [whole, stopped] = ["whole", "it is kept"].map(|name| study.with_file_name(name));
    assert!(sweep(&study, &whole, &[]).status.success());
    let output = interrupted(&["sweep", study.to_str().unwrap()], &stopped, 5);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    let log = fs::read_to_string(stopped.join("points.part.jsonl")).unwrap();
    // Points without an answer because of their input have no fingerprint, and are worked out anew.
    let known = log.lines().filter(|line| !line.contains("\"inputs\":null")).count();
    assert!((5..42).contains(&known), "{said}");
    assert!(said.contains(&format!("stopped: {known} of 42 points are kept in ")), "{said}");
    go_on(&said);
    assert_eq!(kept(&stopped), kept(&whole));
}

#[cfg(unix)]
#[test]
fn ctrl_c_loses_no_point_of_a_search() {
    let folder = scratch("search_interrupted");
    fs::remove_dir_all(&folder).unwrap();
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.join(name));
    let goal = "scenarios/goals/cheapest_decode.toml";
    let good = octoplane(root(), &["search", goal, "--out", whole.to_str().unwrap()]);
    assert!(good.status.success(), "{}", stderr(&good));
    let output = interrupted(&["search", goal], &stopped, 3);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(!stopped.join("found.json").exists());
    let log = fs::read_to_string(stopped.join("points.part.jsonl")).unwrap();
    assert!(said.contains(&format!("stopped: {} of ", log.lines().count())), "{said}");
    // What was kept is used, not worked out again: a figure that no simulation gives survives.
    let first: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let figure = first["metrics"][0][2].to_string();
    assert_eq!(first["metrics"][0][0], "step");
    let marked = log.replacen(&format!("\"ms\",{figure}]"), "\"ms\",123456.75]", 1);
    fs::write(stopped.join("points.part.jsonl"), marked).unwrap();
    let refused = octoplane(root(), &["search", goal, "--out", stopped.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2), "what was worked out is not thrown away unasked");
    go_on(&said);
    let found = |folder: &Path| fs::read_to_string(folder.join("found.json")).unwrap();
    assert!(found(&stopped).contains("123456.75"));
    assert_eq!(found(&stopped).replacen("123456.75", &figure, 1), found(&whole));
    assert_eq!(fs::read(stopped.join("summary.txt")).unwrap(), fs::read(whole.join("summary.txt")).unwrap());
}

#[test]
fn broken_studies_get_one_clear_message() {
    let study = study("sweep_broken");
    let text = fs::read_to_string(&study).unwrap();
    let cases = [
        ("study_unknown_axis_in_keep", format!("keep = [\"ep > 4\"]\n{text}")),
        ("study_without_values", text.replace("values = [1, 2, 4, 8, 16, 4096]", "")),
        ("study_missing_base", text.replace("h800_ep128_decode", "h800_ep127_decode")),
        ("study_unknown_metric", text.replace("\"tpot\"", "\"tpto\"")),
        (
            "study_label_twice",
            text.replace("values = [1, 2,", "labels = [\"a\", \"b\", \"c\", \"d\", \"b\", \"e\"]\n values = [1, 2,"),
        ),
        ("study_unknown_path", text.replace("workload.decode.requests_per_gpu", "workload.decode.requests_per_gup")),
        ("study_senseless_value", text.replace("8, 16, 4096]", "8, \"many\", 4096]")),
        ("study_unlike_units", text.replace("to = \"4 TB/s\"", "to = \"4000 GB/s\"")),
    ];
    let check = |(name, text): &(&str, String)| {
        let path = study.with_file_name(format!("{name}.toml"));
        fs::write(&path, text).unwrap();
        let output = sweep(&path, &study.with_file_name(name), &[]);
        let message = stderr(&output);
        let folder = format!("{}/", study.parent().unwrap().display());
        let message = message.replace(&folder, "").replace(&format!("{}/", root().display()), "");
        let message: String =
            message.lines().filter(|line| !line.contains("points, ")).map(|line| format!("{line}\n")).collect();
        // How far a path is underlined depends on where the repository lies.
        let message = if *name == "study_missing_base" { message.replace('^', "") } else { message };
        let code = output.status.code();
        golden::check(&golden_file(&format!("broken/{name}.txt")), &format!("exit code {code:?}\n{message}"))
    };
    golden::all(cases.iter().map(check).collect());
}

/// Every study of the repository makes sense, its first point has the metrics that it keeps, and all of them fit on one page.
#[test]
fn the_shipped_studies_hold() {
    let mut paths = Vec::new();
    files(&root().join("scenarios/studies"), "toml", &mut paths);
    assert!(paths.len() >= 13, "{} studies", paths.len());
    let kept = scratch("studies");
    fs::remove_dir_all(&kept).unwrap();
    for path in paths {
        let loaded: Loaded<StudySpec> = load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        let plan =
            plan(&loaded.value, path.parent().unwrap()).unwrap_or_else(|invalid| panic!("{}", loaded.error(&invalid)));
        let overlays: &[Overlay] = &plan.points[0].overlays;
        let scenario: Loaded<Scenario> = load_with(&plan.base, overlays, &octoplane::scenario::Library::default())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let outcome = octoplane::run::simulate(&scenario.value)
            .unwrap_or_else(|invalid| panic!("{}: {}", path.display(), scenario.error(&invalid)));
        let names: Vec<&str> = outcome.metrics.named().iter().map(|metric| metric.def.name).collect();
        for metric in &plan.metrics {
            assert!(names.contains(&metric.as_str()), "{}: no metric `{metric}`", path.display());
        }
        let table = record_frame(&plan, &records(&plan, &outcome.metrics.named())).unwrap();
        let folder = kept.join(path.file_stem().unwrap());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("table.csv"), table.to_csv()).unwrap();
        fs::write(folder.join("study.resolved.toml"), loaded.resolved()).unwrap();
    }
    let page = kept.join("page.html");
    let output = octoplane(root(), &["report", kept.to_str().unwrap(), "--html", page.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let size = fs::metadata(page).unwrap().len();
    assert!((100_000..2 << 20).contains(&size), "{size} bytes");
}

/// A record of every point of `plan`, with values as long as those of the first one.
fn records(plan: &Plan, first: &[Metric]) -> Vec<Record> {
    let kept = |at: usize| {
        let wanted =
            |metric: &&Metric| plan.metrics.is_empty() || plan.metrics.iter().any(|name| name == metric.def.name);
        let other = |kept: Kept| Kept { value: kept.value.map(|value| value / (1.0 + at as f64 / 7.0)), ..kept };
        Answer::Metrics(first.iter().filter(wanted).map(Kept::from).map(other).collect())
    };
    let record = |at: usize| Record {
        inputs: Some("0123456789abcdef".to_owned()),
        version: "0.1.0".to_owned(),
        seed: Some(0),
        set: Vec::new(),
        answer: kept(at),
    };
    (0..plan.points.len()).map(record).collect()
}
