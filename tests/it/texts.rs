//! What commands print, whole: every kind of run, and every command that answers in text.

use crate::cli::{golden_file, octoplane, root, scratch, stdout};
use crate::golden;
use std::fs;

/// Compares what `args` prints with the golden file `name`. Another exit code than `code` fails before anything is renewed.
fn printed(name: &str, args: &[&str], code: i32) -> Result<(), String> {
    let output = octoplane(root(), args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{name}: octoplane {}\n{errors}", args.join(" "));
    golden::check(&golden_file(name), &stdout(&output))
}

#[test]
fn every_kind_of_run_is_golden() {
    let runs: &[(&str, &[&str])] = &[
        ("run_prefill.txt", &["run", "-v", "scenarios/h800_ep32_prefill.toml"]),
        ("run_serving.txt", &["run", "-v", "scenarios/h800_serving.toml"]),
        ("run_training.txt", &["run", "-v", "scenarios/training/v3_2048_h800_mpft.toml"]),
        ("run_pipeline.txt", &["run", "-v", "scenarios/training/pipeline.toml"]),
        ("run_pipeline.json", &["run", "--json", "scenarios/training/pipeline.toml"]),
        ("run_moe_exchange.txt", &["run", "-v", "scenarios/moe/deepep_low_latency_h100.toml"]),
        ("run_send.txt", &["run", "-v", "scenarios/collectives/send_infiniband.toml"]),
        ("run_links.txt", &["run", "-v", "scenarios/faults/plane_down.toml"]),
        ("run_cut_off.txt", &["run", "-v", "scenarios/faults/node_cut_off.toml"]),
    ];
    let out = scratch("texts_run");
    let check = |(name, args): &(&str, &[&str])| {
        let out = out.join(name);
        // What does not end is no success.
        let code = if *name == "run_cut_off.txt" { 1 } else { 0 };
        printed(name, &[args, &["--out", out.to_str().unwrap()][..]].concat(), code)
    };
    golden::all(runs.iter().map(check).collect());
}

#[test]
fn what_commands_print_is_golden() {
    let out = scratch("texts");
    let out = out.to_str().unwrap();
    let commands: &[(&str, &[&str])] = &[
        ("explain.txt", &["explain"]),
        ("explain_tpot_busbw.txt", &["explain", "tpot", "busbw"]),
        ("validate_collectives.txt", &["validate", "nccl_one_domain"]),
        ("reproduce_table1.txt", &["reproduce", "table1", "table5", "--out", out]),
        ("reproduce_table1.json", &["reproduce", "table1", "--json", "--out", out]),
        ("topo_compare.json", &["topo", "compare", "topologies/table3/ft2_2048.toml", "--json"]),
        ("fit_groups.txt", &["fit"]),
        ("import_model.toml", &["import", "model", "tests/it/configs/small.json", "--name", "small"]),
    ];
    golden::all(commands.iter().map(|(name, args)| printed(name, args, 0)).collect());
}

#[test]
fn the_listing_of_a_report_is_golden() {
    let folder = scratch("texts_report");
    fs::remove_dir_all(&folder).unwrap();
    let at = |part: &str| folder.join(part).to_str().unwrap().to_owned();
    octoplane(
        root(),
        &["run", "scenarios/collectives/all_to_all_h800.toml", "--set", "network=flow", "--out", &at("run")],
    );
    octoplane(root(), &["reproduce", "table1", "--out", &at("reproduce")]);
    octoplane(root(), &["search", "scenarios/goals/fastest_under_budget.toml", "--out", &at("search")]);
    let listed =
        octoplane(root(), &["report", folder.to_str().unwrap(), "--svg", &at("svg"), "--html", &at("page.html")]);
    let text = stdout(&listed).replace(&format!("{}/", folder.display()), "");
    golden::all(vec![golden::check(&golden_file("report.txt"), &text)]);
}

#[test]
fn a_constant_that_is_fitted_again_is_golden() {
    let folder = scratch("texts_fit");
    for table in ["gemm.csv", "deepgemm.csv", "moe_grouped_gemm.csv", "h800_train_chunk_kernels.csv"] {
        let text = fs::read_to_string(root().join("validation/measurements").join(table)).unwrap();
        let is_head = |line: &&str| line.starts_with('#');
        let head = text.lines().filter(is_head).count() + 1;
        let rows = text.lines().skip(head).step_by(6);
        let thinned: Vec<&str> = text.lines().take(head).chain(rows).collect();
        fs::write(folder.join(table), thinned.join("\n")).unwrap();
    }
    let args = ["fit", "gemm_hopper", "--only", "kernel_launch", "--data", folder.to_str().unwrap()];
    golden::all(vec![printed("fit_kernel_launch.txt", &args, 0)]);
}
