//! Memberships: reads and writes.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    JiraTarget,
    wire::{MemberPage, NameOnly},
};
use crate::{
    model::{AccountId, TargetGroupId},
    targets::{
        AccountRef, Applied, FirstMembers, GroupRef, MemberWrites, Page, Target, TargetError, WriteResult,
        rest::{Ask, NO_LIST, applied, fold, lenient::some, members_lacking, position},
    },
};

/// Page size for members; Jira returns at most 50, whatever is requested.
const PAGE: &str = "50";

impl JiraTarget {
    /// Returns one page of a group's members, with or without `inactive` ones. The cursor is a position, advanced by
    /// the number of entries received.
    pub(super) async fn members_page(
        &self,
        group: &str,
        inactive: bool,
        cursor: Option<&str>,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        Ok(self.counted_members(group, inactive, cursor, deadline).await?.map(|(page, _)| page))
    }

    /// Returns one page of a group's members, with the total number of members where Jira reports it.
    pub(super) async fn counted_members(
        &self,
        group: &str,
        inactive: bool,
        cursor: Option<&str>,
        deadline: Option<Timestamp>,
    ) -> Result<Option<FirstMembers>, TargetError> {
        let what = format!("reading the members of {group}");
        let start = cursor.unwrap_or("0");
        let at: usize = position(&what, cursor)?;
        let ask = Ask::get("/group/member", &what)
            .query("groupname", group)
            .query("includeInactiveUsers", if inactive { "true" } else { "false" })
            .query("startAt", start)
            .query("maxResults", PAGE)
            .deadline(deadline);
        let Some(page) = self.rest.find::<MemberPage>(&ask).await? else { return Ok(None) };
        let (came, reported) = (page.values.len(), page.values.reported);
        let end = at + came;
        let total = page.total;
        let counted = total.is_some_and(|total| end >= total);
        // Jira reports that more follow although all counted members were received; paging on might never end.
        let unending = page.is_last == Some(false) && counted && came > 0;
        let last = came == 0 || counted || page.is_last.unwrap_or(total.is_none());
        let items: Vec<_> = page.values.into_iter().filter_map(|user| some(user.key).map(AccountId::from)).collect();
        let incomplete = if !reported {
            Some(NO_LIST.to_owned())
        } else if items.len() < came {
            members_lacking(came - items.len(), group, "a key")
        } else if unending {
            Some(format!("Jira reports that more members of {group} follow than it counts"))
        } else {
            let short = total.filter(|total| last && end < *total);
            short.map(|total| format!("{end} of {total} members of {group} were returned"))
        };
        Ok(Some((Page { items, next: (!last).then(|| end.to_string()), incomplete }, total)))
    }

    /// Whether an account is a member of a group; `None` if one of them is gone.
    async fn is_member(
        &self,
        group: &str,
        account: &AccountId,
        deadline: Timestamp,
    ) -> Result<Option<bool>, TargetError> {
        let Some(found) = self.account_by_key(account, Some(deadline)).await? else { return Ok(None) };
        if let Some(groups) = found.groups {
            return Ok(Some(groups.contains(&TargetGroupId::from(fold(group)))));
        }
        // Jira omitted or truncated the list of groups.
        self.has_member(&TargetGroupId::from(fold(group)), account).await
    }
}

#[async_trait]
impl MemberWrites for JiraTarget {
    /// Adds a member. Jira accepts only the login here, so the caller must prevent a concurrent rename.
    async fn add_member(&self, group: GroupRef<'_>, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let (group, login) = (group.name, account.name);
        let what = format!("adding {login} to {group}");
        let ask = Ask::new(Method::POST, "/group/user", &what)
            .query("groupname", group)
            .login(login)
            .deadline(Some(deadline))
            .json(&NameOnly { name: login })?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(applied(&answer, StatusCode::CREATED));
        }
        let said = self.rest.said(&answer, Some(login));
        if matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT) {
            // "Already a member" is a 400 like everything else, in one version as plain text, so the membership is
            // read.
            if self.is_member(group, account.id, deadline).await? == Some(true) {
                return Ok(Applied::Done);
            }
            if said.licence_full() {
                return Err(self.rest.no_seat(&what, &said));
            }
        }
        Err(self.refused_write(&ask, &answer, deadline).await)
    }

    /// Removes a member. Succeeds if the account or the group is gone.
    async fn remove_member(&self, group: GroupRef<'_>, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let (group, login) = (group.name, account.name);
        let what = format!("removing {login} from {group}");
        let ask = Ask::new(Method::DELETE, "/group/user", &what)
            .query("groupname", group)
            .query("username", login)
            .login(login)
            .deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(applied(&answer, StatusCode::OK));
        }
        let said = self.rest.said(&answer, Some(login));
        let unclear = answer.status == StatusCode::BAD_REQUEST || (answer.status == StatusCode::NOT_FOUND && said.own);
        // The account may have been renamed and still be a member, so its key decides, not the login.
        if unclear && self.is_member(group, account.id, deadline).await? != Some(true) {
            return Ok(Applied::Done);
        }
        Err(self.refused_write(&ask, &answer, deadline).await)
    }
}
