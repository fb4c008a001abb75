//! Plans the operations for the account of a user that has left.

use jiff::Timestamp;

use super::{
    decision::{Decision, Hold, Planned, Presence, ProviderAnswer, Situation, Then},
    user::{Rename, is_temporary, own_login, plan_removals, rename, rename_operation, temporary_name},
};
use crate::{
    capabilities::Deactivation,
    model::{Account, ApprovalKind, Departure, LeaverAction, LeaverRules, Link, Operation},
    policy::Verdict,
};

/// How a user has left, and what happens to its account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving<'p> {
    /// The reason, as text.
    pub why: &'p str,
    departure: Departure,
    action: LeaverAction,
}

/// Returns how the user of this situation has left, as far as it is known; `None`: it has not.
pub(super) fn leaving<'p>(situation: &Situation<'p>) -> Option<Leaving<'p>> {
    let leaving = shown_leaving(situation.presence, situation.leavers);
    // The roles and groups of a user are unknown while its federation provider cannot be asked.
    let is_disabled = *situation.provider == ProviderAnswer::OnlyDisabled;
    leaving.map(|leaving| if is_disabled { disabled(situation.leavers) } else { leaving })
}

fn disabled(rules: &LeaverRules) -> Leaving<'static> {
    let departure = Departure::Disabled;
    Leaving { why: "disabled in Keycloak", departure, action: rules.action(departure) }
}

/// Returns how Keycloak shows that a user has left; `None`: it has not.
fn shown_leaving<'p>(presence: &'p Presence, rules: &LeaverRules) -> Option<Leaving<'p>> {
    let of = |departure, why| Leaving { why, departure, action: rules.action(departure) };
    let Presence::Present(user, verdict) = presence else {
        return Some(of(Departure::Deleted, "deleted in Keycloak"));
    };
    let disabled = (!user.enabled).then(|| disabled(rules));
    let out = verdict.out().map(|why| of(Departure::OutOfScope, why));
    match (disabled, out) {
        (Some(disabled), Some(out)) if out.action > disabled.action => Some(out),
        (disabled, out) => disabled.or(out),
    }
}

/// Returns whether a user has left: it is deleted, disabled or out of scope.
pub fn has_left(presence: &Presence) -> bool {
    match presence {
        Presence::Present(user, verdict) => !user.enabled || verdict.out().is_some(),
        Presence::Gone => true,
    }
}

/// Returns what happens to the account of a user that has left; `None`: the user has not left. The stricter action
/// applies to a user that is both disabled and out of scope.
pub fn leaver_action(presence: &Presence, rules: &LeaverRules) -> Option<LeaverAction> {
    shown_leaving(presence, rules).map(|leaving| leaving.action)
}

/// Returns since when a user counts as leaving, to be recorded in its link; `None`: it has not left, or all is done.
pub fn leaving_since(situation: &Situation<'_>, decision: &Decision) -> Option<Timestamp> {
    let known = situation.link.and_then(|link| link.leaving_since);
    let Decision::Plan(planned) = decision else { return known };
    if planned.leaves_at.is_some() {
        return known.or(Some(situation.now));
    }
    let undecided = matches!(situation.presence, Presence::Present(_, verdict) if verdict.undecided().is_some());
    let left = has_left(situation.presence);
    if undecided || left && (acts(planned) || !planned.findings.unconfirmed.is_empty()) { known } else { None }
}

/// Returns whether a plan changes anything, or would if the target supported it.
fn acts(planned: &Planned) -> bool {
    let nothing = planned.operations.is_empty() && planned.holds.is_empty() && planned.findings.unsupported.is_empty();
    !nothing || planned.groups_unread
}

/// Returns how and when an account that is deactivated now ends, according to the rules; `None`: it does not.
pub(super) fn ended_at(situation: &Situation<'_>, leaving: Leaving<'_>) -> Option<(&'static str, Timestamp)> {
    let how = match leaving.action {
        LeaverAction::Delete if situation.capabilities.delete => "deleted",
        LeaverAction::Anonymize if situation.capabilities.anonymize => "anonymized",
        _ => return None,
    };
    Some((how, situation.now.checked_add(situation.leavers.grace).unwrap_or(Timestamp::MAX)))
}

/// Returns when the grace period of a leaver ends; `None`: it has ended, or there is none.
fn grace_ends(situation: &Situation<'_>, link: &Link) -> Option<Timestamp> {
    let since = link.leaving_since.unwrap_or(situation.now);
    let ends = since.checked_add(situation.leavers.grace).unwrap_or(Timestamp::MAX);
    (situation.now < ends).then_some(ends)
}

/// Decides what to do about the account of a user that has left.
pub(super) fn decide_leaver(
    situation: &Situation<'_>,
    link: &Link,
    account: &Account,
    leaving: Leaving<'_>,
) -> Decision {
    let mut planned = Planned::default();
    match leaving.action {
        LeaverAction::Nothing => {
            planned.findings.left = Some(format!("left: nothing is done ({})", leaving.departure.key()));
        }
        LeaverAction::RemoveGroups => {
            plan_group_removals(situation, link, account, leaving.why, &mut planned);
        }
        LeaverAction::Delete | LeaverAction::Anonymize if !account.active => {
            plan_end(situation, link, account, leaving, &mut planned);
        }
        LeaverAction::Deactivate | LeaverAction::Delete | LeaverAction::Anonymize => {
            plan_deactivation(situation, account, leaving.why, &mut planned);
        }
    }
    // The grace period of a deletion or anonymization is the one of the deactivated account.
    let waits = acts(&planned) && !(leaving.action.ends_account() && account.active);
    if let Some(ends) = grace_ends(situation, link).filter(|_| waits) {
        planned = Planned { leaves_at: Some(ends), ..Planned::default() };
        let what = match leaving.action {
            LeaverAction::Delete => "its account is deleted",
            LeaverAction::Anonymize => "its account is anonymized",
            LeaverAction::RemoveGroups => "its account is removed from its groups",
            LeaverAction::Deactivate | LeaverAction::Nothing => "its account is deactivated",
        };
        planned.findings.left = Some(format!("{what} on {} ({})", ends.strftime("%Y-%m-%d"), leaving.why));
    }
    let undecided = situation.doubt().is_some() && account.active;
    if undecided || account.immutable.is_some() || account.protected.is_some() {
        return Decision::Plan(planned);
    }
    plan_login(situation, account, leaving.action, planned)
}

/// Plans the deactivation of a leaver's account.
fn plan_deactivation(situation: &Situation<'_>, account: &Account, why: &str, planned: &mut Planned) {
    if !account.active {
        return;
    }
    if let Some(reason) = &account.immutable {
        planned.findings.unsupported.push(format!("{}: {why}, but {reason}", account.name));
        return;
    }
    let (id, name) = (account.id.clone(), account.name.clone());
    let deactivate = Operation::DeactivateUser { account: id, name, takes: account.access.clone() };
    if situation.capabilities.deactivate == Deactivation::Never {
        planned.findings.unsupported.push(format!(
            "{}: {why}, but the target cannot deactivate accounts; deactivate it there manually",
            account.name
        ));
    } else if account.protected.is_some() {
        match situation.doubt() {
            None | Some(ProviderAnswer::ToApprove(_)) => {
                planned.holds.push(Hold { kind: ApprovalKind::ProtectedLeaver, then: Then::Do(deactivate) });
            }
            Some(doubt) => planned.not_confirmed(account, why, doubt),
        }
    } else {
        planned.remove_if_confirmed(deactivate, account, why, situation.doubt());
    }
}

/// Plans the deletion or anonymization of a leaver's account that usersync deactivated.
fn plan_end(situation: &Situation<'_>, link: &Link, account: &Account, leaving: Leaving<'_>, planned: &mut Planned) {
    let anonymizes = leaving.action == LeaverAction::Anonymize;
    let (verb, done) = if anonymizes { ("anonymize", "anonymized") } else { ("delete", "deleted") };
    let can = if anonymizes { situation.capabilities.anonymize } else { situation.capabilities.delete };
    let (findings, why) = (&mut planned.findings, leaving.why);
    if let Some(why) = &account.protected {
        findings.protected = Some(format!("{}: {why}; never {done}", account.name));
    } else if !link.deactivated_by_us {
        findings.left = Some(format!("left: usersync did not deactivate the account, so it does not {verb} it"));
    } else if let Some(reason) = &account.immutable {
        findings.unsupported.push(format!("{}: {why}, but {reason}", account.name));
    } else if !can {
        findings
            .unsupported
            .push(format!("{}: {why}, but the target cannot {verb} accounts; {verb} it there manually", account.name));
    } else {
        let (id, name) = (account.id.clone(), account.name.clone());
        let end = if anonymizes {
            Operation::AnonymizeUser { account: id, name }
        } else {
            Operation::DeleteUser { account: id, name }
        };
        planned.remove_if_confirmed(end, account, why, situation.doubt());
    }
}

/// Plans the removal of a leaver's account from all managed groups that a leaver does not keep.
fn plan_group_removals(situation: &Situation<'_>, link: &Link, account: &Account, why: &str, planned: &mut Planned) {
    if let Some(why) = &account.protected {
        planned.findings.protected = Some(format!("{}: {why}; never changed", account.name));
        return;
    }
    let Some(present) = &account.groups else {
        planned.groups_unread = true;
        return;
    };
    let mut removals = Planned::default();
    let leaves = present.iter().filter(|group| {
        let managed = situation.groups.managed(group);
        !situation.leavers.keeps(managed.map_or(group.as_str(), |managed| &managed.name))
    });
    let doubtful = plan_removals(situation, link, account, leaves, &mut removals);
    if let (1.., Some(doubt)) = (doubtful, situation.doubt()) {
        removals.not_confirmed(account, why, doubt);
    }
    match &account.immutable {
        Some(_) if removals.operations.is_empty() && removals.holds.is_empty() => {}
        Some(reason) => planned.findings.unsupported.push(format!("{}: {why}, but {reason}", account.name)),
        None => *planned = removals,
    }
}

/// Plans the login of a leaver's account: the user's new one, or a temporary one if another user waits for it.
fn plan_login(situation: &Situation<'_>, account: &Account, action: LeaverAction, mut planned: Planned) -> Decision {
    let ends = planned.operations.iter().any(Operation::ends_account);
    match situation.presence {
        Presence::Present(user, Verdict::In)
            if !ends && action > LeaverAction::Nothing && planned.leaves_at.is_none() =>
        {
            let login = own_login(user, account, situation.capabilities, situation.rules).ok().flatten();
            match rename(situation, account, login.as_deref()) {
                Rename::To(to) => planned.operations.push(rename_operation(account, to)),
                Rename::Unsupported(why) => planned.findings.unsupported.push(why),
                // A user that may not sign in is deactivated before it waits for its login.
                Rename::Instead(decision) if planned.operations.is_empty() && planned.holds.is_empty() => {
                    return decision;
                }
                Rename::None | Rename::Instead(_) => {}
            }
        }
        // After a deletion or anonymization, this is reached only if that is held or refused.
        _ if situation.wanted_by_other && situation.capabilities.rename && !is_temporary(account) => {
            planned.operations.push(rename_operation(account, temporary_name(account, situation.capabilities)));
        }
        _ => {}
    }
    Decision::Plan(planned)
}
