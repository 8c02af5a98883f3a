//! What makes the program easy to live with: pages of results, explanations, templates.

use crate::cli::{good, octoplane, root, scratch, stderr, stdout};
use octoplane::metrics::{MetricDef, run_metrics};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A folder with one result of each kind, and the page made of them: once for all tests.
fn results() -> &'static (PathBuf, PathBuf) {
    static RESULTS: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    RESULTS.get_or_init(make_results)
}

fn make_results() -> (PathBuf, PathBuf) {
    let folder = scratch("report_page");
    fs::remove_dir_all(&folder).unwrap();
    let at = |part: &str| folder.join(part).to_str().unwrap().to_owned();
    good(&["run", "scenarios/h800_ep128_decode.toml", "--out", &at("decode")]);
    good(&["run", "scenarios/paper/nvl72_decode.toml", "--out", &at("nvl72")]);
    let network = ["--set", "network=flow", "--out", &at("exchange")];
    good(&[&["run", "scenarios/collectives/all_to_all_h800.toml"], &network[..]].concat());
    good(&["sweep", "scenarios/studies/batch_against_tpot.toml", "--out", &at("sweep")]);
    good(&["search", "scenarios/goals/cheapest_decode.toml", "--out", &at("search")]);
    good(&["reproduce", "--out", &at("reproduce")]);
    fs::write(at("validation.json"), good(&["validate", "--json"])).unwrap();
    let page = folder.join("page.html");
    good(&["report", folder.to_str().unwrap(), &at("validation.json"), "--html", page.to_str().unwrap()]);
    (folder, page)
}

#[test]
fn a_page_is_whole_small_and_has_the_answers() {
    let (folder, path) = results();
    let page = fs::read_to_string(path).unwrap();
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
    // Nothing is fetched; names of SVG's own vocabulary are no addresses.
    let fetched = page.replace("http://www.w3.org/2000/svg", "");
    for word in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!fetched.contains(word), "the page mentions {word}");
    }
    let parts = ["Pareto front", "Runs side by side", "every status holds", "It waits longest for", "median |error|"];
    for part in parts.into_iter().chain(["What overlaps with what", "How much the links are used", "what became of it"])
    {
        assert!(page.contains(part), "no `{part}` on the page");
    }
    // The page shows what the run answered.
    let summary: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.join("decode/summary.json")).unwrap()).unwrap();
    let tpot = summary["metrics"]["tpot"]["value"].as_f64().unwrap();
    assert!(page.contains(&format!("<b>{tpot:.3} <small>ms</small></b>")), "no TPOT of {tpot} ms");
    let again = folder.join("again.html");
    let errors = folder.join("validation.json");
    let [results, errors, again] = [folder, &errors, &again].map(|path| path.to_str().unwrap());
    octoplane(root(), &["report", results, errors, "--html", again]);
    assert_eq!(fs::read_to_string(again).unwrap(), page, "the same results give the same page");
}

#[test]
fn what_is_no_result_is_said_to_be_none() {
    let folder = scratch("report_nothing");
    fs::write(folder.join("other.json"), "{\"a\": 1}").unwrap();
    let old = scratch("report_old");
    fs::write(old.join("table.csv"), "point,error\n0,\n").unwrap();
    fs::write(old.join("goal.resolved.toml"), "").unwrap();
    let report = |path: &Path| octoplane(root(), &["report", path.to_str().unwrap()]);
    for (path, reason) in [
        (folder.clone(), "holds no results"),
        (folder.join("other.json"), "no answer of run, search, reproduce or validate"),
        (folder.join("absent.json"), "there is no file"),
        (old.clone(), "this search kept no found.json"),
    ] {
        let output = report(&path);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
}

/// A browser that this machine has.
fn browser() -> Option<&'static str> {
    let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    ["chromium", "chromium-browser", "google-chrome", "chrome"].into_iter().find(runs)
}

/// Clicks the first column of numbers twice, and tells the page around it what came of it.
const DRIVER: &str = r#"
const table = document.querySelector("section table.sortable");
const head = table.querySelector("th.n"), column = head.cellIndex;
const values = () => Array.from(table.tBodies[0].rows, (row) => parseFloat(row.cells[column].dataset.v)).filter((v) => v === v);
const sorted = (sign) => values().every((v, i, all) => i === 0 || sign * all[i - 1] <= sign * v);
const before = values().length, seen = [];
head.firstChild.click(); seen.push(sorted(1));
head.firstChild.click(); seen.push(sorted(-1));
document.querySelectorAll("details").forEach((details) => details.open = true);
const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const ground = getComputedStyle(document.body).backgroundColor;
parent.document.documentElement.dataset.seen =
  `width ${innerWidth} ground ${ground} sorted ${seen} kept ${before === values().length && before > 1} errors ${errors} ` +
  `over ${Math.max(over, 0)} plots ${document.querySelectorAll("svg").length > 5}`;
"#;

/// What the driver says of the page that `frame` holds, and what the browser complains about.
fn opened(browser: &str, profile: &Path, frame: &Path, dark: bool) -> (String, String) {
    // 0 is dark, 1 is light.
    let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!dark));
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", &scheme])
        .args([&format!("--user-data-dir={}", profile.display()), "--window-size=1400,900", "--dump-dom"])
        .arg(format!("file://{}", frame.display()))
        .output()
        .unwrap();
    let dom = stdout(&output);
    let seen = dom.split("data-seen=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("nothing");
    (seen.to_owned(), stderr(&output))
}

#[test]
fn a_real_browser_opens_the_page_on_a_phone_and_on_a_desk_light_and_dark() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no browser on this machine");
        return;
    };
    let (_, path) = results();
    let folder = scratch("browser");
    let page = fs::read_to_string(path).unwrap();
    let counter = "<script>let errors = 0; addEventListener(\"error\", () => errors++);</script>\n<style>";
    let driven = page.replacen("<style>", counter, 1).replace("</body>", &format!("<script>{DRIVER}</script></body>"));
    let quoted = driven.replace('&', "&amp;").replace('"', "&quot;");
    for width in [390, 1200] {
        // Windows have a least width, frames have none.
        let frame = folder.join(format!("{width}.html"));
        let text = format!(
            "<!doctype html><body><iframe width={width} height=844 frameborder=0 srcdoc=\"{quoted}\"></iframe>"
        );
        fs::write(&frame, text).unwrap();
        for (dark, ground) in [(false, "rgb(255, 255, 255)"), (true, "rgb(20, 24, 28)")] {
            let (seen, log) = opened(browser, &folder.join("profile"), &frame, dark);
            let expected =
                format!("width {width} ground {ground} sorted true,true kept true errors 0 over 0 plots true");
            assert_eq!(seen, expected, "{log}");
            assert!(!log.contains("CONSOLE"), "the page complains:\n{log}");
        }
    }
}

#[test]
fn every_metric_is_explained_and_no_other() {
    let out = scratch("explain");
    let mut met = BTreeSet::new();
    let scenarios = [
        ("decode", "h800_ep128_decode"),
        ("prefill", "h800_ep32_prefill"),
        ("serving", "h800_serving"),
        ("collective", "collectives/all_reduce_h100"),
        ("moe_exchange", "moe/deepep_low_latency_h100"),
        ("training", "training/v3_2048_h800_mpft"),
        ("pipeline", "training/pipeline"),
    ];
    for (workload, scenario) in scenarios {
        let file = format!("scenarios/{scenario}.toml");
        let own = out.join(workload);
        let output = octoplane(root(), &["run", &file, "--json", "--out", own.to_str().unwrap()]);
        assert!(output.status.success(), "{}", stderr(&output));
        let answer: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        for (name, metric) in answer["metrics"].as_object().unwrap() {
            let means = |explained: &&MetricDef| {
                explained.name == name && (explained.of == workload || explained.of.is_empty())
            };
            let explained = run_metrics().find(means);
            let explained = explained.unwrap_or_else(|| panic!("nothing explains `{name}` of {workload}"));
            assert_eq!(explained.unit, metric["unit"].as_str().unwrap(), "{name} of {workload}");
            met.insert((explained.name, explained.of));
        }
    }
    let out = out.join("search");
    let goal = "scenarios/goals/fastest_under_budget.toml";
    let search = ["search", goal, "--json", "--force", "--out", out.to_str().unwrap()];
    let found: serde_json::Value = serde_json::from_str(&stdout(&octoplane(root(), &search))).unwrap();
    let best = &found["points"][found["best"].as_u64().unwrap() as usize]["record"]["metrics"];
    for explained in run_metrics().filter(|explained| explained.of == "search") {
        let kept = best.as_array().unwrap().iter().find(|kept| kept[0] == explained.name).unwrap();
        assert_eq!(kept[1], explained.unit);
        met.insert((explained.name, explained.of));
    }
    let explained: BTreeSet<(&str, &str)> = run_metrics().map(|explained| (explained.name, explained.of)).collect();
    assert_eq!(explained, met, "explained, but in no answer");
    for (name, _) in &met {
        let text = stdout(&octoplane(root(), &["explain", name]));
        assert!(text.starts_with(name) && text.contains("formula") && text.contains("source"), "{text}");
    }
    let unknown = octoplane(root(), &["explain", "speed"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("`speed` is not a metric"));
}

#[test]
fn templates_load_and_run_as_they_are() {
    let folder = scratch("templates");
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir_all(folder.join("scenarios")).unwrap();
    for part in ["hardware", "models", "topologies", "scenarios/precision", "scenarios/h800_ep128_decode.toml"] {
        let copied = Command::new("cp").arg("-r").arg(root().join(part)).arg(folder.join(part)).status().unwrap();
        assert!(copied.success());
    }
    let here = |args: &[&str]| octoplane(&folder, &[&["--root", "."], args].concat());
    let good = |args: &[&str]| {
        let output = here(args);
        assert!(output.status.success(), "{args:?}\n{}", stderr(&output));
        stdout(&output)
    };
    assert_eq!(good(&["new", "scenario", "mine"]).trim(), "./scenarios/mine.toml");
    assert!(good(&["run", "scenarios/mine.toml"]).contains("TPOT"));
    assert_eq!(good(&["new", "topology"]).trim(), "./topologies/my_topology.toml");
    good(&["check", "topologies/my_topology.toml"]);
    assert_eq!(good(&["new", "gpu", "fast"]).trim(), "./hardware/gpus/fast.toml");
    let with = "hardware.gpu.extends=hardware/gpus/fast.toml";
    let run = good(&["run", "scenarios/h800_ep128_decode.toml", "--set", with]);
    assert!(run.contains("128 x fast"), "{run}");
    let twice = here(&["new", "gpu", "fast"]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(stderr(&twice).contains("is there already"));
    assert_eq!(here(&["new", "gpu", "../up"]).status.code(), Some(2));
}

/// Every quick example of the help texts answers; where it keeps results, beside those of this test.
#[test]
fn examples_of_help_texts_answer() {
    let out = scratch("examples");
    let out = out.to_str().unwrap();
    let mut tried = 0;
    for command in ["run", "search", "explain", "sweep"] {
        let help = good(&[command, "--help"]).replace("\n", " ").split_whitespace().collect::<Vec<_>>().join(" ");
        let examples = help.split("Examples: ").nth(1).or(help.split("Example: ").nth(1)).unwrap_or("").to_owned();
        for example in examples.split("octoplane ").skip(1) {
            let example = example.split(" A trace opens").next().unwrap().replace('"', "");
            // A value with a blank in it is one argument.
            let example = example.replace("1800 GB/s", "1800_GB/s");
            let mut args: Vec<String> =
                example.split_whitespace().map(|arg| arg.replace("1800_GB/s", "1800 GB/s")).collect();
            args.iter_mut().filter(|arg| arg.ends_with(".pftrace")).for_each(|arg| *arg = format!("{out}/trace"));
            if command != "explain" {
                args.extend(["--out".to_owned(), format!("{out}/{tried}"), "--force".to_owned()]);
            }
            args.retain(|arg| arg != "--resume");
            good(&args.iter().map(String::as_str).collect::<Vec<_>>());
            tried += 1;
        }
    }
    assert!(tried >= 8, "{tried} examples");
}
