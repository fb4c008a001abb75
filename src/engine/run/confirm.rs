//! Links from before another server was confirmed: valid only where the account still has the recorded login.

use super::{Run, walk::TargetWalk};
use crate::{
    engine::error::WorkError,
    model::{RunMode, UserId},
};

/// Number of links in one transaction.
const BATCH: usize = 500;

impl Run<'_> {
    /// Compares unconfirmed links with the accounts that were read, and drops links to an absent or different account.
    /// Where the listing is incomplete, absence proves nothing, and the link stays unconfirmed.
    pub(super) async fn confirm_links(&mut self, target: &mut TargetWalk) -> Result<(), WorkError> {
        let store = &self.engine.store;
        let (mut stand, mut dropped): (Vec<UserId>, Vec<(UserId, String)>) = (Vec::new(), Vec::new());
        for user in store.unconfirmed_links(self.pair).await? {
            let Some(link) = target.link(&user) else { continue };
            let why = match target.account(&link.account) {
                Some(account) if target.case.same(&account.name, &link.name) => {
                    stand.push(user);
                    continue;
                }
                Some(account) => format!("account {} is now {}", link.account, account.name),
                None if target.incomplete.is_some() => continue,
                None => format!("the server has no account {}", link.account),
            };
            self.report.dropped_links.push(format!("{}: {why}; the link of user {user} is dropped", link.name));
            dropped.push((user, why));
        }
        for (user, _) in &dropped {
            target.unlink(user.clone());
        }
        if self.options.mode == RunMode::DryRun {
            return Ok(());
        }
        let now = self.engine.clock.now();
        for stand in stand.chunks(BATCH) {
            store.confirm_links(self.pair, self.id, stand, &[], now).await?;
        }
        for dropped in dropped.chunks(BATCH) {
            store.confirm_links(self.pair, self.id, &[], dropped, now).await?;
        }
        Ok(())
    }
}
