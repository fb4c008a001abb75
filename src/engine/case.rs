//! One claimed subject while it is worked: what was learnt, what is held, how it ends.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use jiff::SignedDuration;
use sha2::{Digest, Sha256};

use super::{
    additions::Part,
    error::WorkError,
    ledger::{Fate, Ledger},
    membership::Reading,
    ports::{Connector, Engine, TargetPort},
    retry,
};
use crate::{
    model::{
        Action, ApprovalItem, ApprovalItemState, ApprovalKind, ErrorClass, Link, NewApprovalItem, Operation, Pair,
        Subject, Unsupported,
    },
    plan::{self, Findings, Measure},
    store::{Claimed, Failure, LinkWrite, Step, Stepped, StoreError, Waiting},
    target::{TargetError, TargetInfo},
    telemetry::logs::Personal,
};

/// What is different for a subject that a run works.
#[derive(Clone, Debug, Default)]
pub(super) struct RunRules {
    /// A run works it, not a worker.
    pub in_run: bool,
    /// The first run: what existed before usersync is adopted without asking.
    pub first: bool,
    /// Kinds that the run would do too often: it holds them whole.
    pub hold: HashSet<crate::model::Limited>,
    /// The hourly limits that a first run's plan was compared with. They stand for the whole run: until it has linked all
    /// accounts, there are fewer than it was planned for.
    pub limits: BTreeMap<crate::model::Limited, u32>,
    /// The user's part in a wave whose additions to groups are collected; `None`: they are sent by themselves.
    pub part: Option<Arc<Part>>,
}

/// How work on a subject ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worked {
    /// What was done, in order.
    pub done: Vec<Operation>,
    /// Links that were made to accounts and groups that existed before, or dropped because their accounts are gone, in
    /// order.
    pub linked: Vec<Action>,
    /// Operations that wait for approval.
    pub held: Vec<NewApprovalItem>,
    /// What is worth telling.
    pub findings: Findings,
    /// Why it is a conflict, if so.
    pub conflict: Option<String>,
    /// Whether the claim was given back before all was done; the task goes on later.
    pub later: bool,
    /// What was planned, and what became of it.
    pub ledger: Ledger,
}

/// What an error is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// The work on this subject.
    Subject,
    /// A call for many users, which is noted once for all of them.
    SharedCall,
}

/// Work that an error ended. The claim is still to be given back.
pub(super) struct Unfinished {
    pub claim: Claimed,
    pub error: WorkError,
    /// What was done before.
    pub worked: Worked,
    /// What failed.
    pub failed: Failed,
}

impl Unfinished {
    /// Ended before anything was planned.
    pub fn at_once(claim: Claimed, error: WorkError) -> Self {
        Self { claim, error, worked: Worked::default(), failed: Failed::Subject }
    }
}

pub(super) struct Case<'e> {
    pub engine: &'e Engine,
    pub connector: Arc<Connector>,
    pub port: Arc<TargetPort>,
    pub info: Arc<TargetInfo>,
    pub rules: &'e RunRules,
    pub claim: Claimed,
    /// The user's link as it is known by now; written with the next step.
    pub link: Option<Link>,
    /// Whether the linked account is confirmed to be gone.
    pub account_gone: bool,
    /// What the next step writes.
    pub step: Step,
    /// Whether a group was renamed, which the next step settles.
    renamed_group: bool,
    pub held: Vec<NewApprovalItem>,
    /// Decided items that are planned still, so that their decision stands.
    pub decided_still: Vec<NewApprovalItem>,
    /// Whether what was read did not show all that decisions are about.
    pub inconclusive: bool,
    pub worked: Worked,
    /// A fingerprint of the subject's state at the source.
    pub fingerprint: String,
    /// Operations that are not tried again in this piece of work.
    pub set_aside: HashSet<String>,
    /// Why the target refuses to create the account, if it does.
    pub create_refused: Option<String>,
    /// Why operations were refused for good.
    pub refused: Vec<TargetError>,
    /// Operations that were refused because a name is taken.
    pub names_taken: HashSet<String>,
    /// What the target said when it refused something last.
    pub last_refusal: String,
    /// What fails, where an error ends the work.
    pub failed: Failed,
    /// Why the account's groups could not be read; `None`: they were, or were not asked for.
    pub unread_groups: Option<TargetError>,
    /// How the memberships are read where the target shows none with an account.
    pub reading: Reading,
}

impl<'e> Case<'e> {
    pub async fn open(engine: &'e Engine, claim: Claimed, rules: &'e RunRules) -> Result<Self, Unfinished> {
        let ports = async {
            let connector = Arc::clone(engine.connector(&claim.pair.connector)?);
            let port = Arc::clone(engine.target(&claim.pair.target)?);
            let info = engine.info(&port).await?;
            Ok((connector, port, info))
        };
        let (connector, port, info) = match ports.await {
            Ok(ports) => ports,
            Err(error) => return Err(Unfinished::at_once(claim, error)),
        };
        let link = claim.link.clone();
        Ok(Self {
            engine,
            connector,
            port,
            info,
            rules,
            claim,
            link,
            account_gone: false,
            step: Step::default(),
            renamed_group: false,
            held: Vec::new(),
            decided_still: Vec::new(),
            inconclusive: false,
            worked: Worked::default(),
            fingerprint: String::new(),
            set_aside: HashSet::new(),
            create_refused: None,
            refused: Vec::new(),
            names_taken: HashSet::new(),
            last_refusal: String::new(),
            failed: Failed::Subject,
            unread_groups: None,
            reading: Reading::All,
        })
    }

    /// Writes what was learnt since the last step, if anything was.
    pub async fn flush(&mut self) -> Result<(), WorkError> {
        if self.step == Step::default() {
            return Ok(());
        }
        let step = std::mem::take(&mut self.step);
        self.write(step).await?;
        Ok(())
    }

    pub async fn write(&mut self, step: Step) -> Result<Stepped, WorkError> {
        let writing = self.changes_groups(&step).then(|| self.engine.writing_group());
        self.renamed_group = false;
        let stepped = self.engine.store.step(self.claim.token, step, self.engine.clock.now()).await?;
        drop(writing);
        self.unless_taken(stepped)
    }

    /// Whether the store's groups are others with this step.
    fn changes_groups(&self, step: &Step) -> bool {
        step.group.is_some() || self.renamed_group
    }

    fn unless_taken(&self, stepped: Stepped) -> Result<Stepped, WorkError> {
        match stepped {
            Stepped::AccountTaken => Err(WorkError::Unsteady(self.claim.subject.to_string())),
            stepped => Ok(stepped),
        }
    }

    /// Keeps the link as it is by now for the next step.
    pub fn keep_link(&mut self) {
        self.step.link = self.link.clone().map(LinkWrite::Put);
    }

    /// Keeps what the subject's state at the source is by now; what was not possible in another one may be so in this.
    pub fn know_state(&mut self, fingerprint: String) {
        self.fingerprint = fingerprint;
        let known = self.claim.unsupported.len();
        self.claim.unsupported.retain(|one| one.fingerprint == self.fingerprint);
        if self.claim.unsupported.len() < known {
            self.step.unsupported = Some(self.claim.unsupported.clone());
        }
    }

    /// Whether the target is known to be unable to do this; then that is told again, and nothing is sent.
    pub fn was_unsupported(&mut self, key: &str) -> bool {
        let Some(known) = self.claim.unsupported.iter().find(|one| one.key == key) else { return false };
        self.worked.findings.unsupported.push(known.why.clone());
        self.set_aside.insert(key.to_owned());
        true
    }

    pub fn keep_unsupported(&mut self, key: String, why: String) {
        let (subject, fingerprint) = (self.claim.subject.clone(), self.fingerprint.clone());
        self.claim.unsupported.retain(|one| one.key != key);
        self.claim.unsupported.push(Unsupported { subject, key, fingerprint, why });
        self.step.unsupported = Some(self.claim.unsupported.clone());
    }

    /// Keeps whether the account is protected, so that `status` counts it.
    pub fn note_protected(&mut self, why: Option<&str>) {
        let known = self.claim.unsupported.iter().find(|one| one.key == Unsupported::PROTECTED);
        match (why, known) {
            (Some(why), known) if known.is_none_or(|known| known.why != why) => {
                self.keep_unsupported(Unsupported::PROTECTED.to_owned(), why.to_owned());
            }
            (None, Some(_)) => {
                self.claim.unsupported.retain(|one| one.key != Unsupported::PROTECTED);
                self.step.unsupported = Some(self.claim.unsupported.clone());
            }
            _ => {}
        }
    }

    /// Keeps what an operation that took effect changes in the link.
    pub fn learn(&mut self, operation: &Operation) {
        self.renamed_group |= matches!(operation, Operation::RenameGroup { .. });
        if self.link.as_mut().is_some_and(|link| link.learn(operation)) {
            self.keep_link();
        }
    }

    /// The approval of this, while it can be used.
    pub fn approval(&self, item: &NewApprovalItem) -> Option<i64> {
        let approved = |decided: &&ApprovalItem| {
            decided.state == ApprovalItemState::Approved
                && decided.item.kind == item.kind
                && decided.item.does_the_same(item)
        };
        self.claim.decided.iter().find(approved).map(|decided| decided.id)
    }

    /// Whether an operator rejected this, whatever it was held for; the rejection stands while it is planned.
    pub fn is_rejected(&mut self, item: &NewApprovalItem) -> bool {
        let rejected =
            |decided: &&ApprovalItem| decided.state == ApprovalItemState::Rejected && decided.item.does_the_same(item);
        let Some(decided) = self.claim.decided.iter().find(rejected) else { return false };
        if !self.decided_still.contains(&decided.item) {
            self.decided_still.push(decided.item.clone());
        }
        true
    }

    /// Keeps an operation for an operator's decision, unless it was rejected.
    pub fn hold(&mut self, item: NewApprovalItem) {
        self.set_aside.insert(item.key.clone());
        if !self.is_rejected(&item) && !self.held.contains(&item) {
            self.held.push(item);
        }
    }

    pub async fn limit(&self, kind: crate::model::Limited) -> Result<u32, WorkError> {
        let pair = &self.claim.pair;
        if self.rules.hold.contains(&kind)
            || self.engine.store.is_awaited(pair, ApprovalKind::SafetyLimit(kind)).await?
        {
            return Ok(0);
        }
        if let Some(limit) = self.rules.limits.get(&kind) {
            return Ok(*limit);
        }
        let measure = self.engine.measure(pair).await?;
        Ok(plan::limit(kind, &self.connector.policy.safety, measure))
    }

    /// All is done, or held: ends the task.
    pub async fn complete(mut self) -> Result<Worked, Unfinished> {
        let written = async {
            self.worked.held.clone_from(&self.held);
            let (last, mut held) = (std::mem::take(&mut self.step), std::mem::take(&mut self.held));
            held.append(&mut self.decided_still);
            if self.inconclusive || !self.worked.findings.unconfirmed.is_empty() {
                // What was not read may need its decision again.
                let stand = self.claim.decided.iter().map(|decided| &decided.item);
                let missing: Vec<_> = stand.filter(|item| !held.contains(item)).cloned().collect();
                held.extend(missing);
            }
            let writing = self.changes_groups(&last).then(|| self.engine.writing_group());
            let now = self.engine.clock.now();
            let settle_at = now + self.engine.times.settle;
            let stepped = self.engine.store.complete(self.claim.token, last, held, settle_at, now).await?;
            drop(writing);
            self.unless_taken(stepped)
        };
        match written.await {
            Ok(_) => Ok(self.released()),
            Err(error) => Err(self.unfinished(error)),
        }
    }

    /// The claim was given back, or completed: what is still open is done by the subject's task later, or waits for a
    /// person to end a conflict.
    pub fn released(mut self) -> Worked {
        self.close(if self.worked.conflict.is_some() { Fate::Failed } else { Fate::Postponed });
        self.worked
    }

    /// An error ended it.
    pub fn unfinished(mut self, error: WorkError) -> Unfinished {
        // Whoever holds the claim now goes on.
        let ended = matches!(error, WorkError::Store(StoreError::ClaimEnded));
        self.close(if ended { Fate::Postponed } else { Fate::Failed });
        Unfinished { claim: self.claim, error, worked: self.worked, failed: self.failed }
    }

    /// Back to the queue for a while.
    pub async fn defer(&mut self, wait: SignedDuration) -> Result<(), WorkError> {
        self.flush().await?;
        let now = self.engine.clock.now();
        self.worked.later = true;
        Ok(self.engine.store.defer(self.claim.token, now + wait, None, now).await?)
    }

    /// Waits for others; `false`: who waits for whom goes round, and the claim is still held.
    pub async fn wait_for(&mut self, others: &[Subject], ring_ends_it: bool) -> Result<bool, WorkError> {
        self.flush().await?;
        let now = self.engine.clock.now();
        let at_latest = now + self.engine.times.wait_at_most;
        let waiting = self.engine.store.wait_for(self.claim.token, others, ring_ends_it, at_latest, now).await?;
        self.worked.later = waiting == Waiting::Waits;
        Ok(self.worked.later)
    }

    /// A person has to decide; a dead letter that harms nobody else.
    pub async fn conflict(&mut self, text: String) -> Result<(), WorkError> {
        self.end_dead(ErrorClass::Conflict, text.clone()).await?;
        self.worked.conflict = Some(text);
        Ok(())
    }

    /// Without its account nothing of the subject is done: a failed task, which is listed as one.
    pub async fn refused(mut self, why: String) -> Result<Worked, Unfinished> {
        match self.end_dead(ErrorClass::Permanent, why).await {
            Ok(()) => {
                self.close(Fate::Failed);
                Ok(self.released())
            }
            Err(error) => Err(self.unfinished(error)),
        }
    }

    async fn end_dead(&mut self, class: ErrorClass, text: String) -> Result<(), WorkError> {
        self.flush().await?;
        tracing::warn!(
            pair = %self.claim.pair, subject = %self.claim.subject, class = class.as_str(), detail = %Personal(&text),
            "failed task: usersync dead list"
        );
        let failure = Failure { class, text, retry_at: None };
        Ok(self.engine.store.fail(self.claim.token, failure, self.engine.clock.now()).await?)
    }
}

impl Engine {
    /// What the safety limits are measured against.
    pub(super) async fn measure(&self, pair: &Pair) -> Result<Measure, WorkError> {
        let totals = self.store.totals(pair).await?;
        Ok(Measure {
            active_accounts: totals.active_links,
            memberships: totals.memberships,
            groups: totals.managed_groups,
        })
    }

    /// Gives a claim back after an error: with another attempt where that can help, as a dead letter where it can not. The
    /// error of a call for many users is no attempt of any of them. Whether its ending is written.
    pub(super) async fn give_back(&self, claim: &Claimed, error: &WorkError, about: Failed) -> bool {
        let now = self.clock.now();
        if let (Ok(connector), Ok(port), false) =
            (self.connector(&claim.pair.connector), self.target(&claim.pair.target), about == Failed::SharedCall)
        {
            self.note_failure(connector, port, error);
        }
        let class = error.class();
        let failed = claim.attempts + 1;
        let asked = match error {
            WorkError::Source(error) => error.retry_after,
            WorkError::Target(error) => error.retry_after,
            WorkError::Unanswered { until, .. } => Some(until.duration_since(now)),
            _ => None,
        };
        let wait = retry::wait(&self.times.retries, failed, asked, &self.dice);
        let mut dead = false;
        let reason = || Some((class, error.to_string()));
        let written = match class {
            // Not the subject's fault: its attempts are not used up.
            ErrorClass::Credentials | ErrorClass::Throttled => {
                self.store.defer(claim.token, now + wait.max(self.times.throttled), reason(), now).await
            }
            ErrorClass::Forbidden if matches!(error, WorkError::Source(_)) => {
                self.store.defer(claim.token, now + wait.max(self.times.refused), reason(), now).await
            }
            _ if about == Failed::SharedCall => self.store.defer(claim.token, now + wait, reason(), now).await,
            _ => {
                let ends = matches!(class, ErrorClass::Permanent | ErrorClass::Conflict | ErrorClass::Bug);
                // A maintenance ends some time: nobody's change is given up for it.
                let again = failed < retry::ATTEMPTS || class == ErrorClass::Maintenance;
                let retry_at = (!ends && again).then_some(now + wait);
                dead = retry_at.is_none();
                let failure = Failure { class, text: error.to_string(), retry_at };
                self.store.fail(claim.token, failure, now).await
            }
        };
        let what = if dead { "failed task: usersync dead list" } else { "an attempt failed" };
        tracing::warn!(
            pair = %claim.pair, subject = %claim.subject, class = class.as_str(), attempt = failed,
            detail = %Personal(error), "{what}"
        );
        match written {
            Ok(()) | Err(StoreError::ClaimEnded) => true,
            Err(error) => {
                tracing::error!(
                    pair = %claim.pair, subject = %claim.subject,
                    "{error}. The claim is released, and the task is retried once the store can be written."
                );
                false
            }
        }
    }
}

/// A short fingerprint of a state.
pub(super) fn fingerprint(state: &impl serde::Serialize) -> String {
    let bytes = serde_json::to_vec(state).unwrap_or_default();
    hex::encode(&Sha256::digest(&bytes)[..8])
}
