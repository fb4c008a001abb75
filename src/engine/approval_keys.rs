//! Keys that distinguish the operations of one subject that wait for approval.

use crate::model::{ApprovalKind, NewApprovalItem, Operation, Subject, TargetGroupId};

/// Returns the approval item for an operation of this subject.
pub(super) fn approval_item(kind: ApprovalKind, subject: &Subject, operation: &Operation) -> NewApprovalItem {
    NewApprovalItem::operation(kind, operation, approval_key(subject, operation))
}

/// Returns the key that distinguishes the held operations of one subject.
pub(crate) fn approval_key(subject: &Subject, operation: &Operation) -> String {
    operation_key(operation, subject.as_user().is_none())
}

/// Returns the key of an operation of a user or of a group. Only a group removes several accounts.
pub(super) fn operation_key(operation: &Operation, of_group: bool) -> String {
    match operation {
        Operation::RenameUser { to, .. } => format!("rename:{to}"),
        Operation::UpdateUser { fields, .. } => {
            let (name, email) = (fields.display_name.as_deref(), fields.email.as_deref());
            let more = fields.attributes.iter().map(|(name, value)| format!(":{name}={value}"));
            format!("update:{}:{}{}", name.unwrap_or(""), email.unwrap_or(""), more.collect::<String>())
        }
        Operation::RenameGroup { to, .. } => format!("rename_group:{to}"),
        Operation::AddMember { group, .. } => format!("add_member:{group}"),
        Operation::RemoveMember { group, account, .. } if of_group => format!("{}{account}", removals_from(group)),
        Operation::RemoveMember { group, .. } => format!("remove_member:{group}"),
        other => other.verb().to_owned(),
    }
}

/// Returns the start of the keys of removals from a group, if they are operations of that group.
pub(super) fn removals_from(group: &TargetGroupId) -> String {
    format!("remove_member:{group}@")
}
