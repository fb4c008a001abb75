//! The filters that templates have in addition to those of Jinja.

use std::{
    collections::HashMap,
    sync::{LazyLock, PoisonError, RwLock},
};

use jiff::{Timestamp, civil, fmt::strtime, tz::TimeZone};
use minijinja::{Environment, Error, ErrorKind, Value};
use regex::Regex;

/// Maximum number of cached compiled patterns; a configuration has a handful.
const PATTERNS: usize = 256;

/// Adds the filters to an environment.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("regex_replace", regex_replace);
    environment.add_filter("matches", matches);
    environment.add_test("matching", matches);
    environment.add_filter("strip_domain", strip_domain);
    environment.add_filter("ascii_fold", ascii_fold);
    environment.add_filter("date", date);
}

fn text(value: &Value) -> String {
    if value.is_undefined() { String::new() } else { value.to_string() }
}

/// Filter `regex_replace(pattern, with)`: replaces each match; `$1` is the first group.
fn regex_replace(value: &Value, pattern: &str, with: &str) -> Result<String, Error> {
    let value = &text(value);
    with_regex(pattern, |regex| regex.replace_all(value, with).into_owned())
}

/// Filter `matches(pattern)`, and test `matching(pattern)`: whether a part of the text matches.
fn matches(value: &Value, pattern: &str) -> Result<bool, Error> {
    let value = &text(value);
    with_regex(pattern, |regex| regex.is_match(value))
}

/// Applies a pattern, which is compiled once.
fn with_regex<T>(pattern: &str, apply: impl Fn(&Regex) -> T) -> Result<T, Error> {
    static KEPT: LazyLock<RwLock<HashMap<String, Regex>>> = LazyLock::new(RwLock::default);
    if let Some(regex) = KEPT.read().unwrap_or_else(PoisonError::into_inner).get(pattern) {
        return Ok(apply(regex));
    }
    let regex = Regex::new(pattern).map_err(|error| {
        let text = error.to_string();
        let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        Error::new(ErrorKind::InvalidOperation, format!("the pattern {pattern} is invalid: {why}"))
    })?;
    let made = apply(&regex);
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < PATTERNS {
        kept.insert(pattern.to_owned(), regex);
    }
    Ok(made)
}

/// Filter `strip_domain`: the part before the last `@`, or after a `DOMAIN\`.
fn strip_domain(value: &Value) -> String {
    let text = text(value);
    let text = text.rsplit_once('@').map_or(text.as_str(), |(name, _)| name);
    text.rsplit_once('\\').map_or(text, |(_, name)| name).to_owned()
}

/// Filter `ascii_fold`: letters of other alphabets and with accents as ASCII.
fn ascii_fold(value: &Value) -> String {
    deunicode::deunicode(&text(value))
}

/// Filter `date(format)`: a date or time in the format of `strftime`. It reads ISO 8601, LDAP's `20260131120000Z`, and
/// milliseconds since 1970, as Keycloak writes them.
fn date(value: &Value, format: &str) -> Result<String, Error> {
    let text = text(value);
    let text = text.trim();
    if text.is_empty() {
        return Ok(String::new());
    }
    let invalid = |why: String| Error::new(ErrorKind::InvalidOperation, why);
    let time = moment(text).ok_or_else(|| invalid(format!("{text} is not a date or time")))?;
    strtime::format(format, &time.to_zoned(TimeZone::UTC)).map_err(|why| invalid(format!("format {format}: {why}")))
}

fn moment(text: &str) -> Option<Timestamp> {
    let utc = |at: civil::DateTime| at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    if text.len() > 10 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Timestamp::from_millisecond(text.parse().ok()?).ok();
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(at) = text.parse::<civil::DateTime>() {
        return utc(at);
    }
    let without_fraction = text.split_once('.').map_or_else(|| text.to_owned(), |(whole, _)| format!("{whole}Z"));
    civil::DateTime::strptime("%Y%m%d%H%M%SZ", without_fraction).ok().and_then(utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_works_the_same_on_every_use() {
        let replaced = |value: &str, pattern: &str, with| regex_replace(&Value::from(value), pattern, with).unwrap();
        for _ in 0..2 {
            for n in 0..PATTERNS + 4 {
                assert_eq!(replaced(&format!("a{n}b a{n}c"), &format!("a{n}([bc])"), "<$1>"), "<b> <c>");
            }
        }
        assert_eq!(regex_replace(&Value::UNDEFINED, "^$", "none").unwrap(), "none");
        assert_eq!(regex_replace(&Value::from(4711), "7", "-").unwrap(), "4-11");
    }

    #[test]
    fn a_domain_is_stripped_from_a_login() {
        for (text, expected) in [
            ("ada@corp.example", "ada"),
            ("ada@old@corp.example", "ada@old"),
            ("CORP\\ada", "ada"),
            ("ada", "ada"),
            ("", ""),
        ] {
            assert_eq!(strip_domain(&Value::from(text)), expected, "{text}");
        }
        assert_eq!(strip_domain(&Value::UNDEFINED), "");
    }

    #[test]
    fn letters_become_ascii() {
        for (text, expected) in
            [("Łukasz Müller-Strauß", "Lukasz Muller-Strauss"), ("Ærøskøbing", "AEroskobing"), ("ada", "ada")]
        {
            assert_eq!(ascii_fold(&Value::from(text)), expected);
        }
    }

    #[test]
    fn dates_are_read_in_the_forms_that_directories_use() {
        for (text, expected) in [
            ("2026-01-31", "31.01.2026"),
            ("2026-01-31T23:30:00Z", "31.01.2026"),
            ("2026-01-31T23:30:00+02:00", "31.01.2026"),
            ("2026-01-31T12:00", "31.01.2026"),
            ("20260131120000Z", "31.01.2026"),
            ("20260131120000.0Z", "31.01.2026"),
            ("1769860800000", "31.01.2026"),
            (" ", ""),
        ] {
            assert_eq!(date(&Value::from(text), "%d.%m.%Y").unwrap(), expected, "{text}");
        }
        for (text, format, why) in [
            ("soon", "%Y", "soon is not a date or time"),
            ("20261331120000Z", "%Y", "20261331120000Z is not"),
            ("2026-01-31", "%", "format %: "),
        ] {
            let error = date(&Value::from(text), format).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
