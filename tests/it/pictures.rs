//! Pictures: what they show is what happened, and the one of the README is made by the program.

use crate::cli::{good, octoplane, root, scratch, stderr};
use crate::golden;
use octoplane::metrics::{Metrics, Outcome, link_loads};
use octoplane::report::inside::Inside;
use octoplane::report::overlap::{Kind, Overlap};
use octoplane::run::simulate;
use octoplane::scenario::{Scenario, load};
use std::fs;

fn outcome(scenario: &str, sets: &[&str]) -> Outcome {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let loaded = load::<Scenario>(&root().join("scenarios").join(scenario), &sets).unwrap();
    simulate(&loaded.value).unwrap()
}

/// Time that the row called `name` is busy with `kind` in the first panel, in microseconds.
fn busy(overlap: &Overlap, name: &str, kind: Kind) -> f64 {
    let row = overlap.panels[0].rows.iter().find(|row| row.name == name);
    let row = row.unwrap_or_else(|| panic!("no row {name} in {:?}", overlap.panels[0].rows));
    row.busy.iter().filter(|busy| busy.what.kind == kind).map(|busy| busy.until_us - busy.from_us).sum()
}

#[test]
fn the_picture_of_the_readme_shows_what_the_program_finds() {
    let outcome = outcome("h800_ep128_decode.toml", &[]);
    let inside = Inside::new(&outcome);
    golden::all(vec![golden::check(&root().join("docs/overlap.svg"), &inside.overlaps[0].picture().svg())]);
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains("(docs/overlap.svg)"));
}

#[test]
fn rows_are_as_busy_as_the_run_says() {
    let outcome = outcome("h800_ep128_decode.toml", &[]);
    let inside = Inside::new(&outcome);
    let overlap = &inside.overlaps[0];
    let Metrics::Decode(metrics) = &outcome.metrics else { panic!("a decode step") };
    // Gaps that no picture shows are closed, so that a row may look a little busier.
    let computing = metrics.breakdown.computing.as_secs() * 1e6;
    let drawn = busy(overlap, "compute", Kind::Computation);
    assert!(drawn >= 0.999 * computing && drawn <= 1.1 * computing, "{drawn} us drawn, {computing} us computing");
    let step = metrics.step.as_secs() * 1e6;
    assert!((overlap.panels[0].until_us / step - 1.0).abs() < 1e-9);
    assert_eq!(overlap.panels.len(), 2, "a layer is shown large");
    let large = &overlap.panels[1];
    assert!(large.from_us > 0.3 * step && large.until_us < 0.7 * step, "from the middle");
    let phases = large.rows.iter().flat_map(|row| &row.busy).map(|busy| busy.what.phase.as_str());
    for phase in ["attention", "dispatch", "experts", "combine"] {
        assert!(phases.clone().any(|other| other == phase), "no {phase}");
    }
}

#[test]
fn a_pipeline_has_a_row_for_each_rank_and_its_chunk_inside() {
    let outcome = outcome("training/v3_2048_h800_mpft.toml", &[]);
    let inside = Inside::new(&outcome);
    let [step, chunk] = &inside.overlaps[..] else { panic!("{} pictures", inside.overlaps.len()) };
    assert_eq!(step.panels[0].rows.len(), 16);
    assert!(step.panels[0].rows.iter().all(|row| row.busy.iter().any(|busy| busy.what.kind == Kind::Chunk)));
    assert!(busy(chunk, "compute", Kind::Computation) > 0.0);
    assert!(chunk.title.contains("F of") && chunk.title.contains("B of"), "{}", chunk.title);
}

#[test]
fn links_are_coloured_where_all_were_simulated_and_their_use_is_known() {
    let folder = scratch("pictures");
    let scenario = "scenarios/collectives/all_to_all_h800.toml";
    let run = |network: &str| {
        let out = folder.join(network);
        let (set, at) = (format!("network={network}"), out.to_str().unwrap());
        good(&["run", scenario, "--set", &set, "--out", at]);
        Inside::parse(&fs::read_to_string(out.join("pictures.json")).unwrap()).unwrap()
    };
    assert_eq!(run("analytic").fabric, None, "nothing is known of its links");
    let fabric = run("flow").fabric.expect("known");
    let outcome = outcome("collectives/all_to_all_h800.toml", &["network=flow"]);
    let most = link_loads(&outcome.timeline, &outcome.cluster.topology)[0].utilisation;
    assert!(most > 0.5, "{most}");
    assert!(
        fabric.picture().svg().contains(&format!("to {:.1}%", 100.0 * most)),
        "the scale ends at the most used link"
    );
    let folded = Inside::new(&self::outcome("h800_ep128_decode.toml", &["network=flow"]));
    assert_eq!(folded.fabric, None, "one GPU stood for all");
}

#[test]
fn pictures_of_two_runs_of_one_scenario_have_names_of_their_own() {
    let folder = scratch("pictures_twice");
    fs::remove_dir_all(&folder).unwrap();
    let at = |part: &str| folder.join(part).to_str().unwrap().to_owned();
    for (out, batches) in [("one", "workload.decode.micro_batches=1"), ("two", "workload.decode.micro_batches=2")] {
        good(&["run", "scenarios/h800_ep128_decode.toml", "--set", batches, "--out", &at(out)]);
    }
    let written = good(&["report", folder.to_str().unwrap(), "--png", &at("png")]);
    let mut names: Vec<&str> = written.lines().map(|line| line.rsplit('/').next().unwrap()).collect();
    for out in ["one", "two"] {
        let name = format!("deepseek_v3_decode_ep128_on_h800-{out}-waits.png");
        assert!(names.contains(&name.as_str()), "{written}");
    }
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "{written}");
}

/// Width and height of a PNG, from its header.
fn size(png: &[u8]) -> (u32, u32) {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn the_plots_of_a_page_are_files_as_well() {
    let folder = scratch("plots");
    fs::remove_dir_all(&folder).unwrap();
    let at = |part: &str| folder.join(part).to_str().unwrap().to_owned();
    good(&["run", "scenarios/h800_ep128_decode.toml", "--out", &at("run")]);
    let written = good(&["report", &at("run"), "--svg", &at("svg"), "--png", &at("png")]);
    let page = good(&["report", &at("run"), "--html", &at("page.html")]);
    assert_eq!(page.trim(), at("page.html"));
    let page = fs::read_to_string(at("page.html")).unwrap();
    let files: Vec<&str> = written.lines().collect();
    assert_eq!(files.len(), 2 * page.matches("<figure>").count(), "{written}");
    for file in files.iter().filter(|file| file.ends_with(".svg")) {
        let svg = fs::read_to_string(file).unwrap();
        let drawn = svg.split_once('>').unwrap().1;
        assert!(page.contains(drawn.trim()), "{file} is not on the page");
        let png = fs::read(file.replace("/svg/", "/png/").replace(".svg", ".png")).unwrap();
        let width: u32 = svg.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        assert_eq!(size(&png).0, 2 * width, "twice as fine");
        assert!(png.len() < 400_000, "{} bytes", png.len());
    }
}

#[test]
fn a_fabric_is_drawn_as_its_name_says() {
    let folder = scratch("fabric");
    let plot = |name: &str| {
        let path = folder.join(name);
        let output = octoplane(root(), &["topo", "plot", "topologies/mpft_2048.toml", "-o", path.to_str().unwrap()]);
        (output, fs::read(path).unwrap_or_default())
    };
    let (_, svg) = plot("fabric.svg");
    assert!(svg.starts_with(b"<svg"));
    assert_eq!(size(&plot("fabric.png").1).0, 2560);
    let (refused, _) = plot("fabric.pdf");
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("end it with `.svg` or `.png`"), "{}", stderr(&refused));
}
