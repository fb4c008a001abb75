//! A run's report as people read it.

use jiff::SignedDuration;

use super::{
    out::{Out, State},
    words::{count, some, thin, took},
};
use crate::{
    engine::{Counts, Line, Report},
    model::{Limited, Operation, Pair},
};

/// The verbs in the order in which they are shown, with what is counted.
const VERBS: [(&str, &str, &str); 13] = [
    ("create_group", "group", "groups"),
    ("adopt_group", "group", "groups"),
    ("delete_group", "group", "groups"),
    ("create", "user", "users"),
    ("adopt", "account", "accounts"),
    ("relink", "account", "accounts"),
    ("update", "user", "users"),
    ("rename", "user", "users"),
    ("activate", "user", "users"),
    ("deactivate", "user", "users"),
    ("delete", "user", "users"),
    ("join", "membership", "memberships"),
    ("leave", "membership", "memberships"),
];

/// How many names a line shows.
const NAMES: usize = 3;
/// How many findings of one kind are shown without `--list`.
const FINDINGS: usize = 5;

/// What is limited, as people count it.
pub(super) fn limited(kind: Limited) -> &'static str {
    match kind {
        Limited::Deactivate => "deactivations",
        Limited::Delete => "deletions",
        Limited::Rename => "renames",
        Limited::ChangeEmail => "changes of e-mail addresses",
        Limited::ClearAttributes => "cleared attributes",
        Limited::DeleteGroup => "deletions of groups",
        Limited::Leave => "removed memberships",
        Limited::DropLink => "dropped links",
    }
}

/// The first line: who, what was read, how long it took.
pub(super) fn head(out: &Out, pair: &Pair, report: &Report) {
    let complete = if report.doubt.is_none() { "complete" } else { "not complete" };
    out.line(format!(
        "{}    source: {}, {} ({complete})    target: {}    took {}",
        out.strong(&pair.to_string()),
        count(report.users, "user", "users"),
        count(report.groups, "group", "groups"),
        count(report.accounts, "account", "accounts"),
        took(SignedDuration::from_millis(report.took_ms)),
    ));
    out.line(format!("in scope {} of {}", thin(report.in_scope), thin(report.users)));
}

/// A table of counts by verb, with some names where they are known.
pub(super) fn counts(out: &Out, counts: &Counts, lines: &[Line]) {
    for (verb, one, many) in VERBS {
        let Some(number) = counts.get(verb).filter(|number| **number > 0) else { continue };
        let what = format!("{} {}", thin(*number), if *number == 1 { one } else { many });
        let names = names(verb, lines, usize::try_from(*number).unwrap_or(usize::MAX));
        out.line(format!("  {:<12} {what:<20} {names}", verb.replace('_', " ")).trim_end());
    }
}

fn names(verb: &str, lines: &[Line], all: usize) -> String {
    let of_verb: Vec<&Operation> = lines.iter().map(|line| &line.operation).filter(|o| o.verb() == verb).collect();
    if verb == "update" {
        let mut parts: Vec<(&str, usize)> = Vec::new();
        for operation in &of_verb {
            let Operation::UpdateUser { fields, .. } = operation else { continue };
            for name in fields.names() {
                match parts.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, number)) => *number += 1,
                    None => parts.push((name, 1)),
                }
            }
        }
        return parts.iter().map(|(what, number)| format!("{} {what}", thin(*number))).collect::<Vec<_>>().join(", ");
    }
    let names: Vec<String> = of_verb.into_iter().map(short).collect();
    some(names.iter().map(String::as_str), NAMES, all)
}

/// The operation without its verb.
fn short(operation: &Operation) -> String {
    match operation {
        Operation::RenameUser { name, to, .. } | Operation::RenameGroup { name, to, .. } => format!("{name} → {to}"),
        Operation::AddMember { name, group_name, .. } => format!("{name} to {group_name}"),
        Operation::RemoveMember { name, group_name, .. } => format!("{name} from {group_name}"),
        Operation::CreateUser { name, .. }
        | Operation::UpdateUser { name, .. }
        | Operation::ActivateUser { name, .. }
        | Operation::DeactivateUser { name, .. }
        | Operation::DeleteUser { name, .. }
        | Operation::CreateGroup { name }
        | Operation::DeleteGroup { name, .. } => name.clone(),
    }
}

/// What a person should know or decide.
pub(super) fn findings(out: &Out, report: &Report, all: bool) {
    if let Some(doubt) = &report.doubt {
        tell(
            out,
            State::No,
            "doubt",
            &[format!("{doubt}. Users and groups that were not read are left as they are.")],
            true,
        );
    }
    tell(out, State::Note, "link dropped", &report.dropped_links, all);
    tell(out, State::Note, "not possible", &report.not_possible, all);
    tell(out, State::Wait, "conflict", &report.conflicts, all);
    tell(out, State::No, "not believed", &report.doubts, all);
    let kept =
        report.kept.iter().map(|(why, number)| format!("{why} ({})", count(*number, "membership", "memberships")));
    tell(out, State::Note, "kept", &kept.collect::<Vec<_>>(), all);
    tell(out, State::No, "repeated", &report.repeated, all);
    tell(out, State::No, "failed", &report.errors, all);
}

fn tell(out: &Out, state: State, about: &str, texts: &[String], all: bool) {
    let most = if all { usize::MAX } else { FINDINGS };
    for text in texts.iter().take(most) {
        out.lines(out.noted(state, about, text));
    }
    if texts.len() > most {
        let text = format!("and {} more; all of them: --list or --json", thin(texts.len() - most));
        out.lines(out.noted(state, about, &text));
    }
}

/// `Within the safety gate (3 of 519 deactivations).`
pub(super) fn gate(report: &Report) -> String {
    let told = |held: bool| {
        let parts = report.gate.iter().filter(move |(kind, _)| report.held_kinds.contains(kind) == held);
        parts.map(|(kind, (planned, limit))| format!("{} of {} {}", thin(*planned), thin(*limit), limited(*kind)))
    };
    let (past, within): (Vec<String>, Vec<String>) = (told(true).collect(), told(false).collect());
    let mut parts = Vec::new();
    if !past.is_empty() {
        parts.push(format!("Past the safety gate, so held whole for approval: {}.", past.join(", ")));
    }
    if !within.is_empty() {
        parts.push(format!("Within the safety gate ({}).", within.join(", ")));
    }
    if parts.is_empty() { "Nothing that the safety gate limits.".to_owned() } else { parts.join("  ") }
}

/// Why there is nothing to do, where that is so.
pub(super) fn why_nothing(report: &Report) -> Option<String> {
    if report.planned_total() > 0 {
        return None;
    }
    Some(if report.users == 0 {
        "Nothing to do: the realm has no users, or the client cannot see them. usersync check tells which.".to_owned()
    } else if report.in_scope == 0 {
        "Nothing to do: none of the users is in scope; all of them are service accounts of clients.".to_owned()
    } else if report.unchanged == report.in_scope {
        format!("Nothing to do: all {} are as they should be.", count(report.in_scope, "user", "users"))
    } else {
        "Nothing to do now; what is not in order is told above or waits for a person.".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_says_what_is_held_and_what_is_within() {
        let mut report = Report::default();
        assert_eq!(gate(&report), "Nothing that the safety gate limits.");
        report.gate.insert(Limited::Deactivate, (3, 519));
        assert_eq!(gate(&report), "Within the safety gate (3 of 519 deactivations).");
        report.gate.insert(Limited::Leave, (97, 20));
        report.held_kinds.push(Limited::Leave);
        assert_eq!(
            gate(&report),
            "Past the safety gate, so held whole for approval: 97 of 20 removed memberships.  Within the safety gate (3 of \
             519 deactivations)."
        );
    }

    #[test]
    fn every_verb_of_an_operation_is_shown() {
        let operation = Operation::CreateGroup { name: "eng".into() };
        assert!(VERBS.iter().any(|(verb, ..)| *verb == operation.verb()));
        assert_eq!(names("create_group", &[Line { subject: crate::model::Subject::group("1"), operation }], 1), "eng");
    }

    #[test]
    fn a_zero_is_explained() {
        let mut report = Report::default();
        assert!(why_nothing(&report).is_some_and(|why| why.contains("no users")));
        report.users = 2;
        assert!(why_nothing(&report).is_some_and(|why| why.contains("service accounts")));
        (report.in_scope, report.unchanged) = (2, 2);
        assert!(why_nothing(&report).is_some_and(|why| why.contains("all 2 users")));
        report.planned.insert("create".into(), 1);
        assert_eq!(why_nothing(&report), None);
    }
}
