//! Applies operators' decisions to a plan.

use super::walk::TargetWalk;
use crate::{
    engine::{
        approval_keys::approval_item,
        user::{adoption, fingerprint_of},
    },
    model::{ApprovalKind, Limited, NewApprovalItem, Operation, Subject},
    plan::{self, Presence, Then},
};

/// Operators' decisions about a plan.
#[derive(Clone, Copy, Default)]
pub(super) struct Decided {
    /// Number of rejected operations that were removed from it.
    pub rejected: usize,
    /// Whether a held or decided operation is no longer planned.
    pub outdated: bool,
}

/// Removes from a plan the operations that are known to be unsupported, which it then reports, and those that an operator
/// rejected.
pub(super) fn drop_decided(
    planned: &mut plan::Planned,
    target: &TargetWalk,
    presence: &Presence,
    subject: &Subject,
) -> Decided {
    let known = drop_unsupported(planned, target, presence, subject);
    planned.findings.unsupported.extend(known);
    drop_rejected(planned, target, subject)
}

/// Removes from a plan the operations that an operator rejected.
fn drop_rejected(planned: &mut plan::Planned, target: &TargetWalk, subject: &Subject) -> Decided {
    let standing = target.standing(subject);
    if standing.is_empty() {
        return Decided { rejected: 0, outdated: false };
    }
    let operations = planned.operations.iter().map(|operation| {
        let kind = operation.limited().map_or(ApprovalKind::Activation, ApprovalKind::SafetyLimit);
        approval_item(kind, subject, operation)
    });
    let wanted: Vec<NewApprovalItem> =
        operations.chain(planned.holds.iter().map(|hold| hold_item(hold, subject))).collect();
    let outdated = standing.iter().any(|one| !wanted.iter().any(|item| one.item.does_the_same(item)));
    let before = planned.operations.len() + planned.holds.len();
    let stays = |item: &NewApprovalItem| !target.is_rejected(subject, item);
    planned.operations.retain(|operation| stays(&approval_item(ApprovalKind::Activation, subject, operation)));
    planned.holds.retain(|hold| stays(&hold_item(hold, subject)));
    Decided { rejected: before - planned.operations.len() - planned.holds.len(), outdated }
}

/// Returns the kind of each operation that an operator approved above its safety limit.
pub(super) fn approved_kinds(planned: &plan::Planned, target: &TargetWalk, subject: &Subject) -> Vec<Limited> {
    let approved = |operation: &Operation| {
        let kind = operation.limited()?;
        let item = approval_item(ApprovalKind::SafetyLimit(kind), subject, operation);
        target.is_approved(subject, &item).then_some(kind)
    };
    planned.operations.iter().filter_map(approved).collect()
}

fn hold_item(hold: &plan::Hold, subject: &Subject) -> NewApprovalItem {
    match &hold.then {
        Then::Do(operation) => approval_item(hold.kind, subject, operation),
        Then::Adopt(account, by) => adoption(account, by, None),
    }
}

/// Removes from a plan the operations that are known to be unsupported. Returns the reasons.
fn drop_unsupported(
    planned: &mut plan::Planned,
    target: &TargetWalk,
    presence: &Presence,
    subject: &Subject,
) -> Vec<String> {
    if target.unsupported.is_empty() {
        return Vec::new();
    }
    let fingerprint = fingerprint_of(presence);
    let mut reasons = Vec::new();
    let mut possible = |operation: &Operation| {
        let why = target.why_not(subject, operation, &fingerprint);
        reasons.extend(why.clone());
        why.is_none()
    };
    planned.operations.retain(&mut possible);
    planned.holds.retain(|hold| !matches!(&hold.then, Then::Do(operation) if !possible(operation)));
    if planned.operations.is_empty() && planned.holds.is_empty() {
        planned.adds_after_create.clear();
    }
    reasons
}
