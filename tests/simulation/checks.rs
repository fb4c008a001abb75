//! Properties that must hold when no work is left.

use std::collections::BTreeSet;

use usersync::model::{
    Account, EmptyGroups, GroupId, GroupMapping, LeaverAction, Link, ManagedGroup, TargetGroupId, UnmanagedMembers,
    UserId,
};

use crate::{
    rules::{CONSTANT, WRONG},
    scenario::BYSTANDERS,
    world::{Person, Realm, World},
};

/// Login of the unmanaged account in the target, a member of the first group.
pub const STRANGER: &str = "stranger";

/// State of the store for one pair.
pub struct Known {
    pub realm: usize,
    pub links: Vec<Link>,
    pub mappings: Vec<(GroupId, GroupMapping)>,
    pub managed: Vec<ManagedGroup>,
}

impl Known {
    fn link(&self, user: &UserId) -> Option<&Link> {
        self.links.iter().find(|link| link.user == *user)
    }

    /// Returns the differences of the target from the source.
    pub fn not_as_desired(&self, world: &World) -> Vec<String> {
        let realm = &world.realms[self.realm];
        let mut wrong = self.wrong_groups(world, realm);
        for id in realm.users.keys() {
            wrong.extend(self.wrong_user(world, realm, id));
        }
        for link in self.links.iter().filter(|link| !realm.users.contains_key(&link.user)) {
            let Some(account) = world.accounts.get(&link.account) else { continue };
            let leaving = world.rules.on_leaving(None).and_then(|action| wrong_leaver(world, account, action));
            wrong.extend(leaving.map(|why| format!("{} is gone, but {} {why}", link.user, link.account)));
        }
        wrong
    }

    fn wrong_user(&self, world: &World, realm: &Realm, id: &UserId) -> Option<String> {
        let (person, rules) = (&realm.users[id], &world.rules);
        let leaving = rules.on_leaving(Some(person));
        let Some(link) = self.link(id) else {
            return leaving.is_none().then(|| format!("{id} has no account"));
        };
        let Some(account) = world.accounts.get(&link.account) else {
            // A leaver's account may have been deleted.
            if leaving.is_some() {
                return None;
            }
            return Some(format!("{id} is linked to {}, which is not there", link.account));
        };
        let login = rules.login(person);
        if let Some(action) = leaving {
            let renamed = action == LeaverAction::Deactivate && rules.has_in_scope(person) && account.name != login;
            let why = wrong_leaver(world, account, action);
            let why = why.or_else(|| renamed.then(|| format!("is {}", account.name)));
            return why.map(|why| format!("{id} has left, but {} {why}", account.id));
        }
        if !account.active {
            return Some(format!("{id}: {} is inactive", account.id));
        }
        if account.name != login {
            return Some(format!("{id} is called {login}, but {} is {}", account.id, account.name));
        }
        if account.display_name != rules.display_name(id.as_str()) {
            return Some(format!("{id}: {} is shown as {}", account.id, account.display_name));
        }
        let mut wanted: BTreeSet<TargetGroupId> =
            rules.groups_of(person).iter().filter_map(|group| self.fed(group)).collect();
        wanted.extend(
            world
                .group_named(CONSTANT)
                .filter(|_| rules.decides_constant() && rules.grants_constant(person))
                .map(|group| group.id),
        );
        let actual = managed_groups(world, account);
        (wanted != actual).then(|| format!("{id}: {} is in {actual:?}, not in {wanted:?}", account.id))
    }

    /// Returns the target group that a group feeds.
    fn fed(&self, group: &GroupId) -> Option<TargetGroupId> {
        self.mappings.iter().find(|(id, _)| id == group).and_then(|(_, mapping)| match mapping {
            GroupMapping::Managed { group, .. } => Some(group.clone()),
            GroupMapping::Unmapped { .. } => None,
        })
    }

    /// Returns violations of the group rules. A group with a unique name feeds the target's group of that name; of
    /// several with one name at most one does, unless the policy merges them.
    fn wrong_groups(&self, world: &World, realm: &Realm) -> Vec<String> {
        let (mut wrong, rules) = (Vec::new(), &world.rules);
        for (id, name) in &realm.groups {
            let Some(wanted) = rules.group(id.as_str(), name) else {
                wrong.extend(self.fed(id).map(|fed| format!("group {id} is not synced, but feeds {fed}")));
                continue;
            };
            let has_name =
                |(other, known): &(&GroupId, &String)| *known == name && rules.group(other.as_str(), known).is_some();
            let namesakes: Vec<&GroupId> = realm.groups.iter().filter(has_name).map(|(id, _)| id).collect();
            let is_alone = rules.merged || namesakes.len() == 1;
            match self.fed(id) {
                Some(fed) if !rules.may_keep_names() && !has_name_of(world, &fed, &wanted) => {
                    wrong.push(format!("group {id} is called {wanted}, but feeds {fed}"));
                }
                None if is_alone && is_due(world, realm, id, &wanted) => {
                    wrong.push(format!("group {id}, called {name}, feeds none"));
                }
                _ => {}
            }
            // Groups that were merged before stay so until they have different names.
            let feeding = namesakes.iter().filter(|id| self.fed(id).is_some()).count();
            if feeding > 1 && !world.were_merged {
                wrong.push(format!("more than one group called {name} feeds one"));
            }
        }
        let gone = self.mappings.iter().filter(|(id, _)| !realm.groups.contains_key(id) && !id.is_constant());
        wrong.extend(gone.map(|(id, _)| format!("group {id} is gone, but still known")));
        let created = world.groups.values().filter(|(name, _)| name.starts_with(WRONG));
        wrong.extend(created.map(|(name, _)| format!("rules that do not apply to the target give it {name}")));
        wrong
    }

    /// Returns whether a group has no member in scope.
    fn is_empty(&self, world: &World, group: &GroupId) -> bool {
        let rules = &world.rules;
        let is_member = |person: &Person| rules.has_in_scope(person) && rules.groups_of(person).contains(group);
        !world.realms[self.realm].users.values().any(is_member)
    }
}

/// Returns whether a group should feed the target's group of this name.
fn is_due(world: &World, realm: &Realm, group: &GroupId, wanted: &str) -> bool {
    let rules = &world.rules;
    // A full reconcile creates the group also for a disabled user, an event does not. The same holds for a member of
    // another group that shares its name.
    let is_member =
        |person: &&Person| rules.on_leaving(Some(person)).is_none() && rules.groups_of(person).contains(group);
    let members = realm.users.values().filter(is_member).count();
    rules.creates(members) || rules.adopts(members) && world.group_named(wanted).is_some()
}

fn has_name_of(world: &World, group: &TargetGroupId, wanted: &str) -> bool {
    world.groups.get(group).is_some_and(|(known, _)| known.to_lowercase() == wanted.to_lowercase())
}

/// Returns what full reconciles should have done that events do not: deletions of empty groups, and removals of
/// unmanaged members.
pub fn after_runs(world: &World, known: &[Known]) -> Vec<String> {
    let stranger = world.account_named(STRANGER).map(|account| &account.id);
    let mut wrong = Vec::new();
    for known in known {
        for managed in known.managed.iter().filter(|managed| !managed.sources.iter().any(|(_, id)| id.is_constant())) {
            let Some((name, members)) = world.groups.get(&managed.id) else { continue };
            let is_fed = managed.sources.iter().any(|(_, id)| known.fed(id).as_ref() == Some(&managed.id));
            let is_empty = members.is_empty() && managed.sources.iter().all(|(_, id)| known.is_empty(world, id));
            if is_fed && is_empty && !managed.adopted && world.rules.empty == EmptyGroups::Delete {
                wrong.push(format!("group {name} is empty and still there"));
            }
            let has_stranger = stranger.is_some_and(|id| members.contains(id));
            if is_fed && has_stranger && world.rules.unmanaged == UnmanagedMembers::Remove {
                wrong.push(format!("{STRANGER} is still in {name}"));
            }
        }
    }
    wrong
}

/// Returns the groups of an account that usersync has to keep in sync. A constant group that is for new accounts, or no
/// longer in the policy, keeps its members.
fn managed_groups(world: &World, account: &Account) -> BTreeSet<TargetGroupId> {
    let former = world.group_named(CONSTANT).filter(|_| !world.rules.decides_constant());
    let mut groups: BTreeSet<TargetGroupId> = world.read_account(account).groups.into_iter().flatten().collect();
    groups.retain(|group| former.as_ref().is_none_or(|former| former.id != *group));
    groups
}

/// Returns what is wrong with the account of a user that has left, according to what should happen to it.
fn wrong_leaver(world: &World, account: &Account, action: LeaverAction) -> Option<String> {
    match action {
        LeaverAction::Nothing => None,
        LeaverAction::RemoveGroups => {
            let groups = managed_groups(world, account);
            (!groups.is_empty()).then(|| format!("is in {groups:?}"))
        }
        LeaverAction::Deactivate | LeaverAction::Delete | LeaverAction::Anonymize => {
            account.active.then(|| "is active".to_owned())
        }
    }
}

/// Returns violations of the properties of every quiet state, whatever was lost.
pub fn always(world: &World, known: &[Known], before_run: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for id in &world.never_off {
        let links = known.iter().filter_map(|known| known.link(id));
        for link in links.filter(|link| world.accounts.get(&link.account).is_some_and(|account| !account.active)) {
            wrong.push(format!("S1: {id} was enabled and in scope throughout, but {} is inactive", link.account));
        }
    }
    for (id, intent) in world.intents.iter().filter(|(_, intent)| intent.outcome.is_none()) {
        wrong.push(format!("S3q: intent {id} is open: {}", intent.operation));
    }
    for subject in world.claims.keys() {
        wrong.push(format!("S2: {subject:?} is still claimed"));
    }
    let stranger = world.account_named(STRANGER);
    let is_removed = |stranger: &Account| world.read_account(stranger).groups.is_none_or(|groups| groups.is_empty());
    if let Some(stranger) = stranger
        && (!stranger.active || !world.removed_unmanaged && is_removed(stranger))
    {
        wrong.push("only what is ours: the stranger was changed".into());
    }
    for account in world.accounts.values().filter(|account| account.name != STRANGER) {
        let links = known.iter().flat_map(|known| &known.links).filter(|link| link.account == account.id).count();
        if links > 1 {
            wrong.push(format!("{} has {links} links", account.id));
        }
        // An account that was hidden for long is found again by the next full reconcile.
        let comes_back = before_run && world.hidden.contains_key(&account.id);
        if links == 0 && account.active && !comes_back {
            wrong.push(format!("{}, called {}, is active and nobody's", account.id, account.name));
        }
    }
    for id in BYSTANDERS.iter().take(world.realms.len()) {
        let in_scope = world.never_off.contains(&UserId::from(*id));
        // A policy may add a suffix to its login.
        let mut accounts = world.accounts.values().filter(|account| account.name.starts_with(id));
        if in_scope && !accounts.any(|account| account.active) {
            wrong.push(format!("{id} has no active account"));
        }
    }
    wrong
}
