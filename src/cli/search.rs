//! `octoplane search`: the best deployment for a goal.

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
    Kept under the folder of results: points.jsonl (a record of each point, the moment it is over), found.json, table.csv, \
    table.parquet, summary.txt, front.svg and the goal. Ctrl-C ends the points that have begun and keeps them; a search that was \
    interrupted or killed goes on with --resume.\n\
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
    /// Simulate every point that fits, whatever its bounds say
    #[arg(long)]
    everything: bool,
    /// Overlay one value of the goal
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Print the answer as JSON instead of text
    #[arg(long)]
    json: bool,
    /// Where to keep the results [default: results/search/NAME]
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
    values_known(&plan).map_err(in_goal)?;
    makes_sense(goal).map_err(in_goal)?;
    let out = results(args.out.as_ref(), "search", &args.goal);
    let earlier = Earlier { out: &out, answer: "found.json", what: "search" };
    let known = earlier.known(args.resume)?;
    let log = Log::open(&earlier.log()).map_err(|error| UserError::plain(error.to_string()))?;
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
        Err(Failure::Unfinished(Unfinished::Unwritten(error))) => return Err(UserError::plain(error.to_string())),
        Err(Failure::Unfinished(Unfinished::Stopped)) => {
            say_kept(earlier.kept()?, plan.points.len(), &out);
            return Ok(Done::Interrupted);
        }
    };
    earlier.sort()?;
    let json = found_json(goal, &plan, &found);
    keep(goal, &plan, &found, &out, &loaded.resolved())?;
    write(&out.join("found.json"), format!("{json:#}\n").as_bytes())?;
    match args.json {
        true => say_json(&json)?,
        false => say(&found_text(goal, &plan, &found))?,
    }
    note(&format!("table, picture and goal kept in {}", out.display()));
    Ok(if found.best.is_some() { Done::Answered } else { Done::Failed })
}

fn keep(goal: &GoalSpec, plan: &Plan, found: &Found, out: &Path, resolved: &str) -> Result<(), UserError> {
    let records: Vec<_> = found.seen.iter().map(|seen| seen.record.clone()).collect();
    let frame = record_frame(plan, &records).map_err(UserError::plain)?;
    write(&out.join("goal.resolved.toml"), resolved.as_bytes())?;
    write(&out.join("summary.txt"), found_text(goal, plan, found).as_bytes())?;
    write(&out.join("table.parquet"), &frame.to_parquet())?;
    if let Some(chart) = front_chart(goal, found) {
        write(&out.join("front.svg"), chart.picture().svg().as_bytes())?;
    }
    write(&out.join("table.csv"), &frame.to_csv())
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
