//! Memberships: reads and writes. Only direct members are managed.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    CrowdTarget,
    errors::{Right, no_group, reason},
    listing::Completed,
    paging::{PAGE, Place},
    wire::{Groups, NameOnly, User, Users},
};
use crate::{
    model::AccountId,
    targets::{
        AccountRef, Applied, GroupRef, MemberWrites, Page, TargetError, WriteResult,
        rest::{Ask, NO_LIST, applied, fold, unconfirmed},
    },
};

/// Permission for changes of memberships.
const MODIFY: Right<'static> = Right::of("Modify group");

/// A page of members.
pub(super) struct Members {
    /// The members of this page.
    pub users: Vec<User>,
    /// The position of the next page; `None` at the end.
    pub next: Option<Place>,
    /// Why the page may be incomplete; `None`: it is complete, except for unreadable members.
    pub incomplete: Option<String>,
    /// The number of members whose own answers are unreadable; they are left out.
    pub unreadable: usize,
}

impl CrowdTarget {
    /// Reads one page of a group's direct members.
    pub(super) async fn members_page(
        &self,
        group: &str,
        cursor: Option<&str>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        let place = Place::read(&format!("reading the members of {group}"), cursor)?;
        let page = self.members_of("/group/user/direct", group, &place, None).await?;
        Ok(page.map(|page| Page {
            items: page.users.iter().filter_map(User::id).collect(),
            next: page.next.as_ref().map(Place::write),
            incomplete: page.incomplete,
        }))
    }

    /// Reads one page of a group's members, direct or nested; `None` if there is no such group.
    pub(super) async fn members_of(
        &self,
        path: &'static str,
        group: &str,
        place: &Place,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Members>, TargetError> {
        let what = format!("reading the members of {group}");
        let from = place.from.to_string();
        let ask = Ask::get(path, &what)
            .query("groupname", group)
            .query("start-index", &from)
            .query("max-results", PAGE)
            .query("expand", "user")
            .deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        if no_group(&answer) {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(self.refused_read(&ask, &answer));
        }
        let page: Users = self.rest.parse(&ask, &answer)?;
        let reported = page.users.reported;
        let brought = place.take(page.users.into_iter().collect(), |user| user.name.as_deref());
        let Completed { users, unknown, unreadable } = self.complete(brought.items).await?;
        let moved = brought.moved.then(|| format!("the members of {group} changed during the read"));
        let unread = (unknown > 0).then(|| format!("{unknown} members of {group} could not be read"));
        let unlisted = (!reported).then(|| NO_LIST.to_owned());
        Ok(Some(Members { users, next: brought.next, incomplete: unlisted.or(moved).or(unread), unreadable }))
    }

    /// Whether an account is a direct member of a group.
    async fn is_member(&self, group: &str, account: &AccountId, deadline: Timestamp) -> Result<bool, TargetError> {
        let what = format!("checking whether {account} is in {group}");
        let Some(user) = self.user_by_id(account, Some(deadline)).await? else { return Ok(false) };
        let now = user.name.as_deref().unwrap_or_default();
        let ask = Ask::get("/user/group/direct", &what)
            .query("username", now)
            .query("groupname", group)
            .login(now)
            .deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        match (answer.status, reason(&answer).as_str()) {
            (status, _) if status.is_success() => {
                let page: Groups = self.rest.parse(&ask, &answer)?;
                if !page.groups.reported {
                    return Err(unconfirmed(format!("{what}: {NO_LIST}.")));
                }
                Ok(page.groups.iter().filter_map(|found| found.name.as_deref()).any(|found| fold(found) == fold(group)))
            }
            (StatusCode::NOT_FOUND, "MEMBERSHIP_NOT_FOUND" | "GROUP_NOT_FOUND" | "USER_NOT_FOUND") => Ok(false),
            _ => Err(self.refused_read(&ask, &answer)),
        }
    }
}

#[async_trait]
impl MemberWrites for CrowdTarget {
    /// Adds a member. Crowd accepts only the login here, so the caller prevents a rename meanwhile.
    async fn add_member(&self, group: GroupRef<'_>, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("adding {} to {}", account.name, group.name);
        let ask = Ask::new(Method::POST, "/group/user/direct", &what)
            .query("groupname", group.name)
            .login(account.name)
            .deadline(Some(deadline))
            .json(&NameOnly { name: account.name })?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(applied(&answer, StatusCode::CREATED));
        }
        let reason = reason(&answer);
        let unclear = matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT)
            && !matches!(reason.as_str(), "USER_NOT_FOUND" | "GROUP_NOT_FOUND");
        if reason == "MEMBERSHIP_ALREADY_EXISTS"
            || (unclear && self.is_member(group.name, account.id, deadline).await?)
        {
            return Ok(Applied::Done);
        }
        Err(self.refused_write(&ask, &answer, &MODIFY))
    }

    async fn remove_member(&self, group: GroupRef<'_>, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("removing {} from {}", account.name, group.name);
        let Some(user) = self.user_by_id(account.id, Some(deadline)).await? else { return Ok(Applied::Done) };
        let now = user.name.as_deref().unwrap_or_default();
        let ask = Ask::new(Method::DELETE, "/group/user/direct", &what)
            .query("groupname", group.name)
            .query("username", now)
            .login(now)
            .deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        let absent = answer.status == StatusCode::NOT_FOUND && reason(&answer) == "MEMBERSHIP_NOT_FOUND";
        if answer.status.is_success() {
            return Ok(applied(&answer, StatusCode::NO_CONTENT));
        }
        if absent || no_group(&answer) {
            return Ok(Applied::Done);
        }
        Err(self.refused_write(&ask, &answer, &MODIFY))
    }
}
