//! Any service that supports SCIM 2.0 (RFC 7643, RFC 7644; cursors by RFC 9865).
//!
//! Users and groups are identified by their SCIM `id`; the login is `userName`. `externalId` holds the id at the
//! source. It is written at creation and never read, because usersync keeps the links itself.

mod attributes;
mod batch;
mod change;
mod discovery;
mod errors;
mod fields;
mod forms;
mod groups;
mod learned;
mod listing;
mod members;
mod memberships;
mod not_found;
mod probe;
mod profile;
mod protection;
mod settings;
mod taken;
mod users;
mod verify;
mod wire;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Mutex as AsyncMutex;

use self::{
    attributes::{MatchPath, Path},
    discovery::Service,
    errors::SCIM,
    forms::{GroupLocks, Shown},
    learned::Learned,
    profile::Profile,
};
use super::{
    AddedMembers, Applied, GroupRef, Memberships, Note, Page, Target, TargetError, TargetInfo, TargetKind, Writes,
    rest::{MemberBatches, More, ProtectionCache, Rest, not_done},
};
use crate::model::{Account, AccountId, ErrorClass, Operation, TargetGroup, TargetGroupId};

pub use profile::{Habits, Names, Removal, profiles};
pub use settings::ScimSettings;

/// The kind of target: any service that supports SCIM 2.0.
pub(super) const KIND: TargetKind = TargetKind {
    name: "scim",
    keys: &["profile", "habits"],
    no_token: None,
    client_credentials: true,
    attribute: Some(attributes::check),
    match_attribute: Some(attributes::check_match),
    expected: |config| {
        let named = config.profile.and_then(Profile::named);
        let profile = named.unwrap_or_else(|| Profile::of_address(&config.url));
        probe::expected(&profile.but(&config.habits))
    },
    build: |config| Ok(Arc::new(ScimTarget::new(ScimSettings::from(config))?)),
};

/// A client for a SCIM 2.0 server.
pub struct ScimTarget {
    rest: Rest,
    profile: Arc<Profile>,
    settings: ScimSettings,
    protection: ProtectionCache,
    /// Further attributes of accounts.
    attributes: Vec<Path>,
    /// Attributes by which users are matched, by their names in the policy.
    match_paths: Vec<(String, MatchPath)>,
    service: AsyncMutex<Option<Arc<Service>>>,
    learned: Learned,
    /// One write at a time for each group.
    group_locks: GroupLocks,
    batches: MemberBatches<AccountId>,
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
        let match_paths = settings.match_attributes.iter().map(|name| Ok((name.clone(), MatchPath::read(name)?)));
        let match_paths = match_paths.collect::<Result<Vec<_>, String>>();
        let match_paths = match_paths.map_err(|why| not_done(ErrorClass::Permanent, format!("matching: {why}.")))?;
        let profile = Arc::new(profile.but(&settings.habits));
        let max_members_per_call = profile.max_members_per_call;
        let more = More::new(&settings.habits.headers, &settings.habits.query);
        let more = more.map_err(|why| not_done(ErrorClass::Permanent, why))?;
        Ok(Self {
            attributes,
            match_paths,
            rest: Rest::new(&settings.base_url, &settings.credentials, &settings.http, &SCIM)?.with(more),
            profile,
            settings,
            protection: ProtectionCache::default(),
            service: AsyncMutex::default(),
            learned: Learned::default(),
            group_locks: GroupLocks::default(),
            batches: MemberBatches::new(max_members_per_call),
        })
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

    async fn accounts_with_email(&self, email: &str) -> Result<Vec<Account>, TargetError> {
        self.accounts_by_email(email).await
    }

    async fn accounts_with_attribute(&self, attribute: &str, value: &str) -> Result<Vec<Account>, TargetError> {
        self.accounts_by_attribute(attribute, value).await
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
        self.write(operation, deadline).await
    }

    async fn add_to_groups(
        &self,
        account: &AccountId,
        name: &str,
        groups: &[(&TargetGroupId, &str)],
        deadline: Timestamp,
    ) -> Result<Vec<TargetGroupId>, TargetError> {
        self.add_in_bulk(account, name, groups, deadline).await
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
        self.add_many(GroupRef { id: group, name: group_name }, accounts, deadline).await
    }

    fn reads_memberships_by_group(&self) -> bool {
        !self.profile.on_request && !self.accounts_show_groups()
    }

    fn shows_memberships(&self) -> bool {
        self.learned.members_shown() != Shown::Never || self.accounts_show_groups()
    }

    fn observed(&self) -> Vec<Note> {
        self.learned.observed.lock().clone()
    }

    fn rest(&self) -> Option<&Rest> {
        Some(&self.rest)
    }
}
