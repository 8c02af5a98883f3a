//! What a run takes: too much is a message, and much is told beforehand.

use crate::cli::{octoplane, root, scratch, stderr};
use std::io::Read;
use std::process::{Command, Output, Stdio};

const ALL_TO_ALL: &str = "scenarios/collectives/all_to_all_2048.toml";

/// Runs a scenario in an address space of `kib`.
fn within(kib: u64, scenario: &str, sets: &[&str]) -> Output {
    let out = scratch("within");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -v {kib}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_octoplane")]);
    shell.args(["run", scenario, "--out", out.to_str().unwrap(), "--force"]);
    shell.args(sets.iter().flat_map(|set| ["--set", set]));
    shell.current_dir(root()).output().unwrap()
}

/// Operations of a few hundred MB, in address spaces from too small to large enough: an answer or a message, and never an end by a
/// signal.
#[test]
#[cfg(target_os = "linux")]
fn running_out_of_memory_is_a_message() {
    let bare = ["nodes=128", "workload.collective.protocol=\"bare\""];
    let ring = ["nodes=96", "workload.collective.kind=\"all_reduce\"", "workload.collective.protocol=\"bare\""];
    let packets = [
        "nodes=24",
        "workload.collective.protocol=\"bare\"",
        "network=\"packet\"",
        "workload.collective.bytes=\"1 MiB\"",
    ];
    let unfolded = ["nodes=8", "parallelism.ep=64", "symmetry=\"unfold\"", "workload.decode.requests_per_gpu=32"];
    let runs = [
        (ALL_TO_ALL, &bare[..]),
        (ALL_TO_ALL, &ring[..]),
        (ALL_TO_ALL, &packets[..]),
        ("scenarios/h800_ep128_decode.toml", &unfolded[..]),
    ];
    for (scenario, sets) in runs {
        let mut ended = [false; 2];
        for mb in [120, 200, 300, 450, 700, 1_100, 1_800, 3_000] {
            let output = within(mb * 1000, scenario, sets);
            let (code, text) = (output.status.code(), stderr(&output));
            match code {
                Some(0) => ended[0] = true,
                Some(2) => {
                    assert!(text.contains("of memory") && text.contains("ulimit -v"), "{text}");
                    assert!(!text.contains("panicked"), "{text}");
                    ended[1] = true;
                }
                _ => panic!("{sets:?} in {mb} MB: {}\n{text}", output.status),
            }
        }
        // Packets take little for each of their few transfers.
        assert!(
            ended == [true; 2] || sets == packets && ended[0],
            "{sets:?} is refused in little memory and runs in much"
        );
    }
}

#[test]
fn a_long_run_says_so_before_it_begins() {
    let sets = ["network=\"packet\"", "workload.collective.bytes=\"64 GiB\"", "nodes=16"];
    let out = scratch("long");
    let mut args = vec!["run", ALL_TO_ALL, "--out", out.to_str().unwrap()];
    args.extend(sets.iter().flat_map(|set| ["--set", set]));
    let mut child = Command::new(env!("CARGO_BIN_EXE_octoplane"))
        .current_dir(root())
        .args(&args)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    let mut byte = [0];
    while told.last() != Some(&b'\n') && child.stderr.as_mut().unwrap().read(&mut byte).unwrap() > 0 {
        told.push(byte[0]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("this takes about") && told.contains("transfers"), "{told}");
    // A short one does not.
    let short = octoplane(root(), &["run", ALL_TO_ALL, "--out", out.to_str().unwrap(), "--set", "nodes=2"]);
    assert!(short.status.success() && !stderr(&short).contains("this takes about"));
}
