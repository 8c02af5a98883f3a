//! `octoplane search`: the best deployment for a goal.

use super::earlier::Earlier;
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
use octoplane::search::{
    Failure, Fate, Found, GoalSpec, Manner, Seen, found_text, front_chart, makes_sense, objective_name, search,
    shown_metrics, target_texts,
};
use octoplane::sweep::{Ledger, Plan, Unfinished, plan, record_frame, values_known};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(
    after_help = "A goal names a base scenario, what may be chosen (hardware, parallel plan, batch), targets and an objective. What \
    cannot be the answer, by bounds that the simulation cannot beat, is not simulated.\n\
    Kept in the folder of results, all together once the last point is over: found.json, table.csv, table.parquet, summary.txt, \
    front.svg, points.jsonl and the goal. Until then points.part.jsonl gets a record of each point the moment it is over; Ctrl-C ends \
    the points that have begun, and a search that was interrupted or killed goes on with --resume, as long as no input and no source \
    of the program has changed. A folder belongs to its goal: what another one left there is replaced with --force only.\n\
    Exit code 1: no point meets the targets.\n\
    Examples:\n  octoplane search scenarios/goals/cheapest_decode.toml\n  \
    octoplane search scenarios/goals/cheapest_decode.toml --set objective.minimise=tpot"
)]
pub(super) struct SearchArgs {
    /// The goal's TOML file
    goal: PathBuf,
    /// Points simulated at the same time [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Go on with what an earlier run of this goal left
    #[arg(long)]
    resume: bool,
    /// Replace what the folder of results holds, whatever it is
    #[arg(long, conflicts_with = "resume")]
    force: bool,
    /// Simulate every point that fits, whatever its bounds say
    #[arg(long)]
    everything: bool,
    /// Overlay one value of the goal
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Print the answer as JSON instead of text
    #[arg(long)]
    json: bool,
    /// Where to keep the results [default: results/search/ and the path below scenarios/]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn main(args: &SearchArgs) -> Ending {
    let loaded: Loaded<GoalSpec> = load_kind(&args.goal, &args.sets, "goal")?;
    let goal = &loaded.value;
    let folder = args.goal.parent().unwrap_or(Path::new(""));
    // The choices of a goal are the axes of a study.
    let in_goal = |invalid: Invalid| {
        let place = invalid.place.iter().map(|key| if key == "axis" { "choice".to_owned() } else { key.clone() });
        loaded.error(&Invalid { place: place.collect(), ..invalid })
    };
    let plan = plan(&goal.study(), folder).map_err(in_goal)?;
    if !plan.base.is_file() {
        let invalid = Invalid::at("base", format!("there is no file {}", plan.base.display()));
        return Err(loaded.error(&invalid.help("the path of the base scenario starts at the goal's folder")));
    }
    let library = Library::default();
    values_known(&plan, &library).map_err(in_goal)?;
    makes_sense(goal).map_err(in_goal)?;
    let owner = Owner::of_many("search", &args.goal, &args.sets, &loaded.resolved(), &library);
    let out = folder_of(args.out.as_ref(), "search", &args.goal, &args.sets, &loaded.fingerprint());
    let usage = Use::of(args.resume, args.force);
    let earlier = Earlier { claim: claim(&out, &owner, usage)?, what: "search" };
    let known = earlier.known(usage)?;
    let log = earlier.open()?;
    let bar = Bar::of(plan.points.len(), "points");
    let interrupts = Interrupts::watch()?;
    let found = search(
        goal,
        &plan,
        Manner {
            jobs: jobs(args.jobs),
            everything: args.everything,
            ledger: Ledger { known: &known, log: Some(&log) },
            tick: &|| bar.tick(),
            stop: &|| interrupts.stop(),
        },
    );
    bar.end();
    let found = match found {
        Ok(found) => found,
        Err(Failure::Senseless(invalid)) => {
            // It is seen after the first points; another goal is not to be told of these, but what was there before stays.
            if known.is_empty() {
                earlier.forget()?;
            }
            return Err(loaded.error(&invalid));
        }
        Err(Failure::Unfinished(Unfinished::Unwritten(error))) => return Err(unwritten(error)),
        Err(Failure::Unfinished(Unfinished::Stopped)) => {
            say_kept(earlier.kept()?, plan.points.len(), &out);
            return Ok(Done::Interrupted);
        }
    };
    let json = found_json(goal, &plan, &found);
    earlier.finish(earlier.sorted()?, kept(&loaded, &plan, &found, &json)?)?;
    match args.json {
        true => say_json(&json)?,
        false => say(&found_text(goal, &plan, &found))?,
    }
    note(&format!("table, picture and goal kept in {}", out.display()));
    Ok(if found.best.is_some() { Done::Answered } else { Done::Failed })
}

/// What is kept of a search; the last file says that the others are there.
fn kept(
    loaded: &Loaded<GoalSpec>,
    plan: &Plan,
    found: &Found,
    json: &Value,
) -> Result<Vec<(&'static str, Vec<u8>)>, UserError> {
    let goal = &loaded.value;
    let records: Vec<_> = found.seen.iter().map(|seen| seen.record.clone()).collect();
    let frame = record_frame(plan, &records).map_err(UserError::plain)?;
    let mut files = vec![
        ("goal.resolved.toml", loaded.resolved().into_bytes()),
        ("summary.txt", found_text(goal, plan, found).into_bytes()),
        ("table.parquet", frame.to_parquet()),
        ("table.csv", frame.to_csv()),
    ];
    files.extend(front_chart(goal, found).map(|chart| ("front.svg", chart.picture().svg().into_bytes())));
    files.push(("found.json", format!("{json:#}\n").into_bytes()));
    Ok(files)
}

fn found_json(goal: &GoalSpec, plan: &Plan, found: &Found) -> Value {
    let point = |(at, seen): (usize, &Seen)| {
        let places = plan.axes.iter().zip(&plan.points[at].places);
        let choice: serde_json::Map<String, Value> =
            places.map(|(axis, place)| (axis.clone(), json!(place.label))).collect();
        let record: Value = serde_json::from_str(&seen.record.line()).expect("a record is JSON");
        let fate = match &seen.fate {
            Fate::Senseless => "senseless",
            Fate::TooLarge => "too_large",
            Fate::OutOfReach(..) => "out_of_reach",
            Fate::Beaten(_) => "beaten",
            Fate::Meets => "meets",
            Fate::Misses(_) => "misses",
        };
        json!({ "choice": choice, "fate": fate, "bound": seen.bound, "record": record })
    };
    let points: Vec<Value> = found.seen.iter().enumerate().map(point).collect();
    json!({
        "schema": SCHEMA,
        "goal": goal.name,
        "description": goal.description,
        "objective": objective_name(goal),
        "targets": target_texts(goal),
        "axes": plan.axes,
        "shown": shown_metrics(goal, found),
        "best": found.best,
        "front": found.front,
        "chart": front_chart(goal, found),
        "points": points,
    })
}
