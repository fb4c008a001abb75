//! The futures are polled by hand, so that every order of events can be tested.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use jiff::SignedDuration;
use proptest::prelude::*;
use tokio::runtime::{self, Runtime};

use super::*;
use crate::{
    model::ErrorClass,
    targets::{
        TargetErrorKind::{NotDone, NotFound, Unanswered},
        rest::error,
    },
};

type Ended = Result<Applied, TargetError>;

/// A call that was sent and waits for its answer.
struct Sent {
    people: Vec<usize>,
    deadline: Timestamp,
    answer: Option<oneshot::Sender<Result<BatchOutcome, TargetError>>>,
}

#[derive(Default)]
struct Server {
    sent: Mutex<Vec<Sent>>,
    /// Members for which the earlier checks no longer hold.
    unconfirmed: Mutex<BTreeSet<usize>>,
    /// Whether batch calls time out shortly after their deadline.
    dead: bool,
    /// Whether calls are answered at once.
    prompt: bool,
}

impl Server {
    async fn call(&self, people: &[usize], deadline: Timestamp) -> Result<BatchOutcome, TargetError> {
        if self.dead && people.len() > 1 {
            sleep(left(deadline) + Duration::from_millis(20)).await;
            return Err(error(Unanswered, "no answer"));
        }
        if self.prompt {
            tokio::task::yield_now().await;
            return DONE;
        }
        let (answer, answered) = oneshot::channel();
        locked(&self.sent).push(Sent { people: people.to_vec(), deadline, answer: Some(answer) });
        answered.await.expect("each call is answered, or not waited for")
    }
}

struct Person {
    server: Arc<Server>,
    number: usize,
    deadline: Timestamp,
}

impl BatchCall for Person {
    type Member = usize;

    fn member(&self) -> usize {
        self.number
    }

    fn still_holds(&self, member: &usize) -> bool {
        !locked(&self.server.unconfirmed).contains(member)
    }

    async fn alone(&self) -> Ended {
        match self.server.call(&[self.number], self.deadline).await? {
            BatchOutcome::Done => Ok(Applied::Done),
            BatchOutcome::Singly => Err(error(NotFound, format!("there is no {}", self.number))),
        }
    }

    async fn add_batch(&self, members: &[usize], deadline: Timestamp) -> Result<BatchOutcome, TargetError> {
        self.server.call(members, deadline).await
    }
}

/// Members that are being added to one group.
struct Scene {
    batches: Arc<MemberBatches<usize>>,
    server: Arc<Server>,
    people: Vec<Option<Pin<Box<dyn Future<Output = Ended>>>>>,
    ended: Vec<Option<Ended>>,
    runtime: Runtime,
}

impl Scene {
    fn new(most: usize) -> Self {
        Self {
            batches: Arc::new(MemberBatches::new(most)),
            server: Arc::default(),
            people: Vec::new(),
            ended: Vec::new(),
            runtime: runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"),
        }
    }

    fn comes(&mut self) -> usize {
        self.comes_until(later(60))
    }

    fn comes_until(&mut self, deadline: Timestamp) -> usize {
        let number = self.people.len();
        let (batches, server) = (Arc::clone(&self.batches), Arc::clone(&self.server));
        self.people.push(Some(Box::pin(async move {
            let person = Person { server, number, deadline };
            batches.send(&"group".into(), &format!("adding {number}"), &person, deadline).await
        })));
        self.ended.push(None);
        self.poll(number);
        number
    }

    fn poll(&mut self, number: usize) {
        let _entered = self.runtime.enter();
        let Some(person) = &mut self.people[number] else { return };
        if let Poll::Ready(ended) = person.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            self.people[number] = None;
            self.ended[number] = Some(ended);
        }
    }

    fn leaves(&mut self, number: usize) {
        self.people[number] = None;
    }

    /// Polls all futures until none makes progress.
    fn let_calls_arrive(&mut self) {
        let state = |scene: &Self| (scene.people.iter().flatten().count(), locked(&scene.server.sent).len());
        let mut quiet = 0;
        while quiet < 2 {
            let before = state(self);
            (0..self.people.len()).for_each(|number| self.poll(number));
            quiet = if state(self) == before { quiet + 1 } else { 0 };
        }
    }

    fn answer(&mut self, call: usize, answer: Result<BatchOutcome, TargetError>) {
        let waits = locked(&self.server.sent)[call].answer.take().expect("it was not answered");
        let _ = waits.send(answer);
        self.let_calls_arrive();
    }

    fn sent(&self) -> Vec<Vec<usize>> {
        locked(&self.server.sent).iter().map(|sent| sent.people.clone()).collect()
    }

    fn is_done(&self, number: usize) -> bool {
        self.ended[number] == Some(Ok(Applied::Done))
    }

    fn nobody_is_left(&self) -> bool {
        locked(&self.batches.lines).values().all(|line| line.strong_count() == 0)
    }
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

const DONE: Result<BatchOutcome, TargetError> = Ok(BatchOutcome::Done);
const SINGLY: Result<BatchOutcome, TargetError> = Ok(BatchOutcome::Singly);

#[test]
fn the_first_goes_at_once_and_those_who_come_meanwhile_go_together() {
    let mut scene = Scene::new(100);
    scene.comes();
    assert_eq!(scene.sent(), [vec![0]]);
    for _ in 0..4 {
        scene.comes();
    }
    scene.let_calls_arrive();
    assert_eq!(scene.sent().len(), 1, "one call is under way");
    scene.answer(0, DONE);
    assert!(scene.is_done(0));
    assert_eq!(scene.sent(), [vec![0], vec![1, 2, 3, 4]]);
    scene.answer(1, DONE);
    assert!((1..5).all(|number| scene.is_done(number)));
    assert!(scene.nobody_is_left());
    scene.comes();
    assert_eq!(scene.sent()[2], [5], "nobody waits for others to come");
}

#[test]
fn no_call_takes_more_than_the_limit() {
    let mut scene = Scene::new(2);
    for _ in 0..6 {
        scene.comes();
    }
    for call in 0..4 {
        scene.answer(call, DONE);
    }
    assert_eq!(scene.sent(), [vec![0], vec![1, 2], vec![3, 4], vec![5]]);
    assert!((0..6).all(|number| scene.is_done(number)));
}

#[test]
fn after_a_refusal_each_goes_by_itself_and_gets_its_own_words() {
    let mut scene = Scene::new(100);
    for _ in 0..4 {
        scene.comes();
    }
    scene.answer(0, DONE);
    scene.answer(1, SINGLY);
    assert_eq!(scene.sent()[2..], [vec![1], vec![2], vec![3]]);
    let late = scene.comes();
    assert_eq!(scene.sent()[5], [late], "nobody holds the turn any more");
    scene.answer(2, DONE);
    scene.answer(3, SINGLY);
    scene.answer(4, DONE);
    assert!(scene.is_done(1) && scene.is_done(3));
    let Some(Err(error)) = &scene.ended[2] else { panic!("refused") };
    assert_eq!((error.kind, error.text.as_str()), (NotFound, "there is no 2"));
}

#[test]
fn without_an_answer_and_with_a_wish_to_wait_all_get_the_same_and_nobody_is_sent_again() {
    let busy = TargetError {
        retry_after: Some(SignedDuration::from_secs(7)),
        ..error(NotDone(ErrorClass::Throttled), "too many requests")
    };
    for why in [error(Unanswered, "no answer"), busy] {
        let mut scene = Scene::new(100);
        for _ in 0..3 {
            scene.comes();
        }
        scene.answer(0, DONE);
        scene.answer(1, Err(why.clone()));
        assert_eq!(scene.ended[1..], [Some(Err(why.clone())), Some(Err(why))]);
        assert_eq!(scene.sent().len(), 2);
    }
}

#[test]
fn who_stops_waiting_is_not_sent() {
    let mut scene = Scene::new(100);
    for _ in 0..4 {
        scene.comes();
    }
    scene.leaves(2);
    scene.answer(0, DONE);
    assert_eq!(scene.sent(), [vec![0], vec![1, 3]]);
    // The turn also moves on if its holder stops before it sends.
    scene.comes();
    scene.comes();
    let answer = locked(&scene.server.sent)[1].answer.take();
    let _ = answer.expect("it is under way").send(DONE);
    scene.poll(1);
    scene.poll(3);
    scene.leaves(4);
    scene.let_calls_arrive();
    assert_eq!(scene.sent()[2], [5]);
}

#[test]
fn if_the_one_who_sends_stops_the_others_are_unanswered_and_the_next_go_on() {
    let mut scene = Scene::new(100);
    for _ in 0..3 {
        scene.comes();
    }
    scene.leaves(0);
    scene.let_calls_arrive();
    assert_eq!(scene.sent(), [vec![0], vec![1, 2]], "who only waited is sent all the same");
    scene.comes();
    scene.leaves(1);
    scene.let_calls_arrive();
    let Some(Err(error)) = &scene.ended[2] else { panic!("no answer") };
    assert_eq!(error.kind, Unanswered);
    assert!(error.text.starts_with("adding 2: ") && error.text.contains("cancelled"), "{error}");
    assert_eq!(scene.sent()[2], [3]);
    scene.answer(2, DONE);
    assert!(scene.is_done(3) && scene.nobody_is_left());
}

#[test]
fn a_call_ends_by_the_earliest_deadline_and_who_is_in_a_hurry_goes_by_himself() {
    let mut scene = Scene::new(100);
    scene.comes();
    let (long, short) = (later(60), later(50));
    for deadline in [long, later(10), short] {
        scene.comes_until(deadline);
    }
    scene.answer(0, DONE);
    let sent: BTreeSet<_> = scene.sent().into_iter().collect();
    assert_eq!(sent, BTreeSet::from([vec![0], vec![1, 3], vec![2]]));
    let add_batch = locked(&scene.server.sent).iter().find(|sent| sent.people.len() == 2).map(|sent| sent.deadline);
    assert_eq!(add_batch, Some(short));
}

#[test]
fn whose_time_is_up_while_he_waits_is_not_sent() {
    let mut scene = Scene::new(100);
    scene.comes();
    scene.comes_until(Timestamp::now() + SignedDuration::from_millis(5));
    let waits = scene.people[1].take().expect("he waits");
    let error = scene.runtime.block_on(waits).expect_err("too late");
    assert_eq!(error.kind, NotDone(ErrorClass::Transient));
    assert!(error.text.starts_with("adding 1: deadline exceeded before the call was sent"), "{error}");
    scene.answer(0, DONE);
    assert_eq!(scene.sent(), [vec![0]]);
}

#[test]
fn whose_time_is_up_while_he_is_sent_gets_the_answer() {
    let server = Arc::new(Server { dead: true, ..Server::default() });
    let mut scene = Scene { server, ..Scene::new(100) };
    scene.comes();
    let soon = Timestamp::now() + SignedDuration::from_millis(200);
    for deadline in [soon, soon + SignedDuration::from_millis(1)] {
        scene.comes_until(deadline);
    }
    scene.answer(0, DONE);
    let all = scene.people.drain(..).flatten();
    for ended in scene.runtime.block_on(futures::future::join_all(all)) {
        assert_eq!(ended.expect_err("no answer").kind, Unanswered);
    }
}

#[test]
fn who_has_to_be_checked_again_goes_by_himself() {
    let mut scene = Scene::new(100);
    for _ in 0..4 {
        scene.comes();
    }
    locked(&scene.server.unconfirmed).insert(2);
    scene.answer(0, DONE);
    let sent: BTreeSet<_> = scene.sent().into_iter().collect();
    assert_eq!(sent, BTreeSet::from([vec![0], vec![1, 3], vec![2]]));
}

#[test]
fn groups_do_not_wait_for_each_other_and_leave_nothing_behind() {
    let batches = MemberBatches::<usize>::new(100);
    let one = batches.line(&"one".into());
    assert!(!Arc::ptr_eq(&one, &batches.line(&"two".into())));
    assert!(Arc::ptr_eq(&one, &batches.line(&"one".into())));
    drop(one);
    for number in 0..1000 {
        batches.line(&format!("group {number}").into());
    }
    assert_eq!(locked(&batches.lines).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_several_threads_nobody_is_forgotten() {
    let (batches, server) = (Arc::new(MemberBatches::new(7)), Arc::new(Server { prompt: true, ..Server::default() }));
    let send = |number: usize| {
        let (batches, server) = (Arc::clone(&batches), Arc::clone(&server));
        tokio::spawn(async move {
            let person = Person { server, number, deadline: later(60) };
            batches.send(&"group".into(), "adding somebody", &person, later(60)).await
        })
    };
    let tasks: Vec<_> = (0..5_000).map(|number| (number, send(number))).collect();
    for (number, task) in &tasks {
        if number % 9 == 0 {
            task.abort();
        }
    }
    for (number, task) in tasks {
        match task.await {
            Ok(Ok(applied)) => assert_eq!(applied, Applied::Done),
            // The sender of this member's batch stopped.
            Ok(Err(error)) => assert_eq!(error.kind, Unanswered, "{error}"),
            Err(stopped) => assert!(stopped.is_cancelled() && number % 9 == 0, "{stopped}"),
        }
    }
    assert!(locked(&batches.lines).values().all(|line| line.strong_count() == 0));
}

/// The next event.
#[derive(Clone, Debug)]
enum Event {
    Comes,
    Polled(usize),
    Leaves(usize),
    Unconfirmed(usize),
    Answered(usize, u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Comes),
        8 => (0..40_usize).prop_map(Event::Polled),
        1 => (0..40_usize).prop_map(Event::Leaves),
        1 => (0..40_usize).prop_map(Event::Unconfirmed),
        4 => (0..40_usize, 0..4_u8).prop_map(|(call, how)| Event::Answered(call, how)),
    ]
}

fn answer(how: u8) -> Result<BatchOutcome, TargetError> {
    match how {
        0 | 1 => DONE,
        2 => SINGLY,
        _ => Err(error(Unanswered, "no answer")),
    }
}

proptest! {
    #[test]
    fn whatever_happens_everybody_gets_the_answer_to_his_own_join(
        most in 1..5_usize,
        events in prop::collection::vec(event(), 0..120),
    ) {
        let mut scene = Scene::new(most);
        // The members of each call, and its answer.
        let mut answers: Vec<Option<Result<BatchOutcome, TargetError>>> = Vec::new();
        let mut gone = BTreeSet::new();
        let give = |scene: &Scene, answers: &mut Vec<Option<_>>, call: usize, came: Result<BatchOutcome, TargetError>| {
            let mut sent = locked(&scene.server.sent);
            answers.resize(sent.len(), None);
            if let Some(waits) = sent.get_mut(call).and_then(|sent| sent.answer.take())
                && waits.send(came.clone()).is_ok()
            {
                answers[call] = Some(came);
            }
        };
        for event in events {
            let people = scene.people.len();
            match event {
                Event::Comes => drop(scene.comes()),
                Event::Polled(number) if number < people => scene.poll(number),
                Event::Leaves(number) if number < people && scene.people[number].is_some() => {
                    let before = scene.sent().len();
                    scene.leaves(number);
                    gone.insert((number, before));
                }
                Event::Unconfirmed(number) => drop(locked(&scene.server.unconfirmed).insert(number)),
                Event::Answered(call, how) => give(&scene, &mut answers, call, answer(how)),
                _ => {}
            }
            let under_way = locked(&scene.server.sent)
                .iter()
                .filter(|sent| sent.people.len() > 1 && sent.answer.as_ref().is_some_and(|one| !one.is_closed()))
                .count();
            prop_assert!(under_way <= 1, "{under_way} calls for several are under way");
        }
        loop {
            scene.let_calls_arrive();
            let calls = scene.sent().len();
            (0..calls).for_each(|call| give(&scene, &mut answers, call, DONE));
            scene.let_calls_arrive();
            if scene.sent().len() == calls {
                break;
            }
        }
        let sent = scene.sent();
        answers.resize(sent.len(), None);
        for people in &sent {
            prop_assert!(people.len() <= most && people.is_sorted(), "{people:?}");
        }
        for (number, before) in &gone {
            prop_assert!(!sent[*before..].iter().any(|people| people.contains(number)), "{number} was gone");
        }
        for (number, ended) in scene.ended.iter().enumerate() {
            let calls: Vec<_> = (0..sent.len()).filter(|call| sent[*call].contains(&number)).collect();
            let (several, alone): (Vec<&usize>, Vec<&usize>) = calls.iter().partition(|call| sent[**call].len() > 1);
            prop_assert!(several.len() <= 1 && alone.len() <= 1, "{number} is sent by {calls:?}");
            let Some(ended) = ended else {
                prop_assert!(gone.iter().any(|(one, _)| *one == number), "{number} hangs");
                continue;
            };
            // The last of its calls decides; a call for which no caller waits was aborted.
            let last = calls.last().expect("whoever has an answer was sent");
            let kind = match &answers[*last] {
                Some(Ok(BatchOutcome::Done)) => None,
                Some(Ok(BatchOutcome::Singly)) => Some(NotFound),
                Some(Err(_)) | None => Some(Unanswered),
            };
            let came = ended.as_ref().err().map(|error| error.kind);
            // The sender of a batch may have stopped after the answer and before it reported the result.
            let untold = came == Some(Unanswered) && sent[*last].len() > 1 && !gone.is_empty();
            prop_assert!(came == kind || untold, "{number} by {calls:?}: {came:?}, not {kind:?}");
        }
        prop_assert!(scene.nobody_is_left());
    }
}
