//! The [`Source`] trait: what the engine reads from a source.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::{
    meter::CallMeter,
    model::{
        ErrorClass, EventLog, EventMark, EventSettings, GroupId, GroupState, IdSet, NewEvent, OrganizationName, Packed,
        ReadEvidence, RoleName, SourceIdentity, Unread, UserId, UserOrganizations, UserRoles, UserState, Uses,
    },
};

/// An error of the source, as a message for operators: the thing, what happened, what to do.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text}")]
pub struct SourceError {
    /// Whether and how the call is retried.
    pub class: ErrorClass,
    /// One readable line, without secrets and stack traces.
    pub text: String,
    /// The delay that the server asks for (`Retry-After`); `None`: it asks for none.
    pub retry_after: Option<SignedDuration>,
}

/// The result of listing all users, groups or members, and whether it is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullListing<K, I> {
    /// The items that were read, each once.
    pub items: I,
    /// Entries that were listed but could not be read: they exist, and nothing else is known of them.
    pub unreadable: Vec<(K, Unreadable)>,
    /// Why the listing may be incomplete; `None`: it is complete. If it is incomplete, a missing item may still exist.
    pub incomplete: Option<String>,
    /// How it was read.
    pub evidence: ReadEvidence,
}

/// An entry of a listing that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its login or path; `None` if that could not be read.
    pub name: Option<String>,
    /// What is wrong with it; contains no value of any field.
    pub why: String,
}

impl Unreadable {
    /// Describes the failure in one line.
    pub fn failure(&self) -> String {
        let name = self.name.as_deref().map_or(String::new(), |name| format!(" {name}"));
        format!("the entry{name} in Keycloak's listing cannot be decoded: {}. Correct it in Keycloak", self.why)
    }
}

/// Consecutive events of one of Keycloak's logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    /// The events, oldest first; each is complete.
    pub events: Vec<NewEvent>,
    /// Where the next page begins; `None`: there are no more events.
    pub next: Option<Timestamp>,
}

/// The users and groups that have a role directly, or by a composite role that contains it; or the members of an
/// organization.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holders {
    /// The users.
    pub users: Packed<UserId>,
    /// The groups; their members have the role, and those of the groups below them.
    pub groups: Vec<GroupId>,
    /// Why there may be more; `None`: these are all.
    pub incomplete: Option<String>,
}

/// Who has the roles, or is a member of the organizations, that a policy names.
#[derive(Clone, Debug, PartialEq)]
pub struct AllHolders<N: Ord> {
    /// The holders that were read.
    pub held: BTreeMap<N, Holders>,
    /// Those of which it is not known whether others have them.
    pub unread: BTreeMap<N, Unread>,
    /// Roles that the realm's default role contains. Users of a federation without import have the default role, but no
    /// list of holders contains them.
    pub by_default: BTreeMap<N, Unread>,
    /// How the holders were read.
    pub evidence: ReadEvidence,
    /// The missing right because of which some could not be read, with what to do; `None`: no right is missing.
    pub lacks: Option<String>,
}

/// Who has the roles that a policy names.
pub type RoleHolders = AllHolders<RoleName>;

/// Who is a member of the organizations that a policy names.
pub type OrganizationMembers = AllHolders<OrganizationName>;

impl<N: Ord> Default for AllHolders<N> {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            unread: BTreeMap::new(),
            by_default: BTreeMap::new(),
            evidence: ReadEvidence::default(),
            lacks: None,
        }
    }
}

/// Called with the number of entries read and their approximate total.
pub type OnProgress<'a> = &'a (dyn Fn(usize, usize) + Send + Sync);

/// The result of the first contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    /// The identity of the source.
    pub identity: SourceIdentity,
    /// The base URL that answered, with or without `/auth`.
    pub base_url: String,
    /// The roles that the token contains for reading the realm; empty: it shows none.
    pub rights: Vec<String>,
}

/// Whether a federation provider can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderContact {
    /// It answers; a provider that is disabled or misconfigured may do so too.
    Answers {
        /// Its name in Keycloak.
        name: String,
    },
    /// It cannot be asked now.
    Silent {
        /// Its name in Keycloak.
        name: String,
        /// What happened.
        why: String,
        /// Whether it keeps each question waiting.
        hangs: bool,
    },
    /// Its component was removed from the realm.
    Removed,
}

/// The questions about federation providers, such as LDAP, that are answered without Keycloak's cache.
#[async_trait]
pub trait Federation: Send + Sync {
    /// Returns whether the provider with this component id can be asked.
    async fn contact(&self, component: &str) -> Result<ProviderContact, SourceError>;

    /// Asks the provider for the user with this login, and returns the user's id; `None`: it has no such user, or it is
    /// disabled or misconfigured. `imported`: whether Keycloak stores the users of this provider.
    async fn find(&self, component: &str, login: &str, imported: bool) -> Result<Option<UserId>, SourceError>;

    /// Returns the users with this id of an LDAP entry, whatever their logins.
    async fn find_by_ldap_id(&self, ldap_id: &str) -> Result<Vec<UserId>, SourceError>;

    /// Returns whether Keycloak itself has stored that this user is disabled.
    async fn is_stored_disabled(&self, id: &UserId, login: &str) -> Result<bool, SourceError>;

    /// Returns which of these users exist and are enabled, by one request for at most 100 ids.
    async fn enabled_among(&self, ids: &[UserId]) -> Result<IdSet<UserId>, SourceError>;
}

/// A realm, read through the Admin REST API.
///
/// Absence is reported only by `Ok(None)`. Only Keycloak's own `User not found` and `Could not find group by id` lead
/// to it; every other 404 is an error.
#[async_trait]
pub trait Source: Send + Sync {
    /// Signs in and returns the source's identity; cached, and renewed with the token.
    async fn identify(&self) -> Result<SourceInfo, SourceError>;

    /// Counts this source's calls with `meter` from now on.
    fn attach(&self, meter: &CallMeter) {
        let _ = meter;
    }

    /// Reads groups with their attributes from now on. This cannot be undone, because other users of this source may need
    /// them.
    fn read_group_attributes(&self) {}

    /// Returns the questions about federation providers; `None`: this source cannot ask them, so nothing about their users
    /// is confirmed.
    fn federation(&self) -> Option<&dyn Federation> {
        None
    }

    /// Reads which events the realm stores.
    async fn event_settings(&self) -> Result<EventSettings, SourceError> {
        Ok(EventSettings::default())
    }

    /// Returns the current time by the source's clock, accurate to 2 s.
    async fn time(&self) -> Result<Timestamp, SourceError> {
        Ok(Timestamp::UNIX_EPOCH)
    }

    /// Reads a page of stored events, from this time on, inclusive. Events about roles and organizations cause work only
    /// if the policy `uses` them.
    async fn stored_events(&self, log: EventLog, from: Timestamp, uses: Uses) -> Result<EventPage, SourceError> {
        let _ = (log, from, uses);
        Ok(EventPage::default())
    }

    /// Returns whether an event is still stored.
    async fn stores_event(&self, log: EventLog, event: &EventMark) -> Result<bool, SourceError> {
        let _ = (log, event);
        Ok(true)
    }

    /// Allows a refused client secret to be sent again with the next token request. Otherwise it is not sent until it
    /// changes.
    async fn forget_refusal(&self) {}

    /// Reads a user with its direct groups, by two concurrent calls.
    async fn user(&self, id: &UserId) -> Result<Option<UserState>, SourceError>;

    /// Counts a user's groups. Keycloak does not cache this count. It includes groups that are hidden from the token, and the
    /// internal groups of organizations.
    async fn count_groups_of(&self, id: &UserId) -> Result<usize, SourceError>;

    /// Returns which of these roles a user has; `None`: the user is gone. A missing right is not an error, but part of
    /// the answer.
    async fn roles_of(&self, id: &UserId, roles: &BTreeSet<RoleName>) -> Result<Option<UserRoles>, SourceError>;

    /// Reads who has these roles. A missing right is not an error, but part of the answer.
    async fn role_holders(&self, roles: &BTreeSet<RoleName>) -> Result<RoleHolders, SourceError>;

    /// Returns which of these organizations a user is a member of. A missing right is not an error, but part of the answer;
    /// a user that is gone is an error, because Keycloak's answer does not say so.
    async fn organizations_of(
        &self,
        id: &UserId,
        organizations: &BTreeSet<OrganizationName>,
    ) -> Result<UserOrganizations, SourceError>;

    /// Reads who is a member of these organizations. A missing right is not an error, but part of the answer.
    async fn organization_members(
        &self,
        organizations: &BTreeSet<OrganizationName>,
    ) -> Result<OrganizationMembers, SourceError>;

    /// Whether the user's read answers 200 and the user is enabled; one call.
    async fn is_alive(&self, id: &UserId) -> Result<bool, SourceError>;

    /// Returns some enabled users from one small page, as canaries beside a read that answers "gone".
    async fn some_users(&self) -> Result<Vec<UserId>, SourceError>;

    /// Returns the users with exactly this login, case-insensitive.
    async fn users_named(&self, login: &str) -> Result<Vec<UserId>, SourceError>;

    /// Reads a group.
    async fn group(&self, id: &GroupId) -> Result<Option<GroupState>, SourceError>;

    /// Returns all groups with this leaf name, case-insensitive, anywhere in the tree.
    async fn groups_named(&self, name: &str) -> Result<Vec<GroupState>, SourceError>;

    /// Lists all users, without groups.
    async fn users(&self, progress: OnProgress<'_>) -> Result<FullListing<UserId, Packed<UserState>>, SourceError>;

    /// Returns which of these users exist, by one request for at most 100 ids. `None`: unsupported by the source.
    async fn users_among(&self, ids: &[UserId]) -> Result<Option<IdSet<UserId>>, SourceError> {
        let _ = ids;
        Ok(None)
    }

    /// Returns the number of users.
    async fn user_count(&self) -> Result<usize, SourceError>;

    /// Lists all groups, flat.
    async fn groups(&self) -> Result<FullListing<GroupId, Vec<GroupState>>, SourceError>;

    /// Lists the ids of all direct members of a group; `None` if the group is gone.
    async fn members(&self, group: &GroupId) -> Result<Option<FullListing<UserId, Packed<UserId>>>, SourceError>;

    /// Lists all direct members of a group, without groups; `None` if the group is gone.
    async fn members_in_full(
        &self,
        group: &GroupId,
    ) -> Result<Option<FullListing<UserId, Packed<UserState>>>, SourceError>;
}
