//! Sends the operations of a claimed subject. Each is stored as an intent before, and its result is recorded after
//! (rule: an open intent locks its subject and account).

mod account_additions;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    additions::Part,
    approval_keys::{approval_item, approval_key},
    case::Case,
    error::WorkError,
    ledger::Fate,
};
use crate::{
    gate::{for_operation, turn_within},
    model::{Account, ApprovalKind, Cause, ChangeOutcome, ErrorClass, IntentId, NewApprovalItem, Operation},
    store::{IntentOutcome, NewIntent, Stepped, StoreError},
    targets::{Applied, TargetError, TargetErrorKind},
    telemetry::logs::Personal,
};

/// The result of one operation.
#[allow(clippy::large_enum_variant, reason = "looked at once and gone")]
pub(super) enum Sent {
    Done(Applied),
    /// It waits for approval, or was rejected.
    Held,
    /// Nothing was done; the state has to be read again.
    ReadAgain,
    /// Unsupported by the target.
    Unsupported,
    /// Refused permanently by the target; operations that do not depend on it continue.
    Refused,
}

/// Operations that are stored as intents.
struct StoredIntents {
    intents: Vec<IntentId>,
    /// After this time a further operation gets a new intent, so that each has enough time to be sent.
    late: Timestamp,
    /// After this time nothing is sent.
    deadline: Timestamp,
    /// After this time no request can arrive.
    arrives_until: Timestamp,
}

impl Case<'_> {
    /// Stores an operation as an intent, sends it, and records its result.
    pub async fn send(&mut self, operation: &Operation, account: Option<&Account>) -> Result<Sent, WorkError> {
        self.worked.ledger.plan(operation.clone().into(), &self.fingerprint);
        let kind = operation.limited().map(ApprovalKind::SafetyLimit);
        let approved_by = kind.and_then(|kind| self.approval(&self.item(kind, operation)));
        if let Some(not) = self.not_now(operation, approved_by.is_some()) {
            return Ok(not);
        }
        let mut limit = None;
        if let (Some(limited), None) = (operation.limited(), approved_by) {
            limit = Some(self.limit(limited).await?);
        }
        self.send_within(operation, account, limit, approved_by).await
    }

    /// Returns the key that distinguishes the operation from others of the claimed subject.
    pub(super) fn key(&self, operation: &Operation) -> String {
        approval_key(&self.claim.subject, operation)
    }

    fn item(&self, kind: ApprovalKind, operation: &Operation) -> NewApprovalItem {
        approval_item(kind, &self.claim.subject, operation)
    }

    /// Returns why an operation is not to be sent; `None`: it is.
    fn not_now(&mut self, operation: &Operation, approved: bool) -> Option<Sent> {
        let key = self.key(operation);
        if self.set_aside.contains(&key) {
            return Some(Sent::Held);
        }
        if self.was_unsupported(&key) {
            return Some(Sent::Unsupported);
        }
        // The kind does not matter here.
        if !approved && self.is_rejected(&self.item(ApprovalKind::Activation, operation)) {
            self.set_aside.insert(key);
            return Some(Sent::Held);
        }
        None
    }

    /// Sends an operation that was approved; holds it otherwise.
    pub async fn send_if_approved(
        &mut self,
        kind: ApprovalKind,
        operation: &Operation,
        account: Option<&Account>,
    ) -> Result<Sent, WorkError> {
        let item = self.item(kind, operation);
        if self.set_aside.contains(&item.key) {
            return Ok(Sent::Held);
        }
        match self.approval(&item) {
            Some(approval) => self.send_within(operation, account, None, Some(approval)).await,
            None if self.was_unsupported(&item.key) => Ok(Sent::Unsupported),
            None => {
                self.hold(item);
                Ok(Sent::Held)
            }
        }
    }

    async fn send_within(
        &mut self,
        operation: &Operation,
        account: Option<&Account>,
        limit: Option<u32>,
        approved_by: Option<i64>,
    ) -> Result<Sent, WorkError> {
        self.note_repeated(operation).await?;
        let (kind, soon) = (operation.verb(), self.soon());
        let sent = self.write_down_and_apply(operation, account, limit, approved_by);
        let Some((written, answer)) = for_operation(kind, soon, sent).await? else {
            if let Some(limited) = operation.limited() {
                self.hold(self.item(ApprovalKind::SafetyLimit(limited), operation));
            }
            return Ok(Sent::Held);
        };
        if answer.is_ok() {
            self.end_sessions(operation).await;
        }
        self.note(operation, &written, 0, answer).await
    }

    /// Stores an operation as an intent once the server accepts its calls, and sends it; `None`: safety limit reached.
    async fn write_down_and_apply(
        &mut self,
        operation: &Operation,
        account: Option<&Account>,
        limit: Option<u32>,
        approved_by: Option<i64>,
    ) -> Result<Option<(StoredIntents, Result<Applied, TargetError>)>, WorkError> {
        // Its deadline counts from when the intent is stored.
        self.until_open().await?;
        let taken = self.record_revoked(operation);
        let Some(written) = self.write_down(&[operation], account, limit, approved_by).await? else {
            self.restore_revoked(taken);
            return Ok(None);
        };
        let answer = self.apply(operation, written.deadline).await?;
        if answer.as_ref().is_err_and(|error| error.kind != TargetErrorKind::Unanswered) {
            self.restore_revoked(taken);
        }
        Ok(Some((written, answer)))
    }

    /// Returns the time within which the call should be sent after its intent is stored, well before its deadline.
    fn soon(&self) -> SignedDuration {
        self.engine.times.call / 3
    }

    /// Waits until the server accepts the calls of the operation and the user's turn has come, or until a user of a wave
    /// has to leave it.
    async fn until_open(&self) -> Result<(), WorkError> {
        if let Some(part) = self.rules.part.as_ref().filter(|_| self.claim.subject.as_user().is_some()) {
            let mut events = self.engine.store.event_waits(self.claim.token);
            tokio::select! {
                biased;
                () = part.resume() => {}
                () = part.must_leave(&mut events) => return Err(self.leave(part)),
                () = part.stopped() => return Err(self.leave(part)),
            }
        }
        self.until_accepted().await
    }

    /// Waits until the server accepts the calls of the operation, or until a user of a wave has to leave it.
    async fn until_accepted(&self) -> Result<(), WorkError> {
        let open = self.port.target.until_open();
        let part = self.rules.part.as_ref().filter(|_| self.claim.subject.as_user().is_some());
        let Some(part) = part else { return Ok(open.await?) };
        let mut events = self.engine.store.event_waits(self.claim.token);
        tokio::select! {
            biased;
            // No event waits for it, so it may use the time of its run.
            open = part.wait_for_server(turn_within(self.engine.times.run_turn, open)) => Ok(open?),
            () = part.must_leave(&mut events) => Err(self.leave(part)),
            () = part.stopped() => Err(self.leave(part)),
        }
    }

    /// Leaves the wave because of an event of the user, or because the run has to end.
    fn leave(&self, part: &Part) -> WorkError {
        part.leave();
        WorkError::LeftToTask(self.claim.subject.clone())
    }

    /// Stores operations as intents; `None`: safety limit reached.
    async fn write_down(
        &mut self,
        operations: &[&Operation],
        account: Option<&Account>,
        limit: Option<u32>,
        approved_by: Option<i64>,
    ) -> Result<Option<StoredIntents>, WorkError> {
        let now = self.engine.clock.now();
        let (late, deadline) = (now + self.engine.times.call / 2, now + self.engine.times.call);
        let arrives_until = deadline + self.engine.times.margin;
        let mut step = std::mem::take(&mut self.step);
        let intent = |operation: &&Operation| NewIntent {
            operation: (*operation).clone(),
            before: before(operation, account),
            arrives_until,
            limit,
            approved_by,
        };
        step.next = operations.iter().map(intent).collect();
        match self.write(step).await? {
            Stepped::Send(intents) => Ok(Some(StoredIntents { intents, late, deadline, arrives_until })),
            Stepped::LimitReached { .. } => Ok(None),
            Stepped::Written | Stepped::AccountTaken => Err(WorkError::Unsteady(self.claim.subject.to_string())),
        }
    }

    async fn apply(
        &self,
        operation: &Operation,
        deadline: Timestamp,
    ) -> Result<Result<Applied, TargetError>, WorkError> {
        self.check_claim().await?;
        let answer = for_operation(operation.verb(), self.soon(), self.port.target.apply(operation, deadline)).await;
        self.count_written(answer.is_ok());
        Ok(self.verified(operation, answer).await)
    }

    /// Checks that the claim is held, as nothing is sent after its end (rule: an ended claim writes nothing).
    async fn check_claim(&self) -> Result<(), WorkError> {
        if self.engine.store.still_held(self.claim.token).await? { Ok(()) } else { Err(StoreError::ClaimEnded.into()) }
    }

    /// Records the result of one of the operations that were stored as intents.
    async fn note(
        &mut self,
        operation: &Operation,
        written: &StoredIntents,
        number: usize,
        answer: Result<Applied, TargetError>,
    ) -> Result<Sent, WorkError> {
        let intent = written.intents[number];
        let error = match answer {
            Ok(applied) => {
                self.took_effect(operation, intent, done(&applied));
                return Ok(Sent::Done(applied));
            }
            Err(error) if error.kind == TargetErrorKind::Unanswered => {
                return Err(WorkError::Unanswered { error, until: written.arrives_until });
            }
            Err(error) => error,
        };
        tracing::debug!(
            pair = %self.claim.pair, subject = %self.claim.subject, operation = operation.verb(),
            detail = %Personal(&error), "refused"
        );
        if is_throttled(&error) {
            // It is sent once more, and leaves one change.
            self.step.unsent.push(intent);
        } else {
            self.step.resolved.push(IntentOutcome { intent, outcome: refusal(&error) });
        }
        if error.kind == TargetErrorKind::Unsupported {
            self.keep_unsupported(self.key(operation), error.text.clone());
        }
        self.flush().await?;
        self.last_refusal.clone_from(&error.text);
        match error.kind {
            // It was read again since, and no holder of the name was found: another read would loop for ever.
            TargetErrorKind::NameTaken if !self.names_taken.insert(self.key(operation)) => {
                let text = format!(
                    "{} A lookup finds no account with this name. Free the name there, then run: usersync dead replay \
                     --all",
                    error.text
                );
                Err(TargetError { kind: TargetErrorKind::NotDone(ErrorClass::Permanent), text, retry_after: None }
                    .into())
            }
            TargetErrorKind::NameTaken | TargetErrorKind::NotFound => Ok(Sent::ReadAgain),
            // Nothing was done, and the server accepts calls again soon. For a group another read would find the same.
            TargetErrorKind::NotDone(ErrorClass::Throttled) if self.claim.subject.as_user().is_some() => {
                self.until_open().await?;
                Ok(Sent::ReadAgain)
            }
            TargetErrorKind::Unsupported => {
                self.set_aside.insert(self.key(operation));
                self.worked.findings.unsupported.push(error.text);
                Ok(Sent::Unsupported)
            }
            // These keys are of this claim only: the next claim sends it again.
            TargetErrorKind::NotDone(ErrorClass::Permanent | ErrorClass::Forbidden) => {
                self.set_aside.insert(self.key(operation));
                self.refused.push(error);
                Ok(Sent::Refused)
            }
            TargetErrorKind::NotDone(_) | TargetErrorKind::Unanswered => Err(error.into()),
        }
    }

    fn took_effect(&mut self, operation: &Operation, intent: IntentId, outcome: ChangeOutcome) {
        self.engine.target_answered(&self.port);
        tracing::debug!(
            pair = %self.claim.pair, subject = %self.claim.subject, operation = operation.verb(),
            detail = %Personal(operation), "written"
        );
        if let ChangeOutcome::DoneWith { also } = &outcome {
            self.worked.findings.also_done.push(format!("{operation}: {also}"));
        }
        self.step.resolved.push(IntentOutcome { intent, outcome });
        self.learn(operation);
        self.worked.ledger.end(operation.clone().into(), Fate::Done);
        self.worked.done.push(operation.clone());
    }

    /// Stores with the intent what a deactivation revokes, as nothing else records it after a crash. Returns the former
    /// record if it had less.
    fn record_revoked(&mut self, operation: &Operation) -> Option<BTreeSet<String>> {
        let link = self.link.as_mut()?;
        let before = link.taken.clone();
        link.will_lose(operation).then(|| self.keep_link())?;
        Some(before)
    }

    /// Restores the former record, as nothing was revoked. If another party revokes it later, usersync must not grant
    /// it again.
    fn restore_revoked(&mut self, before: Option<BTreeSet<String>>) {
        if let (Some(before), Some(link)) = (before, self.link.as_mut()) {
            link.taken = before;
            self.keep_link();
        }
    }

    /// Measures the time from an event to the write for it, unless a grace period was in between.
    fn count_written(&self, written: bool) {
        let at_once = self.link.as_ref().is_none_or(|link| link.leaving_since.is_none());
        if written && at_once && matches!(self.claim.cause, Cause::Event { .. }) {
            self.engine.metrics.written(&self.port.name, self.claim.caused_at, self.engine.clock.now());
        }
    }
}

/// Returns whether the operations that were stored with a refused one are still sent: their intents stay open.
fn concerns_it_alone(error: &TargetError) -> bool {
    matches!(
        error.kind,
        TargetErrorKind::Unsupported | TargetErrorKind::NotDone(ErrorClass::Permanent | ErrorClass::Forbidden)
    )
}

/// Returns whether nothing was done because calls are rate limited.
fn is_throttled(error: &TargetError) -> bool {
    error.kind == TargetErrorKind::NotDone(ErrorClass::Throttled)
}

/// Returns the outcome of an operation that the target did.
fn done(applied: &Applied) -> ChangeOutcome {
    match applied {
        Applied::DoneWith(also) => ChangeOutcome::DoneWith { also: also.clone() },
        _ => ChangeOutcome::Done,
    }
}

/// Returns the outcome of an operation that the target refused.
fn refusal(error: &TargetError) -> ChangeOutcome {
    ChangeOutcome::Refused { why: error.text.clone(), permanent: error.is_permanent() }
}

/// Returns the state before an operation, for its change record.
fn before(operation: &Operation, account: Option<&Account>) -> Value {
    let Some(account) = account else { return Value::Null };
    match operation {
        Operation::UpdateUser { fields, .. } => {
            let mut before = json!({ "display_name": account.display_name, "email": account.email });
            for name in fields.attributes.keys() {
                before[name] = json!(account.attributes.get(name));
            }
            before
        }
        Operation::RenameUser { .. } => json!({ "name": account.name }),
        Operation::ActivateUser { .. } | Operation::DeactivateUser { .. } if account.access.is_empty() => {
            json!({ "active": account.active })
        }
        Operation::ActivateUser { .. } | Operation::DeactivateUser { .. } => {
            json!({ "active": account.active, "access": account.access })
        }
        Operation::DeleteUser { .. } => {
            json!({ "name": account.name, "display_name": account.display_name, "email": account.email, "active": account.active })
        }
        // Its personal data is removed, so it is not recorded.
        Operation::AnonymizeUser { .. } => json!({ "active": account.active }),
        Operation::AddMember { .. } => json!({ "member": false }),
        Operation::RemoveMember { .. } => json!({ "member": true }),
        Operation::CreateUser { .. }
        | Operation::CreateGroup { .. }
        | Operation::RenameGroup { .. }
        | Operation::DeleteGroup { .. } => Value::Null,
    }
}
