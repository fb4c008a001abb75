//! Sends the additions of one account to groups together: in one call where the target supports that, and in a wave with
//! those of other users.

use futures::FutureExt;
use jiff::Timestamp;

use super::{Sent, StoredIntents, concerns_it_alone, is_throttled, refusal};
use crate::{
    engine::{
        additions::{Addition, AdditionResult, Part},
        case::{Case, Failed},
        error::WorkError,
    },
    gate::for_operation,
    model::{Account, ChangeOutcome, ErrorClass, Operation, TargetGroupId},
    store::{IntentOutcome, StoreError},
    targets::{Applied, TargetError, TargetErrorKind},
};

/// Maximum number of additions in one call to a target.
const ADDS_AT_ONCE: usize = 100;
/// Number of additions stored together where each is sent separately. With a slow target a larger number would be
/// stored repeatedly, and after a crash each of them has to be recovered.
const ADDS_ALONE: usize = 8;
/// Number of times that one task stores new intents for additions that the server rate limits.
const LIMITED_ROUNDS: u32 = 12;

impl Case<'_> {
    /// Stores the intents of the account's additions together and sends them: in one call where the target supports
    /// that, else one after another. Adds completed ones to `account`.
    pub async fn send_additions(
        &mut self,
        adds: &[Operation],
        mut account: Option<&mut Account>,
    ) -> Result<Sent, WorkError> {
        let mut wanted = Vec::with_capacity(adds.len());
        for add in adds {
            if self.not_now(add, false).is_none() {
                wanted.push(add);
            }
        }
        if let Some(part) = self.rules.part.as_ref().filter(|_| !wanted.is_empty()) {
            return self.send_collected(part, &wanted, account).await;
        }
        let most = match self.info.capabilities.groups_at_once {
            0 | 1 => ADDS_ALONE,
            more => more.min(ADDS_AT_ONCE),
        };
        let mut done = false;
        let mut left = wanted.as_slice();
        while !left.is_empty() {
            let adds = &left[..left.len().min(most)];
            let (kind, soon) = (adds[0].verb(), self.soon());
            let sent = self.write_down_and_add(adds, account.as_deref_mut());
            let (sent, ended) = for_operation(kind, soon, sent).await?;
            match sent {
                Sent::Done(_) => done = true,
                Sent::ReadAgain => return Ok(sent),
                Sent::Held | Sent::Unsupported | Sent::Refused => {}
            }
            left = &left[ended..];
        }
        Ok(if done { Sent::Done(Applied::Done) } else { Sent::Held })
    }

    /// Stores the intents of additions once the server accepts their calls, and sends them; see
    /// [`send_written`](Self::send_written).
    async fn write_down_and_add(
        &mut self,
        adds: &[&Operation],
        account: Option<&mut Account>,
    ) -> Result<(Sent, usize), WorkError> {
        self.until_open().await?;
        let Some(written) = self.write_down(adds, account.as_deref(), None, None).await? else {
            return Err(WorkError::Unsteady(self.claim.subject.to_string()));
        };
        self.send_written(adds, &written, account).await
    }

    /// Stores the intents of additions and queues them to be sent with those of other users.
    async fn send_collected(
        &mut self,
        part: &Part,
        adds: &[&Operation],
        mut account: Option<&mut Account>,
    ) -> Result<Sent, WorkError> {
        let mut events = self.engine.store.event_waits(self.claim.token);
        if !part.reach_additions(&mut events).await {
            return Err(self.leave(part));
        }
        let (mut done, mut read_again, mut limited, mut must_leave) = (false, false, 0, false);
        let mut left = adds.to_vec();
        while !left.is_empty() {
            if must_leave {
                return Err(self.leave(part));
            }
            let now: Vec<&Operation> = left.drain(..left.len().min(ADDS_AT_ONCE)).collect();
            let (kind, soon) = (now[0].verb(), self.soon());
            let turn = tokio::select! {
                biased;
                () = part.must_leave(&mut events) => None,
                () = part.stopped() => None,
                turn = part.turn_to_write() => turn,
            };
            let Some(turn) = turn else { return Err(self.leave(part)) };
            for_operation(kind, soon, self.until_accepted()).await?;
            let Some(written) = self.write_down(&now, account.as_deref(), None, None).await? else {
                return Err(WorkError::Unsteady(self.claim.subject.to_string()));
            };
            drop(turn);
            let additions: Vec<Addition<'_>> = now.iter().filter_map(|add| addition(add)).collect();
            let wait = written.late.duration_since(self.engine.clock.now());
            let late = async {
                tokio::select! {
                    biased;
                    () = part.must_leave(&mut events) => must_leave = true,
                    () = self.engine.clock.sleep(wait) => {}
                }
            };
            let reported = part.add(&additions, self.claim.token, late, written.deadline).await;
            let (mut alone, mut failed, mut throttled) = (Vec::new(), Vec::new(), false);
            for (number, reported) in reported.into_iter().enumerate() {
                match reported {
                    AdditionResult::Done => {
                        done = true;
                        self.took_effect(now[number], written.intents[number], ChangeOutcome::Done);
                        if let Some(account) = account.as_deref_mut() {
                            account.apply(now[number]);
                        }
                    }
                    AdditionResult::NotSent => {
                        self.step.unsent.push(written.intents[number]);
                        left.push(now[number]);
                    }
                    AdditionResult::Alone => alone.push(number),
                    // Nothing was done, and the server accepts calls again later.
                    AdditionResult::Failed(error)
                        if error.class() == ErrorClass::Throttled && limited < LIMITED_ROUNDS =>
                    {
                        throttled = true;
                        self.step.unsent.push(written.intents[number]);
                        left.push(now[number]);
                    }
                    AdditionResult::Failed(error) => failed.push((number, error)),
                    AdditionResult::Ended => return Err(StoreError::ClaimEnded.into()),
                }
            }
            limited += u32::from(throttled);
            read_again |= self.note_failed(&now, &written, failed).await?;
            for (nth, number) in alone.iter().copied().enumerate() {
                let answer = self.apply(now[number], written.deadline).await?;
                if answer.as_ref().is_err_and(|error| !concerns_it_alone(error)) {
                    self.step.unsent.extend(alone[nth + 1..].iter().map(|number| written.intents[*number]));
                }
                match self.note(now[number], &written, number, answer).await? {
                    Sent::Done(_) => {
                        done = true;
                        if let Some(account) = account.as_deref_mut() {
                            account.apply(now[number]);
                        }
                    }
                    Sent::ReadAgain => return Ok(Sent::ReadAgain),
                    Sent::Held | Sent::Unsupported | Sent::Refused => {}
                }
            }
        }
        // What is done is recorded before the claim is released.
        if part.must_leave(&mut events).now_or_never().is_some() {
            return Err(self.leave(part));
        }
        Ok(match (read_again, done) {
            (true, _) => Sent::ReadAgain,
            (false, true) => Sent::Done(Applied::Done),
            (false, false) => Sent::Unsupported,
        })
    }

    /// Records failed additions. Returns whether the state has to be read again. An error that ends the work does so
    /// after all are recorded.
    async fn note_failed(
        &mut self,
        adds: &[&Operation],
        written: &StoredIntents,
        failed: Vec<(usize, TargetError)>,
    ) -> Result<bool, WorkError> {
        let (mut read_again, mut ends) = (false, None);
        for (number, error) in failed {
            match error.kind {
                TargetErrorKind::Unanswered => {
                    ends = Some(WorkError::Unanswered { error, until: written.arrives_until });
                }
                TargetErrorKind::NotDone(ErrorClass::Permanent | ErrorClass::Forbidden)
                | TargetErrorKind::NameTaken
                | TargetErrorKind::NotFound
                | TargetErrorKind::Unsupported => {
                    let sent = self.note(adds[number], written, number, Err(error)).await?;
                    read_again |= matches!(sent, Sent::ReadAgain);
                }
                TargetErrorKind::NotDone(_) => {
                    self.step
                        .resolved
                        .push(IntentOutcome { intent: written.intents[number], outcome: refusal(&error) });
                    ends.get_or_insert(WorkError::Target(error));
                }
            }
        }
        match ends {
            None => Ok(read_again),
            Some(error) => {
                self.flush().await?;
                self.failed = Failed::SharedCall;
                Err(error)
            }
        }
    }

    /// Sends additions that are stored as intents. Returns how many, from the first, have ended; the rest get new
    /// intents.
    async fn send_written(
        &mut self,
        adds: &[&Operation],
        written: &StoredIntents,
        mut account: Option<&mut Account>,
    ) -> Result<(Sent, usize), WorkError> {
        let batch = adds.len() > 1 && self.info.capabilities.groups_at_once > 1;
        let alone = if batch {
            self.send_batch(adds, written, account.as_deref_mut()).await?
        } else {
            (0..adds.len()).collect()
        };
        let mut done = alone.len() < adds.len();
        for (nth, number) in alone.iter().copied().enumerate() {
            let rest = || alone[nth..].iter().map(|number| written.intents[*number]);
            if (nth > 0 || batch) && self.engine.clock.now() > written.late {
                self.step.unsent.extend(rest());
                let sent = match (batch, done) {
                    (true, _) => Sent::ReadAgain,
                    (false, true) => Sent::Done(Applied::Done),
                    (false, false) => Sent::Unsupported,
                };
                return Ok((sent, number));
            }
            let answer = self.apply(adds[number], written.deadline).await?;
            if answer.as_ref().is_err_and(|error| !concerns_it_alone(error)) {
                self.step.unsent.extend(rest().skip(1));
            }
            match self.note(adds[number], written, number, answer).await? {
                Sent::Done(_) => {
                    done = true;
                    if let Some(account) = account.as_deref_mut() {
                        account.apply(adds[number]);
                    }
                }
                Sent::ReadAgain => return Ok((Sent::ReadAgain, adds.len())),
                Sent::Held | Sent::Unsupported | Sent::Refused => {}
            }
        }
        Ok((if done { Sent::Done(Applied::Done) } else { Sent::Unsupported }, adds.len()))
    }

    /// Sends additions in one call. Returns the indexes of those that have to be sent separately.
    async fn send_batch(
        &mut self,
        adds: &[&Operation],
        written: &StoredIntents,
        mut account: Option<&mut Account>,
    ) -> Result<Vec<usize>, WorkError> {
        let refused = match self.add_to_groups(adds, written.deadline).await? {
            Ok(refused) => refused,
            Err(error) if error.kind == TargetErrorKind::Unanswered => {
                return Err(WorkError::Unanswered { error, until: written.arrives_until });
            }
            // Nothing was done because of one of them. Sent separately, each gets its own answer.
            Err(error) if is_about_one(error.kind) => return Ok((0..adds.len()).collect()),
            Err(error) if is_throttled(&error) => {
                self.step.unsent.extend(&written.intents);
                self.flush().await?;
                return Err(error.into());
            }
            Err(error) => {
                let refused = refusal(&error);
                let resolved = written.intents.iter().map(|id| IntentOutcome { intent: *id, outcome: refused.clone() });
                self.step.resolved.extend(resolved);
                self.flush().await?;
                return Err(error.into());
            }
        };
        let mut alone = Vec::new();
        for (number, add) in adds.iter().enumerate() {
            if matches!(add, Operation::AddMember { group, .. } if refused.contains(group)) {
                alone.push(number);
                continue;
            }
            self.took_effect(add, written.intents[number], ChangeOutcome::Done);
            if let Some(account) = account.as_deref_mut() {
                account.apply(add);
            }
        }
        Ok(alone)
    }

    async fn add_to_groups(
        &self,
        adds: &[&Operation],
        deadline: Timestamp,
    ) -> Result<Result<Vec<TargetGroupId>, TargetError>, WorkError> {
        let mut groups = Vec::with_capacity(adds.len());
        let mut who = None;
        for add in adds {
            if let Operation::AddMember { group, group_name, account, name } = add {
                groups.push((group, group_name.as_str()));
                who = Some((account, name));
            }
        }
        let Some((account, name)) = who else { return Ok(Ok(Vec::new())) };
        self.check_claim().await?;
        let call = self.port.target.add_to_groups(account, name, &groups, deadline);
        let answer = for_operation(adds[0].verb(), self.soon(), call).await;
        self.count_written(answer.is_ok());
        Ok(answer)
    }
}

/// Returns the account and group of an addition.
fn addition(add: &Operation) -> Option<Addition<'_>> {
    match add {
        Operation::AddMember { group, group_name, account, .. } => Some(Addition { group, group_name, account }),
        _ => None,
    }
}

/// Returns whether a refusal may concern only one of several additions.
fn is_about_one(kind: TargetErrorKind) -> bool {
    matches!(
        kind,
        TargetErrorKind::NameTaken
            | TargetErrorKind::NotFound
            | TargetErrorKind::Unsupported
            | TargetErrorKind::NotDone(ErrorClass::Permanent)
    )
}
