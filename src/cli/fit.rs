//! `octoplane fit`: constants of hardware files, worked out again from measurements.

use super::output::{say, write};
use super::progress::Bar;
use super::{Done, Ending};
use clap::Args;
use octoplane::fit::{Fit, GROUPS, Group, HeldOut, Request, fit, held_out, written};
use octoplane::report::table::{Align, Table};
use octoplane::scenario::{KernelChoice, NetworkChoice, UserError, read_text};
use octoplane::validate::Models;
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(
    after_help = "The search goes by slopes (Levenberg and Marquardt) from several starts, then by one constant after the other on the lattice of \
    values that are written. Without --write, files are left as they are: the table says what to change. A constant whose loss hardly rises when it is moved \
    by a tenth is not determined by these rows.\nExamples:\n  octoplane fit gemm_hopper --data my_measurements\n  octoplane fit \
    gemm_hopper --data my_measurements --only sm.epilogue --leave-out h800_sxm"
)]
pub(super) struct FitArgs {
    /// Groups of constants; without it their names are listed
    groups: Vec<String>,
    /// Folder of tables, as for `octoplane validate`
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Move this constant only; may be repeated
    #[arg(long, value_name = "KEY")]
    only: Vec<String>,
    /// Let the rows of this system not decide, and print their errors apart
    #[arg(long, value_name = "SYSTEM")]
    leave_out: Option<String>,
    /// Fit so many times more, each time without another part of the rows, and print how well those are predicted
    #[arg(long, value_name = "PARTS", value_parser = clap::value_parser!(u16).range(2..=50), conflicts_with = "leave_out")]
    folds: Option<u16>,
    /// Search from so many other values too, drawn around the file's; each takes as long as the search from the file's values
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=100))]
    starts: u16,
    /// Write the fitted values into the files; everything else in them stays
    #[arg(long, conflicts_with = "leave_out")]
    write: bool,
}

pub(super) fn main(args: &FitArgs, root: &Path) -> Ending {
    if args.groups.is_empty() {
        for group in GROUPS {
            say(&format!("{:22} {} constants of {}\n", group.name, group.constants.len(), group.file))?;
        }
        return Ok(Done::Answered);
    }
    let names: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
    let built_in = root.join("validation/measurements");
    for name in &args.groups {
        let found = GROUPS.iter().find(|group| group.name == name);
        let group = found.ok_or_else(|| UserError::unknown("group of constants", name, &names))?;
        let request = Request {
            group,
            only: &args.only,
            data: args.data.as_deref().unwrap_or(&built_in),
            models: Models { root, kernel: KernelChoice::Tile, network: NetworkChoice::default() },
            leave_out: args.leave_out.as_deref(),
            fold: None,
            starts: args.starts,
        };
        let bar = Bar::endless("comparisons");
        let mut watch = |_, loss: f64| {
            bar.tick();
            bar.say(&format!("loss {loss:.6}"));
        };
        let result = fit(&request, &mut watch);
        let apart = args.folds.map(|parts| held_out(&request, usize::from(parts), &mut watch));
        bar.end();
        let result = result?;
        say(&text(group, &result))?;
        if let (Some(parts), Some(apart)) = (args.folds, apart) {
            say(&text_apart(parts, &apart?))?;
        }
        if args.write {
            let file = root.join(group.file);
            let changed = written(&read_text(&file)?, &result.constants)?;
            write(&file, changed.as_bytes())?;
            say(&format!("{} holds the fitted values now\n", group.file))?;
        }
    }
    Ok(Done::Answered)
}

fn text(group: &Group, fit: &Fit) -> String {
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    let mut constants = Table::new(&[
        ("constant", Align::Left),
        ("unit", Align::Left),
        ("in file", Align::Right),
        ("fitted", Align::Right),
        ("loss at -10 %", Align::Right),
        ("at +10 %", Align::Right),
        ("what it is", Align::Left),
    ]);
    for found in &fit.constants {
        let rises = found.rises.map(|rise| format!("{:+.2} %", rise * 100.0));
        let values = [found.before, found.after].map(|value| format!("{value:.4}"));
        let [before, after] = values.map(|v| v.trim_end_matches('0').trim_end_matches('.').to_owned());
        let [low, high] = rises;
        let (key, meaning) = (found.key.to_owned(), found.meaning.to_owned());
        constants.row(vec![key, found.unit.clone(), before, after, low, high, meaning]);
    }
    let mut errors = Table::new(&[
        ("set", Align::Left),
        ("rows", Align::Right),
        ("median before", Align::Right),
        ("after", Align::Right),
        ("p90 before", Align::Right),
        ("after", Align::Right),
    ]);
    for found in &fit.errors {
        let set = if found.left_out { format!("{}, left out", found.set) } else { found.set.to_owned() };
        let (old, new) = (found.before, found.after);
        errors.row(vec![
            set,
            old.rows.to_string(),
            percent(old.median_abs_error),
            percent(new.median_abs_error),
            percent(old.p90_abs_error),
            percent(new.p90_abs_error),
        ]);
    }
    let [before, after] = fit.loss;
    let title = format!("{}: {}, loss {before:.6} before, {after:.6} after", group.name, group.file);
    format!("{title}\n{}\n{}\n", constants.headed(), errors.headed())
}

fn text_apart(parts: u16, apart: &HeldOut) -> String {
    let mut errors = Table::new(&[
        ("set", Align::Left),
        ("rows", Align::Right),
        ("median |error|", Align::Right),
        ("90 %", Align::Right),
    ]);
    for (set, found) in &apart.errors {
        let percent = |part: f64| format!("{:.1} %", part * 100.0);
        let (median, high) = (percent(found.median_abs_error), percent(found.p90_abs_error));
        errors.row(vec![(*set).to_owned(), found.rows.to_string(), median, high]);
    }
    let mut spans = Table::new(&[("constant", Align::Left), ("from", Align::Right), ("to", Align::Right)]);
    for (key, values) in &apart.spans {
        let [low, high] =
            values.map(|value| format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned());
        spans.row(vec![(*key).to_owned(), low, high]);
    }
    format!(
        "each of {parts} parts of the rows predicted by a fit to the others\n{}\n{}\n",
        errors.headed(),
        spans.headed()
    )
}
