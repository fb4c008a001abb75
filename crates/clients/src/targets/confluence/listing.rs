//! Lists all accounts. Confluence 8.8 and later have a dedicated listing. Earlier versions can list only the members of
//! a group that holds nearly all users.

use reqwest::StatusCode;

use super::{ConfluenceTarget, paging::ResultPage, wire::User};
use crate::{
    model::Account,
    targets::{
        Page, TargetError,
        rest::{
            Ask, ListedAccounts, Protection, joined,
            lenient::{Entries, some},
            position,
        },
    },
};

/// Page size for accounts; the server may return fewer.
const PAGE: &str = "1000";
/// Prefix of a cursor into the members of the group.
const MEMBERS: &str = "members:";

impl ConfluenceTarget {
    /// Returns one page of all accounts.
    pub(super) async fn list_accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        let what = "listing all accounts";
        let protection = if cursor.is_none() { self.fresh_protection().await? } else { self.protection(None).await? };
        if let Some(place) = cursor.and_then(|cursor| cursor.strip_prefix(MEMBERS)) {
            return self.list_members(position(what, Some(place))?, &protection).await;
        }
        let at: usize = position(what, cursor)?;
        let start = at.to_string();
        let ask = Ask::get("/user/list", what).query("start", &start).query("limit", PAGE).query("expand", "status");
        let answer = self.rest.ask(&ask).await?;
        let absent = matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
        if absent && at == 0 {
            return self.list_members(0, &protection).await;
        }
        if !answer.status.is_success() {
            return Err(self.rest.unexpected(&ask, &answer));
        }
        let page: ResultPage<User> = self.rest.parse(&ask, &answer)?;
        let (next, why) = page.next(at);
        let mut unconfirmed: Vec<String> = why.into_iter().collect();
        let items = self.accounts_from(page.results, &protection, &mut unconfirmed).await?;
        Ok(Page { items, next: next.map(|next| next.to_string()), incomplete: joined(&unconfirmed) })
    }

    /// Returns one page of the members of the group that holds nearly all users. The listing always counts as
    /// incomplete.
    async fn list_members(&self, at: usize, protection: &Protection) -> Result<Page<Account>, TargetError> {
        let group = &self.settings.all_users_group;
        let mut unconfirmed = vec![format!(
            "this Confluence has no listing of all accounts (8.8 and later have one); only the members of {group} were \
             listed, so accounts outside of it are missing"
        )];
        let Some(page) = self.members_page(group, at, None).await? else {
            return Ok(Page { items: Vec::new(), next: None, incomplete: joined(&unconfirmed) });
        };
        let (next, why) = page.next(at);
        unconfirmed.extend(why);
        let items = self.accounts_from(page.results, protection, &mut unconfirmed).await?;
        Ok(Page { items, next: next.map(|next| format!("{MEMBERS}{next}")), incomplete: joined(&unconfirmed) })
    }

    /// Converts listed users to accounts. A user with missing fields is read individually.
    async fn accounts_from(
        &self,
        users: Entries<User>,
        protection: &Protection,
        unconfirmed: &mut Vec<String>,
    ) -> Result<Vec<Account>, TargetError> {
        let mut listed = ListedAccounts::default();
        for user in users.into_iter().filter(User::known) {
            let (key, name) = (some(user.key.clone()), some(user.username.clone()));
            let read = match (user.into_account(protection, None), key, name) {
                (Some(account), ..) => Ok(Some(account)),
                (None, Some(key), _) => self.account_by_key(&key.into(), None).await,
                (None, None, Some(name)) => self.account_by_login(&name, None).await,
                (None, None, None) => Ok(None),
            };
            listed.add(read)?;
        }
        Ok(listed.finish(unconfirmed))
    }
}
