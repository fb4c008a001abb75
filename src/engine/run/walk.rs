//! Reading both sides whole, in big pages, with the look that each page was read under.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    sync::{Arc, OnceLock},
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{RunOptions, members};
use crate::{
    engine::{
        error::WorkError,
        ports::{Connector, Engine, TargetPort},
        send::held_key,
    },
    model::{
        Account, AccountId, ConnectorName, GroupId, GroupState, HeldItem, HeldItemState, IdMap, IdSet, Link, Look,
        NewHeldItem, NotPossible, Operation, Pair, Subject, TargetGroupId, UserId, UserState,
    },
    plan::{GroupTable, NameHolder},
    target::CaseRule,
};

/// How often a walk whose count does not add up is begun anew before it is called doubtful.
const TRIES: usize = 2;

/// The source as it was read.
pub(super) struct SourceWalk {
    pub users: Vec<(UserState, Look)>,
    places: IdMap<UserId, usize>,
    pub groups: Vec<GroupState>,
    pub groups_look: Look,
    /// Why it may not be all, if so.
    pub doubt: Option<String>,
}

/// Users as they are read, each once.
#[derive(Default)]
struct Users {
    list: Vec<(UserState, Look)>,
    /// Where in the list each is.
    places: IdMap<UserId, usize>,
    repeated: usize,
}

impl Users {
    fn add(&mut self, page: Vec<UserState>, look: Look) {
        for user in page {
            match self.places.entry(user.id.clone()) {
                Entry::Vacant(place) => {
                    place.insert(self.list.len());
                    self.list.push((user, look));
                }
                Entry::Occupied(_) => self.repeated += 1,
            }
        }
    }
}

/// The target as it was read.
pub(super) struct TargetWalk {
    pub look: Look,
    /// Before the first account was read.
    pub began: Timestamp,
    pub links: IdMap<UserId, Link>,
    /// Links that were dropped because their accounts were gone, by user.
    pub dropped: IdMap<UserId, Vec<Link>>,
    elsewhere: BTreeMap<AccountId, ConnectorName>,
    pub accounts: IdMap<AccountId, Account>,
    /// How logins are compared.
    pub case: CaseRule,
    /// Made once somebody asks: most runs find nobody who wants another login.
    names: OnceLock<Names>,
    /// What is known to be impossible, by subject and key.
    pub not_possible: HashMap<(Subject, String), NotPossible>,
    /// Items that wait for an operator or that one decided, by subject.
    standing: HashMap<Subject, Vec<HeldItem>>,
    /// Groups whose members were asked for, and those of them that are not there.
    asked: IdSet<TargetGroupId>,
    pub absent: Vec<TargetGroupId>,
    pub doubt: Option<String>,
}

/// Who is found by a login, and whose an account is.
struct Names {
    accounts: HashMap<String, AccountId>,
    owners: IdMap<AccountId, UserId>,
}

impl Engine {
    /// Walks users in pages and groups by their members; never one request a user.
    pub(super) async fn walk_source(
        &self,
        connector: &Connector,
        options: &RunOptions,
    ) -> Result<SourceWalk, WorkError> {
        self.identify(connector).await?;
        let (mut read, mut doubt) = self.walk_users(connector, options).await?;
        for _ in 1..TRIES {
            if doubt.is_none() {
                break;
            }
            (read, doubt) = self.walk_users(connector, options).await?;
        }
        let Users { list: mut users, places, .. } = read;
        let groups_look = self.store.next_look().await?;
        let groups = connector.source.groups().await?;
        let doubt = doubt.or(groups.doubt);
        let mut walks = stream::iter(groups.items.iter().cloned().map(|group| walk_members(connector, group)))
            .buffered(connector.parallel.max(1));
        while let Some((group, members)) = walks.try_next().await? {
            let group = Arc::new(group);
            for place in members.iter().filter_map(|member| places.get(member)) {
                users[*place].0.groups.push(Arc::clone(&group));
            }
        }
        drop(walks);
        for (user, _) in &mut users {
            user.groups.sort();
            user.groups.dedup();
        }
        // Afterwards: a reading may have renewed the token at another realm behind the same address.
        self.identify(connector).await?;
        Ok(SourceWalk { users, places, groups: groups.items, groups_look, doubt })
    }

    async fn walk_users(
        &self,
        connector: &Connector,
        options: &RunOptions,
    ) -> Result<(Users, Option<String>), WorkError> {
        let size = connector.page_size.max(1);
        let before = connector.source.user_count().await?;
        let mut users = Users::default();
        // One page more than the count asks for: somebody may have joined meanwhile.
        let pages = stream::iter((0..=before / size).map(|page| self.walk_page(connector, page * size, size)));
        let mut pages = pages.buffered(connector.parallel.clamp(1, 4));
        let mut last_full = false;
        while let Some((page, look)) = pages.try_next().await? {
            last_full = page.len() >= size;
            users.add(page, look);
            options.tell("reading both sides", users.list.len(), before, 0);
        }
        drop(pages);
        let mut first = (before / size + 1) * size;
        while last_full {
            let (page, look) = self.walk_page(connector, first, size).await?;
            last_full = page.len() >= size;
            first += size;
            users.add(page, look);
        }
        let after = connector.source.user_count().await?;
        let (read, repeated) = (users.list.len(), users.repeated);
        let doubt = (read != after || repeated > 0).then(|| {
            format!(
                "{}: {read} users were read, {repeated} of them twice, but Keycloak counts {after}; they changed while \
                 they were read, or not all can be seen",
                connector.name,
            )
        });
        Ok((users, doubt))
    }

    async fn walk_page(
        &self,
        connector: &Connector,
        first: usize,
        max: usize,
    ) -> Result<(Vec<UserState>, Look), WorkError> {
        let look = self.store.next_look().await?;
        Ok((connector.source.users_page(first, max).await?, look))
    }

    /// Walks all accounts and the members of the groups that matter so far; the links are read under the same look.
    pub(super) async fn walk_target(
        &self,
        pair: &Pair,
        port: &TargetPort,
        case: CaseRule,
    ) -> Result<TargetWalk, WorkError> {
        let (look, began) = (self.store.next_look().await?, self.clock.now());
        let links: IdMap<UserId, Link> =
            self.store.links(pair).await?.into_iter().map(|link| (link.user.clone(), link)).collect();
        let mut dropped: IdMap<UserId, Vec<Link>> = IdMap::default();
        for link in self.store.dropped_links(pair).await? {
            dropped.entry(link.user.clone()).or_default().push(link);
        }
        let elsewhere = self.store.linked_elsewhere(pair).await?;
        let known = self.store.not_possible(pair).await?;
        let mut standing: HashMap<Subject, Vec<HeldItem>> = HashMap::new();
        for item in self.store.standing_items(pair).await? {
            standing.entry(item.subject.clone()).or_default().push(item);
        }
        let not_possible = known.into_iter().map(|one| ((one.subject.clone(), one.key.clone()), one)).collect();
        let mut accounts = IdMap::default();
        let mut doubt = None;
        let mut cursor: Option<String> = None;
        loop {
            let page = port.target.accounts(cursor.as_deref()).await?;
            doubt = doubt.or(page.doubt);
            for mut account in page.items {
                account.groups = Some(Vec::new());
                accounts.insert(account.id.clone(), account);
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let mut walk = TargetWalk {
            look,
            began,
            links,
            dropped,
            elsewhere,
            accounts,
            case,
            names: OnceLock::new(),
            not_possible,
            standing,
            asked: IdSet::default(),
            absent: Vec::new(),
            doubt,
        };
        let groups = self.group_table(pair).await?;
        self.walk_target_groups(pair, port, &mut walk, &groups).await?;
        Ok(walk)
    }

    /// Adds to the accounts who is a member of the groups that matter and were not asked for yet.
    pub(super) async fn walk_target_groups(
        &self,
        pair: &Pair,
        port: &TargetPort,
        walk: &mut TargetWalk,
        groups: &GroupTable,
    ) -> Result<(), WorkError> {
        let mut matter: BTreeSet<TargetGroupId> = groups.fed_by(pair).map(|group| group.id.clone()).collect();
        matter.extend(walk.links.values().flat_map(|link| link.given.iter().cloned()));
        matter.retain(|group| walk.asked.insert(group.clone()));
        let mut told = members::told_at_once(port, &matter, walk).await?;
        let asked = matter.into_iter().map(|group| {
            let told = told.remove(&group);
            members::members(port, group, told)
        });
        let mut walks = stream::iter(asked).buffered(port.parallel.max(1));
        while let Some((group, members, doubt)) = walks.try_next().await? {
            walk.doubt = walk.doubt.take().or(doubt);
            let Some(members) = members else {
                walk.absent.push(group);
                continue;
            };
            for member in members {
                if let Some(groups) = walk.accounts.get_mut(&member).and_then(|account| account.groups.as_mut()) {
                    groups.push(group.clone());
                }
            }
        }
        Ok(())
    }
}

async fn walk_members(connector: &Connector, group: GroupState) -> Result<(GroupState, Vec<UserId>), WorkError> {
    let size = connector.page_size.max(1);
    let mut members = Vec::new();
    while let Some(page) = connector.source.members_page(&group.id, members.len(), size).await? {
        let read = page.len();
        members.extend(page);
        if read < size {
            break;
        }
    }
    Ok((group, members))
}

impl TargetWalk {
    /// The dropped link of a user whose account the target has again.
    pub fn returned(&self, user: &UserId) -> Option<&Link> {
        self.dropped
            .get(user)?
            .iter()
            .find(|link| self.accounts.contains_key(&link.account) && !self.elsewhere.contains_key(&link.account))
    }

    /// Who holds a login, as far as the walk tells.
    pub fn holder(&self, login: &str, link: Option<&Link>) -> NameHolder {
        let names = self.names.get_or_init(|| Names {
            accounts: self.accounts.values().map(|one| (self.case.fold(&one.name), one.id.clone())).collect(),
            owners: self.links.values().map(|link| (link.account.clone(), link.user.clone())).collect(),
        });
        let account = names.accounts.get(&self.case.fold(login)).and_then(|id| self.accounts.get(id));
        let Some(account) = account else { return NameHolder::Free };
        if link.is_some_and(|link| link.account == account.id) {
            return NameHolder::Own;
        }
        if let Some(user) = names.owners.get(&account.id) {
            return NameHolder::Ours { account: account.clone(), user: user.clone(), standing: None };
        }
        if let Some(connector) = self.elsewhere.get(&account.id) {
            return NameHolder::Theirs(connector.clone());
        }
        NameHolder::Unlinked(account.clone())
    }

    /// Accounts by folded login; `None` for a login that several have.
    pub fn by_login(&self) -> HashMap<String, Option<&AccountId>> {
        let mut accounts = HashMap::with_capacity(self.accounts.len());
        for account in self.accounts.values() {
            let login = self.case.fold(&account.name);
            accounts.entry(login).and_modify(|known| *known = None).or_insert(Some(&account.id));
        }
        accounts
    }

    /// The subject's items that are open, approved or rejected.
    pub fn standing(&self, subject: &Subject) -> &[HeldItem] {
        self.standing.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Whether an operator rejected this for the subject.
    pub fn is_rejected(&self, subject: &Subject, item: &NewHeldItem) -> bool {
        let rejected = |one: &HeldItem| one.state == HeldItemState::Rejected && one.item.does_the_same(item);
        self.standing(subject).iter().any(rejected)
    }

    /// Whether an operator approved this for the subject.
    pub fn is_approved(&self, subject: &Subject, item: &NewHeldItem) -> bool {
        let approved = |one: &HeldItem| {
            one.state == HeldItemState::Approved && one.item.kind == item.kind && one.item.does_the_same(item)
        };
        self.standing(subject).iter().any(approved)
    }

    /// Why an operation is known to be impossible in this state of its subject at the source, if it is.
    pub fn why_not(&self, subject: &Subject, operation: &Operation, fingerprint: &str) -> Option<String> {
        let known = self.not_possible.get(&(subject.clone(), held_key(operation)))?;
        (known.fingerprint == fingerprint).then(|| known.why.clone())
    }
}

impl SourceWalk {
    /// Whether this user was read.
    pub fn holds(&self, user: &UserId) -> bool {
        self.places.contains_key(user)
    }

    /// The ids of the groups that were read.
    pub fn group_ids(&self) -> IdSet<&GroupId> {
        self.groups.iter().map(|group| &group.id).collect()
    }
}
