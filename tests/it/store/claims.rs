//! Claims, intents and observations. Rules: a newer observation wins; a claim holds the subject and the account; an
//! ended claim writes nothing; an open intent locks its subject and account.

use std::collections::{BTreeMap, BTreeSet};

use usersync::{model::*, store::*};

use super::world::*;

pub async fn a_claimed_subject_is_claimed_by_no_other_worker(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    store.event("1", &[user("ann")], at(2)).await;
    assert!(store.claim_one(at(9)).await.is_none());
    assert!(store.still_held(ann.token).await.unwrap());
    store.done(ann.token, at(3)).await;
    assert!(!store.still_held(ann.token).await.unwrap());
    let again = store.claims(&user("ann"), at(9)).await;
    assert!(again.token > ann.token);
}

pub async fn a_claimed_account_is_claimed_by_no_other_worker(store: World) {
    store.linked("old", "a1", at(1)).await;
    // Links another user to the account of a held claim.
    let old = store.work(&user("old"), at(2)).await;
    assert_eq!(old.link, Some(link("old", "a1")));
    let remove = Step { link: Some(LinkWrite::Remove), ..Step::default() };
    store.step(old.token, remove, at(2)).await.unwrap();
    let new = store.work(&user("new"), at(2)).await;
    let put = Step { link: Some(LinkWrite::Put(link("new", "a1"))), ..Step::default() };
    assert_eq!(store.step(new.token, put.clone(), at(2)).await.unwrap(), Stepped::AccountTaken);
    assert_eq!(store.link(&pair(), &"new".into()).await.unwrap(), None);
    let adopted = store.adopt(new.token, link("new", "a1"), None, at(2)).await.unwrap();
    assert!(matches!(adopted, Adopted::Busy { until } if until > at(2)));
    store.done(old.token, at(3)).await;
    assert_eq!(store.step(new.token, put, at(3)).await.unwrap(), Stepped::Written);
    // Now the account belongs to that claim.
    let third = store.work(&user("third"), at(3)).await;
    assert!(matches!(store.adopt(third.token, link("third", "a1"), None, at(3)).await.unwrap(), Adopted::Busy { .. }));
    // Another connector's realm conflicts at the account too.
    let other = Pair::new("other", "jira");
    store.raise(&other, &[user("zoe")], Priority::Event, &because("x"), at(3)).await.unwrap();
    let zoe = store.claim(&target(), &["other".into()], at(3)).await.unwrap().unwrap();
    assert!(matches!(store.adopt(zoe.token, link("zoe", "a1"), None, at(3)).await.unwrap(), Adopted::Busy { .. }));
    store.done(new.token, at(4)).await;
    assert_eq!(
        store.adopt(zoe.token, link("zoe", "a1"), None, at(4)).await.unwrap(),
        Adopted::LinkedElsewhere { connector: connector(), user: "new".into() }
    );
    // The same account id on another target is another account.
    let wiki = Pair::new("corp", "wiki");
    store.raise(&wiki, &[user("ann")], Priority::Event, &because("x"), at(4)).await.unwrap();
    let ann = store.claim(&"wiki".into(), &[connector()], at(4)).await.unwrap().unwrap();
    assert_eq!(store.adopt(ann.token, link("ann", "a1"), None, at(4)).await.unwrap(), Adopted::Linked);
}

pub async fn an_ended_claim_writes_nothing(store: World) {
    store.linked("ann", "a1", at(1)).await;
    let ann = store.work(&user("ann"), at(2)).await;
    let token = ann.token;
    let id = store.intend(token, deactivate("a1", "ann"), at(9), at(2)).await;
    store.crash(at(3)).await;
    let ended = Err(StoreError::ClaimEnded);
    assert!(!store.still_held(token).await.unwrap());
    let resolve = Step {
        resolved: vec![IntentOutcome { intent: id, outcome: ChangeOutcome::Done }],
        link: Some(LinkWrite::Remove),
        next: vec![intent(create("ann"), at(9))],
        ..Step::default()
    };
    assert_eq!(store.step(token, resolve, at(3)).await, Err(StoreError::ClaimEnded));
    assert_eq!(store.complete(token, Step::default(), vec![], at(9), at(3)).await, Err(StoreError::ClaimEnded));
    assert_eq!(store.fail(token, failure(None), at(3)).await, ended);
    assert_eq!(store.defer(token, at(9), None, at(3)).await, ended);
    assert_eq!(store.wait_for(token, &[user("bob")], true, at(9), at(3)).await, Err(StoreError::ClaimEnded));
    assert_eq!(store.adopt(token, link("ann", "a2"), None, at(3)).await, Err(StoreError::ClaimEnded));
    assert_eq!(store.holder(token, &"a1".into(), "ann").await, Err(StoreError::ClaimEnded));
    assert_eq!(store.open_intents(token).await, Err(StoreError::ClaimEnded));
    // All is unchanged, and a worker will read the target.
    assert_eq!(store.link(&pair(), &"ann".into()).await.unwrap(), Some(link("ann", "a1")));
    assert!(store.changes(&ChangeFilter::default()).await.unwrap().is_empty());
    assert!(store.task(&user("bob")).await.is_none());
    assert_eq!(store.claims(&user("ann"), at(10)).await.intents.len(), 1);
}

pub async fn an_open_intent_closes_its_subject_until_it_cannot_arrive(store: World) {
    store.linked("ann", "a1", at(1)).await;
    let ann = store.work(&user("ann"), at(2)).await;
    let operation = deactivate("a1", "ann");
    let id = store.intend(ann.token, operation.clone(), at(30), at(2)).await;
    store.crash(at(3)).await;
    assert!(store.claim_one(at(29)).await.is_none());
    assert_eq!(store.next_due(&target(), &[connector()]).await.unwrap(), Some(at(30)));
    // A new event does not open it.
    store.event("1", &[user("ann")], at(10)).await;
    assert!(store.claim_one(at(29)).await.is_none());
    let next = store.claims(&user("ann"), at(30)).await;
    let open = OpenIntent {
        id,
        pair: pair(),
        subject: user("ann"),
        operation: operation.clone(),
        before: serde_json::json!({"was": 1}),
        cause: because("test"),
        caused_at: Some(at(2)),
        approved: false,
        arrives_until: at(30),
    };
    assert_eq!(next.intents, std::slice::from_ref(&open));
    assert_eq!(store.open_intents(next.token).await.unwrap(), [open]);
    // The next holder reads the target and resolves the intent; the change is recorded.
    store.resolve(next.token, id, ChangeOutcome::FoundNotDone, at(31)).await;
    assert!(store.open_intents(next.token).await.unwrap().is_empty());
    let changes = store.changes(&ChangeFilter::default()).await.unwrap();
    assert_eq!(changes.len(), 1);
    let expected = Change {
        id: changes[0].id,
        at: at(31),
        pair: pair(),
        subject: user("ann"),
        verb: "deactivate".into(),
        name: "ann".into(),
        before: serde_json::json!({"was": 1}),
        after: serde_json::to_value(&operation).unwrap(),
        limited: Some(Limited::Deactivate),
        approved: false,
        cause: because("test"),
        caused_at: Some(at(2)),
        outcome: ChangeOutcome::FoundNotDone,
    };
    assert_eq!(changes[0], expected);
    // An intent is resolved only once.
    let again = Step { resolved: vec![IntentOutcome { intent: id, outcome: ChangeOutcome::Done }], ..Step::default() };
    assert!(matches!(store.step(next.token, again, at(31)).await, Err(StoreError::NotFound(_))));
}

pub async fn an_open_intent_closes_its_account_for_all_workers(store: World) {
    store.linked("old", "a1", at(1)).await;
    let old = store.work(&user("old"), at(2)).await;
    let id = store.intend(old.token, deactivate("a1", "old"), at(30), at(2)).await;
    store.crash(at(3)).await;
    // Found by name, from another connector: not before that request can no longer arrive.
    let other = Pair::new("other", "jira");
    store.raise(&other, &[user("new")], Priority::Event, &because("x"), at(3)).await.unwrap();
    let new = store.claim(&target(), &["other".into()], at(3)).await.unwrap().unwrap();
    assert_eq!(store.adopt(new.token, link("new", "a1"), None, at(3)).await.unwrap(), Adopted::Busy { until: at(30) });
    store.defer(new.token, at(30), None, at(3)).await.unwrap();
    // After the old user's link is removed, the new user may have the account, and finds the intent of the other
    // subject.
    let old = store.claims(&user("old"), at(30)).await;
    store.step(old.token, Step { link: Some(LinkWrite::Remove), ..Step::default() }, at(30)).await.unwrap();
    store.fail(old.token, failure(Some(at(900))), at(30)).await.unwrap();
    let new = store.claim(&target(), &["other".into()], at(30)).await.unwrap().unwrap();
    assert!(new.intents.is_empty());
    assert_eq!(store.adopt(new.token, link("new", "a1"), None, at(30)).await.unwrap(), Adopted::Linked);
    assert_eq!(store.open_intents(new.token).await.unwrap()[0].id, id);
    store.done(new.token, at(30)).await;
    store.raise(&other, &[user("new")], Priority::Event, &because("x"), at(31)).await.unwrap();
    let new = store.claim(&target(), &["other".into()], at(31)).await.unwrap().unwrap();
    assert_eq!(new.intents.iter().map(|intent| intent.id).collect::<Vec<_>>(), [id]);
    store.resolve(new.token, id, ChangeOutcome::FoundDone, at(31)).await;
    // The change belongs to the connector that requested it.
    assert_eq!(store.changes(&ChangeFilter::default()).await.unwrap()[0].pair, pair());
}

pub async fn a_task_waits_for_an_account_with_an_open_intent_of_another(store: World) {
    // Two realms on one server: the link moved while a request of the old holder is in flight.
    store.linked("old", "a1", at(1)).await;
    let old = store.work(&user("old"), at(2)).await;
    store.intend(old.token, deactivate("a1", "old"), at(30), at(2)).await;
    store.step(old.token, Step { link: Some(LinkWrite::Remove), ..Step::default() }, at(2)).await.unwrap();
    store.defer(old.token, at(900), None, at(3)).await.unwrap();
    let new = store.work(&user("new"), at(3)).await;
    let put = Step { link: Some(LinkWrite::Put(link("new", "a1"))), ..Step::default() };
    assert_eq!(store.step(new.token, put, at(3)).await.unwrap(), Stepped::Written);
    store.fail(new.token, failure(Some(at(4))), at(3)).await.unwrap();
    assert!(store.claim_one(at(29)).await.is_none());
    assert_eq!(store.task(&user("new")).await.unwrap().not_before, at(30));
}

pub async fn a_claim_that_ends_with_its_intent_open_raises_the_task(store: World) {
    for nth in 0..4 {
        let name = user(&format!("u{nth}"));
        let claimed = store.work(&name, at(1)).await;
        store.intend(claimed.token, create(&format!("u{nth}")), at(30), at(1)).await;
        let token = claimed.token;
        match nth {
            0 => store.done(token, at(2)).await,
            // Not even a dead letter.
            1 => store.fail(token, failure(None), at(2)).await.unwrap(),
            2 => store.defer(token, at(5), None, at(2)).await.unwrap(),
            _ => store.crash(at(2)).await,
        }
        assert!(store.claim_one(at(29)).await.is_none(), "{nth}");
        let again = store.claims(&name, at(30)).await;
        assert_eq!(again.intents.len(), 1, "{nth}");
        store.resolve(again.token, again.intents[0].id, ChangeOutcome::FoundDone, at(30)).await;
        store.done(again.token, at(30)).await;
        assert!(store.task(&name).await.is_none());
    }
    // A subject claimed by a run has no task of its own yet.
    let observation = store.next_observation().await.unwrap();
    let claimed =
        store.claim_planned(&pair(), RunId(1), planned(&user("r"), observation, None), at(40)).await.unwrap().unwrap();
    store.intend(claimed.token, create("r"), at(50), at(40)).await;
    store.done(claimed.token, at(41)).await;
    assert_eq!(store.claims(&user("r"), at(50)).await.intents.len(), 1);
}

pub async fn a_create_closes_its_name(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    let bob = store.work(&user("bob"), at(1)).await;
    let who = async |token, name: &str| store.holder(token, &"a9".into(), name).await.unwrap();
    assert_eq!(who(bob.token, "Ann").await, Holder::Unlinked);
    let id = store.intend(ann.token, create("Ann"), at(30), at(1)).await;
    // For its own subject the account is the one that it creates.
    assert_eq!(who(ann.token, "ann").await, Holder::Unlinked);
    assert_eq!(who(bob.token, "aNN").await, Holder::BeingCreated);
    assert_eq!(
        store.adopt(bob.token, link("bob", "a9").named("ANN"), None, at(2)).await.unwrap(),
        Adopted::Busy { until: at(30) }
    );
    // It stays so after the deadline, until a worker has read the target.
    assert!(matches!(
        store.adopt(bob.token, link("bob", "a9").named("ann"), None, at(40)).await.unwrap(),
        Adopted::Busy { until } if until > at(40)
    ));
    store.resolve(ann.token, id, ChangeOutcome::FoundNotDone, at(41)).await;
    assert_eq!(who(bob.token, "ann").await, Holder::Unlinked);
    assert_eq!(store.adopt(bob.token, link("bob", "a9").named("ann"), None, at(41)).await.unwrap(), Adopted::Linked);
    let Holder::Linked { connector: whose, link } = who(ann.token, "ann").await else { panic!("linked") };
    assert_eq!((whose, link.user), (connector(), "bob".into()));
}

pub async fn a_link_moves_to_a_new_id_with_all_its_data(store: World) {
    let old = store.work(&user("old"), at(1)).await;
    let full = Link {
        federated: Some(Federated {
            component: "ldap".into(),
            login: Some("alice".into()),
            ldap_id: Some("e187".into()),
        }),
        seen_alive: Some(at(1)),
        written: Written { email: Some("o@x".into()), ..Written::default() },
        deactivated_by_us: true,
        taken: ["group:users".into(), "permission:LICENSED_USER".into()].into(),
        given: ["g1".into(), "g2".into()].into(),
        adopted: true,
        ..link("old", "a1")
    };
    store.step(old.token, Step { link: Some(LinkWrite::Put(full.clone())), ..Step::default() }, at(1)).await.unwrap();
    store.done(old.token, at(1)).await;
    let new = store.work(&user("new"), at(2)).await;
    let plain = link("new", "a1").named("Old");
    assert_eq!(
        store.adopt(new.token, plain.clone(), Some("other".into()), at(2)).await.unwrap(),
        Adopted::LinkedElsewhere { connector: connector(), user: "old".into() }
    );
    assert_eq!(store.adopt(new.token, plain, Some("old".into()), at(2)).await.unwrap(), Adopted::Linked);
    assert_eq!(store.link(&pair(), &"old".into()).await.unwrap(), None);
    let moved = Link { user: "new".into(), name: "Old".into(), ..full };
    assert_eq!(store.links(&pair()).await.unwrap(), [moved].into_iter().collect());
    // The old id's task finds no link and ends.
    let old = store.work(&user("old"), at(3)).await;
    assert_eq!(old.link, None);
    // Only the claimed user is linked.
    let wrong = Step { link: Some(LinkWrite::Put(link("ann", "a2"))), ..Step::default() };
    assert!(matches!(store.step(old.token, wrong, at(3)).await, Err(StoreError::Failed(_))));
    assert!(matches!(store.adopt(old.token, link("ann", "a2"), None, at(3)).await, Err(StoreError::Failed(_))));
}

pub async fn a_waiting_task_becomes_ready_when_the_other_is_done(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    assert!(!ann.wanted);
    let waits = store.wait_for(ann.token, &[user("bob"), user("cid")], true, at(60), at(2)).await.unwrap();
    assert_eq!(waits, Waiting::Waits);
    assert!(!store.still_held(ann.token).await.unwrap());
    let task = store.task(&user("ann")).await.unwrap();
    assert_eq!((task.state, task.attempts, task.not_before), (TaskState::Waiting { on: user("bob") }, 0, at(60)));
    // Both were raised, with the priority of the waiting subject.
    assert_eq!(store.task(&user("cid")).await.unwrap().priority, Priority::Event);
    let bob = store.claims(&user("bob"), at(2)).await;
    assert!(bob.wanted);
    let cid = store.claims(&user("cid"), at(2)).await;
    assert!(!cid.wanted);
    store.done(cid.token, at(3)).await;
    assert!(store.claim_one(at(3)).await.is_none());
    store.done(bob.token, at(4)).await;
    assert!(store.claim_one(at(8)).await.is_none(), "bob may not have done what ann waits for, and so again and again");
    let ann = store.claims(&user("ann"), at(9)).await;
    assert_eq!(ann.attempts, 0);
    assert_eq!(store.task(&user("ann")).await.unwrap().state, TaskState::Ready);
}

pub async fn a_task_that_waits_for_a_group_becomes_ready_when_it_is_done(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    store.wait_for(ann.token, &[Subject::group("g")], false, at(60), at(2)).await.unwrap();
    let group = store.claims(&Subject::group("g"), at(2)).await;
    store.done(group.token, at(3)).await;
    store.claims(&user("ann"), at(3)).await;
}

pub async fn a_waiting_task_is_due_after_a_maximum_wait(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    store.wait_for(ann.token, &[Subject::group("g")], false, at(60), at(2)).await.unwrap();
    let group = store.claims(&Subject::group("g"), at(2)).await;
    store.fail(group.token, failure(None), at(2)).await.unwrap();
    assert!(store.claim_one(at(59)).await.is_none());
    let ann = store.claims(&user("ann"), at(60)).await;
    // An existing task is not raised again, nor a dead one revived: only its own new events do that.
    store.wait_for(ann.token, &[Subject::group("g")], true, at(90), at(61)).await.unwrap();
    assert_eq!(store.task(&Subject::group("g")).await.unwrap().state, TaskState::Dead);
}

pub async fn a_rename_that_is_done_frees_the_name(store: World) {
    for (nth, outcome) in [ChangeOutcome::Done, ChangeOutcome::FoundDone].into_iter().enumerate() {
        let (bob, ann) = (user(&format!("bob{nth}")), user(&format!("ann{nth}")));
        let account = format!("a{nth}");
        store.linked(&format!("bob{nth}"), &account, at(1)).await;
        let waiting = store.work(&ann, at(1)).await;
        store.wait_for(waiting.token, std::slice::from_ref(&bob), true, at(600), at(1)).await.unwrap();
        let holder = store.claims(&bob, at(1)).await;
        let id = store.intend(holder.token, rename(&account, "bob", "tmp"), at(9), at(1)).await;
        store.resolve(holder.token, id, ChangeOutcome::Refused { why: "no".into(), permanent: false }, at(2)).await;
        assert!(store.claim_one(at(2)).await.is_none());
        let id = store.intend(holder.token, rename(&account, "bob", "tmp"), at(9), at(2)).await;
        store.resolve(holder.token, id, outcome, at(3)).await;
        let waiting = store.claims(&ann, at(3)).await;
        store.done(waiting.token, at(3)).await;
        store.done(holder.token, at(3)).await;
    }
}

pub async fn a_ring_is_found_by_following_waiting_tasks(store: World) {
    let names = ["a", "b", "c", "d"].map(user);
    let claimed: Vec<Claimed> = {
        let mut all = Vec::new();
        for name in &names {
            all.push(store.work(name, at(1)).await);
        }
        all
    };
    let wait = async |who: usize, on: usize, ring_ends_it: bool| {
        let others = [names[on].clone()];
        store.wait_for(claimed[who].token, &others, ring_ends_it, at(60), at(2)).await.unwrap()
    };
    assert_eq!(wait(0, 1, true).await, Waiting::Waits);
    assert_eq!(wait(1, 2, true).await, Waiting::Waits);
    // d waits for the chain, which does not lead back to d.
    assert_eq!(wait(3, 0, true).await, Waiting::Waits);
    assert_eq!(wait(2, 0, true).await, Waiting::Ring);
    assert!(store.still_held(claimed[2].token).await.unwrap());
    assert_eq!(store.task(&names[2]).await.unwrap().state, TaskState::Ready);
    // It may wait nevertheless; a subject that waits for itself is a cycle.
    assert_eq!(wait(2, 2, true).await, Waiting::Ring);
    assert_eq!(wait(2, 0, false).await, Waiting::Waits);
    // The search for a cycle ends.
    let e = store.work(&user("e"), at(2)).await;
    assert_eq!(store.wait_for(e.token, &[names[0].clone()], true, at(60), at(2)).await.unwrap(), Waiting::Waits);
}

pub async fn the_claim_of_a_subject_is_notified_of_its_events(store: World) {
    let run = store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(1)).await.unwrap();
    let ask = async |name: &str, now| {
        let observation = store.next_observation().await.unwrap();
        store.claim_planned(&pair(), run, planned(&user(name), observation, None), now).await.unwrap().expect("stands")
    };
    let ann = ask("ann", at(1)).await;
    let waits = store.event_waits(ann.token);
    let raise = async |priority, now| {
        store.raise(&pair(), &[user("ann")], priority, &because("test"), now).await.unwrap();
    };
    // Events of other subjects, and tasks without an event, do not count.
    store.event("1", &[user("bob")], at(2)).await;
    for priority in [Priority::Run, Priority::FanOut, Priority::Bulk, Priority::Retry] {
        raise(priority, at(2)).await;
    }
    assert_eq!(*waits.borrow(), None);
    store.event("2", &[user("ann")], at(3)).await;
    assert_eq!(*waits.borrow(), Some(Priority::Event));
    raise(Priority::Removal, at(3)).await;
    store.event("3", &[user("ann")], at(3)).await;
    assert_eq!(*waits.borrow(), Some(Priority::Removal));
    store.defer(ann.token, at(4), None, at(4)).await.unwrap();
    assert!(waits.has_changed().is_err(), "the claim has ended");
    assert!(store.event_waits(ann.token).has_changed().is_err());
    let ann = store.claims(&user("ann"), at(4)).await;
    store.done(ann.token, at(4)).await;

    // A task that was due at the run's claim counts; one that waits for its time does not.
    let bob = ask("bob", at(5)).await;
    assert_eq!(*store.event_waits(bob.token).borrow(), Some(Priority::Event));
    store.raise(&pair(), &[user("eve")], Priority::Event, &because("test"), at(30)).await.unwrap();
    let eve = ask("eve", at(5)).await;
    let waits = store.event_waits(eve.token);
    assert_eq!(*waits.borrow(), None);
    // A subject with an urgent event waits for it.
    let dan = store.work(&user("dan"), at(6)).await;
    store.wait_for(dan.token, &[user("eve")], true, at(60), at(6)).await.unwrap();
    assert_eq!(*waits.borrow(), Some(Priority::Event));
}

pub async fn a_run_works_only_subjects_that_were_not_worked_since(store: World) {
    let run = store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(1)).await.unwrap();
    let ask = async |name: &str, observation, account, now| {
        store.claim_planned(&pair(), run, planned(&user(name), observation, account), now).await.unwrap()
    };
    // Nothing recorded, no link, no other holder: the plan stands.
    let observation = store.next_observation().await.unwrap();
    let ann = ask("ann", observation, None, at(2)).await.expect("stands");
    assert_eq!((ann.generation, ann.cause.clone(), ann.link.clone()), (0, Cause::Run { id: run }, None));
    // Claimed already: the task is raised.
    assert!(ask("ann", observation, None, at(2)).await.is_none());
    assert_eq!(store.task(&user("ann")).await.unwrap().priority, Priority::Run);
    // The claim of a run keeps workers away, and does not end the task.
    assert!(store.claim_one(at(2)).await.is_none());
    let put = Step { link: Some(LinkWrite::Put(link("ann", "a1"))), ..Step::default() };
    store.step(ann.token, put, at(3)).await.unwrap();
    store.done(ann.token, at(3)).await;
    let worker = store.claims(&user("ann"), at(3)).await;
    assert_eq!(worker.cause, Cause::Run { id: run });
    store.done(worker.token, at(3)).await;
    assert!(store.task(&user("ann")).await.is_none());
    // A newer observation than the run's is recorded.
    assert!(ask("ann", observation, Some("a1"), at(4)).await.is_none());
    assert!(store.task(&user("ann")).await.is_some());
    let worker = store.claims(&user("ann"), at(4)).await;
    store.done(worker.token, at(4)).await;
    // The link differs from the one that the run read.
    let observation = store.next_observation().await.unwrap();
    for other in [None, Some("a2")] {
        assert!(ask("ann", observation, other, at(5)).await.is_none());
        let worker = store.claims(&user("ann"), at(5)).await;
        store.fail(worker.token, failure(Some(at(5))), at(5)).await.unwrap();
    }
    let ann = ask("ann", observation, Some("a1"), at(6)).await.expect("stands");
    assert_eq!(ann.link, Some(link("ann", "a1")));
    // An intent is open, though it can no longer arrive.
    store.intend(ann.token, deactivate("a1", "ann"), at(7), at(6)).await;
    store.crash(at(6)).await;
    let observation = store.next_observation().await.unwrap();
    assert!(ask("ann", observation, Some("a1"), at(100)).await.is_none());
    let ann = store.claims(&user("ann"), at(100)).await;
    store.resolve(ann.token, ann.intents[0].id, ChangeOutcome::Done, at(100)).await;
    // A change is a newer observation, even before the work ends.
    assert!(ask("ann", observation, Some("a1"), at(100)).await.is_none());
    store.done(ann.token, at(101)).await;
}

pub async fn a_subject_that_a_run_found_in_sync_is_read_again_if_it_was_worked_meanwhile(store: World) {
    let run = store.begin_run(&pair(), RunTrigger::Schedule, RunMode::Apply, at(1)).await.unwrap();
    for (name, account) in [("fine", "a1"), ("worked", "a2"), ("claimed", "a3"), ("moved", "a4"), ("open", "a5")] {
        store.linked(name, account, at(1)).await;
    }
    let open = store.work(&user("open"), at(1)).await;
    store.intend(open.token, deactivate("a5", "open"), at(9), at(1)).await;
    store.defer(open.token, at(900), None, at(1)).await.unwrap();
    let observation = store.next_observation().await.unwrap();
    let worked = store.work(&user("worked"), at(2)).await;
    store.done(worked.token, at(2)).await;
    let _claimed = store.work(&user("claimed"), at(2)).await;
    let found = vec![
        planned(&user("fine"), observation, Some("a1")),
        planned(&user("worked"), observation, Some("a2")),
        planned(&user("claimed"), observation, Some("a3")),
        planned(&user("moved"), observation, Some("a9")),
        planned(&user("open"), observation, Some("a5")),
        planned(&user("nobody"), observation, None),
        planned(&user("unlinked"), observation, Some("a8")),
        planned(&Subject::group("g"), observation, None),
        planned(&user("blocked"), observation, Some("a5")),
    ];
    assert_eq!(store.found_in_sync(&pair(), run, found, at(3)).await.unwrap(), 6);
    let tasks = store.tasks(&TaskFilter::default()).await.unwrap();
    let raised: BTreeSet<Subject> = tasks.into_iter().map(|task| task.subject).collect();
    assert_eq!(raised, ["worked", "claimed", "moved", "open", "unlinked", "blocked"].map(user).into());
}

pub async fn an_observation_is_never_issued_twice(store: World) {
    let mut observations = BTreeSet::new();
    for _ in 0..100 {
        let observation = store.next_observation().await.unwrap();
        assert!(observations.last().is_none_or(|last| *last < observation));
        observations.insert(observation);
    }
    // The end of work takes an observation number too, so that one begun before it is older.
    let before = store.next_observation().await.unwrap();
    let ann = store.work(&user("ann"), at(1)).await;
    store.done(ann.token, at(1)).await;
    let run = RunId(1);
    assert!(store.claim_planned(&pair(), run, planned(&user("ann"), before, None), at(2)).await.unwrap().is_none());
    store.claims(&user("ann"), at(2)).await;
    store.crash(at(2)).await;
    assert!(store.next_observation().await.unwrap() > before);
}

pub async fn a_dead_letter_that_fails_in_a_run_stays_dead(store: World) {
    let worker = store.work(&user("ann"), at(1)).await;
    store.fail(worker.token, failure(None), at(1)).await.unwrap();
    let run = store.begin_run(&pair(), RunTrigger::Schedule, RunMode::Apply, at(2)).await.unwrap();
    let claim = async |now| {
        let observation = store.next_observation().await.unwrap();
        store.claim_planned(&pair(), run, planned(&user("ann"), observation, None), now).await.unwrap().expect("stands")
    };
    store.fail(claim(at(2)).await.token, failure(None), at(3)).await.unwrap();
    assert!(store.claim_one(at(4)).await.is_none(), "it is not tried once more");
    assert_eq!(store.task(&user("ann")).await.unwrap().state, TaskState::Dead);
    // Tasks raised meanwhile have their own attempts.
    let claimed = claim(at(5)).await;
    store.event("1", &[user("ann")], at(5)).await;
    store.fail(claimed.token, failure(None), at(6)).await.unwrap();
    store.claims(&user("ann"), at(9)).await;
}

pub async fn creates_without_recovery_are_kept_for_a_run(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    store.intend(ann.token, create("ann"), at(9), at(1)).await;
    assert!(store.stale_intents(&pair(), at(20)).await.unwrap().is_empty());
    store.crash(at(2)).await;
    assert!(store.stale_intents(&pair(), at(20)).await.unwrap().is_empty());
    let ann = store.claims(&user("ann"), at(9)).await;
    assert_eq!(ann.intents.len(), 1);
    store.fail(ann.token, failure(None), at(9)).await.unwrap();
    // With an open intent it is no dead letter, so that its own task resolves it.
    assert!(store.stale_intents(&pair(), at(20)).await.unwrap().is_empty());
    store.claims(&user("ann"), at(9)).await;
}

pub async fn many_workers_never_claim_one_subject_or_account_twice(store: World) {
    for nth in 0..40 {
        store.linked(&format!("u{nth}"), &format!("a{nth}"), at(0)).await;
    }
    let subjects: Vec<Subject> = (0..80).map(|nth| user(&format!("u{nth}"))).collect();
    store.raise(&pair(), &subjects, Priority::Event, &because("x"), at(1)).await.unwrap();
    let held = tokio::sync::Mutex::new(BTreeMap::<String, Token>::new());
    let worked = std::sync::atomic::AtomicUsize::new(0);
    let worker = async |nth: i64| {
        while let Some(claimed) = store.claim_one(at(1)).await {
            let mut keys = vec![claimed.subject.to_string()];
            keys.extend(claimed.link.iter().map(|link| format!("account {}", link.account)));
            {
                let mut held = held.lock().await;
                for key in &keys {
                    assert_eq!(held.insert(key.clone(), claimed.token), None, "{key} twice");
                }
            }
            for _ in 0..(nth % 5) {
                tokio::task::yield_now().await;
            }
            assert!(store.still_held(claimed.token).await.unwrap());
            let again = worked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 400;
            if again {
                store
                    .raise(&pair(), std::slice::from_ref(&claimed.subject), Priority::Run, &because("y"), at(1))
                    .await
                    .unwrap();
            }
            {
                let mut held = held.lock().await;
                for key in &keys {
                    held.remove(key);
                }
            }
            store.done(claimed.token, at(1)).await;
        }
    };
    futures::future::join_all((0..24).map(worker)).await;
    assert!(store.tasks(&TaskFilter::default()).await.unwrap().is_empty());
    assert!(worked.into_inner() >= 480);
}

pub async fn waiting_for_a_claim_that_has_ended_is_ready_at_once(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    let bob = store.work(&user("bob"), at(1)).await;
    store.done(bob.token, at(2)).await;
    // Bob's work ended after ann's began, so ann's read of bob is old.
    let waiting = store.wait_for(ann.token, &[user("bob")], true, at(60), at(2)).await.unwrap();
    assert_eq!(waiting, Waiting::Waits);
    assert!(store.task(&user("bob")).await.is_none(), "he is not worked again for it");
    let ann = store.claims(&user("ann"), at(2)).await;
    // Now ann has read bob's result: ann waits, and bob is worked again.
    store.wait_for(ann.token, &[user("bob")], true, at(60), at(3)).await.unwrap();
    let bob = store.claims(&user("bob"), at(3)).await;
    assert!(store.claim_one(at(3)).await.is_none());
    store.complete(bob.token, Step::default(), vec![], at(8), at(4)).await.unwrap();
    assert!(store.claim_one(at(7)).await.is_none());
    store.claims(&user("ann"), at(8)).await;
}

pub async fn a_group_removes_only_an_account_that_no_link_and_no_claim_has(store: World) {
    store.linked("ann", "a1", at(1)).await;
    let group = store.work(&Subject::group("g1"), at(2)).await;
    let remove = |account: &str| {
        let operation = Operation::RemoveMember {
            group: "t1".into(),
            group_name: "devs".into(),
            account: account.into(),
            name: "visitor".into(),
        };
        let intent = NewIntent {
            operation,
            before: serde_json::Value::Null,
            arrives_until: at(20),
            limit: None,
            approved_by: None,
        };
        Step { next: vec![intent], ..Step::default() }
    };
    assert_eq!(store.step(group.token, remove("a1"), at(2)).await.unwrap(), Stepped::AccountTaken);
    assert!(store.open_intents(group.token).await.unwrap().is_empty());
    assert!(matches!(store.step(group.token, remove("a2"), at(2)).await.unwrap(), Stepped::Send(_)));
    // While its request can arrive, no user takes the account over.
    let bob = store.work(&user("bob"), at(3)).await;
    let adopted = store.adopt(bob.token, link("bob", "a2"), None, at(3)).await.unwrap();
    assert_eq!(adopted, Adopted::Busy { until: at(20) });
}
