//! Messages about input that makes no sense: where, what was found, what is legal, one hint.

use super::texts::Texts;
use super::tree::Span;
use crate::invalid::among;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt;

/// A finished message for the user. Nothing of the input has been acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserError {
    text: String,
    about: Option<Box<Mistake>>,
}

/// What a message says, and of what, for whoever puts it into another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The text in which the mistake is: a path, or the name of an overlay.
    pub source: String,
    /// The byte of it at which the mistake begins.
    pub at: usize,
    /// What is wrong, as a lower-case fragment without a full stop.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl UserError {
    /// A message about something that is not in a file.
    pub fn plain(message: impl fmt::Display) -> UserError {
        UserError { text: format!("error: {message}"), about: None }
    }

    /// What it is about, if it is about a place in a text.
    pub fn mistake(&self) -> Option<&Mistake> {
        self.about.as_deref()
    }

    /// A name from the command line that stands for no `kind` of thing, with those there are.
    pub fn unknown(kind: &str, found: &str, known: &[&str]) -> UserError {
        let help = among(found, known);
        UserError::plain(format!("`{found}` is not a {kind}\n  = help: {help}"))
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for UserError {}

/// What is wrong, before it is put into words with its surroundings.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) message: String,
    /// Boxed, because results that hold a finding are handed around a lot and seldom hold one.
    details: Box<Details>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Details {
    span: Option<Span>,
    label: String,
    /// Another place that matters, with what to say of it.
    other: Option<(Span, String)>,
    notes: Vec<String>,
    help: Option<String>,
}

/// A place to show: how, where, and what to say of it.
type Annotated<'a> = (AnnotationKind, &'a Span, &'a str);

impl Finding {
    pub(super) fn anywhere(message: impl Into<String>) -> Finding {
        Finding { message: message.into(), details: Box::default() }
    }

    pub(super) fn at(span: Span, message: impl Into<String>) -> Finding {
        Finding::anywhere(message).or_at(&span)
    }

    /// Where it is, if it is anywhere.
    pub(super) fn span(&self) -> Option<&Span> {
        self.details.span.as_ref()
    }

    /// The same finding, at `span` unless it already has a place.
    pub(super) fn or_at(mut self, span: &Span) -> Finding {
        self.details.span.get_or_insert_with(|| span.clone());
        self
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Finding {
        self.details.label = label.into();
        self
    }

    pub(super) fn other(mut self, span: Span, label: impl Into<String>) -> Finding {
        self.details.other = Some((span, label.into()));
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Finding {
        self.details.notes.push(note.into());
        self
    }

    pub(super) fn help(mut self, help: Option<String>) -> Finding {
        self.details.help = help.or(self.details.help);
        self
    }

    /// The whole message.
    pub(super) fn render(&self, texts: &Texts) -> UserError {
        let mut group = Level::ERROR
            .primary_title(self.message.as_str())
            .elements(std::iter::empty::<Snippet<'_, Annotation<'_>>>());
        for (text, annotations) in self.by_text() {
            let source = &texts.all[text];
            let mut snippet = Snippet::source(&*source.content).path(source.name.as_str());
            for (kind, span, label) in annotations {
                let end = span.range.end.max(span.range.start);
                snippet = snippet.annotation(kind.span(span.range.start..end).label(label));
            }
            group = group.element(snippet);
        }
        for note in &self.details.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        if let Some(help) = &self.details.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let groups: &[Group<'_>] = &[group];
        let text = Renderer::plain().render(groups).to_string();
        UserError { text, about: self.mistake(texts).map(Box::new) }
    }

    fn mistake(&self, texts: &Texts) -> Option<Mistake> {
        let Details { span, notes, help, .. } = &*self.details;
        let span = span.as_ref()?;
        let hints: Vec<&str> = help.iter().chain(notes).map(String::as_str).collect();
        Some(Mistake {
            source: texts.all[span.text].name.clone(),
            at: span.range.start,
            message: self.message.clone(),
            help: (!hints.is_empty()).then(|| hints.join("; ")),
        })
    }

    /// The places to show, those of one text together.
    fn by_text(&self) -> Vec<(usize, Vec<Annotated<'_>>)> {
        let mut texts: Vec<(usize, Vec<Annotated<'_>>)> = Vec::new();
        let Details { span, label, other, .. } = &*self.details;
        let primary = span.iter().map(|span| (AnnotationKind::Primary, span, label.as_str()));
        let other = other.iter().map(|(span, label)| (AnnotationKind::Context, span, label.as_str()));
        for annotation in primary.chain(other) {
            match texts.iter_mut().find(|(text, _)| *text == annotation.1.text) {
                Some((_, annotations)) => annotations.push(annotation),
                None => texts.push((annotation.1.text, vec![annotation])),
            }
        }
        texts
    }
}
