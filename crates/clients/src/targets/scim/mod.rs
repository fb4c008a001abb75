//! Any service that supports SCIM 2.0 (RFC 7643, RFC 7644; cursors by RFC 9865).
//!
//! Users and groups are identified by their SCIM `id`; the login is `userName`. `externalId` holds the id at the
//! source. It is written at creation and never read, because usersync keeps the links itself.

mod batch;
mod bulk;
mod change;
mod dialect;
mod forms;
mod gone;
mod groups;
mod listing;
mod members;
mod names;
mod paths;
mod probe;
mod profile;
mod protection;
mod service;
mod settings;
mod users;
mod verify;
mod wire;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use self::{
    dialect::SCIM,
    forms::{Forms, GroupLocks, Shown as MembersShown, locked},
    paths::Path,
    profile::Profile,
    service::Service,
    wire::Resource,
};
use super::{
    AddedMembers, Applied, Memberships, Note, NoteState, Page, Target, TargetError, TargetInfo, TargetKind,
    rest::{MemberBatches, More, Protection, ProtectionCache, Rest, fold, not_done, note},
};
use crate::{
    meter::CallMeter,
    model::{Account, AccountId, ErrorClass, Operation, TargetGroup, TargetGroupId},
};

pub use profile::{Habits, Names, Removal, profiles};
pub use settings::ScimSettings;

/// The kind of target: any service that supports SCIM 2.0.
pub(super) const KIND: TargetKind = TargetKind {
    name: "scim",
    keys: &["profile", "habits"],
    no_token: None,
    client_credentials: true,
    attribute: Some(paths::check),
    build: |config| Ok(Arc::new(ScimTarget::new(ScimSettings::from(config))?)),
};

/// The two kinds of resources that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    User,
    Group,
}

/// A client for a SCIM 2.0 server.
pub struct ScimTarget {
    rest: Rest,
    profile: Arc<Profile>,
    /// Names of the settings that differ from the profile.
    habits: Vec<&'static str>,
    /// Whether the settings name the profile.
    chosen: bool,
    protected_groups: Vec<String>,
    frozen_groups: Vec<String>,
    protected_users: Vec<String>,
    protection: ProtectionCache,
    /// Further attributes of accounts.
    attributes: Vec<Path>,
    service: AsyncMutex<Option<Arc<Service>>>,
    learned: Learned,
    /// One write at a time for each group.
    group_locks: GroupLocks,
    batches: MemberBatches<AccountId>,
}

/// Behaviour of a server observed during work.
#[derive(Default)]
struct Learned {
    /// The server refused PATCH of users, or of groups, although it declares support.
    no_patch: [AtomicBool; 2],
    /// The server refused a bulk call although it declares support.
    no_bulk: AtomicBool,
    /// The server returned the groups of an account with the account.
    accounts_show_groups: AtomicBool,
    /// Whether groups can be found by a member; see `members`.
    member_filter: AtomicU8,
    /// Lists of groups show no members, although single groups do.
    lists_hide: AtomicBool,
    /// Accounts were seen with a given or a family name.
    name_parts: AtomicBool,
    /// Whether answers to changes are correct, by attribute name, as verified by a later read.
    answers: Mutex<HashMap<String, bool>>,
    /// Number of members in one write that the server refused as too large; 0: none.
    too_many: AtomicUsize,
    /// Held by the write that verifies the effect of adding members.
    proving: AsyncMutex<()>,
    /// Further attributes seen on an account, and in lists. An account that lacks a seen attribute has none.
    shown: Mutex<BTreeSet<String>>,
    shown_in_lists: Mutex<BTreeSet<String>>,
    /// Observed effect of each form of member writes.
    forms: Forms,
    /// Whether the server shows the members of groups.
    members: Mutex<MembersShown>,
    /// Groups that usersync created and has not written members to, with the time of creation.
    new_groups: Mutex<HashMap<TargetGroupId, Instant>>,
    /// Folded names of groups that a recent read did not find, with the time of the read.
    absent_groups: Mutex<HashMap<String, Instant>>,
    /// Ids of accounts, and of groups, that the server's filter does not find, by name in lower case.
    accounts_spelled: Mutex<HashMap<String, String>>,
    groups_spelled: Mutex<HashMap<String, String>>,
    /// Notes for the operator.
    observed: Mutex<Vec<Note>>,
}

/// How long a group counts as empty after its creation.
const NEW: Duration = Duration::from_mins(1);
/// How long a group name counts as free after a read that did not find it.
const FREE: Duration = Duration::from_secs(5);
/// Maximum number of notes kept.
const OBSERVED: usize = 100;
/// Maximum number of kept names that the server's filter does not find.
const SPELLED: usize = 10_000;

impl Learned {
    fn members_shown(&self) -> MembersShown {
        *locked(&self.members)
    }

    /// Records where members were seen. "With the group itself" is the strongest evidence and is kept.
    fn set_shown(&self, shown: MembersShown) {
        let mut known = locked(&self.members);
        if *known != MembersShown::Alone {
            *known = shown;
        }
    }

    fn is_new_group(&self, group: &TargetGroupId) -> bool {
        locked(&self.new_groups).contains_key(group)
    }

    /// Whether a group was created recently and not written since, so that it has no members.
    fn is_just_created(&self, group: &TargetGroupId) -> bool {
        locked(&self.new_groups).get(group).is_some_and(|made| made.elapsed() < NEW)
    }

    fn was_written(&self, group: &TargetGroupId) {
        locked(&self.new_groups).remove(group);
    }
}

/// Records the id of an object that the server's filter does not find by name.
fn keep_spelled(names: &Mutex<HashMap<String, String>>, name: &str, id: String) {
    let mut names = locked(names);
    if names.len() >= SPELLED {
        names.clear();
    }
    names.insert(fold(name), id);
}

impl ScimTarget {
    /// Creates a client with these settings; sends nothing. The error names the invalid setting.
    pub fn new(settings: ScimSettings) -> Result<Self, TargetError> {
        let profile = match &settings.profile {
            None => Profile::of_address(&settings.base_url),
            Some(name) => Profile::named(name)
                .ok_or_else(|| not_done(ErrorClass::Permanent, format!("There is no profile {name}.")))?,
        };
        let attributes = settings.attributes.iter().map(|path| Path::read(path));
        let attributes = attributes.collect::<Result<Vec<_>, _>>();
        let attributes = attributes.map_err(|why| not_done(ErrorClass::Permanent, format!("attributes: {why}")))?;
        if let Some((one, other)) = Path::one_twice(&attributes) {
            let text = format!("attributes: {one} and {other} are the same attribute. Remove one of them.");
            return Err(not_done(ErrorClass::Permanent, text));
        }
        let profile = Arc::new(profile.but(&settings.habits));
        let max_members_per_call = profile.max_members_per_call;
        let more = More::new(&settings.habits.headers, &settings.habits.query);
        let more = more.map_err(|why| not_done(ErrorClass::Permanent, why))?;
        Ok(Self {
            attributes,
            rest: Rest::new(settings.base_url, settings.credentials, &settings.http, &SCIM)?.with(more),
            profile,
            habits: settings.habits.said(),
            chosen: settings.profile.is_some(),
            protected_groups: settings.protected_groups,
            frozen_groups: settings.frozen_groups,
            protected_users: settings.protected_users,
            protection: ProtectionCache::default(),
            service: AsyncMutex::default(),
            learned: Learned::default(),
            group_locks: GroupLocks::default(),
            batches: MemberBatches::new(max_members_per_call),
        })
    }
}

impl ScimTarget {
    /// Records a note for the operator and logs it.
    fn observe(&self, state: NoteState, about: &str, text: String) {
        let mut observed = locked(&self.learned.observed);
        if observed.iter().any(|known| known.text == text) || observed.len() >= OBSERVED {
            return;
        }
        tracing::error!("SCIM server {}: {text}", self.rest.address());
        observed.push(note(state, about, text));
    }

    fn forget_observed(&self, about: &str) {
        locked(&self.learned.observed).retain(|note| note.about != about);
    }

    /// Builds an account from a resource, without its groups; `None` if a required field is missing. A list may omit
    /// attributes, so attributes seen in lists are recorded separately.
    fn account_in(&self, user: &Resource, protection: &Protection, list: bool) -> Option<Account> {
        let mut account = user.account(&self.profile, protection)?;
        if user.inner("name", "givenName").or_else(|| user.inner("name", "familyName")).is_some() {
            self.learned.name_parts.store(true, Ordering::Relaxed);
        }
        let shown = if list { &self.learned.shown_in_lists } else { &self.learned.shown };
        let mut shown = shown.lock();
        for path in &self.attributes {
            let value = path.value(user);
            if value.is_some() && !shown.contains(&path.text) {
                shown.insert(path.text.clone());
            }
            if value.is_some() || shown.contains(&path.text) {
                account.attributes.insert(path.text.clone(), value.unwrap_or_default());
            }
        }
        Some(account)
    }
}

#[async_trait]
impl Target for ScimTarget {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    async fn probe(&self) -> Result<TargetInfo, TargetError> {
        self.first_contact().await
    }

    async fn account(&self, id: &AccountId) -> Result<Option<Account>, TargetError> {
        self.account_by_id(id, None).await
    }

    async fn account_named(&self, name: &str) -> Result<Option<Account>, TargetError> {
        self.account_by_login(name, None).await
    }

    async fn accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        self.list_accounts(cursor).await
    }

    async fn group_named(&self, name: &str) -> Result<Option<TargetGroup>, TargetError> {
        self.find_group(name, None).await
    }

    /// Returns all members of a group at once: SCIM has no pages of them.
    async fn members(
        &self,
        group: &TargetGroupId,
        _cursor: Option<&str>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        self.members_of(group, None).await
    }

    async fn apply(&self, operation: &Operation, deadline: Timestamp) -> Result<Applied, TargetError> {
        match operation {
            Operation::CreateUser { name, fields, external_id } => {
                self.create_user(name, fields, external_id.as_ref(), deadline).await
            }
            Operation::UpdateUser { account, name, fields } => self.update_user(account, name, fields, deadline).await,
            Operation::RenameUser { account, name, to } => self.rename_user(account, name, to, deadline).await,
            Operation::ActivateUser { account, name, .. } => self.set_active(account, name, true, deadline).await,
            Operation::DeactivateUser { account, name, .. } => self.set_active(account, name, false, deadline).await,
            Operation::DeleteUser { account, name } => self.delete_user(account, name, deadline).await,
            Operation::CreateGroup { name } => self.create_group(name, deadline).await,
            Operation::RenameGroup { group, name, to } => self.rename_group(group, name, to, deadline).await,
            Operation::DeleteGroup { group, name } => self.delete_group(group, name, deadline).await,
            Operation::AddMember { group, group_name, account, name } => {
                self.add_member((group, group_name), account, name, deadline).await
            }
            Operation::RemoveMember { group, group_name, account, name } => {
                self.remove_member(group, account, &format!("removing {name} from {group_name}"), deadline).await
            }
        }
    }

    async fn add_to_groups(
        &self,
        account: &AccountId,
        name: &str,
        groups: &[(&TargetGroupId, &str)],
        deadline: Timestamp,
    ) -> Result<Vec<TargetGroupId>, TargetError> {
        self.add_to_groups(account, name, groups, deadline).await
    }

    async fn memberships(&self, groups: &BTreeSet<TargetGroupId>) -> Result<Option<Memberships>, TargetError> {
        self.listed_members(groups).await
    }

    async fn groups_among(
        &self,
        account: &AccountId,
        groups: &BTreeSet<TargetGroupId>,
    ) -> Result<Vec<TargetGroupId>, TargetError> {
        self.memberships_among(account, groups).await
    }

    fn max_members_per_call(&self) -> usize {
        self.accounts_at_once()
    }

    async fn add_members(
        &self,
        group: &TargetGroupId,
        group_name: &str,
        accounts: &[AccountId],
        deadline: Timestamp,
    ) -> Result<AddedMembers, TargetError> {
        self.add_many((group, group_name), accounts, deadline).await
    }

    fn reads_memberships_by_group(&self) -> bool {
        !self.profile.on_request && !self.accounts_show_groups()
    }

    fn shows_memberships(&self) -> bool {
        self.shown() != MembersShown::Never || self.accounts_show_groups()
    }

    fn observed(&self) -> Vec<Note> {
        locked(&self.learned.observed).clone()
    }

    async fn until_open(&self) -> Result<(), TargetError> {
        self.rest.until_open().await
    }

    fn attach(&self, meter: &CallMeter) {
        self.rest.attach(meter);
    }

    fn forget_refusal(&self) {
        self.rest.auth.forget();
    }

    fn locked_out(&self) -> bool {
        self.rest.auth.locked_out()
    }
}

/// Returns the path of one resource. An id that would lead to another path is refused.
fn path_of(kind: &str, id: &str, what: &str) -> Result<String, TargetError> {
    if matches!(id, "" | "." | "..") {
        return Err(not_done(ErrorClass::Bug, format!("{what}: \"{id}\" is not a valid id.")));
    }
    Ok(format!("{kind}/{}", super::rest::segment(id)))
}
