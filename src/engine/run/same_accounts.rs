//! Finds users that the policy matches to the same account.

use std::collections::hash_map::Entry;

use super::{
    users::{holder, matched},
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::scope::judged,
    model::{AccountId, AccountRules, IdMap, Scope, UserId},
    plan,
    targets::Capabilities,
};

/// Returns the users without a link that are matched to the same account as another one, each with the username of
/// another. Usernames differ, so the login alone leads to nobody else's account.
pub(super) fn same_accounts(
    source: &SourceWalk,
    target: &TargetWalk,
    scope: &Scope,
    capabilities: &Capabilities,
    rules: AccountRules<'_>,
) -> IdMap<UserId, String> {
    let mut same = IdMap::default();
    if rules.matching.is_by_login_only() {
        return same;
    }
    let mut taken: IdMap<AccountId, usize> = IdMap::default();
    for (place, user) in source.iter().enumerate() {
        if source.has_failed(&user.id) || target.is_linked(&user.id) || target.returned(&user.id).is_some() {
            continue;
        }
        let (id, username) = (user.id.clone(), user.username.clone());
        let presence = judged(user, scope, &source.absent_groups);
        let (_, holder) = holder(&presence, None, target, capabilities, rules);
        let found = matched(&presence, None, &holder, (source, target), capabilities, rules);
        let account = plan::matched_account(&holder, found.as_ref(), rules.matching.has_login());
        let Some(account) = account else { continue };
        match taken.entry(account.id.clone()) {
            Entry::Vacant(entry) => drop(entry.insert(place)),
            Entry::Occupied(entry) => {
                let other = source.user(*entry.get());
                same.insert(other.id, username);
                same.insert(id, other.username);
            }
        }
    }
    same
}
