//! Prints the explanation of a user.

use super::{
    Explained, InScope,
    side::{OnTarget, Past},
};
use crate::{
    cli::{
        changes,
        out::Out,
        words::{some, took},
    },
    model::{ApprovalItem, ApprovalItemState, MatchedBy, TaskRecord, TaskState, UserState},
    store::PairState,
};

pub(super) fn show(out: &Out, explained: &Explained, asked: &str) {
    match &explained.user {
        Some(user) => out.prose(4, person(out, user, explained)),
        None => {
            out.prose(16, format!("{}   id {}   connector {}", out.strong(asked), explained.id, explained.connector));
        }
    }
    if let Some(trouble) = &explained.trouble {
        out.prose(16, format!("Keycloak could not be read: {trouble}"));
    } else {
        let word = match explained.scope {
            InScope::In => "yes",
            InScope::Out => "no",
            InScope::Undecided => "undecided",
        };
        out.prose(16, format!("{:<13} {word}: {}", "in scope", explained.why));
    }
    for on in &explained.targets {
        target(out, on);
    }
}

fn person(out: &Out, user: &UserState, explained: &Explained) -> String {
    let names: Vec<&str> = [&user.first_name, &user.last_name].into_iter().flatten().map(String::as_str).collect();
    let mut known = Vec::new();
    if !names.is_empty() {
        known.push(names.join(" "));
    }
    known.push(user.email.clone().unwrap_or_else(|| "no e-mail".to_owned()));
    let enabled = if user.enabled { "enabled" } else { "disabled" };
    let origin = match user.federation() {
        Some(link) => format!("federated by {link}"),
        None => "local user".to_owned(),
    };
    let groups: Vec<&str> = user.groups.iter().map(|group| group.path.as_str()).collect();
    let groups = if groups.is_empty() {
        "in no group".to_owned()
    } else {
        format!("in {}", some(groups.iter().copied(), 8, groups.len()))
    };
    let roles: Vec<String> = user.roles.held.iter().map(ToString::to_string).collect();
    let roles = match roles.len() {
        0 => String::new(),
        // Only those that the policy names are read.
        held => format!(", with {}", some(roles.iter().map(String::as_str), 8, held)),
    };
    let organizations: Vec<String> = user.organizations.held.iter().map(ToString::to_string).collect();
    let organizations = match organizations.len() {
        0 => String::new(),
        held => format!(", member of {}", some(organizations.iter().map(String::as_str), 8, held)),
    };
    format!(
        "{}   {}   id {}   {enabled}, {origin}, {groups}{roles}{organizations}   connector {}",
        out.strong(&user.username),
        known.join(", "),
        explained.id,
        explained.connector
    )
}

fn target(out: &Out, on: &OnTarget) {
    out.prose(16, format!("{:<13} {}", out.strong(&on.target), account(out, on)));
    for field in &on.fields {
        out.prose(16, format!("  {:<12}  {:<22} ← {:<24} {}", field.about, field.wanted, field.from, field.there));
    }
    if on.trouble.is_none() {
        to_do(out, &on.to_do);
    }
    work(out, on.state, on.task.as_ref(), &on.held);
    for (at, open) in on.left_open.iter().enumerate() {
        out.line(format!("  {:<12}  {}: {}", if at == 0 { "still open" } else { "" }, open.what, open.how));
    }
    past(out, &on.changes);
}

/// Prints planned operations and decisions.
pub(super) fn to_do(out: &Out, to_do: &[String]) {
    let nothing = ["nothing".to_owned()];
    let to_do = if to_do.is_empty() { &nothing[..] } else { to_do };
    for (at, line) in to_do.iter().enumerate() {
        out.prose(16, format!("  {:<12}  {line}", if at == 0 { "to do" } else { "" }));
    }
}

/// Prints what waits: a target that is not in service, the open task, and held operations.
pub(super) fn work(out: &Out, state: Option<PairState>, task: Option<&TaskRecord>, held: &[(i64, ApprovalItem)]) {
    if let Some(state) = state.filter(|state| *state != PairState::InService) {
        let text =
            format!("this target is not in service for the connector yet ({})", crate::cli::app::state_word(state));
        out.prose(16, format!("  {:<12}  {text}: usersync status", "note"));
    }
    if let Some(task) = task {
        let state = match &task.state {
            TaskState::Dead => "dead letter: usersync dead replay".to_owned() + &format!(" {}", task.subject),
            TaskState::Waiting { on } => format!("waits for {on}"),
            TaskState::Ready if task.not_before > out.now => format!("next attempt {}", out.when(task.not_before)),
            TaskState::Ready => "due now".to_owned(),
        };
        let error = task.error.as_ref().map(|(_, text)| format!("; last error: {text}")).unwrap_or_default();
        // A task that was put off counts as raised when it is due.
        let raised = if task.since > out.now { String::new() } else { format!(", raised {}", out.ago(task.since)) };
        out.prose(16, format!("  {:<12}  {state}{raised}{error}", "open task"));
    }
    for (set, item) in held {
        let state = match item.state {
            ApprovalItemState::Rejected => {
                format!("rejected; to plan it again: usersync approvals withdraw {set} --item {}", item.id)
            }
            ApprovalItemState::Approved => "approved, not done yet".to_owned(),
            _ => format!("usersync approvals approve {set} --item {}", item.id),
        };
        out.prose(16, format!("  {:<12}  {}: {state}", "held", item.item.what));
    }
}

/// Prints the last changes.
pub(super) fn past(out: &Out, changes: &[Past]) {
    for (at, past) in changes.iter().enumerate() {
        out.prose(16, format!("  {:<12}  {}", if at == 0 { "last" } else { "" }, last(out, past)));
    }
}

fn account(out: &Out, on: &OnTarget) -> String {
    if let Some(trouble) = &on.trouble {
        return format!("could not be read: {trouble}");
    }
    match (&on.link, &on.account) {
        (Some(link), Some(account)) => {
            let origin = match (link.adopted, &link.matched_by) {
                (false, _) => "created by usersync".to_owned(),
                (true, None) => "existed before usersync and was adopted".to_owned(),
                (true, Some(MatchedBy::Operator)) => {
                    "existed before usersync and was adopted as an operator requested".to_owned()
                }
                (true, Some(by)) => format!("existed before usersync and was adopted, matched by {by}"),
            };
            let state = match (account.active, link.deactivated_by_us) {
                (true, _) => "active",
                (false, true) => "inactive, deactivated by usersync",
                (false, false) => "inactive, but not deactivated by usersync",
            };
            let seen = link.seen_alive.map(|at| format!(", last seen alive {}", out.when(at))).unwrap_or_default();
            format!("account \"{}\", linked, {origin}, {state}{seen}", account.name)
        }
        (Some(link), None) => format!("account \"{}\" is linked, but the target does not find it", link.name),
        (None, _) => "no account is linked".to_owned(),
    }
}

fn last(out: &Out, past: &Past) -> String {
    let change = &past.change;
    let after = change
        .caused_at
        .map(|at| format!(" ({} after its cause)", took(change.at.duration_since(at))))
        .unwrap_or_default();
    format!(
        "{}  {}: {}{after}  because: {}",
        out.when(change.at),
        changes::sentence(change),
        changes::outcome(&change.outcome),
        past.because
    )
}
