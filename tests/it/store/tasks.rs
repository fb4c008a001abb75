//! Tasks: raised, worked, failed, deferred.

use usersync::{model::*, store::*};

use super::world::*;

pub async fn a_hint_adds_no_second_row(store: World) {
    for nth in 1..=3 {
        store.event(&format!("e{nth}"), &[user("ann")], at(nth)).await;
    }
    let tasks = store.tasks(&TaskFilter::default()).await.unwrap();
    assert_eq!(tasks.len(), 1);
    assert_eq!((tasks[0].since, tasks[0].not_before), (at(1), at(1)));
    assert_eq!((tasks[0].cause.clone(), tasks[0].state.clone()), (Cause::Event { id: "e1".into() }, TaskState::Ready));
}

pub async fn an_earlier_time_and_a_higher_priority_win(store: World) {
    let raise = async |priority, now| {
        store.raise(&pair(), &[user("ann")], priority, &because("x"), now).await.unwrap();
        let task = store.task(&user("ann")).await.unwrap();
        (task.priority, task.not_before)
    };
    assert_eq!(raise(Priority::FanOut, at(5)).await, (Priority::FanOut, at(5)));
    assert_eq!(raise(Priority::Run, at(9)).await, (Priority::FanOut, at(5)));
    assert_eq!(raise(Priority::Run, at(4)).await, (Priority::FanOut, at(4)));
    assert_eq!(raise(Priority::Event, at(9)).await, (Priority::Event, at(4)));
    let count =
        store.raise(&pair(), &[user("ann"), user("bob"), user("ann")], Priority::Run, &because("x"), at(9)).await;
    assert_eq!(count.unwrap(), 2);
}

pub async fn claims_go_by_priority_then_time(store: World) {
    let raises = [
        ("run", Priority::Run, 1),
        ("fan", Priority::FanOut, 1),
        ("late", Priority::Event, 3),
        ("early", Priority::Event, 2),
        ("retry", Priority::Retry, 1),
        ("future", Priority::Event, 50),
    ];
    for (name, priority, time) in raises {
        store.raise(&pair(), &[user(name)], priority, &because("x"), at(time)).await.unwrap();
    }
    for name in ["early", "late", "retry", "fan", "run"] {
        store.claims(&user(name), at(9)).await;
    }
    assert!(store.claim_one(at(9)).await.is_none());
    store.claims(&user("future"), at(50)).await;
}

pub async fn only_these_connectors_on_this_target_are_claimed(store: World) {
    let other = Pair::new("other", "jira");
    store.raise(&pair(), &[user("ann")], Priority::Run, &because("x"), at(1)).await.unwrap();
    store.raise(&other, &[user("zoe")], Priority::Event, &because("x"), at(1)).await.unwrap();
    assert!(store.claim(&"wiki".into(), &[connector()], at(2)).await.unwrap().is_none());
    assert!(store.claim(&target(), &[], at(2)).await.unwrap().is_none());
    let both = [connector(), "other".into()];
    assert_eq!(store.claim(&target(), &both, at(2)).await.unwrap().unwrap().pair, other);
    assert_eq!(store.claim(&target(), &both, at(2)).await.unwrap().unwrap().pair, pair());
}

pub async fn a_hint_during_work_keeps_the_task(store: World) {
    store.event("1", &[user("ann")], at(1)).await;
    let first = store.claims(&user("ann"), at(2)).await;
    store.event("2", &[user("ann")], at(3)).await;
    assert!(store.claim_one(at(3)).await.is_none());
    store.done(first.token, at(4)).await;
    let second = store.claims(&user("ann"), at(4)).await;
    assert!(second.generation > first.generation);
    // Its cause is the one that arrived meanwhile.
    assert_eq!((second.cause, second.caused_at), (Cause::Event { id: "2".into() }, at(3)));
    store.done(second.token, at(5)).await;
    assert!(store.task(&user("ann")).await.is_none());
}

pub async fn a_failed_task_is_due_again_at_its_time(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    assert_eq!(ann.attempts, 0);
    store.fail(ann.token, failure(Some(at(60))), at(2)).await.unwrap();
    let task = store.task(&user("ann")).await.unwrap();
    assert_eq!((task.attempts, task.priority, task.not_before), (1, Priority::Retry, at(60)));
    assert_eq!(task.error, Some((ErrorClass::Transient, "503 from Jira".into())));
    assert!(store.claim_one(at(59)).await.is_none());
    let again = store.claims(&user("ann"), at(60)).await;
    assert_eq!((again.attempts, again.generation), (1, ann.generation));
    // A success resets the attempts.
    store.done(again.token, at(61)).await;
    assert_eq!(store.work(&user("ann"), at(62)).await.attempts, 0);
}

pub async fn a_dead_letter_waits_for_a_replay_or_a_hint(store: World) {
    for news in [false, true] {
        let ann = store.work(&user("ann"), at(1)).await;
        store.fail(ann.token, failure(None), at(2)).await.unwrap();
        assert_eq!(store.task(&user("ann")).await.unwrap().state, TaskState::Dead);
        assert!(store.claim_one(at(1_000_000)).await.is_none());
        assert_eq!(store.next_due(&target(), &[connector()]).await.unwrap(), None);
        assert_eq!(store.counts(&pair(), at(3)).await.unwrap().dead, 1);
        let others = TaskFilter { class: Some(ErrorClass::Bug), ..TaskFilter::default() };
        assert_eq!(store.replay_dead(&others, "me", at(3)).await.unwrap(), 0);
        if news {
            store.event("1", &[user("ann")], at(3)).await;
        } else {
            let these = TaskFilter { reason: Some("from jira".into()), ..TaskFilter::default() };
            assert_eq!(store.replay_dead(&these, "me", at(3)).await.unwrap(), 1);
        }
        let again = store.claims(&user("ann"), at(3)).await;
        assert_eq!(again.attempts, 0);
        store.done(again.token, at(4)).await;
        assert!(store.task(&user("ann")).await.is_none());
    }
}

pub async fn a_hint_during_a_last_attempt_is_worked(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    store.event("1", &[user("ann")], at(2)).await;
    store.fail(ann.token, failure(None), at(3)).await.unwrap();
    assert_eq!(store.claims(&user("ann"), at(3)).await.attempts, 0);
}

pub async fn deferring_uses_up_no_attempt(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    store.defer(ann.token, at(30), None, at(2)).await.unwrap();
    assert!(store.claim_one(at(29)).await.is_none());
    let again = store.claims(&user("ann"), at(30)).await;
    assert_eq!(again.attempts, 0);
    // New events do not wait meanwhile.
    store.event("1", &[user("ann")], at(31)).await;
    store.defer(again.token, at(90), None, at(32)).await.unwrap();
    store.claims(&user("ann"), at(32)).await;
}

pub async fn a_deferred_task_has_its_reason(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    let reason = (ErrorClass::Throttled, "rate limited".to_owned());
    store.defer(ann.token, at(30), Some(reason.clone()), at(2)).await.unwrap();
    let task = store.task(&user("ann")).await.unwrap();
    assert_eq!((task.error, task.attempts, task.not_before), (Some(reason), 0, at(30)));
    // A run's claim; its task is raised with it.
    let run = store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(2)).await.unwrap();
    let planned = Planned { subject: user("bob"), observation: store.next_observation().await.unwrap(), account: None };
    let bob = store.claim_planned(&pair(), run, planned, at(3)).await.unwrap().unwrap();
    let reason = (ErrorClass::Credentials, "HTTP 401".to_owned());
    store.defer(bob.token, at(40), Some(reason.clone()), at(3)).await.unwrap();
    assert_eq!(store.task(&user("bob")).await.unwrap().error, Some(reason));
    let ann = store.claims(&user("ann"), at(30)).await;
    store.done(ann.token, at(31)).await;
    assert!(store.task(&user("ann")).await.is_none());
}

pub async fn a_recheck_event_has_its_subject_read_once_more(store: World) {
    let early = NewEvent { recheck: true, ..event("1", &[user("ann")]) };
    store.append_events(&connector(), &[target()], vec![early], at(1)).await.unwrap();
    // A later event that needs none does not remove it.
    store.event("2", &[user("ann")], at(1)).await;
    let first = store.claims(&user("ann"), at(1)).await;
    store.complete(first.token, Step::default(), vec![], at(7), at(2)).await.unwrap();
    assert!(store.claim_one(at(6)).await.is_none());
    let second = store.claims(&user("ann"), at(7)).await;
    store.complete(second.token, Step::default(), vec![], at(12), at(7)).await.unwrap();
    assert!(store.task(&user("ann")).await.is_none());
    // It is added to work that was raised meanwhile, and applies to an existing task.
    store.raise(&pair(), &[user("bob")], Priority::Event, &because("x"), at(20)).await.unwrap();
    let early = NewEvent { recheck: true, ..event("3", &[user("bob")]) };
    store.append_events(&connector(), &[target()], vec![early], at(20)).await.unwrap();
    let first = store.claims(&user("bob"), at(20)).await;
    store.event("4", &[user("bob")], at(21)).await;
    store.complete(first.token, Step::default(), vec![], at(27), at(22)).await.unwrap();
    let second = store.claims(&user("bob"), at(22)).await;
    store.complete(second.token, Step::default(), vec![], at(28), at(23)).await.unwrap();
    assert!(store.claim_one(at(27)).await.is_none());
    let third = store.claims(&user("bob"), at(28)).await;
    store.done(third.token, at(28)).await;
    assert!(store.task(&user("bob")).await.is_none());
}

pub async fn a_subject_that_is_due_again_has_a_task_that_counts_as_raised_then(store: World) {
    let put_off = |seconds| Step { due_again: Some(at(seconds)), ..Step::default() };
    let counts = async |now| store.counts(&pair(), now).await.unwrap();
    // Its second read after an event comes first.
    let early = NewEvent { recheck: true, ..event("1", &[user("ann")]) };
    store.append_events(&connector(), &[target()], vec![early], at(1)).await.unwrap();
    for now in [1, 7] {
        let ann = store.claims(&user("ann"), at(now)).await;
        store.complete(ann.token, put_off(100), vec![], at(7), at(now)).await.unwrap();
    }
    let known = counts(at(8)).await;
    assert_eq!((known.tasks, known.due, known.oldest, known.leaving, known.leaves_at), (1, 0, None, 1, Some(at(100))));
    assert!(store.claim_one(at(99)).await.is_none());
    assert_eq!(store.claims(&user("ann"), at(100)).await.caused_at, at(1));
    store.crash(at(100)).await;

    // A hint makes it due at once, for its own cause.
    let ann = store.claims(&user("ann"), at(101)).await;
    store.complete(ann.token, put_off(200), vec![], at(7), at(101)).await.unwrap();
    store.event("2", &[user("ann")], at(110)).await;
    let known = counts(at(111)).await;
    assert_eq!((known.due, known.oldest, known.leaving), (1, Some(at(110)), 0));
    let ann = store.claims(&user("ann"), at(111)).await;
    assert_eq!((ann.cause, ann.caused_at), (Cause::Event { id: "2".into() }, at(110)));
    store.done(ann.token, at(112)).await;
    assert!(store.task(&user("ann")).await.is_none());

    // A claim of a run leaves such a task too; another subject that waits for it makes it due.
    let run = store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(120)).await.unwrap();
    let planned = Planned { subject: user("bob"), observation: store.next_observation().await.unwrap(), account: None };
    let bob = store.claim_planned(&pair(), run, planned, at(120)).await.unwrap().unwrap();
    store.complete(bob.token, put_off(300), vec![], at(125), at(121)).await.unwrap();
    assert!(store.claim_one(at(122)).await.is_none());
    let cid = store.work(&user("cid"), at(130)).await;
    let waits = store.wait_for(cid.token, &[user("bob")], true, at(190), at(131)).await.unwrap();
    assert_eq!(waits, Waiting::Waits);
    store.claims(&user("bob"), at(131)).await;
}

pub async fn it_returns_when_the_next_task_is_due(store: World) {
    let next = async || store.next_due(&target(), &[connector()]).await.unwrap();
    assert_eq!(next().await, None);
    store.raise(&pair(), &[user("ann")], Priority::Run, &because("x"), at(40)).await.unwrap();
    store.raise(&pair(), &[user("bob")], Priority::Event, &because("x"), at(50)).await.unwrap();
    assert_eq!(next().await, Some(at(40)));
    // Subjects in progress are nothing to wait for.
    store.claims(&user("ann"), at(40)).await;
    assert_eq!(next().await, Some(at(50)));
    assert_eq!(store.next_due(&target(), &[]).await.unwrap(), None);
}

pub async fn a_waiting_worker_is_woken(store: World) {
    let mut seen = 0;
    store.raise(&pair(), &[user("ann")], Priority::Event, &because("x"), at(1)).await.unwrap();
    seen = store.wait_for_work(seen).await;
    let quiet = store.wait_for_work(seen);
    assert!(futures::poll!(std::pin::pin!(quiet)).is_pending());
    let bob = [user("bob")];
    let (_, woken, appended) =
        tokio::join!(store.wait_for_work(seen), store.wait_for_work(seen), store.event("1", &bob, at(2)));
    assert!(woken > seen && appended.stored == 1);
    let mut count = woken;
    for nth in 0..4 {
        let waits = store.wait_for_work(count);
        match nth {
            0 => store.set_paused(&connector(), true, "me", at(3)).await.unwrap(),
            1 => store.set_pair_state(&pair(), PairState::InService, at(3)).await.unwrap(),
            2 => {
                let claimed = store.claims(&user("ann"), at(3)).await;
                store.defer(claimed.token, at(9), None, at(3)).await.unwrap();
            }
            _ => {
                let run = Request::Run { connector: connector(), target: None, trigger: RunTrigger::Operator };
                store.request(&run, "me", at(3)).await.unwrap();
            }
        }
        count = waits.await;
    }
}

pub async fn tasks_are_filtered(store: World) {
    let other = Pair::new("corp", "wiki");
    store.raise(&other, &[user("ann")], Priority::Run, &because("x"), at(1)).await.unwrap();
    store.raise(&pair(), &[user("ann")], Priority::FanOut, &because("x"), at(5)).await.unwrap();
    let bob = store.work(&user("bob"), at(2)).await;
    store.fail(bob.token, failure(None), at(2)).await.unwrap();
    let who = async |filter: TaskFilter| -> Vec<(Pair, Subject)> {
        store.tasks(&filter).await.unwrap().into_iter().map(|task| (task.pair, task.subject)).collect()
    };
    let all = TaskFilter::default();
    // The most urgent first, dead letters last.
    assert_eq!(who(all.clone()).await, [(pair(), user("ann")), (other.clone(), user("ann")), (pair(), user("bob"))]);
    assert_eq!(who(TaskFilter { target: Some("wiki".into()), ..all.clone() }).await, [(other, user("ann"))]);
    assert_eq!(who(TaskFilter { dead: Some(false), ..all.clone() }).await.len(), 2);
    assert_eq!(who(TaskFilter { class: Some(ErrorClass::Transient), ..all.clone() }).await, [(pair(), user("bob"))]);
    assert_eq!(who(TaskFilter { reason: Some("503".into()), ..all.clone() }).await, [(pair(), user("bob"))]);
    assert_eq!(who(TaskFilter { limit: 1, ..all.clone() }).await.len(), 1);
    assert!(who(TaskFilter { connector: Some("other".into()), ..all }).await.is_empty());
    let counts = store.counts(&pair(), at(4)).await.unwrap();
    assert_eq!((counts.tasks, counts.due, counts.dead, counts.oldest), (1, 0, 1, None));
    assert_eq!(store.counts(&pair(), at(5)).await.unwrap().due, 1);
}

pub async fn tasks_that_may_revoke_access_of_a_linked_user_have_priority(store: World) {
    store.linked("eve", "a1", at(1)).await;
    // An import of users that have no accounts yet.
    for batch in 0..100 {
        let events =
            (0..500).map(|nth| event(&format!("c{batch}-{nth}"), &[user(&format!("u{batch}-{nth}"))])).collect();
        store.append_events(&connector(), &[target()], events, at(2)).await.unwrap();
    }
    let leaves = |id: &str, who: &str| NewEvent { may_remove: true, ..event(id, &[user(who)]) };
    let events = vec![event("single", &[user("ann")]), leaves("nobody", "stranger"), leaves("leaver", "eve")];
    store.append_events(&connector(), &[target()], events, at(3)).await.unwrap();

    let first = store.claim_one(at(4)).await.expect("there is work");
    assert_eq!(first.subject, user("eve"), "the linked leaver first");
    // A task raised after hundreds of others is not behind all of them.
    let mut ahead = 0;
    loop {
        let claim = store.claim_one(at(4)).await.expect("there is work");
        if claim.subject == user("ann") {
            break;
        }
        ahead += 1;
        assert!(ahead <= 1_000, "a single event waits behind an import");
        store.done(claim.token, at(4)).await;
    }
}
