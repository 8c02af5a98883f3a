//! What packagers ask for: shell completions and the man page, both from the command line's own description.

use super::output::say;
use super::{Cli, Done, Ending};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use octoplane::scenario::UserError;

#[derive(Args)]
#[command(after_help = "Example:\n  octoplane completions bash > ~/.local/share/bash-completion/completions/octoplane")]
pub(super) struct CompletionsArgs {
    /// The shell to complete for
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> Ending {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "octoplane", &mut script);
    say(&String::from_utf8_lossy(&script))?;
    Ok(Done::Answered)
}

pub(super) fn man() -> Ending {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
    rendered.map_err(|error| UserError::plain(format!("cannot write the man page: {error}")))?;
    say(&String::from_utf8_lossy(&page))?;
    Ok(Done::Answered)
}
