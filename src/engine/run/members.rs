//! Who is in the groups that matter: by one reading of all memberships where the target has one and where it pays, else
//! group by group.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{counted::is_as_recorded, pages::Pages, walk::TargetWalk};
use crate::{
    engine::{error::WorkError, ports::TargetPort},
    model::{AccountId, ErrorClass, IdSet, TargetGroupId},
};

/// From so many groups on, all memberships are asked for at once. That answer tells of every group and member that the
/// target has, whoever fills them; with few groups, a call or two for each costs less.
const AT_ONCE: usize = 20;

/// A group with its members.
pub(super) struct GroupRead {
    pub group: TargetGroupId,
    /// `None`: there is no such group.
    pub members: Option<Vec<AccountId>>,
    /// Why these may not be all, if so.
    pub doubt: Option<String>,
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
) -> Result<BTreeMap<TargetGroupId, Vec<AccountId>>, WorkError> {
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
    let accounts = walk.by_login();
    // A login that the walk does not know is somebody's who came, or was renamed, since the accounts were listed: such a
    // group is asked for by itself, which tells ids. Two who swapped logins since then pass for each other until the next
    // run; nobody loses by it, as what removes is read again before it is sent.
    let members = |logins: &[Arc<str>]| -> Option<Vec<AccountId>> {
        logins.iter().map(|login| accounts.get(&walk.case.fold(login)).copied().flatten().cloned()).collect()
    };
    let by_login = told.logins.into_iter().filter_map(|(group, logins)| Some((group, members(&logins)?)));
    Ok(told.ids.into_iter().chain(by_login).collect())
}

/// Whether an error may be about one object of a target only, so that the others can be read all the same.
pub(super) fn is_about_one(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Doubt | ErrorClass::Permanent | ErrorClass::Bug)
}

/// A group's members: what was told of them already, what is recorded where the target counts as many, or what it tells
/// now.
pub(super) async fn members(
    port: &TargetPort,
    group: TargetGroupId,
    told: Option<Vec<AccountId>>,
    recorded: Option<IdSet<AccountId>>,
) -> Result<GroupRead, WorkError> {
    if told.is_some() {
        return Ok(GroupRead { group, members: told, doubt: None, reading: Reading::Whole });
    }
    let mut members = IdSet::default();
    let mut pages = Pages::default();
    let (mut cursor, mut count): (Option<String>, Option<usize>) = (None, None);
    let mut several = false;
    let ended = |group, members, doubt, reading| Ok(GroupRead { group, members, doubt, reading });
    loop {
        let read = match &cursor {
            None => port.target.first_members(&group).await,
            Some(cursor) => port.target.members(&group, Some(cursor)).await.map(|page| page.map(|page| (page, count))),
        };
        let (page, counted) = match read {
            Ok(Some(read)) => read,
            Ok(None) => return ended(group, None, pages.incomplete, Reading::Whole),
            // One group that cannot be read ends no run.
            Err(error) if is_about_one(error.class()) => {
                return ended(group, Some(members.into_iter().collect()), Some(error.text), Reading::Whole);
            }
            Err(error) => return Err(error.into()),
        };
        count = counted;
        if let (None, Some(recorded)) = (&cursor, &recorded)
            && page.next.is_some()
            && is_as_recorded(recorded, &page, count)
        {
            return ended(group, Some(recorded.iter().cloned().collect()), None, Reading::Recorded);
        }
        let (came, known) = (page.items.len(), members.len());
        members.extend(page.items);
        cursor = pages.next((came, members.len() - known), page.next, page.doubt);
        if cursor.is_none() {
            let whole = pages.incomplete.is_none() && several && count == Some(members.len());
            let incomplete = pages.incomplete.map(|why| format!("{}: members of {group}: {why}", port.name));
            let reading = if whole { Reading::Countable } else { Reading::Whole };
            return ended(group, Some(members.into_iter().collect()), incomplete, reading);
        }
        several = true;
    }
}
