//! Recovers intents that an earlier claim left open, by reading the target once their requests can no longer arrive.

use super::{case::Case, error::WorkError};
use crate::{
    model::Link,
    model::{Account, ChangeOutcome, ManagedGroup, Operation, Subject, Written},
    policy,
    store::{Adopted, GroupWrite, Holder, IntentOutcome, NameFrom, OpenIntent},
};

impl Case<'_> {
    /// Recovers the open intents. `account` is the linked account as just read. Returns whether the link has changed,
    /// so that the target has to be read again.
    pub async fn recover_intents(&mut self, account: Option<&Account>) -> Result<bool, WorkError> {
        let mut linked = false;
        for intent in std::mem::take(&mut self.claim.intents) {
            let took_effect = match &intent.operation {
                Operation::CreateUser { name, .. } => {
                    let made = self.find_made_account(&intent, name).await?;
                    linked |= made;
                    Some(made)
                }
                Operation::CreateGroup { name } => Some(self.find_made_group(&intent, name).await?),
                Operation::RenameGroup { group, to, .. } => {
                    Some(self.port.target.group_named(to).await?.is_some_and(|found| found.id == *group))
                }
                Operation::DeleteGroup { name, .. } => Some(self.port.target.group_named(name).await?.is_none()),
                // Missing is not gone: the account itself will show the result.
                operation if account.is_none() && self.is_missing(operation) => {
                    self.claim.intents.push(intent);
                    continue;
                }
                operation => match (operation.account(), account) {
                    (Some(id), Some(account)) if *id == account.id => {
                        shows(operation, Some(account), self.info.capabilities.reads_email)
                    }
                    _ => self.shown(operation).await?,
                },
            };
            let outcome = match took_effect {
                Some(true) => ChangeOutcome::FoundDone,
                Some(false) => ChangeOutcome::FoundNotDone,
                None => ChangeOutcome::NotSeen,
            };
            if took_effect == Some(true) {
                self.learn(&intent.operation);
                self.end_sessions(&intent.operation).await;
            }
            self.step.resolved.push(IntentOutcome { intent: intent.id, outcome });
        }
        self.flush().await?;
        Ok(linked)
    }

    /// Returns whether an operation concerns the linked account, which is missing but not confirmed to be gone.
    fn is_missing(&self, operation: &Operation) -> bool {
        let linked = self.link.as_ref().map(|link| &link.account);
        !self.account_gone && linked.is_some() && operation.account() == linked
    }

    /// Returns whether the account of an unanswered creation exists and no other user has it: then usersync created it.
    async fn find_made_account(&mut self, intent: &OpenIntent, name: &str) -> Result<bool, WorkError> {
        let Some(account) = self.port.target.account_named(name).await? else { return Ok(false) };
        if let Some(link) = &self.link {
            return Ok(link.account == account.id);
        }
        let Some(user) = self.claim.subject.as_user().filter(|_| intent.subject == self.claim.subject).cloned() else {
            return Ok(false);
        };
        let holder = self.engine.store.holder(self.claim.token, &account.id, &account.name).await?;
        if holder != Holder::Unlinked {
            return Ok(false);
        }
        let mut link = Link::new(user, account.id.clone(), account.name.clone());
        if let Operation::CreateUser { fields, .. } = &intent.operation {
            link.written =
                Written { is_new: self.connector.policy.groups.grants_to_new(), ..Written::new(name, fields) };
        }
        match self.engine.store.adopt(self.claim.token, link.clone(), None, self.engine.clock.now()).await? {
            Adopted::Linked => {
                self.link = Some(link);
                Ok(true)
            }
            Adopted::Busy { .. } => Err(WorkError::Unsteady(self.claim.subject.to_string())),
            Adopted::LinkedElsewhere { .. } => Ok(false),
        }
    }

    async fn find_made_group(&mut self, intent: &OpenIntent, name: &str) -> Result<bool, WorkError> {
        let Some(group) = self.port.target.group_named(name).await? else { return Ok(false) };
        if let Subject::Group(source) = &intent.subject {
            let group = ManagedGroup {
                id: group.id,
                name: group.name,
                adopted: false,
                removals_approved: false,
                sources: vec![],
            };
            let former = self.engine.group_table(&self.claim.pair).await?.mapping(source).cloned();
            self.step.raise = self.concerned(source, former.as_ref()).await?;
            self.step.group = Some(GroupWrite::Manage {
                source: source.clone(),
                name: name.to_owned(),
                group,
                named: NameFrom::Target,
                shared: policy::is_merged(name, &self.connector.policy.groups),
            });
        }
        Ok(true)
    }
}

/// Returns whether an account shows the effect of the operation; `None`: the target does not show it, or does not find
/// the account.
pub(super) fn shows(operation: &Operation, account: Option<&Account>, reads_email: bool) -> Option<bool> {
    let Some(account) = account else { return operation.ends_account().then_some(true) };
    let member = |group| account.groups.as_ref().map(|groups| groups.contains(group));
    match operation {
        Operation::UpdateUser { fields, .. } => {
            let named = fields.display_name.as_ref().is_none_or(|name| account.display_name == *name);
            let reported = |name: &String| account.attributes.get(name);
            let other =
                fields.attributes.iter().any(|(name, wanted)| reported(name).is_some_and(|value| value != wanted));
            let named = named && !other;
            if named && fields.attributes.keys().any(|name| reported(name).is_none()) {
                return None;
            }
            match (&fields.email, &account.email) {
                // A matching display name proves nothing about an address that cannot be read: the old address could
                // stay for ever.
                (Some(_), None) if named && !reads_email => None,
                (Some(wanted), reported) => Some(named && reported.as_ref() == Some(wanted)),
                (None, _) => Some(named),
            }
        }
        Operation::RenameUser { to, .. } => Some(account.name == *to),
        Operation::ActivateUser { gives, .. } => {
            Some(account.active && gives.iter().all(|one| account.access.contains(one)))
        }
        Operation::DeactivateUser { .. } => Some(!account.active),
        Operation::AddMember { group, .. } => member(group),
        Operation::RemoveMember { group, .. } => member(group).map(|member| !member),
        Operation::CreateUser { .. }
        | Operation::DeleteUser { .. }
        | Operation::AnonymizeUser { .. }
        | Operation::CreateGroup { .. }
        | Operation::RenameGroup { .. }
        | Operation::DeleteGroup { .. } => Some(false),
    }
}
