//! Reads `[connector.policy]` straight into the model's type, so that a new option there needs no second list here.

use std::ops::Range;

use serde::Deserialize;
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
use crate::model::{Policy, TemplateError};

pub(super) fn policy(connector: &Table<'_>) -> Option<Policy> {
    let Some(written) = connector.raw("policy") else { return Some(Policy::default()) };
    let DeValue::Table(content) = written.get_ref() else {
        let wrong = Wrong::new(format!("this is {}, where a table is wanted", kind_of(written.get_ref())))
            .help("write [connector.policy] below its [[connector]]");
        connector.wrong("policy", Place::Span(written.span()), wrong);
        return None;
    };
    let (policy, mut fine) = all_errors(connector, written)?;
    let safety = content.get("safety").map(Spanned::get_ref);
    let limits = [("percent", policy.safety.percent), ("leave_percent", policy.safety.leave_percent)];
    for (key, percent) in limits {
        if !(0.0..=50.0).contains(&percent) {
            let place = match safety {
                Some(DeValue::Table(table)) => table.get(key).map_or(written.span(), Spanned::span),
                _ => written.span(),
            };
            let wrong = Wrong::new(format!("{percent} is not 0 to 50"))
                .help("no limit lets more than half go; the way past a limit is approval");
            connector.wrong(&format!("policy.safety.{key}"), Place::Span(place), wrong);
            fine = false;
        }
    }
    fine.then_some(policy)
}

/// Where the policy has the last of these keys, each in the table of the one before.
pub(super) fn place_in_policy(connector: &Table<'_>, path: &[&str]) -> Place {
    let mut value = connector.raw("policy");
    let mut place = None;
    for key in path {
        let Some(DeValue::Table(table)) = value.map(Spanned::get_ref) else { break };
        let Some((name, inner)) = table.iter().find(|(name, _)| name.get_ref() == key) else { break };
        place = Some(Place::Span(name.span()));
        value = Some(inner);
    }
    place.unwrap_or_else(|| connector.place_of("policy"))
}

/// Serde stops at its first error; what it points at is noted and left out, until the rest is fine.
fn all_errors(connector: &Table<'_>, written: &Spanned<DeValue<'_>>) -> Option<(Policy, bool)> {
    let mut rest = written.clone();
    let mut told: Vec<Range<usize>> = Vec::new();
    loop {
        match Policy::deserialize(ValueDeserializer::from(rest.clone())) {
            Ok(policy) => return Some((policy, told.is_empty())),
            Err(error) => {
                let span = error.span().unwrap_or_else(|| written.span());
                let name =
                    path_at(written.get_ref(), &span).map_or("policy".to_owned(), |path| format!("policy.{path}"));
                // What lacks something only since that was left out is told of already.
                if !told.iter().any(|inner| holds(&span, inner)) {
                    connector.wrong(&name, Place::Span(span.clone()), explain(error.message()));
                }
                told.push(span.clone());
                let DeValue::Table(table) = rest.get_mut() else { return None };
                if !remove(table, &span) {
                    return None;
                }
            }
        }
    }
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// The keys on the way to a span, as `safety.count`.
fn path_at(value: &DeValue<'_>, span: &Range<usize>) -> Option<String> {
    let DeValue::Table(table) = value else { return None };
    table.iter().find_map(|(key, value)| match path_at(value.get_ref(), span) {
        Some(rest) => Some(format!("{}.{rest}", key.get_ref())),
        None if holds(&key.span(), span) || holds(&value.span(), span) => Some(key.get_ref().to_string()),
        None => None,
    })
}

/// Takes the innermost entry out whose key or value holds the span.
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

/// Serde's words in ours, with a guess at what was meant.
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
    if first_line.contains("duration") {
        return Wrong::new("this is not a duration").help("write it in hours or less, as \"24h\" or \"30m\"");
    }
    if first_line.starts_with(TemplateError::PREFIX) {
        return Wrong::new(first_line).help("as \"{{ attributes.title }}\"; all that it can be: docs/targets/scim.md");
    }
    if let Some(missing) = first_line.strip_prefix("missing field ") {
        return Wrong::new(format!("there is no {missing}"));
    }
    if first_line.contains("expected a template") {
        return Wrong::new("a template is wanted")
            .help("as \"{{ attributes.title }}\", or a table with it as template");
    }
    match first_line.rsplit_once("expected ") {
        Some((_, "u32" | "u64" | "usize")) => Wrong::new("a whole number from 0 up is wanted"),
        Some((_, "f64")) => Wrong::new("a number is wanted"),
        _ => Wrong::new("this value is not taken here"),
    }
}
