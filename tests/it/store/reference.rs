//! Random sequences of raises, claims, endings and crashes, compared with a simple reference model.

use std::collections::BTreeMap;

use jiff::Timestamp;
use usersync::{model::*, store::*};

use super::world::*;

/// A small generator: a seed determines everything.
pub struct Jitter(pub u64);

impl Jitter {
    pub fn roll(&mut self, sides: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 >> 1).unwrap() % sides
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Task {
    generation: i64,
    priority: Priority,
    not_before: Timestamp,
    dead: bool,
    attempts: u32,
}

#[derive(Default)]
struct Reference {
    tasks: BTreeMap<Subject, Task>,
    /// Time until which an open intent of the subject can arrive.
    intents: BTreeMap<Subject, Timestamp>,
    claims: BTreeMap<Subject, (Token, i64)>,
}

impl Reference {
    fn raise(&mut self, subject: &Subject, priority: Priority, now: Timestamp) {
        let new = Task { generation: 1, priority, not_before: now, dead: false, attempts: 0 };
        match self.tasks.get_mut(subject) {
            None => drop(self.tasks.insert(subject.clone(), new)),
            Some(task) if task.dead => *task = Task { generation: task.generation + 1, ..new },
            Some(task) => {
                task.generation += 1;
                task.priority = task.priority.min(priority);
                task.not_before = task.not_before.min(now);
            }
        }
    }

    /// Returns whether the subject can be claimed now; one with an intent in flight is deferred.
    fn due(&self, subject: &Subject, now: Timestamp) -> Option<(Priority, Timestamp)> {
        let task = self.tasks.get(subject)?;
        let closed = self.intents.get(subject).is_some_and(|until| *until > now);
        let free = !task.dead && task.not_before <= now && !closed && !self.claims.contains_key(subject);
        free.then_some((task.priority, task.not_before))
    }

    /// Ends a claim; returns the remaining task, and whether it was raised meanwhile.
    fn end(&mut self, subject: &Subject) -> Option<(&mut Task, bool)> {
        let (_, generation) = self.claims.remove(subject)?;
        let task = self.tasks.get_mut(subject)?;
        let raised = task.generation != generation;
        Some((task, raised))
    }
}

async fn compare(store: &World, reference: &Reference, seed: u64, step: i64) {
    let mut tasks = BTreeMap::new();
    for task in store.tasks(&TaskFilter::default()).await.unwrap() {
        let kept = Task {
            generation: 0,
            priority: task.priority,
            not_before: task.not_before,
            dead: task.state == TaskState::Dead,
            attempts: task.attempts,
        };
        tasks.insert(task.subject, kept);
    }
    // A claim that met an intent in flight deferred the task; the reference does not say when.
    let put_off = |(subject, task): (&Subject, &Task)| {
        let not_before = match reference.intents.get(subject) {
            Some(_) => at(0),
            None => task.not_before,
        };
        // A store may raise a generation only while it matters.
        (subject.clone(), Task { not_before, generation: 0, ..task.clone() })
    };
    let expected: BTreeMap<_, _> = reference.tasks.iter().map(put_off).collect();
    let found: BTreeMap<_, _> = tasks.iter().map(put_off).collect();
    assert_eq!(found, expected, "seed {seed}, step {step}");
}

pub async fn random_histories_agree_with_the_reference(store: World) {
    for seed in 1..=12_u64 {
        let mut jitter = Jitter(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut reference = Reference::default();
        let mut now = at(i64::try_from(seed).unwrap() * 1_000_000);
        let subjects: Vec<Subject> = (0..5).map(|nth| user(&format!("s{seed}-{nth}"))).collect();
        for step in 0..120 {
            now = later(now, jitter.roll(4));
            let subject = subjects[usize::try_from(jitter.roll(5)).unwrap()].clone();
            match jitter.roll(10) {
                0..=2 => {
                    let priority = [Priority::Event, Priority::Retry, Priority::FanOut, Priority::Run]
                        [usize::try_from(jitter.roll(4)).unwrap()];
                    store.raise(&pair(), std::slice::from_ref(&subject), priority, &because("x"), now).await.unwrap();
                    reference.raise(&subject, priority, now);
                }
                3..=5 => {
                    let best = subjects.iter().filter_map(|subject| reference.due(subject, now)).min();
                    let claimed = store.claim_one(now).await;
                    match (best, claimed) {
                        (None, None) => {}
                        (Some(best), Some(claimed)) => {
                            let due = reference.due(&claimed.subject, now).expect("claimed what may be claimed");
                            // A deferred task has lost its place.
                            if reference.intents.is_empty() {
                                assert_eq!(due, best, "seed {seed}, step {step}");
                            }
                            let generation = reference.tasks[&claimed.subject].generation;
                            reference.claims.insert(claimed.subject, (claimed.token, generation));
                        }
                        other => panic!("seed {seed}, step {step}: {other:?}"),
                    }
                }
                6 => {
                    store.crash(now).await;
                    reference.claims.clear();
                    for subject in reference.intents.keys().cloned().collect::<Vec<_>>() {
                        reference.raise(&subject, Priority::Retry, now);
                    }
                }
                ending => end_one(&store, &mut reference, &mut jitter, ending, now).await,
            }
            compare(&store, &reference, seed, step).await;
        }
        // All open intents are resolved, so that the next seed starts empty.
        clear(&store, &mut reference, later(now, 1_000)).await;
    }
}

/// Ends one of the held claims, or writes an intent under it.
async fn end_one(store: &World, reference: &mut Reference, jitter: &mut Jitter, ending: i64, now: Timestamp) {
    let Some((subject, (token, _))) = reference.claims.iter().next().map(|(subject, claim)| (subject.clone(), *claim))
    else {
        return;
    };
    if ending == 7 && !reference.intents.contains_key(&subject) {
        let until = later(now, 3);
        store.intend(token, create("x"), until, now).await;
        reference.intents.insert(subject, until);
        return;
    }
    let open = reference.intents.contains_key(&subject);
    match (jitter.roll(4), reference.end(&subject)) {
        (0, Some((task, raised))) => {
            let retry_at = later(now, 5);
            store.fail(token, failure(Some(retry_at)), now).await.unwrap();
            task.attempts += 1;
            task.not_before = if raised { now } else { retry_at };
            if !raised {
                task.priority = task.priority.max(Priority::Retry);
            }
        }
        (1, Some((task, raised))) => {
            store.fail(token, failure(None), now).await.unwrap();
            task.attempts = if raised { 0 } else { task.attempts + 1 };
            task.not_before = now;
            task.dead = !raised && !open;
            if !raised {
                task.priority = task.priority.max(Priority::Retry);
            }
        }
        (2, Some((task, raised))) => {
            let until = later(now, 7);
            store.defer(token, until, None, now).await.unwrap();
            task.not_before = if raised { now } else { until };
        }
        (_, Some((task, raised))) => {
            store.complete(token, Step::default(), vec![], later(now, 5), now).await.unwrap();
            if open {
                reference.raise(&subject, Priority::Retry, now);
            } else if raised {
                task.attempts = 0;
                task.not_before = now;
            } else {
                reference.tasks.remove(&subject);
            }
        }
        (_, None) => panic!("a claim without a task"),
    }
}

async fn clear(store: &World, reference: &mut Reference, now: Timestamp) {
    for (token, _) in std::mem::take(&mut reference.claims).into_values() {
        store.defer(token, now, None, now).await.unwrap();
    }
    store.replay_dead(&TaskFilter::default(), "me", now).await.unwrap();
    while let Some(claimed) = store.claim_one(now).await {
        for intent in &claimed.intents {
            store.resolve(claimed.token, intent.id, ChangeOutcome::FoundNotDone, now).await;
        }
        store.done(claimed.token, now).await;
    }
    assert!(store.tasks(&TaskFilter::default()).await.unwrap().is_empty());
}
