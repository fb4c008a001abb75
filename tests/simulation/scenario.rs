//! Scenario of a simulation: its users and groups, the changes of the source, and the faults.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use usersync::model::{GroupId, Subject, UserId};

use crate::{
    rules::Rules,
    world::{Person, Realm},
};

/// Kind of a change at the source. Ids of the second realm's users and groups begin with `v` or `h`.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A user is disabled or enabled.
    Toggle(&'static str),
    /// A user is added to a group, or removed.
    Member(&'static str, &'static str),
    /// All of these are added to a group, or removed if all are members; without an event, as after an import.
    Members(&'static [&'static str], &'static str),
    /// A user is deleted; the id never comes back.
    Delete(&'static str),
    /// A user is created, with any free login.
    Born(&'static str),
    /// A user gets any free login.
    Login(&'static str),
    /// Two users swap their logins.
    Swap(&'static str, &'static str),
    /// Three users exchange their logins in a cycle.
    Ring(&'static str, &'static str, &'static str),
    /// A group is created, with any name.
    GroupBorn(&'static str),
    /// A group gets any other name.
    GroupName(&'static str),
    /// A group is deleted with its memberships.
    GroupDelete(&'static str),
}

/// Number of times that each thing may happen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    /// Changes at the source.
    pub change: u32,
    /// Changes that are announced before their commit.
    pub early: u32,
    /// Lost events.
    pub lose: u32,
    /// Duplicate events.
    pub double: u32,
    /// Crashes of the process.
    pub crash: u32,
    /// Calls to the target without an answer in time.
    pub timeout: u32,
    /// Failed reads.
    pub fault: u32,
    /// Full reconciles.
    pub run: u32,
    /// Changes in the target without usersync.
    pub drift: u32,
    /// Outages of the store.
    pub store: u32,
    /// Accounts that the target does not find for a while.
    pub hide: u32,
    /// Changes of the policy, each with a restart.
    pub policy: u32,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    /// Users that are linked from the start: id, login, groups.
    pub people: &'static [(&'static str, &'static str, &'static [&'static str])],
    /// Groups that exist from the start: id, name.
    pub groups: &'static [(&'static str, &'static str)],
    /// Possible changes of the source.
    pub kinds: &'static [Kind],
    /// Logins that changes use.
    pub logins: &'static [&'static str],
    /// Names that group changes use.
    pub group_names: &'static [&'static str],
    /// Number of parallel workers.
    pub workers: usize,
    /// Whether the target is addressed by login.
    pub by_name: bool,
    /// Number of groups that one call can add a user to.
    pub groups_at_once: usize,
    /// Number of accounts that one call can add to a group; with more than one, full reconciles collect additions in
    /// waves.
    pub max_members_per_call: usize,
    /// Whether the target can rename groups.
    pub renames_groups: bool,
    /// Safety limit: removals of a kind per hour; `None`: it does not matter.
    pub safety: Option<u32>,
    /// Whether each simulation draws a policy. An operator then approves what waits, at some time.
    pub draws_policy: bool,
    pub budget: Budget,
}

/// One user, `u0`, whose login is `x`, in group `g0`.
pub const ONE: Scenario = Scenario {
    name: "",
    what: "",
    people: &[("u0", "x", &["g0"])],
    groups: &[("g0", "staff")],
    kinds: &[],
    logins: &["x", "y"],
    group_names: &[],
    workers: 2,
    by_name: false,
    groups_at_once: 1,
    max_members_per_call: 1,
    renames_groups: false,
    safety: None,
    draws_policy: false,
    budget: Budget {
        change: 0,
        early: 0,
        lose: 0,
        double: 0,
        crash: 0,
        timeout: 0,
        fault: 0,
        run: 0,
        drift: 0,
        store: 0,
        hide: 0,
        policy: 0,
    },
};

/// No user except the bystander.
pub const NOBODY: Scenario = Scenario { people: &[], ..ONE };

/// Two users.
pub const TWO: Scenario = Scenario { people: &[("u0", "x", &["g0"]), ("u1", "y", &[])], ..ONE };

/// Three users.
pub const THREE: Scenario = Scenario {
    people: &[("u0", "x", &["g0"]), ("u1", "y", &[]), ("u2", "z", &["g0"])],
    logins: &["x", "y", "z"],
    ..ONE
};

/// A change that the source can make now.
#[derive(Clone, Debug)]
pub struct Change {
    pub what: String,
    pub after: Vec<Realm>,
    pub hints: Vec<(usize, Subject)>,
}

/// Returns the realm that a user or group belongs to.
pub fn realm_of(id: &str) -> usize {
    usize::from(id.starts_with(['v', 'h']))
}

/// Users that exist in each realm from start to end, so that at least one user can be read.
pub const BYSTANDERS: [&str; 2] = ["bystander", "vbystander"];

impl Scenario {
    /// Draws rules of this scenario; the defaults if it has no other policies.
    pub fn draw_rules(&self, rng: &mut SmallRng) -> Rules {
        let groups: Vec<&str> = self.groups.iter().map(|(id, _)| *id).collect();
        if self.draws_policy { Rules::draw(rng, &groups, self.logins) } else { Rules::default() }
    }

    /// Returns the number of realms.
    pub fn realms(&self) -> usize {
        self.people.iter().map(|(id, ..)| realm_of(id)).max().unwrap_or(0) + 1
    }

    /// Returns the initial realms.
    pub fn begin(&self) -> Vec<Realm> {
        let mut realms = vec![Realm::default(); self.realms()];
        for (id, name) in self.groups {
            realms[realm_of(id)].groups.insert((*id).into(), (*name).into());
        }
        for (id, login, groups) in self.people {
            let groups = groups.iter().map(|group| GroupId::from(*group)).collect();
            let person = Person { login: (*login).into(), enabled: true, groups };
            realms[realm_of(id)].users.insert((*id).into(), person);
        }
        for (realm, id) in realms.iter_mut().zip(BYSTANDERS) {
            let person = Person { login: id.into(), enabled: true, groups: BTreeSet::new() };
            realm.users.insert(id.into(), person);
        }
        realms
    }

    /// Returns all changes that the source can make now. `born`: all ids that ever existed.
    pub fn changes(&self, realms: &[Realm], born: &BTreeSet<String>) -> Vec<Change> {
        self.kinds.iter().flat_map(|kind| self.changes_of(*kind, realms, born)).collect()
    }

    fn changes_of(&self, kind: Kind, realms: &[Realm], born: &BTreeSet<String>) -> Vec<Change> {
        match kind {
            Kind::Toggle(id) => one_user(realms, id, |person| {
                person.enabled = !person.enabled;
                format!("{id} is {}", if person.enabled { "enabled" } else { "disabled" })
            }),
            Kind::Member(id, group) if realms[realm_of(id)].groups.contains_key(&group.into()) => {
                one_user(realms, id, |person| {
                    let left = person.groups.remove(&group.into());
                    if !left {
                        person.groups.insert(group.into());
                    }
                    format!("{id} {} {group}", if left { "leaves" } else { "joins" })
                })
            }
            Kind::Member(..) => Vec::new(),
            Kind::Members(ids, group) => members_move(realms, ids, group).into_iter().collect(),
            Kind::Delete(id) => {
                let mut after = realms.to_vec();
                if after[realm_of(id)].users.remove(&id.into()).is_none() {
                    return Vec::new();
                }
                vec![Change { what: format!("{id} is deleted"), after, hints: hint_users(&[id]) }]
            }
            Kind::Born(id) if born.contains(id) => Vec::new(),
            Kind::Born(id) => self
                .free_logins(realms, id)
                .map(|login| {
                    let mut after = realms.to_vec();
                    let person = Person { login: login.into(), enabled: true, groups: BTreeSet::new() };
                    after[realm_of(id)].users.insert(id.into(), person);
                    Change { what: format!("{id} is born as {login}"), after, hints: hint_users(&[id]) }
                })
                .collect(),
            Kind::Login(id) => self
                .free_logins(realms, id)
                .flat_map(|login| {
                    one_user(realms, id, |person| {
                        person.login = login.into();
                        format!("{id} is called {login} now")
                    })
                })
                .collect(),
            Kind::Swap(one, other) => logins_move(realms, &[one, other]),
            Kind::Ring(one, two, three) => logins_move(realms, &[one, two, three]),
            Kind::GroupBorn(id) if born.contains(id) => Vec::new(),
            Kind::GroupBorn(id) => {
                self.group_names.iter().map(|name| named_group(realms, id, name, "made as")).collect()
            }
            Kind::GroupName(id) => match realms[realm_of(id)].groups.get(&id.into()) {
                Some(old) => {
                    let other = self.group_names.iter().filter(|name| *name != old);
                    other.map(|name| named_group(realms, id, name, "called")).collect()
                }
                None => Vec::new(),
            },
            Kind::GroupDelete(id) => {
                let mut after = realms.to_vec();
                let realm = &mut after[realm_of(id)];
                if realm.groups.remove(&id.into()).is_none() {
                    return Vec::new();
                }
                for person in realm.users.values_mut() {
                    person.groups.remove(&id.into());
                }
                vec![Change { what: format!("group {id} is deleted"), after, hints: hint_group(id) }]
            }
        }
    }

    fn free_logins(&self, realms: &[Realm], id: &str) -> impl Iterator<Item = &'static str> {
        let users: Vec<String> = realms[realm_of(id)].users.values().map(|person| person.login.clone()).collect();
        self.logins.iter().copied().filter(move |login| !users.iter().any(|taken| taken == login))
    }
}

fn one_user(realms: &[Realm], id: &str, change: impl FnOnce(&mut Person) -> String) -> Vec<Change> {
    let mut after = realms.to_vec();
    let Some(person) = after[realm_of(id)].users.get_mut(&id.into()) else { return Vec::new() };
    let what = change(person);
    vec![Change { what, after, hints: hint_users(&[id]) }]
}

/// Adds the existing ones of these users to a group, or removes them if all are members.
fn members_move(realms: &[Realm], ids: &[&str], group: &str) -> Option<Change> {
    let mut after = realms.to_vec();
    let realm = &mut after[realm_of(group)];
    realm.groups.get(&group.into())?;
    let there: Vec<&str> = ids.iter().copied().filter(|id| realm.users.contains_key(&UserId::from(*id))).collect();
    let all_in = there.iter().all(|id| realm.users[&UserId::from(*id)].groups.contains(&group.into()));
    for id in &there {
        let groups = &mut realm.users.get_mut(&UserId::from(*id))?.groups;
        if all_in {
            groups.remove(&group.into())
        } else {
            groups.insert(group.into())
        };
    }
    let what = format!("{} {} {group}", there.join(", "), if all_in { "remove_member" } else { "add_member" });
    Some(Change { what, after, hints: Vec::new() })
}

/// Gives each of them the next one's login.
fn logins_move(realms: &[Realm], ids: &[&str]) -> Vec<Change> {
    let mut after = realms.to_vec();
    let users = &realms[realm_of(ids[0])].users;
    let logins: Vec<String> =
        ids.iter().filter_map(|id| users.get(&UserId::from(*id))).map(|person| person.login.clone()).collect();
    if logins.len() < ids.len() {
        return Vec::new();
    }
    for (place, id) in ids.iter().enumerate() {
        if let Some(person) = after[realm_of(id)].users.get_mut(&UserId::from(*id)) {
            person.login.clone_from(&logins[(place + 1) % ids.len()]);
        }
    }
    vec![Change { what: format!("the logins of {} go round", ids.join(", ")), after, hints: hint_users(ids) }]
}

fn named_group(realms: &[Realm], id: &str, name: &str, how: &str) -> Change {
    let mut after = realms.to_vec();
    after[realm_of(id)].groups.insert(id.into(), name.into());
    Change { what: format!("group {id} is {how} {name}"), after, hints: hint_group(id) }
}

fn hint_users(ids: &[&str]) -> Vec<(usize, Subject)> {
    ids.iter().map(|id| (realm_of(id), Subject::user(*id))).collect()
}

fn hint_group(id: &str) -> Vec<(usize, Subject)> {
    vec![(realm_of(id), Subject::group(id))]
}
