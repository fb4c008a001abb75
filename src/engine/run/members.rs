//! Reads the members of the managed groups: by one bulk listing of all memberships where the target has one and where
//! it pays, else group by group.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use super::{counted::Recorded, logins::Found, memberships::Rows, pages::Pages, walk::TargetWalk};
use crate::{
    engine::{error::WorkError, ports::TargetPort},
    model::{Account, AccountId, ErrorClass, IdSet, Packed, ReadEvidence, TargetGroupId, number},
};

/// Number of groups from which all memberships are read in one bulk listing. That listing covers every group and member
/// of the target, whether managed or not; with few groups, one or two calls for each cost less.
const AT_ONCE: usize = 20;

/// Members of a group.
#[derive(Default)]
pub(super) struct Members {
    /// Indexes of listed accounts.
    pub places: Rows,
    /// Accounts that were not listed.
    pub unlisted: IdSet<AccountId>,
}

/// Collects the members of a group.
#[derive(Default)]
pub(super) struct MembersBuilder {
    places: Vec<u32>,
    unlisted: IdSet<AccountId>,
}

impl MembersBuilder {
    /// Creates a builder with room for this number of listed accounts.
    pub fn with_capacity(listed: usize) -> Self {
        Self { places: Vec::with_capacity(listed), unlisted: IdSet::default() }
    }

    /// Adds an account, which may be a member already.
    pub fn add(&mut self, account: AccountId, accounts: &Packed<Account>) {
        match accounts.place(account.as_str()) {
            Some(place) => self.places.push(number(place)),
            None => {
                self.unlisted.insert(account);
            }
        }
    }

    /// Returns the members, each once.
    pub fn build(self) -> Members {
        Members { places: self.places.into(), unlisted: self.unlisted }
    }
}

/// A group with its members.
pub(super) struct GroupRead {
    pub group: TargetGroupId,
    /// The members; `None`: the group does not exist.
    pub members: Option<Members>,
    /// Why the members may be incomplete; `None`: they are complete.
    pub incomplete: Option<String>,
    pub reading: Reading,
    /// How they were read; without those of the bulk listing.
    pub evidence: ReadEvidence,
}

/// How a group's members are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// All were read.
    Whole,
    /// They were read page by page and match the target's count: a later count shows whether they changed.
    Countable,
    /// They are recorded, and the target counts as many.
    Recorded,
}

/// Returns the members of the groups that the bulk listing covers completely, and how it was read.
pub(super) async fn bulk_members(
    port: &TargetPort,
    groups: &BTreeSet<TargetGroupId>,
    walk: &TargetWalk,
) -> Result<(BTreeMap<TargetGroupId, Members>, ReadEvidence), WorkError> {
    let none = (BTreeMap::new(), ReadEvidence::default());
    if groups.len() < AT_ONCE {
        return Ok(none);
    }
    let reported = match port.target.memberships(groups).await {
        Ok(Some(reported)) => reported,
        Ok(None) => return Ok(none),
        // This read alone may be too much for the target; if the target has a problem, the next call shows it.
        Err(error) if matches!(error.class(), ErrorClass::Transient | ErrorClass::Maintenance) => {
            tracing::warn!(target.name = %port.name, "{error} usersync reads the members group by group instead.");
            return Ok(none);
        }
        Err(error) => return Err(error.into()),
    };
    let (accounts, known) = (walk.accounts(), walk.logins());
    // A login that the walk does not know belongs to an account that was created or renamed since the accounts were
    // listed. Such a group is read separately, which returns ids. Two accounts that swapped logins since then are
    // confused until the next run. That does no harm, as removals are read again before they are sent.
    let by_login = |logins: &[Arc<str>]| -> Option<Members> {
        let place = |login: &Arc<str>| match known.find(login, accounts) {
            Found::One(place) => Some(number(place)),
            Found::Unlinked | Found::Several => None,
        };
        let places: Vec<u32> = logins.iter().map(place).collect::<Option<_>>()?;
        Some(Members { places: places.into(), unlisted: IdSet::default() })
    };
    let mut read = 0;
    let mut covered = BTreeMap::new();
    for (group, ids) in reported.ids {
        read += ids.len();
        let mut members = MembersBuilder::with_capacity(ids.len());
        for account in ids {
            members.add(account, accounts);
        }
        covered.insert(group, members.build());
    }
    for (group, logins) in reported.logins {
        let Some(members) = by_login(&logins) else { continue };
        read += logins.len();
        covered.insert(group, members);
    }
    let evidence = ReadEvidence { lists: covered.len(), pages: 1, read, ..ReadEvidence::default() };
    Ok((covered, evidence))
}

/// Returns whether an error may concern only one object of a target, so that the others can still be read.
pub(super) fn is_about_one(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Unconfirmed | ErrorClass::Permanent | ErrorClass::Bug)
}

/// Returns a group's members: from the bulk listing, from the record where the target counts as many, or from a new
/// read.
pub(super) async fn members(
    port: &TargetPort,
    accounts: &Packed<Account>,
    group: TargetGroupId,
    reported: Option<Members>,
    mut recorded: Option<Recorded>,
) -> Result<GroupRead, WorkError> {
    if reported.is_some() {
        let evidence = ReadEvidence::default();
        return Ok(GroupRead { group, members: reported, incomplete: None, reading: Reading::Whole, evidence });
    }
    let (mut places, mut unlisted) = (HashSet::new(), IdSet::default());
    let mut pages = Pages::default();
    let (mut cursor, mut count): (Option<String>, Option<usize>) = (None, None);
    let mut several = false;
    let read = |places: HashSet<u32>, unlisted: IdSet<AccountId>| {
        Some(Members { places: places.into_iter().collect::<Vec<_>>().into(), unlisted })
    };
    loop {
        let answer = match &cursor {
            None => port.target.first_members(&group).await,
            Some(cursor) => port.target.members(&group, Some(cursor)).await.map(|page| page.map(|page| (page, count))),
        };
        let (page, counted) = match answer {
            Ok(Some(read)) => read,
            Ok(None) => {
                let (incomplete, evidence) = (pages.incomplete, ReadEvidence::default());
                return Ok(GroupRead { group, members: None, incomplete, reading: Reading::Whole, evidence });
            }
            // A group that cannot be read does not end the run.
            Err(error) if is_about_one(error.class()) => {
                let evidence = pages.evidence(places.len() + unlisted.len());
                let (members, incomplete) = (read(places, unlisted), Some(error.text));
                return Ok(GroupRead { group, members, incomplete, reading: Reading::Whole, evidence });
            }
            Err(error) => return Err(error.into()),
        };
        count = counted;
        if let Some(recorded) = recorded.take()
            && page.next.is_some()
            && recorded.is_as(&page, count, accounts)
        {
            let came = page.items.len();
            let recorded_only = count.unwrap_or_default().saturating_sub(came);
            let evidence = ReadEvidence {
                pages: 1,
                lists: 1,
                read: came,
                count_before: count,
                recorded: recorded_only,
                ..ReadEvidence::default()
            };
            let (members, reading) = (Some(recorded.members()), Reading::Recorded);
            return Ok(GroupRead { group, members, incomplete: None, reading, evidence });
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
            let evidence = ReadEvidence { count_before: count, ..pages.evidence(all) };
            let incomplete = pages.incomplete.map(|why| format!("{}: members of {group}: {why}", port.name));
            let reading = if whole { Reading::Countable } else { Reading::Whole };
            return Ok(GroupRead { group, members: read(places, unlisted), incomplete, reading, evidence });
        }
        several = true;
    }
}
