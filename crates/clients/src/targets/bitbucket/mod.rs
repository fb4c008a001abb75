//! Bitbucket Data Center 8 to 10, through `/rest/api/1.0`.

mod access;
mod errors;
mod groups;
mod listing;
mod lookup;
mod members;
mod paging;
mod permissions;
mod probe;
mod protection;
mod settings;
mod users;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use self::{
    errors::BITBUCKET,
    listing::Licensed,
    lookup::Seen,
    members::{MAX_USERS_PER_CALL, Member},
    protection::Known,
};
use super::{
    AccountRef, Applied, Credentials, NoToken, Page, Target, TargetError, TargetInfo, TargetKind, Writes,
    rest::{MemberBatches, ProtectionCache, Rest, not_done},
};
use crate::model::{Account, AccountId, ErrorClass, Operation, TargetGroup, TargetGroupId};

pub use settings::BitbucketSettings;

/// The kind of target for a Bitbucket Data Center.
pub(super) const KIND: TargetKind = TargetKind {
    name: "bitbucket",
    keys: &["default_group"],
    no_token: Some(NoToken {
        why: ": Bitbucket's HTTP access tokens never carry the global permission ADMIN (BSERV-10482)",
        user: "add an administrator's login as user",
    }),
    client_credentials: true,
    attribute: None,
    match_attribute: None,
    expected: |_| probe::expected(),
    build: |config| Ok(Arc::new(BitbucketTarget::new(BitbucketSettings::from(config))?)),
};

/// Client of a Bitbucket Data Center.
pub struct BitbucketTarget {
    rest: Rest,
    /// The login that usersync signs in with; `None`: unknown before sign-in.
    login: Option<String>,
    settings: BitbucketSettings,
    known: ProtectionCache<Known>,
    licensed: ProtectionCache<Licensed>,
    seen: Seen,
    batches: MemberBatches<Member>,
}

impl BitbucketTarget {
    /// Creates a client with these settings; sends nothing yet.
    ///
    /// # Errors
    /// The error names the invalid setting.
    pub fn new(settings: BitbucketSettings) -> Result<Self, TargetError> {
        let login = match &settings.credentials {
            Credentials::Basic { user, .. } => Some(user.clone()),
            Credentials::Client(_) => None,
            Credentials::Token(_) => {
                return Err(not_done(
                    ErrorClass::Permanent,
                    "Bitbucket does not accept HTTP access tokens for administration (BSERV-10482). Set an \
                     administrator's user and password, or OAuth 2.0 client credentials.",
                ));
            }
        };
        Ok(Self {
            rest: Rest::new(&settings.base_url, &settings.credentials, &settings.http, &BITBUCKET)?,
            login,
            settings,
            known: ProtectionCache::default(),
            licensed: ProtectionCache::default(),
            seen: Seen::default(),
            batches: MemberBatches::new(MAX_USERS_PER_CALL),
        })
    }
}

#[async_trait]
impl Target for BitbucketTarget {
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

    async fn accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        self.list_accounts(cursor).await
    }

    async fn own_account(&self) -> Result<Option<AccountId>, TargetError> {
        Ok(Some(self.known(None).await?.protection.own_id.as_str().into()))
    }

    async fn group_named(&self, name: &str) -> Result<Option<TargetGroup>, TargetError> {
        self.find_group(name, None).await
    }

    async fn members(
        &self,
        group: &TargetGroupId,
        cursor: Option<&str>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        self.members_page(group.as_str(), cursor).await
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
        let groups = groups.iter().map(|(_, spelled)| *spelled).collect();
        self.add_to_groups(groups, AccountRef { id: account, name }, deadline).await.map(|()| Vec::new())
    }

    async fn free_seats(&self) -> Result<Option<u64>, TargetError> {
        self.seats_left(None).await
    }

    fn rest(&self) -> Option<&Rest> {
        Some(&self.rest)
    }
}
