//! A source whose groups have the names that the policy gives them.

use std::sync::Arc;

use async_trait::async_trait;
use usersync_clients::meter::CallMeter;

use crate::{
    keycloak::{FullListing, OnProgress, Source, SourceError, SourceInfo},
    model::{GroupId, GroupRules, GroupState, IdSet, Packed, UserId, UserState},
    policy,
};

struct NamedGroups {
    source: Arc<dyn Source>,
    rules: GroupRules,
}

/// Returns the source with named groups, or the source itself if the rules keep all names.
pub fn with_named_groups(source: Arc<dyn Source>, rules: &GroupRules) -> Arc<dyn Source> {
    if policy::renames_groups(rules) { Arc::new(NamedGroups { source, rules: rules.clone() }) } else { source }
}

#[async_trait]
impl Source for NamedGroups {
    async fn identify(&self) -> Result<SourceInfo, SourceError> {
        self.source.identify().await
    }

    fn attach(&self, meter: &CallMeter) {
        self.source.attach(meter);
    }

    async fn forget_refusal(&self) {
        self.source.forget_refusal().await;
    }

    async fn user(&self, id: &UserId) -> Result<Option<UserState>, SourceError> {
        Ok(self.source.user(id).await?.map(|user| policy::with_named_groups(user, &self.rules)))
    }

    async fn is_alive(&self, id: &UserId) -> Result<bool, SourceError> {
        self.source.is_alive(id).await
    }

    async fn some_users(&self) -> Result<Vec<UserId>, SourceError> {
        self.source.some_users().await
    }

    async fn group(&self, id: &GroupId) -> Result<Option<GroupState>, SourceError> {
        Ok(self.source.group(id).await?.map(|group| policy::named_group(group, &self.rules)))
    }

    async fn groups_named(&self, name: &str) -> Result<Vec<GroupState>, SourceError> {
        let mut named: Vec<GroupState> = Vec::new();
        for own in policy::own_names(name, &self.rules) {
            let found = self.source.groups_named(&own).await?.into_iter();
            named.extend(found.map(|group| policy::named_group(group, &self.rules)));
        }
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
        let items = listing.items.into_iter().map(|group| policy::named_group(group, &self.rules)).collect();
        Ok(FullListing { items, ..listing })
    }

    async fn members(&self, group: &GroupId) -> Result<Option<FullListing<UserId, Packed<UserId>>>, SourceError> {
        self.source.members(group).await
    }
}
