//! Jira Data Center 8.3 to 11, through `/rest/api/2`.

mod administrators;
mod anonymize;
mod errors;
mod groups;
mod leads;
mod listing;
mod members;
mod probe;
mod protection;
mod settings;
mod users;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use self::errors::JIRA;
use super::{
    Applied, FirstMembers, Page, Target, TargetError, TargetInfo, TargetKind, Writes,
    rest::{ProtectionCache, Rest, Standings},
};
use crate::model::{Account, AccountId, Operation, TargetGroup, TargetGroupId};

pub use settings::JiraSettings;

/// The kind of target for a Jira Data Center or Server.
pub(super) const KIND: TargetKind = TargetKind {
    name: "jira",
    keys: &["applications", "new_lead"],
    no_token: None,
    client_credentials: false,
    attribute: None,
    match_attribute: None,
    expected: |_| probe::expected(),
    build: |config| Ok(Arc::new(JiraTarget::new(JiraSettings::from(config))?)),
};

/// Client of a Jira Data Center.
pub struct JiraTarget {
    rest: Rest,
    settings: JiraSettings,
    protection: ProtectionCache,
    standings: Standings,
}

impl JiraTarget {
    /// Creates a client with these settings; sends nothing yet.
    ///
    /// # Errors
    /// The error names the invalid setting.
    pub fn new(settings: JiraSettings) -> Result<Self, TargetError> {
        Ok(Self {
            rest: Rest::new(&settings.base_url, &settings.credentials, &settings.http, &JIRA)?,
            settings,
            protection: ProtectionCache::default(),
            standings: Standings::default(),
        })
    }
}

#[async_trait]
impl Target for JiraTarget {
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

    async fn accounts_with_email(&self, email: &str) -> Result<Vec<Account>, TargetError> {
        self.accounts_by_email(email).await
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
        self.members_page(group.as_str(), true, cursor, None).await
    }

    async fn first_members(&self, group: &TargetGroupId) -> Result<Option<FirstMembers>, TargetError> {
        self.counted_members(group.as_str(), true, None, None).await
    }

    async fn apply(&self, operation: &Operation, deadline: Timestamp) -> Result<Applied, TargetError> {
        self.write(operation, deadline).await
    }

    async fn end_sessions(&self, name: &str, deadline: Timestamp) -> Result<(), TargetError> {
        self.end_sessions_of(name, deadline).await
    }

    async fn free_seats(&self) -> Result<Option<u64>, TargetError> {
        self.seats_left().await
    }

    fn rest(&self) -> Option<&Rest> {
        Some(&self.rest)
    }
}
