//! Logs to standard error.

pub use usersync_clients::personal::{Personal, allow as allow_personal};

use std::io::{IsTerminal, Write};

use tracing::{Level, Subscriber};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, util::SubscriberInitExt};

use super::escape;
use crate::config::LogFormat;

/// The environment variable with a filter that is finer than the level, such as `info,usersync_clients::keycloak=debug`.
pub const FILTER_VARIABLE: &str = "USERSYNC_LOG";

/// Why logging could not be initialized.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is invalid.
    #[error(
        "environment variable {FILTER_VARIABLE}: `{filter}` is not a log filter: {why}. Write it as info or as warn,usersync_clients::keycloak=debug"
    )]
    Filter {
        /// The filter as written.
        filter: String,
        /// What is wrong with it.
        why: String,
    },
    /// Logging is already initialized.
    #[error("logging is already initialized")]
    Twice,
}

/// Initializes logging for the whole process. `USERSYNC_LOG` overrides the level; `NO_COLOR` is respected.
pub fn init(format: LogFormat, level: Level) -> Result<(), LogError> {
    let filter = filter(level, std::env::var(FILTER_VARIABLE).ok().as_deref())?;
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = !no_colour && std::io::stderr().is_terminal();
    subscriber(format, filter, colour, std::io::stderr).try_init().map_err(|_| LogError::Twice)
}

/// Returns the filter: usersync at its level, libraries at most at `warn`.
fn filter(level: Level, finer: Option<&str>) -> Result<EnvFilter, LogError> {
    let text = match finer.map(str::trim).filter(|finer| !finer.is_empty()) {
        Some(finer) => finer.to_owned(),
        None => format!("{},usersync={level}", level.min(Level::WARN)),
    };
    EnvFilter::builder().parse(&text).map_err(|error| LogError::Filter { filter: text, why: error.to_string() })
}

/// Creates writers that escape characters that act on a terminal or resemble another line.
struct Escaping<W> {
    to: W,
    format: LogFormat,
    colour: bool,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Escaping<W> {
    type Writer = EscapingWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapingWriter { to: self.to.make_writer(), format: self.format, colour: self.colour }
    }
}

struct EscapingWriter<W> {
    to: W,
    format: LogFormat,
    colour: bool,
}

impl<W: Write> Write for EscapingWriter<W> {
    /// Writes a whole line, as `tracing_subscriber` passes it.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (text, end) = text.strip_suffix('\n').map_or((text.as_ref(), ""), |text| (text, "\n"));
        let shown = match self.format {
            LogFormat::Json => escape::json(text).into_owned(),
            LogFormat::Text if self.colour => coloured(text),
            LogFormat::Text => escape::text(text).into_owned(),
        };
        self.to.write_all(shown.as_bytes())?;
        self.to.write_all(end.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

/// Keeps the colours of `tracing_subscriber`, which has already escaped the escape character in logged values.
fn coloured(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (nth, part) in text.split("\u{1b}[").enumerate() {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match rest.strip_prefix('m') {
            Some(rest) if nth > 0 => {
                shown.push_str("\u{1b}[");
                shown.push_str(&part[..part.len() - rest.len()]);
                shown.push_str(&escape::text(rest));
            }
            _ if nth > 0 => shown.push_str(&escape::text(&format!("\u{1b}[{part}"))),
            _ => shown.push_str(&escape::text(part)),
        }
    }
    shown
}

fn subscriber<W>(format: LogFormat, filter: EnvFilter, colour: bool, to: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Escaping { to, format, colour });
    match format {
        LogFormat::Text => Box::new(lines.with_ansi(colour).finish()),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).with_span_list(false).finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::Arc};

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: Level, finer: Option<&str>) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = subscriber(format, filter(level, finer).unwrap(), false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(connector = "acme", "run ended");
            tracing::info!(target: "hyper::client", "library talk");
            tracing::debug!("detail");
        });
        String::from_utf8(buffer.0.lock().clone()).unwrap()
    }

    #[test]
    fn text_lines_are_without_colour_codes_where_none_are_wanted() {
        let text = logged(LogFormat::Text, Level::INFO, None);
        assert!(text.contains("INFO usersync::telemetry::logs::tests: run ended connector=\"acme\""), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains("detail") && !text.contains("library talk"), "{text}");
    }

    #[test]
    fn json_lines_are_flat_objects() {
        let text = logged(LogFormat::Json, Level::INFO, None);
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(
            (&line["message"], &line["connector"], &line["level"]),
            (&"run ended".into(), &"acme".into(), &"INFO".into())
        );
    }

    #[test]
    fn the_filter_goes_before_the_level() {
        assert_eq!(logged(LogFormat::Text, Level::INFO, Some("error")), "");
        assert!(logged(LogFormat::Text, Level::ERROR, Some("hyper=info")).contains("library talk"));
        assert!(logged(LogFormat::Text, Level::DEBUG, Some(" ")).contains("detail"));
    }

    /// Returns one log line with hostile text in every field that can contain foreign text.
    fn hostile(format: LogFormat, colour: bool) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = subscriber(format, filter(Level::INFO, None).unwrap(), colour, move || writer.clone());
        let evil = "x\n2026-11-30T10:00:00Z ERROR usersync: forged\r\u{1b}[2J\u{9b}31m\u{202e}gpj.exe\u{2028}\u{7}";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(connector = %evil, debugged = ?evil, plain = evil, "refused: {evil}");
        });
        String::from_utf8(buffer.0.lock().clone()).unwrap()
    }

    #[test]
    fn nobody_forges_a_line_or_acts_on_the_terminal() {
        let acts = |c: char| c.is_control() || "\u{202e}\u{2028}\u{2066}".contains(c);
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = hostile(format, false);
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.chars().any(acts), "{line:?}");
            assert_eq!(line.matches("forged").count(), 4, "{line}");
        }
        let coloured = hostile(LogFormat::Text, true);
        let line = coloured.strip_suffix('\n').unwrap();
        assert!(line.contains("\u{1b}[33m") && !line.contains("\u{1b}[2J") && !line.contains('\u{9b}'), "{line:?}");
        assert!(!line.chars().any(|c| acts(c) && c != '\u{1b}'), "{line:?}");
    }

    #[test]
    fn a_wrong_filter_is_told() {
        let error = filter(Level::INFO, Some("usersync=loud")).unwrap_err().to_string();
        assert!(error.starts_with("environment variable USERSYNC_LOG: `usersync=loud` is not a log filter"), "{error}");
    }
}
