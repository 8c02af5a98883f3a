//! Measurements against simulation: how far off it may be, and how tables of users are read.

use crate::cli::root;
use crate::golden;
use octoplane::report::validation::{SetReport, validation_csv, validation_json};
use octoplane::scenario::{KernelChoice, NetworkChoice};
use octoplane::validate::{Request, Validated, names, validate};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn compare(data: &Path) -> Validated {
    let (kernel, network) = (KernelChoice::Tile, NetworkChoice::default());
    let request = Request { sets: &[], data, root: root(), kernel, network };
    validate(&request, &|_, _| ()).unwrap_or_else(|error| panic!("{error}"))
}

fn octoplane(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_octoplane")).current_dir(root()).args(args).output().unwrap()
}

/// What is claimed of the tables that come with the program, with the models that `octoplane validate` takes: set, median and
/// 90th percentile of the absolute error.
///
/// A fit that degrades exceeds a claim by more than a tenth and fails. A model that gets better by more than a third fails as
/// well, so that claims follow it down and the better fit cannot be lost again unseen.
const CLAIMS: &[(&str, f64, f64)] = &[
    ("gemm", 0.066, 0.178),
    ("deepgemm", 0.034, 0.129),
    ("moe_grouped_gemm", 0.051, 0.158),
    ("mla_attention", 0.047, 0.129),
    ("h800_train_chunk_kernels", 0.050, 0.255),
    ("h800_train_chunk_phases", 0.042, 0.091),
    ("nccl_one_domain", 0.037, 0.115),
    ("deepep_published", 0.033, 0.086),
    ("deepep_ll_sweep", 0.039, 0.104),
    ("deepep_normal_sweep", 0.049, 0.206),
    ("gb200_nvl72_alltoall", 0.030, 0.086),
    ("megatron_pretrain", 0.062, 0.119),
    ("serving_silicon", 0.098, 0.331),
    ("deployments", 0.301, 0.476),
];

#[test]
fn the_shipped_measurements_are_met_as_well_as_claimed() {
    let validated = compare(&root().join("validation/measurements"));
    assert!(validated.unread.is_empty(), "no set reads {:?}", validated.unread);
    let claimed: Vec<&str> = CLAIMS.iter().map(|claim| claim.0).collect();
    let shipped: Vec<&str> = validated.report.sets.iter().map(|set| set.id).collect();
    assert_eq!(claimed, shipped, "every shipped table has a claim");
    let mut broken = Vec::new();
    for (set, &(id, median, p90)) in validated.report.sets.iter().zip(CLAIMS) {
        assert_eq!(set.skipped(), 0, "{id}: every shipped row is worked out");
        let found = set.statistics().unwrap();
        for (what, claim, value) in [("median", median, found.median_abs_error), ("p90", p90, found.p90_abs_error)] {
            if value > claim * 1.1 || value < claim / 1.5 {
                broken.push(format!("{id}: {what} of |error| is {value:.3}, claimed {claim:.3}"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_set_has_a_shipped_table() {
    let missing = |name: &&str| !root().join(format!("validation/measurements/{name}.csv")).is_file();
    let missing: Vec<&str> = names().into_iter().filter(missing).collect();
    assert!(missing.is_empty(), "sets without a table: {missing:?}");
}

#[test]
fn a_skipped_row_is_found_by_file_and_line_and_told_the_nearest_name() {
    let folder = crate::cli::scratch("validate_names");
    let shipped = root().join("validation/measurements/nccl_one_domain.csv");
    let text = std::fs::read_to_string(shipped).unwrap();
    let line = |wanted: &str| text.lines().position(|line| line.starts_with(wanted)).unwrap() + 1;
    let [first, second] = ["gb200,all_gather,2,512,", "gb200,all_gather,2,4096,"].map(line);
    let file = folder.join("nccl_one_domain.csv");
    let broken = text.replacen("gb200,all_gather,2,512,", "gb2000,all_gather,2,512,", 1);
    std::fs::write(&file, broken.replacen("gb200,all_gather,2,4096,", "gb200,allgather,2,4096,", 1)).unwrap();
    let output = octoplane(&["validate", "nccl_one_domain", "--data", folder.to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    let file = file.display();
    for (reason, line) in [
        ("unknown system `gb2000`; did you mean `gb200`?", first),
        ("unknown op_name `allgather`; did you mean `all_gather`?", second),
    ] {
        assert!(said.contains(&format!("  skipped 1: {reason}\n    {file}:{line}\n")), "{said}");
    }
}

#[test]
fn rows_of_users_are_compared_or_skipped_with_a_reason() {
    let validated = compare(&root().join("tests/it/measurements/own"));
    let [set] = &validated.report.sets[..] else { panic!("one table, one set") };
    let told: Vec<(u64, Result<(), &str>)> =
        set.comparisons.iter().map(|c| (c.line, c.simulated.as_ref().map(|_| ()).map_err(String::as_str))).collect();
    assert_eq!(
        told,
        [
            (3, Ok(())),
            (4, Ok(())),
            (6, Ok(())),
            (7, Err("unknown system `x100`; did you mean `a100`?")),
            (
                8,
                Err(
                    "unknown number format `int3`; there are bfloat16, float16, fp8, fp8_block, fp8_static, mxfp8, nvfp4, fp4, mxfp4"
                )
            ),
            (9, Err("an empty matrix")),
            (10, Err("the measured value is not above zero")),
        ]
    );
    assert_eq!(set.comparisons[0].simulated, set.comparisons[1].simulated, "equal rows, equal answers");
    let json = validation_json(&validated.report);
    let counts = ["rows", "compared", "skipped"].map(|key| json["sets"][0][key].as_u64().unwrap());
    assert_eq!(counts, [7, 3, 4]);
    assert_eq!(json["schema"], 1);
    let csv = validation_csv(&validated.report);
    assert_eq!(csv.lines().count(), 1 + 7);
    assert!(csv.lines().nth(4).unwrap().ends_with(",8,,,unknown system `x100`; did you mean `a100`?"), "{csv}");
}

#[test]
fn errors_are_relative_to_what_was_measured() {
    let validated = compare(&root().join("tests/it/measurements/own"));
    let set: &SetReport = &validated.report.sets[0];
    let first = &set.comparisons[0];
    let simulated = *first.simulated.as_ref().unwrap();
    assert!((first.error().unwrap() - (simulated - 8.0) / 8.0).abs() < 1e-12);
    assert!((0.1..1000.0).contains(&simulated), "{simulated} us for one kernel");
}

#[test]
fn every_broken_table_gets_one_clear_message() {
    let cases: [(&str, &[&str]); 7] = [
        ("table_no_column", &["--data", "tests/it/measurements/no_column"]),
        ("table_not_a_number", &["--data", "tests/it/measurements/not_a_number"]),
        ("table_short_line", &["--data", "tests/it/measurements/short_line"]),
        ("table_negative", &["--data", "tests/it/measurements/negative"]),
        ("table_missing", &["nccl_one_domain", "--data", "tests/it/measurements/own"]),
        ("table_unknown_set", &["gem"]),
        ("table_none", &["--data", "tests/it/broken"]),
    ];
    let check = |(name, args): &(&str, &[&str])| {
        let output = octoplane(&[&["validate"], *args].concat());
        let message = String::from_utf8(output.stderr.clone()).unwrap();
        if output.status.code() != Some(2) || !output.stdout.is_empty() {
            return Err(format!("{name}: {:?}\n{message}", output.status));
        }
        golden::check(&golden_file(name), &message)
    };
    golden::all(cases.iter().map(check).collect());
}

fn golden_file(name: &str) -> PathBuf {
    root().join("tests/it/golden/broken").join(format!("{name}.txt"))
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let with = |threads: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_octoplane"));
        command
            .current_dir(root())
            .env("RAYON_NUM_THREADS", threads)
            .args(["validate", "--json"])
            .output()
            .unwrap()
            .stdout
    };
    let one = with("1");
    assert!(!one.is_empty());
    assert_eq!(one, with("4"));
}
