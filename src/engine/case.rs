//! Work on one claimed subject: its state, its pending writes, and how it ends.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use jiff::SignedDuration;
use sha2::{Digest, Sha256};

use super::{
    additions::Part,
    drift::FoundDrift,
    error::WorkError,
    ledger::{Fate, Ledger},
    membership::Reading,
    ports::{Connector, Engine, TargetPort},
    retry,
    unlisted::{FoundAlone, Unlisted},
};
use crate::{
    model::{
        Action, ApprovalItem, ApprovalItemState, ApprovalKind, ById, ErrorClass, GroupId, Link, NewApprovalItem,
        Operation, Pair, Subject, Unsupported,
    },
    plan::{self, Findings, Measure},
    store::{Claimed, Failure, LinkWrite, Step, Stepped, StoreError, Waiting},
    targets::{TargetError, TargetInfo},
    telemetry::logs::Personal,
};

/// Rules for a subject that a run works on.
#[derive(Clone, Debug, Default)]
pub(super) struct RunRules {
    /// Whether a run works on the subject, not a worker.
    pub in_run: bool,
    /// Whether this is the first run: it adopts existing accounts and groups without approval.
    pub first: bool,
    /// Kinds of operation that would exceed their safety limits. The run holds all operations of these kinds.
    pub hold: HashSet<crate::model::Limited>,
    /// Hourly limits that the run's plan was compared with. They apply to the whole run, because its work changes what
    /// they are measured against.
    pub limits: BTreeMap<crate::model::Limited, u32>,
    /// The user's part in a wave that collects additions to groups; `None`: the user's additions are sent separately.
    pub part: Option<Arc<Part>>,
}

/// The result of the work on a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worked {
    /// Completed operations, in order.
    pub done: Vec<Operation>,
    /// Links to accounts and groups that existed before usersync, and links dropped because their accounts are gone, in
    /// order.
    pub linked: Vec<Action>,
    /// Operations that wait for approval.
    pub held: Vec<NewApprovalItem>,
    /// Findings to report.
    pub findings: Findings,
    /// The reason for a conflict; `None`: there is no conflict.
    pub conflict: Option<String>,
    /// Whether the claim was released before all was done. The task continues later.
    pub later: bool,
    /// The planned operations, each with its fate.
    pub ledger: Ledger,
    /// What was changed in the target.
    pub drift: FoundDrift,
    /// The answer of the last read of a linked account that is missing, was missing, or is not listed.
    pub account_by_id: ById,
    /// What lists of the target lack, although the account, read alone, has it; `None`: nothing.
    pub found_alone: Option<FoundAlone>,
}

/// What an error concerns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// The work on this subject.
    Subject,
    /// A call for many users. It is recorded once for all of them.
    SharedCall,
}

/// Work that an error ended. The claim still has to be released.
pub(super) struct Unfinished {
    pub claim: Claimed,
    pub error: WorkError,
    /// Results up to the error.
    pub worked: Worked,
    /// What the error concerns.
    pub failed: Failed,
}

impl Unfinished {
    /// Creates a result for work that ended before anything was planned.
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
    /// The user's current link, which the next step writes.
    pub link: Option<Link>,
    /// Whether the linked account is confirmed to be gone.
    pub account_gone: bool,
    /// Changes that the next step writes.
    pub step: Step,
    /// Whether a group was renamed or deleted. The next step records it.
    changed_group: bool,
    pub held: Vec<NewApprovalItem>,
    /// Decided items that are still planned, so that their decisions stand.
    pub decided_still: Vec<NewApprovalItem>,
    /// Whether the reads did not cover everything that decisions are about.
    pub inconclusive: bool,
    /// Groups that Keycloak hides from usersync's token, or whose members contradict the user's own groups: the user stays in
    /// what they feed.
    pub hidden: BTreeSet<GroupId>,
    /// Groups that confirm that the user has left them, or that are gone.
    pub shown: BTreeSet<GroupId>,
    /// Why a membership is kept that Keycloak contradicts itself about. The task fails with it once all else is done.
    pub doubt: Option<String>,
    pub worked: Worked,
    /// Fingerprint of the subject's state at the source.
    pub fingerprint: String,
    /// Operations that are not retried within this work.
    pub set_aside: HashSet<String>,
    /// Why the target refuses to create the account; `None`: it has not refused.
    pub create_refused: Option<String>,
    /// The username of another user to whom the policy gives the same login.
    pub same_login_as: Option<String>,
    /// The username of another user that is matched to the same account.
    pub same_account_as: Option<String>,
    /// What the lists that a run read lack of the user.
    pub unlisted: Unlisted,
    /// Permanent refusals of the target.
    pub refused: Vec<TargetError>,
    /// Operations refused because a name is taken.
    pub names_taken: HashSet<String>,
    /// Reason of the target's latest refusal.
    pub last_refusal: String,
    /// What an error that ends the work concerns.
    pub failed: Failed,
    /// Why the account's groups could not be read; `None`: they were read, or were not requested.
    pub unread_groups: Option<TargetError>,
    /// How memberships are read where the target lists none with an account.
    pub reading: Reading,
}

impl<'e> Case<'e> {
    pub async fn open(engine: &'e Engine, claim: Claimed, rules: &'e RunRules) -> Result<Self, Unfinished> {
        let ports = async {
            let connector = Arc::clone(engine.connector_of(&claim.pair)?);
            let port = Arc::clone(engine.target(&claim.pair.target)?);
            let info = engine.info(&port).await?;
            Ok((connector, port, info))
        };
        let (connector, port, info) = match ports.await {
            Ok(ports) => ports,
            Err(error) => return Err(Unfinished::at_once(claim, error)),
        };
        let link = claim.link.clone();
        let worked = Worked { ledger: Ledger::of(&claim.subject), ..Worked::default() };
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
            changed_group: false,
            held: Vec::new(),
            decided_still: Vec::new(),
            inconclusive: false,
            hidden: BTreeSet::new(),
            shown: BTreeSet::new(),
            doubt: None,
            worked,
            fingerprint: String::new(),
            set_aside: HashSet::new(),
            create_refused: None,
            same_login_as: None,
            same_account_as: None,
            unlisted: Unlisted::default(),
            refused: Vec::new(),
            names_taken: HashSet::new(),
            last_refusal: String::new(),
            failed: Failed::Subject,
            unread_groups: None,
            reading: Reading::All,
        })
    }

    /// Writes all changes since the last step, if there are any.
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
        self.changed_group = false;
        let stepped = self.engine.store.step(self.claim.token, step, self.engine.clock.now()).await?;
        drop(writing);
        self.unless_taken(stepped)
    }

    /// Returns whether this step changes the groups in the store.
    fn changes_groups(&self, step: &Step) -> bool {
        step.group.is_some() || self.changed_group
    }

    fn unless_taken(&self, stepped: Stepped) -> Result<Stepped, WorkError> {
        match stepped {
            Stepped::AccountTaken => Err(WorkError::Unsteady(self.claim.subject.to_string())),
            stepped => Ok(stepped),
        }
    }

    /// Schedules the current link for the next step.
    pub fn keep_link(&mut self) {
        self.step.link = self.link.clone().map(LinkWrite::Put);
    }

    /// Records the fingerprint of the subject's current state at the source. An operation that was unsupported in
    /// another state may be supported in this one.
    pub fn know_state(&mut self, fingerprint: String) {
        self.fingerprint = fingerprint;
        let known = self.claim.unsupported.len();
        self.claim.unsupported.retain(|one| one.fingerprint == self.fingerprint);
        if self.claim.unsupported.len() < known {
            self.step.unsupported = Some(self.claim.unsupported.clone());
        }
    }

    /// Returns whether the target is known not to support this operation. If so, it is reported again and nothing is
    /// sent.
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

    /// Records whether the user is in this state, one of [`Unsupported::STATES`], so that `status` counts it.
    pub fn note_state(&mut self, key: &str, why: Option<&str>) {
        let known = self.claim.unsupported.iter().find(|one| one.key == key);
        match (why, known) {
            (Some(why), known) if known.is_none_or(|known| known.why != why) => {
                self.keep_unsupported(key.to_owned(), why.to_owned());
            }
            (None, Some(_)) => {
                self.claim.unsupported.retain(|one| one.key != key);
                self.step.unsupported = Some(self.claim.unsupported.clone());
            }
            _ => {}
        }
    }

    /// Records how a completed operation changes the link.
    pub fn learn(&mut self, operation: &Operation) {
        self.changed_group |= matches!(operation, Operation::RenameGroup { .. } | Operation::DeleteGroup { .. });
        let is_linked = self.link.as_ref().is_some_and(|link| operation.account() == Some(&link.account));
        if is_linked && operation.ends_account() {
            self.link = None;
            self.step.link = Some(LinkWrite::Remove);
        }
        if self.link.as_mut().is_some_and(|link| link.learn(operation)) {
            self.keep_link();
        }
    }

    /// Returns the approval of this item while it can still be used.
    pub fn approval(&self, item: &NewApprovalItem) -> Option<i64> {
        let approved = |decided: &&ApprovalItem| {
            decided.state == ApprovalItemState::Approved
                && decided.item.kind == item.kind
                && decided.item.does_the_same(item)
        };
        self.claim.decided.iter().find(approved).map(|decided| decided.id)
    }

    /// Returns whether an operator rejected this operation, whatever it was held for. The rejection stands while it is
    /// planned.
    pub fn is_rejected(&mut self, item: &NewApprovalItem) -> bool {
        let rejected =
            |decided: &&ApprovalItem| decided.state == ApprovalItemState::Rejected && decided.item.does_the_same(item);
        let Some(decided) = self.claim.decided.iter().find(rejected) else { return false };
        if !self.decided_still.contains(&decided.item) {
            self.decided_still.push(decided.item.clone());
        }
        true
    }

    /// Holds an operation for an operator's decision, unless it was rejected.
    pub fn hold(&mut self, item: NewApprovalItem) {
        self.set_aside.insert(item.key.clone());
        if !self.is_rejected(&item) && !self.held.contains(&item) {
            self.held.push(item);
        }
    }

    pub async fn limit(&self, kind: crate::model::Limited) -> Result<u32, WorkError> {
        let pair = &self.claim.pair;
        if self.rules.hold.contains(&kind)
            || self.engine.store.has_open_items(pair, ApprovalKind::SafetyLimit(kind)).await?
        {
            return Ok(0);
        }
        if let Some(limit) = self.rules.limits.get(&kind) {
            return Ok(*limit);
        }
        let measure = self.engine.measure(pair).await?;
        Ok(plan::limit(kind, &self.connector.policy.safety, measure))
    }

    /// Ends the task after all operations are done or held.
    pub async fn complete(mut self) -> Result<Worked, Unfinished> {
        let written = async {
            self.worked.held.clone_from(&self.held);
            let (last, mut held) = (std::mem::take(&mut self.step), std::mem::take(&mut self.held));
            held.append(&mut self.decided_still);
            let Findings { unconfirmed, undecided, .. } = &self.worked.findings;
            if self.inconclusive || !unconfirmed.is_empty() || undecided.is_some() {
                // An item that was not read may need its decision again.
                let stand = self.claim.decided.iter().map(|decided| &decided.item);
                let missing: Vec<_> = stand.filter(|item| !held.contains(item)).cloned().collect();
                held.extend(missing);
            }
            let turn = match &self.rules.part {
                Some(part) => part.turn_to_end().await,
                None => None,
            };
            let writing = self.changes_groups(&last).then(|| self.engine.writing_group());
            let now = self.engine.clock.now();
            let recheck_at = now + self.engine.times.recheck;
            let stepped = self.engine.store.complete(self.claim.token, last, held, recheck_at, now).await?;
            drop(writing);
            drop(turn);
            self.unless_taken(stepped)
        };
        match written.await {
            Ok(_) => Ok(self.released()),
            Err(error) => Err(self.unfinished(error)),
        }
    }

    /// Ends the work after the claim was released or completed. The subject's task does the rest later, or waits until
    /// an operator resolves a conflict.
    pub fn released(mut self) -> Worked {
        self.close(if self.worked.conflict.is_some() { Fate::Failed } else { Fate::Postponed });
        self.worked
    }

    /// Ends the work with an error.
    pub fn unfinished(mut self, error: WorkError) -> Unfinished {
        // The current holder of the claim continues the work.
        let ended = matches!(error, WorkError::Store(StoreError::ClaimEnded));
        self.close(if ended { Fate::Postponed } else { Fate::Failed });
        Unfinished { claim: self.claim, error, worked: self.worked, failed: self.failed }
    }

    /// Returns the task to the queue for this time.
    pub async fn defer(&mut self, wait: SignedDuration) -> Result<(), WorkError> {
        self.flush().await?;
        let now = self.engine.clock.now();
        self.worked.later = true;
        Ok(self.engine.store.defer(self.claim.token, now + wait, None, now).await?)
    }

    /// Waits for other subjects. Returns `false` if the waits form a cycle; the claim is then still held.
    pub async fn wait_for(&mut self, others: &[Subject], ring_ends_it: bool) -> Result<bool, WorkError> {
        self.flush().await?;
        let now = self.engine.clock.now();
        let at_latest = now + self.engine.times.wait_at_most;
        let waiting = self.engine.store.wait_for(self.claim.token, others, ring_ends_it, at_latest, now).await?;
        self.worked.later = waiting == Waiting::Waits;
        Ok(self.worked.later)
    }

    /// Ends the task as a conflict for an operator to decide: a dead letter that blocks no other subject.
    pub async fn conflict(&mut self, text: String) -> Result<(), WorkError> {
        self.end_dead(ErrorClass::Conflict, text.clone()).await?;
        self.worked.conflict = Some(text);
        Ok(())
    }

    /// Ends the task as failed, because nothing can be done without the subject's account.
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
    /// Returns the totals that the safety limits are measured against.
    pub(super) async fn measure(&self, pair: &Pair) -> Result<Measure, WorkError> {
        let totals = self.store.totals(pair).await?;
        Ok(Measure {
            active_accounts: totals.active_links,
            memberships: totals.memberships,
            groups: totals.managed_groups,
        })
    }

    /// Releases a claim after an error, with another attempt where a retry can help, else as a dead letter. An error of
    /// a call for many users uses up no attempt of any of them. Returns whether the end of the claim was written.
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
        let wait = retry::wait(&self.times.retries, failed, asked, &self.jitter);
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
                // Maintenance ends, so no change is given up for it.
                let again = failed < retry::ATTEMPTS || class == ErrorClass::Maintenance;
                let retry_at = (!ends && again).then_some(now + wait);
                dead = retry_at.is_none();
                let failure = Failure { class, text: error.to_string(), retry_at };
                self.store.fail(claim.token, failure, now).await
            }
        };
        let what = if dead { "failed task: usersync dead list" } else { "attempt failed; usersync retries the task" };
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

/// Returns a short fingerprint of a state.
pub(super) fn fingerprint(state: &impl serde::Serialize) -> String {
    let bytes = serde_json::to_vec(state).unwrap_or_default();
    hex::encode(&Sha256::digest(&bytes)[..8])
}
