//! The evidence of a run: what it read on both sides, and what that cost. Its size does not depend on the realm.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// Maximum number of missing rights that are kept of one side.
const LACKS_AT_MOST: usize = 5;

/// What a run read on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// The source.
    pub source: SideEvidence,
    /// The target.
    pub target: SideEvidence,
}

/// What a run read on one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SideEvidence {
    /// What was read, by kind of object.
    pub read: BTreeMap<ObjectKind, ReadEvidence>,
    /// Rights of the token, as far as it or the server shows them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<String>,
    /// Rights that are missing, each with what to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
    /// Federation providers that cannot confirm their users, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent_providers: Vec<String>,
    /// The calls of the run to this side, writes included.
    pub cost: CallCost,
}

/// A kind of object that a run reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// Users of the source.
    Users,
    /// Groups of the source.
    Groups,
    /// Accounts of the target.
    Accounts,
    /// Members of groups: one entry for each member of each group.
    Members,
    /// Users and groups that have the roles of the policy: one entry for each role.
    RoleHolders,
    /// Members of the organizations that the policy requires: one entry for each organization.
    OrganizationMembers,
    /// Users of federation providers, such as LDAP, that the providers were asked about.
    FederatedUsers,
}

/// How one kind of object was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadEvidence {
    /// The server's count before the read; `None`: it has none, or it was not requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count_before: Option<usize>,
    /// The server's count after the read; `None`: it has none, or it was not requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count_after: Option<usize>,
    /// Number of entries that were listed, each once.
    pub read: usize,
    /// Number of lists: one, or one for each group, role or organization.
    pub lists: usize,
    /// Number of pages with entries, including those of repeated reads.
    pub pages: usize,
    /// Number of entries that another page of the same list contained before.
    pub repeats: usize,
    /// Number of times that a list was read again, because its pages or its count did not fit.
    pub rereads: usize,
    /// Number of listed entries that could not be decoded or read.
    pub unreadable: usize,
    /// Number of entries that were not read, because the server counts as many as are recorded.
    pub recorded: usize,
    /// The answers of reads by id.
    pub by_id: ById,
    /// Number of entries in the last run that neither failed nor was incomplete; `None`: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_good: Option<usize>,
}

/// The answers of reads by id. What was neither found nor gone is not confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ById {
    /// Number of objects that were read by their ids.
    pub asked: usize,
    /// Number of these that exist.
    pub found: usize,
    /// Number of these that are confirmed to be gone.
    pub gone: usize,
}

/// What the calls to one side cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallCost {
    /// Number of calls, including those that failed.
    pub calls: u64,
    /// Size of the answers' bodies in bytes, after decompression.
    pub bytes: u64,
    /// Sum of the durations of the calls in milliseconds. Concurrent calls make it longer than the run.
    pub time_ms: u64,
}

impl SideEvidence {
    /// Adds what was read of one kind.
    pub fn add(&mut self, kind: ObjectKind, read: &ReadEvidence) {
        self.read.entry(kind).or_default().add(read);
    }

    /// Adds what was read later. The cost stays.
    pub fn merge(&mut self, later: Self) {
        later.read.iter().for_each(|(kind, read)| self.add(*kind, read));
        self.rights.extend(later.rights);
        later.lacks.into_iter().for_each(|right| self.lacks(right));
        self.silent_providers.extend(later.silent_providers);
    }

    /// Returns the answers of reads by id of one kind.
    pub fn by_id(&mut self, kind: ObjectKind) -> &mut ById {
        &mut self.read.entry(kind).or_default().by_id
    }

    /// Records a missing right, once.
    pub fn lacks(&mut self, right: String) {
        if self.lacks.len() < LACKS_AT_MOST && !self.lacks.contains(&right) {
            self.lacks.push(right);
        }
    }

    /// Records the sizes of the last good run.
    pub fn compare(&mut self, last_good: &Self) {
        for (kind, read) in &mut self.read {
            read.last_good = last_good.read.get(kind).map(ReadEvidence::size);
        }
    }
}

impl ReadEvidence {
    /// Returns the number of entries, read or recorded.
    pub fn size(&self) -> usize {
        self.read + self.recorded
    }

    /// Adds the read of further lists. Counts are kept only if each list has one.
    pub fn add(&mut self, other: &Self) {
        let sum = |one: Option<usize>, other: Option<usize>| Some(one? + other?);
        if self.lists == 0 {
            (self.count_before, self.count_after) = (other.count_before, other.count_after);
        } else if other.lists > 0 {
            self.count_before = sum(self.count_before, other.count_before);
            self.count_after = sum(self.count_after, other.count_after);
        }
        self.lists += other.lists;
        self.add_part(other);
        self.read += other.read;
        self.unreadable += other.unreadable;
        self.recorded += other.recorded;
        self.by_id.add(other.by_id);
    }

    /// Adds the pages of another part of the same list.
    pub fn add_part(&mut self, other: &Self) {
        self.pages += other.pages;
        self.repeats += other.repeats;
        self.rereads += other.rereads;
    }

    /// Adds the pages of an earlier read of the same list that did not fit.
    pub fn add_earlier(&mut self, earlier: &Self) {
        self.add_part(earlier);
        self.rereads += 1;
    }

    /// Records a page with this number of entries, of which so many were new.
    pub fn add_page(&mut self, came: usize, fresh: usize) {
        self.pages += usize::from(came > 0);
        self.repeats += came.saturating_sub(fresh);
    }
}

impl ById {
    /// Creates the answer of one read; `None`: it is not confirmed, else whether the object exists.
    pub fn of(exists: Option<bool>) -> Self {
        let mut one = Self::default();
        one.answered(exists);
        one
    }

    /// Records the answer of one read; `None`: it is not confirmed, else whether the object exists.
    pub fn answered(&mut self, exists: Option<bool>) {
        self.asked += 1;
        self.found += usize::from(exists == Some(true));
        self.gone += usize::from(exists == Some(false));
    }

    /// Adds other answers.
    pub fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.found += other.found;
        self.gone += other.gone;
    }

    /// Returns the number of objects that are neither confirmed to exist nor to be gone.
    pub fn unconfirmed(&self) -> usize {
        self.asked.saturating_sub(self.found + self.gone)
    }
}

impl CallCost {
    /// Returns the sum of the durations of the calls.
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.time_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(read: usize, count_before: Option<usize>) -> ReadEvidence {
        ReadEvidence { read, count_before, lists: 1, pages: 1, ..ReadEvidence::default() }
    }

    #[test]
    fn lists_are_added_and_their_counts_only_if_each_has_one() {
        let mut all = ReadEvidence::default();
        all.add(&list(2, Some(2)));
        all.add(&list(3, Some(4)));
        assert_eq!((all.read, all.lists, all.pages, all.count_before, all.count_after), (5, 2, 2, Some(6), None));
        all.add(&ReadEvidence { by_id: ById { asked: 1, found: 1, gone: 0 }, ..ReadEvidence::default() });
        assert_eq!((all.count_before, all.by_id.found), (Some(6), 1));
        all.add(&list(1, None));
        assert_eq!((all.read, all.count_before), (6, None));
    }

    #[test]
    fn a_list_that_is_read_again_keeps_its_size_and_all_its_pages() {
        let mut first = list(0, None);
        first.add_page(3, 2);
        first.add_page(0, 0);
        let mut second = ReadEvidence { read: 3, ..list(0, None) };
        second.add_earlier(&first);
        assert_eq!((second.read, second.pages, second.repeats, second.rereads), (3, 3, 1, 1));
    }

    #[test]
    fn answers_of_reads_by_id_are_found_gone_or_not_confirmed() {
        let mut by_id = ById::default();
        for answer in [Some(true), Some(false), None, Some(false)] {
            by_id.answered(answer);
        }
        assert_eq!((by_id, by_id.unconfirmed()), (ById { asked: 4, found: 1, gone: 2 }, 1));
    }

    #[test]
    fn the_size_of_the_last_good_run_includes_what_was_recorded_then() {
        let mut before = SideEvidence::default();
        before.add(ObjectKind::Members, &ReadEvidence { recorded: 5, ..list(2, None) });
        let mut now = SideEvidence::default();
        now.add(ObjectKind::Members, &list(1, None));
        now.add(ObjectKind::Accounts, &list(1, None));
        now.compare(&before);
        assert_eq!(now.read[&ObjectKind::Members].last_good, Some(7));
        assert_eq!(now.read[&ObjectKind::Accounts].last_good, None);
    }

    #[test]
    fn a_missing_right_is_kept_once_and_only_the_first_ones() {
        let mut side = SideEvidence::default();
        for number in 0..100 {
            side.lacks(format!("right {}", number % 50));
        }
        assert_eq!((side.lacks.len(), side.lacks[0].as_str()), (LACKS_AT_MOST, "right 0"));
    }

    #[test]
    fn what_is_read_later_is_added_and_the_cost_stays() {
        let cost = CallCost { calls: 1, bytes: 2, time_ms: 3 };
        let mut side = SideEvidence { cost, rights: vec!["view-users".to_owned()], ..SideEvidence::default() };
        side.by_id(ObjectKind::Users).answered(Some(true));
        let mut later = SideEvidence { lacks: vec!["view-clients".to_owned()], ..SideEvidence::default() };
        later.add(ObjectKind::Users, &list(4, Some(4)));
        side.merge(later);
        let users = &side.read[&ObjectKind::Users];
        assert_eq!((users.read, users.count_before, users.by_id.found), (4, Some(4), 1));
        assert_eq!((side.cost, side.rights.len(), side.lacks.len()), (cost, 1, 1));
    }

    #[test]
    fn evidence_is_stored_with_the_names_of_the_kinds_and_read_from_any_older_form() {
        let mut evidence = Evidence::default();
        evidence.source.add(ObjectKind::RoleHolders, &list(2, None));
        let stored = serde_json::to_value(&evidence).expect("written");
        assert_eq!(stored["source"]["read"]["role_holders"]["read"], 2);
        assert_eq!(serde_json::from_value::<Evidence>(stored).expect("read"), evidence);
        assert_eq!(serde_json::from_str::<Evidence>("{}").expect("read"), Evidence::default());
    }
}
