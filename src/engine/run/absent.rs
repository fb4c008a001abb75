//! What a run decides for each linked user that Keycloak did not list.

use std::sync::Arc;

use futures::{StreamExt, stream};

use super::{
    Item, Run,
    own_groups::{Lacking, loses, some},
    users::{Pending, WalkDecision, planned},
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::{error::WorkError, scope::judged},
    model::{IdSet, Link, ObjectKind, UserId, number},
    plan::{GroupTable, Presence},
    policy::{self, Verdict},
};

/// Number of users that one search requests by id, in addition to one that exists.
const IDS_AT_ONCE: usize = 99;

impl Run<'_> {
    /// Decides for each linked user that was not listed. Absence from a listing proves nothing, so each user is read by
    /// id. If the listing is incomplete, nothing is done about users that are not found by id either.
    pub(super) async fn plan_absent(
        &mut self,
        source: &mut SourceWalk,
        target: &TargetWalk,
        groups: &GroupTable,
    ) -> Result<Vec<Pending>, WorkError> {
        let incomplete = source.users_incomplete.is_some();
        // A user that the read of the required groups does not list may have left in any way.
        let leavers = &self.connector.policy.leavers;
        let action = if source.only_scope { leavers.strictest() } else { leavers.deleted };
        let may_lose = |link: &Link| target.account(&link.account).is_none_or(|account| loses(&account, action));
        let mut absent: Vec<Link> = Vec::new();
        for place in target.links_absent_from(source) {
            let link = target.link_at(place);
            if may_lose(&link) {
                absent.push(link);
            } else if !incomplete {
                self.in_sync.absent.push(number(place));
            }
        }
        let returned = target.dropped.keys().filter(|user| !target.is_linked(user) && !source.holds(user));
        for link in returned.filter_map(|user| target.returned(user)) {
            if may_lose(link) {
                absent.push(link.clone());
            } else if !incomplete {
                self.in_sync.others.push(planned(link.user.clone(), target.observation, None));
            }
        }
        absent.sort_by(|one, other| one.user.cmp(&other.user));
        let gone = self.gone_by_search(&absent, source).await?;
        let (engine, connector, pair) = (self.engine, Arc::clone(&self.connector), self.pair);
        let mut reads = stream::iter(absent)
            .map(|link| {
                let (connector, gone) = (&connector, gone.contains(&link.user));
                async move {
                    if gone {
                        return (link, Ok(Ok(None)));
                    }
                    let read = engine.read_confirmed(connector, pair, &link.user).await;
                    (link, engine.apart(connector, read).await)
                }
            })
            .buffered(self.connector.parallel.max(1));
        let (mut items, mut left) = (Vec::new(), Vec::new());
        let (mut lacking, mut unlisted) = (Lacking::default(), Vec::new());
        while let Some((link, read)) = reads.next().await {
            let read = read?;
            let exists = read.as_ref().ok().map(Option::is_some);
            self.report.evidence.source.by_id(ObjectKind::Users).answered(exists);
            let presence = match read {
                Ok(None) if incomplete => {
                    left.push(link.name);
                    continue;
                }
                Ok(None) => Presence::Gone,
                // What is removed is read again, with the required groups that exist by then.
                Ok(Some(user)) => judged(user, &self.connector.policy.scope, &source.absent_groups),
                Err(error) => {
                    source.fail_user(link.user.clone(), format!("{}: {error}", link.name));
                    continue;
                }
            };
            if let (Presence::Present(user, _), false) = (&presence, source.only_scope || incomplete)
                && user.federation().is_none()
            {
                unlisted.push(user.username.clone());
            }
            if let (Presence::Present(user, Verdict::In), true) = (&presence, source.only_scope) {
                let scope = &self.connector.policy.scope;
                for group in user.groups.iter().filter(|group| policy::is_required(group, scope)) {
                    lacking.entry(group.path.clone()).or_default().push(user.username.clone());
                }
            }
            let account = target.grants_of(&link.user).map(|grants| grants.account);
            let planned = planned(link.user.clone(), target.observation, account);
            // A user that is gone is read once more before anything is sent.
            let item = match self.plan_user(&presence, Some(&link), (source, target), groups, &planned.subject) {
                WalkDecision::InSync => {
                    self.in_sync.others.push(planned);
                    continue;
                }
                WalkDecision::Nothing => continue,
                WalkDecision::AskProvider => {
                    self.to_ask.push(link.user);
                    continue;
                }
                WalkDecision::FromWalk(operations) => Item::unread(planned, operations),
                WalkDecision::ReadAgain(expected) => Item::expecting(planned, expected, &presence),
            };
            items.push(Pending::Item(Box::new(item)));
        }
        self.report_unchanged(&left);
        self.report_lacking(lacking);
        if !unlisted.is_empty() {
            self.report.unconfirmed.push_once(format!(
                "{}: Keycloak's listing and count lack {}, whom it returns by their ids. They stay; others may be missing",
                self.pair.connector,
                some(&unlisted)
            ));
        }
        Ok(items)
    }

    /// Returns the users that are not found by two searches for a hundred ids each, which do find an existing user.
    /// What is planned for them is done only after Keycloak's own answer for each id confirms it.
    async fn gone_by_search(&self, links: &[Link], source: &SourceWalk) -> Result<IdSet<UserId>, WorkError> {
        let mut gone = IdSet::default();
        let is_plain = |id: &UserId| !id.as_str().contains(char::is_whitespace);
        if links.len() < 2 {
            return Ok(gone);
        }
        let mut users = source.iter();
        let present = users.find(|user| user.enabled && user.federation().is_none() && is_plain(&user.id));
        let Some(present) = present.map(|user| user.id) else { return Ok(gone) };
        let ids: Vec<UserId> = links.iter().map(|link| link.user.clone()).filter(is_plain).collect();
        for some in ids.chunks(IDS_AT_ONCE) {
            let mut missing = some.to_vec();
            for _ in 0..2 {
                missing.push(present.clone());
                // Users that these searches do not resolve are read by id.
                let found = match self.connector.source.users_among(&missing).await {
                    Ok(Some(found)) if found.contains(&present) => found,
                    _ => missing.iter().cloned().collect(),
                };
                missing.retain(|id| !found.contains(id));
                if missing.is_empty() {
                    break;
                }
            }
            gone.extend(missing);
        }
        // After the read, which may have renewed the token at another realm at the same address.
        self.engine.identify(&self.connector).await?;
        Ok(gone)
    }

    /// Reports by name the users that stay unchanged because the listing without them is incomplete.
    fn report_unchanged(&mut self, left: &[String]) {
        let left_as_is = |who: &str| {
            format!("{who}: not listed by Keycloak, but the listing is incomplete. This user is not changed")
        };
        for name in left {
            self.report.unconfirmed.push_with(|| left_as_is(name));
        }
    }
}
