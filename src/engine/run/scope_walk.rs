//! Reads the members of the required groups in place of all users, where that is less to read.

use futures::{StreamExt, stream};

use crate::{
    engine::{
        error::WorkError,
        ports::{Connector, Engine},
        scope::absent_groups,
    },
    keycloak::FullListing,
    model::{ErrorClass, GroupId, GroupState, IdMap, Packed, Pair, ReadEvidence, UserId, UserState, number},
    policy,
};

/// Number of listed users that take about as long as one user that is read by its id.
const LISTED_PER_READ: usize = 10;

/// The users that a run reads: all of the realm, or the members of the required groups.
pub(super) struct WalkedUsers {
    pub users: FullListing<UserId, Packed<UserState>>,
    /// The members of groups that were read with the users.
    pub lists: IdMap<GroupId, MemberList>,
    /// Whether users outside the required groups were not read.
    pub only_scope: bool,
}

/// The members of one group among the users that were read.
pub(super) struct MemberList {
    /// Their indexes.
    pub places: Vec<u32>,
    /// Why there may be more; `None`: these are all.
    pub incomplete: Option<String>,
    /// How it was read; empty if that is part of the evidence of the users.
    pub evidence: ReadEvidence,
}

impl MemberList {
    /// Returns the members of a group among these users.
    pub fn of(members: FullListing<UserId, Packed<UserId>>, users: &Packed<UserState>) -> Self {
        let unreadable = members.unreadable.iter().filter_map(|(id, _)| users.place(id.as_str()));
        let places = members.items.places_in(users).chain(unreadable).map(number).collect();
        Self { places, incomplete: members.incomplete, evidence: members.evidence }
    }
}

impl Engine {
    /// Reads the members of the required groups. `None`: all users have to be read, because users without these groups
    /// may matter, the groups are not known for certain, or the members are not fewer than the users.
    ///
    /// # Errors
    /// The source is throttled or refuses the credentials, or a right is missing: the listing would fail as well.
    pub(super) async fn scope_members(
        &self,
        pair: &Pair,
        connector: &Connector,
        groups: &FullListing<GroupId, Vec<GroupState>>,
        progress: &(dyn Fn(usize, usize) + Send + Sync),
    ) -> Result<Option<WalkedUsers>, WorkError> {
        let policy = &connector.policy;
        let is_certain = groups.incomplete.is_none() && groups.unreadable.is_empty();
        if !is_certain || !absent_groups(&policy.scope, &groups.items).is_empty() {
            return Ok(None);
        }
        let all = connector.source.user_count().await?;
        // Most linked users are members.
        let linked = usize::try_from(self.measure(pair).await?.active_accounts).unwrap_or(usize::MAX);
        if linked > all / 2 {
            return Ok(None);
        }
        let required: Vec<GroupId> = groups
            .items
            .iter()
            .filter(|group| policy::is_required(group, &policy.scope))
            .map(|one| one.id.clone())
            .collect();
        let mut walks = stream::iter(required)
            .map(|group| async move { (connector.source.members_in_full(&group).await, group) })
            .buffered(connector.parallel.max(1));
        let mut users = FullListing {
            items: Packed::default(),
            unreadable: Vec::new(),
            incomplete: None,
            evidence: ReadEvidence::default(),
        };
        let (mut lists, mut read) = (IdMap::default(), 0);
        while let Some((members, group)) = walks.next().await {
            let members = match members {
                Ok(Some(members)) => members,
                Err(error)
                    if matches!(
                        error.class,
                        ErrorClass::Throttled | ErrorClass::Credentials | ErrorClass::Forbidden
                    ) =>
                {
                    return Err(error.into());
                }
                // A group that is gone or cannot be read proves nothing about its members.
                Ok(None) | Err(_) => return Ok(None),
            };
            read += members.items.len();
            if read > all {
                return Ok(None);
            }
            let mut places = Vec::with_capacity(members.items.len());
            for user in members.items.iter() {
                users.items.push(&user);
                places.extend(users.items.place(user.id.as_str()).map(number));
            }
            users.unreadable.extend(members.unreadable);
            if let Some(why) = &members.incomplete {
                users.incomplete.get_or_insert_with(|| why.clone());
            }
            users.evidence.add(&members.evidence);
            let evidence = ReadEvidence::default();
            lists.insert(group, MemberList { places, incomplete: members.incomplete, evidence });
            progress(users.items.len(), 0);
        }
        // Nobody at all may be a sign of a missing right; the listing of all users shows it.
        if users.items.is_empty() {
            return Ok(None);
        }
        // A user may be a member of several groups.
        users.evidence.read = users.items.len() + users.unreadable.len();
        let absent = self.linked_outside(pair, connector, &users).await?;
        if absent.saturating_mul(LISTED_PER_READ) > all.saturating_sub(users.items.len()) {
            return Ok(None);
        }
        Ok(Some(WalkedUsers { users, lists, only_scope: true }))
    }

    /// Returns the number of linked users that are not among these and whose accounts may have to change: each of them
    /// is read by its id.
    async fn linked_outside(
        &self,
        pair: &Pair,
        connector: &Connector,
        users: &FullListing<UserId, Packed<UserState>>,
    ) -> Result<usize, WorkError> {
        let ends = connector.policy.leavers.strictest().ends_account();
        let links = self.store.links(pair).await?;
        let read_by_id = links.iter().filter(|link| {
            (ends || !link.deactivated_by_us)
                && users.items.place(link.user.as_str()).is_none()
                && users.unreadable.iter().all(|(id, _)| *id != link.user)
        });
        Ok(read_by_id.count())
    }
}
