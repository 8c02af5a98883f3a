//! Everything that is shipped beside the code loads, says where its figures come from, and is checked by a current schema.

use crate::cli::root;
use crate::golden;
use octoplane::hardware::{CableSpec, CommunicationSpec, CpuSpec, GpuSpec, NicSpec, NodeSpec, SwitchSpec};
use octoplane::metrics::Metrics;
use octoplane::model::ModelSpec;
use octoplane::reproduce::{PaperSpec, evaluate};
use octoplane::run::simulate;
use octoplane::scenario::{Loaded, Scenario, UserError, load};
use octoplane::topology::{TopologySpec, measure_spec};
use std::fs;
use std::path::{Path, PathBuf};

fn tomls(folder: &str) -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => collect(&path, found),
                false if path.extension().is_some_and(|extension| extension == "toml") => found.push(path),
                false => {}
            }
        }
    }
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort();
    assert!(!found.is_empty(), "{folder} holds TOML files");
    found
}

/// Fragments are no descriptions of their own: they are loaded through what extends them. Studies have tests of their own.
fn is_fragment(path: &Path) -> bool {
    let folders = ["architectures", "assumptions", "goals", "precision", "studies"];
    let inside = path.strip_prefix(root()).unwrap_or(path);
    inside.components().any(|part| folders.iter().any(|folder| part.as_os_str() == *folder))
}

fn whole(folder: &str) -> Vec<PathBuf> {
    tomls(folder).into_iter().filter(|path| !is_fragment(path)).collect()
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Loaded<T> {
    load(path, &[]).unwrap_or_else(|error: UserError| panic!("{error}"))
}

#[test]
fn every_description_of_hardware_loads() {
    for path in whole("hardware") {
        let kind = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let origin = match kind {
            "gpus" => read::<GpuSpec>(&path).origin("name"),
            "nics" => read::<NicSpec>(&path).origin("name"),
            "switches" => read::<SwitchSpec>(&path).origin("name"),
            "cables" => read::<CableSpec>(&path).origin("name"),
            "cpus" => read::<CpuSpec>(&path).origin("name"),
            "communication" => read::<CommunicationSpec>(&path).origin("name"),
            "nodes" => {
                let node = read::<NodeSpec>(&path);
                node.value.check().unwrap_or_else(|invalid| panic!("{}", node.error(&invalid)));
                node.origin("name")
            }
            other => panic!("hardware/{other} holds descriptions of a kind that no test knows"),
        };
        assert!(origin.is_some_and(|origin| origin.contains(path.file_name().unwrap().to_str().unwrap())), "own name");
    }
}

/// Values of a resolved file that are numbers, or texts that start like one.
fn figures(prefix: &str, table: &toml::Table, found: &mut Vec<String>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(_) if key == "source" => {}
            toml::Value::Table(inner) => figures(&path, inner, found),
            toml::Value::String(text)
                if text.starts_with(|c: char| c.is_ascii_digit()) && key != "name" && key != "kind" =>
            {
                found.push(path);
            }
            toml::Value::Integer(_) | toml::Value::Float(_) => found.push(path),
            _ => {}
        }
    }
}

/// The nearest `source` table above `path` that covers it.
fn is_sourced(root: &toml::Table, path: &str) -> bool {
    let keys: Vec<&str> = path.split('.').collect();
    let mut tables = vec![root];
    for key in &keys[..keys.len() - 1] {
        tables.push(tables.last().unwrap()[*key].as_table().unwrap());
    }
    tables.iter().enumerate().any(|(depth, table)| {
        let Some(source) = table.get("source").and_then(toml::Value::as_table) else { return false };
        (depth + 1..=keys.len()).any(|end| source.get(&keys[depth..end].join(".")).is_some_and(toml::Value::is_str))
    })
}

#[test]
fn every_number_of_hardware_and_models_has_a_source() {
    let mut unsourced = Vec::new();
    let mut seen = 0;
    let hardware = whole("hardware").into_iter().map(|path| (resolved(&path), path));
    let models = whole("models").into_iter().map(|path| (read::<ModelSpec>(&path).resolved(), path));
    for (text, path) in hardware.chain(models) {
        let root: toml::Table = text.parse().unwrap();
        let mut found = Vec::new();
        figures("", &root, &mut found);
        seen += found.len();
        let open = found.into_iter().filter(|figure| !is_sourced(&root, figure));
        unsourced.extend(open.map(|figure| format!("{}: {figure}", path.display())));
    }
    assert!(seen > 500, "only {seen} numbers were looked at");
    assert!(unsourced.is_empty(), "numbers without a source:\n{}", unsourced.join("\n"));
}

fn resolved(path: &Path) -> String {
    match path.parent().unwrap().file_name().unwrap().to_str().unwrap() {
        "gpus" => read::<GpuSpec>(path).resolved(),
        "nics" => read::<NicSpec>(path).resolved(),
        "switches" => read::<SwitchSpec>(path).resolved(),
        "cables" => read::<CableSpec>(path).resolved(),
        "cpus" => read::<CpuSpec>(path).resolved(),
        "communication" => read::<CommunicationSpec>(path).resolved(),
        _ => read::<NodeSpec>(path).resolved(),
    }
}

#[test]
fn every_model_loads_and_holds_together() {
    for path in whole("models") {
        let model = read::<ModelSpec>(&path);
        model.value.check().unwrap_or_else(|invalid| panic!("{}", model.error(&invalid)));
    }
}

#[test]
fn every_topology_loads_and_is_built() {
    for path in whole("topologies") {
        let topology = read::<TopologySpec>(&path);
        let measures = measure_spec(&topology.value).unwrap_or_else(|invalid| panic!("{}", topology.error(&invalid)));
        assert!(measures.endpoints > 0, "{}", path.display());
    }
}

#[test]
fn every_scenario_runs() {
    for path in whole("scenarios") {
        let scenario = read::<Scenario>(&path);
        let outcome = simulate(&scenario.value).unwrap_or_else(|invalid| panic!("{}", scenario.error(&invalid)));
        let finite = outcome.metrics.named().iter().all(|metric| metric.value.is_finite());
        assert!(finite, "{}: {:?}", path.display(), outcome.metrics.named());
    }
}

#[test]
fn every_file_names_its_schema() {
    let mut broken = Vec::new();
    for folder in ["hardware", "models", "topologies", "scenarios", "validation"] {
        for path in
            tomls(folder).into_iter().filter(|path| !path.components().any(|part| part.as_os_str() == "precision"))
        {
            let text = fs::read_to_string(&path).unwrap();
            let named = text.lines().next().and_then(|line| line.strip_prefix("#:schema "));
            let exists = named.is_some_and(|schema| path.parent().unwrap().join(schema).is_file());
            if !exists {
                broken.push(format!("{}: {named:?}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "files without a schema that exists:\n{}", broken.join("\n"));
}

#[test]
fn the_schemas_are_current() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemas");
    let program = env!("CARGO_BIN_EXE_octoplane");
    let output = std::process::Command::new(program).args(["schema", "--out", out.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success());
    let mut names: Vec<PathBuf> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let check = |path: &PathBuf| {
        let committed = root().join("schemas").join(path.file_name().unwrap());
        golden::check(&committed, &fs::read_to_string(path).unwrap())
    };
    golden::all(names.iter().map(check).collect());
}

#[test]
fn every_status_of_a_published_figure_holds() {
    let paper = read::<PaperSpec>(&root().join("validation/paper_2505_09343.toml"));
    let evaluated = evaluate(&paper.value, &[], root(), &|_, _| ()).unwrap_or_else(|error| panic!("{error}"));
    let broken: Vec<String> = evaluated
        .figures
        .iter()
        .filter(|figure| !figure.holds())
        .map(|f| format!("{}: printed {}, simulated {}, {:?}", f.id, f.printed, f.simulated, f.status))
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    // No wish makes anything worse; a wider accumulator alone leaves the kernels waiting for scales, and SMs that encode LogFMT take as
    // long as its shorter way back saves.
    let worse: Vec<_> = evaluated.wishes.iter().filter(|wish| wish.change > 1e-9).collect();
    assert!(!evaluated.wishes.is_empty() && worse.is_empty(), "{worse:?}");
    let idle: Vec<&str> =
        evaluated.wishes.iter().filter(|wish| wish.change > -0.01).map(|wish| wish.id.as_str()).collect();
    assert_eq!(idle, ["sec3.1.2.accumulator.prefill", "sec3.2.logfmt_by_sms.decode"]);
    let mut ids: Vec<&str> = evaluated.figures.iter().map(|figure| figure.id.as_str()).collect();
    ids.extend(evaluated.wishes.iter().map(|wish| wish.id.as_str()));
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "ids are unique");
}

/// A node's parts add up to what its vendor says that it draws at most.
#[test]
fn a_node_draws_what_its_vendor_says() {
    for (node, watts) in [("dgx_a100", 6500.0), ("dgx_h100", 10_200.0), ("dgx_h200", 10_200.0), ("dgx_b200", 14_300.0)]
    {
        let spec = read::<NodeSpec>(&root().join(format!("hardware/nodes/{node}.toml"))).value;
        let nics = spec.nics.as_ref().map_or(0.0, |nics| nics.nic.power.as_f64() * f64::from(nics.count.get()));
        let cpus = spec.cpu.as_ref().map_or(0.0, |cpu| cpu.power.as_f64() * f64::from(spec.cpus.unwrap().get()));
        let gpus = spec.gpu.power.as_f64() * f64::from(spec.gpus.get());
        let all = gpus + cpus + nics + spec.overhead.expect("a server has fans").as_f64();
        assert!((all - watts).abs() < 0.005 * watts, "{node}: {all} W");
    }
}

/// Training and serving charge a GPU of the same node and fabric with the same power, which is no less than its part of the node.
#[test]
fn one_account_of_power_serves_all_workloads() {
    let scenario = |file: &str, sets: &[&str]| -> Scenario {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        load::<Scenario>(&root().join(file), &sets).unwrap_or_else(|error| panic!("{error}")).value
    };
    let training = scenario("scenarios/training/v3_2048_h800_mpft.toml", &["kernel=\"roofline\""]);
    let Metrics::Training(trained) = simulate(&training).unwrap().metrics else { panic!("it trains") };
    let trained = trained.kwh_per_step * 3.6e6 / trained.step.as_secs() / 2048.0;
    let set =
        ["workload.serving.requests=200", "topology.extends=\"topologies/mpft_2048.toml\"", "kernel=\"roofline\""];
    let serving = scenario("scenarios/h800_serving.toml", &set);
    let Metrics::Serving(served) = simulate(&serving).unwrap().metrics else { panic!("it serves") };
    let served = served.facts.watts_per_gpu;
    assert!((trained / served - 1.0).abs() < 1e-3, "training {trained} W, serving {served} W");
    assert!(trained > 10_200.0 / 8.0, "{trained} W are less than a GPU's part of its node");
}

#[test]
fn a_figure_has_the_unit_of_its_metric_or_one_that_is_converted() {
    let path = crate::cli::scratch("figure_units").join("paper.toml");
    let evaluated = |unit: &str| {
        let text = format!(
            "name = \"p\"\n[[figure]]\nid = \"a\"\nsource = \"s\"\nquantity = \"q\"\n{unit}printed = \"2.8\"\nstatus = \"calibrated\"\n\
             from.run = {{ scenario = \"scenarios/collectives/send_infiniband.toml\", metric = \"time\" }}\n"
        );
        fs::write(&path, text).unwrap();
        evaluate(&read::<PaperSpec>(&path).value, &[], root(), &|_, _| ())
    };
    let figure = |unit: &str| evaluated(unit).unwrap().figures.remove(0);
    let (own, converted) = (figure(""), figure("unit = \"ms\"\n"));
    assert_eq!((own.unit.as_str(), converted.unit.as_str()), ("us", "ms"));
    assert!((1e3 * converted.simulated / own.simulated - 1.0).abs() < 1e-12);
    assert!((own.simulated - 2.8).abs() < 0.05, "{}", own.simulated);
    let refused = evaluated("unit = \"GB/s\"\n").unwrap_err().to_string();
    assert!(refused.contains("`GB/s`") && refused.contains("`us`"), "{refused}");
}

#[test]
fn nothing_reaches_outside_the_project() {
    // The measurements that constants were fitted on are no part of the product.
    for folder in ["src", "tests", "hardware", "models", "topologies", "scenarios", "validation"] {
        let mut paths = Vec::new();
        crate::tidy::files(&root().join(folder), "rs", &mut paths);
        crate::tidy::files(&root().join(folder), "toml", &mut paths);
        for path in paths.iter().filter(|path| !path.ends_with("library.rs")) {
            let text = fs::read_to_string(path).unwrap();
            assert!(!text.contains("../shared"), "{} reaches outside the project", path.display());
        }
    }
}

/// What is kept of a scenario says every key, those that it took by default as well, and reads back as the same scenario.
#[test]
fn a_scenario_as_it_is_kept_says_all_that_was_read_and_reads_back_the_same() {
    let folder = crate::cli::scratch("completed");
    let paths = whole("scenarios");
    assert!(paths.len() > 30, "{} scenarios", paths.len());
    for path in paths {
        let first = read::<Scenario>(&path);
        let kept = folder.join("scenario.resolved.toml");
        std::fs::write(&kept, first.completed()).unwrap();
        let again = read::<Scenario>(&kept);
        assert_eq!(again.value, first.value, "{}", path.display());
        assert_eq!(again.completed(), first.completed(), "{}", path.display());
        // Nothing is left to defaults: the text by itself has a value for every key that has one.
        let said: serde_json::Value = toml::from_str::<toml::Table>(&first.completed())
            .map(|table| serde_json::to_value(table).unwrap())
            .unwrap();
        let read = serde_json::to_value(&first.value).unwrap();
        says_all(&path.display().to_string(), &read, &said);
    }
}

fn says_all(place: &str, read: &serde_json::Value, said: &serde_json::Value) {
    match (read, said) {
        (serde_json::Value::Object(read), serde_json::Value::Object(said)) => {
            for (key, value) in read.iter().filter(|(_, value)| !value.is_null()) {
                let place = format!("{place}: {key}");
                says_all(&place, value, said.get(key).unwrap_or_else(|| panic!("{place} is not said")));
            }
        }
        (serde_json::Value::Array(read), serde_json::Value::Array(said)) => {
            assert_eq!(read.len(), said.len(), "{place}");
            read.iter().zip(said).for_each(|(read, said)| says_all(place, read, said));
        }
        _ => {}
    }
}

#[test]
fn a_kept_scenario_names_defaults_and_keys_without_a_value() {
    let text = read::<Scenario>(&root().join("scenarios/h800_ep128_decode.toml")).completed();
    for line in ["seed = 1", "schedule = \"in_turn\"", "launch = \"graph\"", "# mtp: not given"] {
        assert!(text.lines().any(|said| said == line), "`{line}` is missing in\n{text}");
    }
}
