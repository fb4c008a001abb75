//! Plans the operations from the actual to the desired state: pure, no I/O, no clock. The same functions serve the
//! worker, the run and the dry run.

mod cause;
mod groups;
mod safety_limit;
mod user;

pub use cause::cause;
pub use groups::{GroupTable, Resolved};
pub use safety_limit::{Measure, limit};
use user::leaving;
pub use user::{
    Decision, Findings, Hold, NameHolder, OwnerStanding, Planned, Presence, Situation, Then, decide, has_left,
    wanted_name,
};

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod fixtures {
    use crate::capabilities::{Capabilities, CaseRule, Deactivation};

    /// Returns the capabilities of Jira.
    pub(crate) fn capabilities() -> Capabilities {
        Capabilities {
            list_all: true,
            update: true,
            rename: true,
            deactivate: Deactivation::Switch,
            delete: true,
            rename_group: false,
            groups_at_once: 1,
            keeps_external_id: false,
            attributes: false,
            email_required: true,
            reads_email: true,
            login_case: CaseRule::Lower,
            group_case: CaseRule::Insensitive,
            login_max: 255,
            login_forbids: vec![],
            group_max: 255,
            group_forbids: vec![],
            access_groups: std::collections::BTreeMap::new(),
            protected_groups: crate::capabilities::ProtectedGroups::default(),
        }
    }
}
