//! Prints the report of a run.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{
    out::{Out, State},
    words::{bytes, count, sentence, some, thin, took},
};
use crate::{
    engine::{Counts, DriftReport, Line, Listed, Report},
    model::{Action, ApprovalKind, CallCost, DriftKind, Handling, Limited, Linking, Operation, Pair},
};

/// Verbs in display order, each with the singular and the plural of what is counted.
const VERBS: [(&str, &str, &str); 16] = [
    ("create_group", "group", "groups"),
    ("adopt_group", "group", "groups"),
    ("rename_group", "group", "groups"),
    ("delete_group", "group", "groups"),
    ("create", "user", "users"),
    ("adopt", "account", "accounts"),
    ("relink", "account", "accounts"),
    ("drop_link", "link", "links"),
    ("update", "user", "users"),
    ("rename", "user", "users"),
    ("activate", "user", "users"),
    ("deactivate", "user", "users"),
    ("delete", "user", "users"),
    ("anonymize", "user", "users"),
    ("add_member", "membership", "memberships"),
    ("remove_member", "membership", "memberships"),
];

/// Maximum number of names on a line.
const NAMES: usize = 3;
/// Maximum number of findings of one kind without `--list`.
const FINDINGS: usize = 5;

/// Describes why an approval is required.
pub(super) fn why(kind: ApprovalKind) -> String {
    match kind {
        ApprovalKind::SafetyLimit(kind) => format!("safety limit reached: {}", limited(kind)),
        ApprovalKind::FirstRun => "first run".to_owned(),
        ApprovalKind::Adoption => "existed before usersync".to_owned(),
        ApprovalKind::Activation => "inactive account".to_owned(),
        ApprovalKind::ProtectedLeaver => "an administrator, or a member of a frozen group, left".to_owned(),
        ApprovalKind::AdoptedGroup => "members of a group that existed before usersync".to_owned(),
        ApprovalKind::Federation => "removals that the federation provider cannot confirm".to_owned(),
    }
}

/// Returns the plural noun for a limited kind of operation.
pub(super) fn limited(kind: Limited) -> &'static str {
    match kind {
        Limited::Deactivate => "deactivations",
        Limited::Delete => "deletions",
        Limited::Rename => "renames",
        Limited::ChangeEmail => "changes of e-mail addresses",
        Limited::ClearAttributes => "cleared attributes",
        Limited::RenameGroup => "renames of groups",
        Limited::DeleteGroup => "deletions of groups",
        Limited::RemoveMember => "removed memberships",
        Limited::DropLink => "dropped links",
    }
}

/// Prints the head of a report: the pair, what was read, how long it took, and what the calls cost.
pub(super) fn head(out: &Out, pair: &Pair, report: &Report) {
    let complete = if report.incomplete.is_none() { "complete" } else { "not complete" };
    out.prose(
        4,
        format!(
            "{}    source: {}, {} ({complete})    target: {}    took {}",
            out.strong(&pair.to_string()),
            count(report.users, "user", "users"),
            count(report.groups, "group", "groups"),
            count(report.accounts, "account", "accounts"),
            took(SignedDuration::from_millis(report.took_ms)),
        ),
    );
    let cost = [("source", report.evidence.source.cost), ("target", report.evidence.target.cost)];
    let cost =
        cost.iter().filter(|(_, cost)| cost.calls > 0).map(|(side, cost)| format!("    {side}: {}", calls(cost)));
    let cost: String = cost.collect();
    if !cost.is_empty() {
        out.prose(4, format!("cost{cost}"));
    }
    let others = if report.only_scope { "; users outside the required groups were not read" } else { "" };
    out.prose(4, format!("in scope {} of {}{others}", thin(report.in_scope), thin(report.users)));
    if report.policy_changed {
        out.prose(
            4,
            "The policy was changed since the last full reconcile; what follows from that is included.".to_owned(),
        );
    }
}

/// Describes what calls cost, such as `12 calls, 34.1 kB, 812 ms`.
fn calls(cost: &CallCost) -> String {
    let time = SignedDuration::try_from(cost.time()).unwrap_or(SignedDuration::MAX);
    format!("{}, {}, {}", count(cost.calls, "call", "calls"), bytes(cost.bytes), took(time))
}

/// Prints the counts by verb, with some names if they are known.
pub(super) fn counts(out: &Out, counts: &Counts, lines: &[Line]) {
    for (verb, one, many) in VERBS {
        let Some(number) = counts.get(verb).filter(|number| **number > 0) else { continue };
        let what = format!("{} {}", thin(*number), if *number == 1 { one } else { many });
        let names = names(verb, lines, usize::try_from(*number).unwrap_or(usize::MAX));
        out.prose(37, format!("  {:<13} {what:<20} {names}", verb.replace('_', " ")).trim_end());
    }
}

fn names(verb: &str, lines: &[Line], all: usize) -> String {
    let of_verb: Vec<&Action> = lines.iter().map(|line| &line.operation).filter(|one| one.verb() == verb).collect();
    if verb == "update" {
        let mut parts: Vec<(&str, usize)> = Vec::new();
        for operation in &of_verb {
            let Action::Write(Operation::UpdateUser { fields, .. }) = operation else { continue };
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

/// Describes an operation without its verb.
fn short(action: &Action) -> String {
    let operation = match action {
        Action::Write(operation) => operation,
        Action::Link(Linking::AdoptUser { account, .. }) => return account.login.clone(),
        Action::Link(Linking::RelinkUser { user, .. }) => return user.login.clone(),
        Action::Link(Linking::AdoptGroup { name, .. } | Linking::DropLink { name, .. }) => return name.clone(),
        Action::Link(Linking::AddCreated { group_name, name, .. }) => return format!("{name} to {group_name}"),
    };
    match operation {
        Operation::RenameUser { name, to, .. } | Operation::RenameGroup { name, to, .. } => format!("{name} → {to}"),
        Operation::AddMember { name, group_name, .. } => format!("{name} to {group_name}"),
        Operation::RemoveMember { name, group_name, .. } => format!("{name} from {group_name}"),
        Operation::CreateUser { name, .. }
        | Operation::UpdateUser { name, .. }
        | Operation::ActivateUser { name, .. }
        | Operation::DeactivateUser { name, .. }
        | Operation::DeleteUser { name, .. }
        | Operation::AnonymizeUser { name, .. }
        | Operation::CreateGroup { name }
        | Operation::DeleteGroup { name, .. } => name.clone(),
    }
}

/// Describes whether the target's licence has seats for a plan; `None`: that is not known, or the plan takes none.
fn seats(report: &Report) -> Option<(State, String)> {
    let seats = report.seats?;
    let remain = count(seats.remaining, "seat remains", "seats remain");
    let users = count(seats.needed, "user", "users");
    if seats.missing() == 0 {
        return Some((State::Note, format!("{remain}; the plan creates or activates {users}")));
    }
    let freed = report.planned.get("deactivate").copied().unwrap_or_default();
    let freed = match freed {
        0 => String::new(),
        freed => format!(" Some may become free: it deactivates {}.", count(freed, "user", "users")),
    };
    let have = if seats.missing() == 1 { "has" } else { "have" };
    let text = format!(
        "{remain}, but the plan creates or activates {users}: {} {have} no seat.{freed} Enlarge the licence, free seats \
         or narrow the scope",
        thin(seats.missing())
    );
    Some((State::No, text))
}

/// Prints the findings that an operator should know or decide.
pub(super) fn findings(out: &Out, report: &Report, all: bool) {
    if let Some((state, text)) = seats(report) {
        out.lines(out.noted(state, "seats", &text));
    }
    if let Some(incomplete) = &report.incomplete {
        let text = format!("{} Users and groups that were not read are left as they are.", sentence(incomplete));
        out.lines(out.noted(State::No, "incomplete read", &text));
    }
    print_finding(out, State::Note, "link dropped", &report.dropped_links, all);
    print_finding(out, State::Note, "protected", &report.not_changed, all);
    print_finding(out, State::Note, "leaving", &report.leaving, all);
    print_finding(out, State::Note, "unsupported", &report.unsupported, all);
    print_finding(out, State::Wait, "conflict", &report.conflicts, all);
    print_finding(out, State::No, "not confirmed", &report.unconfirmed, all);
    let kept =
        report.kept.iter().map(|(why, number)| format!("{why} ({})", count(*number, "membership", "memberships")));
    print_finding(out, State::Note, "kept", &kept.collect::<Vec<_>>().into(), all);
    print_drift(out, &report.drift, all);
    print_finding(out, State::No, "repeated", &report.repeated, all);
    print_finding(out, State::Note, "also done", &report.also_done, all);
    print_finding(out, State::No, "failed", &report.errors, all);
}

/// Prints the counts of drift, and the first entries.
fn print_drift(out: &Out, drift: &DriftReport, all: bool) {
    for line in drift_counts(drift) {
        out.lines(out.noted(State::Note, "drift", &line));
    }
    let most = if all { usize::MAX } else { FINDINGS };
    for line in drift.found.iter().take(most) {
        out.lines(out.noted(State::Note, "drift", &format!("{}: {} ({})", line.name, line.drift, line.handling.key())));
    }
    if let Some(more) = more(drift.total(), drift.found.len().min(most)) {
        out.lines(out.noted(State::Note, "drift", &format!("and {more} more: usersync drift")));
    }
}

/// Describes the counts of drift by kind, such as `display name changed: 12 mended, 1 held`.
pub(super) fn drift_counts(drift: &DriftReport) -> Vec<String> {
    let line = |(kind, by): (&DriftKind, &BTreeMap<Handling, u64>)| {
        let by = by.iter().map(|(handling, number)| format!("{} {}", thin(*number), handling.key()));
        format!("{}: {}", kind.what(), by.collect::<Vec<_>>().join(", "))
    };
    drift.counts.iter().map(line).collect()
}

fn print_finding(out: &Out, state: State, about: &str, texts: &Listed<String>, all: bool) {
    let most = if all { usize::MAX } else { FINDINGS };
    for text in texts.iter().take(most) {
        out.lines(out.noted(state, about, text));
    }
    if let Some(more) = more(texts.total(), texts.len().min(most)) {
        out.lines(out.noted(state, about, &format!("and {more} more")));
    }
}

/// Describes how many entries are not shown; `None`: all are shown.
fn more(total: u64, shown: usize) -> Option<String> {
    let more = total.saturating_sub(u64::try_from(shown).unwrap_or(u64::MAX));
    (more > 0).then(|| thin(more))
}

/// Prints every operation, one a line, with its cause and whether it waits for approval.
pub(super) fn list(out: &Out, lines: &Listed<Line>) {
    for line in lines.iter() {
        let cause = line.cause.as_ref().map(|cause| format!("    because: {cause}")).unwrap_or_default();
        let held = if line.held.is_some() { "    waits for approval" } else { "" };
        out.prose(4, format!("  {}{cause}{held}", line.operation));
    }
    if let Some(more) = more(lines.total(), lines.len()) {
        out.prose(4, format!("  and {more} more, which are not recorded"));
    }
}

/// Prints what a run that wrote did, found, and left for approval.
pub(super) fn done(out: &Out, report: &Report, all: bool) {
    counts(out, &report.done, &report.did);
    findings(out, report, all);
    nothing_done(out, report);
    outcome(out, report);
    waiting(out, report);
}

/// Prints why a run did or planned nothing.
pub(super) fn nothing_done(out: &Out, report: &Report) {
    if let Some(why) = &report.nothing_done {
        out.prose(4, why);
    }
}

/// Prints the outcome of the plan of a run that wrote; prints nothing if nothing was planned.
pub(super) fn outcome(out: &Out, report: &Report) {
    let tally = &report.tally;
    if tally.planned == 0 {
        return;
    }
    let parts = [
        (tally.done, "done"),
        (tally.held, "held"),
        (tally.unsupported, "unsupported"),
        (tally.failed, "failed"),
        (tally.postponed, "postponed"),
        (tally.obsolete, "no longer needed"),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = parts.map(|(number, what)| format!("{} {what}", thin(*number))).collect();
    out.prose(4, format!("Planned {}: {}.", count(tally.planned, "operation", "operations"), parts.join(", ")));
}

/// Prints what waits for approval after a run, and how to decide.
pub(super) fn waiting(out: &Out, report: &Report) {
    if report.held == 0 {
        return;
    }
    let mut kinds: Vec<_> = report.waiting.iter().map(|line| line.why).collect();
    kinds.sort();
    kinds.dedup();
    for kind in kinds {
        let what: Vec<&str> =
            report.waiting.iter().filter(|line| line.why == kind).map(|line| line.what.as_str()).collect();
        let shown = some(what.iter().copied(), NAMES, what.len());
        out.lines(out.noted(State::Held, &why(kind), &shown));
    }
    let held = count(report.held, "operation waits", "operations wait");
    out.prose(4, format!("{held} for approval: usersync approvals list"));
}

/// Describes the safety limits, such as `Within the safety limits (3 of 519 deactivations).`
pub(super) fn safety_limits(report: &Report) -> String {
    let reported = |held: bool| {
        let parts = report.limits.iter().filter(move |(kind, _)| report.limits_reached.contains(kind) == held);
        parts.map(|(kind, (planned, limit))| format!("{} of {} {}", thin(*planned), thin(*limit), limited(*kind)))
    };
    let (past, within): (Vec<String>, Vec<String>) = (reported(true).collect(), reported(false).collect());
    let mut parts = Vec::new();
    if !past.is_empty() {
        parts.push(format!("Above the safety limit, waiting for approval: {}.", past.join(", ")));
    }
    if !within.is_empty() {
        parts.push(format!("Within the safety limits ({}).", within.join(", ")));
    }
    if parts.is_empty() { "No operation that has a safety limit.".to_owned() } else { parts.join("  ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Seats;

    #[test]
    fn the_gate_says_what_is_held_and_what_is_within() {
        let mut report = Report::default();
        assert_eq!(safety_limits(&report), "No operation that has a safety limit.");
        report.limits.insert(Limited::Deactivate, (3, 519));
        assert_eq!(safety_limits(&report), "Within the safety limits (3 of 519 deactivations).");
        report.limits.insert(Limited::RemoveMember, (97, 20));
        report.limits_reached.push(Limited::RemoveMember);
        assert_eq!(
            safety_limits(&report),
            "Above the safety limit, waiting for approval: 97 of 20 removed memberships.  Within the safety limits (3 of \
             519 deactivations)."
        );
    }

    #[test]
    fn a_plan_says_how_many_users_find_no_seat() {
        let mut report = Report::default();
        assert_eq!(seats(&report), None);
        let shown = |remaining, needed| {
            let report = Report { seats: Some(Seats { remaining, needed }), ..Report::default() };
            seats(&report).expect("known")
        };
        assert_eq!(shown(40, 40), (State::Note, "40 seats remain; the plan creates or activates 40 users".to_owned()));
        let advice = "Enlarge the licence, free seats or narrow the scope";
        for (remaining, needed, text) in [
            (12, 40, "12 seats remain, but the plan creates or activates 40 users: 28 have no seat."),
            (1, 2, "1 seat remains, but the plan creates or activates 2 users: 1 has no seat."),
            (0, 1, "0 seats remain, but the plan creates or activates 1 user: 1 has no seat."),
        ] {
            assert_eq!(shown(remaining, needed), (State::No, format!("{text} {advice}")));
        }
        report.seats = Some(Seats { remaining: 0, needed: 1 });
        report.planned.insert("deactivate".to_owned(), 5);
        let (_, text) = seats(&report).expect("known");
        assert!(text.contains("no seat. Some may become free: it deactivates 5 users. Enlarge"), "{text}");
    }

    #[test]
    fn every_verb_of_an_operation_is_shown() {
        let (group, name, to) = (crate::model::TargetGroupId::from("1"), "eng".to_owned(), "ops".to_owned());
        let (account, login) = (crate::model::AccountId::from("1"), "al".to_owned());
        let fields = crate::model::UserFields::default();
        let operations = [
            Operation::CreateGroup { name: name.clone() },
            Operation::RenameGroup { group: group.clone(), name: name.clone(), to: to.clone() },
            Operation::DeleteGroup { group: group.clone(), name: name.clone() },
            Operation::CreateUser { name: login.clone(), fields: fields.clone(), external_id: None },
            Operation::UpdateUser { account: account.clone(), name: login.clone(), fields },
            Operation::RenameUser { account: account.clone(), name: login.clone(), to },
            Operation::ActivateUser { account: account.clone(), name: login.clone(), gives: vec![] },
            Operation::DeactivateUser { account: account.clone(), name: login.clone(), takes: vec![] },
            Operation::DeleteUser { account: account.clone(), name: login.clone() },
            Operation::AnonymizeUser { account: account.clone(), name: login.clone() },
            Operation::AddMember {
                group: group.clone(),
                group_name: name.clone(),
                account: account.clone(),
                name: login.clone(),
            },
            Operation::RemoveMember { group, group_name: name, account, name: login },
        ];
        for operation in operations {
            assert!(VERBS.iter().any(|(verb, ..)| *verb == operation.verb()), "{operation}");
        }
        for verb in ["adopt", "relink", "adopt_group", "drop_link"] {
            assert!(VERBS.iter().any(|(known, ..)| *known == verb), "{verb}");
        }
        let operation = Action::Write(Operation::CreateGroup { name: "eng".into() });
        let line = Line { subject: crate::model::Subject::group("1"), operation, cause: None, held: None };
        assert_eq!(names("create_group", &[line], 1), "eng");
    }
}
