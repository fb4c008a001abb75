//! Claims, which end with the process at the latest, and the two sequences that never issue a number twice.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

use super::numbers::PairNo;
use crate::model::{AccountId, Cause, ObservationSeq, Pair, Priority, Subject, Token};

/// Number of low bits of an observation number or token that count within one opening of the store; the higher bits
/// count the openings.
const WITHIN: u32 = 40;

/// A current claim.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub token: Token,
    pub pair: Pair,
    pub no: PairNo,
    pub subject: Subject,
    /// The claimed generation; 0: no task was claimed.
    pub generation: i64,
    pub cause: Cause,
    pub caused_at: Timestamp,
    pub accounts: Vec<AccountId>,
    /// The newest observation number when the claim was taken.
    pub began: ObservationSeq,
    /// When the claim was taken.
    pub since: Timestamp,
    /// See [`crate::store::Store::event_waits`].
    pub event: Arc<watch::Sender<Option<Priority>>>,
}

/// How to undo one change of the claims.
pub(super) enum Undo {
    End(Token),
    Restore(Box<Claim>),
    Drop(Token, AccountId),
}

#[derive(Default)]
struct Claims {
    by_token: HashMap<Token, Claim>,
    subjects: HashMap<(i64, Subject), Token>,
    accounts: HashMap<(i64, AccountId), Token>,
    /// For each target, the newest observation number when the last claim on it had durably ended.
    ended: HashMap<i64, ObservationSeq>,
    /// Tokens of abandoned claims, each with the time of abandonment. The writer ends these claims.
    abandoned: Vec<(Token, Timestamp)>,
    /// Subjects of claims that ended without a written ending. Their tasks are still to be raised.
    unraised: Vec<Unraised>,
}

/// A subject whose task has to be raised as soon as the store can be written.
#[derive(Clone, Debug)]
pub(super) struct Unraised {
    pub no: PairNo,
    pub subject: Subject,
    pub cause: Cause,
    pub at: Timestamp,
}

/// State that the writer shares with callers that only check whether a claim is held.
pub(super) struct Memory {
    claims: Mutex<Claims>,
    /// Whether this process may take claims.
    engine: bool,
    observations: AtomicI64,
    tokens: AtomicI64,
    outside_changes: AtomicU64,
    /// Notified when a claim is abandoned.
    abandoned: Notify,
}

impl Memory {
    /// Creates the state for the store's `opened`-th opening; 0: beside a server.
    pub(super) fn new(opened: i64) -> Self {
        let first = opened << WITHIN;
        Self {
            claims: Mutex::default(),
            engine: opened > 0,
            observations: AtomicI64::new(first),
            tokens: AtomicI64::new(first),
            outside_changes: AtomicU64::new(0),
            abandoned: Notify::new(),
        }
    }

    /// Returns whether it belongs to the engine, not to a command beside a server.
    pub(super) fn is_engine(&self) -> bool {
        self.engine
    }

    // A poisoned lock is safe to use: each change is a few map operations and leaves nothing half done.
    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock()
    }

    pub(super) fn next_observation(&self) -> ObservationSeq {
        ObservationSeq(self.observations.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// See [`crate::store::Store::outside_changes`].
    pub(super) fn outside_changes(&self) -> u64 {
        self.outside_changes.load(Ordering::SeqCst)
    }

    pub(super) fn note_outside_change(&self) {
        self.outside_changes.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn newest_observation(&self) -> ObservationSeq {
        ObservationSeq(self.observations.load(Ordering::SeqCst))
    }

    pub(super) fn next_token(&self) -> Token {
        Token(self.tokens.fetch_add(1, Ordering::SeqCst) + 1)
    }

    pub(super) fn find(&self, token: Token) -> Option<Claim> {
        self.claims().by_token.get(&token).cloned()
    }

    pub(super) fn is_claimed(&self, token: Token) -> bool {
        self.claims().by_token.contains_key(&token)
    }

    /// Returns the token of the claim that holds the subject.
    pub(super) fn holds_subject(&self, no: PairNo, subject: &Subject) -> Option<Token> {
        self.claims().subjects.get(&(no.pair, subject.clone())).copied()
    }

    /// Returns the token of the claim that holds the account.
    pub(super) fn holds_account(&self, target: i64, account: &AccountId) -> Option<Token> {
        self.claims().accounts.get(&(target, account.clone())).copied()
    }

    /// Records that a claim on the target has ended and that its writes can be read.
    pub(super) fn note_ended(&self, target: i64) {
        let newest = ObservationSeq(self.observations.load(Ordering::SeqCst));
        self.claims().ended.insert(target, newest);
    }

    /// Returns whether no claim on the target has been held since this observation.
    pub(super) fn unclaimed_since(&self, target: i64, observation: ObservationSeq) -> bool {
        let claims = self.claims();
        claims.ended.get(&target).is_none_or(|ended| *ended < observation)
            && claims.by_token.values().all(|claim| claim.no.target != target)
    }

    /// Returns all claimed subjects, each with its pair. `None` beside a server, because its claims are not visible
    /// here.
    pub(super) fn claimed(&self) -> Option<HashSet<(i64, String)>> {
        let claims = self.claims();
        self.engine.then(|| claims.subjects.keys().map(|(pair, subject)| (*pair, subject.to_string())).collect())
    }

    /// See [`crate::store::Store::event_waits`].
    pub(super) fn event_waits(&self, token: Token) -> watch::Receiver<Option<Priority>> {
        match self.claims().by_token.get(&token) {
            Some(claim) => claim.event.subscribe(),
            None => watch::channel(None).1,
        }
    }

    /// Signals to the claim of a subject that a task of this priority is raised. If the transaction fails, the claim
    /// checks without a result.
    pub(super) fn note_event(&self, pair: i64, subject: &Subject, priority: Priority) {
        if priority > Priority::Event {
            return;
        }
        let claims = self.claims();
        let token = claims.subjects.get(&(pair, subject.clone()));
        if let Some(claim) = token.and_then(|token| claims.by_token.get(token)) {
            claim.event.send_if_modified(|waits| {
                let more = waits.is_none_or(|known| priority < known);
                *waits = if more { Some(priority) } else { *waits };
                more
            });
        }
    }

    /// Returns subjects that are claimed without a task, each with its pair.
    pub(super) fn claimed_by_runs(&self) -> Vec<(i64, String)> {
        let claims = self.claims();
        let runs = claims.by_token.values().filter(|claim| claim.generation == 0);
        runs.map(|claim| (claim.no.pair, claim.subject.to_string())).collect()
    }

    /// Returns the claimed subjects of a pair.
    pub(super) fn busy(&self, pair: i64) -> Vec<Subject> {
        self.claims()
            .by_token
            .values()
            .filter(|claim| claim.no.pair == pair)
            .map(|claim| claim.subject.clone())
            .collect()
    }

    /// Returns subjects of a pair that were claimed before this time; at most a hundred.
    pub(super) fn claimed_before(&self, pair: i64, before: Timestamp) -> Vec<Subject> {
        let claims = self.claims();
        let old = claims.by_token.values().filter(|claim| claim.no.pair == pair && claim.since < before);
        old.map(|claim| claim.subject.clone()).take(100).collect()
    }

    pub(super) fn take(&self, claim: Claim) -> Undo {
        let mut claims = self.claims();
        let token = claim.token;
        claims.insert(claim);
        Undo::End(token)
    }

    pub(super) fn add_account(&self, token: Token, account: &AccountId) -> Option<Undo> {
        let mut claims = self.claims();
        let claim = claims.by_token.get_mut(&token)?;
        if claim.accounts.contains(account) {
            return None;
        }
        claim.accounts.push(account.clone());
        let target = claim.no.target;
        claims.accounts.insert((target, account.clone()), token);
        Some(Undo::Drop(token, account.clone()))
    }

    pub(super) fn end(&self, token: Token) -> Option<Undo> {
        self.claims().remove(token).map(|claim| Undo::Restore(Box::new(claim)))
    }

    /// See [`crate::store::Store::abandon`]. Only recorded here, because the refused ending may still be under way.
    pub(super) fn abandon(&self, token: Token, now: Timestamp) {
        self.claims().abandoned.push((token, now));
        self.abandoned.notify_one();
    }

    /// Waits until a claim is abandoned.
    pub(super) async fn claim_abandoned(&self) {
        self.abandoned.notified().await;
    }

    /// Ends abandoned claims; returns all subjects with a task that still has to be raised.
    pub(super) fn end_abandoned(&self) -> Vec<Unraised> {
        let newest = ObservationSeq(self.observations.load(Ordering::SeqCst));
        let mut claims = self.claims();
        for (token, at) in std::mem::take(&mut claims.abandoned) {
            let Some(claim) = claims.remove(token) else { continue };
            claims.ended.insert(claim.no.target, newest);
            claims.unraised.push(Unraised { no: claim.no, subject: claim.subject, cause: claim.cause, at });
        }
        claims.unraised.clone()
    }

    /// Removes the first `count` subjects, because their tasks are durably raised.
    pub(super) fn note_raised(&self, count: usize) {
        self.claims().unraised.drain(..count);
    }

    pub(super) fn end_all(&self) {
        let newest = ObservationSeq(self.observations.load(Ordering::SeqCst));
        let mut claims = self.claims();
        claims.abandoned.clear();
        claims.unraised.clear();
        let held: Vec<i64> = claims.by_token.values().map(|claim| claim.no.target).collect();
        let ended =
            std::mem::take(&mut claims.ended).into_iter().chain(held.into_iter().map(|target| (target, newest)));
        *claims = Claims { ended: ended.collect(), ..Claims::default() };
    }

    pub(super) fn undo(&self, undo: Undo) {
        let mut claims = self.claims();
        match undo {
            Undo::End(token) => drop(claims.remove(token)),
            Undo::Restore(claim) => claims.insert(*claim),
            Undo::Drop(token, account) => {
                if let Some(claim) = claims.by_token.get_mut(&token) {
                    claim.accounts.retain(|held| *held != account);
                    let target = claim.no.target;
                    claims.accounts.remove(&(target, account));
                }
            }
        }
    }
}

impl Claims {
    fn insert(&mut self, claim: Claim) {
        self.subjects.insert((claim.no.pair, claim.subject.clone()), claim.token);
        for account in &claim.accounts {
            self.accounts.insert((claim.no.target, account.clone()), claim.token);
        }
        self.by_token.insert(claim.token, claim);
    }

    fn remove(&mut self, token: Token) -> Option<Claim> {
        let claim = self.by_token.remove(&token)?;
        self.subjects.remove(&(claim.no.pair, claim.subject.clone()));
        for account in &claim.accounts {
            self.accounts.remove(&(claim.no.target, account.clone()));
        }
        Some(claim)
    }
}
