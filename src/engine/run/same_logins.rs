//! Finds users to whom a template gives the same login.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::walk::{SourceWalk, TargetWalk};
use crate::{
    engine::scope::judged,
    model::{AccountRules, IdMap, Scope, UserId, UserState, number},
    plan::Presence,
    policy::{self, Verdict},
    targets::Capabilities,
};

/// Returns the users who share a desired login, each with the username of another one. Usernames differ, so only a
/// template makes two logins the same.
pub(super) fn same_logins(
    source: &SourceWalk,
    target: &TargetWalk,
    scope: &Scope,
    capabilities: &Capabilities,
    rules: AccountRules<'_>,
) -> IdMap<UserId, String> {
    let mut same = IdMap::default();
    if rules.login.is_none() {
        return same;
    }
    let login = |user: &UserState| {
        let is_linked = target.is_linked(&user.id);
        let Presence::Present(user, Verdict::In) = judged(user.clone(), scope, &source.absent_groups) else {
            return None;
        };
        let wanted = policy::login(&user, capabilities, rules, !is_linked).ok().flatten();
        // An account whose login is written on create only keeps it.
        let login = wanted.or_else(|| target.link(&user.id).map(|link| link.name));
        login.filter(|_| user.enabled || is_linked).map(|login| capabilities.login_case.fold(&login))
    };
    let hasher = RandomState::default();
    let mut places: HashTable<u32> = HashTable::with_capacity(source.users());
    for (place, user) in source.iter().enumerate() {
        let Some(wanted) = login(&user) else { continue };
        let is_same = |other: &u32| login(&source.user(*other as usize)).as_deref() == Some(wanted.as_str());
        let hash = hasher.hash_one(&wanted);
        if let Some(other) = places.find(hash, is_same) {
            let other = source.user(*other as usize);
            same.insert(other.id, user.username.clone());
            same.insert(user.id, other.username);
        } else {
            let hash_of = |place: &u32| hasher.hash_one(login(&source.user(*place as usize)).unwrap_or_default());
            places.insert_unique(hash, number(place), hash_of);
        }
    }
    same
}
