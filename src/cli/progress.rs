//! Progress on stderr, for whoever watches a terminal. The only module that knows bars.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// A bar that fills up; silent where stderr is no terminal.
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar of `total` things, which `unit` names in the plural.
    pub(super) fn of(total: usize, unit: &str) -> Bar {
        let style = format!("{{bar:40}} {{pos}} of {{len}} {unit}, {{msg}}{{elapsed}} gone, {{eta}} to go");
        Bar(watched().then(|| ProgressBar::new(total as u64).with_style(styled(&style))))
    }

    /// A count without an end, of things that `unit` names in the plural.
    pub(super) fn endless(unit: &str) -> Bar {
        let style = format!("{{spinner}} {{pos}} {unit}, {{msg}}{{elapsed}} gone");
        Bar(watched().then(|| ProgressBar::new_spinner().with_style(styled(&style))))
    }

    /// The events of one simulation.
    pub(super) fn events() -> Bar {
        let style = "{spinner} {msg}{pos} events, {per_sec}, {elapsed} gone";
        Bar(watched().then(|| ProgressBar::new_spinner().with_style(styled(style))))
    }

    /// So many are over.
    pub(super) fn reach(&self, over: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(over);
        }
    }

    /// Whether anybody watches.
    pub(super) fn is_seen(&self) -> bool {
        self.0.is_some()
    }

    /// One more is over.
    pub(super) fn tick(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// So many are over, of so many.
    pub(super) fn set(&self, over: usize, total: usize) {
        if let Some(bar) = &self.0 {
            bar.set_length(total as u64);
            bar.set_position(over as u64);
        }
    }

    /// Says something beside the count.
    pub(super) fn say(&self, message: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(format!("{message}, "));
        }
    }

    /// Leaves no trace of the bar.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn watched() -> bool {
    std::io::stderr().is_terminal()
}

fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a legal template")
}
