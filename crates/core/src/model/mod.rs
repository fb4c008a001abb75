//! The data types of usersync as plain types; no I/O, no clock.

mod account;
mod account_rules;
mod action;
mod alert;
mod approval;
mod change;
mod condition;
mod declared;
mod digest;
mod drift;
mod event;
mod event_poll;
mod evidence;
mod federation;
mod granted;
mod group_rules;
mod hook_refusal;
mod hook_secret;
mod ids;
mod leaver_rules;
mod limited;
mod link;
mod matching;
mod operation;
mod organization;
pub mod packed;
mod pattern;
mod policy_settings;
mod policy_test;
mod role;
mod run;
mod scope;
mod source;
mod subject;
mod task;
mod template;

/// Returns a number with its noun: `1 user`, `2 users`, `0 users`.
pub fn count(number: impl std::fmt::Display, one: &str, many: &str) -> String {
    let number = number.to_string();
    let what = if number == "1" { one } else { many };
    format!("{number} {what}")
}

pub use account::{Account, TargetGroup, TargetIdentity};
pub use account_rules::{AccountRules, AccountTemplates, AttributeRule, AttributeRules, Empty, When};
pub use action::{Action, Linking, Party};
pub use alert::{Alert, AlertKind, AlertProblem, AlertState, PairReport, ProblemKey, Settling, Undelivered};
pub use approval::{
    Approval, ApprovalItem, ApprovalItemState, ApprovalKind, NewApprovalItem, Unsupported, adoption_key,
};
pub use change::{Cause, Change, ChangeOutcome};
pub use condition::{About, Condition, ConditionCode};
pub use declared::Declared;
pub use digest::{Activity, Digest, PairDigest, UndeliveredAlert, WaitingApproval};
pub use drift::{Drift, DriftKind, DriftRule, Handling};
pub use event::{EventOutcome, EventRecord, NewEvent};
pub use event_poll::{
    EventLog, EventMark, EventPoll, EventSettings, FoundGap, Gap, LogPosition, LogSettings, PollProblem,
};
pub use evidence::{ById, CallCost, Evidence, ObjectKind, ReadEvidence, SideEvidence};
pub use federation::{Federated, LDAP_ID, federation};
pub use granted::{Granted, Unread};
pub use group_rules::{
    ConstantGroup, EmptyGroups, GrantedTo, GroupOverride, GroupRules, Members, NamedBy, UnmanagedMembers,
};
pub use hook_refusal::{RefusalReason, Refusals};
pub use hook_secret::{BadHookSecret, HOOK_SECRET_PREFIX, SHORTEST_HOOK_SECRET, hook_secret};
pub use ids::{
    AccountId, ConnectorName, GroupId, IdMap, IdSet, IntentId, ObservationSeq, Pair, RunId, TargetGroupId, TargetName,
    Token, UserId,
};
pub use leaver_rules::{Departure, LeaverAction, LeaverRules};
pub use limited::Limited;
pub use link::{Grants, GroupMapping, Link, ManagedGroup, Written};
pub use matching::{MatchKey, MatchRules, MatchedBy, Matching, TargetMatching};
pub use operation::{Operation, UserFields};
pub use organization::{OrganizationName, OrganizationNameError, UserOrganizations};
pub use packed::{Compact, Names, Packable, Packed, number};
pub use pattern::{LoginPattern, NamePattern, PathPattern, PatternError, parent_paths, path_names};
pub use policy_settings::{AdoptRule, FirstRun, Policy, Safety, TargetPolicy, Uses};
pub use policy_test::{Expected, GroupTest, PolicyTests, TestUser, UserTest, group_at};
pub use role::{RoleName, RoleNameError, UserRoles};
pub use run::{RunMode, RunOutcome, RunProgress, RunRecord, RunTrigger};
pub use scope::{Origin, Required, Scope};
pub use source::{GroupState, GroupVerdict, SourceIdentity, UserState};
pub use subject::Subject;
pub use task::{ErrorClass, Priority, TaskRecord, TaskState};
pub use template::{GroupTemplate, Template, TemplateError};

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn a_count_has_its_noun() {
        for (number, expected) in [(0, "0 users"), (1, "1 user"), (2, "2 users"), (11, "11 users"), (21, "21 users")] {
            assert_eq!(count(number, "user", "users"), expected);
        }
        assert_eq!(count("20 of 1", "entry", "entries"), "20 of 1 entries");
    }
}
