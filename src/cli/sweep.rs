//! `octoplane sweep`: many experiments at once.

use super::earlier::{Earlier, lines};
use super::interrupt::{Interrupts, say_kept};
use super::kinds::load_kind;
use super::output::{jobs, note, say, say_json};
use super::progress::Bar;
use super::results::{Owner, Use, claim, folder as folder_of, unwritten};
use super::{Done, Ending};
use clap::Args;
use octoplane::invalid::Invalid;
use octoplane::report::json::SCHEMA;
use octoplane::scenario::{Library, Loaded, UserError};
use octoplane::sweep::{
    Answer, Ledger, Plan, Progress, Record, StudySpec, Unfinished, metric_known, plan, record_frame, run, sweep_text,
    values_known,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Args)]
#[command(
    after_help = "Kept in the folder of results, all together once the last point is over: table.csv, table.parquet, summary.txt, \
    points.jsonl and the study. Until then points.part.jsonl gets a record of each point the moment it is over; Ctrl-C ends the points \
    that have begun, and a sweep that was interrupted or killed goes on with --resume, as long as no input and no source of the \
    program has changed. A folder belongs to its study: what another one left there is replaced with --force only.\n\
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
    /// Replace what the folder of results holds, whatever it is
    #[arg(long, conflicts_with = "resume")]
    force: bool,
    /// Overlay one value of the study, as in `--set base=other.toml`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Print the table as JSON instead of text
    #[arg(long)]
    json: bool,
    /// Where to keep the results [default: results/sweep/ and the path below scenarios/]
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
    let library = Library::default();
    known_beforehand(&plan, &library).map_err(|invalid| loaded.error(&invalid))?;
    let owner = Owner::of_many("sweep", &args.study, &args.sets, &loaded.resolved(), &library);
    let out = folder_of(args.out.as_ref(), "sweep", &args.study, &args.sets, &loaded.fingerprint());
    let usage = Use::of(args.resume, args.force);
    let earlier = Earlier { claim: claim(&out, &owner, usage)?, what: "sweep" };
    let known = earlier.known(usage)?;
    let log = earlier.open()?;
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
        Err(Unfinished::Unwritten(error)) => return Err(unwritten(error)),
    };
    finish(args, &loaded, &plan, &records, &earlier)
}

/// Checks what can be checked before the first point is simulated.
fn known_beforehand(plan: &Plan, library: &Library) -> Result<(), Invalid> {
    for (at, metric) in plan.metrics.iter().enumerate() {
        metric_known(metric, &format!("metrics.{at}"))?;
    }
    values_known(plan, library)
}

fn finish(args: &SweepArgs, loaded: &Loaded<StudySpec>, plan: &Plan, records: &[Record], earlier: &Earlier) -> Ending {
    let study = &loaded.value;
    let frame = record_frame(plan, records).map_err(UserError::plain)?;
    let text = sweep_text(&study.name, &study.description, plan, &frame);
    // The log in the order of the points, so that the same study leaves the same bytes.
    let files = vec![
        ("study.resolved.toml", loaded.resolved().into_bytes()),
        ("table.parquet", frame.to_parquet()),
        ("summary.txt", text.clone().into_bytes()),
        ("table.csv", frame.to_csv()),
    ];
    earlier.finish(lines(records), files)?;
    if args.json {
        let points: Vec<serde_json::Value> =
            records.iter().map(|r| serde_json::from_str(&r.line()).expect("a record is JSON")).collect();
        say_json(&serde_json::json!({ "schema": SCHEMA, "study": study.name, "points": points }))?;
    } else {
        say(&text)?;
    }
    note(&format!("table, records and study kept in {}", earlier.claim.folder().display()));
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
