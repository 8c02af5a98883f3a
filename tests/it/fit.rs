//! Constants that are worked out again from measurements.

use crate::cli::{octoplane, root};
use octoplane::fit::{Fit, GROUPS, Group, Request, fit, held_out};
use octoplane::scenario::{KernelChoice, NetworkChoice};
use octoplane::validate::{Measurements, Models, Override};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn models() -> Models<'static> {
    Models { root: root(), kernel: KernelChoice::Tile, network: NetworkChoice::default() }
}

fn group(name: &str) -> &'static Group {
    GROUPS.iter().find(|group| group.name == name).unwrap()
}

/// The rows of the shipped table of products on H100 as they would be were the epilogue of Hopper another.
fn planted(value: &str, name: &str) -> PathBuf {
    let shipped = root().join("validation/measurements");
    let measurements = Measurements::read(&["gemm".to_owned()], &shipped, models().root).unwrap();
    let file = PathBuf::from("hardware/architectures/hopper.toml");
    let change = Override { file, key: "sm.epilogue".to_owned(), value: format!("\"{value}\"") };
    let report = measurements.compare(&models(), &[change], &|_, _, _| true).unwrap();
    let rows = &report.sets[0].comparisons;
    assert!(rows.len() > 5, "rows of H100");
    let mut table = "system,gemm_dtype,m,n,k,time_us\n".to_owned();
    for row in rows {
        let cells: Vec<&str> = row.key.iter().map(|(_, cell)| cell.as_str()).collect();
        assert_eq!(cells[0], "h100_sxm", "no row of another architecture changes");
        writeln!(table, "{},{}", cells.join(","), row.simulated.clone().unwrap()).unwrap();
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("gemm.csv"), table).unwrap();
    folder
}

fn fitted(data: &Path) -> Fit {
    // The group without the tables that the folder does not hold.
    let group = Group { sets: &[("gemm", 1.0)], ..*group("gemm_hopper") };
    let only = ["sm.epilogue".to_owned()];
    fit(&request(&group, &only, data), &mut |_, _| {}).unwrap_or_else(|error| panic!("{error}"))
}

fn request<'a>(group: &'a Group, only: &'a [String], data: &'a Path) -> Request<'a> {
    Request { group, only, data, models: models(), leave_out: None, fold: None, starts: 1 }
}

#[test]
fn a_planted_constant_is_found_again() {
    let found = fitted(&planted("1.7 us", "fit"));
    let [constant] = &found.constants[..] else { panic!("one constant") };
    assert!((constant.after - 1.7).abs() < 0.03, "planted 1.7 us, found {constant:?}");
    assert!((constant.before - 1.7).abs() > 0.1, "the file says something else");
    assert!(found.loss[1] < found.loss[0] / 20.0, "{:?}", found.loss);
    assert!(constant.rises.iter().all(|rise| *rise > 0.0), "rows determine it: {:?}", constant.rises);
}

/// Three constants that stand in for each other in part: further starts help or do nothing, and threads do not matter.
#[test]
fn more_starts_find_no_worse_place_and_the_same_one_each_time() {
    let data = planted("1.7 us", "starts");
    let group = Group { sets: &[("gemm", 1.0)], ..*group("gemm_hopper") };
    let only = ["sm.epilogue", "kernel_launch", "sm.mma.step"].map(str::to_owned);
    let from = |starts: u16| fit(&Request { starts, ..request(&group, &only, &data) }, &mut |_, _| {}).unwrap();
    let (alone, more) = (from(0), from(3));
    assert!(more.loss[1] <= alone.loss[1], "{:?} {:?}", alone.loss, more.loss);
    assert!(more.loss[1] < more.loss[0] / 50.0, "the rows obey known constants: {:?}", more.loss);
    let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(threads.install(|| from(3)), more, "one thread finds the same");
}

/// Rows that had no say are predicted as well as the others, since they obey the same constant.
#[test]
fn parts_of_the_rows_are_predicted_by_the_others() {
    let data = planted("1.7 us", "held_out");
    let group = Group { sets: &[("gemm", 1.0)], ..*group("gemm_hopper") };
    let only = ["sm.epilogue".to_owned()];
    let found = held_out(&request(&group, &only, &data), 2, &mut |_, _| {}).unwrap();
    let [("gemm", errors)] = found.errors[..] else { panic!("one table: {:?}", found.errors) };
    let rows = fs::read_to_string(data.join("gemm.csv")).unwrap().lines().count() - 1;
    assert_eq!(errors.rows, rows, "each row is left out once");
    assert!(errors.p90_abs_error < 0.01, "{errors:?}");
    let [("sm.epilogue", [low, high])] = found.spans[..] else { panic!("one constant: {:?}", found.spans) };
    assert!(low <= high && (low - 1.7).abs() < 0.05 && (high - 1.7).abs() < 0.05, "{low} to {high}");
}

#[test]
fn a_system_to_leave_out_is_one_of_the_tables() {
    let data = root().join("validation/measurements");
    let group = group("gemm_hopper");
    let misspelt = Request { leave_out: Some("h100_sxn"), ..request(group, &[], &data) };
    let mut asked = 0;
    let error = fit(&misspelt, &mut |_, _| asked += 1).unwrap_err().to_string();
    assert!(error.contains("`h100_sxn` is not a system") && error.contains("h100_sxm"), "{error}");
    assert_eq!(asked, 0, "nothing is fitted before");
}

/// Rows of a system that is left out would be counted once for each part.
#[test]
fn parts_and_a_system_are_not_left_out_together() {
    let output = octoplane(root(), &["fit", "gemm_hopper", "--folds", "2", "--leave-out", "h100_sxm"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("cannot be used with"), "{errors}");
}

/// Every constant of every group is where the group says, and within its bounds.
#[test]
fn every_constant_that_can_be_fitted_exists() {
    for group in GROUPS {
        let text = fs::read_to_string(root().join(group.file)).unwrap();
        for constant in group.constants {
            let (value, _) = octoplane::fit::value_in(&text, constant.key)
                .unwrap_or_else(|| panic!("{} holds no {}", group.file, constant.key));
            let inside = (constant.low..=constant.high).contains(&value);
            assert!(inside, "{}: {} is {value}, out of bounds", group.file, constant.key);
        }
    }
}
