//! Reconciles one user on one target.

use jiff::{SignedDuration, Timestamp};

use super::{
    case::{Case, RunRules, Unfinished, Worked, fingerprint},
    error::WorkError,
    ledger::Fate,
    membership::Reading,
    ports::Engine,
    send::Sent,
    unlisted::Unlisted,
};
use crate::{
    model::{
        Account, AccountId, Action, AdoptRule, ById, Link, MatchedBy, NewApprovalItem, Operation, Priority, Subject,
        TargetGroupId, Unsupported, UserId, UserState, Written,
    },
    plan::{
        self, Decision, Found, Hold, NameHolder, OwnerStanding, Planned, Presence, ProviderAnswer, Situation, Then,
    },
    policy,
    store::{Adopted, Claimed, Holder, LinkWrite},
    targets::Applied,
};

/// Maximum number of decide-and-apply rounds in one piece of work. More rounds mean that another party keeps changing
/// the user.
const ROUNDS: usize = 12;
/// Age at which the record of when a user was last seen alive is renewed without other cause.
const SEEN_ALIVE_RENEWED: SignedDuration = SignedDuration::from_hours(1);

/// Both sides of a user as read.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub presence: Presence,
    pub account: Option<Account>,
    pub holder: NameHolder,
    /// The accounts that a key of the policy other than the login found.
    pub matched: Option<Found>,
    /// What is known about the user's federation provider.
    pub provider: ProviderAnswer,
    /// When the run's walk that read them began to read the target; `None`: read by this work.
    pub walked: Option<Timestamp>,
}

impl View {
    /// Forgets the holder of the wanted login and the matched accounts, which may have changed.
    pub fn forget_holder(&mut self) {
        (self.holder, self.matched) = (NameHolder::NotAsked, None);
    }
}

/// What a run's walk read and planned for a user; empty for a task.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Both sides as the walk read them; `None`: both are read again first.
    pub view: Option<View>,
    /// The walk's plan, where both sides are read again. Each of its operations must end with a fate.
    pub expected: Vec<Action>,
    /// Fingerprint of the user's state at the source that the plan was made for.
    pub fingerprint: String,
    /// The username of another user to whom the policy gives the same login.
    pub same_login_as: Option<String>,
    /// The username of another user that is matched to the same account.
    pub same_account_as: Option<String>,
    /// What the walk's lists lack of the user, although it was recorded before.
    pub unlisted: Unlisted,
    /// What a run does with a group after the users; `None`: the group itself is reconciled.
    pub group_work: Option<GroupWork>,
}

/// What a run does with a group after the users.
#[derive(Debug)]
pub(super) enum GroupWork {
    /// Remove these unmanaged members.
    RemoveUnmanaged(Vec<AccountId>),
    /// Delete the target group, which is empty.
    DeleteEmpty,
}

/// The state of the claim after a round.
pub(super) enum Round {
    Again,
    ReadAgain,
    Complete,
    Released,
}

impl Engine {
    /// Works on one claimed user: reads, decides and applies until all is in sync or held, or another subject has to be
    /// worked first.
    pub(super) async fn work_user(
        &self,
        claim: Claimed,
        id: UserId,
        walked: Walked,
        rules: &RunRules,
    ) -> Result<Worked, Unfinished> {
        let mut case = Case::open(self, claim, rules).await?;
        if let Some(login) = id.login() {
            return match case.raise_named(login).await {
                Ok(()) => case.complete().await,
                Err(error) => Err(case.unfinished(error)),
            };
        }
        let Walked { view, expected, fingerprint, same_login_as, same_account_as, unlisted, group_work: _ } = walked;
        (case.same_login_as, case.same_account_as) = (same_login_as, same_account_as);
        case.unlisted = unlisted;
        case.suspect(&expected);
        for action in expected {
            case.worked.ledger.plan(action, &fingerprint);
        }
        match case.reconcile_user(&id, view).await {
            Ok(true) => match case.create_refused.take() {
                Some(why) => case.refused(why).await,
                None => case.complete().await,
            },
            Ok(false) => Ok(case.released()),
            Err(WorkError::LeftToTask(_)) => match case.defer(SignedDuration::ZERO).await {
                Ok(()) => Ok(case.released()),
                Err(error) => Err(case.unfinished(error)),
            },
            Err(error) => {
                // Completed operations are recorded all the same. If the claim has ended, there is nothing to write.
                let _ = case.flush().await;
                Err(case.unfinished(error))
            }
        }
    }
}

impl Case<'_> {
    /// Raises the task of the user with this login. Keycloak does not name the id in each event.
    async fn raise_named(&self, login: &str) -> Result<(), WorkError> {
        let users = self.connector.source.users_named(login).await?;
        self.raise(users.into_iter().map(Subject::User).collect(), Priority::Event).await
    }

    /// Reconciles the user. Returns `true` if all is done and the claim is to be completed, `false` if the claim was
    /// released.
    async fn reconcile_user(&mut self, id: &UserId, view: Option<View>) -> Result<bool, WorkError> {
        let mut view = match view {
            Some(view) => view,
            None => self.observation(id).await?,
        };
        if let Some(order) = self.claim.order.take() {
            if view.walked.is_some() {
                view = self.observation(id).await?;
            }
            if matches!(self.carry_out_order(id, &order, &mut view).await?, Round::Released) {
                return Ok(false);
            }
        }
        let mut in_ring = false;
        for _ in 0..ROUNDS {
            self.know_state(fingerprint_of(&view.presence));
            self.note_state(Unsupported::UNDECIDED, view.presence.undecided());
            self.find_holder(&mut view).await?;
            let groups = self.shown_groups().await?;
            let unlinked = self.claim.unlinked.as_ref();
            let was_unlinked = unlinked.is_some_and(|id| plan::is_candidate(&view.holder, view.matched.as_ref(), id));
            let situation = Situation {
                pair: &self.claim.pair,
                capabilities: &self.info.capabilities,
                presence: &view.presence,
                link: self.link.as_ref(),
                account: view.account.as_ref(),
                account_gone: self.account_gone,
                holder: &view.holder,
                groups: &groups,
                rules: self.connector.policy.account_rules(&self.claim.pair.target),
                matched: view.matched.as_ref(),
                same_login_as: self.same_login_as.as_deref(),
                same_account_as: self.same_account_as.as_deref(),
                group_rules: &self.connector.policy.groups,
                leavers: &self.connector.policy.leavers,
                now: self.engine.clock.now(),
                adopt_freely: !was_unlinked && (self.rules.first || self.connector.policy.adopt == AdoptRule::Always),
                wanted_by_other: self.claim.wanted,
                in_ring,
                own_login: &self.info.signed_in_as,
                provider: &view.provider,
                drift: self.connector.policy.drift_in(&self.claim.pair.target),
            };
            let decision = plan::decide(&situation);
            let leaving_since = plan::leaving_since(&situation, &decision);
            let deleted = matches!(decision, Decision::DropLink).then(|| plan::account_deleted(&situation)).flatten();
            self.note_leaving(leaving_since);
            self.plan(&decision, &view.presence);
            self.note_drift(&decision, deleted);
            self.note_activated(view.account.as_ref());
            // Removals need fresh reads, not those of a walk (rule: removals are read again).
            if view.walked.is_some() && matches!(&decision, Decision::Plan(planned) if planned.removes()) {
                view = self.observation(id).await?;
                continue;
            }
            if let Decision::Plan(planned) = &decision
                && self.finds_kept_memberships(planned, &view.presence, &groups).await?
            {
                continue;
            }
            if self.doubts_scope(&decision, &mut view.presence).await? {
                continue;
            }
            if matches!(&decision, Decision::Plan(planned) if planned.asks_provider) {
                if view.walked.is_some() {
                    view = self.observation(id).await?;
                    continue;
                }
                let answer = match &self.link {
                    Some(link) => {
                        let (engine, connector) = (self.engine, &self.connector);
                        Box::pin(engine.ask_provider(connector, &self.claim.pair, link, &view.presence)).await?
                    }
                    None => None,
                };
                match answer {
                    Some(answer) => view.provider = answer,
                    None => view = self.observation(id).await?,
                }
                continue;
            }
            // Some targets address a new member by login only, which may belong to another user by now.
            if self.is_old(view.walked) && matches!(&decision, Decision::Plan(planned) if planned.adds_members()) {
                view.account = self.read_account().await?;
                view.walked = Some(self.engine.clock.now());
                continue;
            }
            match self.carry_out(decision, &mut view, &mut in_ring).await? {
                Round::Again => {}
                Round::ReadAgain => view = self.observation(id).await?,
                Round::Complete => return Ok(true),
                Round::Released => return Ok(false),
            }
        }
        Err(WorkError::Unsteady(self.claim.subject.to_string()))
    }

    /// Returns whether a walk's read is too old to address an account by the login that it read.
    fn is_old(&self, walked: Option<Timestamp>) -> bool {
        // Targets that add several accounts in one call address them by id.
        self.port.target.max_members_per_call() == 1
            && walked
                .is_some_and(|began| self.engine.clock.now().duration_since(began) > self.engine.times.login_believed)
    }

    /// Reads the source, recovers open intents, and reads the target.
    async fn observation(&mut self, id: &UserId) -> Result<View, WorkError> {
        let presence = self.engine.read_user(&self.connector, &self.claim.pair, id).await?;
        self.engine.source_answered(&self.connector);
        self.restore_dropped().await?;
        self.decide_reading(&presence).await?;
        let mut account = self.read_account().await?;
        if !self.claim.intents.is_empty() {
            self.recover_intents(account.as_ref()).await?;
            account = self.read_account().await?;
            // Intents about a missing account end once it counts as gone, which may be since this read.
            if self.account_gone && !self.claim.intents.is_empty() {
                self.recover_intents(None).await?;
                account = self.read_account().await?;
            }
        }
        self.note_seen(&presence);
        Ok(View {
            presence,
            account,
            holder: NameHolder::NotAsked,
            matched: None,
            provider: ProviderAnswer::NotAsked,
            walked: None,
        })
    }

    async fn read_account(&mut self) -> Result<Option<Account>, WorkError> {
        let Some(id) = self.link.as_ref().map(|link| link.account.clone()) else { return Ok(None) };
        let mut account = self.port.target.account(&id).await?;
        self.account_gone = false;
        let is_missing = account.is_none() || self.link.as_ref().is_some_and(|link| link.missing_since.is_some());
        if account.is_none() && self.is_missing_for_long().await? {
            self.confirm_other_account().await?;
            account = self.port.target.account(&id).await?;
            self.account_gone = account.is_none();
        }
        if is_missing || self.unlisted.account {
            let exists = if self.account_gone { Some(false) } else { account.is_some().then_some(true) };
            self.worked.account_by_id = ById::of(exists);
        }
        if let (Some(found), Some(link)) = (&account, &self.link)
            && self.claim.unconfirmed
            && !self.info.capabilities.login_case.same(&found.name, &link.name)
        {
            // The same id on another server is another account.
            let why = format!("account {} is now {}", found.id, found.name);
            self.link = None;
            self.step.link = Some(LinkWrite::Unconfirmed { why });
            self.flush().await?;
            return Ok(None);
        }
        match (&account, &self.link) {
            (None, _) | (_, None) => {}
            (Some(account), Some(link)) => {
                let there_again = link.missing_since.is_some();
                if there_again || link.name != account.name {
                    if let Some(link) = self.link.as_mut() {
                        link.missing_since = None;
                        link.name.clone_from(&account.name);
                    }
                    self.keep_link();
                }
            }
        }
        self.engine.target_answered(&self.port);
        let Some(account) = account else { return Ok(None) };
        let account = self.with_groups(account).await?;
        let found = std::mem::take(&mut self.unlisted).found_in(&account);
        self.worked.found_alone = found.or(self.worked.found_alone.take());
        Ok(Some(account))
    }

    /// Records when the user was last seen alive, and its federation component.
    fn note_seen(&mut self, presence: &Presence) {
        let now = self.engine.clock.now();
        let (Presence::Present(user, _), Some(link)) = (presence, self.link.as_mut()) else { return };
        let stale = link.seen_alive.is_none_or(|seen| now.duration_since(seen) > SEEN_ALIVE_RENEWED);
        // A user that has left its provider counts as one of it until all of its removals are decided.
        let moved = user.federated().filter(|federated| {
            link.federated.as_ref().is_none_or(|known| known != federated && known.component == federated.component)
        });
        if (user.enabled && stale) || moved.is_some() {
            if user.enabled {
                link.seen_alive = Some(now);
            }
            link.federated = moved.or(link.federated.take());
            self.keep_link();
        }
    }

    /// Records that a user has left its provider, as nothing depends on that any more.
    fn note_provider_left(&mut self, presence: &Presence) {
        let Some(user) = presence.user() else { return };
        let federated = user.federated();
        if let Some(link) = self.link.as_mut().filter(|link| link.federated != federated) {
            link.federated = federated;
            self.keep_link();
        }
    }

    /// Records that an account that usersync had deactivated was activated outside usersync, so that a later deactivation
    /// is not by usersync.
    fn note_activated(&mut self, account: Option<&Account>) {
        let is_active = account.is_some_and(|account| account.active);
        if let Some(link) = self.link.as_mut().filter(|link| is_active && link.deactivated_by_us) {
            link.deactivated_by_us = false;
            self.keep_link();
        }
    }

    /// Records since when the user counts as leaving.
    fn note_leaving(&mut self, since: Option<Timestamp>) {
        if let Some(link) = self.link.as_mut().filter(|link| link.leaving_since != since) {
            link.leaving_since = since;
            self.keep_link();
        }
    }

    /// Finds the holder of the login that the user should have, and the accounts that other keys lead to, if the decision
    /// needs them.
    async fn find_holder(&mut self, view: &mut View) -> Result<(), WorkError> {
        if view.holder != NameHolder::NotAsked {
            return Ok(());
        }
        let rules = self.connector.policy.account_rules(&self.claim.pair.target);
        let (account, capabilities) = (view.account.as_ref(), &self.info.capabilities);
        let wanted = plan::wanted_name(&view.presence, self.link.as_ref(), account, capabilities, rules);
        let Some(name) = wanted else { return Ok(()) };
        view.holder = match self.port.target.account_named(&name).await? {
            None => NameHolder::Free,
            Some(account) if self.link.as_ref().is_some_and(|link| link.account == account.id) => NameHolder::Own,
            Some(account) => match self.engine.store.holder(self.claim.token, &account.id, &account.name).await? {
                Holder::Unlinked => NameHolder::Unlinked(account),
                Holder::BeingCreated => NameHolder::BeingCreated,
                Holder::Linked { connector, .. } if connector != self.claim.pair.connector => {
                    NameHolder::Theirs(connector)
                }
                Holder::Linked { link, .. } => NameHolder::Ours { account, user: link.user, standing: None },
            },
        };
        view.matched = self.find_matches(view).await?;
        Ok(())
    }

    async fn carry_out(&mut self, decision: Decision, view: &mut View, in_ring: &mut bool) -> Result<Round, WorkError> {
        match decision {
            Decision::Plan(planned) => self.carry_out_plan(planned, view, in_ring).await,
            Decision::Adopt(account, by) => {
                let item = adoption(&account, &by, None);
                if self.is_rejected(&item) {
                    self.set_aside.insert(item.key);
                    return Ok(Round::Complete);
                }
                self.take(&account, by, None, view).await
            }
            Decision::TakeOver(from, account) => self.take(&account, MatchedBy::Login, Some(from), view).await,
            Decision::ReadOwner(owner) => {
                self.ask_standing(&owner, view).await?;
                Ok(Round::Again)
            }
            Decision::WaitFor(owner) => {
                let released = self.wait_for(&[Subject::User(owner)], self.link.is_some() && !*in_ring).await?;
                *in_ring = true;
                Ok(if released { Round::Released } else { Round::Again })
            }
            Decision::Later => {
                self.defer(self.engine.times.step_back).await?;
                Ok(Round::Released)
            }
            Decision::Missing => {
                self.recheck_missing().await?;
                Ok(Round::Released)
            }
            Decision::DropLink => {
                if !self.drop_link().await? {
                    return Ok(Round::Complete);
                }
                view.account = None;
                view.forget_holder();
                Ok(Round::Again)
            }
            Decision::Conflict(text) => {
                self.conflict(text).await?;
                Ok(Round::Released)
            }
        }
    }

    /// Links an account that was found in this way, claims it, and reads it again: reads from before the claim do not
    /// count.
    pub(super) async fn take(
        &mut self,
        account: &Account,
        by: MatchedBy,
        from: Option<UserId>,
        view: &mut View,
    ) -> Result<Round, WorkError> {
        self.flush().await?;
        let Some(user) = self.claim.subject.as_user().cloned() else { return Ok(Round::Complete) };
        let relinked = from.is_some();
        let matched_by = (!relinked).then(|| by.clone());
        let new = Link::new(user.clone(), account.id.clone(), account.name.clone());
        let link = Link { adopted: !relinked, matched_by, ..new };
        match self.engine.store.adopt(self.claim.token, link, from, self.engine.clock.now()).await? {
            Adopted::Linked => {
                self.note_linked(account, by, relinked, &view.presence);
                // No record shows which memberships it has.
                self.reading = Reading::All;
                self.link = self.engine.store.link(&self.claim.pair, &user).await?;
                view.account = self.read_account().await?;
                // The account may have intents that a claim of its former user left open.
                self.claim.intents = self.engine.store.open_intents(self.claim.token).await?;
                if !self.claim.intents.is_empty() {
                    self.recover_intents(view.account.as_ref()).await?;
                    view.account = self.read_account().await?;
                }
                view.forget_holder();
                self.note_seen(&view.presence.clone());
                Ok(Round::Again)
            }
            Adopted::Busy { until } => {
                let wait = until.duration_since(self.engine.clock.now()).max(SignedDuration::from_secs(1));
                self.defer(wait).await?;
                Ok(Round::Released)
            }
            Adopted::LinkedElsewhere { .. } => Ok(Round::ReadAgain),
        }
    }

    /// Records a link to an account that existed before.
    fn note_linked(&mut self, account: &Account, by: MatchedBy, relinked: bool, presence: &Presence) {
        let Presence::Present(user, _) = presence else { return };
        let action = if relinked { Action::relink(user, Some(account)) } else { Action::adopt(user, account, by) };
        self.worked.ledger.end(action.clone(), Fate::Done);
        self.worked.linked.push(action);
    }

    /// Reads whether the user with the account that holds the wanted login still exists.
    async fn ask_standing(&mut self, owner: &UserId, view: &mut View) -> Result<(), WorkError> {
        let found = match self.engine.read_user(&self.connector, &self.claim.pair, owner).await? {
            Presence::Present(other, verdict) => {
                if let NameHolder::Ours { account, .. } = &view.holder
                    && verdict.is_in()
                    && self.keeps_login(&other, account)
                {
                    self.same_login_as = Some(other.username);
                }
                OwnerStanding::Alive
            }
            Presence::Gone => {
                let link = self.engine.store.link(&self.claim.pair, owner).await?;
                let is_doubtful = match (&link, self.claim.subject.as_user()) {
                    (Some(link), Some(claimant)) => self.doubts_take_over(link, claimant).await?,
                    _ => false,
                };
                let seen = link.filter(|_| !is_doubtful).and_then(|link| link.seen_alive);
                let within = self.connector.policy.same_person_within;
                match seen {
                    Some(seen) if self.engine.clock.now().duration_since(seen) <= within => OwnerStanding::GoneLately,
                    _ => OwnerStanding::GoneLong,
                }
            }
        };
        if let NameHolder::Ours { standing, .. } = &mut view.holder {
            *standing = Some(found);
        }
        Ok(())
    }

    /// Returns whether the federation provider of a user that is gone cannot confirm that its account goes to this one.
    async fn doubts_take_over(&self, owner: &Link, claimant: &UserId) -> Result<bool, WorkError> {
        let (engine, pair) = (self.engine, &self.claim.pair);
        match Box::pin(engine.may_take_over(&self.connector, pair, owner, claimant)).await? {
            ProviderAnswer::Unconfirmed(why) => Err(WorkError::Unconfirmed(format!(
                "{}: its login is that of an account of the user {}, who is not shown by Keycloak; {why}. usersync tries \
                 again",
                claimant, owner.user
            ))),
            answer => Ok(answer != ProviderAnswer::Confirmed),
        }
    }

    /// Returns whether the policy lets another user's account keep its login.
    fn keeps_login(&self, user: &UserState, account: &Account) -> bool {
        let capabilities = &self.info.capabilities;
        let rules = self.connector.policy.account_rules(&self.claim.pair.target);
        let login = policy::login(user, capabilities, rules, false).ok().flatten();
        login.is_none_or(|login| capabilities.login_case.same(&login, &account.name))
    }

    async fn carry_out_plan(
        &mut self,
        planned: Planned,
        view: &mut View,
        in_ring: &mut bool,
    ) -> Result<Round, WorkError> {
        self.note_state(Unsupported::PROTECTED, planned.findings.protected.as_deref());
        let refused = self.create_refused.is_some();
        let no_account = planned.no_account(self.link.as_ref()).filter(|_| !refused);
        self.note_state(Unsupported::NO_ACCOUNT, no_account);
        let leaves_at = planned.leaves_at;
        let mut progressed = false;
        let is_addition = |operation: &Operation| matches!(operation, Operation::AddMember { .. });
        for batch in planned.operations.chunk_by(|one, next| is_addition(one) && is_addition(next)) {
            let operation = &batch[0];
            if is_addition(operation) {
                match self.send_additions(batch, view.account.as_mut()).await? {
                    Sent::Done(_) => progressed = true,
                    Sent::Held | Sent::Unsupported | Sent::Refused => {}
                    Sent::ReadAgain => return Ok(Round::ReadAgain),
                }
                continue;
            }
            match self.send(operation, view.account.as_ref()).await? {
                Sent::Done(Applied::Account(account)) => {
                    self.link_new_account(operation, &account, &view.presence);
                    // A target that adds groups automatically does not report them in its answer.
                    let known = account.groups.is_some();
                    view.account = Some(account);
                    view.forget_holder();
                    if !known {
                        view.account = self.read_account().await?;
                    }
                    return Ok(Round::Again);
                }
                Sent::Done(_) => {
                    progressed = true;
                    if operation.ends_account() {
                        view.account = None;
                        return Ok(Round::Again);
                    }
                    if let Some(account) = view.account.as_mut() {
                        account.apply(operation);
                    }
                    if matches!(operation, Operation::RenameUser { .. }) {
                        view.forget_holder();
                        // The next operations would use the former name, which may belong to another user by now.
                        return Ok(Round::Again);
                    }
                }
                Sent::Unsupported if matches!(operation, Operation::CreateUser { .. }) => {
                    self.create_refused = self.worked.findings.unsupported.last().cloned();
                }
                Sent::Held | Sent::Unsupported | Sent::Refused => {}
                Sent::ReadAgain => return Ok(Round::ReadAgain),
            }
        }
        if let Some(round) = self.carry_out_approved(&planned.holds, view).await? {
            return Ok(round);
        }
        if progressed {
            return Ok(Round::Again);
        }
        if let Some(decision) = planned.afterwards {
            return Box::pin(self.carry_out(*decision, view, in_ring)).await;
        }
        if !self.refused.is_empty() {
            // All else is done; the task fails with the first reason.
            return Err(self.refused.remove(0).into());
        }
        if let Some(why) = self.doubt.take() {
            return Err(WorkError::Unconfirmed(why));
        }
        // A read without the groups says nothing about decisions on them.
        self.inconclusive |= view.account.as_ref().is_some_and(|account| account.groups.is_none());
        // What a grace period holds back is still wanted, so decisions on it stand.
        self.inconclusive |= leaves_at.is_some();
        if planned.groups_unread
            && let Some(account) = &view.account
        {
            return Err(self.unread_groups(&account.name.clone()));
        }
        if planned.missing_groups.is_empty() && self.create_refused.is_none() {
            self.close_unmapped(&view.presence).await?;
            self.account_for(view.account.as_ref(), &planned.findings)?;
        }
        let undecided = view.presence.undecided().is_some() || !planned.findings.unconfirmed.is_empty();
        self.worked.findings = merge(std::mem::take(&mut self.worked.findings), planned.findings);
        self.forget_ended(&planned.ended);
        if planned.missing_groups.is_empty() {
            self.step.due_again = leaves_at;
            if !undecided && planned.holds.is_empty() {
                self.note_provider_left(&view.presence);
            }
            let settled = !undecided && !plan::has_left(&view.presence);
            if let Some(link) = self.link.as_mut().filter(|link| link.written.is_new && settled) {
                link.written.is_new = false;
                self.keep_link();
            }
            return self.unless_it_may_return(&view.presence).await;
        }
        let groups: Vec<Subject> = planned.missing_groups.into_iter().map(Subject::Group).collect();
        self.wait_for(&groups, false).await?;
        Ok(Round::Released)
    }

    /// Forgets that usersync granted memberships that ended on both sides, so that they are granted again once they are
    /// wanted.
    fn forget_ended(&mut self, ended: &[TargetGroupId]) {
        if let Some(link) = self.link.as_mut().filter(|_| !ended.is_empty()) {
            link.given.retain(|group| !ended.contains(group));
            self.keep_link();
        }
    }

    /// Does what was approved of these operations, and holds the others. `None`: nothing was done.
    async fn carry_out_approved(&mut self, holds: &[Hold], view: &mut View) -> Result<Option<Round>, WorkError> {
        let (mut progressed, mut adopt) = (false, None);
        for Hold { kind, then } in holds {
            match then {
                Then::Do(operation) => match self.send_if_approved(*kind, operation, view.account.as_ref()).await? {
                    Sent::Done(_) => {
                        progressed = true;
                        if let Some(account) = view.account.as_mut() {
                            account.apply(operation);
                        }
                    }
                    Sent::Held | Sent::Unsupported | Sent::Refused => {}
                    Sent::ReadAgain => return Ok(Some(Round::ReadAgain)),
                },
                Then::Adopt(account, by) => {
                    let rules = self.connector.policy.account_rules(&self.claim.pair.target);
                    let capabilities = &self.info.capabilities;
                    let user = view.presence.user();
                    let login = user.and_then(|user| plan::login_after_adoption(user, account, capabilities, rules));
                    let item = adoption(account, by, login.as_deref());
                    if self.approval(&item).is_some() {
                        adopt = Some((account.clone(), by.clone()));
                    } else {
                        self.hold(item);
                    }
                }
            }
        }
        match adopt {
            Some((account, by)) => self.take(&account, by, None, view).await.map(Some),
            None => Ok(progressed.then_some(Round::Again)),
        }
    }

    fn link_new_account(&mut self, operation: &Operation, account: &Account, presence: &Presence) {
        let Some(user) = self.claim.subject.as_user().cloned() else { return };
        let mut link = Link::new(user, account.id.clone(), account.name.clone());
        if let Operation::CreateUser { name, fields, .. } = operation {
            link.written =
                Written { is_new: self.connector.policy.groups.grants_to_new(), ..Written::new(name, fields) };
        }
        self.link = Some(link);
        self.keep_link();
        self.note_seen(presence);
    }
}

/// Returns the approval item for adopting an account that was found in this way. `login`: the login that the account gets
/// then; `None`: it keeps its own.
pub(super) fn adoption(account: &Account, by: &MatchedBy, login: Option<&str>) -> NewApprovalItem {
    let matched = if *by == MatchedBy::Login {
        String::new()
    } else {
        let email = account.email.as_ref().map(|email| format!(", {email}")).unwrap_or_default();
        format!(" ({}{email}), matched by {by}", account.display_name)
    };
    let state = if account.active { "" } else { ", which is inactive" };
    let renamed = login.map(|login| format!("; then rename it to {login}")).unwrap_or_default();
    let what = format!("adopt the account {}{matched}{state}{renamed}", account.name);
    NewApprovalItem::adoption(account.id.as_str(), what)
}

/// Returns a fingerprint of a user's state at the source.
pub(super) fn fingerprint_of(presence: &Presence) -> String {
    match presence {
        Presence::Present(user, _) => fingerprint(user),
        Presence::Gone => "gone".to_owned(),
    }
}

fn merge(mut findings: plan::Findings, more: plan::Findings) -> plan::Findings {
    findings.unsupported.extend(more.unsupported);
    findings.unconfirmed.extend(more.unconfirmed);
    findings.undecided = findings.undecided.or(more.undecided);
    findings.protected = findings.protected.or(more.protected);
    findings.repeated.extend(more.repeated);
    findings.also_done.extend(more.also_done);
    findings.kept.extend(more.kept);
    findings.left = findings.left.or(more.left);
    findings
}
