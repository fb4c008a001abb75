//! Memberships: reads and writes. Concurrent additions to the same group are sent in one call.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    BitbucketTarget,
    errors::stored_elsewhere,
    paging::List,
    wire::{CompleteUser, GroupAndUsers, Named, Picked, REQUIRED, User, UserAndGroups},
};
use crate::{
    model::{AccountId, ErrorClass},
    targets::{
        AccountRef, Applied, GroupRef, MemberWrites, Page, TargetError, TargetErrorKind, WriteResult,
        rest::{Ask, BatchCall, BatchOutcome, few, fold, lenient::some, members_lacking, not_done, unconfirmed},
    },
};

/// Maximum number of accounts that one call adds to a group.
pub(super) const MAX_USERS_PER_CALL: usize = 100;

impl BitbucketTarget {
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
        let incomplete = members_lacking(came - items.len(), group, REQUIRED);
        Ok(Some(Page { items, next: leaf.next, incomplete: leaf.incomplete.or(incomplete) }))
    }

    /// Returns all members of a group, and why some may be missing; empty if there is no such group.
    pub(super) async fn members_of(
        &self,
        group: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(Vec<CompleteUser>, Option<String>), TargetError> {
        let what = format!("reading the members of {group}");
        let list = List::new("/admin/groups/more-members", &what, deadline).of(group);
        let members = match self.all::<User>(list).await {
            Err(error) if error.class() == ErrorClass::Unconfirmed => return Ok((Vec::new(), Some(error.text))),
            members => members?.unwrap_or_default(),
        };
        let came = members.len();
        let people: Vec<CompleteUser> = members.into_iter().filter_map(User::whole).collect();
        let why = members_lacking(came - people.len(), group, REQUIRED);
        Ok((people, why))
    }

    /// Returns the names of the groups that a user is a direct member of.
    pub(super) async fn groups_of(
        &self,
        user: &CompleteUser,
        deadline: Option<Timestamp>,
    ) -> Result<Vec<String>, TargetError> {
        let what = format!("reading the groups of {}", user.name);
        let list = List::new("/admin/users/more-members", &what, deadline).of(&user.name);
        let groups = match self.all::<Named>(list).await? {
            Some(groups) => groups
                .into_iter()
                .map(|group| {
                    some(group.name).ok_or_else(|| unconfirmed(format!("{what}: a group was returned without a name.")))
                })
                .collect::<Result<Vec<_>, _>>()?,
            None => Vec::new(),
        };
        // A user that was renamed a moment ago also gets an answer without groups.
        if groups.is_empty() {
            let now = self.user_by_login(&user.name, deadline).await?;
            if now.is_none_or(|now| now.id != user.id) {
                let text = format!("{what}: the account was renamed during the read. usersync retries it.");
                return Err(not_done(ErrorClass::Transient, text));
            }
        }
        Ok(groups)
    }

    /// Whether an account is a direct member of a group; `None` if the account is gone.
    async fn is_member(
        &self,
        group: &str,
        account: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<bool>, TargetError> {
        let Some(user) = self.user_by_id(account, deadline).await? else { return Ok(None) };
        let groups = self.groups_of(&user, deadline).await?;
        Ok(Some(groups.iter().any(|one| fold(one) == fold(group))))
    }
}

#[async_trait]
impl MemberWrites for BitbucketTarget {
    /// Adds a member, in one call with concurrent additions to the same group.
    async fn add_member(&self, group: GroupRef<'_>, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("adding {} to {}", account.name, group.name);
        // Checked first, so that an account that would be refused does not fail the whole batch.
        self.check_may_add(account, &what, Some(deadline)).await?;
        let join = GroupBatch { bitbucket: self, group, account, what: &what, deadline };
        self.batches.send(group.id, &what, &join, deadline).await
    }

    async fn remove_member(&self, group: GroupRef<'_>, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("removing {} from {}", account.name, group.name);
        let deadline = Some(deadline);
        let user = match self.account_with_login(account.id, account.name, &what, deadline).await {
            Ok(user) => user,
            Err(lost) if lost.kind == TargetErrorKind::NotFound => {
                return match self.user_by_id(account.id, deadline).await? {
                    Some(_) => Err(lost),
                    None => Ok(Applied::Done),
                };
            }
            Err(error) => return Err(error),
        };
        if !user.mutable_groups {
            return Err(stored_elsewhere(&what, "its groups", &user, "Remove the member"));
        }
        self.remove_from_group(&what, account.id, &user.name, group.name, deadline).await.map(|()| Applied::Done)
    }
}

impl BitbucketTarget {
    /// Adds a single member. Bitbucket accepts only the login here, which must still belong to that account.
    async fn add_alone(
        &self,
        group: GroupRef<'_>,
        account: AccountRef<'_>,
        what: &str,
        deadline: Timestamp,
    ) -> WriteResult {
        let deadline = Some(deadline);
        self.check_may_add(account, what, deadline).await?;
        let ask = Ask::new(Method::POST, "/admin/groups/add-users", what)
            .login(account.name)
            .deadline(deadline)
            .json(&GroupAndUsers { group: group.name, users: vec![account.name] })?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(Applied::Done);
        }
        let own = self.rest.said(&answer, Some(account.name)).own;
        // The answer for an account that is already a member is undocumented, so the membership is read.
        let unclear = own && matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT);
        if unclear && self.is_member(group.name, account.id, deadline).await? == Some(true) {
            return Ok(Applied::Done);
        }
        if answer.status == StatusCode::NOT_FOUND {
            self.seen.unconfirmed(account.id);
        }
        Err(self.refused_access(&ask, &answer, deadline).await)
    }

    /// Adds an account to several groups with one call: to all or to none. The answer for an account that is already in
    /// some of them is undocumented; then each group is added separately.
    pub(super) async fn add_to_groups(
        &self,
        groups: Vec<&str>,
        account: AccountRef<'_>,
        deadline: Timestamp,
    ) -> Result<(), TargetError> {
        let what = format!("adding {} to {}", account.name, few(&groups));
        let deadline = Some(deadline);
        self.check_may_add(account, &what, deadline).await?;
        let ask = Ask::new(Method::POST, "/admin/users/add-groups", &what)
            .login(account.name)
            .deadline(deadline)
            .json(&UserAndGroups { user: account.name, groups })?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        if answer.status == StatusCode::NOT_FOUND {
            self.seen.unconfirmed(account.id);
        }
        Err(self.refused_access(&ask, &answer, deadline).await)
    }

    /// Checks that a login still belongs to that account, and that its groups can be changed here.
    async fn check_may_add(
        &self,
        account: AccountRef<'_>,
        what: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(), TargetError> {
        if self.seen.seen_recently(account.id, account.name) {
            return Ok(());
        }
        let user = self.account_with_login(account.id, account.name, what, deadline).await?;
        if user.mutable_groups {
            return Ok(());
        }
        Err(stored_elsewhere(what, "its groups", &user, "Add the member"))
    }

    /// Removes a user from a group. Succeeds if the user is not a member.
    pub(super) async fn remove_from_group(
        &self,
        what: &str,
        account: &AccountId,
        login: &str,
        group: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(), TargetError> {
        let ask = Ask::new(Method::POST, "/admin/users/remove-group", what)
            .login(login)
            .deadline(deadline)
            .json(&Picked { context: login, item_name: group })?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let own = self.rest.said(&answer, Some(login)).own;
        let unclear = own && matches!(answer.status.as_u16(), 400 | 404 | 409);
        if unclear && self.is_member(group, account, deadline).await? != Some(true) {
            return Ok(());
        }
        let hint = format!(
            "{group} probably has a higher permission than usersync. Remove the account from it manually, or grant \
             usersync's account SYS_ADMIN."
        );
        Err(self.refused_write(&ask, &answer, &hint))
    }
}

/// An account to add, addressed by its login.
pub(super) struct Member {
    account: AccountId,
    login: String,
}

struct GroupBatch<'a> {
    bitbucket: &'a BitbucketTarget,
    group: GroupRef<'a>,
    account: AccountRef<'a>,
    what: &'a str,
    deadline: Timestamp,
}

impl BatchCall for GroupBatch<'_> {
    type Member = Member;

    fn member(&self) -> Member {
        Member { account: self.account.id.clone(), login: self.account.name.to_owned() }
    }

    fn still_holds(&self, member: &Member) -> bool {
        self.bitbucket.seen.seen_recently(&member.account, &member.login)
    }

    async fn alone(&self) -> WriteResult {
        self.bitbucket.add_alone(self.group, self.account, self.what, self.deadline).await
    }

    /// Bitbucket adds all or none. Its answer for an account that is already a member is undocumented.
    async fn add_batch(&self, members: &[Member], deadline: Timestamp) -> Result<BatchOutcome, TargetError> {
        let what = format!("adding {} users to {}", members.len(), self.group.name);
        let users = members.iter().map(|member| member.login.as_str()).collect();
        let ask = Ask::new(Method::POST, "/admin/groups/add-users", &what)
            .deadline(Some(deadline))
            .json(&GroupAndUsers { group: self.group.name, users })?;
        let answer = self.bitbucket.rest.ask(&ask).await?;
        Ok(if answer.status.is_success() { BatchOutcome::Done } else { BatchOutcome::Singly })
    }
}
