//! Jira Data Center 8.3 to 11, through `/rest/api/2`.

mod auth;
mod call;
mod errors;
mod groups;
mod listing;
mod probe;
mod protection;
mod settings;
mod users;
mod wire;

use std::sync::{Mutex as StdMutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Mutex;
use url::Url;

use self::{auth::Auth, errors::not_done, protection::Cached};
use super::{
    Applied, Page, Target, TargetError, TargetInfo,
    http::{Http, server},
};
use crate::model::{Account, AccountId, ErrorClass, Operation, TargetGroup, TargetGroupId};

pub use settings::{Credentials, JiraSettings};

/// A Jira Data Center.
pub struct JiraTarget {
    base: Url,
    http: Http,
    auth: Auth,
    applications: Option<Vec<String>>,
    protected_groups: Vec<String>,
    protected_users: Vec<String>,
    me: StdMutex<Option<String>>,
    protection: Mutex<Option<Cached>>,
}

impl JiraTarget {
    /// A client with these settings; nothing is sent yet. The error names the setting that does not work.
    pub fn new(settings: JiraSettings) -> Result<Self, TargetError> {
        let base = settings.base_url;
        let wrong = |text: String| not_done(ErrorClass::Permanent, text);
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(wrong(
                "The address is not one of a Jira. It looks like https://jira.example.org/jira.".to_owned(),
            ));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("The address holds a user or password. Put them where credentials go.".to_owned()));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong(format!("{}: the address goes on after ? or #. Give it without.", server(&base))));
        }
        let http = Http::new(&settings.http).map_err(|text| wrong(format!("{}: {text}", server(&base))))?;
        Ok(Self {
            base,
            http,
            auth: Auth::new(settings.credentials),
            applications: settings.applications,
            protected_groups: settings.protected_groups,
            protected_users: settings.protected_users,
            me: StdMutex::new(None),
            protection: Mutex::new(None),
        })
    }

    /// Whom Jira takes us for, as far as is known.
    fn who(&self) -> String {
        let me = self.me.lock().unwrap_or_else(PoisonError::into_inner);
        me.clone().unwrap_or_else(|| format!("The user of {}", self.auth.whose()))
    }

    fn signed_in_as(&self, login: &str) {
        let mut me = self.me.lock().unwrap_or_else(PoisonError::into_inner);
        if me.as_deref() != Some(login) {
            *me = Some(login.to_owned());
        }
    }
}

/// The form in which names are compared, and in which a group's name is its id.
fn fold(name: &str) -> String {
    name.trim().to_lowercase()
}

#[async_trait]
impl Target for JiraTarget {
    fn kind(&self) -> &'static str {
        "jira"
    }

    async fn probe(&self) -> Result<TargetInfo, TargetError> {
        self.find_out().await
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

    async fn apply(&self, operation: &Operation, deadline: Timestamp) -> Result<Applied, TargetError> {
        self.refuse_own_end(operation)?;
        self.refuse_last_administrators_end(operation, deadline).await?;
        match operation {
            Operation::CreateUser { name, fields } => self.create_user(name, fields, deadline).await,
            Operation::UpdateUser { account, name, fields } => self.update_user(account, name, fields, deadline).await,
            Operation::RenameUser { account, name, to } => self.rename_user(account, name, to, deadline).await,
            Operation::ActivateUser { account, name } => self.set_active(account, name, true, deadline).await,
            Operation::DeactivateUser { account, name } => self.set_active(account, name, false, deadline).await,
            Operation::DeleteUser { account, name } => self.delete_user(account, name, deadline).await,
            Operation::CreateGroup { name } => self.create_group(name, deadline).await,
            Operation::DeleteGroup { name, .. } => self.delete_group(name, deadline).await,
            Operation::AddMember { group_name, account, name, .. } => {
                self.add_member(group_name, account, name, deadline).await
            }
            Operation::RemoveMember { group_name, account, name, .. } => {
                self.remove_member(group_name, account, name, deadline).await
            }
        }
    }

    async fn free_seats(&self) -> Result<Option<u64>, TargetError> {
        self.seats_left().await
    }

    fn forget_refusal(&self) {
        self.auth.forget();
    }
}
