//! Errors and warnings in the configuration: what is wrong, where, and how to correct it.

use std::{fmt, io::IsTerminal, ops::Range, path::Path, sync::Arc};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity, SourceCode};

use super::mask::mask;

/// The text of the file as shown in errors: secrets are masked.
#[derive(Clone, Debug)]
pub(super) struct Shown(Arc<NamedSource<String>>);

impl Shown {
    pub fn new(path: &Path, text: &str) -> Self {
        Self(Arc::new(NamedSource::new(path.display().to_string(), mask(text)).with_language("TOML")))
    }

    fn text(&self) -> &str {
        self.0.inner()
    }
}

/// The location of a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A byte range of the file.
    Span(Range<usize>),
    /// An environment variable.
    Variable(String),
    /// The file as a whole.
    File,
}

/// One error or warning.
#[derive(Clone)]
pub struct Problem {
    message: String,
    help: Option<String>,
    warning: bool,
    place: Place,
    shown: Shown,
}

impl Problem {
    pub(super) fn new(shown: &Shown, place: Place, message: impl Into<String>, help: Option<String>) -> Self {
        Self { message: message.into(), help, warning: false, place, shown: shown.clone() }
    }

    pub(super) fn into_warning(self) -> Self {
        Self { warning: true, ..self }
    }

    /// Returns what is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns how to correct it.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Returns line and column in the file, counted from 1; the column counts characters.
    pub fn position(&self) -> Option<(usize, usize)> {
        let Place::Span(span) = &self.place else { return None };
        let before = self.shown.text().get(..span.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }

    /// Returns the sort key: the order of the file, then the environment.
    pub(super) fn order(&self) -> usize {
        match &self.place {
            Place::File => 0,
            Place::Span(span) => span.start,
            Place::Variable(_) => usize::MAX,
        }
    }

    /// Renders the problem for terminals, with the lines around it, or as plain text.
    pub fn render(&self, drawing: Drawing) -> String {
        draw(self, drawing).unwrap_or_else(|| self.to_string())
    }

    /// Returns the line of the problem, and the start and length of the marked part, in characters.
    fn excerpt(&self) -> Option<(&str, usize, usize)> {
        let (Place::Span(span), Some((_, column))) = (&self.place, self.position()) else { return None };
        let text = self.shown.text();
        let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        let end = span.end.min(start + line.len()).max(span.start);
        let width = text.get(span.start..end).map_or(0, |part| part.chars().count());
        Some((line, column - 1, width.max(1)))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.position()) {
            (Place::Variable(name), _) => write!(f, "environment variable {name}")?,
            (_, Some((line, column))) => write!(f, "{}:{line}:{column}", self.shown.0.name())?,
            _ => f.write_str(self.shown.0.name())?,
        }
        write!(f, ": {}{}", if self.warning { "warning: " } else { "" }, self.message)?;
        if let Some((line, column, width)) = self.excerpt() {
            // Tabs are kept, so that the marks align at any tab width.
            let indent: String = line.chars().take(column).map(|c| if c == '\t' { c } else { ' ' }).collect();
            write!(f, "\n    {line}\n    {indent}{}", "^".repeat(width))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n    {help}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problem {}

/// The problem as miette renders it: the message alone, because place and advice are rendered separately.
struct Drawn<'a>(&'a Problem);

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn severity(&self) -> Option<Severity> {
        Some(if self.0.warning { Severity::Warning } else { Severity::Error })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        matches!(self.0.place, Place::Span(_)).then_some(&*self.0.shown.0 as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Place::Span(span) = &self.0.place else { return None };
        let label = LabeledSpan::new_primary_with_span(Some("here".to_owned()), span.clone());
        Some(Box::new(std::iter::once(label)))
    }
}

/// The format of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawing {
    /// `file:line:column: message`, for logs and pipes.
    Plain,
    /// With source lines, for terminals.
    Terminal {
        /// Whether to use colours.
        colour: bool,
    },
}

impl Drawing {
    /// Returns the format for standard error; respects `NO_COLOR`.
    pub fn for_stderr() -> Self {
        if std::io::stderr().is_terminal() {
            Self::Terminal { colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
        } else {
            Self::Plain
        }
    }
}

fn draw(problem: &Problem, drawing: Drawing) -> Option<String> {
    let Drawing::Terminal { colour } = drawing else { return None };
    // An environment variable has no source lines to show.
    if !matches!(problem.place, Place::Span(_)) {
        return None;
    }
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(100);
    handler.render_report(&mut text, &Drawn(problem)).ok()?;
    Some(text)
}

/// All errors in a configuration, in the order of the file.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
}

impl ConfigErrors {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Returns the individual errors.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Renders all errors for terminals, with the lines around each, or as plain text.
    pub fn render(&self, drawing: Drawing) -> String {
        let mut parts: Vec<String> = self.problems.iter().map(|problem| problem.render(drawing)).collect();
        parts.push(self.count());
        parts.join("\n")
    }

    fn count(&self) -> String {
        match self.problems.len() {
            1 => "1 error in the configuration.".to_owned(),
            count => format!("{count} errors in the configuration."),
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Drawing::Plain))
    }
}

impl std::error::Error for ConfigErrors {}
