//! Deserializes a table into a type of the rest of the program: a new option needs no second list here.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    problem::Place,
    reader::Table,
    suggest::did_you_mean,
    values::{Wrong, kind_of, quoted},
};
use crate::model::{LeaverRules, OrganizationNameError, PatternError, RoleNameError, TemplateError};

/// Reads the table under this key, the default if it is missing, and whether it is valid; all errors are reported.
pub(super) fn typed<T>(table: &Table<'_>, key: &'static str, help: &str) -> Option<(T, bool)>
where
    T: DeserializeOwned + Default,
{
    let Some(written) = table.raw(key) else { return Some((T::default(), true)) };
    let DeValue::Table(_) = written.get_ref() else {
        let wrong = Wrong::new(format!("this is {}, but a table is expected", kind_of(written.get_ref()))).help(help);
        table.wrong(key, Place::Span(written.span()), wrong);
        return None;
    };
    all_errors(table, key, written)
}

/// An element of a list of tables, as it was read and as it was written.
pub(super) struct Written<'t, T> {
    pub read: T,
    pub value: &'t Spanned<DeValue<'t>>,
}

/// Reads the list of tables under this key, empty if it is missing; `None`: it is invalid. All errors are reported.
pub(super) fn typed_list<'t, T>(table: &Table<'t>, key: &'static str, help: &str) -> Option<Vec<Written<'t, T>>>
where
    T: DeserializeOwned,
{
    let Some(written) = table.raw(key) else { return Some(Vec::new()) };
    let wrong = |value: &Spanned<DeValue<'_>>, expected: &str| {
        let wrong = Wrong::new(format!("this is {}, but {expected} is expected", kind_of(value.get_ref())));
        table.wrong(key, Place::Span(value.span()), wrong.help(help));
    };
    let DeValue::Array(items) = written.get_ref() else {
        wrong(written, "a list of tables");
        return None;
    };
    let (mut all, mut fine) = (Vec::new(), true);
    for value in items {
        let DeValue::Table(_) = value.get_ref() else {
            wrong(value, "a table");
            fine = false;
            continue;
        };
        match all_errors(table, key, value) {
            Some((read, true)) => all.push(Written { read, value }),
            _ => fine = false,
        }
    }
    fine.then_some(all)
}

/// Collects all errors. Serde stops at the first, so its entry is recorded and removed until the rest is valid.
fn all_errors<T: DeserializeOwned>(table: &Table<'_>, key: &str, written: &Spanned<DeValue<'_>>) -> Option<(T, bool)> {
    let mut rest = written.clone();
    let (mut reported, mut removed): (Vec<Range<usize>>, Vec<String>) = Default::default();
    loop {
        match T::deserialize(ValueDeserializer::from(rest.clone())) {
            Ok(read) => return Some((read, reported.is_empty())),
            Err(error) => {
                let span = error.span().unwrap_or_else(|| written.span());
                let name = path_at(written.get_ref(), &span).map_or(key.to_owned(), |path| format!("{key}.{path}"));
                // An entry that is incomplete only because of that removal is already reported.
                let is_known = |known: &String| error.message().starts_with(&format!("missing field `{known}`"));
                if !reported.iter().any(|inner| holds(&span, inner)) && !removed.iter().any(is_known) {
                    table.wrong(&name, Place::Span(span.clone()), explain(error.message()));
                }
                reported.push(span.clone());
                removed.extend(name.rsplit('.').next().map(str::to_owned));
                let DeValue::Table(inner) = rest.get_mut() else { return None };
                if !remove(inner, &span) {
                    return None;
                }
            }
        }
    }
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Returns the keys on the path to a span, such as `safety.count`.
fn path_at(value: &DeValue<'_>, span: &Range<usize>) -> Option<String> {
    let DeValue::Table(table) = value else { return None };
    table.iter().find_map(|(key, value)| match path_at(value.get_ref(), span) {
        Some(rest) => Some(format!("{}.{rest}", key.get_ref())),
        None if holds(&key.span(), span) || holds(&value.span(), span) => Some(key.get_ref().to_string()),
        None => None,
    })
}

/// Removes the innermost entry with the span in its key or value.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        let here = holds(&key.span(), span) || holds(&value.span(), span);
        if let DeValue::Table(inner) = value.get_mut()
            && remove(inner, span)
        {
            return true;
        }
        if here {
            found = Some(key.get_ref().to_string());
            break;
        }
    }
    found.is_some_and(|key| table.remove(key.as_str()).is_some())
}

/// Rewords an error of serde, and suggests the name that was probably meant.
fn explain(message: &str) -> Wrong {
    let first_line = message.trim().lines().next().unwrap_or_default();
    // "unknown field `x`, expected one of `a`, `b`"
    let mut words = first_line.split('`').skip(1).step_by(2);
    if first_line.starts_with("unknown ") {
        let written = words.next().unwrap_or_default();
        let known: Vec<&str> = words.collect();
        let help =
            did_you_mean(written, known.iter().copied()).unwrap_or_else(|| format!("known here: {}", known.join(", ")));
        return Wrong::new(format!("{} is not known here", quoted(written))).help(help);
    }
    if first_line.starts_with(LeaverRules::NO_DURATION) {
        return Wrong::new("this is not a duration").help("write it in days or less, as \"7d\" or \"12h\"");
    }
    if first_line.contains("duration") {
        return Wrong::new("this is not a duration").help("write it in hours or less, as \"24h\" or \"30m\"");
    }
    if first_line.starts_with(TemplateError::PREFIX) {
        return Wrong::new(first_line).help("as \"{{ attributes.title }}\"; all forms: docs/templates.md");
    }
    if first_line.starts_with(PatternError::PREFIX) {
        return Wrong::new(first_line).help("`*` stands for any text, in paths without `/`; `**` also across `/`");
    }
    if first_line.starts_with(RoleNameError::PREFIX) {
        return Wrong::new(first_line).help("as \"staff\" for a role of the realm, \"jira/user\" for one of a client");
    }
    if first_line.starts_with(OrganizationNameError::PREFIX) {
        return Wrong::new(first_line).help("write its alias, as \"acme\", or its name");
    }
    if let Some(missing) = first_line.strip_prefix("missing field ") {
        return Wrong::new(format!("there is no {missing}"));
    }
    if first_line.contains("expected a template") {
        return Wrong::new("a template is expected")
            .help("as \"{{ attributes.title }}\", or a table with the key template");
    }
    if first_line.contains("expected \"login\"") {
        return Wrong::new("this is not a key of matching").help(
            "write \"login\", \"email\", { login = \"{{ attributes.old_login }}\" } or { attribute = \"externalId\", equals \
             = \"{{ id }}\" }",
        );
    }
    match first_line.rsplit_once("expected ") {
        Some((_, "u32" | "u64" | "usize")) => Wrong::new("a whole number of at least 0 is expected"),
        Some((_, "f64")) => Wrong::new("a number is expected"),
        Some((_, "a string")) => Wrong::new("a string in quotes is expected"),
        Some((_, "a boolean")) => Wrong::new("true or false, without quotes, is expected"),
        Some((_, "a sequence")) => Wrong::new("a list is expected").help("write it in brackets: [\"…\"]"),
        Some((_, "a text or false")) => Wrong::new("a string in quotes, or false for none, is expected"),
        _ => Wrong::new("this value is not accepted here"),
    }
}
