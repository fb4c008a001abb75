//! Groups and their members.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    BitbucketTarget,
    paging::List,
    wire::{GroupAndUsers, Named, User, UserAndGroups},
};
use crate::{
    model::{AccountId, TargetGroup, TargetGroupId},
    targets::{
        Applied, Page, TargetError, TargetErrorKind,
        rest::{Ask, error, few, fold, unsupported},
    },
};

impl BitbucketTarget {
    /// Finds a group by name, case-insensitive.
    pub(super) async fn find_group(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<TargetGroup>, TargetError> {
        let known = self.known(deadline).await?;
        let group = |spelled: String| TargetGroup {
            id: TargetGroupId::from(fold(&spelled)),
            protected: known.protection.group(&spelled),
            name: spelled,
        };
        Ok(self.group_spelled(name, deadline).await?.map(group))
    }

    /// Returns one page of a group's direct members. Bitbucket may answer for a missing group as for an empty one.
    pub(super) async fn members_page(
        &self,
        group: &str,
        cursor: Option<&str>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        let what = format!("reading the members of {group}");
        let list = List::new("/admin/groups/more-members", &what, None).of(group);
        let Some(leaf) = self.leaf::<User>(list, cursor).await? else { return Ok(None) };
        if leaf.values.is_empty() && cursor.is_none() && self.group_spelled(group, None).await?.is_none() {
            return Ok(None);
        }
        let came = leaf.values.len();
        let mut items = Vec::with_capacity(came);
        for user in leaf.values.into_iter().filter_map(User::whole) {
            self.seen.note(&user);
            items.push(user.id);
        }
        let lost = came - items.len();
        let incomplete = (lost > 0).then(|| {
            format!(
                "{lost} members of {group} were returned without id, name or \
                                                     active"
            )
        });
        Ok(Some(Page { items, next: leaf.next, incomplete: leaf.incomplete.or(incomplete) }))
    }

    pub(super) async fn create_group(&self, name: &str, deadline: Timestamp) -> Result<Applied, TargetError> {
        let what = format!("creating group {name}");
        let ask = Ask::new(Method::POST, "/admin/groups", &what).query("name", name).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            let made: Named = self.rest.parse(&ask, &answer)?;
            let made = made.name.ok_or_else(|| self.rest.unreadable(&ask, "it lacks the group's name"))?;
            let id = TargetGroupId::from(fold(&made));
            return Ok(Applied::Group(TargetGroup { id, name: made, protected: None }));
        }
        let said = self.rest.said(&answer, None);
        let quoted = said.quoted();
        match answer.status {
            StatusCode::CONFLICT if said.own => {
                Err(error(TargetErrorKind::NameTaken, format!("{what}: a group with this name exists{quoted}.")))
            }
            StatusCode::BAD_REQUEST if said.own && !said.read_only() => {
                Err(unsupported(format!("{what}: Bitbucket rejects this name{quoted}. Map it in groups.names.")))
            }
            _ => Err(self.refused_end(&ask, &answer, "Check it in Bitbucket")),
        }
    }

    pub(super) async fn delete_group(&self, name: &str, deadline: Timestamp) -> Result<Applied, TargetError> {
        let what = format!("deleting group {name}");
        let ask = Ask::new(Method::DELETE, "/admin/groups", &what).query("name", name).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await;
        // The group's permission is deleted with it; a new group with the same name has none.
        self.known.forget().await;
        let answer = answer?;
        let said = self.rest.said(&answer, None);
        match answer.status {
            // Bitbucket answers with the group that it deleted.
            status if status.is_success() && answer.body.trim_ascii().is_empty() => Ok(Applied::Undocumented),
            status if status.is_success() => Ok(Applied::Done),
            StatusCode::NOT_FOUND if said.own => Ok(Applied::Done),
            _ => Err(self.refused_end(
                &ask,
                &answer,
                "The deletion would probably reduce usersync's own permissions, or the group has higher ones. Delete \
                 it manually",
            )),
        }
    }

    /// Adds a single member. Bitbucket accepts only the login here, which must still belong to that account.
    pub(super) async fn add_alone(
        &self,
        group: &str,
        account: &AccountId,
        login: &str,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let deadline = Some(deadline);
        self.check_may_add(account, login, what, deadline).await?;
        let ask = Ask::new(Method::POST, "/admin/groups/add-users", what)
            .login(login)
            .deadline(deadline)
            .json(&GroupAndUsers { group, users: vec![login] })?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(Applied::Done);
        }
        let own = self.rest.said(&answer, Some(login)).own;
        // The answer for an account that is already a member is undocumented, so the membership is read.
        let unclear = own && matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT);
        if unclear && self.is_member(group, account, deadline).await? == Some(true) {
            return Ok(Applied::Done);
        }
        if answer.status == StatusCode::NOT_FOUND {
            self.seen.unconfirmed(account);
        }
        Err(self.refused_access(&ask, &answer, deadline).await)
    }

    /// Adds an account to several groups with one call: to all or to none. The answer for an account that is already in
    /// some of them is undocumented; then each group is added separately.
    pub(super) async fn add_to_groups(
        &self,
        groups: Vec<&str>,
        account: &AccountId,
        login: &str,
        deadline: Timestamp,
    ) -> Result<(), TargetError> {
        let what = format!("adding {login} to {}", few(&groups));
        let deadline = Some(deadline);
        self.check_may_add(account, login, &what, deadline).await?;
        let ask = Ask::new(Method::POST, "/admin/users/add-groups", &what)
            .login(login)
            .deadline(deadline)
            .json(&UserAndGroups { user: login, groups })?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        if answer.status == StatusCode::NOT_FOUND {
            self.seen.unconfirmed(account);
        }
        Err(self.refused_access(&ask, &answer, deadline).await)
    }

    /// Checks that a login still belongs to that account, and that its groups can be changed here.
    pub(super) async fn check_may_add(
        &self,
        account: &AccountId,
        login: &str,
        what: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(), TargetError> {
        if self.seen.seen_recently(account, login) {
            return Ok(());
        }
        let user = self.account_with_login(account, login, what, deadline).await?;
        if user.mutable_groups {
            return Ok(());
        }
        Err(unsupported(format!(
            "{what}: its groups are stored in {}, which is read-only for Bitbucket. Add the member there.",
            user.home()
        )))
    }

    /// Removes a member. Succeeds if the account or the group is gone.
    pub(super) async fn remove_member(
        &self,
        group: &str,
        account: &AccountId,
        login: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("removing {login} from {group}");
        let deadline = Some(deadline);
        let user = match self.account_with_login(account, login, &what, deadline).await {
            Ok(user) => user,
            Err(lost) if lost.kind == TargetErrorKind::NotFound => {
                return match self.user_by_id(account, deadline).await? {
                    Some(_) => Err(lost),
                    None => Ok(Applied::Done),
                };
            }
            Err(error) => return Err(error),
        };
        if !user.mutable_groups {
            return Err(unsupported(format!(
                "{what}: its groups are stored in {}, which is read-only for Bitbucket. Remove the member there.",
                user.home()
            )));
        }
        self.leave(&what, account, &user.name, group, deadline).await.map(|()| Applied::Done)
    }
}
