//! Reads both sides completely, each under an observation that is numbered before the read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::{
    RunOptions,
    counted::{self, Recorded, Whole},
    holders::WalkedHolders,
    logins::{Found, Logins, Owners, Values},
    members::{self, GroupRead, Reading},
    memberships::{Memberships, Rows},
    pages::Pages,
    scope_walk::{MemberList, WalkedUsers},
};
use crate::{
    engine::{
        approval_keys::approval_key,
        error::WorkError,
        ports::{Connector, Engine, TargetPort},
        scope::absent_groups,
    },
    keycloak::{FullListing, SourceError},
    model::{
        Account, AccountId, ApprovalItem, ApprovalItemState, ConnectorName, ErrorClass, Grants, GroupId, GroupRules,
        GroupState, IdMap, IdSet, Link, MatchedBy, NewApprovalItem, ObjectKind, ObservationSeq, Operation,
        OrganizationName, Packed, Pair, ReadEvidence, RoleName, SideEvidence, Subject, TargetGroupId, Unsupported,
        UserId, UserState, number,
    },
    plan::{self, Candidate, GroupTable, NameHolder, Owner},
    policy::{self, Search},
    store::LinkOrder,
    targets::CaseRule,
};

/// The source as read.
pub(super) struct SourceWalk {
    /// The number of this observation.
    pub observation: ObservationSeq,
    /// The users, without their groups.
    users: Packed<UserState>,
    /// Users that were read again separately, by index.
    read_again: HashMap<usize, UserState>,
    /// Groups with members that were read, by number.
    joined: Vec<Arc<GroupState>>,
    /// The parent groups that also get the members of each of these, according to the policy; empty: none at all.
    above: Vec<Vec<Arc<GroupState>>>,
    memberships: Memberships,
    /// The roles that the policy names.
    roles: WalkedHolders<RoleName>,
    /// The organizations that the policy names.
    organizations: WalkedHolders<OrganizationName>,
    /// Whether users outside the required groups were not read.
    pub only_scope: bool,
    /// Users and groups that exist but could not be read, each with its error.
    pub failed: Vec<(Subject, String)>,
    failed_ids: IdSet<UserId>,
    pub groups: Vec<GroupState>,
    /// Why there may be more users: a user that was not read may exist. `None`: the listing is complete.
    pub users_incomplete: Option<String>,
    /// Why there may be more groups; `None`: the listing is complete.
    pub groups_incomplete: Option<String>,
    /// Required groups of the scope that do not exist.
    pub absent_groups: Vec<String>,
    /// Paths of groups with members that may be incomplete, and why.
    pub members_incomplete: Vec<(String, String)>,
    /// How it was read.
    pub evidence: SideEvidence,
}

/// The target as read.
pub(super) struct TargetWalk {
    pub observation: ObservationSeq,
    /// The time before the first account was read.
    pub began: Timestamp,
    links: Packed<Link>,
    /// Users with a link that this run dropped.
    unlinked: IdSet<UserId>,
    /// Links that were dropped because their accounts were gone, by user.
    pub dropped: IdMap<UserId, Vec<Link>>,
    elsewhere: BTreeMap<AccountId, ConnectorName>,
    /// The accounts, without their groups.
    accounts: Packed<Account>,
    /// Groups with members that were read, by number.
    joined: Vec<TargetGroupId>,
    memberships: Memberships,
    /// How logins are compared.
    pub case: CaseRule,
    /// Created on first use: in most runs no user needs another login.
    names: OnceLock<(Logins, Owners)>,
    /// Created on first use: only if the policy matches users by other keys than the login.
    values: Mutex<BTreeMap<MatchedBy, Arc<Values>>>,
    /// Operations that are known to be unsupported, by subject and key.
    pub unsupported: HashMap<(Subject, String), Unsupported>,
    /// Users that are stored as protected.
    pub protected: HashSet<Subject>,
    /// Users that are stored as undecided.
    pub undecided: HashSet<Subject>,
    /// Users that are stored as getting no account.
    pub without_account: HashSet<Subject>,
    /// Items that wait for an operator or that an operator decided, by subject.
    standing: HashMap<Subject, Vec<ApprovalItem>>,
    /// Operators' orders about links.
    pub orders: IdMap<UserId, LinkOrder>,
    /// Groups with members that were requested; `absent` has those that do not exist.
    pub asked: IdSet<TargetGroupId>,
    pub absent: Vec<TargetGroupId>,
    /// The recorded members of groups that were read completely within a day; empty where records do not count.
    recorded: IdMap<TargetGroupId, Recorded>,
    /// Number of groups with members that were not read, as the target counts as many as are recorded.
    pub counted: usize,
    /// Groups that were read completely and are to be recorded.
    pub whole: Vec<Whole>,
    /// Reasons why group members are incomplete, by group name: an account that is not listed may be a member.
    pub groups_incomplete: BTreeMap<String, String>,
    pub incomplete: Option<String>,
    /// How it was read.
    pub evidence: SideEvidence,
}

impl Engine {
    /// Reads all users (or those that can be in scope), all groups, and the members of each group, never with one request
    /// per user. An error about one group fails that group only.
    pub(super) async fn walk_source(
        &self,
        pair: &Pair,
        connector: &Connector,
        options: &RunOptions,
    ) -> Result<SourceWalk, WorkError> {
        let observation = self.store.next_observation().await?;
        self.identify(connector).await?;
        let progress = |read, total| options.report_progress("reading both sides", read, total, 0);
        self.before_listing(connector).await?;
        let (walked, groups) = self.walk_users(pair, connector, &progress).await?;
        let WalkedUsers { users, lists, only_scope } = walked;
        let mut evidence = SideEvidence::default();
        evidence.add(ObjectKind::Users, &users.evidence);
        evidence.add(ObjectKind::Groups, &groups.evidence);
        let mut walk = SourceWalk {
            observation,
            users: users.items,
            read_again: HashMap::new(),
            joined: Vec::new(),
            above: Vec::new(),
            memberships: Memberships::default(),
            roles: WalkedHolders::default(),
            organizations: WalkedHolders::default(),
            only_scope,
            failed: Vec::new(),
            failed_ids: IdSet::default(),
            groups: groups.items,
            users_incomplete: users.incomplete.map(|why| format!("{}: {why}", connector.name)),
            groups_incomplete: groups.incomplete.map(|why| format!("{}: {why}", connector.name)),
            absent_groups: Vec::new(),
            members_incomplete: Vec::new(),
            evidence,
        };
        for (id, odd) in users.unreadable {
            walk.fail_user(id, odd.failure());
        }
        let known = self.group_table(pair).await?;
        for (id, odd) in groups.unreadable {
            walk.failed.push((Subject::Group(id.clone()), odd.failure()));
            // Its members keep the memberships that it gave them.
            if let Some(mapping) = known.mapping(&id) {
                let name = mapping.name().to_owned();
                let path = odd.name.unwrap_or_else(|| format!("/{name}"));
                walk.groups.push(GroupState::new(id, name, path));
            }
        }
        walk.absent_groups = absent_groups(&connector.policy.scope, &walk.groups);
        self.walk_members(connector, &mut walk, lists).await?;
        if connector.policy.uses_roles() {
            let mut holders = connector.source.role_holders(&connector.policy.roles()).await?;
            walk.evidence.add(ObjectKind::RoleHolders, &holders.evidence);
            holders.lacks.take().into_iter().for_each(|right| walk.evidence.lacks(right));
            walk.roles = WalkedHolders::new(holders, &walk.users, &walk.joined, &walk.groups);
        }
        let organizations = connector.policy.organizations();
        if !organizations.is_empty() {
            let mut members = connector.source.organization_members(&organizations).await?;
            walk.evidence.add(ObjectKind::OrganizationMembers, &members.evidence);
            members.lacks.take().into_iter().for_each(|right| walk.evidence.lacks(right));
            walk.organizations = WalkedHolders::new(members, &walk.users, &[], &[]);
        }
        // After the reads, which may have renewed the token at another realm at the same address.
        self.identify(connector).await?;
        walk.evidence.rights = connector.source.identify().await?.rights;
        Ok(walk)
    }

    /// Reads all users, or the members of the required groups if no other user can be in scope and they are fewer; and
    /// all groups.
    async fn walk_users(
        &self,
        pair: &Pair,
        connector: &Connector,
        progress: &(dyn Fn(usize, usize) + Send + Sync),
    ) -> Result<(WalkedUsers, FullListing<GroupId, Vec<GroupState>>), WorkError> {
        let mut groups = None;
        if policy::members_suffice(&connector.policy) {
            let listed = connector.source.groups().await?;
            if let Some(members) = self.scope_members(pair, connector, &listed, progress).await? {
                return Ok((members, listed));
            }
            groups = Some(listed);
        }
        let users = connector.source.users(progress).await?;
        let groups = match groups {
            Some(listed) => listed,
            None => connector.source.groups().await?,
        };
        Ok((WalkedUsers { users, lists: IdMap::default(), only_scope: false }, groups))
    }

    /// Reads the members of each group, except of those whose lists are known already.
    async fn walk_members(
        &self,
        connector: &Connector,
        walk: &mut SourceWalk,
        mut known: IdMap<GroupId, MemberList>,
    ) -> Result<(), WorkError> {
        let mut groups: Vec<Arc<GroupState>> = walk.groups.iter().cloned().map(Arc::new).collect();
        // A user's groups are ordered.
        groups.sort();
        let users = &walk.users;
        let mut walks = stream::iter(groups)
            .map(|group| {
                let known = known.remove(&group.id);
                async move {
                    if known.is_some() {
                        return (Ok(Ok(known)), group);
                    }
                    let members = connector.source.members(&group.id).await.map_err(WorkError::from);
                    let members = members.map(|members| members.map(|members| MemberList::of(members, users)));
                    (self.apart(connector, members).await, group)
                }
            })
            .buffered(connector.parallel.max(1));
        let (mut joined, mut lists) = (Vec::new(), Vec::new());
        let (mut failed, mut incomplete) = (Vec::new(), Vec::new());
        let mut evidence = ReadEvidence::default();
        while let Some((members, group)) = walks.next().await {
            let members = match members? {
                Ok(members) => members,
                Err(error) => {
                    failed.push((Subject::Group(group.id.clone()), error.to_string()));
                    incomplete.push((group.path.clone(), error.to_string()));
                    continue;
                }
            };
            let Some(members) = members else { continue };
            evidence.add(&members.evidence);
            if let Some(why) = members.incomplete {
                incomplete.push((group.path.clone(), why));
            }
            if !members.places.is_empty() {
                lists.push((number(joined.len()), members.places.into()));
                joined.push(group);
            }
        }
        drop(walks);
        walk.evidence.add(ObjectKind::Members, &evidence);
        walk.failed.extend(failed);
        walk.members_incomplete.extend(incomplete);
        if connector.policy.groups.counts_subgroups() {
            walk.above = above(&joined, &walk.groups, &connector.policy.groups);
        }
        walk.joined = joined;
        walk.memberships.add(walk.users.len(), lists);
        Ok(())
    }

    /// Distinguishes an error that concerns one subject, while the source answers otherwise, from an error that ends
    /// the run. It must be called right where the subject is read: each concurrent read holds a connection until it is
    /// polled again.
    pub(super) async fn apart<T>(
        &self,
        connector: &Connector,
        read: Result<T, WorkError>,
    ) -> Result<Result<T, WorkError>, WorkError> {
        match read {
            Err(WorkError::Source(SourceError { class, .. }))
                if !matches!(class, ErrorClass::Credentials | ErrorClass::Forbidden | ErrorClass::Throttled)
                    && connector.source.user_count().await.is_ok() =>
            {
                Ok(read)
            }
            Ok(_) | Err(WorkError::Unconfirmed(_)) => Ok(read),
            Err(error) => Err(error),
        }
    }

    /// Reads all accounts and the members of the groups that matter so far; the links are read under the same
    /// observation.
    pub(super) async fn walk_target(
        &self,
        pair: &Pair,
        port: &TargetPort,
        case: CaseRule,
        trusts_records: bool,
    ) -> Result<TargetWalk, WorkError> {
        let (observation, began) = (self.store.next_observation().await?, self.clock.now());
        let links = self.store.links(pair).await?;
        let mut dropped: IdMap<UserId, Vec<Link>> = IdMap::default();
        for link in self.store.dropped_links(pair).await? {
            dropped.entry(link.user.clone()).or_default().push(link);
        }
        let elsewhere = self.store.linked_elsewhere(pair).await?;
        let known = self.store.unsupported(pair).await?;
        let mut standing: HashMap<Subject, Vec<ApprovalItem>> = HashMap::new();
        for item in self.store.standing_items(pair).await? {
            standing.entry(item.subject.clone()).or_default().push(item);
        }
        let orders = self.store.link_orders(pair).await?;
        let orders = orders.into_iter().map(|order| (order.user.clone(), order)).collect();
        let (protected, known): (Vec<_>, Vec<_>) = known.into_iter().partition(|one| one.key == Unsupported::PROTECTED);
        let protected = protected.into_iter().map(|one| one.subject).collect();
        let (undecided, known): (Vec<_>, Vec<_>) = known.into_iter().partition(|one| one.key == Unsupported::UNDECIDED);
        let undecided = undecided.into_iter().map(|one| one.subject).collect();
        let (without, known): (Vec<_>, Vec<_>) = known.into_iter().partition(|one| one.key == Unsupported::NO_ACCOUNT);
        let without_account = without.into_iter().map(|one| one.subject).collect();
        let unsupported = known.into_iter().map(|one| ((one.subject.clone(), one.key.clone()), one)).collect();
        let mut accounts = Packed::default();
        let (mut pages, mut evidence) = (Pages::default(), SideEvidence::default());
        let mut cursor: Option<String> = None;
        loop {
            let page = port.target.accounts(cursor.as_deref()).await?;
            let (came, known) = (page.items.len(), accounts.len());
            accounts.extend(page.items);
            match pages.next((came, accounts.len() - known), page.next, page.incomplete) {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        evidence.add(ObjectKind::Accounts, &pages.evidence(accounts.len()));
        let own = port.target.own_account().await?.filter(|own| !accounts.contains(own.as_str()));
        let lacks_own =
            own.map(|own| format!("the listing lacks usersync's own account ({own}), so others may be missing"));
        let incomplete = pages.incomplete.or(lacks_own).map(|why| format!("{}: {why}", port.name));
        let mut walk = TargetWalk {
            observation,
            began,
            links,
            unlinked: IdSet::default(),
            dropped,
            elsewhere,
            accounts,
            joined: Vec::new(),
            memberships: Memberships::default(),
            case,
            names: OnceLock::new(),
            values: Mutex::default(),
            unsupported,
            protected,
            undecided,
            without_account,
            standing,
            orders,
            asked: IdSet::default(),
            absent: Vec::new(),
            recorded: IdMap::default(),
            counted: 0,
            whole: Vec::new(),
            groups_incomplete: BTreeMap::new(),
            incomplete,
            evidence,
        };
        if trusts_records {
            walk.recorded = counted::recorded(self.store.as_ref(), pair, &walk).await?;
        }
        let groups = self.group_table(pair).await?;
        self.walk_target_groups(pair, port, &mut walk, &groups).await?;
        Ok(walk)
    }

    /// Reads the members of relevant groups that were not requested yet, and adds them to the accounts.
    pub(super) async fn walk_target_groups(
        &self,
        pair: &Pair,
        port: &TargetPort,
        walk: &mut TargetWalk,
        groups: &GroupTable,
    ) -> Result<(), WorkError> {
        let mut matter: BTreeSet<TargetGroupId> = groups.fed_by(pair).map(|group| group.id.clone()).collect();
        for grants in walk.grants() {
            matter.extend(grants.given);
        }
        matter.retain(|group| walk.asked.insert(group.clone()));
        let (mut reported, mut evidence) = members::bulk_members(port, &matter, walk).await?;
        let known = matter.into_iter().map(|group| {
            let (reported, recorded) = (reported.remove(&group), walk.recorded.remove(&group));
            (group, reported, recorded)
        });
        let known: Vec<_> = known.collect();
        let accounts = &walk.accounts;
        let asked = known
            .into_iter()
            .map(|(group, reported, recorded)| members::members(port, accounts, group, reported, recorded));
        let mut walks = stream::iter(asked).buffered(port.parallel.max(1));
        let (mut joined, mut lists) = (walk.joined.clone(), Vec::new());
        let mut partly = IdSet::default();
        let mut whole = Vec::new();
        while let Some(GroupRead { group, members, incomplete, reading, evidence: read }) = walks.try_next().await? {
            if let Some(why) = incomplete {
                let name = groups.managed(&group).map_or_else(|| group.to_string(), |managed| managed.name.clone());
                walk.groups_incomplete.insert(name, why);
                partly.insert(group.clone());
            }
            evidence.add(&read);
            let Some(members) = members else {
                walk.absent.push(group);
                continue;
            };
            match reading {
                Reading::Whole => {}
                Reading::Countable => whole.push(Whole { group: group.clone(), unlisted: members.unlisted }),
                Reading::Recorded => walk.counted += 1,
            }
            lists.push((number(joined.len()), members.places));
            joined.push(group);
        }
        drop(walks);
        if !partly.is_empty() {
            given_count(walk, &partly, &joined, &mut lists);
        }
        walk.joined = joined;
        walk.memberships.add(walk.accounts.len(), lists);
        walk.whole.extend(whole);
        walk.evidence.add(ObjectKind::Members, &evidence);
        Ok(())
    }
}

/// Returns the parent groups that also get the members of each group, according to the rules.
fn above(joined: &[Arc<GroupState>], groups: &[GroupState], rules: &GroupRules) -> Vec<Vec<Arc<GroupState>>> {
    let by_path: HashMap<&str, Arc<GroupState>> =
        groups.iter().map(|group| (group.path.as_str(), Arc::new(group.clone()))).collect();
    let above = |group: &Arc<GroupState>| {
        policy::paths_above(&group.path, rules).filter_map(|path| by_path.get(path).cloned()).collect()
    };
    joined.iter().map(above).collect()
}

/// Adds the memberships that usersync granted to incomplete member lists.
fn given_count(walk: &TargetWalk, partly: &IdSet<TargetGroupId>, joined: &[TargetGroupId], lists: &mut [(u32, Rows)]) {
    let mut given: IdMap<TargetGroupId, Vec<u32>> = IdMap::default();
    for grants in walk.grants() {
        let Some(account) = walk.accounts.place(grants.account.as_str()) else { continue };
        for group in grants.given.into_iter().filter(|group| partly.contains(group)) {
            given.entry(group).or_default().push(number(account));
        }
    }
    for (group, members) in lists {
        let Some(given) = given.remove(&joined[*group as usize]) else { continue };
        *members = members.iter().chain(given).collect::<Vec<_>>().into();
    }
}

impl TargetWalk {
    /// Returns the number of linked users.
    pub fn links(&self) -> usize {
        self.links.len() - self.unlinked.len()
    }

    /// Returns the link of a user.
    pub fn link(&self, user: &UserId) -> Option<Link> {
        self.links.find(user.as_str()).filter(|_| !self.unlinked.contains(user))
    }

    /// Returns what usersync granted to each linked user.
    pub fn grants(&self) -> impl Iterator<Item = Grants> + '_ {
        let all = (0..self.links.len()).map(|place| self.links.grants(place));
        all.filter(|grants| !self.unlinked.contains(&grants.user))
    }

    /// Returns what usersync granted to a linked user.
    pub fn grants_of(&self, user: &UserId) -> Option<Grants> {
        let place = self.links.place(user.as_str()).filter(|_| !self.unlinked.contains(user))?;
        Some(self.links.grants(place))
    }

    /// Returns what the link at an index granted.
    pub fn grants_at(&self, place: usize) -> Grants {
        self.links.grants(place)
    }

    /// Returns whether a user is linked.
    pub fn is_linked(&self, user: &UserId) -> bool {
        self.links.contains(user.as_str()) && !self.unlinked.contains(user)
    }

    /// Returns whether another connector links an account.
    pub fn is_linked_elsewhere(&self, account: &AccountId) -> bool {
        self.elsewhere.contains_key(account)
    }

    /// Returns the indexes of links to users that were not listed at the source.
    pub fn links_absent_from<'a>(&'a self, source: &'a SourceWalk) -> impl Iterator<Item = usize> + 'a {
        (0..self.links.len()).filter(|place| {
            let user = UserId::from(self.links.key(*place));
            !source.holds(&user) && !self.unlinked.contains(&user)
        })
    }

    /// Returns the link at an index.
    pub fn link_at(&self, place: usize) -> Link {
        self.links.get(place)
    }

    /// Records that this run dropped a link.
    pub fn unlink(&mut self, user: UserId) {
        self.unlinked.insert(user);
    }

    /// Returns all accounts that were read, without their groups.
    pub fn accounts(&self) -> &Packed<Account> {
        &self.accounts
    }

    /// Returns an account with those of its groups that had their members read.
    pub fn account(&self, id: &AccountId) -> Option<Account> {
        self.accounts.place(id.as_str()).map(|place| self.account_at(place))
    }

    /// Returns the groups of the account at an index, as far as their members were read.
    pub fn groups_at(&self, place: usize) -> impl Iterator<Item = &TargetGroupId> {
        self.memberships.of(place).map(|group| &self.joined[group as usize])
    }

    fn account_at(&self, place: usize) -> Account {
        Account { groups: Some(self.groups_at(place).cloned().collect()), ..self.accounts.get(place) }
    }

    /// Returns the dropped link of a user with an account that is back at the target.
    pub fn returned(&self, user: &UserId) -> Option<&Link> {
        let is_there =
            |link: &&Link| self.accounts.contains(link.account.as_str()) && !self.elsewhere.contains_key(&link.account);
        self.dropped.get(user)?.iter().find(is_there)
    }

    /// Returns the holder of a login, as far as the walk has read it.
    pub fn holder(&self, login: &str, link: Option<&Link>) -> NameHolder {
        let (logins, owners) = self.names();
        let Found::One(place) = logins.find(login, &self.accounts) else { return NameHolder::Free };
        let account = self.account_at(place);
        if link.is_some_and(|link| link.account == account.id) {
            return NameHolder::Own;
        }
        let owner = owners.find(&account.id, &self.links).filter(|link| !self.unlinked.contains(&link.user));
        if let Some(owner) = owner {
            return NameHolder::Ours { account, user: owner.user, standing: None };
        }
        if let Some(connector) = self.elsewhere.get(&account.id) {
            return NameHolder::Theirs(connector.clone());
        }
        NameHolder::Unlinked(account)
    }

    /// Returns the accounts that a search finds, as far as the walk has read them.
    pub fn search(&self, search: Search, source: &SourceWalk) -> plan::Found {
        let candidates = self.places_of(&search).into_iter().map(|place| {
            let account = self.account_at(place);
            Candidate { owner: self.owner(&account.id, source), account }
        });
        plan::Found { candidates: candidates.collect(), search }
    }

    /// Returns the indexes of the accounts that a search finds.
    fn places_of(&self, search: &Search) -> Vec<usize> {
        if let MatchedBy::Email | MatchedBy::Attribute(_) = &search.by {
            let mut values = self.values.lock();
            let values =
                values.entry(search.by.clone()).or_insert_with(|| Values::new(&self.accounts, &search.by).into());
            return values.find(&search.value, &self.accounts);
        }
        match self.names().0.find(&search.value, &self.accounts) {
            Found::Unlinked => Vec::new(),
            Found::One(place) => vec![place],
            Found::Several => {
                let same = |account: &Account| self.case.same(&account.name, &search.value);
                (0..self.accounts.len()).filter(|place| same(&self.accounts.get(*place))).collect()
            }
        }
    }

    /// Returns the user that an account belongs to.
    fn owner(&self, account: &AccountId, source: &SourceWalk) -> Owner {
        let link = self.names().1.find(account, &self.links).filter(|link| !self.unlinked.contains(&link.user));
        match (link, self.elsewhere.get(account)) {
            (Some(link), _) => Owner::User { certain: !link.adopted && source.holds(&link.user), user: link.user },
            (None, Some(connector)) => Owner::Connector(connector.clone()),
            (None, None) => Owner::Nobody,
        }
    }

    fn names(&self) -> &(Logins, Owners) {
        self.names.get_or_init(|| (self.logins(), Owners::new(&self.links)))
    }

    /// Returns the accounts by login.
    pub fn logins(&self) -> Logins {
        Logins::new(&self.accounts, self.case)
    }

    /// Returns whether several accounts have this login.
    pub fn is_ambiguous(&self, login: &str) -> bool {
        self.names().0.find(login, &self.accounts) == Found::Several
    }

    /// Returns the groups with incomplete members, in one line.
    pub fn not_all_members(&self) -> Option<String> {
        let (first, why) = self.groups_incomplete.first_key_value()?;
        let of = match self.groups_incomplete.len() {
            1 => first.clone(),
            more => format!("{first} and {} other groups", more - 1),
        };
        Some(format!(
            "not all members of {of} were read ({why}), so usersync relies on the memberships that it \
                      recorded"
        ))
    }

    /// Returns the subject's items that are open, approved or rejected.
    pub fn standing(&self, subject: &Subject) -> &[ApprovalItem] {
        self.standing.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Returns the groups with such an item that is open, approved or rejected.
    pub fn groups_with(&self, is_such: impl Fn(&ApprovalItem) -> bool) -> impl Iterator<Item = &GroupId> {
        self.standing.iter().filter_map(move |(subject, items)| match subject {
            Subject::Group(group) if items.iter().any(&is_such) => Some(group),
            _ => None,
        })
    }

    /// Returns the keys of all items that are open, approved or rejected.
    pub fn standing_keys(&self) -> impl Iterator<Item = String> {
        self.standing.values().flatten().map(|one| one.item.key.clone())
    }

    /// Returns whether an operator rejected this item for the subject.
    pub fn is_rejected(&self, subject: &Subject, item: &NewApprovalItem) -> bool {
        let rejected = |one: &ApprovalItem| one.state == ApprovalItemState::Rejected && one.item.does_the_same(item);
        self.standing(subject).iter().any(rejected)
    }

    /// Returns whether an operator approved this item for the subject.
    pub fn is_approved(&self, subject: &Subject, item: &NewApprovalItem) -> bool {
        let approved = |one: &ApprovalItem| {
            one.state == ApprovalItemState::Approved && one.item.kind == item.kind && one.item.does_the_same(item)
        };
        self.standing(subject).iter().any(approved)
    }

    /// Returns why an operation is known to be unsupported in this state of its subject at the source; `None`: it is
    /// not.
    pub fn why_not(&self, subject: &Subject, operation: &Operation, fingerprint: &str) -> Option<String> {
        let known = self.unsupported.get(&(subject.clone(), approval_key(subject, operation)))?;
        (known.fingerprint == fingerprint).then(|| known.why.clone())
    }
}

impl SourceWalk {
    /// Returns the number of users that were read.
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// Returns all users in the order of their indexes, with the groups that had their members read.
    pub fn iter(&self) -> impl Iterator<Item = UserState> {
        self.users.iter().enumerate().map(|(place, user)| self.completed(place, user))
    }

    /// Returns the id of the user at an index.
    pub fn id(&self, place: usize) -> UserId {
        self.users.key(place).into()
    }

    /// Returns the user at an index, with the groups that had their members read.
    pub fn user(&self, place: usize) -> UserState {
        self.completed(place, self.users.get(place))
    }

    /// Adds the groups, roles and organizations to the listed user at an index.
    fn completed(&self, place: usize, user: UserState) -> UserState {
        if let Some(user) = self.read_again.get(&place) {
            return user.clone();
        }
        let groups = self.memberships.of(place).map(|group| Arc::clone(&self.joined[group as usize])).collect();
        let parent_groups = if self.above.is_empty() { Vec::new() } else { self.groups_above(place) };
        let roles = self.roles.of(place, user.id.as_str(), self.memberships.of(place));
        let organizations = self.organizations.of(place, user.id.as_str(), std::iter::empty());
        UserState { groups, parent_groups, roles, organizations, ..user }
    }

    /// Returns the groups above the direct groups of the user at an index.
    fn groups_above(&self, place: usize) -> Vec<Arc<GroupState>> {
        let direct: IdSet<&GroupId> = self.memberships.of(place).map(|group| &self.joined[group as usize].id).collect();
        let above = self.memberships.of(place).flat_map(|group| &self.above[group as usize]);
        let mut above: Vec<_> = above.filter(|group| !direct.contains(&group.id)).cloned().collect();
        above.sort();
        above.dedup();
        above
    }

    /// Replaces a listed user by the result of a separate read.
    pub fn replace(&mut self, place: usize, user: UserState) {
        self.read_again.insert(place, user);
    }

    /// Returns whether this user was listed.
    pub fn holds(&self, user: &UserId) -> bool {
        self.users.contains(user.as_str()) || self.has_failed(user)
    }

    /// Returns whether reading this user failed, so that nothing is decided.
    pub fn has_failed(&self, user: &UserId) -> bool {
        self.failed_ids.contains(user)
    }

    /// Returns whether reading this group failed, so that nothing is decided.
    pub fn has_failed_group(&self, group: &GroupId) -> bool {
        self.failed.iter().any(|(subject, _)| matches!(subject, Subject::Group(id) if id == group))
    }

    /// Records that a user exists or may exist, but could not be read.
    pub fn fail_user(&mut self, user: UserId, why: String) {
        if self.failed_ids.insert(user.clone()) {
            self.failed.push((Subject::User(user), why));
        }
    }

    /// Returns why roles that the policy names may have other holders, and organizations other members, than those that
    /// were read.
    pub fn unread_holders(&self) -> impl Iterator<Item = String> {
        self.roles.unread().chain(self.organizations.unread())
    }

    /// Returns the ids of the groups that were listed.
    pub fn group_ids(&self) -> IdSet<&GroupId> {
        let failed = self.failed.iter().filter_map(|(subject, _)| match subject {
            Subject::Group(id) => Some(id),
            Subject::User(_) => None,
        });
        self.groups.iter().map(|group| &group.id).chain(failed).collect()
    }
}
