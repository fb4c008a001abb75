//! Verification of the first writes of each form. Some servers replace the whole list by the added member, or clear it
//! when one member is removed. Lost members are restored.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    ScimTarget,
    change::{Condition, excluding_members},
    discovery::path_of,
    forms::{Form, Shown},
    learned::HIDDEN,
    wire::{accounts_among, adding},
};
use crate::{
    model::{AccountId, TargetGroupId},
    targets::{
        NoteState, TargetError, TargetErrorKind,
        http::left,
        rest::{Ask, after_the_fact, error},
    },
};

/// Pauses between reads after a write, because some servers show the change with a delay.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// A write to a group's members.
#[derive(Clone, Copy)]
pub(super) struct MemberWrite<'a> {
    pub form: Form,
    pub group: &'a TargetGroupId,
    /// The accounts that the write adds or removes.
    pub accounts: &'a [&'a AccountId],
    pub adds: bool,
    pub what: &'a str,
    pub deadline: Timestamp,
}

/// A group's members before a write.
pub(super) struct Before {
    members: Vec<Value>,
    /// Members that the write does not concern.
    others: Vec<AccountId>,
}

impl Before {
    /// Whether the group has no other members, so that the write verifies nothing.
    pub(super) fn proves_nothing(&self) -> bool {
        self.others.is_empty()
    }
}

/// Observed effect of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The intended effect.
    AsWanted,
    /// No effect.
    NoEffect,
    /// Unknown: the server does not show it.
    Nothing,
}

impl MemberWrite<'_> {
    /// Returns the same write in another form.
    pub(super) fn by(self, form: Form) -> Self {
        Self { form, ..self }
    }

    fn is_about(&self, id: &AccountId) -> bool {
        self.accounts.contains(&id)
    }

    /// Applies the write to a list of members. Returns whether the list changed.
    pub(super) fn edit(&self, members: &mut Vec<Value>) -> bool {
        let before = members.len();
        if self.adds {
            let (there, _) = accounts_among(members);
            let missing = self.accounts.iter().filter(|account| !there.contains(**account));
            members.extend(missing.map(|account| json!({ "value": account.as_str() })));
        } else {
            let about = |member: &Value| {
                accounts_among(std::slice::from_ref(member)).0.first().is_some_and(|id| self.is_about(id))
            };
            members.retain(|member| !about(member));
        }
        members.len() != before
    }

    /// Splits the members read before the write.
    pub(super) fn before(&self, members: Vec<Value>) -> Before {
        let others = accounts_among(&members).0.into_iter().filter(|id| !self.is_about(id)).collect();
        Before { members, others }
    }
}

impl ScimTarget {
    /// Reads the members before a write, if its form is not yet verified and the server shows members.
    pub(super) async fn members_before(&self, write: &MemberWrite<'_>) -> Result<Option<Before>, TargetError> {
        if self.learned.forms.is_proven(write.form) || self.learned.members_shown() == Shown::Never {
            return Ok(None);
        }
        if self.learned.is_just_created(write.group) {
            return Ok(Some(write.before(Vec::new())));
        }
        let read = self.read_members(write.group, write.what, false, Some(write.deadline)).await?;
        Ok(read.map(|read| write.before(read.all)))
    }

    /// Verifies the effect of a write on its own accounts and on the other members. Restores lost members.
    pub(super) async fn verify(&self, write: &MemberWrite<'_>, before: &Before) -> Result<Seen, TargetError> {
        let read = async || {
            self.read_members(write.group, write.what, false, Some(write.deadline))
                .await
                .map_err(after_the_fact(write.what))
        };
        let gone = |ids: &[AccountId]| before.others.iter().filter(|id| !ids.contains(id)).count();
        let inside = |ids: &[AccountId]| write.accounts.iter().filter(|account| ids.contains(**account)).count();
        let wanted = if write.adds { write.accounts.len() } else { 0 };
        let Some(mut now) = read().await? else { return Ok(Seen::AsWanted) };
        for pause in PAUSES {
            let ids = now.ids();
            // A server that has shown no member so far may never show any.
            if self.may_hide(&ids, before) || (gone(&ids) == 0 && inside(&ids) == wanted) {
                break;
            }
            tokio::time::sleep(pause.min(left(write.deadline) / 4)).await;
            let Some(again) = read().await? else { return Ok(Seen::AsWanted) };
            now = again;
        }
        let ids = now.ids();
        let lost = gone(&ids);
        if lost > 0 {
            if lost == before.others.len() {
                self.learned.forms.harmful(write.form);
            }
            let name = now.group.text("displayName").unwrap_or_else(|| write.group.to_string());
            self.restore(write, before, &now.all, lost, &name).await?;
            return Ok(Seen::AsWanted);
        }
        if write.adds && self.may_hide(&ids, before) {
            self.learned.set_shown(Shown::Never);
            self.observe(
                NoteState::No,
                HIDDEN,
                "the server does not return the members of groups: one that was added is not shown. What usersync \
                 added counts as added, and only that is removed. Let the server return members, so that they can be \
                 verified."
                    .to_owned(),
            );
            return Ok(Seen::Nothing);
        }
        let known = accounts_among(&before.members).0;
        if !write.adds && !write.accounts.iter().all(|account| known.contains(*account)) {
            return Ok(Seen::Nothing);
        }
        if inside(&ids) != wanted {
            return Ok(Seen::NoEffect);
        }
        if !before.others.is_empty() {
            self.learned.forms.proven(write.form);
        }
        Ok(Seen::AsWanted)
    }

    /// Whether a group looks empty on a server that has shown no member so far.
    fn may_hide(&self, ids: &[AccountId], before: &Before) -> bool {
        ids.is_empty()
            && before.others.is_empty()
            && matches!(self.learned.members_shown(), Shown::Unknown | Shown::Never)
    }

    /// Restores members that a write removed by mistake.
    async fn restore(
        &self,
        write: &MemberWrite<'_>,
        before: &Before,
        now: &[Value],
        lost: usize,
        name: &str,
    ) -> Result<(), TargetError> {
        let mut wanted = before.members.clone();
        let there = accounts_among(&wanted).0;
        let new = now.iter().filter(|member| {
            accounts_among(std::slice::from_ref(*member)).0.first().is_none_or(|id| !there.contains(id))
        });
        wanted.extend(new.cloned());
        write.edit(&mut wanted);
        let did = match write.form {
            Form::Add => "adding a member by PATCH",
            Form::RemoveByFilter | Form::RemoveByValue => "removing a member by PATCH",
            Form::Whole => "replacing the group with PUT",
        };
        let harm = format!("group {name}: {did} removed {lost} other members");
        let mut last = String::new();
        for form in [Form::Whole, Form::Add] {
            // A list of all members is correct for servers that add it and for those that replace by it.
            if form == Form::Whole && write.form == Form::Whole {
                continue;
            }
            match self.put_back(&write.by(form), &wanted).await {
                Ok(true) => {
                    let next = if self.learned.forms.is_harmful(write.form) {
                        "; usersync does not use this form again. Set habits.patch = false for this target, so that \
                         it is not tried after a restart either."
                    } else {
                        "."
                    };
                    self.observe(NoteState::No, "members", format!("{harm}; they were restored{next}"));
                    return Ok(());
                }
                Ok(false) => last.clear(),
                Err(why) => last = format!(" {}", why.text),
            }
        }
        let ids: Vec<String> = before.others.iter().map(ToString::to_string).collect();
        let text = format!(
            "{harm}, and they could not be restored. Add these accounts to the group manually: {}.{last}",
            ids.join(", ")
        );
        self.observe(NoteState::No, "members", text.clone());
        Err(error(TargetErrorKind::Unanswered, format!("{}: {text}", write.what)))
    }

    /// Writes all these members. Returns whether they are in the group afterwards.
    async fn put_back(&self, write: &MemberWrite<'_>, wanted: &[Value]) -> Result<bool, TargetError> {
        let path =
            path_of(&self.groups_path(write.what, Some(write.deadline)).await?, write.group.as_str(), write.what)?;
        let ids = accounts_among(wanted).0;
        let read = || self.read_members(write.group, write.what, true, Some(write.deadline));
        let ask = if write.form == Form::Whole {
            let Some(read) = read().await? else { return Ok(false) };
            let mut body = read.group;
            body.set("members", Value::Array(wanted.to_vec()));
            let ask = Ask::new(Method::PUT, path.as_str(), write.what).deadline(Some(write.deadline)).json(&body)?;
            Condition::new(&*self.service(Some(write.deadline)).await?).of(ask, read.version)
        } else {
            let ids: Vec<&str> = ids.iter().map(AccountId::as_str).collect();
            let ask = Ask::new(Method::PATCH, path.as_str(), write.what).deadline(Some(write.deadline));
            excluding_members(ask.json(&adding(&ids))?)
        };
        if !self.rest.ask(&ask).await?.status.is_success() {
            return Ok(false);
        }
        let Some(now) = read().await? else { return Ok(false) };
        let now = now.ids();
        Ok(ids.iter().all(|id| now.contains(id)))
    }
}
