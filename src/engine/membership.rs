//! The memberships of an account whose own list of groups is missing or cut: each group that matters is asked.

use super::{case::Case, error::WorkError};
use crate::{
    model::{Account, ErrorClass},
    target::{TargetError, TargetErrorKind},
};

impl Case<'_> {
    /// Completes an account as the target showed it. Groups that cannot be read completely stay unknown; why is kept for
    /// [`unread_groups`](Self::unread_groups).
    pub async fn with_groups(&mut self, mut account: Account) -> Result<Account, WorkError> {
        if account.groups.is_some() {
            return Ok(account);
        }
        let table = self.engine.group_table(&self.claim.pair).await?;
        let deciding = table.deciding(&self.claim.pair, self.link.as_ref());
        match self.port.target.groups_among(&account.id, &deciding).await {
            Ok(groups) => account.groups = Some(groups),
            Err(error) if error.kind == TargetErrorKind::NotDone(ErrorClass::Doubt) => self.unread_groups = Some(error),
            Err(error) => return Err(error.into()),
        }
        Ok(account)
    }

    /// Why the memberships of this user are not known, after all else is done: the task fails and is tried again.
    pub fn unread_groups(&mut self, name: &str) -> WorkError {
        let why = self
            .unread_groups
            .take()
            .map_or_else(String::new, |error| format!(" ({})", error.text.trim_end_matches('.')));
        let text = format!(
            "{name}: the target does not show its groups, and they cannot be read completely from the groups' side{why}. No \
             membership is changed; usersync tries again."
        );
        TargetError { kind: TargetErrorKind::NotDone(ErrorClass::Doubt), text, retry_after: None }.into()
    }
}
