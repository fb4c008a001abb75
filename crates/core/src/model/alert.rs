//! Alerts: when a change of a pair's state is announced to an operator, once.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Pair;

/// How long after its time a digest is still sent.
const LATE_DIGEST: SignedDuration = SignedDuration::from_hours(24);
/// Time in which the changes of one problem are counted; also the longest time that a change has to last.
const FLAPPING: SignedDuration = SignedDuration::from_hours(1);

/// The kind of problem that an alert announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// Nothing is written, until an operator confirms what was found.
    Stopped,
    /// A side does not answer or refuses usersync, or tasks wait for another attempt.
    Degraded,
    /// Operations wait for approval.
    Approval,
    /// Tasks failed for good.
    FailedTasks,
    /// Anything else that keeps the pair out of sync until an operator acts.
    OutOfSync,
}

impl AlertKind {
    /// All kinds, the most severe first.
    pub const ALL: [Self; 5] = [Self::Stopped, Self::Degraded, Self::Approval, Self::FailedTasks, Self::OutOfSync];
}

/// One problem of a pair: its kind, and what distinguishes it from others of that kind, such as the condition or the
/// number of the approval.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProblemKey {
    /// The kind.
    pub kind: AlertKind,
    /// What distinguishes it from others of that kind; stable while it lasts.
    pub about: String,
}

/// The state of a pair, as `usersync status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairReport {
    /// The pair.
    pub pair: Pair,
    /// The state in one word.
    pub state: String,
    /// The main sentence.
    pub sentence: String,
    /// The problems of the pair, each with its sentence.
    pub problems: BTreeMap<ProblemKey, String>,
}

/// A problem in an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertProblem {
    /// The kind.
    pub problem: AlertKind,
    /// When it was noticed.
    pub since: Timestamp,
    /// The problem in a sentence.
    pub sentence: String,
}

/// One announcement, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// Unique id; the same in every attempt.
    pub id: String,
    /// When the change was noticed.
    pub at: Timestamp,
    /// The pair; `None`: a test.
    #[serde(flatten)]
    pub pair: Option<Pair>,
    /// The state of the pair in one word, as in `usersync status`.
    pub state: String,
    /// The state of the pair in a sentence.
    pub sentence: String,
    /// The problems that began.
    pub began: Vec<AlertProblem>,
    /// The problems that are over, with their last sentence.
    pub ended: Vec<AlertProblem>,
    /// The problems that were announced before and last.
    pub remaining: Vec<AlertProblem>,
}

/// Why an alert is not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// When the first attempt failed.
    pub since: Timestamp,
    /// The last error, without secrets.
    pub why: String,
    /// Number of failed attempts.
    pub attempts: u32,
    /// When the next attempt is due; `None`: after the next change, reload or start.
    pub again_at: Option<Timestamp>,
}

/// A problem that lasts, or that the operator knows of, or that changed in the last hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    key: ProblemKey,
    since: Timestamp,
    sentence: String,
    /// Whether the problem lasts.
    lasts: bool,
    /// Whether it was announced that it lasts.
    announced: bool,
    /// Whether a failed attempt said otherwise. It may have arrived.
    unsure: bool,
    /// When it began or ended in the last hour.
    recent: Vec<Timestamp>,
}

impl Entry {
    fn waits(&self) -> bool {
        self.lasts != self.announced || self.unsure
    }

    /// Returns whether nothing has to be remembered of it.
    fn is_over(&self, now: Timestamp) -> bool {
        !self.lasts && !self.waits() && lately(&self.recent, now).is_empty()
    }

    fn shown(&self) -> AlertProblem {
        AlertProblem { problem: self.key.kind, since: self.since, sentence: self.sentence.clone() }
    }
}

/// What a channel knows of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    pair: Pair,
    /// Id of the alert about the last change.
    id: String,
    at: Timestamp,
    state: String,
    sentence: String,
    problems: Vec<Entry>,
}

impl Known {
    fn waits(&self) -> bool {
        self.problems.iter().any(Entry::waits)
    }

    fn alert(&self) -> Alert {
        let all = |which: fn(&Entry) -> bool| self.problems.iter().filter(|one| which(one)).map(Entry::shown).collect();
        Alert {
            id: self.id.clone(),
            at: self.at,
            pair: Some(self.pair.clone()),
            state: self.state.clone(),
            sentence: self.sentence.clone(),
            began: all(|one| one.lasts && one.waits()),
            ended: all(|one| !one.lasts && one.waits()),
            remaining: all(|one| one.lasts && !one.waits()),
        }
    }
}

/// What a channel has announced of each pair, and has to announce; stored, so that a restart neither repeats nor loses
/// an alert. There is at most one undelivered alert for each pair: about the difference between its state and what the
/// operator knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertState {
    pairs: Vec<Known>,
    /// Why alerts are not delivered; `None`: the last attempt did not fail.
    pub undelivered: Option<Undelivered>,
    #[serde(default)]
    digest: DigestState,
}

/// What a channel remembers of its daily digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DigestState {
    /// The time of the last one that was due; at first, when digests were turned on. `None`: they are off.
    until: Option<Timestamp>,
    /// The time of the one that is not sent yet.
    waiting: Option<Timestamp>,
}

/// Since when a problem differs from what is recorded. It is not stored: after a restart, the time begins again.
#[derive(Clone, Debug, Default)]
pub struct Settling(BTreeMap<(Pair, ProblemKey), Timestamp>);

impl AlertState {
    /// Compares the present states with what is recorded, and records each change that has lasted for `after` without
    /// interruption. Returns whether anything changed.
    ///
    /// The time that a change of a problem has to last doubles with every two changes of it in the last hour, up to an
    /// hour, so that a problem that comes and goes does not flood the operator. A pair that is not reported any more is
    /// forgotten without an alert.
    pub fn observe(
        &mut self,
        reports: &[PairReport],
        settling: &mut Settling,
        after: SignedDuration,
        now: Timestamp,
        mut new_id: impl FnMut() -> String,
    ) -> bool {
        let before = self.pairs.len();
        self.pairs.retain(|known| reports.iter().any(|report| report.pair == known.pair));
        settling.0.retain(|(pair, _), _| reports.iter().any(|report| report.pair == *pair));
        let mut changed = before != self.pairs.len();
        for report in reports {
            let problems = self.known(&report.pair).map(|known| known.problems.as_slice()).unwrap_or_default();
            let due = due(report, problems, settling, after, now);
            if due.is_empty() {
                continue;
            }
            changed = true;
            let known = self.record(report, now, new_id());
            for (key, since) in due {
                known.change(key, since, report, now);
            }
            known.problems.retain(|one| !one.is_over(now));
        }
        if self.waiting() == 0 {
            self.undelivered = None;
        }
        if changed {
            self.repeat_refused(now);
        }
        changed
    }

    fn known(&self, pair: &Pair) -> Option<&Known> {
        self.pairs.iter().find(|known| known.pair == *pair)
    }

    /// Records the state of a pair whose problems change.
    fn record(&mut self, report: &PairReport, now: Timestamp, id: String) -> &mut Known {
        let index = self.pairs.iter().position(|known| known.pair == report.pair).unwrap_or_else(|| {
            let (state, sentence) = Default::default();
            let pair = report.pair.clone();
            self.pairs.push(Known { pair, id: String::new(), at: now, state, sentence, problems: Vec::new() });
            self.pairs.len() - 1
        });
        let known = &mut self.pairs[index];
        (known.id, known.at) = (id, now);
        known.state.clone_from(&report.state);
        known.sentence.clone_from(&report.sentence);
        known
    }

    /// Forgets all problems but these.
    pub fn keep(&mut self, kinds: &[AlertKind]) {
        for known in &mut self.pairs {
            known.problems.retain(|one| kinds.contains(&one.key.kind));
        }
    }

    /// Returns the number of alerts and digests that are not delivered yet.
    pub fn waiting(&self) -> usize {
        self.pairs.iter().filter(|known| known.waits()).count() + usize::from(self.digest.waiting.is_some())
    }

    /// Turns digests off.
    pub fn no_digest(&mut self) {
        self.digest = DigestState::default();
    }

    /// Records whether a digest became due. `next` returns the time of the first digest after a time. One that is a
    /// day late or more is not sent. Returns whether anything changed.
    pub fn schedule_digest(&mut self, now: Timestamp, next: impl Fn(Timestamp) -> Option<Timestamp>) -> bool {
        let Some(mut until) = self.digest.until else {
            self.digest.until = Some(now);
            return true;
        };
        let mut due = None;
        while let Some(at) = next(until).filter(|at| *at <= now) {
            (due, until) = (Some(at), at);
        }
        let Some(due) = due else { return false };
        self.digest.until = Some(due);
        if now.duration_since(due) < LATE_DIGEST {
            self.digest.waiting = Some(due);
            self.repeat_refused(now);
        }
        true
    }

    /// Takes the digest that is due, by its time, to store this before it is sent: if the process ends in between, the
    /// digest is lost, but never sent twice.
    pub fn take_digest(&mut self) -> Option<Timestamp> {
        self.digest.waiting.take()
    }

    /// Puts back a digest that was not sent.
    pub fn return_digest(&mut self, due: Timestamp) {
        self.digest.waiting = Some(due);
    }

    /// Records that a digest was delivered.
    pub fn digest_delivered(&mut self) {
        if self.waiting() == 0 {
            self.undelivered = None;
        }
    }

    /// Records a failed attempt to deliver a digest; `delay` as in [`AlertState::failed`].
    pub fn digest_failed(
        &mut self,
        due: Timestamp,
        why: String,
        now: Timestamp,
        delay: impl FnOnce(u32) -> Option<SignedDuration>,
    ) {
        self.return_digest(due);
        self.note_failure(why, now, delay);
    }

    /// Returns the oldest alert that is not delivered yet.
    pub fn next(&self) -> Option<Alert> {
        self.pairs.iter().filter(|known| known.waits()).min_by_key(|known| known.at).map(Known::alert)
    }

    /// Returns when [`AlertState::next`] is due: now, or after a failed attempt later; `None`: it is not retried.
    pub fn due_at(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.undelivered {
            None => Some(now),
            Some(one) => one.again_at.map(|at| at.max(now)),
        }
    }

    /// Makes what is not retried due now, because there is more to deliver.
    fn repeat_refused(&mut self, now: Timestamp) {
        if self.undelivered.as_ref().is_some_and(|one| one.again_at.is_none()) {
            self.try_again(now);
        }
    }

    /// Makes what is not delivered due now.
    pub fn try_again(&mut self, now: Timestamp) {
        if let Some(undelivered) = &mut self.undelivered {
            undelivered.again_at = Some(now);
        }
    }

    /// Records that the alert about this pair was delivered.
    pub fn delivered(&mut self, pair: &Pair, now: Timestamp) {
        self.undelivered = None;
        let Some(known) = self.pairs.iter_mut().find(|known| known.pair == *pair) else { return };
        for entry in &mut known.problems {
            (entry.announced, entry.unsure) = (entry.lasts, false);
        }
        known.problems.retain(|one| !one.is_over(now));
    }

    /// Records a failed attempt to deliver the alert about this pair; `delay` returns the time before the next one,
    /// `None`: it is not retried.
    pub fn failed(
        &mut self,
        pair: &Pair,
        why: String,
        now: Timestamp,
        delay: impl FnOnce(u32) -> Option<SignedDuration>,
    ) {
        if let Some(known) = self.pairs.iter_mut().find(|known| known.pair == *pair) {
            for entry in known.problems.iter_mut().filter(|entry| entry.lasts != entry.announced) {
                entry.unsure = true;
            }
        }
        self.note_failure(why, now, delay);
    }

    fn note_failure(&mut self, why: String, now: Timestamp, delay: impl FnOnce(u32) -> Option<SignedDuration>) {
        let (since, attempts) =
            self.undelivered.as_ref().map_or((now, 1), |one| (one.since, one.attempts.saturating_add(1)));
        let again_at = delay(attempts).map(|delay| now.checked_add(delay).unwrap_or(now));
        self.undelivered = Some(Undelivered { since, why, attempts, again_at });
    }
}

impl Known {
    /// Records that a problem began or ended.
    fn change(&mut self, key: ProblemKey, since: Timestamp, report: &PairReport, now: Timestamp) {
        let sentence = report.problems.get(&key).cloned();
        let index = self.problems.iter().position(|one| one.key == key).unwrap_or_else(|| {
            let (lasts, announced, unsure) = (false, false, false);
            self.problems.push(Entry {
                key,
                since,
                sentence: String::new(),
                lasts,
                announced,
                unsure,
                recent: Vec::new(),
            });
            self.problems.len() - 1
        });
        let entry = &mut self.problems[index];
        entry.lasts = sentence.is_some();
        if let Some(sentence) = sentence {
            (entry.since, entry.sentence) = (since, sentence);
        }
        entry.recent = lately(&entry.recent, now);
        entry.recent.push(now);
    }
}

/// Returns the problems whose change has lasted for long enough, and since when.
fn due(
    report: &PairReport,
    known: &[Entry],
    settling: &mut Settling,
    after: SignedDuration,
    now: Timestamp,
) -> Vec<(ProblemKey, Timestamp)> {
    let mut due = Vec::new();
    let gone = known.iter().map(|one| &one.key).filter(|key| !report.problems.contains_key(key));
    // A problem that began and ended before it was recorded.
    settling.0.retain(|(pair, key), _| {
        *pair != report.pair || report.problems.contains_key(key) || known.iter().any(|one| one.key == *key)
    });
    for key in report.problems.keys().chain(gone) {
        let entry = known.iter().find(|one| one.key == *key);
        let place = (report.pair.clone(), key.clone());
        if report.problems.contains_key(key) == entry.is_some_and(|one| one.lasts) {
            settling.0.remove(&place);
            continue;
        }
        let since = *settling.0.entry(place.clone()).or_insert(now);
        let changes = entry.map_or(0, |one| lately(&one.recent, now).len());
        if now.duration_since(since) >= lasting(after, changes) {
            settling.0.remove(&place);
            due.push((place.1, since));
        }
    }
    due
}

/// Returns the times of the last hour.
fn lately(times: &[Timestamp], now: Timestamp) -> Vec<Timestamp> {
    times.iter().copied().filter(|at| now.duration_since(*at) < FLAPPING).collect()
}

/// Returns how long a change has to last before it is announced.
fn lasting(after: SignedDuration, changes: usize) -> SignedDuration {
    let factor = 1i32.checked_shl(u32::try_from(changes / 2).unwrap_or(u32::MAX)).filter(|factor| *factor > 0);
    let longest = FLAPPING.max(after);
    factor.and_then(|factor| after.checked_mul(factor)).map_or(longest, |lasting| lasting.min(longest))
}

#[cfg(test)]
mod tests;
