//! Who is in the groups that matter: by one reading of all memberships where the target has one and where it pays, else
//! group by group.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use super::{counted::Recorded, logins::Found, pages::Pages, walk::TargetWalk};
use crate::{
    engine::{error::WorkError, ports::TargetPort},
    model::{Account, AccountId, ErrorClass, IdSet, Packed, TargetGroupId, number},
};

/// From so many groups on, all memberships are asked for at once. That answer tells of every group and member that the
/// target has, whoever fills them; with few groups, a call or two for each costs less.
const AT_ONCE: usize = 20;

/// Members of a group.
#[derive(Clone, Default)]
pub(super) struct Members {
    /// The places of accounts that were listed.
    pub places: Vec<u32>,
    /// Accounts that were not listed.
    pub unlisted: Vec<AccountId>,
}

impl Members {
    fn each_once(mut self) -> Self {
        self.places.sort_unstable();
        self.places.dedup();
        self
    }

    /// Adds an account, which may be there already.
    pub fn add(&mut self, account: AccountId, accounts: &Packed<Account>) {
        match accounts.place(account.as_str()) {
            Some(place) => self.places.push(number(place)),
            None => self.unlisted.push(account),
        }
    }
}

/// A group with its members.
pub(super) struct GroupRead {
    pub group: TargetGroupId,
    /// `None`: there is no such group.
    pub members: Option<Members>,
    /// Why these may not be all, if so.
    pub incomplete: Option<String>,
    pub reading: Reading,
}

/// How a group's members are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// They were read.
    Whole,
    /// They were read page by page, and are as many as the target counts: a later count tells whether they changed.
    Countable,
    /// The target counts as many as are recorded.
    Recorded,
}

/// The members of those of these groups of which one reading tells all that there is to know.
pub(super) async fn told_at_once(
    port: &TargetPort,
    groups: &BTreeSet<TargetGroupId>,
    walk: &TargetWalk,
) -> Result<BTreeMap<TargetGroupId, Members>, WorkError> {
    if groups.len() < AT_ONCE {
        return Ok(BTreeMap::new());
    }
    let told = match port.target.memberships(groups).await {
        Ok(Some(told)) => told,
        Ok(None) => return Ok(BTreeMap::new()),
        // It may be this one reading that is too much for the target; if it is not well at all, the next call tells.
        Err(error) if matches!(error.class(), ErrorClass::Transient | ErrorClass::Maintenance) => {
            tracing::warn!(target.name = %port.name, "{error} Until then members are read group by group.");
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(error.into()),
    };
    let (accounts, known) = (walk.accounts(), walk.logins());
    // A login that the walk does not know is an account's that was created, or renamed, since the accounts were listed: such
    // a group is asked for by itself, which tells ids. Two accounts that swapped logins since then are taken for each other
    // until the next run; nobody loses by it, as what removes is read again before it is sent.
    let by_login = |logins: &[Arc<str>]| -> Option<Members> {
        let place = |login: &Arc<str>| match known.find(login, accounts) {
            Found::One(place) => Some(number(place)),
            Found::Nobody | Found::Several => None,
        };
        Some(Members { places: logins.iter().map(place).collect::<Option<_>>()?, unlisted: Vec::new() })
    };
    let by_id = told.ids.into_iter().map(|(group, ids)| {
        let mut members = Members::default();
        for account in ids {
            members.add(account, accounts);
        }
        (group, members)
    });
    let by_login = told.logins.into_iter().filter_map(|(group, logins)| Some((group, by_login(&logins)?)));
    Ok(by_id.chain(by_login).map(|(group, members)| (group, members.each_once())).collect())
}

/// Whether an error may be about one object of a target only, so that the others can be read all the same.
pub(super) fn is_about_one(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Unconfirmed | ErrorClass::Permanent | ErrorClass::Bug)
}

/// A group's members: what was told of them already, what is recorded where the target counts as many, or what it tells
/// now.
pub(super) async fn members(
    port: &TargetPort,
    accounts: &Packed<Account>,
    group: TargetGroupId,
    told: Option<Members>,
    mut recorded: Option<Recorded>,
) -> Result<GroupRead, WorkError> {
    if told.is_some() {
        return Ok(GroupRead { group, members: told, incomplete: None, reading: Reading::Whole });
    }
    let (mut places, mut unlisted) = (HashSet::new(), IdSet::default());
    let mut pages = Pages::default();
    let (mut cursor, mut count): (Option<String>, Option<usize>) = (None, None);
    let mut several = false;
    let ended = |group, members, incomplete, reading| Ok(GroupRead { group, members, incomplete, reading });
    let read = |places: HashSet<u32>, unlisted: IdSet<AccountId>| {
        Some(Members { places: places.into_iter().collect(), unlisted: unlisted.into_iter().collect() })
    };
    loop {
        let answer = match &cursor {
            None => port.target.first_members(&group).await,
            Some(cursor) => port.target.members(&group, Some(cursor)).await.map(|page| page.map(|page| (page, count))),
        };
        let (page, counted) = match answer {
            Ok(Some(read)) => read,
            Ok(None) => return ended(group, None, pages.incomplete, Reading::Whole),
            // One group that cannot be read ends no run.
            Err(error) if is_about_one(error.class()) => {
                return ended(group, read(places, unlisted), Some(error.text), Reading::Whole);
            }
            Err(error) => return Err(error.into()),
        };
        count = counted;
        if let Some(recorded) = recorded.take()
            && page.next.is_some()
            && recorded.is_as(&page, count, accounts)
        {
            return ended(group, Some(recorded.members()), None, Reading::Recorded);
        }
        let (came, known) = (page.items.len(), places.len() + unlisted.len());
        for account in page.items {
            match accounts.place(account.as_str()) {
                Some(place) => places.insert(number(place)),
                None => unlisted.insert(account),
            };
        }
        let all = places.len() + unlisted.len();
        cursor = pages.next((came, all - known), page.next, page.incomplete);
        if cursor.is_none() {
            let whole = pages.incomplete.is_none() && several && count == Some(all);
            let incomplete = pages.incomplete.map(|why| format!("{}: members of {group}: {why}", port.name));
            let reading = if whole { Reading::Countable } else { Reading::Whole };
            return ended(group, read(places, unlisted), incomplete, reading);
        }
        several = true;
    }
}
