//! Confluence Data Center 8.5 to 10, through `/rest/api`. Functions that REST supports only since 9.4 use JSON-RPC in
//! earlier versions, where it is enabled.

mod errors;
mod groups;
mod listing;
mod members;
mod paging;
mod probe;
mod protection;
mod rpc;
mod settings;
mod tasks;
mod users;
mod wire;

use std::sync::{Arc, atomic::AtomicBool};

use async_trait::async_trait;
use jiff::Timestamp;

use self::errors::CONFLUENCE;
use super::{
    Applied, FirstMembers, Page, Target, TargetError, TargetInfo, TargetKind, Writes,
    rest::{ProtectionCache, Rest, Standings},
};
use crate::model::{Account, AccountId, Operation, TargetGroup, TargetGroupId};

pub use settings::ConfluenceSettings;

/// The kind of target for a Confluence Data Center.
pub(super) const KIND: TargetKind = TargetKind {
    name: "confluence",
    keys: &[],
    no_token: None,
    client_credentials: false,
    attribute: None,
    match_attribute: None,
    expected: |_| probe::expected(),
    build: |config| Ok(Arc::new(ConfluenceTarget::new(ConfluenceSettings::from(config))?)),
};

/// Client of a Confluence Data Center.
pub struct ConfluenceTarget {
    rest: Rest,
    settings: ConfluenceSettings,
    protection: ProtectionCache,
    standings: Standings,
    /// Whether this Confluence reports which groups grant administrator rights.
    reports_admin_groups: AtomicBool,
}

impl ConfluenceTarget {
    /// Creates a client with these settings; sends nothing yet.
    ///
    /// # Errors
    /// The error names the invalid setting.
    pub fn new(settings: ConfluenceSettings) -> Result<Self, TargetError> {
        Ok(Self {
            rest: Rest::new(&settings.base_url, &settings.credentials, &settings.http, &CONFLUENCE)?,
            settings,
            protection: ProtectionCache::default(),
            standings: Standings::default(),
            reports_admin_groups: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl Target for ConfluenceTarget {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    async fn probe(&self) -> Result<TargetInfo, TargetError> {
        self.first_contact().await
    }

    async fn account(&self, id: &AccountId) -> Result<Option<Account>, TargetError> {
        self.account_by_key(id, None).await
    }

    async fn account_named(&self, name: &str) -> Result<Option<Account>, TargetError> {
        self.account_by_login(name, None).await
    }

    async fn accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        self.list_accounts(cursor).await
    }

    async fn own_account(&self) -> Result<Option<AccountId>, TargetError> {
        Ok(Some(self.protection(None).await?.own_id.as_str().into()))
    }

    async fn group_named(&self, name: &str) -> Result<Option<TargetGroup>, TargetError> {
        self.find_group(name, None).await
    }

    async fn members(
        &self,
        group: &TargetGroupId,
        cursor: Option<&str>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        self.members_of(group.as_str(), cursor, None).await
    }

    async fn first_members(&self, group: &TargetGroupId) -> Result<Option<FirstMembers>, TargetError> {
        self.counted_members(group.as_str(), None, None).await
    }

    async fn apply(&self, operation: &Operation, deadline: Timestamp) -> Result<Applied, TargetError> {
        self.write(operation, deadline).await
    }

    async fn free_seats(&self) -> Result<Option<u64>, TargetError> {
        self.seats_left().await
    }

    fn rest(&self) -> Option<&Rest> {
        Some(&self.rest)
    }
}
