//! `octoplane reproduce`: published figures, printed against simulated.

use super::output::{inside_repository, note, say, say_json, write};
use super::progress::Bar;
use super::results::{Owner, Use, allowed, keep};
use super::{Done, Ending};
use clap::Args;
use octoplane::report::figures::{figures_json, figures_text};
use octoplane::report::plot;
use octoplane::report::topology_picture::FabricPicture;
use octoplane::reproduce::{Evaluated, From, PaperSpec, evaluate};
use octoplane::scenario::{Loaded, UserError, load};
use octoplane::topology::{TopologySpec, build_fabric};
use std::path::{Path, PathBuf};

/// The publication whose figures are worked out.
const PAPER: &str = "validation/paper_2505_09343.toml";

#[derive(Args)]
#[command(
    after_help = "Exit code 1 says that a status is no longer true: a figure that was predicted is not met, or one that was open is.\nExamples:\n  octoplane reproduce\n  octoplane reproduce table3 sec2.3.2 --json"
)]
pub(super) struct ReproduceArgs {
    /// Figures whose id starts like this; all without it
    ids: Vec<String>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Replace what the folder holds even if it is of a scenario or study
    #[arg(long)]
    force: bool,
    /// Where to keep tables and pictures
    #[arg(long, value_name = "DIR", default_value = "results/reproduce")]
    out: PathBuf,
}

pub(super) fn main(args: &ReproduceArgs, root: &Path) -> Ending {
    inside_repository(&root.join(PAPER))?;
    let loaded: Loaded<PaperSpec> = load(&root.join(PAPER), &[])?;
    let owner = Owner::new("reproduce", Path::new(PAPER), &[], loaded.fingerprint());
    let usage = Use::of(false, args.force);
    allowed(&args.out, &owner, usage)?;
    let bar = Bar::of(0, "figures");
    let evaluated = evaluate(&loaded.value, &args.ids, root, &|over, total| bar.set(over, total));
    bar.end();
    let evaluated = evaluated?;
    if evaluated.figures.is_empty() && evaluated.wishes.is_empty() {
        let (figures, wishes) = (loaded.value.figure.iter(), loaded.value.wish.iter());
        let ids = figures.map(|figure| &figure.id).chain(wishes.map(|wish| &wish.id));
        let known: Vec<&str> = ids.map(String::as_str).collect();
        let message = format!("no figure starts with {}; there are\n  {}", args.ids.join(" or "), known.join("\n  "));
        return Err(UserError::plain(message));
    }
    let json = figures_json(&evaluated.figures, &evaluated.assumptions, &evaluated.wishes);
    let text = figures_text(&evaluated.figures, &evaluated.assumptions, &evaluated.wishes);
    let files = vec![("figures.txt", text.clone().into_bytes()), ("figures.json", format!("{json:#}\n").into_bytes())];
    keep(&args.out, &owner, usage, files)?;
    pictures(args, root, &loaded.value, &evaluated)?;
    if args.json {
        say_json(&json)?
    } else {
        say(&text)?
    }
    note(&format!("tables and pictures kept in {}", args.out.display()));
    let holds = evaluated.figures.iter().all(|figure| figure.holds());
    Ok(if holds { Done::Answered } else { Done::Failed })
}

fn pictures(args: &ReproduceArgs, root: &Path, paper: &PaperSpec, evaluated: &Evaluated) -> Result<(), UserError> {
    let deviations = plot::deviations(&evaluated.figures).svg();
    write(&args.out.join("deviations.svg"), deviations.as_bytes())?;
    if !evaluated.assumptions.is_empty() {
        let assumptions = plot::assumptions(&evaluated.assumptions).svg();
        write(&args.out.join("assumptions.svg"), assumptions.as_bytes())?;
    }
    let shown = |id: &str| evaluated.figures.iter().any(|figure| figure.id == id);
    let mut fabrics: Vec<&str> = Vec::new();
    for figure in paper.figure.iter().filter(|figure| shown(&figure.id)) {
        if let From::Topology { file, .. } = &figure.from
            && !fabrics.contains(&file.as_str())
        {
            fabrics.push(file);
        }
    }
    for file in fabrics {
        let loaded: Loaded<TopologySpec> = load(&root.join(file), &[])?;
        // A fabric that exists as a formula only has nothing to draw.
        if let Ok(topology) = build_fabric(&loaded.value) {
            let stem = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
            let svg = FabricPicture::new(&topology, &loaded.value.name).picture().svg();
            write(&args.out.join(format!("{stem}.svg")), svg.as_bytes())?;
        }
    }
    Ok(())
}
