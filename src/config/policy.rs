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
    values::{Wrong, kind_of},
};
use crate::model::Policy;

pub(super) fn policy(connector: &Table<'_>) -> Option<Policy> {
    let Some((_, written)) = connector.raw("policy") else { return Some(Policy::default()) };
    let DeValue::Table(content) = written.get_ref() else {
        let wrong = Wrong::new(format!("this is {}, where a table is wanted", kind_of(written.get_ref())))
            .help("write [connector.policy] below its [[connector]]");
        connector.wrong("policy", Place::Span(written.span()), wrong);
        return None;
    };
    let policy = all_errors(connector, written)?;
    let safety = content.get("safety").map(Spanned::get_ref);
    let limits = [("percent", policy.safety.percent), ("leave_percent", policy.safety.leave_percent)];
    let mut fine = true;
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

/// Serde stops at its first error; what it points at is noted and left out, until the rest is fine.
fn all_errors(connector: &Table<'_>, written: &Spanned<DeValue<'_>>) -> Option<Policy> {
    let mut rest = written.clone();
    let mut fine = true;
    loop {
        match Policy::deserialize(ValueDeserializer::from(rest.clone())) {
            Ok(policy) => return fine.then_some(policy),
            Err(error) => {
                fine = false;
                let span = error.span().unwrap_or_else(|| written.span());
                connector.wrong("policy", Place::Span(span.clone()), explain(error.message()));
                let DeValue::Table(table) = rest.get_mut() else { return None };
                if !remove(table, &span) {
                    return None;
                }
            }
        }
    }
}

/// Takes the innermost entry out whose key or value holds the span.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let inside = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let mut found = None;
    for (key, value) in table.iter_mut() {
        if inside(key.span()) {
            found = Some(key.clone());
            break;
        }
        let within = inside(value.span());
        if let DeValue::Table(inner) = value.get_mut()
            && remove(inner, span)
        {
            return true;
        }
        if within {
            found = Some(key.clone());
            break;
        }
    }
    found.is_some_and(|key| table.remove(key.get_ref().as_ref()).is_some())
}

/// Serde's words, with a guess at what was meant.
fn explain(message: &str) -> Wrong {
    let message = message.trim();
    let wrong = Wrong::new(message.lines().next().unwrap_or_default());
    if !message.starts_with("unknown ") {
        return wrong;
    }
    // "unknown field `x`, expected one of `a`, `b`"
    let mut quoted = message.split('`').skip(1).step_by(2);
    let written = quoted.next().unwrap_or_default();
    match did_you_mean(written, quoted) {
        Some(help) => wrong.help(help),
        None => wrong,
    }
}
