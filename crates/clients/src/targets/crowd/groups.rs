//! Groups and their members.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    CrowdTarget,
    dialect::reason,
    paging::PAGE,
    paging::Place,
    refusal::Right,
    wire::{Group, GroupWrite, NameOnly, User, Users},
};
use crate::{
    model::{AccountId, ErrorClass, TargetGroup, TargetGroupId},
    targets::{
        Applied, Page, TargetError, TargetErrorKind,
        http::Answer,
        rest::{Ask, applied, error, fold, not_done, unconfirmed, unsupported},
    },
};

/// Permission for changes of groups and memberships.
const MODIFY: Right<'static> = Right::of("Modify group");

/// Description of a group that usersync creates, for administrators of Crowd.
const DESCRIPTION: &str = "Kept in sync with Keycloak by usersync";
/// Why an inactive group is not managed, and what to do.
const INACTIVE: &str =
    "inactive, and usersync does not activate groups (activate it in Crowd; the next full reconcile then includes it)";

/// A page of members.
pub(super) struct Members {
    /// The members of this page.
    pub users: Vec<User>,
    /// The position of the next page; `None` at the end.
    pub next: Option<Place>,
    /// Why the page may be incomplete; `None`: it is complete.
    pub incomplete: Option<String>,
}

/// Whether Crowd itself reports that there is no such group.
fn no_group(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND && reason(answer) == "GROUP_NOT_FOUND"
}

impl CrowdTarget {
    /// Reads a group by name.
    pub(super) async fn find_group(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<TargetGroup>, TargetError> {
        let what = format!("reading group {name}");
        let protection = self.protection(deadline).await?;
        let ask = Ask::get("/group", &what).query("groupname", name.trim()).deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        if no_group(&answer) {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(self.refused_read(&ask, &answer));
        }
        let group: Group = self.rest.parse(&ask, &answer)?;
        let inactive = || (group.active == Some(false)).then(|| INACTIVE.to_owned());
        // The answer is for the requested name, so a missing name is filled in.
        let spelled = group.name.unwrap_or_else(|| name.trim().to_owned());
        let (id, protected) = (TargetGroupId::from(fold(&spelled)), protection.group(&spelled).or_else(inactive));
        Ok((fold(&spelled) == fold(name)).then_some(TargetGroup { id, name: spelled, protected }))
    }

    /// Reads one page of a group's direct members.
    pub(super) async fn members_page(
        &self,
        group: &str,
        cursor: Option<&str>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        let place = Place::read(cursor)
            .ok_or_else(|| not_done(ErrorClass::Bug, format!("reading the members of {group}: invalid cursor.")))?;
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
        let (users, unknown) = self.complete(brought.items).await?;
        let moved = brought.moved.then(|| format!("the members of {group} changed during the read"));
        let unread = (unknown > 0).then(|| format!("{unknown} members of {group} could not be read"));
        let unlisted = (!reported).then(|| format!("the members of {group} were returned without their list"));
        Ok(Some(Members { users, next: brought.next, incomplete: unlisted.or(moved).or(unread) }))
    }

    pub(super) async fn create_group(&self, name: &str, deadline: Timestamp) -> Result<Applied, TargetError> {
        let what = format!("creating group {name}");
        let body = GroupWrite { name, kind: "GROUP", description: DESCRIPTION, active: true };
        let ask = Ask::new(Method::POST, "/group", &what).deadline(Some(deadline)).json(&body)?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            let id = TargetGroupId::from(fold(name));
            return Ok(Applied::Group(TargetGroup { id, name: name.to_owned(), protected: None }));
        }
        let said = self.rest.said(&answer, None);
        if matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT) && !said.read_only() {
            if self.find_group(name, Some(deadline)).await?.is_some() {
                return Err(error(TargetErrorKind::NameTaken, format!("{what}: a group with this name exists.")));
            }
            if reason(&answer) == "INVALID_GROUP" {
                let text = format!("{what}: Crowd rejects this group{}. Map it in the policy.", said.quoted());
                return Err(unsupported(text));
            }
        }
        Err(self.refused_write(&ask, &answer, &Right::of("Add group")))
    }

    pub(super) async fn delete_group(&self, name: &str, deadline: Timestamp) -> Result<Applied, TargetError> {
        let what = format!("deleting group {name}");
        let ask = Ask::new(Method::DELETE, "/group", &what).query("groupname", name).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(applied(&answer, StatusCode::NO_CONTENT));
        }
        if no_group(&answer) {
            return Ok(Applied::Done);
        }
        Err(self.refused_write(&ask, &answer, &Right::of("Remove group")))
    }

    /// Adds a member. Crowd accepts only the login here, so the caller prevents a rename meanwhile.
    pub(super) async fn add_member(
        &self,
        group: &str,
        account: &AccountId,
        login: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("adding {login} to {group}");
        let ask = Ask::new(Method::POST, "/group/user/direct", &what)
            .query("groupname", group)
            .login(login)
            .deadline(Some(deadline))
            .json(&NameOnly { name: login })?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(applied(&answer, StatusCode::CREATED));
        }
        let reason = reason(&answer);
        let unclear = matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT)
            && !matches!(reason.as_str(), "USER_NOT_FOUND" | "GROUP_NOT_FOUND");
        if reason == "MEMBERSHIP_ALREADY_EXISTS" || (unclear && self.is_member(group, account, deadline).await?) {
            return Ok(Applied::Done);
        }
        Err(self.refused_write(&ask, &answer, &MODIFY))
    }

    /// Removes a member. An account or group that no longer exists counts as success.
    pub(super) async fn remove_member(
        &self,
        group: &str,
        account: &AccountId,
        login: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("removing {login} from {group}");
        let Some(user) = self.user_by_id(account, Some(deadline)).await? else { return Ok(Applied::Done) };
        let now = user.name.as_deref().unwrap_or_default();
        let ask = Ask::new(Method::DELETE, "/group/user/direct", &what)
            .query("groupname", group)
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
                let page: super::wire::Groups = self.rest.parse(&ask, &answer)?;
                if !page.groups.reported {
                    return Err(unconfirmed(format!("{what}: the answer has no list.")));
                }
                Ok(page.groups.iter().filter_map(|found| found.name.as_deref()).any(|found| fold(found) == fold(group)))
            }
            (StatusCode::NOT_FOUND, "MEMBERSHIP_NOT_FOUND" | "GROUP_NOT_FOUND" | "USER_NOT_FOUND") => Ok(false),
            _ => Err(self.refused_read(&ask, &answer)),
        }
    }
}
