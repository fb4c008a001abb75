//! The roles or organizations of all users, as a run reads them: those of each user, and those of the groups.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Display,
    sync::Arc,
};

use super::memberships::Memberships;
use crate::{
    keycloak::AllHolders,
    model::{Granted, GroupId, GroupState, Packed, Unread, UserState, number, parent_paths},
};

/// Who has the roles, or is a member of the organizations, that the policy names.
pub(super) struct WalkedHolders<N: Ord> {
    /// The roles or organizations, ordered.
    names: Vec<Arc<N>>,
    /// Those that users have directly or by composite roles, by number.
    direct: Memberships,
    /// The roles of groups whose members were read, and of the groups above them, by number.
    of_groups: Vec<Vec<u32>>,
    /// Those that users without them may have.
    unread: Option<Arc<BTreeMap<N, Unread>>>,
    /// The same for users of a federation without import.
    unread_of_federated: Option<Arc<BTreeMap<N, Unread>>>,
}

impl<N: Ord> Default for WalkedHolders<N> {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            direct: Memberships::default(),
            of_groups: Vec::new(),
            unread: None,
            unread_of_federated: None,
        }
    }
}

impl<N: Ord + Clone + Display> WalkedHolders<N> {
    /// Relates the holders to the users that were read, and to their groups.
    pub fn new(
        holders: AllHolders<N>,
        users: &Packed<UserState>,
        joined: &[Arc<GroupState>],
        groups: &[GroupState],
    ) -> Self {
        let AllHolders { held, mut unread, by_default, .. } = holders;
        let paths: HashMap<&GroupId, &str> = groups.iter().map(|group| (&group.id, group.path.as_str())).collect();
        let (mut names, mut lists) = (Vec::new(), Vec::new());
        let mut of_groups = vec![Vec::new(); joined.len()];
        for (role, holders) in held {
            let number_of_role = number(names.len());
            let places: Vec<u32> = holders.users.iter().filter_map(|id| users.place(id.as_str())).map(number).collect();
            lists.push((number_of_role, places.into()));
            let (known, unknown): (Vec<_>, Vec<_>) =
                holders.groups.iter().map(|group| (group, paths.get(group))).partition(|(_, path)| path.is_some());
            if let Some((group, _)) = unknown.first() {
                let why = format!("group {group}, which has the role {role}, is not among the groups that were read");
                unread.entry(role.clone()).or_insert(Unread::Unknown(why));
            }
            let ids: HashSet<&GroupId> = known.iter().map(|(group, _)| *group).collect();
            let above: HashSet<&str> = known.into_iter().filter_map(|(_, path)| path.copied()).collect();
            for (group, roles) in joined.iter().zip(&mut of_groups) {
                if ids.contains(&group.id) || parent_paths(&group.path).any(|path| above.contains(path)) {
                    roles.push(number_of_role);
                }
            }
            names.push(Arc::new(role));
        }
        let mut direct = Memberships::default();
        direct.add(users.len(), lists);
        let mut of_federated = by_default;
        of_federated.extend(unread.clone());
        let shared = |unread: BTreeMap<_, _>| (!unread.is_empty()).then(|| unread.into());
        Self { names, direct, of_groups, unread: shared(unread), unread_of_federated: shared(of_federated) }
    }

    /// Returns those of the user at an index, with this id, who is a member of these groups.
    pub fn of(&self, place: usize, id: &str, groups: impl Iterator<Item = u32>) -> Granted<N> {
        if self.names.is_empty() && self.unread.is_none() {
            return Granted::default();
        }
        let inherited = groups.flat_map(|group| self.of_groups.get(group as usize).into_iter().flatten().copied());
        let mut roles: Vec<u32> = self.direct.of(place).chain(inherited).collect();
        roles.sort_unstable();
        roles.dedup();
        let held = roles.into_iter().map(|role| Arc::clone(&self.names[role as usize])).collect();
        // The id of a user of a federation without import.
        let unread = if id.starts_with("f:") { &self.unread_of_federated } else { &self.unread };
        Granted { held, unread: unread.clone() }
    }

    /// Returns why there may be other holders than those that were read.
    pub fn unread(&self) -> impl Iterator<Item = String> {
        self.unread.iter().flat_map(|unread| unread.values()).map(|unread| unread.why().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keycloak::RoleHolders, model::RoleName};

    #[test]
    fn it_is_not_known_whether_users_of_a_federation_without_import_have_a_default_role() {
        let role = RoleName { client: None, name: "jira".to_owned() };
        let why = Unread::Unknown("not listed".to_owned());
        let holders = RoleHolders {
            held: [(role.clone(), crate::keycloak::Holders::default())].into(),
            by_default: [(role.clone(), why.clone())].into(),
            ..RoleHolders::default()
        };
        let roles = WalkedHolders::new(holders, &Packed::default(), &[], &[]);
        assert_eq!(roles.of(0, "f:ldap:ann", [].into_iter()).has(&role), Err(&why));
        assert_eq!(roles.of(0, "5eeba18c", [].into_iter()).has(&role), Ok(false));
    }
}
