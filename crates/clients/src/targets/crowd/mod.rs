//! Crowd 3 to 7, and Jira Data Center through its user server, over `/rest/usermanagement/1`.
//!
//! usersync signs in as an *application*, which has no account. The format is JSON, except for one XML-only resource:
//! all memberships at once, for a full reconcile. If it is missing or unusable, members are read group by group.
//!
//! The stable id of an account is Crowd's `key`. Servers without keys identify an account by its login alone. Its id is
//! then `login:` with the folded login, and a changed login is a different account.

mod attributes;
mod errors;
mod groups;
mod listing;
mod members;
mod memberships;
mod paging;
mod probe;
mod protection;
mod settings;
mod users;
mod wire;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
};

use async_trait::async_trait;
use jiff::Timestamp;

use self::errors::CROWD;
use super::{
    Applied, Credentials, Memberships, NoToken, Page, Target, TargetError, TargetInfo, TargetKind, Writes,
    rest::{ProtectionCache, Rest, not_done},
};
use crate::model::{Account, AccountId, ErrorClass, Operation, TargetGroup, TargetGroupId};

pub use settings::CrowdSettings;

/// The kind of target: Crowd, or Jira through its user server.
pub(super) const KIND: TargetKind = TargetKind {
    name: "crowd",
    keys: &[],
    no_token: Some(NoToken { why: "", user: "add an application's name as user" }),
    client_credentials: true,
    attribute: Some(attributes::check),
    match_attribute: None,
    expected: |_| probe::expected(),
    build: |config| Ok(Arc::new(CrowdTarget::new(CrowdSettings::from(config))?)),
};

/// A client for Crowd or for Jira's user server.
pub struct CrowdTarget {
    rest: Rest,
    /// The application that usersync signs in as.
    application: String,
    settings: CrowdSettings,
    protection: ProtectionCache,
    /// Whether a list was seen to include attributes.
    lists_attributes: AtomicBool,
}

impl CrowdTarget {
    /// Creates a client with these settings; sends nothing. The error names the invalid setting.
    pub fn new(settings: CrowdSettings) -> Result<Self, TargetError> {
        let (application, caller) = match &settings.credentials {
            Credentials::Basic { user, .. } => (user.clone(), format!("application {user}")),
            Credentials::Client(client) => (client.client_id.clone(), format!("client {}", client.client_id)),
            Credentials::Token(_) => {
                return Err(not_done(
                    ErrorClass::Permanent,
                    "Crowd does not accept tokens. Set the name of an application, as user, and its password.",
                ));
            }
        };
        if let Some(why) = settings.attributes.iter().find_map(|name| attributes::check(name).err()) {
            return Err(not_done(ErrorClass::Permanent, format!("attributes: {why}.")));
        }
        let rest = Rest::new(&settings.base_url, &settings.credentials, &settings.http, &CROWD)?;
        rest.signed_in_as(&caller);
        Ok(Self {
            rest,
            application,
            settings,
            protection: ProtectionCache::default(),
            lists_attributes: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl Target for CrowdTarget {
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
        self.account_by_login(name).await
    }

    async fn accounts_with_email(&self, email: &str) -> Result<Vec<Account>, TargetError> {
        self.accounts_by_email(email).await
    }

    async fn accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        self.list_accounts(cursor).await
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

    async fn memberships(&self, groups: &BTreeSet<TargetGroupId>) -> Result<Option<Memberships>, TargetError> {
        self.all_memberships(groups).await
    }

    async fn apply(&self, operation: &Operation, deadline: Timestamp) -> Result<Applied, TargetError> {
        self.write(operation, deadline).await
    }

    fn rest(&self) -> Option<&Rest> {
        Some(&self.rest)
    }
}
