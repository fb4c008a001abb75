//! What a run decides for each user: in sync, to be worked from the walk's reads, or to be read again.

use jiff::Timestamp;

use super::{
    Item, Run,
    decided::{Decided, approved_kinds, drop_decided},
    same_accounts::same_accounts,
    same_logins::same_logins,
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::{
        ledger::actions,
        missing::missing_account,
        scope::judged,
        unlisted::Unlisted,
        user::{View, Walked, adoption},
    },
    model::{
        Account, AccountId, AccountRules, Action, AdoptRule, ApprovalKind, DriftKind, Handling, IdMap, Link, Linking,
        MatchedBy, ObservationSeq, Operation, Pair, Policy, RunMode, Scope, Subject, UserId, number,
    },
    plan::{self, Decision, GroupTable, NameHolder, Presence, ProviderAnswer, Situation, Then},
    policy::{self, Verdict},
    store::{LinkOrder, Planned},
    targets::Capabilities,
};

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
        let account = link.as_ref().map(|link| link.account.clone());
        let planned = planned(user.id.clone(), source.observation.min(target.observation), account);
        let presence = judged(user, &policy.scope, &source.absent_groups);
        let rules = policy.account_rules(&pair.target);
        let account = link.as_ref().and_then(|link| target.account(&link.account));
        let linked = link.as_ref().map(|link| (link, account.as_ref()));
        let (_, holder) = holder(&presence, linked, target, capabilities, rules);
        let matched = matched(&presence, link.as_ref(), &holder, (source, target), capabilities, rules);
        let provider = ProviderAnswer::NotAsked;
        let view = View { presence, account, holder, matched, provider, walked: Some(target.began) };
        Item { planned, walked: Walked { view: Some(view), ..Walked::default() }, operations }
    }
}

/// Returns a user's plan, which stands until a newer observation exists.
pub(super) fn planned(user: UserId, observation: ObservationSeq, account: Option<AccountId>) -> Planned {
    Planned { subject: Subject::User(user), observation, account }
}

/// Returns the login that a user should have, if it has to be looked up, and its holder. `linked`: the user's link, and
/// its account if that was read.
pub(super) fn holder(
    presence: &Presence,
    linked: Option<(&Link, Option<&Account>)>,
    target: &TargetWalk,
    capabilities: &Capabilities,
    rules: AccountRules<'_>,
) -> (Option<String>, NameHolder) {
    let (link, account) = linked.map_or((None, None), |(link, account)| (Some(link), account));
    let wanted = plan::wanted_name(presence, link, account, capabilities, rules);
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
pub(super) enum WalkDecision {
    InSync,
    Nothing,
    /// To be worked from the walk's reads, with this number of operations.
    FromWalk(usize),
    /// To be read again on both sides. Each of these planned operations must end with a fate.
    ReadAgain(Vec<Action>),
    /// To be planned again after its federation provider was asked.
    AskProvider,
}

impl Run<'_> {
    /// Decides for each user that was read. Returns the users with pending work.
    pub(super) fn plan_users(&mut self, source: &SourceWalk, target: &TargetWalk, groups: &GroupTable) -> Vec<Pending> {
        let mut items = Vec::new();
        let policy = &self.connector.policy;
        let rules = policy.account_rules(&self.pair.target);
        self.same_logins = same_logins(source, target, &policy.scope, &self.info.capabilities, rules);
        self.same_accounts = same_accounts(source, target, &policy.scope, &self.info.capabilities, rules);
        for (place, user) in source.iter().enumerate() {
            if source.has_failed(&user.id) {
                continue;
            }
            let linked = target.link(&user.id);
            let (has_dropped, returned) = (target.dropped.contains_key(&user.id), target.returned(&user.id));
            if let (Some(link), Some(returned)) = (&linked, returned) {
                self.report_beside_replacement(link, returned);
            }
            let account = linked.as_ref().map(|link| link.account.clone());
            let planned = planned(user.id.clone(), source.observation.min(target.observation), account);
            let user_id = user.id.clone();
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
                WalkDecision::AskProvider => {
                    self.to_ask.push(user_id);
                    continue;
                }
                WalkDecision::FromWalk(operations) => {
                    items.push(Pending::FromWalk { place: number(place), operations: number(operations) });
                    continue;
                }
                WalkDecision::ReadAgain(expected) => {
                    let listed = |link: &Link| target.accounts().contains(link.account.as_str());
                    let unlisted = linked.as_ref().map(|link| Unlisted::of(link, listed(link), &expected));
                    let mut item = Item::expecting(planned, expected, &presence);
                    item.walked.unlisted = unlisted.unwrap_or_default();
                    item
                }
            };
            if let Some(user) = presence.user() {
                item.walked.same_login_as = self.same_logins.get(&user.id).cloned();
                item.walked.same_account_as = self.same_accounts.get(&user.id).cloned();
            }
            items.push(Pending::Item(Box::new(item)));
        }
        items
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
        let gets_none = planned.no_account(link).is_some();
        report.protected += usize::from(protected);
        report.not_changed.extend_once(planned.findings.protected);
        let unsure = !planned.findings.unconfirmed.is_empty() || planned.findings.undecided.is_some();
        let reported = !planned.findings.unsupported.is_empty() || unsure;
        if let (true, Some(link)) = (unsure || decided.rejected > 0, link.filter(|link| link.federated.is_some())) {
            self.unsettled.insert(link.user.clone());
        }
        // What a grace period holds back is still wanted, so decisions on it stand.
        let conclusive =
            !unsure && planned.leaves_at.is_none() && account.is_none_or(|account| account.groups.is_some());
        if let (Some(why), Some(user)) = (presence.undecided(), presence.user()) {
            self.undecided.add(why, &user.username);
        }
        let drift = planned.drift;
        if let (RunMode::DryRun, Some(link)) = (self.options.mode, link) {
            report.drift.extend_planned(subject, &link.name, drift.clone(), Handling::Open);
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
        // Only the work on a user records that its scope is undecided, or that it gets no account; a run forgets it once
        // this has changed.
        let decided_since = presence.undecided().is_none() && target.undecided.contains(subject)
            || !gets_none && target.without_account.contains(subject);
        let unnoted = (protected != target.protected.contains(subject) || decided_since) && apply;
        if nothing && (unnoted || forgotten || decided.outdated && conclusive && apply) {
            return WalkDecision::ReadAgain(Vec::new());
        }
        // A list of members may lack some, so that a membership counts as removed only if the account lacks it.
        let uncertain = drift.iter().any(|one| one.drift.kind == DriftKind::MemberRemoved) || !planned.ended.is_empty();
        if nothing && uncertain && apply {
            return WalkDecision::ReadAgain(Vec::new());
        }
        if nothing {
            let drifted = !drift.is_empty();
            if let (true, Some(link)) = (apply, link) {
                let otherwise = if decided.rejected > 0 { Handling::Held } else { Handling::Open };
                report.drift.extend_planned(subject, &link.name, drift, otherwise);
            }
            let in_scope = matches!(presence, Presence::Present(_, Verdict::In));
            let quiet = !reported && !protected && !drifted && decided.rejected == 0;
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
            || uncertain
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

    /// Returns how a conflict is worked: an applying run records it with its user.
    fn conflict_verdict(&self) -> WalkDecision {
        let dry = self.options.mode == RunMode::DryRun;
        if dry { WalkDecision::Nothing } else { WalkDecision::ReadAgain(Vec::new()) }
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

    pub(super) fn plan_user(
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
        let linked = link.map(|link| (link, account));
        let (wanted, mut holder) = holder(presence, linked, target, capabilities, rules);
        let matched = matched(presence, link, &holder, (source, target), capabilities, rules);
        // An existing user releases the login of a new one first.
        if link.is_none() && matches!(&holder, NameHolder::Ours { user, .. } if source.holds(user)) {
            holder = NameHolder::Free;
        }
        if let Some(login) = wanted.as_ref().filter(|login| target.is_ambiguous(login)) {
            self.report.conflicts.push(several_accounts(login));
            return self.conflict_verdict();
        }
        let unlinked = order.and_then(|order| order.unlinked.as_ref());
        let was_unlinked = unlinked.is_some_and(|id| plan::is_candidate(&holder, matched.as_ref(), id));
        let provider = self.provider_answer(presence, link).clone();
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
            provider: &provider,
            drift: self.connector.policy.drift_in(&self.pair.target),
        };
        let mut decision = plan::decide(&situation);
        if let Decision::Plan(plan::Planned { asks_provider: true, .. }) = &decision {
            return WalkDecision::AskProvider;
        }
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
                self.conflict_verdict()
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
            provider: &ProviderAnswer::NotAsked,
            drift: self.connector.policy.drift_in(&self.pair.target),
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
