//! `octoplane sweep`: many experiments at once.

use super::earlier::Earlier;
use super::interrupt::{Interrupts, say_kept};
use super::kinds::load_kind;
use super::output::{jobs, note, results, say, say_json, write};
use super::progress::Bar;
use super::{Done, Ending};
use clap::Args;
use octoplane::invalid::Invalid;
use octoplane::report::files::Log;
use octoplane::report::json::SCHEMA;
use octoplane::scenario::{Loaded, UserError};
use octoplane::sweep::{
    Answer, Ledger, Plan, Progress, Record, StudySpec, Unfinished, metric_known, plan, record_frame, run, sweep_text,
    values_known,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Args)]
#[command(
    after_help = "Kept under the folder of results: points.jsonl (a record of each point, the moment it is over), table.csv, \
    table.parquet, summary.txt and the study. Ctrl-C ends the points that have begun and keeps them; a sweep that was interrupted or killed goes on with --resume.\n\
    Examples:\n  octoplane sweep scenarios/studies/scale_up_bandwidth.toml\n  \
    octoplane sweep scenarios/studies/batch_against_tpot.toml --jobs 8 --resume"
)]
pub(super) struct SweepArgs {
    /// The study's TOML file
    study: PathBuf,
    /// Points simulated at the same time [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Go on with what an earlier run of this study left
    #[arg(long)]
    resume: bool,
    /// Overlay one value of the study, as in `--set base=other.toml`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Print the table as JSON instead of text
    #[arg(long)]
    json: bool,
    /// Where to keep the results [default: results/sweep/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn main(args: &SweepArgs) -> Ending {
    let loaded: Loaded<StudySpec> = load_kind(&args.study, &args.sets, "study")?;
    let folder = args.study.parent().unwrap_or(Path::new(""));
    let plan = plan(&loaded.value, folder).map_err(|invalid| loaded.error(&invalid))?;
    if !plan.base.is_file() {
        let invalid = Invalid::at("base", format!("there is no file {}", plan.base.display()));
        return Err(loaded.error(&invalid.help("the path of the base scenario starts at the study's folder")));
    }
    known_beforehand(&plan).map_err(|invalid| loaded.error(&invalid))?;
    let out = results(args.out.as_ref(), "sweep", &args.study);
    let earlier = Earlier { out: &out, answer: "table.csv", what: "sweep" };
    let known = earlier.known(args.resume)?;
    write(&out.join("study.resolved.toml"), loaded.resolved().as_bytes())?;
    let log = Log::open(&earlier.log()).map_err(|error| UserError::plain(error.to_string()))?;
    let ledger = Ledger { known: &known, log: Some(&log) };
    let meter = Meter::new(plan.points.len());
    let interrupts = Interrupts::watch()?;
    let records = run(&plan, ledger, jobs(args.jobs), &|progress| meter.count(progress), &|| interrupts.stop());
    meter.bar.end();
    let records = match records {
        Ok(records) => records,
        Err(Unfinished::Stopped) => {
            say_kept(earlier.kept()?, plan.points.len(), &out);
            return Ok(Done::Interrupted);
        }
        Err(Unfinished::Unwritten(error)) => return Err(UserError::plain(error.to_string())),
    };
    finish(args, &loaded.value, &plan, &records, &out)
}

/// Checks what can be checked before the first point is simulated.
fn known_beforehand(plan: &Plan) -> Result<(), Invalid> {
    for (at, metric) in plan.metrics.iter().enumerate() {
        metric_known(metric, &format!("metrics.{at}"))?;
    }
    values_known(plan)
}

fn finish(args: &SweepArgs, study: &StudySpec, plan: &Plan, records: &[Record], out: &Path) -> Ending {
    let frame = record_frame(plan, records).map_err(UserError::plain)?;
    let text = sweep_text(&study.name, &study.description, plan, &frame);
    // The log in the order of the points, so that the same study leaves the same bytes.
    let lines: String = records.iter().map(|record| record.line() + "\n").collect();
    write(&out.join("points.jsonl"), lines.as_bytes())?;
    write(&out.join("table.parquet"), &frame.to_parquet())?;
    write(&out.join("summary.txt"), text.as_bytes())?;
    // Last, because its presence says that the sweep is complete.
    write(&out.join("table.csv"), &frame.to_csv())?;
    if args.json {
        let points: Vec<serde_json::Value> =
            records.iter().map(|r| serde_json::from_str(&r.line()).expect("a record is JSON")).collect();
        say_json(&serde_json::json!({ "schema": SCHEMA, "study": study.name, "points": points }))?;
    } else {
        say(&text)?;
    }
    note(&format!("table, records and study kept in {}", out.display()));
    let answered = records.iter().any(|record| matches!(record.answer, Answer::Metrics(_)));
    Ok(if answered { Done::Answered } else { Done::Failed })
}

/// Progress on stderr: a bar on a terminal, a line for each tenth elsewhere.
struct Meter {
    bar: Bar,
    total: usize,
    over: AtomicUsize,
    failed: AtomicUsize,
}

impl Meter {
    fn new(total: usize) -> Meter {
        Meter { bar: Bar::of(total, "points"), total, over: AtomicUsize::new(0), failed: AtomicUsize::new(0) }
    }

    fn count(&self, progress: Progress) {
        let over = self.over.fetch_add(1, Ordering::Relaxed) + 1;
        let failed = match progress {
            Progress::Failed => self.failed.fetch_add(1, Ordering::Relaxed) + 1,
            Progress::Done | Progress::Known => self.failed.load(Ordering::Relaxed),
        };
        if failed > 0 {
            self.bar.say(&format!("{failed} failed"));
        }
        self.bar.tick();
        if !self.bar.is_seen() && over * 10 / self.total > (over - 1) * 10 / self.total {
            note(&format!("{over} of {} points, {failed} failed", self.total));
        }
    }
}
