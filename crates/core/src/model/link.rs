//! Links and mappings between source and target.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    AccountId, ConnectorName, Federated, GroupId, MatchedBy, Operation, Pair, TargetGroupId, UserFields, UserId,
    packed::{self, Compact, Names, Packable, Packed},
};

/// What was last written to an account, to distinguish drift from a change at the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The login.
    pub name: Option<String>,
    /// The display name.
    pub display_name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// Further attributes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub attributes: BTreeMap<String, String>,
    /// Whether usersync created the account, and has not added it to all groups of new accounts yet.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub is_new: bool,
}

impl Written {
    /// Creates the record for an account that was created with these fields.
    pub fn new(name: &str, fields: &UserFields) -> Self {
        let mut written = Self { name: Some(name.to_owned()), ..Self::default() };
        written.take(fields);
        written
    }

    /// Records fields that were written.
    pub fn take(&mut self, fields: &UserFields) {
        if fields.display_name.is_some() {
            self.display_name.clone_from(&fields.display_name);
        }
        if fields.email.is_some() {
            self.email.clone_from(&fields.email);
        }
        self.attributes.extend(fields.attributes.clone());
    }
}

/// The link between a Keycloak user and an account in a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The user's id.
    pub user: UserId,
    /// The account's stable id; unique within the target.
    pub account: AccountId,
    /// The account's login as last seen.
    pub name: String,
    /// The federation provider that the user was last seen to come from; `None`: Keycloak stores the user itself, or only
    /// the id shows the provider.
    pub federated: Option<Federated>,
    /// When the user was last seen alive (existing and enabled) at the source.
    pub seen_alive: Option<Timestamp>,
    /// What was last written.
    pub written: Written,
    /// Whether usersync deactivated the account, so that it may activate it again.
    pub deactivated_by_us: bool,
    /// What deactivation revoked, in the target's own terms, until activation grants it again; merged, never
    /// overwritten.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub taken: BTreeSet<String>,
    /// The memberships that usersync granted.
    pub given: BTreeSet<TargetGroupId>,
    /// Whether the account existed before usersync.
    pub adopted: bool,
    /// How an adopted account was found; `None`: usersync created the account, or linked it before this was recorded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub matched_by: Option<MatchedBy>,
    /// When the account was first not found at the target; `None`: it exists.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub missing_since: Option<Timestamp>,
    /// When a read first showed that the user has left, while its account is still to be changed for that; `None`: the
    /// user has not left, or all is done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub leaving_since: Option<Timestamp>,
}

/// A group of a target that usersync manages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedGroup {
    /// Its stable id in the target.
    pub id: TargetGroupId,
    /// Its name as last seen.
    pub name: String,
    /// Whether it existed before usersync. Members that usersync did not add stay in such a group until an operator
    /// approves their removal.
    pub adopted: bool,
    /// Whether an operator approved removals from an adopted group.
    pub removals_approved: bool,
    /// The source groups that feed it, each with its connector.
    pub sources: Vec<(ConnectorName, GroupId)>,
}

/// The mapping of a source group on a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GroupMapping {
    /// It feeds this managed group.
    Managed {
        /// The managed group.
        group: TargetGroupId,
        /// The name by which it was mapped.
        name: String,
    },
    /// It feeds no group. This is rechecked when its name changes, by a run, or after an operator's decision.
    Unmapped {
        /// The name by which it would have been mapped.
        name: String,
        /// The reason, as text.
        why: String,
    },
}

impl GroupMapping {
    /// Returns the name that the group had when it was mapped.
    pub fn name(&self) -> &str {
        match self {
            Self::Managed { name, .. } | Self::Unmapped { name, .. } => name,
        }
    }
}

impl Link {
    /// Creates a link to an account, with no memberships granted yet.
    pub fn new(user: UserId, account: AccountId, name: impl Into<String>) -> Self {
        Self {
            user,
            account,
            name: name.into(),
            federated: None,
            seen_alive: None,
            written: Written::default(),
            deactivated_by_us: false,
            taken: BTreeSet::new(),
            given: BTreeSet::new(),
            adopted: false,
            matched_by: None,
            missing_since: None,
            leaving_since: None,
        }
    }
}

impl Packable for Link {
    fn key(&self) -> &str {
        self.user.as_str()
    }

    fn pack(&self, names: &mut Names, out: &mut Vec<u8>) {
        let account = Compact::from(self.account.as_str());
        let federated = self.federated.as_ref().map(|one| (names.number(&one.component), &one.login, &one.ldap_id));
        // The written name equals the current one in most links.
        let written_name = self.written.name.as_ref().map(|name| Some(name).filter(|name| **name != self.name));
        let attributes: Vec<(u32, &String)> =
            self.written.attributes.iter().map(|(name, value)| (names.number(name), value)).collect();
        let written = (written_name, &self.written.display_name, &self.written.email, attributes);
        let taken: Vec<u32> = self.taken.iter().map(|one| names.number(one)).collect();
        let given: Vec<u32> = self.given.iter().map(|group| names.number(group.as_str())).collect();
        let times =
            [self.seen_alive, self.missing_since, self.leaving_since].map(|at| at.map(Timestamp::as_microsecond));
        let flags = (self.deactivated_by_us, self.adopted, &self.matched_by);
        // Grants are read by the million, without what follows them.
        packed::write(
            &((account, given, self.written.is_new), &self.name, federated, written, taken, times, flags),
            out,
        );
    }

    fn unpack(key: &str, bytes: &[u8], names: &Names) -> Self {
        type Row<'a> = (
            (Compact<'a>, Vec<u32>, bool),
            String,
            Option<(u32, Option<String>, Option<String>)>,
            PackedWritten,
            Vec<u32>,
            [Option<i64>; 3],
            (bool, bool, Option<MatchedBy>),
        );
        type PackedWritten = (Option<Option<String>>, Option<String>, Option<String>, Vec<(u32, String)>);
        let ((account, given, is_new), name, federated, written, taken, times, flags): Row<'_> = packed::read(bytes);
        let (deactivated_by_us, adopted, matched_by) = flags;
        let (written_name, display_name, email, attributes) = written;
        let text = |number: u32| names.name(number).to_string();
        let [seen_alive, missing_since, leaving_since] =
            times.map(|at| at.and_then(|at| Timestamp::from_microsecond(at).ok()));
        Self {
            user: key.into(),
            account: String::from(account).into(),
            federated: federated.map(|(component, login, ldap_id)| Federated {
                component: text(component),
                login,
                ldap_id,
            }),
            seen_alive,
            written: Written {
                name: written_name.map(|other| other.unwrap_or_else(|| name.clone())),
                display_name,
                email,
                attributes: attributes.into_iter().map(|(number, value)| (text(number), value)).collect(),
                is_new,
            },
            name,
            deactivated_by_us,
            taken: taken.into_iter().map(text).collect(),
            given: given.into_iter().map(|group| names.name(group).into()).collect(),
            adopted,
            matched_by,
            missing_since,
            leaving_since,
        }
    }
}

/// What usersync granted to a user: the part of a link that a full reconcile reads most often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// The user's id.
    pub user: UserId,
    /// The account's stable id.
    pub account: AccountId,
    /// The memberships that usersync granted.
    pub given: Vec<TargetGroupId>,
    /// Whether usersync has not added the account to all groups of new accounts yet.
    pub is_new: bool,
}

impl Packed<Link> {
    /// Returns what was granted by the link at an index, which is read in a fraction of the time of the whole link.
    ///
    /// # Panics
    /// If there is no such link.
    pub fn grants(&self, place: usize) -> Grants {
        self.read(place, |user, mut rest, names| {
            let (account, given, is_new): (Compact<'_>, Vec<u32>, bool) = packed::take(&mut rest);
            let given = given.into_iter().map(|group| names.name(group).into()).collect();
            Grants { user: user.into(), account: String::from(account).into(), given, is_new }
        })
    }
}

impl Link {
    /// Returns the federation component that the user was last seen to come from, if any.
    pub fn federation(&self) -> Option<&str> {
        let component = self.federated.as_ref().map(|federated| federated.component.as_str());
        super::federation(&self.user, component, None)
    }

    /// Records what an operation will revoke from the account, before it is sent. Returns whether any of it is new.
    pub fn will_lose(&mut self, operation: &Operation) -> bool {
        let Operation::DeactivateUser { takes, .. } = operation else { return false };
        let known = self.taken.len();
        self.taken.extend(takes.iter().cloned());
        self.taken.len() > known
    }

    /// Records the effect of a completed operation. Returns whether the link may have changed.
    pub fn learn(&mut self, operation: &Operation) -> bool {
        if operation.account() != Some(&self.account) {
            return false;
        }
        match operation {
            Operation::RenameUser { to, .. } => {
                self.name.clone_from(to);
                self.written.name = Some(to.clone());
            }
            Operation::UpdateUser { fields, .. } => self.written.take(fields),
            Operation::DeactivateUser { .. } => {
                self.deactivated_by_us = true;
                // The grace period of a deletion begins with the deactivation.
                self.leaving_since = None;
            }
            Operation::ActivateUser { gives, .. } => {
                self.deactivated_by_us = false;
                self.taken.retain(|one| !gives.contains(one));
            }
            Operation::AddMember { group, .. } => {
                self.given.insert(group.clone());
            }
            Operation::RemoveMember { group, .. } => {
                self.given.remove(group);
            }
            Operation::CreateUser { .. }
            | Operation::DeleteUser { .. }
            | Operation::AnonymizeUser { .. }
            | Operation::CreateGroup { .. }
            | Operation::RenameGroup { .. }
            | Operation::DeleteGroup { .. } => return false,
        }
        true
    }
}

impl ManagedGroup {
    /// Returns whether a group of this pair's connector feeds it.
    pub fn fed_by(&self, pair: &Pair) -> bool {
        self.sources.iter().any(|(connector, _)| *connector == pair.connector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_grace_period_of_a_deletion_begins_with_the_deactivation() {
        let mut link = Link { leaving_since: Some(at(1)), ..Link::new("1".into(), "a".into(), "alice") };
        link.learn(&Operation::DeactivateUser { account: "a".into(), name: "alice".into(), takes: Vec::new() });
        assert_eq!((link.deactivated_by_us, link.leaving_since), (true, None));
    }

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|text| (*text).to_owned()).collect()
    }

    fn fields(display_name: Option<&str>, email: Option<&str>, attributes: &[(&str, &str)]) -> UserFields {
        UserFields {
            display_name: display_name.map(str::to_owned),
            email: email.map(str::to_owned),
            attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn deactivate(takes: &[&str]) -> Operation {
        Operation::DeactivateUser { account: "7".into(), name: "alice".to_owned(), takes: texts(takes) }
    }

    fn link() -> Link {
        Link::new("u1".into(), "7".into(), "alice")
    }

    #[test]
    fn fields_that_are_not_written_keep_their_last_value() {
        let mut written = Written::new("alice", &fields(Some("Alice"), None, &[("city", "Bonn"), ("dept", "R&D")]));
        let expected = Written {
            name: Some("alice".to_owned()),
            display_name: Some("Alice".to_owned()),
            email: None,
            attributes: fields(None, None, &[("city", "Bonn"), ("dept", "R&D")]).attributes,
            is_new: false,
        };
        assert_eq!(written, expected);
        written.take(&fields(None, Some("a@example.org"), &[("dept", "")]));
        let attributes = fields(None, None, &[("city", "Bonn"), ("dept", "")]).attributes;
        assert_eq!(written, Written { email: Some("a@example.org".to_owned()), attributes, ..expected.clone() });
        written.take(&fields(Some("Alice L."), None, &[]));
        assert_eq!(written.display_name.as_deref(), Some("Alice L."));
    }

    #[test]
    fn a_packed_link_is_restored_completely() {
        let whole = Link {
            user: "1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11".into(),
            account: "2f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11".into(),
            name: "alice".to_owned(),
            federated: Some(Federated {
                component: "ldap".to_owned(),
                login: Some("ada".to_owned()),
                ldap_id: Some("e187".to_owned()),
            }),
            seen_alive: Some(at(1)),
            written: Written {
                is_new: true,
                ..Written::new("alice", &fields(Some("Alice"), Some("a@example.org"), &[("dept", "R&D")]))
            },
            deactivated_by_us: true,
            taken: ["jira-users".to_owned()].into(),
            given: ["g1".into(), "g2".into()].into(),
            adopted: false,
            matched_by: None,
            missing_since: Some(at(2)),
            leaving_since: Some(at(3)),
        };
        let renamed = Written { name: Some("alice.old".to_owned()), ..Written::default() };
        let matched_by = Some(MatchedBy::Attribute("externalId".to_owned()));
        let other = Link { user: "u2".into(), written: renamed, adopted: true, matched_by, ..link() };
        let links = [whole, other, link()];
        let packed: Packed<Link> = links.iter().cloned().collect();
        assert_eq!(packed.iter().collect::<Vec<_>>(), links);
        for (place, expected) in links.into_iter().enumerate() {
            let grants = packed.grants(place);
            let of_link = (&expected.user, &expected.account, expected.written.is_new);
            assert_eq!((&grants.user, &grants.account, grants.is_new), of_link);
            assert_eq!(grants.given, expected.given.iter().cloned().collect::<Vec<_>>());
            assert_eq!(packed.find(expected.user.as_str()), Some(expected));
        }
    }

    #[test]
    fn a_mapping_keeps_the_name_by_which_the_group_was_mapped() {
        let managed = GroupMapping::Managed { group: "g1".into(), name: "Engineers".to_owned() };
        let unmapped = GroupMapping::Unmapped { name: "Admins".to_owned(), why: "protected".to_owned() };
        assert_eq!((managed.name(), unmapped.name()), ("Engineers", "Admins"));
    }

    #[test]
    fn the_federation_of_a_link_comes_from_the_last_read_or_from_the_user_id() {
        for (user, component, expected) in [
            ("u1", None, None),
            ("u1", Some("ldap"), Some("ldap")),
            ("f:spi:alice", None, Some("spi")),
            ("f:spi:alice", Some("ldap"), Some("ldap")),
        ] {
            let link = Link { user: user.into(), federated: component.map(Federated::of), ..link() };
            assert_eq!(link.federation(), expected, "{user} {component:?}");
        }
    }

    #[test]
    fn what_a_deactivation_revokes_is_merged_with_what_was_revoked_before() {
        let mut link = link();
        for (takes, is_new, taken) in [
            (&["jira-users"][..], true, &["jira-users"][..]),
            (&["jira-users"], false, &["jira-users"]),
            (&[], false, &["jira-users"]),
            (&["jira-admins", "jira-users"], true, &["jira-admins", "jira-users"]),
        ] {
            assert_eq!(link.will_lose(&deactivate(takes)), is_new, "{takes:?}");
            assert_eq!(link.taken.iter().collect::<Vec<_>>(), taken);
        }
        let delete = Operation::DeleteUser { account: "7".into(), name: "alice".to_owned() };
        assert!(!link.will_lose(&delete));
        assert!(!link.deactivated_by_us, "it is recorded before the operation is sent");
    }

    #[test]
    fn a_completed_operation_is_recorded_in_the_link() {
        let (account, name): (AccountId, _) = ("7".into(), "alice".to_owned());
        let group_name = "Engineers".to_owned();
        let before = Link {
            taken: texts(&["jira-admins", "jira-users"]).into_iter().collect(),
            deactivated_by_us: true,
            given: ["g1".into()].into(),
            ..link()
        };
        let changed = fields(Some("Alice"), None, &[("dept", "R&D")]);
        let mut written = Written::default();
        written.take(&changed);
        let renamed = Written { name: Some("alice2".to_owned()), ..Written::default() };
        for (operation, expected) in [
            (
                Operation::RenameUser { account: account.clone(), name: name.clone(), to: "alice2".to_owned() },
                Link { name: "alice2".to_owned(), written: renamed, ..before.clone() },
            ),
            (
                Operation::UpdateUser { account: account.clone(), name: name.clone(), fields: changed },
                Link { written, ..before.clone() },
            ),
            (
                Operation::ActivateUser { account: account.clone(), name: name.clone(), gives: texts(&["jira-users"]) },
                Link { deactivated_by_us: false, taken: ["jira-admins".to_owned()].into(), ..before.clone() },
            ),
            (
                Operation::AddMember {
                    group: "g2".into(),
                    group_name: group_name.clone(),
                    account: account.clone(),
                    name: name.clone(),
                },
                Link { given: ["g1".into(), "g2".into()].into(), ..before.clone() },
            ),
            (
                Operation::RemoveMember { group: "g1".into(), group_name, account, name },
                Link { given: BTreeSet::new(), ..before.clone() },
            ),
        ] {
            let mut link = before.clone();
            assert!(link.learn(&operation), "{operation}");
            assert_eq!(link, expected, "{operation}");
        }
        let mut link = link();
        assert!(link.learn(&deactivate(&["jira-users"])));
        assert!(link.deactivated_by_us);
    }

    #[test]
    fn an_operation_that_does_not_concern_the_link_leaves_it_as_it_is() {
        let name = || "alice".to_owned();
        for operation in [
            Operation::RenameUser { account: "8".into(), name: name(), to: "alice2".to_owned() },
            Operation::DeactivateUser { account: "8".into(), name: name(), takes: Vec::new() },
            Operation::DeleteUser { account: "7".into(), name: name() },
            Operation::CreateUser { name: name(), fields: UserFields::default(), external_id: None },
            Operation::CreateGroup { name: name() },
            Operation::DeleteGroup { group: "g1".into(), name: name() },
        ] {
            let mut link = link();
            assert!(!link.learn(&operation), "{operation}");
            assert_eq!(link, self::link(), "{operation}");
        }
    }

    #[test]
    fn a_group_is_fed_by_the_connectors_of_its_sources() {
        let sources = [("acme", "s1"), ("labs", "s2")].map(|(connector, id)| (connector.into(), id.into()));
        let group = ManagedGroup {
            id: "g1".into(),
            name: "Engineers".to_owned(),
            adopted: false,
            removals_approved: false,
            sources: sources.into(),
        };
        assert_eq!(
            ["acme", "labs", "jira"].map(|connector| group.fed_by(&Pair::new(connector, "jira"))),
            [true, true, false]
        );
        let unfed = ManagedGroup { sources: Vec::new(), ..group };
        assert!(!unfed.fed_by(&Pair::new("acme", "jira")));
    }
}
