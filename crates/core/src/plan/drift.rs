//! Distinguishes changes in the target from changes at the source, and leaves the former if the policy says so: pure.

use super::{
    decision::{Drifted, Planned, Situation, Then},
    leaver::{has_left, leaving},
};
use crate::model::{Account, Drift, DriftKind, DriftRule, Link, Operation, UserFields};

/// Where the change was made that an operation follows or undoes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedAt {
    /// At the source, or in the policy.
    Source,
    /// In the target, without usersync.
    Target(Vec<Drift>),
    /// Not known, as usersync never wrote what differs.
    Unknown,
}

impl ChangedAt {
    /// Returns whether the target was changed.
    pub fn is_target(&self) -> bool {
        matches!(self, Self::Target(_))
    }

    fn target(kind: DriftKind, of: Option<String>, found: &str, wanted: &str) -> Self {
        Self::Target(vec![Drift { kind, of, found: found.to_owned(), wanted: wanted.to_owned() }])
    }
}

/// Returns where the change was made that an operation follows or undoes.
pub fn changed_at(operation: &Operation, situation: &Situation<'_>) -> ChangedAt {
    if let Operation::CreateUser { .. } = operation {
        return ChangedAt::Source;
    }
    let (Some(link), Some(account)) = (situation.link, situation.account) else { return ChangedAt::Unknown };
    match operation {
        Operation::UpdateUser { fields, .. } => fields_changed_at(fields, link, account),
        Operation::RenameUser { to, .. } => login_changed_at(to, link, account),
        // Whether an adopted account was active when it was adopted is not known.
        Operation::ActivateUser { .. } if account.active || link.deactivated_by_us || !link.taken.is_empty() => {
            ChangedAt::Source
        }
        Operation::ActivateUser { .. } if link.adopted => ChangedAt::Unknown,
        Operation::ActivateUser { .. } => {
            ChangedAt::target(DriftKind::Deactivated, None, "inactive", "enabled in Keycloak")
        }
        Operation::DeactivateUser { .. } => match leaving(situation) {
            Some(leaving) if link.deactivated_by_us => {
                ChangedAt::target(DriftKind::Activated, None, "active", leaving.why)
            }
            _ => ChangedAt::Source,
        },
        Operation::AddMember { group, group_name, .. } if link.given.contains(group) => {
            ChangedAt::target(DriftKind::MemberRemoved, Some(group_name.clone()), "not a member", "member")
        }
        Operation::RemoveMember { group, group_name, .. }
            if !link.given.contains(group) && leaving(situation).is_none() =>
        {
            // A group that existed before usersync may have had the member before.
            let managed = situation.groups.managed(group);
            if managed.is_some_and(|managed| !managed.adopted || managed.removals_approved) {
                ChangedAt::target(DriftKind::MemberAdded, Some(group_name.clone()), "member", "not a member")
            } else {
                ChangedAt::Unknown
            }
        }
        _ => ChangedAt::Source,
    }
}

/// Returns where fields were changed. If the wanted value is the last written one, the target has changed.
fn fields_changed_at(fields: &UserFields, link: &Link, account: &Account) -> ChangedAt {
    let written = &link.written;
    let drifted = |wanted: &Option<String>, wrote: &Option<String>, kind, found: &str| {
        let wanted = wanted.as_ref().filter(|_| wanted == wrote)?;
        Some(Drift { kind, of: None, found: found.to_owned(), wanted: wanted.clone() })
    };
    let email = account.email.as_deref().unwrap_or_default();
    let name = drifted(&fields.display_name, &written.display_name, DriftKind::DisplayName, &account.display_name);
    let email = drifted(&fields.email, &written.email, DriftKind::Email, email);
    let attributes = fields.attributes.iter().filter(|(name, wanted)| written.attributes.get(*name) == Some(wanted));
    let attributes = attributes.map(|(name, wanted)| Drift {
        kind: DriftKind::Attribute,
        of: Some(name.clone()),
        found: account.attributes.get(name).cloned().unwrap_or_default(),
        wanted: wanted.clone(),
    });
    let found: Vec<Drift> = name.into_iter().chain(email).chain(attributes).collect();
    if !found.is_empty() {
        ChangedAt::Target(found)
    } else if link.adopted && written.display_name.is_none() && written.email.is_none() {
        ChangedAt::Unknown
    } else {
        ChangedAt::Source
    }
}

fn login_changed_at(to: &str, link: &Link, account: &Account) -> ChangedAt {
    match &link.written.name {
        Some(written) if written == to => ChangedAt::target(DriftKind::Login, None, &account.name, to),
        Some(_) => ChangedAt::Source,
        None => ChangedAt::Unknown,
    }
}

/// Returns whether a login that was changed in the target stays. It does not if another user needs it.
pub(super) fn leaves_login(situation: &Situation<'_>, login: &str) -> bool {
    let (Some(link), Some(account)) = (situation.link, situation.account) else { return false };
    reports(situation) && !situation.wanted_by_other && login_changed_at(login, link, account).is_target()
}

/// Returns whether drift stays as it is.
pub(super) fn reports(situation: &Situation<'_>) -> bool {
    situation.drift == DriftRule::Report
}

/// Returns the drift of a deleted account; `None`: its user has left, so that none is wanted.
pub fn account_deleted(situation: &Situation<'_>) -> Option<Drift> {
    let link = situation.link.filter(|_| !has_left(situation.presence))?;
    let (found, wanted) = ("no account".to_owned(), format!("account {}", link.name));
    Some(Drift { kind: DriftKind::AccountDeleted, of: None, found, wanted })
}

/// Records the drift in a plan, and removes from it what would undo drift that stays.
pub(super) fn separate(situation: &Situation<'_>, mut planned: Planned) -> Planned {
    let mut drift = Vec::new();
    let mut keep = |operation| without_drift(operation, situation, &mut drift);
    planned.operations = planned.operations.into_iter().filter_map(&mut keep).collect();
    let holds = planned.holds.into_iter().filter_map(|mut hold| {
        if let Then::Do(operation) = hold.then {
            hold.then = Then::Do(keep(operation)?);
        }
        Some(hold)
    });
    planned.holds = holds.collect();
    planned.drift = drift;
    planned
}

/// Returns an operation without what would undo drift that stays; `None`: nothing is left.
fn without_drift(operation: Operation, situation: &Situation<'_>, drift: &mut Vec<Drifted>) -> Option<Operation> {
    let ChangedAt::Target(found) = changed_at(&operation, situation) else { return Some(operation) };
    let stays = |drift: &Drift| {
        let is_needed = drift.kind == DriftKind::Login && situation.wanted_by_other;
        reports(situation) && drift.kind.may_stay() && !is_needed
    };
    let (left, mended): (Vec<_>, Vec<_>) = found.into_iter().partition(stays);
    let rest = left.iter().try_fold(operation, without);
    drift.extend(left.into_iter().map(|drift| Drifted { drift, mended_by: None }));
    drift.extend(mended.into_iter().map(|drift| Drifted { drift, mended_by: rest.clone() }));
    rest
}

/// Returns an operation without what would undo this; `None`: nothing is left.
fn without(operation: Operation, left: &Drift) -> Option<Operation> {
    let Operation::UpdateUser { account, name, mut fields } = operation else { return None };
    match (left.kind, &left.of) {
        (DriftKind::DisplayName, _) => fields.display_name = None,
        (DriftKind::Email, _) => fields.email = None,
        (_, Some(attribute)) => drop(fields.attributes.remove(attribute)),
        _ => {}
    }
    (!fields.is_empty()).then_some(Operation::UpdateUser { account, name, fields })
}
