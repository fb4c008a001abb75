//! Memberships: adding and removing members. `memberships.rs` reads them; `batch.rs` sends several additions at once.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::{sync::MutexGuard, time::timeout};

use super::{
    ScimTarget,
    change::{Condition, TRIES, excluding_members, overtaken},
    discovery::{Service, path_of},
    errors::no_patch,
    forms::{Form, Shown},
    memberships::Members,
    profile::Removal,
    verify::{Before, MemberWrite, Seen},
    wire::{Kind, accounts_among, adding, removing_by_filter, removing_by_value},
};
use crate::{
    model::{AccountId, ErrorClass, TargetGroupId},
    targets::{
        AccountRef, Applied, GroupRef, MemberWrites, TargetError,
        TargetErrorKind::{NotDone, NotFound, Unsupported},
        WriteResult,
        http::{Answer, NoAnswer, left},
        rest::{Ask, BatchCall, BatchOutcome, after_the_fact, gone, unanswered, unconfirmed, unsupported},
    },
};

/// Result of adding members.
pub(super) enum Added {
    Done,
    /// The server refused the PATCH.
    Refused(Box<Answer>),
}

/// Result of one attempt to remove a member.
enum Removed {
    Done,
    /// The server accepted the removal, and the member is still there.
    Ignored,
    Refused(Box<Answer>),
}

#[async_trait]
impl MemberWrites for ScimTarget {
    /// Adds a member, batched with concurrent additions to the same group.
    async fn add_member(&self, group: GroupRef<'_>, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("adding {} to {}", account.name, group.name);
        let addition = Addition { scim: self, group, account: account.id, what: &what, deadline };
        self.batches.send(group.id, &what, &addition, deadline).await
    }

    async fn remove_member(&self, group: GroupRef<'_>, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = &format!("removing {} from {}", account.name, group.name);
        let group = group.id;
        let service = self.service(Some(deadline)).await?;
        let groups = self.groups_path(what, Some(deadline)).await?;
        let path = path_of(&groups, group.as_str(), what)?;
        let paths = (groups.as_str(), path.as_str());
        let accounts = [account.id];
        let write = MemberWrite { form: Form::Whole, group, accounts: &accounts, adds: false, what, deadline };
        let _alone = self.group_locks.lock([group], what, deadline).await?;
        let chosen = service.profile.removal;
        let mut last = None;
        for (form, named) in [(Form::RemoveByFilter, Removal::Filter), (Form::RemoveByValue, Removal::Value)] {
            let fits = chosen == Removal::FindOut || chosen == named;
            if !self.patches(&service, Kind::Group) || !fits || self.learned.forms.is_harmful(form) {
                continue;
            }
            let write = write.by(form);
            let removed = if chosen == Removal::FindOut && form == Form::RemoveByValue {
                self.remove_without_filter(&write, paths).await?
            } else {
                self.remove_by(&write, &path).await?
            };
            match removed {
                Removed::Done => return Ok(Applied::Done),
                // Another form is tried only if the server itself refused this one.
                Removed::Refused(answer) if !self.rest.said(&answer, None).own && !no_patch(&answer) => {
                    return Err(self.refused(what, None, &answer));
                }
                other => last = Some(other),
            }
        }
        match last {
            Some(Removed::Refused(answer)) if self.patches(&service, Kind::Group) && !no_patch(&answer) => {
                Err(self.refused(what, None, &answer))
            }
            Some(Removed::Ignored) if self.patches(&service, Kind::Group) => Err(self.rest.accepted_but(
                what,
                "the account is still a member, and no other form of removing one member works there",
                "Remove it manually.",
            )),
            _ => self.put_members(&write, paths).await.map(|_| Applied::Done),
        }
    }
}

/// An addition of one member.
struct Addition<'a> {
    scim: &'a ScimTarget,
    group: GroupRef<'a>,
    account: &'a AccountId,
    what: &'a str,
    deadline: Timestamp,
}

impl BatchCall for Addition<'_> {
    type Member = AccountId;

    fn member(&self) -> AccountId {
        self.account.clone()
    }

    async fn alone(&self) -> Result<Applied, TargetError> {
        self.scim.add_alone(self.group.id, self.account, self.what, self.deadline).await
    }

    async fn add_batch(&self, members: &[AccountId], deadline: Timestamp) -> Result<BatchOutcome, TargetError> {
        let what = format!("adding {} accounts to {}", members.len(), self.group.name);
        let members: Vec<&AccountId> = members.iter().collect();
        match self.scim.add_accounts(self.group.id, &members, &what, deadline).await {
            Ok(Added::Done) => Ok(BatchOutcome::Done),
            Ok(Added::Refused(_)) => Ok(BatchOutcome::Singly),
            // The group would be written back whole.
            Err(error)
                if matches!(
                    error.kind,
                    NotFound | Unsupported | NotDone(ErrorClass::Permanent | ErrorClass::Forbidden)
                ) =>
            {
                Ok(BatchOutcome::Singly)
            }
            Err(error) => Err(error),
        }
    }
}

impl ScimTarget {
    /// Adds members with one write. A write that another client's change precedes has no effect and is retried.
    pub(super) async fn add_accounts(
        &self,
        group: &TargetGroupId,
        accounts: &[&AccountId],
        what: &str,
        deadline: Timestamp,
    ) -> Result<Added, TargetError> {
        let service = self.service(Some(deadline)).await?;
        let groups = self.groups_path(what, Some(deadline)).await?;
        let path = path_of(&groups, group.as_str(), what)?;
        let ids: Vec<&str> = accounts.iter().map(|account| account.as_str()).collect();
        let write = MemberWrite { form: Form::Add, group, accounts, adds: true, what, deadline };
        let _alone = self.group_locks.lock([group], what, deadline).await?;
        let mut proving = self.proving(&write).await?;
        if !self.learned.forms.is_unproven(Form::Add) {
            proving = None;
        }
        let added = self.add_locked(&service, &write, (&groups, &path), &ids).await;
        drop(proving);
        added
    }

    /// Waits while another write verifies the effect of `add`, if it is unknown; one such write is enough.
    async fn proving(&self, write: &MemberWrite<'_>) -> Result<Option<MutexGuard<'_, ()>>, TargetError> {
        if !self.learned.forms.is_unproven(Form::Add) || self.learned.members_shown() == Shown::Never {
            return Ok(None);
        }
        let turn = timeout(left(write.deadline), self.learned.proving.lock()).await;
        turn.map(Some).map_err(|_| NoAnswer::late().into_error(write.what, true))
    }

    async fn add_locked(
        &self,
        service: &Service,
        write: &MemberWrite<'_>,
        (groups, path): (&str, &str),
        ids: &[&str],
    ) -> Result<Added, TargetError> {
        let MemberWrite { group, accounts, what, deadline, .. } = *write;
        let mut tries = TRIES;
        while self.patches(service, Kind::Group) && !self.learned.forms.is_harmful(Form::Add) {
            let before = self.members_before(write).await?;
            if accounts.len() > 1 && before.as_ref().is_some_and(Before::proves_nothing) {
                // The first account is added alone, so that the next write meets another member.
                for some in [0..1, 1..accounts.len()] {
                    let write = MemberWrite { accounts: &accounts[some.clone()], ..*write };
                    let added = Box::pin(self.add_locked(service, &write, (groups, path), &ids[some])).await?;
                    if matches!(added, Added::Refused(_)) {
                        return Ok(added);
                    }
                }
                return Ok(Added::Done);
            }
            let ask = Ask::new(Method::PATCH, path, what).deadline(Some(deadline)).json(&adding(ids))?;
            let ask = excluding_members(ask);
            let answer = self.rest.ask(&ask).await?;
            if answer.status.is_success() {
                self.learned.was_written(group);
                let seen = match before {
                    Some(before) => self.verify(write, &before).await?,
                    None => Seen::Nothing,
                };
                if seen == Seen::NoEffect {
                    return Err(unanswered(what, "the SCIM server accepted it, but does not return the member."));
                }
                return Ok(Added::Done);
            }
            if answer.status == StatusCode::PRECONDITION_FAILED {
                tries -= 1;
                if tries == 0 {
                    return Err(overtaken(what));
                }
            } else if !self.takes_no_patch(Kind::Group, &answer) {
                return Ok(Added::Refused(Box::new(answer)));
            } else if self.patches(service, Kind::Group) {
                // Not in the server's own words: only this write uses the other form.
                break;
            }
        }
        if self.put_members(write, (groups, path)).await? {
            return Ok(Added::Done);
        }
        Err(gone(what, "group"))
    }

    /// Adds one member with its own write.
    async fn add_alone(
        &self,
        group: &TargetGroupId,
        account: &AccountId,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let Added::Refused(answer) = self.add_accounts(group, &[account], what, deadline).await? else {
            return Ok(Applied::Done);
        };
        match self.is_member(group, account, deadline).await? {
            Some(true) => Ok(Applied::Done),
            None => Err(gone(what, "group")),
            Some(false) if self.account_by_id(account, Some(deadline)).await?.is_none() => Err(gone(what, "account")),
            Some(false) => Err(self.refused(what, None, &answer)),
        }
    }

    async fn remove_by(&self, write: &MemberWrite<'_>, path: &str) -> Result<Removed, TargetError> {
        let MemberWrite { group, accounts, what, deadline, .. } = *write;
        let Some(account) = accounts.first().copied() else { return Ok(Removed::Done) };
        let patch = match write.form {
            Form::RemoveByFilter => removing_by_filter(account.as_str()),
            _ => removing_by_value(account.as_str()),
        };
        let before = self.members_before(write).await?;
        let ask = excluding_members(Ask::new(Method::PATCH, path, what).deadline(Some(deadline)).json(&patch)?);
        let answer = self.rest.ask(&ask).await?;
        if self.takes_no_patch(Kind::Group, &answer) {
            return Ok(Removed::Refused(Box::new(answer)));
        }
        let success = answer.status.is_success();
        if success && self.learned.forms.is_proven(write.form) {
            return Ok(Removed::Done);
        }
        if let Some(before) = before.filter(|_| success) {
            match self.verify(write, &before).await? {
                Seen::AsWanted => return Ok(Removed::Done),
                // Some servers accept operations that they do not support, and do nothing.
                Seen::NoEffect => return Ok(Removed::Ignored),
                Seen::Nothing => {}
            }
        }
        let inside = match self.is_member(group, account, deadline).await {
            Err(_) if success && self.learned.members_shown() == Shown::Never => return Ok(Removed::Done),
            // An accepted removal that cannot be read back may have taken effect.
            Err(why) if success => return Err(after_the_fact(what)(why)),
            other => other?,
        };
        Ok(match inside {
            Some(true) if success => Removed::Ignored,
            Some(true) => Removed::Refused(Box::new(answer)),
            _ => Removed::Done,
        })
    }

    /// Removes a member if the server supports no filter and its handling of a value is unknown. By the standard, such
    /// a removal clears all members (RFC 7644, section 3.5.2.2). So a value is used only for the last member; otherwise
    /// the group is written back whole without the member.
    async fn remove_without_filter(
        &self,
        write: &MemberWrite<'_>,
        paths: (&str, &str),
    ) -> Result<Removed, TargetError> {
        let read = self.read_members(write.group, write.what, false, Some(write.deadline)).await?;
        let Some(before) = read else { return Ok(Removed::Done) };
        if let Some(why) = before.incomplete.as_ref().filter(|_| self.learned.members_shown() != Shown::Never) {
            return Err(unconfirmed(format!("{}: {why}.", write.what)));
        }
        let (ids, _) = accounts_among(&before.all);
        if !ids.is_empty() && ids.iter().all(|id| write.accounts.contains(&id)) {
            return self.remove_by(write, paths.1).await;
        }
        self.put_members(&write.by(Form::Whole), paths).await.map(|_| Removed::Done)
    }

    /// Writes a whole group back with other members; `false` if it no longer exists. Refuses a group with unknown
    /// members.
    async fn put_members(&self, write: &MemberWrite<'_>, (groups, path): (&str, &str)) -> Result<bool, TargetError> {
        let write = write.by(Form::Whole);
        let MemberWrite { group, what, deadline, .. } = write;
        let service = self.service(Some(deadline)).await?;
        let mut condition = Condition::new(&service);
        for _ in 0..TRIES {
            let Some(read) = self.read_members(group, what, true, Some(deadline)).await? else { return Ok(false) };
            let name = read.group.text("displayName").unwrap_or_else(|| group.to_string());
            let unknown = |why: &str| {
                // The text omits the account, so that it is reported once for all accounts.
                unsupported(format!(
                    "group {name}: {why}, so its members are not changed: replacing the whole group could remove \
                     others. Let the server accept PATCH, or return the members of its groups."
                ))
            };
            if self.learned.members_shown() == Shown::Never || !self.are_known(&write, groups, &read).await? {
                return Err(unknown("the SCIM server has no usable PATCH and returns no members"));
            }
            if self.learned.forms.is_harmful(Form::Whole) {
                return Err(unknown("neither PATCH nor PUT preserves the other members"));
            }
            if let Some(why) = read.incomplete {
                return Err(unconfirmed(format!("{what}: {why}.")));
            }
            let (mut body, mut members) = (read.group, read.all);
            let before = write.before(members.clone());
            if !write.edit(&mut members) {
                return Ok(true);
            }
            body.set("members", Value::Array(members));
            let ask = Ask::new(Method::PUT, path, what).deadline(Some(deadline)).json(&body)?;
            let ask = condition.of(ask, read.version);
            let answer = self.rest.ask(&ask).await?;
            match answer.status {
                StatusCode::PRECONDITION_FAILED => {}
                status if status.is_success() => {
                    self.learned.was_written(group);
                    if self.learned.forms.is_proven(Form::Whole) {
                        return Ok(true);
                    }
                    return match self.verify(&write, &before).await? {
                        Seen::NoEffect => Err(unsupported(format!(
                            "{what}: the SCIM server accepted it, but did not change the members. Change them \
                             manually there."
                        ))),
                        Seen::AsWanted | Seen::Nothing => Ok(true),
                    };
                }
                StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::CONFLICT => {
                    return Err(self.refused(what, None, &answer));
                }
                _ => return Err(self.rest.unexpected(&ask, &answer)),
            }
        }
        Err(overtaken(what))
    }

    /// Whether the read of a group's members is complete, so that the group can be written back whole. A group without
    /// members counts only in two cases. Either the server shows members of other groups, or usersync created the group
    /// and has not written to it since.
    async fn are_known(&self, write: &MemberWrite<'_>, path: &str, read: &Members) -> Result<bool, TargetError> {
        let service = self.service(Some(write.deadline)).await?;
        if !read.all.is_empty() || service.profile.on_request || self.learned.is_new_group(write.group) {
            return Ok(true);
        }
        if self.learned.members_shown() == Shown::Unknown
            && let Some((group, _)) = self.any_membership(path, write.what, usize::MAX, Some(write.deadline)).await?
        {
            self.read_members(&group, write.what, false, Some(write.deadline)).await?;
        }
        Ok(matches!(self.learned.members_shown(), Shown::Alone | Shown::InLists))
    }
}
