//! The program as a user meets it: its output, its messages, its exit codes.

use crate::golden;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder for what a test writes, under the build's own folder.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

pub(crate) fn octoplane(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_octoplane")).current_dir(folder).args(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What the program prints, in the repository's root, when all goes well.
pub(crate) fn good(args: &[&str]) -> String {
    let output = octoplane(root(), args);
    assert!(output.status.success(), "{args:?}\n{}", stderr(&output));
    stdout(&output)
}

pub(crate) fn golden_file(name: &str) -> PathBuf {
    root().join("tests/it/golden").join(name)
}

#[test]
fn every_broken_input_gets_one_clear_message() {
    let folder = root().join("tests/it/broken");
    let mut inputs: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 25, "{} broken inputs", inputs.len());
    let out = scratch("broken");
    let check = |input: &PathBuf| {
        let name = input.file_stem().unwrap().to_str().unwrap();
        let file = format!("{name}.toml");
        let output = octoplane(&folder, &["run", &file, "--force", "--out", out.to_str().unwrap()]);
        if output.status.code() != Some(2) || !output.stdout.is_empty() {
            return Err(format!("{name}: {:?}\n{}{}", output.status, stdout(&output), stderr(&output)));
        }
        golden::check(&golden_file(&format!("broken/{name}.txt")), &stderr(&output))
    };
    golden::all(inputs.iter().map(check).collect());
}

#[test]
fn every_broken_overlay_gets_one_clear_message() {
    let overlays = [
        ("set_without_value", "nodes"),
        ("set_unknown_key", "hardware.gpus_per_node=8"),
        ("set_wrong_unit", "hardware.scale_up.latency=5 GB/s"),
        ("set_empty_key", "=5"),
        ("set_below_a_value", "nodes.count=5"),
        ("set_missing_base", "hardware.extends=hardware/nodes/dgx_h999.toml"),
        ("set_does_not_fit", "workload.decode.requests_per_gpu=4000"),
        ("set_text_for_seed", "seed=abc"),
        ("set_two_workloads_one_unknown", "workload.deocde.context=4096"),
        ("set_key_of_sibling", "workload.decode.prompt=4096"),
        ("set_key_beside_choice", "workload.micro_batches=2"),
        ("set_key_at_the_top", "micro_batches=2"),
        ("set_second_choice", "workload.prefill.prompt=4096"),
        ("set_key_of_a_small_choice", "workload.decode.launch.stream={ per_kernel = \"1 us\", every = 2 }"),
        ("set_count_with_exponent", "workload.decode.context=1e5"),
        ("set_number_for_list", "fault=1"),
        ("set_name_for_table", "hardware.gpu=h100"),
        ("set_power_of_zero", "hardware.gpu.power=0 W"),
        ("set_rate_of_zero", "hardware.gpu.memory.bandwidth=0 GB/s"),
        ("set_rate_too_large", "hardware.gpu.memory.bandwidth=1000 PB/s"),
        ("set_efficiency_of_zero", "hardware.gpu.memory.efficiency=0"),
        ("set_efficiency_of_nothing", "hardware.gpu.sm.mma.bf16=1e-30"),
        ("set_clock_of_zero", "hardware.gpu.boost_clock=0 GHz"),
        ("set_work_rate_of_zero", "hardware.gpu.tensor.fp8=0 TFLOP/s"),
        ("set_size_of_zero", "hardware.gpu.sm.l2_per_cycle=0 B"),
        ("set_time_too_long", "hardware.gpu.kernel_launch=9999999999 us"),
        ("set_simulated_time_too_long", "hardware.gpu.memory.bandwidth=1 kB/s"),
    ];
    let out = scratch("overlays");
    let check = |(name, set): &(&str, &str)| {
        let args = ["run", "scenarios/h800_ep128_decode.toml", "--set", set, "--force", "--out", out.to_str().unwrap()];
        let output = octoplane(root(), &args);
        if output.status.code() != Some(2) {
            return Err(format!("{name}: {:?}\n{}", output.status, stderr(&output)));
        }
        golden::check(&golden_file(&format!("broken/{name}.txt")), &stderr(&output))
    };
    golden::all(overlays.iter().map(check).collect());
}

#[test]
fn without_arguments_it_explains_itself() {
    let output = octoplane(root(), &[]);
    assert!(output.status.success());
    let text = stdout(&output);
    golden::all(vec![golden::check(&golden_file("introduction.txt"), &text)]);
    // The commands that it names work.
    let named: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  octoplane ")).collect();
    assert_eq!(named.len(), 3, "three commands to start with: {named:?}");
    for file in ["scenarios/paper/nvl72_decode.toml", "topologies/table3"] {
        assert!(text.contains(file) && root().join(file).exists(), "{file}");
    }
}

#[test]
fn answers_are_golden() {
    let runs: &[(&str, &[&str])] = &[
        ("run_nvl72.txt", &["run", "scenarios/paper/nvl72_decode.toml"]),
        ("run_nvl72_without_any_assumption.txt", &["run", "scenarios/paper/without/nvl72_any.toml"]),
        ("run_v3_server.txt", &["run", "scenarios/local/v3_server.toml"]),
        ("run_ep128_verbose.txt", &["run", "-v", "scenarios/h800_ep128_decode.toml"]),
        ("run_all_reduce.txt", &["run", "scenarios/collectives/all_reduce_h100.toml"]),
        ("run_all_to_all.json", &["run", "scenarios/collectives/all_to_all_h800.toml", "--json"]),
    ];
    let out = scratch("answers");
    let check = |(name, args): &(&str, &[&str])| {
        let mut args = args.to_vec();
        let out = out.join(name);
        args.extend(["--out", out.to_str().unwrap()]);
        let output = octoplane(root(), &args);
        if !output.status.success() {
            return Err(format!("{name}: {}", stderr(&output)));
        }
        golden::check(&golden_file(name), &stdout(&output))
    };
    golden::all(runs.iter().map(check).collect());
}

#[test]
fn fabrics_are_golden() {
    let runs: &[(&str, &[&str])] = &[
        ("topo_show_ft2.txt", &["topo", "show", "topologies/table3/ft2_2048.toml"]),
        ("topo_show_mpft_2048.txt", &["topo", "show", "topologies/mpft_2048.toml"]),
        ("topo_show_mpft_2048.json", &["topo", "show", "topologies/mpft_2048.toml", "--json"]),
        (
            "topo_compare.txt",
            &[
                "topo",
                "compare",
                "topologies/table3/ft2_2048.toml",
                "topologies/table3/mpft_16384.toml",
                "topologies/table3/ft3_65536.toml",
                "topologies/table3/slim_fly_q28.toml",
                "topologies/table3/dragonfly_261632.toml",
            ],
        ),
    ];
    let check = |(name, args): &(&str, &[&str])| {
        let output = octoplane(root(), args);
        if !output.status.success() {
            return Err(format!("{name}: {}", stderr(&output)));
        }
        golden::check(&golden_file(name), &stdout(&output))
    };
    golden::all(runs.iter().map(check).collect());
}

#[test]
fn a_run_keeps_its_answer_its_scenario_and_its_trace() {
    let out = scratch("kept");
    let folder = out.to_str().unwrap();
    let trace = out.join("decode.pftrace");
    let set = ["--set", "hardware.scale_up.bandwidth_per_direction=\"1800 GB/s\""];
    let scenario = "scenarios/paper/nvl72_decode.toml";
    let args = [&["run", "-v", scenario, "--out", folder, "--trace", trace.to_str().unwrap()][..], &set[..]].concat();
    let output = octoplane(root(), &args);
    assert!(output.status.success(), "{}", stderr(&output));
    let resolved = out.join("scenario.resolved.toml");
    assert!(std::fs::read_to_string(&resolved).unwrap().contains("\"1800 GB/s\""));
    assert!(std::fs::metadata(&trace).unwrap().len() > 1000);
    // What was kept gives the same answer again.
    let again =
        octoplane(root(), &["run", "-v", resolved.to_str().unwrap(), "--out", scratch("again").to_str().unwrap()]);
    let overlaid = format!("with {}\n", set[1]);
    assert!(stdout(&output).contains(&overlaid), "{}", stdout(&output));
    // What the author says of the scenario is not said of the overlay.
    let before = " (as described, before --set)";
    assert!(stdout(&output).lines().next().unwrap().ends_with(before), "{}", stdout(&output));
    assert_eq!(stdout(&output).replace(&overlaid, "").replace(before, ""), stdout(&again), "{}", stderr(&again));
    let kept = |folder: &std::path::Path| std::fs::read(folder.join("scenario.resolved.toml")).unwrap();
    assert_eq!(kept(&out), kept(&scratch("again")), "a scenario as it is kept is kept the same again");
    assert_eq!(std::fs::read_to_string(out.join("summary.txt")).unwrap(), stdout(&output));
}

#[test]
fn a_name_that_does_not_exist_is_answered_with_those_that_do() {
    let unknown_figure = octoplane(root(), &["reproduce", "table99"]);
    assert_eq!(unknown_figure.status.code(), Some(2));
    assert!(stderr(&unknown_figure).contains("table1.deepseek-v3.kv_per_token"));
    let unknown_kind = octoplane(root(), &["schema", "scenery"]);
    assert_eq!(unknown_kind.status.code(), Some(2));
    assert!(stderr(&unknown_kind).contains("scenario"));
    let unknown_file = octoplane(root(), &["run", "scenarios/h800_ep12_decode.toml"]);
    assert_eq!(unknown_file.status.code(), Some(2));
    assert!(stderr(&unknown_file).contains("h800_ep128_decode.toml"), "{}", stderr(&unknown_file));
}

#[test]
fn a_file_of_another_kind_is_answered_with_the_command_that_takes_it() {
    for (command, file, said) in [
        ("run", "scenarios/studies/planes.toml", "is a study, by its first line, and a scenario is wanted here"),
        ("sweep", "scenarios/h800_ep128_decode.toml", "`octoplane run scenarios/h800_ep128_decode.toml` takes it"),
        ("search", "scenarios/studies/planes.toml", "`octoplane sweep scenarios/studies/planes.toml` takes it"),
        ("run", "scenarios/goals/cheapest_decode.toml", "`octoplane search scenarios/goals/cheapest_decode.toml`"),
        ("run", "hardware/nodes/dgx_h800.toml", "is a node, by its first line"),
    ] {
        let output = octoplane(root(), &[command, file]);
        assert_eq!(output.status.code(), Some(2), "{command} {file}");
        assert!(stderr(&output).contains(said), "{command} {file}: {}", stderr(&output));
    }
    let fabric = octoplane(root(), &["topo", "show", "scenarios/h800_ep128_decode.toml"]);
    assert!(stderr(&fabric).contains("a topology is wanted here"), "{}", stderr(&fabric));
}

#[test]
fn completions_and_the_man_page_know_every_command() {
    let help = stdout(&octoplane(root(), &["--help"]));
    let listed = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let commands: Vec<&str> = listed
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"run") && commands.contains(&"sweep") && commands.contains(&"check"), "{commands:?}");
    for args in [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"], &["man"]] {
        let output = octoplane(root(), args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        for command in commands.iter().filter(|command| **command != "help") {
            assert!(stdout(&output).contains(command), "{args:?} does not know `{command}`");
        }
    }
}

#[test]
fn values_at_the_edge_of_what_is_legal_end_in_an_answer_or_a_message() {
    let out = scratch("edges");
    let sets = [
        "hardware.gpu.sm.buffers=1",
        "hardware.gpu.boost_clock=1 MHz",
        "hardware.gpu.tensor.bf16=1 MFLOP/s",
        "hardware.gpu.tensor.fp8=1 MFLOP/s",
        "hardware.gpu.tensor.efficiency=0.0001",
        "hardware.gpu.sm.mma.bf16=0.0001",
        "hardware.gpu.sm.l2_per_cycle=1 B",
        "hardware.gpu.sm.in_flight=1 B",
        "hardware.gpu.attention.clock=0.0001",
        "hardware.gpu.kernel_launch=1000 s",
        "hardware.gpu.power=0 W",
        "hardware.gpu.host.bandwidth_per_direction=1 kB/s",
        "hardware.gpu.scale_up.bandwidth_per_direction=1 kB/s",
        "hardware.nics.nic.port_bandwidth_per_direction=1 kB/s",
        "hardware.nics.nic.efficiency=0.0001",
        "topology.switch.port_bandwidth_per_direction=1 kB/s",
        "workload.decode.context=4294967295",
        "workload.decode.requests_per_gpu=4294967295",
    ];
    for set in sets {
        let args = ["run", "scenarios/h800_ep128_decode.toml", "--set", set, "--force", "--out", out.to_str().unwrap()];
        let output = octoplane(root(), &args);
        assert!(matches!(output.status.code(), Some(0 | 2)), "{set}: {:?}\n{}", output.status, stderr(&output));
    }
}

#[test]
fn a_degraded_link_and_a_huge_collective_end_in_a_message() {
    let out = scratch("edges_of_networks");
    let runs = [
        ("scenarios/collectives/all_to_all_h800.toml", "workload.collective.bytes=1000 PB"),
        ("scenarios/collectives/all_to_all_h800.toml", "hardware.communication.collectives.simple.copy_rate=1 kB/s"),
        ("scenarios/collectives/all_reduce_h100.toml", "hardware.communication.collectives.ll.wire_share=0.0001"),
        ("scenarios/qwen72b_h800_serving.toml", "workload.serving.lengths.uniform.input=3000000000"),
    ];
    for (scenario, set) in runs {
        let output = octoplane(root(), &["run", scenario, "--set", set, "--force", "--out", out.to_str().unwrap()]);
        assert!(matches!(output.status.code(), Some(0 | 2)), "{set}: {:?}\n{}", output.status, stderr(&output));
    }
}

#[test]
fn what_limits_an_answer_unexpectedly_is_noted_in_it() {
    let out = scratch("notes");
    let noted = |set: &str| {
        good(&["run", "scenarios/h800_ep128_decode.toml", "--set", set, "--force", "--out", out.to_str().unwrap()])
    };
    let nic = noted("hardware.nics.nic.extends=hardware/nics/connectx8_800g.toml");
    assert!(nic.contains("note: NIC ports of 800 Gb/s run at 400 Gb/s: that of the switch's ports"), "{nic}");
    let gpu = noted("hardware.gpu.extends=hardware/gpus/a100_sxm_80gb.toml");
    assert!(gpu.contains("has no FP8 rate (precision.operands): computed at that of BF16"), "{gpu}");
    let halves = noted("workload.decode.micro_batches=1");
    assert!(halves.contains("\nwith workload.decode.micro_batches=1\n"), "{halves}");
    assert!(halves.contains("kernels: ") && !halves.contains("note: "), "{halves}");
    let summary = std::fs::read_to_string(out.join("summary.json")).unwrap();
    assert!(summary.contains("\"workload.decode.micro_batches=1\""), "{summary}");
}

#[test]
fn an_imported_model_overwrites_nothing_unasked() {
    let folder = scratch("import");
    let file = folder.join("small.toml");
    std::fs::write(&file, "mine").unwrap();
    let config = root().join("tests/it/configs/small.json");
    let args = ["import", "model", config.to_str().unwrap(), "-o", file.to_str().unwrap()];
    let refused = octoplane(&folder, &args);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("is there already"), "{}", stderr(&refused));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let forced = octoplane(&folder, &[&args[..], &["--force"]].concat());
    assert!(forced.status.success() && stderr(&forced).contains("written to"), "{}", stderr(&forced));
}

#[test]
fn a_closed_stderr_ends_no_command() {
    use std::process::Stdio;
    let out = scratch("closed");
    let mut child = Command::new(env!("CARGO_BIN_EXE_octoplane"))
        .current_dir(root())
        .args(["sweep", "scenarios/studies/batch_against_tpot.toml", "--force", "--out", out.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
}
