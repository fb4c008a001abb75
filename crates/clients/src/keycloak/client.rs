//! The Admin REST API as a [`Source`].

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    EventPage, Federation, FullListing, KeycloakSource, OrganizationMembers, RoleHolders, Source, SourceError,
    SourceInfo,
    fault::{self, Asked},
    pages::{Collect, Paged},
    requests::{GROUP_GONE, Listing, USER_GONE},
    source::OnProgress,
    wire::{self, Entry, Group, Listed, User},
};
use crate::{
    meter::CallMeter,
    model::{
        ErrorClass, EventLog, EventMark, EventSettings, GroupId, GroupState, IdSet, OrganizationName, Packed, RoleName,
        SourceIdentity, UserId, UserOrganizations, UserRoles, UserState, Uses,
    },
};

/// Number of users requested where any enabled user will do.
const SOME: usize = 20;

impl KeycloakSource {
    async fn user_alone(&self, id: &UserId) -> Result<Option<User>, SourceError> {
        self.one(Asked::Users, &["users", id.as_str()], USER_GONE).await
    }

    /// Reads one resource by id; `None` only if Keycloak itself answers that it is gone.
    async fn one<T: Listed>(&self, asked: Asked, below: &[&str], gone: &str) -> Result<Option<T>, SourceError> {
        let within = self.settings.connection.time_outs.call;
        let one: Option<T> = self.ask(asked, below, &[], within, Some(gone)).await?;
        if one.as_ref().is_some_and(|one| !one.is_whole()) {
            let (realm, required) = (&self.settings.realm, T::REQUIRED.join(", "));
            return Err(fault::transient(format!(
                "realm {realm}: the answer for /{} lacks one of {required}. Correct it in Keycloak",
                below.join("/")
            )));
        }
        Ok(one)
    }

    /// Reads the user's direct groups. Without an offset, Keycloak returns all of them in one answer.
    async fn groups_of(&self, id: &UserId) -> Result<Option<Vec<GroupState>>, SourceError> {
        let (below, depth) = (["users", id.as_str(), "groups"], [self.group_depth()]);
        let Some(list) = self.list::<Group>(Asked::Users, &below, &depth, Some(USER_GONE)).await? else {
            return Ok(None);
        };
        let state = |entry| match entry {
            Entry::Read(group) => Ok(Group::state(&group, "", self.reads_group_attributes())),
            Entry::Unreadable(_, odd) => {
                let group = odd.name.unwrap_or_else(|| "without a name".to_owned());
                let text = format!("realm {}: user {id}: its group {group}: {}", self.settings.realm, odd.why);
                Err(fault::transient(text))
            }
        };
        list.into_iter().map(state).collect::<Result<_, _>>().map(Some)
    }

    /// Lists the direct members of a group, in brief or in full; `None` if the group is gone.
    async fn members_of<C: Collect>(
        &self,
        group: &GroupId,
        brief: &str,
    ) -> Result<Option<FullListing<UserId, C>>, SourceError> {
        let listing = Listing {
            asked: Asked::Groups,
            below: &["groups", group.as_str(), "members"],
            query: &[("briefRepresentation", brief)],
            from: 0,
            max: self.settings.page.max(1),
            gone: Some(GROUP_GONE),
        };
        let paged: Option<Paged<C>> = self.pages(listing, &|_| {}).await?;
        Ok(paged.map(|paged| FullListing {
            evidence: paged.evidence(),
            items: paged.items,
            unreadable: paged.unreadable.into_iter().map(|(id, odd)| (id.into(), odd)).collect(),
            incomplete: paged.incomplete,
        }))
    }
}

#[async_trait]
impl Source for KeycloakSource {
    async fn identify(&self) -> Result<SourceInfo, SourceError> {
        let base_url = self.base().await?.to_string();
        let claims = self.token(None).await?.claims;
        let rights = claims.rights(&self.names.rights_client);
        match (claims.iss, claims.sub) {
            (Some(issuer), Some(service_account)) => {
                Ok(SourceInfo { identity: SourceIdentity { issuer, service_account }, base_url, rights })
            }
            _ => Err(fault::error(
                ErrorClass::Permanent,
                format!(
                    "client {} at {base_url}: its token has no iss and sub claims. Add the scope \"basic\" to the \
                     client",
                    self.settings.client_id
                ),
            )),
        }
    }

    fn attach(&self, meter: &CallMeter) {
        self.http.attach(meter);
    }

    fn read_group_attributes(&self) {
        self.add_group_attributes();
    }

    fn federation(&self) -> Option<&dyn Federation> {
        Some(self)
    }

    async fn event_settings(&self) -> Result<EventSettings, SourceError> {
        self.read_event_settings().await
    }

    async fn time(&self) -> Result<Timestamp, SourceError> {
        self.keycloak_time().await
    }

    async fn stored_events(&self, log: EventLog, from: Timestamp, uses: Uses) -> Result<EventPage, SourceError> {
        self.read_stored_events(log, from, uses).await
    }

    async fn stores_event(&self, log: EventLog, event: &EventMark) -> Result<bool, SourceError> {
        self.find_stored_event(log, event).await
    }

    async fn forget_refusal(&self) {
        self.tokens.forget_refusal().await;
    }

    async fn user(&self, id: &UserId) -> Result<Option<UserState>, SourceError> {
        let (user, groups) = tokio::join!(self.user_alone(id), self.groups_of(id));
        // A user that is gone stays gone, whatever the other call returned.
        let Some(user) = user? else { return Ok(None) };
        match groups? {
            Some(groups) => Ok(Some(user.with_groups(groups))),
            None => Err(fault::transient(format!(
                "realm {}: user {id} disappeared during the read; usersync reads it again",
                self.settings.realm
            ))),
        }
    }

    async fn count_groups_of(&self, id: &UserId) -> Result<usize, SourceError> {
        let count = self.count(Asked::Users, &["users", id.as_str(), "groups", "count"], &[]).await?;
        count.ok_or_else(|| {
            fault::transient(format!("realm {}: the count of groups of user {id} is not a number", self.settings.realm))
        })
    }

    async fn roles_of(&self, id: &UserId, roles: &BTreeSet<RoleName>) -> Result<Option<UserRoles>, SourceError> {
        self.effective_roles(id, roles).await
    }

    async fn role_holders(&self, roles: &BTreeSet<RoleName>) -> Result<RoleHolders, SourceError> {
        self.holders(roles).await
    }

    async fn organizations_of(
        &self,
        id: &UserId,
        organizations: &BTreeSet<OrganizationName>,
    ) -> Result<UserOrganizations, SourceError> {
        self.organizations_of_user(id, organizations).await
    }

    async fn organization_members(
        &self,
        organizations: &BTreeSet<OrganizationName>,
    ) -> Result<OrganizationMembers, SourceError> {
        self.members_of_organizations(organizations).await
    }

    async fn is_alive(&self, id: &UserId) -> Result<bool, SourceError> {
        Ok(self.user_alone(id).await?.is_some_and(|user| user.enabled))
    }

    async fn some_users(&self) -> Result<Vec<UserId>, SourceError> {
        let query = [("enabled", "true"), ("briefRepresentation", "true")];
        let page = self.page::<User>(Asked::Users, &["users"], &query, (0, SOME), None).await?;
        let mut users = wire::readable(page.unwrap_or_default());
        users.retain(|user| user.enabled && !wire::is_service_account(&user.username));
        // Keycloak's own users can be read while a federation is down.
        users.sort_by_key(|user| user.federation().is_some());
        Ok(users.into_iter().map(|user| user.id.into()).collect())
    }

    async fn users_named(&self, login: &str) -> Result<Vec<UserId>, SourceError> {
        self.users_by("username", login).await
    }

    async fn group(&self, id: &GroupId) -> Result<Option<GroupState>, SourceError> {
        let group: Option<Group> = self.one(Asked::Groups, &["groups", id.as_str()], GROUP_GONE).await?;
        Ok(group.map(|group| group.state("", self.reads_group_attributes())))
    }

    async fn groups_named(&self, name: &str) -> Result<Vec<GroupState>, SourceError> {
        self.search_groups(name).await
    }

    async fn users(&self, progress: OnProgress<'_>) -> Result<FullListing<UserId, Packed<UserState>>, SourceError> {
        self.walk_users(progress).await
    }

    async fn user_count(&self) -> Result<usize, SourceError> {
        let count = self.count(Asked::Users, &["users", "count"], &[]).await?;
        count.ok_or_else(|| {
            fault::transient(format!("realm {}: the count of users is not a number", self.settings.realm))
        })
    }

    async fn users_among(&self, ids: &[UserId]) -> Result<Option<IdSet<UserId>>, SourceError> {
        self.users_by_id(ids).await.map(Some)
    }

    async fn groups(&self) -> Result<FullListing<GroupId, Vec<GroupState>>, SourceError> {
        self.walk_groups().await
    }

    async fn members(&self, group: &GroupId) -> Result<Option<FullListing<UserId, Packed<UserId>>>, SourceError> {
        self.members_of(group, "true").await
    }

    async fn members_in_full(
        &self,
        group: &GroupId,
    ) -> Result<Option<FullListing<UserId, Packed<UserState>>>, SourceError> {
        self.members_of(group, "false").await
    }
}
