//! Groups with recorded members: if all members were read recently and the target counts as many as are recorded, they
//! are not read again. A count alone never proves that an account is not a member. Removals are read again before they
//! are sent. Every group is read completely once a day, which finds a manual replacement of one member by another.

use jiff::{SignedDuration, Timestamp};

use super::{
    RunOptions,
    members::{Members, MembersBuilder},
    walk::TargetWalk,
};
use crate::{
    model::{Account, AccountId, Grants, IdMap, IdSet, Packed, Pair, RunMode, RunTrigger, TargetGroupId, number},
    store::{EngineStore, MembersRead, StoreResult},
    targets::Page,
};

/// Age at which a group is read completely, whatever its count.
const WHOLE_AGAIN: SignedDuration = SignedDuration::from_hours(24);

/// Returns whether records may replace a read. A run that an operator starts and a dry run read everything.
pub(super) fn trusts_records(options: &RunOptions) -> bool {
    options.mode == RunMode::Apply
        && matches!(options.trigger, RunTrigger::Schedule | RunTrigger::Missed | RunTrigger::Event)
}

/// Returns the time before which records are too old to use.
pub(super) fn oldest(now: Timestamp) -> Timestamp {
    now - WHOLE_AGAIN
}

/// The recorded members of a group.
pub(super) struct Recorded(Members);

/// Returns the recorded members of each group that was read completely within a day: memberships that usersync granted,
/// and others.
pub(super) async fn recorded(
    store: &dyn EngineStore,
    pair: &Pair,
    target: &TargetWalk,
) -> StoreResult<IdMap<TargetGroupId, Recorded>> {
    let accounts = target.accounts();
    let mut given: IdMap<TargetGroupId, usize> = IdMap::default();
    for group in target.grants().flat_map(|grants| grants.given) {
        *given.entry(group).or_default() += 1;
    }
    let mut groups: IdMap<TargetGroupId, MembersBuilder> = IdMap::default();
    let mut after = None;
    loop {
        let read = store.members_read(pair, after.as_ref()).await?;
        let Some(last) = read.last() else { break };
        after = Some(last.group.clone());
        for one in read.into_iter().filter(|one| one.at > oldest(target.began) && one.at <= target.began) {
            // A list that grew has up to twice the size, and a realm has millions of memberships.
            let room = one.others.len() + given.get(&one.group).copied().unwrap_or_default();
            let members = groups.entry(one.group).or_insert_with(|| MembersBuilder::with_capacity(room));
            for account in one.others {
                members.add(account, accounts);
            }
        }
    }
    if groups.is_empty() {
        return Ok(IdMap::default());
    }
    for grants in target.grants() {
        for group in &grants.given {
            if let Some(members) = groups.get_mut(group) {
                members.add(grants.account.clone(), accounts);
            }
        }
    }
    Ok(groups.into_iter().map(|(group, members)| (group, Recorded(members.build()))).collect())
}

impl Recorded {
    /// Returns whether a group's first page and count match the recorded members.
    pub fn is_as(&self, first: &Page<AccountId>, count: Option<usize>, accounts: &Packed<Account>) -> bool {
        let Self(Members { places, unlisted }) = self;
        let places: Vec<u32> = places.iter().collect();
        let holds = |account: &AccountId| match accounts.place(account.as_str()) {
            Some(place) => places.binary_search(&number(place)).is_ok(),
            None => unlisted.contains(account),
        };
        first.incomplete.is_none() && count == Some(places.len() + unlisted.len()) && first.items.iter().all(holds)
    }

    /// Returns the recorded members.
    pub fn members(self) -> Members {
        self.0
    }
}

/// Returns the members of completely read groups, without the memberships that usersync granted. An index takes four
/// bytes, and a first run finds millions.
pub(super) fn others(whole: Vec<Whole>, target: &TargetWalk) -> Vec<Others> {
    let mut others: IdMap<TargetGroupId, Others> = IdMap::default();
    for Whole { group, unlisted } in whole {
        others.insert(group.clone(), Others { group, places: Vec::new(), unlisted });
    }
    let mut is_linked = vec![false; target.accounts().len()];
    for Grants { account, given, .. } in target.grants() {
        let Some(place) = target.accounts().place(account.as_str()) else {
            for group in &given {
                if let Some(others) = others.get_mut(group) {
                    others.unlisted.remove(&account);
                }
            }
            continue;
        };
        is_linked[place] = true;
        for group in target.groups_at(place).filter(|group| !given.contains(group)) {
            if let Some(others) = others.get_mut(group) {
                others.places.push(number(place));
            }
        }
    }
    for place in (0..is_linked.len()).filter(|place| !is_linked[*place]) {
        for group in target.groups_at(place) {
            if let Some(others) = others.get_mut(group) {
                others.places.push(number(place));
            }
        }
    }
    others.into_values().collect()
}

/// The members of a group that usersync did not add.
pub(super) struct Others {
    group: TargetGroupId,
    /// Indexes of the listed accounts.
    places: Vec<u32>,
    unlisted: IdSet<AccountId>,
}

impl Others {
    /// Returns the record of the group.
    pub fn record(self, target: &TargetWalk) -> MembersRead {
        let listed = self.places.into_iter().map(|place| target.accounts().key(place as usize).into());
        MembersRead { group: self.group, others: self.unlisted.into_iter().chain(listed).collect(), at: target.began }
    }
}

/// A group that was read completely, with its members that were not listed as accounts.
pub(super) struct Whole {
    pub group: TargetGroupId,
    pub unlisted: IdSet<AccountId>,
}
