//! Accounts and members that a list of the target lacks, although the target returns them one by one.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Account, Action, Link, Operation, TargetGroupId};

/// What the lists that a run read at the target lack of a user, although it was recorded before they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unlisted {
    /// Whether they lack the linked account.
    pub account: bool,
    /// The groups whose members they lack it among.
    pub groups: BTreeSet<TargetGroupId>,
}

impl Unlisted {
    /// Compares the record with what a run read: whether it read the account, and what it plans.
    pub fn of(link: &Link, is_listed: bool, expected: &[Action]) -> Self {
        let added = expected.iter().filter_map(|action| match action.operation() {
            Some(Operation::AddMember { group, .. }) => Some(group),
            _ => None,
        });
        let groups = added.filter(|group| link.given.contains(*group)).cloned().collect();
        Self { account: !is_listed, groups }
    }

    /// Returns what the account, read alone, has all the same; `None`: nothing.
    pub fn found_in(self, account: &Account) -> Option<FoundAlone> {
        let own: BTreeSet<&TargetGroupId> = account.groups.iter().flatten().collect();
        let groups: BTreeSet<_> = self.groups.into_iter().filter(|group| own.contains(group)).collect();
        let found = self.account || !groups.is_empty();
        found.then(|| FoundAlone { login: account.name.clone(), account: self.account, groups })
    }
}

/// An account that has what a list lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundAlone {
    login: String,
    /// Whether the list of accounts lacks it.
    account: bool,
    /// The groups whose lists of members lack it.
    groups: BTreeSet<TargetGroupId>,
}

/// The logins that lists of the target lack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnlistedLogins {
    /// Those that the list of accounts lacks.
    pub accounts: Vec<String>,
    /// Those that lists of members lack, by group.
    pub members: BTreeMap<TargetGroupId, Vec<String>>,
}

impl UnlistedLogins {
    /// Adds what was found of one user.
    pub fn add(&mut self, found: FoundAlone) {
        for group in found.groups {
            self.members.entry(group).or_default().push(found.login.clone());
        }
        if found.account {
            self.accounts.push(found.login);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(groups: &[&str]) -> Account {
        Account {
            id: "a1".into(),
            name: "ann".to_owned(),
            display_name: "Ann".to_owned(),
            email: None,
            attributes: BTreeMap::new(),
            active: true,
            access: Vec::new(),
            groups: Some(groups.iter().map(|group| (*group).into()).collect()),
            protected: None,
            immutable: None,
        }
    }

    #[test]
    fn only_what_was_recorded_and_is_found_alone_is_unlisted() {
        let add = |group: &str| {
            Action::Write(Operation::AddMember {
                group: group.into(),
                group_name: group.to_owned(),
                account: "a1".into(),
                name: "ann".to_owned(),
            })
        };
        let given = ["staff".into(), "eng".into()].into();
        let link = Link { given, ..Link::new("u1".into(), "a1".into(), "ann".to_owned()) };
        let expected = [add("staff"), add("eng"), add("new")];
        let unlisted = Unlisted::of(&link, false, &expected);
        assert_eq!(unlisted.groups, ["eng".into(), "staff".into()].into());
        let mut logins = UnlistedLogins::default();
        logins.add(unlisted.found_in(&account(&["staff", "new"])).expect("found"));
        let ann = vec!["ann".to_owned()];
        assert_eq!(logins, UnlistedLogins { accounts: ann.clone(), members: [("staff".into(), ann)].into() });
        assert_eq!(Unlisted::of(&link, true, &expected).found_in(&account(&[])), None);
    }
}
