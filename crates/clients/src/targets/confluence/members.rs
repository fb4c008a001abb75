//! Memberships: reads and writes.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    ConfluenceTarget,
    paging::ResultPage,
    wire::{User, path_segment},
};
use crate::{
    model::{AccountId, TargetGroupId},
    targets::{
        AccountRef, Applied, FirstMembers, GroupRef, MemberWrites, Page, Target, TargetError, WriteResult,
        rest::{Ask, applied, fold, lenient::some, members_lacking, position},
    },
};

/// Page size for members; the server may return fewer.
const PAGE: &str = "200";

impl ConfluenceTarget {
    /// Returns one page of a group's members as received; `None` if there is no such group.
    pub(super) async fn members_page(
        &self,
        group: &str,
        at: usize,
        deadline: Option<Timestamp>,
    ) -> Result<Option<ResultPage<User>>, TargetError> {
        let what = format!("reading the members of {group}");
        let start = at.to_string();
        let ask = Ask::get(format!("/group/{}/member", path_segment(&what, group)?), &what)
            .query("start", &start)
            .query("limit", PAGE)
            .query("expand", "status")
            .deadline(deadline);
        let Some(page) = self.rest.find::<ResultPage<User>>(&ask).await? else { return Ok(None) };
        // An empty first page may mean a missing group, so the group itself is read.
        let doubtful = page.results.is_empty() && at == 0;
        let absent = doubtful && self.spelled(group, deadline).await?.is_none();
        Ok((!absent).then_some(page))
    }

    /// Returns one page of a group's members, inactive ones included.
    pub(super) async fn members_of(
        &self,
        group: &str,
        cursor: Option<&str>,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        Ok(self.counted_members(group, cursor, deadline).await?.map(|(page, _)| page))
    }

    /// Returns one page of a group's members, with the total number of members where this Confluence reports it.
    pub(super) async fn counted_members(
        &self,
        group: &str,
        cursor: Option<&str>,
        deadline: Option<Timestamp>,
    ) -> Result<Option<FirstMembers>, TargetError> {
        let at: usize = position(&format!("reading the members of {group}"), cursor)?;
        let Some(page) = self.members_page(group, at, deadline).await? else { return Ok(None) };
        let ((next, why), total) = (page.next(at), page.total_count);
        let known = page.results.into_iter().filter(User::known);
        let (items, lacking): (Vec<_>, Vec<_>) = known.map(|user| some(user.key)).partition(Option::is_some);
        let keyless = members_lacking(lacking.len(), group, "a key");
        let page = Page {
            items: items.into_iter().flatten().map(AccountId::from).collect(),
            next: next.map(|next| next.to_string()),
            incomplete: why.map(|why| format!("{group}: {why}")).or(keyless),
        };
        Ok(Some((page, total)))
    }

    /// Whether an account is a member of a group; `false` if one of them is gone.
    async fn is_member(&self, group: &str, account: &AccountId, deadline: Timestamp) -> Result<bool, TargetError> {
        let Some(found) = self.account_by_key(account, Some(deadline)).await? else { return Ok(false) };
        if let Some(groups) = found.groups {
            return Ok(groups.contains(&TargetGroupId::from(fold(group))));
        }
        // The account's own list of groups was incomplete.
        Ok(self.has_member(&TargetGroupId::from(fold(group)), account).await? == Some(true))
    }
}

#[async_trait]
impl MemberWrites for ConfluenceTarget {
    /// Adds a member. Confluence accepts only the login here, so the caller must prevent a concurrent rename.
    async fn add_member(&self, group: GroupRef<'_>, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let (group, login) = (group.name, account.name);
        let what = format!("adding {login} to {group}");
        let path = format!("/user/{}/group/{}", path_segment(&what, login)?, path_segment(&what, group)?);
        let ask = Ask::new(Method::PUT, path, &what).login(login).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(applied(&answer, StatusCode::NO_CONTENT));
        }
        Err(self.refused_write(&ask, &answer, deadline).await)
    }

    /// Removes a member. Succeeds if the account or the group is gone.
    async fn remove_member(&self, group: GroupRef<'_>, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let (group, login) = (group.name, account.name);
        let what = format!("removing {login} from {group}");
        let path = format!("/user/{}/group/{}", path_segment(&what, login)?, path_segment(&what, group)?);
        if self.read_first(account, &what, deadline).await?.is_none() {
            return Ok(Applied::Done);
        }
        let ask = Ask::new(Method::DELETE, path, &what).login(login).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(applied(&answer, StatusCode::NO_CONTENT));
        }
        let said = self.rest.said(&answer, Some(login));
        let unclear = answer.status == StatusCode::BAD_REQUEST || (answer.status == StatusCode::NOT_FOUND && said.own);
        if unclear && !self.is_member(group, account.id, deadline).await? {
            return Ok(Applied::Done);
        }
        Err(self.refused_write(&ask, &answer, deadline).await)
    }
}
