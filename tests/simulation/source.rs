//! A realm as the engine reads it.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use usersync::{
    keycloak::{FullListing, OnProgress, OrganizationMembers, RoleHolders, Source, SourceError, SourceInfo},
    model::{
        ErrorClass, GroupId, GroupState, OrganizationName, Packed, ReadEvidence, RoleName, SourceIdentity, UserId,
        UserOrganizations, UserRoles, UserState,
    },
};

use crate::world::{Shared, World};

/// A realm of the simulated world.
pub struct SimulatedSource {
    pub shared: Arc<Shared>,
    pub realm: usize,
}

impl SimulatedSource {
    async fn read<T>(&self, what: String, read: impl FnOnce(&mut World) -> T) -> Result<T, SourceError> {
        let failed = self.shared.reading(format!("reads {what} at the source")).await;
        let mut world = self.shared.world();
        if failed {
            world.say("    which fails");
            let text = format!("{what}: 503 Service Unavailable");
            return Err(SourceError { class: ErrorClass::Transient, text, retry_after: None });
        }
        Ok(read(&mut world))
    }
}

fn describe(user: Option<&UserState>) -> String {
    let Some(user) = user else { return "    gone".into() };
    let state = if user.enabled { "enabled" } else { "disabled" };
    let groups: Vec<&str> = user.groups.iter().map(|group| group.name.as_str()).collect();
    format!("    {} {state} {}", user.username, groups.join("+"))
}

#[async_trait]
impl Source for SimulatedSource {
    async fn identify(&self) -> Result<SourceInfo, SourceError> {
        let identity = SourceIdentity {
            issuer: format!("https://keycloak.example/realms/{}", self.realm),
            service_account: format!("service-{}", self.realm),
        };
        Ok(SourceInfo { identity, base_url: "https://keycloak.example".into(), rights: Vec::new() })
    }

    async fn user(&self, id: &UserId) -> Result<Option<UserState>, SourceError> {
        self.read(format!("user {id}"), |world| {
            let user = world.user_state(self.realm, id);
            world.say(describe(user.as_ref()));
            user
        })
        .await
    }

    async fn count_groups_of(&self, id: &UserId) -> Result<usize, SourceError> {
        self.read(format!("count of groups of {id}"), |world| {
            world.user_state(self.realm, id).map_or(0, |user| user.groups.len())
        })
        .await
    }

    async fn roles_of(&self, _: &UserId, _: &BTreeSet<RoleName>) -> Result<Option<UserRoles>, SourceError> {
        Ok(Some(UserRoles::default()))
    }

    async fn role_holders(&self, _: &BTreeSet<RoleName>) -> Result<RoleHolders, SourceError> {
        Ok(RoleHolders::default())
    }

    async fn organizations_of(
        &self,
        _: &UserId,
        _: &BTreeSet<OrganizationName>,
    ) -> Result<UserOrganizations, SourceError> {
        Ok(UserOrganizations::default())
    }

    async fn organization_members(&self, _: &BTreeSet<OrganizationName>) -> Result<OrganizationMembers, SourceError> {
        Ok(OrganizationMembers::default())
    }

    async fn is_alive(&self, id: &UserId) -> Result<bool, SourceError> {
        self.read(format!("whether {id} lives"), |world| {
            world.user_state(self.realm, id).is_some_and(|user| user.enabled)
        })
        .await
    }

    async fn some_users(&self) -> Result<Vec<UserId>, SourceError> {
        self.read("some users".into(), |world| {
            let users = world.realms[self.realm].users.iter();
            users.filter(|(_, person)| person.enabled).map(|(id, _)| id.clone()).take(5).collect()
        })
        .await
    }

    async fn users_named(&self, login: &str) -> Result<Vec<UserId>, SourceError> {
        self.read(format!("users named {login}"), |world| {
            let users = world.realms[self.realm].users.iter();
            let named = users.filter(|(_, person)| person.login.eq_ignore_ascii_case(login));
            named.map(|(id, _)| id.clone()).collect()
        })
        .await
    }

    async fn group(&self, id: &GroupId) -> Result<Option<GroupState>, SourceError> {
        self.read(format!("group {id}"), |world| {
            let group = world.realms[self.realm].group(id);
            world.say(format!("    {}", group.as_ref().map_or("gone", |group| &group.name)));
            group
        })
        .await
    }

    async fn groups_named(&self, name: &str) -> Result<Vec<GroupState>, SourceError> {
        self.read(format!("groups named {name}"), |world| {
            let realm = &world.realms[self.realm];
            let groups = realm.groups.keys().filter_map(|id| realm.group(id));
            groups.filter(|group| group.name.eq_ignore_ascii_case(name)).collect()
        })
        .await
    }

    async fn users(&self, _: OnProgress<'_>) -> Result<FullListing<UserId, Packed<UserState>>, SourceError> {
        let count = self.user_count().await?;
        let mut read: Packed<UserState> = Packed::default();
        let mut incomplete = None;
        // In pages, between which the world can change.
        loop {
            let page = self.users_page(read.len()).await?;
            if page.is_empty() {
                break;
            }
            for user in page {
                if !read.push(&user) {
                    incomplete = Some("a user was read twice".to_owned());
                    return Ok(FullListing { incomplete, ..whole(read) });
                }
            }
        }
        let after = self.user_count().await?;
        if read.len() < count.min(after) {
            incomplete = Some(format!("{} users were read, but {after} are counted", read.len()));
        }
        Ok(FullListing { incomplete, ..whole(read) })
    }

    async fn user_count(&self) -> Result<usize, SourceError> {
        self.read("how many users there are".into(), |world| world.realms[self.realm].users.len()).await
    }

    async fn groups(&self) -> Result<FullListing<GroupId, Vec<GroupState>>, SourceError> {
        self.read("all groups".into(), |world| {
            let realm = &world.realms[self.realm];
            whole(realm.groups.keys().filter_map(|id| realm.group(id)).collect())
        })
        .await
    }

    async fn members(&self, group: &GroupId) -> Result<Option<FullListing<UserId, Packed<UserId>>>, SourceError> {
        self.read(format!("members of {group}"), |world| {
            let realm = &world.realms[self.realm];
            realm.groups.contains_key(group).then(|| {
                let members = realm.users.iter().filter(|(_, person)| person.groups.contains(group));
                whole(members.map(|(id, _)| id.clone()).collect())
            })
        })
        .await
    }

    async fn members_in_full(
        &self,
        group: &GroupId,
    ) -> Result<Option<FullListing<UserId, Packed<UserState>>>, SourceError> {
        self.read(format!("members of {group} in full"), |world| {
            let realm = &world.realms[self.realm];
            realm.groups.contains_key(group).then(|| {
                let members = realm.users.iter().filter(|(_, person)| person.groups.contains(group));
                whole(members.filter_map(|(id, _)| world.user_state(self.realm, id)).collect())
            })
        })
        .await
    }
}

fn whole<K, I>(items: I) -> FullListing<K, I> {
    FullListing { items, unreadable: Vec::new(), incomplete: None, evidence: ReadEvidence::default() }
}

impl SimulatedSource {
    /// Returns two users from this position on, by login.
    async fn users_page(&self, first: usize) -> Result<Vec<UserState>, SourceError> {
        self.read(format!("users from {first} on"), |world| {
            let mut users: Vec<UserState> = world.realms[self.realm]
                .users
                .keys()
                .filter_map(|id| world.user_state(self.realm, id))
                .map(|user| UserState { groups: Vec::new(), ..user })
                .collect();
            users.sort_by(|one, other| one.username.cmp(&other.username));
            let page: Vec<UserState> = users.into_iter().skip(first).take(2).collect();
            for user in &page {
                world.say(format!("{} ({})", describe(Some(user)), user.id));
            }
            page
        })
        .await
    }
}
