//! Many joins of one group by few calls, as a database commits by groups: the first goes at once; those that come while
//! it is under way wait, and go together by the next call. Whoever's turn it is sends, for the others as for itself.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use jiff::Timestamp;
use tokio::{
    sync::{
        Mutex as AsyncMutex,
        oneshot::{self, error::TryRecvError},
    },
    time::sleep,
};

use crate::{
    model::{IdMap, TargetGroupId},
    target::{
        Applied, TargetError,
        http::{NoAnswer, left},
    },
};

/// One account's join of a group, and how it is sent.
pub trait BatchCall: Sync {
    /// What a call for several says of each.
    type Member: Send + Sync;

    /// What such a call says of this one.
    fn member(&self) -> Self::Member;

    /// Whether what was checked of somebody before he waited still holds; else he goes by himself.
    fn still_holds(&self, _: &Self::Member) -> bool {
        true
    }

    /// Sends this one by itself.
    fn alone(&self) -> impl Future<Output = Result<Applied, TargetError>> + Send;

    /// Sends several by one call. With an error, it is the same for each of them.
    fn add_batch(
        &self,
        members: &[Self::Member],
        deadline: Timestamp,
    ) -> impl Future<Output = Result<BatchOutcome, TargetError>> + Send;
}

/// What came of a call for several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// All of them are members.
    Done,
    /// Nothing was done, and one of them may be why: each goes by itself, and gets its own words.
    Singly,
}

/// The joins of a target's groups. At one group one call is under way at a time, but for those that go by themselves
/// after a refusal.
pub struct MemberBatches<M> {
    /// So many go by one call, at most.
    most: usize,
    /// A line belongs to those who stand in it.
    lines: Mutex<IdMap<TargetGroupId, Weak<Line<M>>>>,
}

impl<M: Send + Sync> MemberBatches<M> {
    /// Joins of which so many go by one call, at most.
    pub fn new(most: usize) -> Self {
        Self { most, lines: Mutex::default() }
    }

    /// Sends a join, by itself or together with others of its group; `what` is it in words. Whoever stops waiting is not
    /// sent; if the one who sends for others stops, they are unanswered.
    pub async fn send<J: BatchCall<Member = M>>(
        &self,
        group: &TargetGroupId,
        what: &str,
        join: &J,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let line = self.line(group);
        let (number, mut told) = line.enter(join.member(), deadline);
        let turn = tokio::select! {
            biased;
            told = &mut told => return end(join, what, told.ok()).await,
            turn = line.turn.lock() => turn,
            () = sleep(left(deadline)) => {
                if line.leave(number) {
                    return Err(NoAnswer::late().into_error(what, true));
                }
                // It is being sent, and that ends by the deadline.
                return end(join, what, told.await.ok()).await;
            }
        };
        loop {
            line.send_off(|member| join.still_holds(member));
            // It may have been sent off just now, or been sent by somebody whose turn came before.
            let told = match told.try_recv() {
                Ok(told) => Some(told),
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
            return end(join, what, told).await;
        }
    }

    /// The line at a group, a new one where nobody waits.
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

/// Sends what goes next, and tells each how it ended. If this stops in the middle, they notice.
async fn send_all<J: BatchCall>(join: &J, next: Vec<Waiting<J::Member>>) {
    let Some(deadline) = next.iter().map(|one| one.deadline).min() else { return };
    let (members, tells): (Vec<_>, Vec<_>) = next.into_iter().map(|one| (one.member, one.tell)).unzip();
    let came = if members.len() > 1 { join.add_batch(&members, deadline).await } else { Ok(BatchOutcome::Singly) };
    for tell in tells {
        // Who does not wait any more needs no answer.
        let _ = tell.send(came.clone());
    }
}

/// What a join comes to that others sent, or did not; `None`: who sent it stopped in the middle.
async fn end<J: BatchCall>(
    join: &J,
    what: &str,
    told: Option<Result<BatchOutcome, TargetError>>,
) -> Result<Applied, TargetError> {
    match told {
        Some(Ok(BatchOutcome::Done)) => Ok(Applied::Done),
        Some(Ok(BatchOutcome::Singly)) => join.alone().await,
        Some(Err(error)) => Err(error),
        None => {
            let text = "the call that it went by was broken off before its answer came.";
            Err(NoAnswer::Lost(text.to_owned()).into_error(what, true))
        }
    }
}

/// Those who want to join one group.
struct Line<M> {
    /// Held by the one who sends.
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
        let (tell, told) = oneshot::channel();
        let mut queue = locked(&self.queue);
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push(Waiting { number, member, deadline, tell });
        (number, told)
    }

    /// Steps out; `false`: too late, it is being sent or was.
    fn leave(&self, number: u64) -> bool {
        let waiting = &mut locked(&self.queue).waiting;
        let before = waiting.len();
        waiting.retain(|one| one.number != number);
        waiting.len() < before
    }

    /// Lets those go by themselves who must not go together: what was checked of them is old; or they have less than half
    /// as long as somebody else, whose call would end by their deadline.
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

    /// Who goes next, in the order of arrival.
    fn next(&self, most: usize) -> Vec<Waiting<M>> {
        let waiting = &mut locked(&self.queue).waiting;
        let next = waiting.len().min(most);
        waiting.drain(..next).collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
