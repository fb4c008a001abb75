//! Reads memberships group by group where an account's own list of groups is missing or incomplete.

use std::{collections::BTreeSet, sync::Arc};

use super::{case::Case, error::WorkError};
use crate::{
    model::{
        Account, Action, ApprovalKind, ErrorClass, GroupId, GroupState, LeaverAction, Limited, Operation,
        TargetGroupId, UserState,
    },
    plan::{self, Decision, GroupTable, Planned, Presence},
    policy::{self, Verdict},
    targets::{TargetError, TargetErrorKind},
};

/// The groups that are checked for a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// All groups that decide the memberships.
    All,
    /// Groups where a full reconcile found a difference; for the others the record counts.
    Suspected(BTreeSet<TargetGroupId>),
    /// Groups from which the user is to be removed; for the others the record counts.
    Leaving(BTreeSet<TargetGroupId>),
}

impl Case<'_> {
    /// Records the groups where a full reconcile found a difference.
    pub fn suspect(&mut self, expected: &[Action]) {
        let suspected: BTreeSet<TargetGroupId> = expected
            .iter()
            .filter_map(|action| match action.operation() {
                Some(Operation::AddMember { group, .. } | Operation::RemoveMember { group, .. }) => Some(group.clone()),
                _ => None,
            })
            .collect();
        if !expected.is_empty() {
            self.reading = Reading::Suspected(suspected);
        }
    }

    /// Decides which groups a task reads. Where each group costs a call, these are the groups that change according to
    /// the record. Manual changes of other memberships are found by full reconciles, which read all groups.
    pub async fn decide_reading(&mut self, presence: &Presence) -> Result<(), WorkError> {
        if !self.port.target.reads_memberships_by_group() {
            self.reading = Reading::All;
            return Ok(());
        }
        if self.rules.in_run {
            return Ok(());
        }
        let pair = &self.claim.pair;
        let store = &self.engine.store;
        // A held operation must be planned again, or it would be withdrawn.
        let waits = store.has_open_items(pair, ApprovalKind::AdoptedGroup).await?
            || store.has_open_items(pair, ApprovalKind::SafetyLimit(Limited::RemoveMember)).await?
            || !self.claim.decided.is_empty();
        self.reading = match (presence, &self.link) {
            (Presence::Present(user, verdict), Some(link)) if !waits && user.enabled && verdict.is_in() => {
                let table = self.engine.group_table(pair).await?;
                let rules = &self.connector.policy.groups;
                let resolved = table.resolve(user, rules, link.written.is_new);
                let stays = |group: &&TargetGroupId| resolved.wanted.contains(group) || resolved.keep.contains(group);
                Reading::Leaving(link.given.iter().filter(|group| !stays(group)).cloned().collect())
            }
            (_, Some(link)) if !waits && self.loses_groups(presence) => Reading::Leaving(link.given.clone()),
            (_, Some(_)) if !waits => Reading::Leaving(BTreeSet::new()),
            _ => Reading::All,
        };
        Ok(())
    }

    /// Returns the groups. Nobody is removed from what the hidden ones feed.
    pub async fn shown_groups(&self) -> Result<Arc<GroupTable>, WorkError> {
        let table = self.engine.group_table(&self.claim.pair).await?;
        if self.hidden.is_empty() {
            return Ok(table);
        }
        let mut shown = GroupTable::clone(&table);
        shown.hide(self.hidden.iter().cloned());
        Ok(Arc::new(shown))
    }

    /// Confirms the memberships that a user in scope would lose. Keycloak leaves groups out of a user's own groups that it
    /// hides from the token. And if it counts more groups than it lists, the members of the group decide. Returns whether a
    /// membership was found that is to be kept.
    pub async fn finds_kept_memberships(
        &mut self,
        planned: &Planned,
        presence: &Presence,
        table: &GroupTable,
    ) -> Result<bool, WorkError> {
        let Some(user) = presence.user().filter(|_| !plan::has_left(presence)) else { return Ok(false) };
        let removed = planned.operations.iter().filter_map(|operation| match operation {
            Operation::RemoveMember { group, .. } => table.managed(group),
            _ => None,
        });
        let connector = &self.claim.pair.connector;
        let sources = removed.flat_map(|group| group.sources.iter().map(move |(by, source)| (by, source, &group.name)));
        let unknown = sources.filter(|(by, source, _)| {
            *by == connector && !source.is_constant() && !self.hidden.contains(*source) && !self.shown.contains(*source)
        });
        let unknown: Vec<(GroupId, String)> = unknown.map(|(_, source, name)| (source.clone(), name.clone())).collect();
        let unlisted = !unknown.is_empty() && self.has_unlisted_groups(user).await?;
        let mut found = false;
        for (source, name) in unknown {
            match self.connector.source.group(&source).await {
                Err(error) if error.class == ErrorClass::Forbidden => {
                    self.worked.findings.unconfirmed.push(format!(
                        "group {name}: Keycloak does not show it to usersync's client (403), so nobody is removed from \
                         it. Grant the client the role view-users"
                    ));
                }
                read => {
                    let exists = read?.is_some();
                    let doubt = if exists && unlisted {
                        let counted = self.with_those_below(vec![source.clone()]).await?;
                        self.why_still_member(user, &counted).await?
                    } else {
                        None
                    };
                    let Some(why) = doubt else {
                        self.shown.insert(source);
                        continue;
                    };
                    let doubt = format!("{}, group {name}: {why}. The membership stays", user.username);
                    self.doubt.get_or_insert(doubt);
                }
            }
            found = true;
            self.inconclusive = true;
            self.hidden.insert(source);
        }
        Ok(found)
    }

    /// Confirms that a user lacks a required group before anything is removed for that reason. If Keycloak counts more groups
    /// of the user than it lists, the members of the required groups decide. Returns whether it is undecided instead.
    pub async fn doubts_scope(&mut self, decision: &Decision, presence: &mut Presence) -> Result<bool, WorkError> {
        let policy = &self.connector.policy;
        let Presence::Present(user, verdict) = presence else { return Ok(false) };
        let Verdict::Out { lacks_group, .. } = verdict else { return Ok(false) };
        let is_decisive = user.enabled || policy.leavers.out_of_scope > policy.leavers.disabled;
        let removes = matches!(decision, Decision::Plan(planned) if planned.removes());
        if !*lacks_group || !is_decisive || !removes {
            return Ok(false);
        }
        let doubt = if self.has_unlisted_groups(user).await? { self.why_in_scope(user).await? } else { None };
        let Some(why) = doubt else {
            *lacks_group = false;
            return Ok(false);
        };
        self.doubt.get_or_insert(format!("{}, {why}. The user stays in scope", user.username));
        self.inconclusive = true;
        *verdict = Verdict::Undecided(why);
        Ok(true)
    }

    /// Returns why a user may be a member of a required group that its own groups lack; `None`: it is not.
    async fn why_in_scope(&self, user: &UserState) -> Result<Option<String>, WorkError> {
        let scope = &self.connector.policy.scope;
        let listed = self.connector.source.groups().await?;
        let is_lacked =
            |group: &&GroupState| policy::is_required(group, scope) && user.groups.iter().all(|own| own.id != group.id);
        for group in listed.items.iter().filter(is_lacked) {
            if let Some(why) = self.why_still_member(user, std::slice::from_ref(&group.id)).await? {
                return Ok(Some(format!("group {}: {why}", group.path)));
            }
        }
        Ok(listed.incomplete.map(|why| format!("not all groups of the realm were read ({why})")))
    }

    /// Returns whether Keycloak counts more groups of a user than it lists. The groups of federated users are confirmed with
    /// their provider.
    async fn has_unlisted_groups(&self, user: &UserState) -> Result<bool, WorkError> {
        if user.federation().is_some() {
            return Ok(false);
        }
        Ok(self.connector.source.count_groups_of(&user.id).await? > user.groups.len())
    }

    /// Returns why a membership in one of these groups stays that the user's own groups lack; `None`: the members confirm
    /// that there is none.
    async fn why_still_member(&self, user: &UserState, groups: &[GroupId]) -> Result<Option<&'static str>, WorkError> {
        Ok(match self.lists_member(groups, &user.id).await? {
            Some(true) => Some(
                "Keycloak's list of its members has the user, but the user's own list of groups lacks the group. If this \
                 persists, clear the realm's user cache in Keycloak",
            ),
            Some(false) => None,
            None => Some(
                "Keycloak counts more groups of the user than it lists, and not all members of the group were read",
            ),
        })
    }

    /// Returns whether the user has left and is to be removed from its groups.
    fn loses_groups(&self, presence: &Presence) -> bool {
        plan::leaver_action(presence, &self.connector.policy.leavers) == Some(LeaverAction::RemoveGroups)
    }

    /// Completes an account from the member lists of groups. Where the target shows no memberships at all, the record
    /// of what usersync granted is used. Groups that cannot be read completely stay unknown; the reason is kept for
    /// [`unread_groups`](Self::unread_groups).
    pub async fn with_groups(&mut self, mut account: Account) -> Result<Account, WorkError> {
        if account.groups.is_some() {
            return Ok(account);
        }
        if !self.port.target.shows_memberships() {
            account.groups = self.link.as_ref().map(|link| link.given.iter().cloned().collect());
            return Ok(account);
        }
        let (asked, mut groups) = self.asked().await?;
        match self.port.target.groups_among(&account.id, &asked).await {
            Ok(found) => {
                groups.extend(found);
                account.groups = Some(groups);
            }
            Err(error) if error.kind == TargetErrorKind::NotDone(ErrorClass::Unconfirmed) => {
                self.unread_groups = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(account)
    }

    /// Returns the groups to read, and the groups that the account is a member of according to the record.
    async fn asked(&self) -> Result<(BTreeSet<TargetGroupId>, Vec<TargetGroupId>), WorkError> {
        let (Reading::Suspected(differing) | Reading::Leaving(differing), Some(link)) = (&self.reading, &self.link)
        else {
            let table = self.engine.group_table(&self.claim.pair).await?;
            return Ok((table.deciding(&self.claim.pair, self.link.as_ref()), Vec::new()));
        };
        let mut asked = differing.clone();
        for intent in &self.claim.intents {
            if let Operation::AddMember { group, .. } | Operation::RemoveMember { group, .. } = &intent.operation {
                asked.insert(group.clone());
            }
        }
        let given = link.given.iter().filter(|group| !asked.contains(*group)).cloned().collect();
        Ok((asked, given))
    }

    /// Returns why this user's memberships are unknown, after all else is done: the task fails and is retried.
    pub fn unread_groups(&mut self, name: &str) -> WorkError {
        let why = self
            .unread_groups
            .take()
            .map_or_else(String::new, |error| format!(" ({})", error.text.trim_end_matches('.')));
        let text = format!(
            "{name}: the target does not return its groups, and the member lists of the groups are incomplete{why}. \
             No membership is changed; usersync retries it."
        );
        TargetError { kind: TargetErrorKind::NotDone(ErrorClass::Unconfirmed), text, retry_after: None }.into()
    }
}
