//! Groups whose members were read whole not long ago: where the target counts as many as are recorded, they are not read
//! again. A count alone never proves that somebody is no member: what removes is read again before it is sent, and every
//! group is read whole once a day, which finds one who joined by hand in the place of another.

use jiff::{SignedDuration, Timestamp};

use super::RunOptions;
use crate::{
    model::{AccountId, IdMap, IdSet, Link, RunMode, RunTrigger, TargetGroupId, UserId},
    store::MembersRead,
    target::Page,
};

/// After so long a group is read whole, whatever it counts.
const WHOLE_AGAIN: SignedDuration = SignedDuration::from_hours(24);

/// Whether records may stand for a reading: what a person starts, and what only plans, reads everything.
pub(super) fn trusts_records(options: &RunOptions) -> bool {
    options.mode == RunMode::Apply
        && matches!(options.trigger, RunTrigger::Schedule | RunTrigger::Missed | RunTrigger::Event)
}

/// Readings before this are of no use.
pub(super) fn oldest(now: Timestamp) -> Timestamp {
    now - WHOLE_AGAIN
}

/// The recorded members of each group that was read whole within a day: whom the links were given it, and the others.
pub(super) fn recorded(
    read: Vec<MembersRead>,
    links: &IdMap<UserId, Link>,
    now: Timestamp,
) -> IdMap<TargetGroupId, IdSet<AccountId>> {
    let fresh = read.into_iter().filter(|one| one.at > oldest(now) && one.at <= now);
    let mut groups: IdMap<TargetGroupId, IdSet<AccountId>> =
        fresh.map(|one| (one.group, one.others.into_iter().collect())).collect();
    for link in links.values() {
        for group in &link.given {
            if let Some(members) = groups.get_mut(group) {
                members.insert(link.account.clone());
            }
        }
    }
    groups
}

/// Whether a group's first page and count are those of the recorded members.
pub(super) fn is_as_recorded(recorded: &IdSet<AccountId>, first: &Page<AccountId>, count: Option<usize>) -> bool {
    first.doubt.is_none()
        && count == Some(recorded.len())
        && first.items.iter().all(|account| recorded.contains(account))
}

/// What is to be recorded of groups that were read whole.
pub(super) fn records(
    whole: Vec<(TargetGroupId, Vec<AccountId>)>,
    links: &IdMap<UserId, Link>,
    at: Timestamp,
) -> Vec<MembersRead> {
    let mut others: IdMap<TargetGroupId, IdSet<AccountId>> =
        whole.into_iter().map(|(group, members)| (group, members.into_iter().collect())).collect();
    for link in links.values() {
        for group in &link.given {
            if let Some(others) = others.get_mut(group) {
                others.remove(&link.account);
            }
        }
    }
    let record = |(group, others): (TargetGroupId, IdSet<AccountId>)| MembersRead {
        group,
        others: others.into_iter().collect(),
        at,
    };
    others.into_iter().map(record).collect()
}
