//! What a run decides for each user: in sync, to be worked from the walk's reads, or to be read again.

use std::sync::Arc;

use futures::{StreamExt, stream};
use jiff::Timestamp;

use super::{
    Item, Run,
    own_groups::{Lacking, loses},
    same_accounts::same_accounts,
    same_logins::same_logins,
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::{
        approval_keys::approval_item,
        error::WorkError,
        ledger::actions,
        missing::missing_account,
        scope::judged,
        user::{View, Walked, adoption, fingerprint_of},
    },
    model::{
        Account, AccountRules, Action, AdoptRule, ApprovalKind, IdMap, IdSet, Limited, Link, Linking, MatchedBy,
        NewApprovalItem, ObservationSeq, Operation, Pair, Policy, RunMode, Scope, Subject, UserId, number,
    },
    plan::{self, Decision, GroupTable, NameHolder, Presence, Situation, Then},
    policy::{self, Verdict},
    store::{LinkOrder, Planned},
    targets::Capabilities,
};

/// Number of users that one search requests by id, in addition to one that exists.
const IDS_AT_ONCE: usize = 99;

/// A user with pending work.
pub(super) enum Pending {
    /// To be worked from the walk's reads of the user at this index.
    FromWalk { place: u32, operations: u32 },
    /// To be read again first.
    Item(Box<Item>),
}

impl Pending {
    /// Returns the number of operations that the walk planned.
    pub fn operations(&self) -> usize {
        match self {
            Self::FromWalk { operations, .. } => *operations as usize,
            Self::Item(item) => item.operations,
        }
    }

    /// Returns the user with all data that its work needs. The walk's reads are unpacked only here.
    pub fn item(
        self,
        source: &SourceWalk,
        target: &TargetWalk,
        policy: &Policy,
        pair: &Pair,
        capabilities: &Capabilities,
    ) -> Item {
        let (place, operations) = match self {
            Self::FromWalk { place, operations } => (place as usize, operations as usize),
            Self::Item(item) => return *item,
        };
        let user = source.user(place);
        let link = target.link(&user.id);
        let planned = planned(&user.id, source.observation.min(target.observation), link.as_ref());
        let presence = judged(user, &policy.scope, &source.absent_groups);
        let rules = policy.account_rules(&pair.target);
        let (_, holder) = holder(&presence, link.as_ref(), target, capabilities, rules);
        let matched = matched(&presence, link.as_ref(), &holder, (source, target), capabilities, rules);
        let account = link.and_then(|link| target.account(&link.account));
        let view = View { presence, account, holder, matched, walked: Some(target.began) };
        Item { planned, walked: Walked { view: Some(view), ..Walked::default() }, operations }
    }
}

/// Returns a user's plan, which stands until a newer observation exists.
pub(super) fn planned(user: &UserId, observation: ObservationSeq, link: Option<&Link>) -> Planned {
    Planned { subject: Subject::User(user.clone()), observation, account: link.map(|link| link.account.clone()) }
}

/// Returns the login that a user should have, if it has to be looked up, and its holder.
pub(super) fn holder(
    presence: &Presence,
    link: Option<&Link>,
    target: &TargetWalk,
    capabilities: &Capabilities,
    rules: AccountRules<'_>,
) -> (Option<String>, NameHolder) {
    let account = link.and_then(|link| target.account(&link.account));
    let wanted = plan::wanted_name(presence, link, account.as_ref(), capabilities, rules);
    let holder = wanted.as_ref().map_or(NameHolder::NotAsked, |login| target.holder(login, link));
    (wanted, holder)
}

/// Returns the accounts that the first deciding key of the policy other than the login finds for a user without a link.
pub(super) fn matched(
    presence: &Presence,
    link: Option<&Link>,
    holder: &NameHolder,
    (source, target): (&SourceWalk, &TargetWalk),
    capabilities: &Capabilities,
    rules: AccountRules<'_>,
) -> Option<plan::Found> {
    let searches = plan::searches_before_login(presence, link, holder, capabilities, rules);
    searches.into_iter().map(|search| target.search(search, source)).find(plan::Found::decides)
}

/// The walk's decision for one user.
enum WalkDecision {
    InSync,
    Nothing,
    /// To be worked from the walk's reads, with this number of operations.
    FromWalk(usize),
    /// To be read again on both sides. Each of these planned operations must end with a fate.
    ReadAgain(Vec<Action>),
}

impl Run<'_> {
    /// Decides for each user that was read. Returns the users with pending work.
    pub(super) fn plan_users(&mut self, source: &SourceWalk, target: &TargetWalk, groups: &GroupTable) -> Vec<Pending> {
        let mut items = Vec::new();
        let policy = &self.connector.policy;
        let rules = policy.account_rules(&self.pair.target);
        self.same_logins = same_logins(source, target, &policy.scope, &self.info.capabilities, rules);
        self.same_accounts = same_accounts(source, target, &policy.scope, &self.info.capabilities, rules);
        for place in 0..source.users() {
            let user = source.user(place);
            if source.has_failed(&user.id) {
                continue;
            }
            let linked = target.link(&user.id);
            let (has_dropped, returned) = (target.dropped.contains_key(&user.id), target.returned(&user.id));
            if let (Some(link), Some(returned)) = (&linked, returned) {
                self.report_beside_replacement(link, returned);
            }
            let planned = planned(&user.id, source.observation.min(target.observation), linked.as_ref());
            let presence = judged(user, &self.connector.policy.scope, &source.absent_groups);
            self.report.in_scope += usize::from(matches!(presence, Presence::Present(_, Verdict::In)));
            let link = linked.as_ref().or(returned);
            let verdict = self.plan_user(&presence, link, (source, target), groups, &planned.subject);
            // Only the work on its user can decide whether an account is back.
            let reads_again = linked.is_none() && has_dropped;
            let mut item = match verdict {
                WalkDecision::InSync if reads_again && returned.is_some() => Item::unread(planned, 0),
                WalkDecision::FromWalk(operations) if reads_again => Item::unread(planned, operations),
                WalkDecision::ReadAgain(expected) if reads_again => Item::unread(planned, expected.len()),
                WalkDecision::InSync => {
                    self.in_sync.users.push(number(place));
                    continue;
                }
                WalkDecision::Nothing => continue,
                WalkDecision::FromWalk(operations) => {
                    items.push(Pending::FromWalk { place: number(place), operations: number(operations) });
                    continue;
                }
                WalkDecision::ReadAgain(expected) => Item::expecting(planned, expected, &presence),
            };
            if let Some(user) = presence.user() {
                item.walked.same_login_as = self.same_logins.get(&user.id).cloned();
                item.walked.same_account_as = self.same_accounts.get(&user.id).cloned();
            }
            items.push(Pending::Item(Box::new(item)));
        }
        items
    }

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
                self.in_sync.others.push(planned(&link.user, target.observation, None));
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
        let mut lacking = Lacking::default();
        while let Some((link, read)) = reads.next().await {
            let presence = match read? {
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
            if let (Presence::Present(user, Verdict::In), true) = (&presence, source.only_scope) {
                let scope = &self.connector.policy.scope;
                for group in user.groups.iter().filter(|group| policy::is_required(group, scope)) {
                    lacking.entry(group.path.clone()).or_default().push(user.username.clone());
                }
            }
            let planned = planned(&link.user, target.observation, target.link(&link.user).as_ref());
            // A user that is gone is read once more before anything is sent.
            let item = match self.plan_user(&presence, Some(&link), (source, target), groups, &planned.subject) {
                WalkDecision::InSync => {
                    self.in_sync.others.push(planned);
                    continue;
                }
                WalkDecision::Nothing => continue,
                WalkDecision::FromWalk(operations) => Item::unread(planned, operations),
                WalkDecision::ReadAgain(expected) => Item::expecting(planned, expected, &presence),
            };
            items.push(Pending::Item(Box::new(item)));
        }
        self.report_unchanged(&left);
        self.report_lacking(lacking);
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
        let mut users = (0..source.users()).map(|place| source.user(place));
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

    /// Reports an account that was gone and is back while its user has another one: an operator decides.
    fn report_beside_replacement(&mut self, link: &Link, returned: &Link) {
        if returned.account != link.account {
            self.report.conflicts.push(format!(
                "{}: the account {} ({}) is back at {}, but was replaced by {} ({}) while it was missing. Delete or deactivate \
                 one of them there",
                link.name, returned.name, returned.account, self.pair.target, link.name, link.account
            ));
        }
    }

    /// Reports what was planned for a user, and returns how it is worked.
    fn planned_verdict(
        &mut self,
        planned: plan::Planned,
        actions: Vec<Action>,
        decided: Decided,
        of: Of<'_>,
    ) -> WalkDecision {
        let Of { presence, link, account, target, subject, leaving_since } = of;
        let apply = self.options.mode == RunMode::Apply;
        let report = &mut self.report;
        let protected = planned.findings.protected.is_some();
        report.protected += usize::from(protected);
        report.not_changed.extend_once(planned.findings.protected);
        let unsure = !planned.findings.unconfirmed.is_empty() || planned.findings.undecided.is_some();
        let reported = !planned.findings.unsupported.is_empty() || unsure;
        // What a grace period holds back is still wanted, so decisions on it stand.
        let conclusive =
            !unsure && planned.leaves_at.is_none() && account.is_none_or(|account| account.groups.is_some());
        if let (Some(why), Some(user)) = (presence.undecided(), presence.user()) {
            self.undecided.add(why, &user.username);
        }
        report.unsupported.extend_once(planned.findings.unsupported);
        report.unconfirmed.extend_once(planned.findings.unconfirmed);
        if let (Some(when), Some(link), Some(_)) = (planned.findings.left, link, planned.leaves_at) {
            report.leaving.push_with(|| format!("{}: {when}", link.name));
        }
        for why in planned.findings.kept {
            *report.kept.entry(why).or_default() += 1;
        }
        if let Some(afterwards) = planned.afterwards {
            match *afterwards {
                Decision::Conflict(text) => report.conflicts.push_once(text),
                _ => self.model_entangled(presence, link, subject),
            }
            return WalkDecision::ReadAgain(actions);
        }
        let nothing = planned.operations.is_empty() && planned.holds.is_empty() && planned.missing_groups.is_empty();
        // An account that usersync had deactivated was activated, or a missing one is back: the link has to
        // record that.
        let forgotten = link.is_some_and(|link| {
            link.missing_since.is_some() || link.deactivated_by_us && account.is_some_and(|account| account.active)
        }) && apply;
        if link.is_some_and(|link| link.leaving_since != leaving_since) && apply {
            return WalkDecision::ReadAgain(actions);
        }
        // Only the work on a user records that its scope is undecided; a run forgets it once it is decided.
        let decided_since = presence.undecided().is_none() && target.undecided.contains(subject);
        let unnoted = (protected != target.protected.contains(subject) || decided_since) && apply;
        if nothing && (unnoted || forgotten || decided.outdated && conclusive && apply) {
            return WalkDecision::ReadAgain(Vec::new());
        }
        if nothing {
            let in_scope = matches!(presence, Presence::Present(_, Verdict::In));
            let quiet = !reported && !protected && decided.rejected == 0;
            report.unchanged += usize::from(in_scope && quiet);
            return WalkDecision::InSync;
        }
        let removes = planned.operations.iter().any(Operation::removes) || !planned.holds.is_empty();
        // A membership that usersync granted and the walk did not find is read once more before it is granted
        // again.
        let unseen = |operation: &Operation| {
            let given = |group| link.is_some_and(|link| link.given.contains(group));
            matches!(operation, Operation::AddMember { group, .. } if given(group))
        };
        // Whether a user may be activated depends on groups that a list of members may lack.
        let activates = |operation: &Operation| matches!(operation, Operation::ActivateUser { .. });
        let scoped = self.connector.policy.scope != Scope::default();
        let again = self.rereads
            || planned.operations.iter().any(|operation| unseen(operation) || (scoped && activates(operation)))
            || self.may_be_matched(&planned.operations);
        if removes || again || !planned.missing_groups.is_empty() {
            WalkDecision::ReadAgain(actions)
        } else {
            WalkDecision::FromWalk(actions.len())
        }
    }

    /// Returns whether a planned account may exist already under another login: a listing may lack accounts, or their
    /// values.
    fn may_be_matched(&self, operations: &[Operation]) -> bool {
        let rules = self.connector.policy.account_rules(&self.pair.target);
        let creates = |operation: &Operation| matches!(operation, Operation::CreateUser { .. });
        !rules.matching.is_by_login_only() && operations.iter().any(creates)
    }

    /// Returns how an adoption is worked. What the listing showed may be changed by now, and under other keys than the
    /// login an account is taken only by what it has.
    fn adoption_verdict(&self, actions: Vec<Action>) -> WalkDecision {
        let rules = self.connector.policy.account_rules(&self.pair.target);
        if self.rereads || !rules.matching.is_by_login_only() {
            WalkDecision::ReadAgain(actions)
        } else {
            WalkDecision::FromWalk(actions.len())
        }
    }

    fn plan_user(
        &mut self,
        presence: &Presence,
        link: Option<&Link>,
        (source, target): (&SourceWalk, &TargetWalk),
        groups: &GroupTable,
        subject: &Subject,
    ) -> WalkDecision {
        let order = subject.as_user().and_then(|user| target.orders.get(user));
        if let Some(order) = order.filter(|order| order.ended.is_none()) {
            self.plan_order(order, presence, target, groups, subject);
            return WalkDecision::ReadAgain(Vec::new());
        }
        let account = link.and_then(|link| target.account(&link.account));
        let account = account.as_ref();
        let capabilities = &self.info.capabilities;
        let rules = self.connector.policy.account_rules(&self.pair.target);
        let (wanted, mut holder) = holder(presence, link, target, capabilities, rules);
        let matched = matched(presence, link, &holder, (source, target), capabilities, rules);
        // An existing user releases the login of a new one first.
        if link.is_none() && matches!(&holder, NameHolder::Ours { user, .. } if source.holds(user)) {
            holder = NameHolder::Free;
        }
        if let Some(login) = wanted.as_ref().filter(|login| target.is_ambiguous(login)) {
            self.report.conflicts.push(several_accounts(login));
            let dry = self.options.mode == RunMode::DryRun;
            return if dry { WalkDecision::Nothing } else { WalkDecision::ReadAgain(Vec::new()) };
        }
        let unlinked = order.and_then(|order| order.unlinked.as_ref());
        let was_unlinked = unlinked.is_some_and(|id| plan::is_candidate(&holder, matched.as_ref(), id));
        let situation = Situation {
            pair: self.pair,
            capabilities,
            presence,
            link,
            account,
            account_gone: false,
            holder: &holder,
            groups,
            rules,
            matched: matched.as_ref(),
            same_login_as: same_as(&self.same_logins, presence),
            same_account_as: same_as(&self.same_accounts, presence),
            group_rules: &self.connector.policy.groups,
            leavers: &self.connector.policy.leavers,
            now: self.engine.clock.now(),
            adopt_freely: !was_unlinked && (self.options.first || self.connector.policy.adopt == AdoptRule::Always),
            wanted_by_other: false,
            in_ring: false,
            own_login: &self.info.signed_in_as,
        };
        let mut decision = plan::decide(&situation);
        let leaving_since = plan::leaving_since(&situation, &decision);
        let report = &mut self.report;
        let mut decided = Decided::default();
        match &mut decision {
            Decision::Plan(planned) => {
                decided = drop_decided(planned, target, presence, subject);
                report.rejected += decided.rejected;
                for kind in approved_kinds(planned, target, subject) {
                    *self.approved.entry(kind).or_default() += 1;
                }
            }
            Decision::Adopt(account, by) if target.is_rejected(subject, &adoption(account, by, None)) => {
                report.rejected += 1;
                return WalkDecision::InSync;
            }
            _ => {}
        }
        let actions = actions(&decision, presence.user());
        for action in &actions {
            let held = held_for(action, &decision);
            report.plan(subject, action.clone(), held, || plan::cause(action, &situation));
            report.held += usize::from(held.is_some() && self.options.mode == RunMode::DryRun);
        }
        match decision {
            Decision::Plan(planned) => {
                let of = Of { presence, link, account, target, subject, leaving_since };
                self.planned_verdict(planned, actions, decided, of)
            }
            Decision::Adopt(account, _) => {
                let verdict = self.adoption_verdict(actions);
                self.plan_adopted(presence, subject, &account, target, groups);
                verdict
            }
            Decision::Conflict(text) => {
                report.conflicts.push_once(text);
                if self.options.mode == RunMode::DryRun {
                    WalkDecision::Nothing
                } else {
                    WalkDecision::ReadAgain(Vec::new())
                }
            }
            Decision::Missing | Decision::DropLink => {
                if let (RunMode::DryRun, Some(link)) = (self.options.mode, link) {
                    let text = missing_account(&link.name, link.missing_since.unwrap_or(target.began));
                    report.unconfirmed.push_once(text);
                }
                WalkDecision::ReadAgain(Vec::new())
            }
            Decision::TakeOver(..) | Decision::ReadOwner(_) | Decision::WaitFor(_) | Decision::Later => {
                if actions.is_empty() {
                    self.model_entangled(presence, link, subject);
                }
                WalkDecision::ReadAgain(actions)
            }
        }
    }

    /// Plans an operator's order about a link; the worker that claims the user carries it out.
    fn plan_order(
        &mut self,
        order: &LinkOrder,
        presence: &Presence,
        target: &TargetWalk,
        groups: &GroupTable,
        subject: &Subject,
    ) {
        let account = order.account.as_ref().and_then(|account| target.account(account));
        if let (RunMode::DryRun, Some(account), Some(user)) = (self.options.mode, account, presence.user()) {
            let adopt = Action::adopt(user, &account, MatchedBy::Operator);
            self.report.plan(subject, adopt, None, || "an operator requested this link".to_owned());
            self.plan_adopted(presence, subject, &account, target, groups);
        }
    }

    /// Plans what follows from adopting an account.
    fn plan_adopted(
        &mut self,
        presence: &Presence,
        subject: &Subject,
        account: &Account,
        target: &TargetWalk,
        groups: &GroupTable,
    ) {
        let Some(user) = subject.as_user() else { return };
        let link = Link { adopted: true, ..Link::new(user.clone(), account.id.clone(), account.name.clone()) };
        let listed = target.account(&account.id);
        let rules = self.connector.policy.account_rules(&self.pair.target);
        let capabilities = &self.info.capabilities;
        let account = listed.as_ref().unwrap_or(account);
        let wanted = plan::wanted_name(presence, Some(&link), Some(account), capabilities, rules);
        let holder = wanted.map_or(NameHolder::NotAsked, |login| target.holder(&login, Some(&link)));
        let situation = Situation {
            pair: self.pair,
            capabilities,
            presence,
            link: Some(&link),
            account: Some(account),
            account_gone: false,
            holder: &holder,
            groups,
            rules,
            matched: None,
            same_login_as: None,
            same_account_as: None,
            group_rules: &self.connector.policy.groups,
            leavers: &self.connector.policy.leavers,
            now: self.engine.clock.now(),
            adopt_freely: true,
            wanted_by_other: false,
            in_ring: false,
            own_login: &self.info.signed_in_as,
        };
        let decision = plan::decide(&situation);
        let afterwards = match &decision {
            Decision::Plan(planned) => planned.afterwards.as_deref().cloned(),
            _ => None,
        };
        for action in actions(&decision, None) {
            let held = held_for(&action, &decision);
            let cause = plan::cause(&action, &situation);
            self.report.plan(subject, action, held, || cause);
            self.report.held += usize::from(held.is_some() && self.options.mode == RunMode::DryRun);
        }
        match afterwards {
            Some(Decision::Conflict(text)) => self.report.conflicts.push_once(text),
            Some(_) => self.model_entangled(presence, Some(&link), subject),
            None => {}
        }
        if matches!(&decision, Decision::Plan(planned) if planned.groups_unread) {
            self.report.unconfirmed.push_once(format!(
                "{}: the target does not return its groups; its membership changes are known once it is adopted",
                account.name
            ));
        }
    }

    /// Models users with accounts that wait for each other. Only the final state of each can be predicted.
    fn model_entangled(&mut self, presence: &Presence, link: Option<&Link>, subject: &Subject) {
        let Presence::Present(user, _) = presence else { return };
        let login = policy::login(
            user,
            &self.info.capabilities,
            self.connector.policy.account_rules(&self.pair.target),
            link.is_none(),
        )
        .ok()
        .flatten();
        let login = login.filter(|login| link.is_none_or(|link| link.name != *login));
        match link.zip(login) {
            Some((link, login)) => {
                let (account, name) = (link.account.clone(), link.name.clone());
                let rename = Operation::RenameUser { account, name, to: login };
                self.report.plan(subject, rename.into(), None, || "its login in Keycloak differs".to_owned());
            }
            None if link.is_some() => {}
            None => {
                let cause = || "the former user of this login was deleted".to_owned();
                self.report.plan(subject, Action::relink(user, None), None, cause);
            }
        }
    }
}

/// Returns the other user that a user shares something with.
fn same_as<'a>(others: &'a IdMap<UserId, String>, presence: &Presence) -> Option<&'a str> {
    others.get(&presence.user()?.id).map(String::as_str)
}

fn several_accounts(login: &str) -> String {
    format!(
        "{login}: the target has several accounts with this login, so none of them is linked. Delete or rename all but \
         one there."
    )
}

/// Returns why an action waits for approval regardless of the limits; `None`: it does not.
fn held_for(action: &Action, decision: &Decision) -> Option<ApprovalKind> {
    let Decision::Plan(planned) = decision else { return None };
    let holds = planned.holds.iter().find(|hold| match &hold.then {
        Then::Do(operation) => action.operation() == Some(operation),
        Then::Adopt(..) => matches!(action, Action::Link(Linking::AdoptUser { .. })),
    });
    holds.map(|hold| hold.kind)
}

/// The user that a plan is about, on both sides.
#[derive(Clone, Copy)]
struct Of<'a> {
    presence: &'a Presence,
    link: Option<&'a Link>,
    account: Option<&'a Account>,
    target: &'a TargetWalk,
    subject: &'a Subject,
    /// Since when the user counts as leaving, to be recorded in its link.
    leaving_since: Option<Timestamp>,
}

/// Operators' decisions about a plan.
#[derive(Clone, Copy, Default)]
struct Decided {
    /// Number of rejected operations that were removed from it.
    rejected: usize,
    /// Whether a held or decided operation is no longer planned.
    outdated: bool,
}

/// Removes from a plan the operations that are known to be unsupported, which it then reports, and those that an operator
/// rejected.
fn drop_decided(planned: &mut plan::Planned, target: &TargetWalk, presence: &Presence, subject: &Subject) -> Decided {
    let known = drop_unsupported(planned, target, presence, subject);
    planned.findings.unsupported.extend(known);
    drop_rejected(planned, target, subject)
}

/// Removes from a plan the operations that an operator rejected.
fn drop_rejected(planned: &mut plan::Planned, target: &TargetWalk, subject: &Subject) -> Decided {
    let standing = target.standing(subject);
    if standing.is_empty() {
        return Decided { rejected: 0, outdated: false };
    }
    let operations = planned.operations.iter().map(|operation| {
        let kind = operation.limited().map_or(ApprovalKind::Activation, ApprovalKind::SafetyLimit);
        approval_item(kind, subject, operation)
    });
    let wanted: Vec<NewApprovalItem> =
        operations.chain(planned.holds.iter().map(|hold| hold_item(hold, subject))).collect();
    let outdated = standing.iter().any(|one| !wanted.iter().any(|item| one.item.does_the_same(item)));
    let before = planned.operations.len() + planned.holds.len();
    let stays = |item: &NewApprovalItem| !target.is_rejected(subject, item);
    planned.operations.retain(|operation| stays(&approval_item(ApprovalKind::Activation, subject, operation)));
    planned.holds.retain(|hold| stays(&hold_item(hold, subject)));
    Decided { rejected: before - planned.operations.len() - planned.holds.len(), outdated }
}

/// Returns the kind of each operation that an operator approved above its safety limit.
fn approved_kinds(planned: &plan::Planned, target: &TargetWalk, subject: &Subject) -> Vec<Limited> {
    let approved = |operation: &Operation| {
        let kind = operation.limited()?;
        let item = approval_item(ApprovalKind::SafetyLimit(kind), subject, operation);
        target.is_approved(subject, &item).then_some(kind)
    };
    planned.operations.iter().filter_map(approved).collect()
}

fn hold_item(hold: &plan::Hold, subject: &Subject) -> NewApprovalItem {
    match &hold.then {
        Then::Do(operation) => approval_item(hold.kind, subject, operation),
        Then::Adopt(account, by) => adoption(account, by, None),
    }
}

/// Removes from a plan the operations that are known to be unsupported. Returns the reasons.
fn drop_unsupported(
    planned: &mut plan::Planned,
    target: &TargetWalk,
    presence: &Presence,
    subject: &Subject,
) -> Vec<String> {
    if target.unsupported.is_empty() {
        return Vec::new();
    }
    let fingerprint = fingerprint_of(presence);
    let mut reasons = Vec::new();
    let mut possible = |operation: &Operation| {
        let why = target.why_not(subject, operation, &fingerprint);
        reasons.extend(why.clone());
        why.is_none()
    };
    planned.operations.retain(&mut possible);
    planned.holds.retain(|hold| !matches!(&hold.then, Then::Do(operation) if !possible(operation)));
    if planned.operations.is_empty() && planned.holds.is_empty() {
        planned.adds_after_create.clear();
    }
    reasons
}
