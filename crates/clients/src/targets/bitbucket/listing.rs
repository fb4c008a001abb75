//! Lists all accounts. Accounts do not show whether they may sign in. That follows from the members of the licensed
//! groups, which are read first.

use std::{collections::HashMap, sync::Arc};

use super::{
    BitbucketTarget,
    paging::List,
    permissions::{GROUP, PERMISSION},
    protection::Known,
    wire::{REQUIRED, User},
};
use crate::{
    model::{Account, AccountId},
    targets::{Page, TargetError, rest::unconfirmed},
};

/// What lets accounts sign in, by account id.
#[derive(Debug, Default)]
pub(super) struct Licensed {
    access: HashMap<AccountId, Vec<String>>,
    /// Why entries may be missing; `None`: complete.
    incomplete: Option<String>,
}

impl BitbucketTarget {
    /// Returns one page of all accounts, without service users.
    pub(super) async fn list_accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        let what = "listing all accounts";
        let known = if cursor.is_none() { self.fresh_known().await? } else { self.known(None).await? };
        let licensed = self.licensed(&known, cursor.is_none()).await?;
        let leaf = self.leaf::<User>(List::new("/admin/users", what, None), cursor).await?;
        let leaf =
            leaf.ok_or_else(|| unconfirmed(format!("{what}: Bitbucket reports that the list does not exist.")))?;
        let mut items = Vec::with_capacity(leaf.values.len());
        let mut lost = 0_usize;
        for user in leaf.values {
            let Some(user) = user.whole() else {
                lost += 1;
                continue;
            };
            self.seen.note(&user);
            if user.service {
                continue;
            }
            let access = licensed.access.get(&user.id).cloned().unwrap_or_default();
            items.push(user.into_account(&known, None, access));
        }
        let unread = (lost > 0).then(|| format!("{lost} accounts were returned without {REQUIRED}"));
        Ok(Page { items, next: leaf.next, incomplete: leaf.incomplete.or(unread).or(licensed.incomplete.clone()) })
    }

    /// Returns what lets accounts sign in, re-read at the start of each listing.
    async fn licensed(&self, known: &Known, renew: bool) -> Result<Arc<Licensed>, TargetError> {
        if renew {
            self.licensed.forget().await;
        }
        self.licensed.get(self.read_licensed(known)).await
    }

    async fn read_licensed(&self, known: &Known) -> Result<Licensed, TargetError> {
        let mut licensed = Licensed::default();
        for (group, _) in known.grants.groups.values() {
            let (people, why) = self.members_of(group, None).await?;
            licensed.incomplete = licensed.incomplete.or(why);
            for user in people {
                licensed.access.entry(user.id).or_default().push(format!("{GROUP}{group}"));
            }
        }
        for (id, permission) in &known.grants.users {
            licensed.access.entry(id.clone()).or_default().push(format!("{PERMISSION}{permission}"));
        }
        for access in licensed.access.values_mut() {
            access.sort_unstable();
        }
        Ok(licensed)
    }
}
