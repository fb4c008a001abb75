//! A source that applies the policy's rules for groups (their names, memberships in the groups above, and constant
//! groups), and reads the roles and organizations that the policy names.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use usersync_clients::meter::CallMeter;

use crate::{
    keycloak::{
        EventPage, Federation, FullListing, OnProgress, OrganizationMembers, RoleHolders, Source, SourceError,
        SourceInfo,
    },
    model::{
        ErrorClass, EventLog, EventMark, EventSettings, GroupId, GroupRules, GroupState, IdSet, OrganizationName,
        Packed, Policy, RoleName, UserId, UserOrganizations, UserRoles, UserState, Uses, path_names,
    },
    policy,
};

struct RuledGroups {
    source: Arc<dyn Source>,
    rules: GroupRules,
    named: Named,
    known: KnownPaths,
    /// Ids of groups by the name that a template gives them, in lower case; `None`: the groups were not listed yet. Each
    /// is confirmed by a read before it is used.
    by_name: Mutex<Option<HashMap<String, BTreeSet<GroupId>>>>,
}

/// The roles and organizations that the policy names.
struct Named {
    roles: BTreeSet<RoleName>,
    organizations: BTreeSet<OrganizationName>,
}

impl Named {
    fn of(policy: &Policy) -> Self {
        Self { roles: policy.roles(), organizations: policy.organizations() }
    }
}

/// Ids of groups by path. Each is confirmed by a read before it is used.
type KnownPaths = Mutex<HashMap<String, GroupId>>;

/// Returns the source with the policy's rules applied, or the source itself if they change nothing. `reads_attributes`:
/// whether the rules of any target of the connector need the attributes of groups. They are dropped once they are used.
pub fn with_policy(source: Arc<dyn Source>, policy: &Policy, reads_attributes: bool) -> Arc<dyn Source> {
    let (rules, named) = (&policy.groups, Named::of(policy));
    if reads_attributes {
        source.read_group_attributes();
    }
    let ruled = policy::shapes_groups(rules) || rules.counts_subgroups() || !rules.constant.is_empty();
    if ruled || reads_attributes || !(named.roles.is_empty() && named.organizations.is_empty()) {
        let rules = rules.clone();
        Arc::new(RuledGroups { source, rules, named, known: Mutex::default(), by_name: Mutex::default() })
    } else {
        source
    }
}

/// Returns a user as read, with the groups that the rules give it and their names, and with its roles and organizations.
pub(super) async fn ruled_user(
    source: &dyn Source,
    policy: &Policy,
    user: UserState,
) -> Result<UserState, SourceError> {
    let user = apply(source, &policy.groups, &KnownPaths::default(), user).await?;
    with_named(source, &Named::of(policy), user).await
}

/// Returns a user as read, with those of these roles that it has and those of these organizations that it is a member of.
async fn with_named(source: &dyn Source, named: &Named, mut user: UserState) -> Result<UserState, SourceError> {
    if !named.roles.is_empty() {
        let Some(roles) = source.roles_of(&user.id, &named.roles).await? else {
            let text = format!("user {} disappeared while its roles were read; usersync reads it again", user.id);
            return Err(SourceError { class: ErrorClass::Transient, text, retry_after: None });
        };
        user.roles = roles;
    }
    if !named.organizations.is_empty() {
        user.organizations = source.organizations_of(&user.id, &named.organizations).await?;
    }
    Ok(user)
}

async fn apply(
    source: &dyn Source,
    rules: &GroupRules,
    known: &KnownPaths,
    user: UserState,
) -> Result<UserState, SourceError> {
    let mut above: Vec<GroupState> = Vec::new();
    let mut missing: Vec<&str> = Vec::new();
    for path in policy::paths_above_user(&user, rules) {
        match group_at(source, known, path).await? {
            Some(group) => above.push(group),
            None => missing.push(path),
        }
    }
    if !missing.is_empty() {
        above.extend(listed_at(source, &missing, &user).await?);
    }
    above.sort();
    let parent_groups = above.into_iter().map(Arc::new).collect();
    Ok(policy::with_named_groups(UserState { parent_groups, ..user }, rules))
}

/// Returns the group with this path, read by its known id or found by its name.
async fn group_at(source: &dyn Source, known: &KnownPaths, path: &str) -> Result<Option<GroupState>, SourceError> {
    let id = known.lock().get(path).cloned();
    if let Some(id) = id
        && let Some(group) = source.group(&id).await?.filter(|group| group.path == path)
    {
        return Ok(Some(group));
    }
    let name = path_names(path).last().unwrap_or_default();
    let found = source.groups_named(&name).await?.into_iter().find(|group| group.path == path);
    match &found {
        Some(group) => known.lock().insert(path.to_owned(), group.id.clone()),
        None => known.lock().remove(path),
    };
    Ok(found)
}

/// Returns the groups with these paths among all groups. A path without a group is part of a name with a slash, unless
/// a group has been moved since the user was read.
async fn listed_at(source: &dyn Source, paths: &[&str], user: &UserState) -> Result<Vec<GroupState>, SourceError> {
    let listed = source.groups().await?;
    let error = |class, text| Err(SourceError { class, text, retry_after: None });
    if let Some(why) = listed.incomplete.or_else(|| listed.unreadable.first().map(|(_, odd)| odd.failure())) {
        let text = format!("{}: the parent groups of its groups cannot be read: {why}", user.username);
        return error(ErrorClass::Unconfirmed, text);
    }
    let stands =
        |group: &Arc<GroupState>| listed.items.iter().any(|listed| listed.id == group.id && listed.path == group.path);
    if let Some(moved) = user.groups.iter().find(|group| !stands(group)) {
        let text = format!(
            "{}: the group {} was moved, renamed or deleted while its groups were read; usersync reads them again",
            user.username, moved.path
        );
        return error(ErrorClass::Transient, text);
    }
    Ok(listed.items.into_iter().filter(|group| paths.contains(&group.path.as_str())).collect())
}

impl RuledGroups {
    /// Returns a group with the name that the rules give it.
    fn named(&self, group: GroupState) -> GroupState {
        let group = policy::named_group(group, &self.rules);
        if let Some(index) = self.by_name.lock().as_mut().filter(|_| self.rules.name.is_some()) {
            index.entry(group.name.to_lowercase()).or_default().insert(group.id.clone());
        }
        group
    }

    /// Returns the groups to which a template gives this name: among those that were listed or read so far. A group that
    /// is created later has a task of its own, which finds the others.
    async fn templated(&self, name: &str) -> Result<Vec<GroupState>, SourceError> {
        let unknown = self.by_name.lock().is_none();
        if unknown && let Some(text) = self.groups().await?.incomplete {
            return Err(SourceError { class: ErrorClass::Unconfirmed, text, retry_after: None });
        }
        let ids = self.by_name.lock().as_ref().and_then(|index| index.get(&name.to_lowercase()).cloned());
        let mut found = Vec::new();
        for id in ids.into_iter().flatten() {
            found.extend(self.group(&id).await?);
        }
        Ok(found)
    }

    /// Returns the groups to which the rules give this name by their own names or paths.
    async fn searched(&self, name: &str) -> Result<Vec<GroupState>, SourceError> {
        let mut named: Vec<GroupState> = Vec::new();
        for own in policy::own_names(name, &self.rules) {
            let found = self.source.groups_named(&own).await?.into_iter();
            named.extend(found.map(|group| self.named(group)));
        }
        Ok(named)
    }
}

#[async_trait]
impl Source for RuledGroups {
    async fn identify(&self) -> Result<SourceInfo, SourceError> {
        self.source.identify().await
    }

    fn attach(&self, meter: &CallMeter) {
        self.source.attach(meter);
    }

    fn read_group_attributes(&self) {
        self.source.read_group_attributes();
    }

    fn federation(&self) -> Option<&dyn Federation> {
        self.source.federation()
    }

    async fn event_settings(&self) -> Result<EventSettings, SourceError> {
        self.source.event_settings().await
    }

    async fn time(&self) -> Result<Timestamp, SourceError> {
        self.source.time().await
    }

    async fn stored_events(&self, log: EventLog, from: Timestamp, uses: Uses) -> Result<EventPage, SourceError> {
        self.source.stored_events(log, from, uses).await
    }

    async fn stores_event(&self, log: EventLog, event: &EventMark) -> Result<bool, SourceError> {
        self.source.stores_event(log, event).await
    }

    async fn forget_refusal(&self) {
        self.source.forget_refusal().await;
    }

    async fn user(&self, id: &UserId) -> Result<Option<UserState>, SourceError> {
        match self.source.user(id).await? {
            Some(user) => {
                let user = apply(self.source.as_ref(), &self.rules, &self.known, user).await?;
                Ok(Some(with_named(self.source.as_ref(), &self.named, user).await?))
            }
            None => Ok(None),
        }
    }

    async fn count_groups_of(&self, id: &UserId) -> Result<usize, SourceError> {
        self.source.count_groups_of(id).await
    }

    async fn roles_of(&self, id: &UserId, roles: &BTreeSet<RoleName>) -> Result<Option<UserRoles>, SourceError> {
        self.source.roles_of(id, roles).await
    }

    async fn role_holders(&self, roles: &BTreeSet<RoleName>) -> Result<RoleHolders, SourceError> {
        self.source.role_holders(roles).await
    }

    async fn organizations_of(
        &self,
        id: &UserId,
        organizations: &BTreeSet<OrganizationName>,
    ) -> Result<UserOrganizations, SourceError> {
        self.source.organizations_of(id, organizations).await
    }

    async fn organization_members(
        &self,
        organizations: &BTreeSet<OrganizationName>,
    ) -> Result<OrganizationMembers, SourceError> {
        self.source.organization_members(organizations).await
    }

    async fn is_alive(&self, id: &UserId) -> Result<bool, SourceError> {
        self.source.is_alive(id).await
    }

    async fn some_users(&self) -> Result<Vec<UserId>, SourceError> {
        self.source.some_users().await
    }

    async fn users_named(&self, login: &str) -> Result<Vec<UserId>, SourceError> {
        self.source.users_named(login).await
    }

    async fn group(&self, id: &GroupId) -> Result<Option<GroupState>, SourceError> {
        if id.is_constant() {
            return Ok(self.rules.constant(id).map(|constant| self.rules.group_of(constant)));
        }
        Ok(self.source.group(id).await?.map(|group| self.named(group)))
    }

    async fn groups_named(&self, name: &str) -> Result<Vec<GroupState>, SourceError> {
        let by_template = self.rules.name.is_some();
        let mut named = if by_template { self.templated(name).await? } else { self.searched(name).await? };
        named.retain(|group| group.name.to_lowercase() == name.to_lowercase());
        named.sort();
        named.dedup();
        Ok(named)
    }

    async fn users(&self, progress: OnProgress<'_>) -> Result<FullListing<UserId, Packed<UserState>>, SourceError> {
        self.source.users(progress).await
    }

    async fn users_among(&self, ids: &[UserId]) -> Result<Option<IdSet<UserId>>, SourceError> {
        self.source.users_among(ids).await
    }

    async fn user_count(&self) -> Result<usize, SourceError> {
        self.source.user_count().await
    }

    async fn groups(&self) -> Result<FullListing<GroupId, Vec<GroupState>>, SourceError> {
        let listing = self.source.groups().await?;
        let items: Vec<GroupState> =
            listing.items.into_iter().map(|group| policy::named_group(group, &self.rules)).collect();
        if self.rules.name.is_some() && listing.incomplete.is_none() {
            let mut index: HashMap<String, BTreeSet<GroupId>> = HashMap::new();
            for group in &items {
                index.entry(group.name.to_lowercase()).or_default().insert(group.id.clone());
            }
            *self.by_name.lock() = Some(index);
        }
        Ok(FullListing { items, ..listing })
    }

    async fn members(&self, group: &GroupId) -> Result<Option<FullListing<UserId, Packed<UserId>>>, SourceError> {
        self.source.members(group).await
    }

    async fn members_in_full(
        &self,
        group: &GroupId,
    ) -> Result<Option<FullListing<UserId, Packed<UserState>>>, SourceError> {
        self.source.members_in_full(group).await
    }
}
