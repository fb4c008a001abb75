//! Batched additions of members to a group, similar to group commit in databases. The first addition is sent at once.
//! Those that arrive during its call wait and are sent together in the next call. The holder of the group's turn sends
//! the batch for all.

use std::{
    future::Future,
    sync::{Arc, Weak},
};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{
        Mutex as AsyncMutex,
        oneshot::{self, error::TryRecvError},
    },
    time::sleep,
};

use crate::{
    model::{IdMap, TargetGroupId},
    targets::{
        Applied, TargetError,
        http::{NoAnswer, left},
    },
};

/// The addition of one account to a group, and how it is sent.
pub trait BatchCall: Sync {
    /// The data of one member in a batch call.
    type Member: Send + Sync;

    /// Returns the data of this member for a batch call.
    fn member(&self) -> Self::Member;

    /// Whether the checks made before a member waited still hold; otherwise it is sent alone.
    fn still_holds(&self, _: &Self::Member) -> bool {
        true
    }

    /// Sends this addition alone.
    fn alone(&self) -> impl Future<Output = Result<Applied, TargetError>> + Send;

    /// Sends several additions in one call. An error applies to each of them.
    fn add_batch(
        &self,
        members: &[Self::Member],
        deadline: Timestamp,
    ) -> impl Future<Output = Result<BatchOutcome, TargetError>> + Send;
}

/// Result of a batch call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// All of them are members.
    Done,
    /// Nothing was done, possibly because of one member. Each is sent alone and gets its own error.
    Singly,
}

/// Waiting additions of members to the groups of a target. Each group has one call in progress at a time, except for
/// additions that are sent alone after a refusal.
pub struct MemberBatches<M> {
    /// Maximum number of members in one call.
    most: usize,
    /// The queue of each group; only the waiting additions keep it alive.
    lines: Mutex<IdMap<TargetGroupId, Weak<Line<M>>>>,
}

impl<M: Send + Sync> MemberBatches<M> {
    /// Creates a batcher with a maximum number of members in one call.
    pub fn new(most: usize) -> Self {
        Self { most, lines: Mutex::default() }
    }

    /// Sends an addition, alone or in a batch with others of its group; `what` describes it. An addition that is
    /// dropped while it waits is not sent. If the sender of a batch is dropped, the other additions end unanswered.
    pub async fn send<J: BatchCall<Member = M>>(
        &self,
        group: &TargetGroupId,
        what: &str,
        join: &J,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let line = self.line(group);
        let (number, mut reported) = line.enter(join.member(), deadline);
        let turn = tokio::select! {
            biased;
            reported = &mut reported => return end(join, what, reported.ok()).await,
            turn = line.turn.lock() => turn,
            () = sleep(left(deadline)) => {
                if line.leave(number) {
                    return Err(NoAnswer::late().into_error(what, true));
                }
                // It is being sent, and the call ends by the deadline.
                return end(join, what, reported.await.ok()).await;
            }
        };
        loop {
            line.send_off(|member| join.still_holds(member));
            // `send_off` may have released it, or an earlier holder of the turn may have sent it.
            let reported = match reported.try_recv() {
                Ok(reported) => Some(reported),
                Err(TryRecvError::Closed) => None,
                Err(TryRecvError::Empty) => {
                    let next = line.next(self.most);
                    if let [only] = next.as_slice()
                        && only.number == number
                    {
                        return join.alone().await;
                    }
                    send_all(join, next).await;
                    continue;
                }
            };
            drop(turn);
            return end(join, what, reported).await;
        }
    }

    /// Returns the queue of a group; creates one if none waits.
    fn line(&self, group: &TargetGroupId) -> Arc<Line<M>> {
        let mut lines = locked(&self.lines);
        if let Some(line) = lines.get(group).and_then(Weak::upgrade) {
            return line;
        }
        lines.retain(|_, line| line.strong_count() > 0);
        let line = Arc::new(Line::default());
        lines.insert(group.clone(), Arc::downgrade(&line));
        line
    }
}

/// Sends a batch and reports the result to each addition. If this is dropped, they receive a closed channel.
async fn send_all<J: BatchCall>(join: &J, next: Vec<Waiting<J::Member>>) {
    let Some(deadline) = next.iter().map(|one| one.deadline).min() else { return };
    let (members, tells): (Vec<_>, Vec<_>) = next.into_iter().map(|one| (one.member, one.tell)).unzip();
    let came = if members.len() > 1 { join.add_batch(&members, deadline).await } else { Ok(BatchOutcome::Singly) };
    for tell in tells {
        // An addition that no longer waits needs no result.
        let _ = tell.send(came.clone());
    }
}

/// Returns the result of an addition that was part of a batch; `None`: the sender was dropped.
async fn end<J: BatchCall>(
    join: &J,
    what: &str,
    reported: Option<Result<BatchOutcome, TargetError>>,
) -> Result<Applied, TargetError> {
    match reported {
        Some(Ok(BatchOutcome::Done)) => Ok(Applied::Done),
        Some(Ok(BatchOutcome::Singly)) => join.alone().await,
        Some(Err(error)) => Err(error),
        None => {
            let text = "the batch call was cancelled before its answer arrived.";
            Err(NoAnswer::Lost(text.to_owned()).into_error(what, true))
        }
    }
}

/// The queue of additions to one group.
struct Line<M> {
    /// Held by the sender of a batch.
    turn: AsyncMutex<()>,
    queue: Mutex<Queue<M>>,
}

struct Queue<M> {
    next: u64,
    waiting: Vec<Waiting<M>>,
}

struct Waiting<M> {
    number: u64,
    member: M,
    deadline: Timestamp,
    tell: oneshot::Sender<Result<BatchOutcome, TargetError>>,
}

impl<M> Default for Line<M> {
    fn default() -> Self {
        Self { turn: AsyncMutex::default(), queue: Mutex::new(Queue { next: 0, waiting: Vec::new() }) }
    }
}

impl<M> Line<M> {
    fn enter(&self, member: M, deadline: Timestamp) -> (u64, oneshot::Receiver<Result<BatchOutcome, TargetError>>) {
        let (tell, reported) = oneshot::channel();
        let mut queue = locked(&self.queue);
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push(Waiting { number, member, deadline, tell });
        (number, reported)
    }

    /// Leaves the queue; `false`: it is too late, because the addition is being sent or was sent.
    fn leave(&self, number: u64) -> bool {
        let waiting = &mut locked(&self.queue).waiting;
        let before = waiting.len();
        waiting.retain(|one| one.number != number);
        waiting.len() < before
    }

    /// Releases additions that must be sent alone. Either their checks no longer hold, or their remaining time is less
    /// than half of the longest one. The batch would end by their deadline.
    fn send_off(&self, still_holds: impl Fn(&M) -> bool) {
        let waiting = &mut locked(&self.queue).waiting;
        waiting.retain(|one| !one.tell.is_closed());
        let longest = waiting.iter().map(|one| left(one.deadline)).max().unwrap_or_default();
        let stays = |one: &Waiting<M>| left(one.deadline) * 2 >= longest && still_holds(&one.member);
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(waiting).into_iter().partition(stays);
        *waiting = stay;
        for one in go {
            let _ = one.tell.send(Ok(BatchOutcome::Singly));
        }
    }

    /// Takes the next batch, in order of arrival.
    fn next(&self, most: usize) -> Vec<Waiting<M>> {
        let waiting = &mut locked(&self.queue).waiting;
        let next = waiting.len().min(most);
        waiting.drain(..next).collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(test)]
mod tests;
