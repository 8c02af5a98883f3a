//! Folders of results: whose they are, who may write into them, and that nothing is lost, whatever happens to the process.

use crate::cli::{octoplane, root, scratch, stderr, stdout};
use octoplane::report::folder::Claim;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A repository of its own: a tiny scenario, which extends a file of its own, in two folders, with a study over each.
fn repository(name: &str) -> PathBuf {
    let folder = scratch(name);
    fs::remove_dir_all(&folder).unwrap();
    for (place, size) in [("x1", "1 MB"), ("x2", "64 MB")] {
        let at = folder.join("scenarios").join(place);
        fs::create_dir_all(&at).unwrap();
        let base = root().join("scenarios/collectives/all_to_all_h800.toml");
        let scenario = format!("extends = [\"{}\", \"size.toml\"]\nnetwork = \"analytic\"\n", base.display());
        fs::write(at.join("same.toml"), scenario).unwrap();
        fs::write(at.join("size.toml"), format!("workload.collective.bytes = \"{size}\"\n")).unwrap();
        let study = "name = \"sizes\"\nbase = \"same.toml\"\n[[axis]]\nname = \"nodes\"\npath = \"nodes\"\n\
                     values = [1, 2, 3, 4]\n[[axis]]\nname = \"gpus\"\npath = \"hardware.gpus\"\nvalues = [2, 4, 8]\n";
        fs::write(at.join("study.toml"), study).unwrap();
    }
    folder
}

/// Everything in a folder of results.
fn kept(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let paths = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())).collect()
}

fn fine(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output)
}

/// The command is refused with a message that says all of `said`, and leaves `out` as it was.
fn refused(folder: &Path, args: &[&str], out: &str, said: &[&str]) {
    let before = kept(&folder.join(out));
    let output = octoplane(folder, args);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
    for words in said {
        assert!(stderr(&output).contains(words), "{args:?}: `{words}` is missing in {}", stderr(&output));
    }
    assert_eq!(kept(&folder.join(out)), before, "{args:?}");
}

#[test]
fn scenarios_of_one_name_keep_their_answers_apart() {
    let folder = repository("results_names");
    let answers =
        ["x1", "x2"].map(|place| fine(&octoplane(&folder, &["run", &format!("scenarios/{place}/same.toml")])));
    assert_ne!(answers[0], answers[1]);
    for (place, answer) in ["x1", "x2"].iter().zip(&answers) {
        let summary = fs::read_to_string(folder.join("results/run").join(place).join("same/summary.txt")).unwrap();
        assert_eq!(summary.lines().next(), answer.lines().next());
        let resolved = fs::read_to_string(folder.join("results/run").join(place).join("same/scenario.resolved.toml"));
        assert!(resolved.unwrap().contains(if *place == "x1" { "1 MB" } else { "64 MB" }));
    }
}

#[test]
fn a_run_replaces_its_own_answer_and_no_other() {
    let folder = repository("results_run");
    let run = |more: &[&str]| octoplane(&folder, &[&["run", "scenarios/x1/same.toml", "--out", "out"], more].concat());
    let first = fine(&run(&[]));
    assert_eq!(fine(&run(&[])), first);
    refused(&folder, &["run", "scenarios/x2/same.toml", "--out", "out"], "out", &["scenarios/x1/same.toml", "--force"]);
    refused(&folder, &["sweep", "scenarios/x1/study.toml", "--out", "out"], "out", &["`run scenarios/x1/same.toml`"]);
    refused(&folder, &["reproduce", "table1", "--root", root().to_str().unwrap(), "--out", "out"], "out", &["--force"]);
    // It is the same scenario when it was edited or overlaid.
    fs::write(folder.join("scenarios/x1/size.toml"), "workload.collective.bytes = \"2 MB\"\n").unwrap();
    assert_ne!(fine(&run(&[])), first);
    let overlaid = run(&["--set", "nodes=2"]);
    fine(&overlaid);
    let again = run(&[]);
    assert!(
        stderr(&again).contains("`run scenarios/x1/same.toml --set nodes=2`, which is replaced"),
        "{}",
        stderr(&again)
    );
    // What has no owner is not ours.
    fs::create_dir_all(folder.join("mine")).unwrap();
    fs::write(folder.join("mine/summary.txt"), "mine").unwrap();
    refused(&folder, &["run", "scenarios/x1/same.toml", "--out", "mine"], "mine", &["nothing says of what"]);
    fine(&octoplane(&folder, &["sweep", "scenarios/x1/study.toml", "--out", "out", "--force"]));
    let names: Vec<String> = kept(&folder.join("out")).into_keys().collect();
    assert!(names.contains(&"table.csv".to_owned()) && !names.contains(&"summary.json".to_owned()), "{names:?}");
}

#[test]
fn a_study_is_gone_on_with_by_the_same_inputs_and_program_only() {
    let folder = repository("results_study");
    let sweep = |study: &str, more: &[&str]| octoplane(&folder, &[&["sweep", study, "--out", "out"], more].concat());
    let (own, other) = ("scenarios/x1/study.toml", "scenarios/x2/study.toml");
    fine(&sweep(own, &[]));
    let whole = kept(&folder.join("out"));
    for more in ["--json", "--resume"] {
        refused(&folder, &["sweep", other, "--out", "out", more], "out", &[own, "--force"]);
    }
    // Its own answer comes out again.
    for more in ["--json", "--resume", "--force"] {
        fine(&sweep(own, &[more]));
        assert_eq!(kept(&folder.join("out")), whole, "{more}");
    }
    refused(&folder, &["sweep", own, "--set", "name=b", "--out", "out"], "out", &["--force"]);
    // A file that the base extends counts, wherever it is.
    let size = folder.join("scenarios/x1/size.toml");
    let before = fs::read(&size).unwrap();
    fs::write(&size, "workload.collective.bytes = \"2 MB\"\n").unwrap();
    for more in ["--json", "--resume"] {
        refused(&folder, &["sweep", own, "--out", "out", more], "out", &["before scenarios/x1/size.toml changed"]);
    }
    fs::write(&size, before).unwrap();
    // So do the program's sources: what was made by others is replaced, not gone on with.
    let owner = folder.join("out/owner.json");
    let text = fs::read_to_string(&owner).unwrap();
    assert!(text.contains(octoplane::SOURCES));
    fs::write(&owner, text.replace(octoplane::SOURCES, &"0".repeat(32))).unwrap();
    refused(&folder, &["sweep", own, "--out", "out", "--resume"], "out", &["other sources"]);
    fine(&sweep(own, &[]));
    assert_eq!(kept(&folder.join("out")), whole);
}

#[test]
fn one_process_at_a_time_writes_into_a_folder() {
    let folder = repository("results_lock");
    let out = folder.join("out");
    let claim = Claim::take(&out).unwrap().expect("nobody else is there");
    assert!(Claim::take(&out).unwrap().is_none());
    let process = std::process::id().to_string();
    for more in ["--json", "--resume", "--force"] {
        let args = ["sweep", "scenarios/x1/study.toml", "--out", "out", more];
        refused(&folder, &args, "out", &["another process", &process]);
    }
    // An answer waits for its turn.
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_octoplane"))
        .current_dir(&folder)
        .args(["run", "scenarios/x1/same.toml", "--out", "out"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(waiting.try_wait().unwrap().is_none() && !out.join("summary.json").exists());
    drop(claim);
    assert!(waiting.wait().unwrap().success());
    assert!(out.join("summary.json").exists());
    // What a process that was killed leaves is no lock, and no file.
    fs::write(out.join(".lock"), "1").unwrap();
    fs::write(out.join("summary.json.part"), "half").unwrap();
    fine(&octoplane(&folder, &["run", "scenarios/x1/same.toml", "--out", "out"]));
    assert!(!out.join("summary.json.part").exists());
}

/// How often the process is killed: a few times, or as often as asked for by hand.
fn kills() -> u32 {
    std::env::var("OCTOPLANE_KILLS").map_or(10, |kills| kills.parse().expect("a number of kills"))
}

/// Instants of a process that takes so long, spread without a pattern that its work could have: multiples of the golden ratio.
fn instants(whole: Duration, count: u32) -> impl Iterator<Item = Duration> {
    (1..=count).map(move |at| whole.mul_f64((f64::from(at) * 0.618_033_988_749_895).fract() * 1.1))
}

/// How long a process takes in peace.
#[allow(clippy::disallowed_types)]
fn timed(run: &mut dyn FnMut()) -> Duration {
    let began = std::time::Instant::now();
    run();
    began.elapsed()
}

fn start(folder: &Path, args: &[&str]) -> std::process::Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_octoplane"));
    command.current_dir(folder).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn nothing_is_lost_whenever_the_process_is_killed() {
    let folder = repository("results_killed");
    let study = "scenarios/x1/study.toml";
    let took = timed(&mut || drop(fine(&octoplane(&folder, &["sweep", study, "--out", "whole", "--jobs", "1"]))));
    let whole = kept(&folder.join("whole"));
    let out = folder.join("killed");
    let mut unfinished = 0;
    for (at, instant) in instants(took, kills()).enumerate() {
        // Every other time over an answer that is there: it stays until all that replaces it is.
        let over_an_answer = at % 2 == 1;
        if over_an_answer {
            fine(&octoplane(&folder, &["sweep", study, "--out", "killed", "--force"]));
        } else if out.exists() {
            fs::remove_dir_all(&out).unwrap();
        }
        let mut child = start(&folder, &["sweep", study, "--out", "killed", "--jobs", "2"]);
        std::thread::sleep(instant);
        child.kill().unwrap();
        child.wait().unwrap();
        let left = if out.exists() { kept(&out) } else { BTreeMap::new() };
        if let Some(table) = left.get("table.csv") {
            assert_eq!(table, &whole["table.csv"], "kill {at}: a table that is there is whole");
            for name in ["points.jsonl", "table.parquet", "summary.txt", "study.resolved.toml"] {
                assert_eq!(left.get(name), whole.get(name), "kill {at}: {name} belongs to the table");
            }
        }
        let log = left.get("points.part.jsonl").map_or(0, |log| log.iter().filter(|byte| **byte == b'\n').count());
        unfinished += u32::from((1..12).contains(&log));
        // Going on loses no record that was complete: the log never shrinks, and the answer is that of a run in peace.
        fine(&octoplane(&folder, &["sweep", study, "--out", "killed", "--resume"]));
        assert_eq!(kept(&out), whole, "kill {at} at {instant:?}");
    }
    assert!(kills() < 100 || unfinished > 0, "no kill met the points at work");
}

#[test]
fn a_killed_run_leaves_the_earlier_answer_or_the_new_one() {
    let folder = repository("results_killed_run");
    let set = ["--set", "workload.collective.bytes=3 MB"];
    let run = |more: &[&str]| octoplane(&folder, &[&["run", "scenarios/x1/same.toml", "--out", "out"], more].concat());
    let took = timed(&mut || drop(fine(&run(&set))));
    let new = kept(&folder.join("out"));
    fine(&run(&[]));
    let earlier = kept(&folder.join("out"));
    for (at, instant) in instants(took, kills()).enumerate() {
        fine(&run(&[]));
        let args = [&["run", "scenarios/x1/same.toml", "--out", "out"], &set[..]].concat();
        let mut child = start(&folder, &args);
        std::thread::sleep(instant);
        child.kill().unwrap();
        child.wait().unwrap();
        let left = kept(&folder.join("out"));
        let answers = [&earlier, &new].map(|answer| left.get("summary.json") == answer.get("summary.json"));
        // It goes first and comes last: where it is missing, the process was killed while files took their names.
        assert!(answers.contains(&true) || !left.contains_key("summary.json"), "kill {at} at {instant:?}");
        fine(&run(&set));
        assert_eq!(kept(&folder.join("out")), new, "kill {at} at {instant:?}");
    }
}

/// Runs a command whose files may not grow beyond so many blocks of 512 bytes, as on a disk that is full: writing fails then, or,
/// with `killed`, ends the process.
#[cfg(unix)]
fn cramped(folder: &Path, blocks: u32, killed: bool, args: &str) -> Output {
    let ignored = if killed { "" } else { "trap '' XFSZ; " };
    let program = env!("CARGO_BIN_EXE_octoplane");
    let line = format!("{ignored}ulimit -f {blocks}; exec '{program}' {args}");
    Command::new("sh").current_dir(folder).args(["-c", &line]).output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_full_disk_loses_no_point() {
    let folder = repository("results_full");
    let study = "scenarios/x1/study.toml";
    fine(&octoplane(&folder, &["sweep", study, "--out", "whole"]));
    let whole = kept(&folder.join("whole"));
    let log = whole["points.jsonl"].len() as u32 / 512;
    for (at, blocks) in [1, log / 4, log / 2, log - 1, log].into_iter().enumerate() {
        for killed in [false, true] {
            let name = format!("full{at}{killed}");
            let output = cramped(&folder, blocks, killed, &format!("sweep {study} --out {name} --jobs 2"));
            assert!(!output.status.success(), "{blocks} blocks");
            if !killed {
                assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
                assert!(stderr(&output).contains("cannot write"), "{}", stderr(&output));
                let parts = kept(&folder.join(&name)).into_keys().filter(|name| name.ends_with(".part")).count();
                assert_eq!(parts, 0, "half a file helps nobody");
            }
            let log = fs::read_to_string(folder.join(&name).join("points.part.jsonl")).unwrap_or_default();
            let complete = log.lines().filter(|line| line.ends_with('}')).count();
            assert!(complete >= (blocks as usize * 512 / whole["points.jsonl"].len()) * 12, "{complete} points");
            fine(&octoplane(&folder, &["sweep", study, "--out", &name, "--resume"]));
            assert_eq!(kept(&folder.join(&name)), whole, "{blocks} blocks");
        }
    }
    // An answer that cannot be kept is said all the same.
    let output = cramped(&folder, 1, false, "run scenarios/x1/same.toml --out run");
    assert_eq!(output.status.code(), Some(2));
    assert!(stdout(&output).contains("busbw") && stderr(&output).contains("cannot write"), "{}", stderr(&output));
}

#[test]
fn a_run_that_does_not_end_is_a_failure_wherever_it_is_asked_for() {
    let folder = scratch("results_unended");
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir_all(&folder).unwrap();
    let scenario = root().join("scenarios/faults/node_cut_off.toml");
    let scenario = scenario.to_str().unwrap();
    let ran = octoplane(&folder, &["run", scenario, "--json", "--out", "run"]);
    assert_eq!(ran.status.code(), Some(1), "{}", stderr(&ran));
    assert!(stderr(&ran).contains("error: the run did not end: 16 transfers have no way left"), "{}", stderr(&ran));
    let answer: serde_json::Value = serde_json::from_str(&stdout(&ran)).unwrap();
    assert_eq!((&answer["ended"], &answer["metrics"]), (&serde_json::json!(false), &serde_json::Value::Null));
    assert!(answer["failure"].as_str().unwrap().contains("16 transfers"));
    let well = octoplane(
        root(),
        &[
            "run",
            "scenarios/collectives/all_reduce_h100.toml",
            "--json",
            "--out",
            folder.join("well").to_str().unwrap(),
        ],
    );
    let answer: serde_json::Value = serde_json::from_str(&fine(&well)).unwrap();
    assert_eq!((&answer["ended"], &answer["failure"]), (&serde_json::json!(true), &serde_json::Value::Null));
    fine(&octoplane(&folder, &["report", "run", "--html", "page.html"]));
    assert!(fs::read_to_string(folder.join("page.html")).unwrap().contains("No answer: the run did not end"));
    // Of two points one ends.
    let study = format!(
        "name = \"cut off\"\nbase = \"{scenario}\"\n[[axis]]\nname = \"size\"\npath = \"workload.collective.bytes\"\n\
         values = [\"1 kB\", \"64 MB\"]\n"
    );
    fs::write(folder.join("study.toml"), study).unwrap();
    let table = fine(&octoplane(&folder, &["sweep", "study.toml", "--out", "sweep"]));
    assert!(table.contains("2 points over size; 1 without an answer"), "{table}");
    assert!(table.contains("no answer at size = 64 MB: the run did not end"), "{table}");
    let check = |more: &[&str]| {
        let args = ["check", scenario, "--root", folder.to_str().unwrap(), "--baseline", "kept.toml"];
        octoplane(&folder, &[&args[..], more].concat())
    };
    // It fails, until somebody says that it is meant to.
    fs::write(folder.join("kept.toml"), "").unwrap();
    assert_eq!(check(&[]).status.code(), Some(1));
    assert!(stdout(&check(&[])).contains("the run did not end"), "{}", stdout(&check(&[])));
    fine(&check(&["--update"]));
    fine(&check(&[]));
}

/// The answer of a scenario as JSON and as text.
fn answers(name: &str, scenario: &str, sets: &[&str]) -> (serde_json::Value, String) {
    let out = scratch("results_facts").join(name);
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let args = [&["run", scenario, "--json", "--out", out.to_str().unwrap()][..], &sets].concat();
    let json = serde_json::from_str(&fine(&octoplane(root(), &args))).unwrap();
    (json, fs::read_to_string(out.join("summary.txt")).unwrap())
}

#[test]
fn every_answer_says_what_it_rests_on() {
    let scenarios = [
        ("decode", "h800_ep128_decode", true),
        ("prefill", "h800_ep32_prefill", true),
        ("serving", "h800_serving", true),
        ("training", "training/v3_2048_h800_mpft", true),
        ("collective", "collectives/all_reduce_h100", false),
        ("moe_exchange", "moe/deepep_low_latency_h100", false),
        ("pipeline", "training/pipeline", false),
    ];
    for (kind, name, has_model) in scenarios {
        let (answer, text) = answers(kind, &format!("scenarios/{name}.toml"), &[]);
        let facts = &answer["facts"];
        assert_eq!(facts["workload"]["kind"], kind);
        for key in ["gpu", "architecture", "node", "kernels", "network", "symmetry"] {
            assert!(facts[key].as_str().is_some_and(|fact| !fact.is_empty()), "{kind}: {key} is {}", facts[key]);
        }
        assert!(facts["gpus"].as_u64().unwrap() >= facts["nodes"].as_u64().unwrap());
        assert!(facts["fabric"].is_null() || facts["routing"]["policy"].is_string(), "{}", facts["routing"]);
        let is_timed_by_libraries = has_model && facts["kernels"] == "tile";
        assert_eq!(facts["libraries"].is_object(), is_timed_by_libraries, "{kind}: {}", facts["libraries"]);
        for key in ["model", "plan", "formats"] {
            assert_eq!(!facts[key].is_null(), has_model, "{kind}: {key} is {}", facts[key]);
        }
        if has_model {
            assert!(text.contains(&format!("\nmodel: {}", facts["model"].as_str().unwrap())), "{text}");
            assert!(text.contains("\nformats: "), "{text}");
            assert!(facts["plan"]["dp"].is_u64());
        }
        assert!(text.contains(&format!("\n{kind}")) && text.contains("\nmeasured error"), "{text}");
        for ideal in facts["ideal"].as_array().unwrap() {
            assert!(text.contains(ideal["assumption"].as_str().unwrap()), "{kind}: {ideal}\n{text}");
        }
    }
}

#[test]
fn facts_are_those_of_the_run_and_not_of_the_file() {
    let decode = "scenarios/h800_ep128_decode.toml";
    let ideal = |answer: &serde_json::Value| answer["facts"]["ideal"].to_string();
    let (plain, _) = answers("plain", decode, &[]);
    assert!(ideal(&plain).contains("workload.decode.launch"), "{}", ideal(&plain));
    let host = "workload.decode.launch={ stream = { per_kernel = \"2 us\" } }";
    let (changed, text) = answers("host", decode, &[host, "workload.decode.micro_batches=1", "kernel=roofline"]);
    assert!(!ideal(&changed).contains("workload.decode.launch"), "{}", ideal(&changed));
    assert!(ideal(&changed).contains("\"kernel\""), "{}", ideal(&changed));
    assert_eq!(changed["facts"]["workload"]["sizes"]["micro_batches"], 1);
    assert!(text.contains("micro_batches 1") && text.contains("(as described, before --set)"), "{text}");
    // What the tuner chooses is told, and so is what was asked for.
    let reduce = "scenarios/collectives/all_reduce_h100.toml";
    let chosen = |answer: &serde_json::Value| {
        let all = answer["facts"]["collectives"].as_array().unwrap().clone();
        assert_eq!(all.len(), 1);
        (all[0]["algorithm"].as_str().unwrap().to_owned(), all[0]["protocol"].as_str().unwrap().to_owned())
    };
    let asked = ["workload.collective.algorithm=tree", "workload.collective.protocol=ll"];
    let (tree, text) = answers("tree", reduce, &asked);
    assert_eq!(chosen(&tree), ("tree".to_owned(), "ll".to_owned()));
    assert!(text.contains("GPUs: tree, ll"), "{text}");
    let [small, large] = ["8 kB", "1 GB"]
        .map(|size| chosen(&answers("tuned", reduce, &[&format!("workload.collective.bytes={size}")]).0));
    assert_ne!(small, large, "a tuner chooses by size");
}

#[test]
fn an_answer_quotes_the_errors_of_its_kind_alone() {
    let folder = scratch("results_accuracy");
    fs::create_dir_all(folder.join("validation")).unwrap();
    let line = |workload: &str, gpu: &str, more: &str| {
        format!(
            "[[answer]]\nworkload = \"{workload}\"\ngpu = \"{gpu}\"\n{more}\nrows = 592\nmedian = 0.04\np90 = 0.12\nsign = -0.01\n"
        )
    };
    let file =
        [line("collective", "Hopper", ""), line("moe_exchange", "Hopper", "library = \"normal\"\npart = \"dispatch\"")];
    fs::write(folder.join("validation/accuracy.toml"), file.concat()).unwrap();
    let said = |scenario: &str| {
        let scenario = root().join("scenarios").join(scenario);
        let args = ["run", scenario.to_str().unwrap(), "--root", ".", "--out", "out", "--force"];
        let text = fine(&octoplane(&folder, &args));
        text.lines().find(|line| line.starts_with("measured error")).expect("every answer says so").to_owned()
    };
    let known = said("collectives/all_reduce_h100.toml");
    assert!(known.contains("median 4 %, 90 % within 12 %") && known.contains("592"), "{known}");
    assert!(said("moe/deepep_low_latency_h100.toml").contains("none: moe_exchange on Hopper was never compared"));
    assert!(said("h800_ep128_decode.toml").contains("none: decode on Hopper was never compared"));
}
