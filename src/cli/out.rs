//! What is written where: results to standard output, everything else to standard error.

use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use comfy_table::{CellAlignment, ContentArrangement, Table};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::{exit::Failure, words};
use crate::target::NoteState;

/// How wide explained text may grow on a terminal.
const WIDTH: usize = 110;

/// How a line stands; each state has a word, and on a terminal a colour beside it.
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

    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Note => "36",
            Self::Wait | Self::Held => "33",
            Self::No => "31",
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

/// How a command speaks.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Out {
    pub json: bool,
    pub quiet: bool,
    pub colour: bool,
    pub terminal: bool,
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
            terminal,
            zone: TimeZone::system(),
            now: Timestamp::now(),
            documented: Arc::default(),
        }
    }

    /// One line of the result for people. A reader who went away is no fault.
    #[allow(clippy::unused_self, reason = "as its neighbours, which need it")]
    pub fn line(&self, text: impl Display) {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Some lines of the result.
    pub fn lines<T: Display>(&self, lines: impl IntoIterator<Item = T>) {
        for line in lines {
            self.line(line);
        }
    }

    /// A result that is told only where nobody asked for quiet.
    pub fn say(&self, text: impl Display) {
        if !self.quiet && !self.json {
            self.line(text);
        }
    }

    /// Something beside the result.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// What is wrong; always told.
    #[allow(clippy::unused_self, reason = "as its neighbours, which need it")]
    pub fn error(&self, text: impl Display) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Why there is no result. With `--json` it is a document too, unless one was written before.
    pub fn failure(&self, failure: &Failure) {
        if self.json && !self.documented.load(Ordering::Relaxed) {
            let exit = failure.exit as u8;
            self.document(&serde_json::json!({ "error": failure.text, "exit_code": exit }));
        }
        self.error(&failure.text);
    }

    /// The result as one document.
    pub fn document(&self, value: &impl Serialize) {
        self.documented.store(true, Ordering::Relaxed);
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(text),
            Err(error) => self.error(format!("usersync: the result cannot be written as JSON: {error}")),
        }
    }

    /// A state's word, padded, coloured where that is wanted.
    pub fn state(&self, state: State) -> String {
        let word = format!("{:<4}", state.word());
        if self.colour { format!("\u{1b}[{}m{word}\u{1b}[0m", state.colour()) } else { word }
    }

    /// A heading.
    pub fn strong(&self, text: &str) -> String {
        if self.colour { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// `  ok    sign-in          the text`, with what does not fit below.
    pub fn noted(&self, state: State, about: &str, text: &str) -> Vec<String> {
        const INDENT: usize = 25;
        let width = if self.terminal { WIDTH - INDENT } else { usize::MAX };
        let mut lines = text.lines().flat_map(|line| words::wrap(line, width));
        let first = lines.next().unwrap_or_default();
        let mut all = vec![format!("  {}  {about:<16} {first}", self.state(state)).trim_end().to_owned()];
        all.extend(lines.map(|line| format!("{:INDENT$}{line}", "")));
        all
    }

    /// A table without borders; empty columns at the end of a row are fine.
    pub fn table(&self, heads: &[&str], right: &[usize], rows: Vec<Vec<String>>) {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(heads.to_vec());
        for row in rows {
            // A cell of several lines would tear the table apart.
            table.add_row(row.into_iter().map(|cell| cell.replace(['\n', '\r', '\t'], " ")).collect::<Vec<_>>());
        }
        for at in 0..heads.len() {
            if let Some(column) = table.column_mut(at) {
                column.set_padding((0, 2));
                if right.contains(&at) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        for (at, line) in table.lines().enumerate() {
            let line = line.trim_end();
            if at == 0 { self.line(self.strong(line)) } else { self.line(line) }
        }
    }

    /// A time with how long ago it was.
    pub fn when(&self, time: Timestamp) -> String {
        words::when(time, self.now, &self.zone)
    }

    /// How long ago, or in how long.
    pub fn ago(&self, time: Timestamp) -> String {
        words::ago(time, self.now)
    }

    /// The exact time.
    pub fn exact(&self, time: Timestamp) -> String {
        words::exact(time, self.now, &self.zone)
    }
}
