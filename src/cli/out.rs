//! Where output goes: results to standard output, everything else to standard error.

use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::{
    exit::Failure,
    table::{Column, render},
    words,
};
use crate::{targets::NoteState, telemetry::escape};

/// Styles inside a text, and their terminal sequences. [`escape`] keeps these noncharacters out of all other text.
const STYLES: [(char, &str); 6] = [
    (PLAIN, "\u{1b}[0m"),
    (STRONG, "\u{1b}[1m"),
    (GREEN, "\u{1b}[32m"),
    (CYAN, "\u{1b}[36m"),
    (YELLOW, "\u{1b}[33m"),
    (RED, "\u{1b}[31m"),
];
const PLAIN: char = '\u{fdd0}';
const STRONG: char = '\u{fdd1}';
const GREEN: char = '\u{fdd2}';
const CYAN: char = '\u{fdd3}';
const YELLOW: char = '\u{fdd4}';
const RED: char = '\u{fdd5}';

/// Schema version of the `--json` documents, described in `docs/schemas`. It grows when a key changes or is removed.
const SCHEMA: u32 = 1;

/// Width of tables where there is no terminal, in columns.
const UNKNOWN: usize = 80;

/// State of a line: each state has a word, and on a terminal also a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Ok,
    Note,
    Wait,
    Held,
    No,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Wait => "wait",
            Self::Held => "held",
            Self::No => "no",
        }
    }

    fn colour(self) -> char {
        match self {
            Self::Ok => GREEN,
            Self::Note => CYAN,
            Self::Wait | Self::Held => YELLOW,
            Self::No => RED,
        }
    }
}

impl From<NoteState> for State {
    fn from(state: NoteState) -> Self {
        match state {
            NoteState::Ok => Self::Ok,
            NoteState::Note => Self::Note,
            NoteState::Wait => Self::Wait,
            NoteState::No => Self::No,
        }
    }
}

/// Output settings of a command.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Out {
    pub json: bool,
    pub quiet: bool,
    pub colour: bool,
    /// Width of the terminal, or as set by `COLUMNS`, in columns; `None`: unknown.
    pub width: Option<usize>,
    /// Whether tables show all columns and whole cells.
    pub wide: bool,
    pub zone: TimeZone,
    pub now: Timestamp,
    /// Whether the result was written as a document.
    documented: Arc<AtomicBool>,
}

impl Out {
    pub fn new(json: bool, quiet: bool, no_colour: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let wanted = !no_colour && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            json,
            quiet,
            colour: terminal && wanted,
            width: width(terminal),
            wide: false,
            zone: TimeZone::system(),
            now: Timestamp::now(),
            documented: Arc::default(),
        }
    }

    /// Writes one line of the text result. A reader that closed the pipe is no error.
    pub fn line(&self, text: impl Display) {
        let _ = writeln!(std::io::stdout().lock(), "{}", self.shown(&text.to_string()));
    }

    /// Returns a line that is safe to print: its own styles, if they are wanted, and no other terminal control.
    fn shown(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let style = |c: char| STYLES.iter().find(|(style, _)| self.colour && *style == c);
        let mut styled = false;
        for part in text.split_inclusive(|c| style(c).is_some()) {
            let last = part.chars().next_back().and_then(style);
            let words = part.strip_suffix(|c| last.is_some_and(|(style, _)| *style == c)).unwrap_or(part);
            shown.push_str(&escape::text(words));
            if let Some((style, code)) = last {
                shown.push_str(code);
                styled = *style != PLAIN;
            }
        }
        if styled {
            shown.push_str(STYLES[0].1);
        }
        shown
    }

    /// Writes a line of text. If the width is known, the line is wrapped between words, and further lines are indented.
    pub fn prose(&self, indent: usize, text: impl Display) {
        let text = text.to_string();
        match self.width {
            Some(width) => self.lines(words::hang(&text, width, indent)),
            None => self.line(text),
        }
    }

    /// Writes several lines of the result.
    pub fn lines<T: Display>(&self, lines: impl IntoIterator<Item = T>) {
        for line in lines {
            self.line(line);
        }
    }

    /// Writes a text result, unless `--quiet` or `--json` is given.
    pub fn say(&self, text: impl Display) {
        if !self.quiet && !self.json {
            self.prose(2, text);
        }
    }

    /// Writes a note to standard error, unless `--quiet` is given.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            self.error(text);
        }
    }

    /// Writes a problem to standard error, even with `--quiet`.
    pub fn error(&self, text: impl Display) {
        let _ = writeln!(std::io::stderr().lock(), "{}", self.shown(&text.to_string()));
    }

    /// Writes configuration errors, which have several lines and their own styles, even with `--quiet`.
    #[allow(clippy::unused_self, reason = "as the functions beside it, which need it")]
    pub fn drawn(&self, text: impl Display) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Writes why there is no result. With `--json` this is also a document, unless one was written before.
    pub fn failure(&self, failure: &Failure) {
        if self.json && !self.documented.load(Ordering::Relaxed) {
            let (code, message, exit) = (failure.code, &failure.text, failure.exit as u8);
            self.document(&serde_json::json!({ "error": { "code": code, "message": message }, "exit_code": exit }));
        }
        if failure.drawn {
            self.drawn(&failure.text);
        } else {
            self.error(&failure.text);
        }
    }

    /// Writes the result as one document: an object with the version of its schema.
    pub fn document(&self, value: &impl Serialize) {
        #[derive(Serialize)]
        struct Versioned<'a, T> {
            schema: u32,
            #[serde(flatten)]
            document: &'a T,
        }
        self.documented.store(true, Ordering::Relaxed);
        match serde_json::to_string_pretty(&Versioned { schema: SCHEMA, document: value }) {
            Ok(text) => {
                let _ = writeln!(std::io::stdout().lock(), "{}", escape::json(&text));
            }
            Err(error) => self.error(format!("usersync: the result cannot be written as JSON: {error}")),
        }
    }

    /// Returns a state's word, padded, and coloured if that is wanted.
    pub fn state(&self, state: State) -> String {
        let word = format!("{:<4}", state.word());
        if self.colour { format!("{}{word}{PLAIN}", state.colour()) } else { word }
    }

    /// Returns a heading.
    pub fn strong(&self, text: &str) -> String {
        if self.colour { format!("{STRONG}{text}{PLAIN}") } else { text.to_owned() }
    }

    /// Returns the lines of a note, such as `  ok    sign-in          the text`; a longer text continues below.
    pub fn noted(&self, state: State, about: &str, text: &str) -> Vec<String> {
        const INDENT: usize = 25;
        let width = self.width.map_or(usize::MAX, |width| width.saturating_sub(INDENT).max(20));
        let mut lines = text.lines().flat_map(|line| words::wrap(line, width));
        let first = lines.next().unwrap_or_default();
        let mut all = vec![format!("  {}  {about:<16} {first}", self.state(state)).trim_end().to_owned()];
        all.extend(lines.map(|line| format!("{:INDENT$}{line}", "")));
        all
    }

    /// Writes a table without borders, within the width of the terminal; a row may omit cells at its end.
    pub fn table(&self, columns: &[Column<'_>], rows: Vec<Vec<String>>) {
        // A cell of several lines would break the table, and the width must be that of the escaped text.
        let shown = |cell: String| escape::text(&cell.replace(['\n', '\r', '\t'], " ")).into_owned();
        let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.into_iter().map(shown).collect()).collect();
        let width = (!self.wide).then(|| self.width.unwrap_or(UNKNOWN));
        for (at, line) in render(columns, &rows, width).into_iter().enumerate() {
            if at == 0 { self.line(self.strong(&line)) } else { self.line(line) }
        }
    }

    /// Returns a time, and how long ago it was.
    pub fn when(&self, time: Timestamp) -> String {
        words::when(time, self.now, &self.zone)
    }

    /// Returns how long ago a time was, or how long until then.
    pub fn ago(&self, time: Timestamp) -> String {
        words::ago(time, self.now)
    }

    /// Returns the exact time.
    pub fn exact(&self, time: Timestamp) -> String {
        words::exact(time, self.now, &self.zone)
    }
}

/// Returns the width of standard output in columns: from `COLUMNS`, else from the terminal.
fn width(terminal: bool) -> Option<usize> {
    let reported = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let measured = || terminal.then(terminal_size::terminal_size).flatten().map(|(width, _)| usize::from(width.0));
    reported.or_else(measured).filter(|width| *width >= 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(colour: bool) -> Out {
        Out {
            json: false,
            quiet: false,
            colour,
            width: Some(UNKNOWN),
            wide: false,
            zone: TimeZone::UTC,
            now: Timestamp::UNIX_EPOCH,
            documented: Arc::default(),
        }
    }

    #[test]
    fn text_of_others_never_acts_on_the_terminal() {
        let evil = "alice\u{1b}[2J\u{9b}0m\nok  jira\u{202e}\u{fdd5}";
        let shown = out(false).shown(evil);
        assert_eq!(shown, "alice\\u{1b}[2J\\u{9b}0m\\nok  jira\\u{202e}\\u{fdd5}");
        let out = out(true);
        let shown = out.shown(&format!("{} {}", out.state(State::Ok), out.strong(evil)));
        assert!(shown.starts_with("\u{1b}[32mok  \u{1b}[0m \u{1b}[1malice\\u{1b}[2J"), "{shown:?}");
        assert!(shown.ends_with("\u{1b}[0m") && !shown.contains("\u{1b}[2J") && !shown.contains('\n'), "{shown:?}");
    }
}
