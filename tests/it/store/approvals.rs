//! Safety limits, approvals, decisions.

use usersync::{model::*, store::*};

use super::world::*;

/// Stores an intent of an operation with a safety limit.
async fn gated(store: &World, token: Token, operation: Operation, limit: u32, now: jiff::Timestamp) -> Stepped {
    let next = NewIntent { limit: Some(limit), ..intent(operation, later(now, 10)) };
    store.step(token, Step { next: vec![next], ..Step::default() }, now).await.unwrap()
}

async fn approve(store: &World, set: i64, items: Vec<i64>, approve: bool, now: jiff::Timestamp) -> usize {
    let decision = Decision { set, items, approve, by: "eve".into(), note: Some("fine".into()) };
    store.decide(&decision, now).await.unwrap()
}

pub async fn several_intents_are_written_as_a_batch_and_unsent_ones_leave_no_change(store: World) {
    store.linked("ann", "a1", at(0)).await;
    let ann = store.work(&user("ann"), at(1)).await;
    let operations = [join("a1", "ann", "g1"), join("a1", "ann", "g2"), join("a1", "ann", "g3")];
    let next = operations.iter().map(|one| intent(one.clone(), at(9))).collect();
    let stepped = store.step(ann.token, Step { next, ..Step::default() }, at(1)).await.unwrap();
    let Stepped::Send(ids) = stepped else { panic!("{stepped:?}") };
    let open = store.open_intents(ann.token).await.unwrap();
    assert_eq!(open.iter().map(|one| one.id).collect::<Vec<_>>(), ids);
    assert_eq!(open.into_iter().map(|one| one.operation).collect::<Vec<_>>(), operations);
    // A subject cannot withdraw another subject's item.
    let bob = store.work(&user("bob"), at(1)).await;
    let foreign = Step { unsent: vec![ids[1]], ..Step::default() };
    assert!(matches!(store.step(bob.token, foreign, at(2)).await, Err(StoreError::Failed(_))));
    let resolved = vec![IntentOutcome { intent: ids[0], outcome: ChangeOutcome::Done }];
    let last = Step { resolved, unsent: vec![ids[1], ids[2]], ..Step::default() };
    assert_eq!(store.complete(ann.token, last, vec![], at(9), at(2)).await.unwrap(), Stepped::Written);
    let changes = store.changes(&ChangeFilter::default()).await.unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0].after["group"], "g1");
    // Nothing is open, so the task ended with the claim.
    assert_eq!(store.task(&user("ann")).await, None);
}

pub async fn past_the_limit_nothing_is_sent_but_the_rest_is_written(store: World) {
    store.linked("ann", "a1", at(0)).await;
    let ann = store.work(&user("ann"), at(1)).await;
    let out = deactivate("a1", "ann");
    let done = async |now| store.done_in_last_hour(&pair(), Limited::Deactivate, now).await.unwrap();
    let Stepped::Send(first) = gated(&store, ann.token, out.clone(), 2, at(1)).await else { panic!("sent") };
    // Operations in flight count; those that were not done do not.
    assert_eq!(done(at(1)).await, 1);
    store.resolve(ann.token, first[0], ChangeOutcome::FoundNotDone, at(2)).await;
    assert_eq!(done(at(2)).await, 0);
    for outcome in [ChangeOutcome::Done, ChangeOutcome::FoundDone] {
        let Stepped::Send(id) = gated(&store, ann.token, out.clone(), 2, at(3)).await else { panic!("sent") };
        store.resolve(ann.token, id[0], outcome, at(3)).await;
    }
    assert_eq!(done(at(4)).await, 2);
    let step = Step {
        link: Some(LinkWrite::Put(link("ann", "a1").named("anna"))),
        next: vec![NewIntent { limit: Some(2), ..intent(out.clone(), at(9)) }],
        ..Step::default()
    };
    assert_eq!(store.step(ann.token, step, at(4)).await.unwrap(), Stepped::LimitReached { done: 2 });
    assert_eq!(store.link(&pair(), &"ann".into()).await.unwrap().unwrap().name, "anna");
    assert!(store.open_intents(ann.token).await.unwrap().is_empty());
    // Other kinds, other pairs and operations without a limit do not count.
    let other = gated(&store, ann.token, rename("a1", "anna", "ann"), 1, at(4)).await;
    assert!(matches!(other, Stepped::Send(_)));
    assert_eq!(store.done_in_last_hour(&Pair::new("corp", "wiki"), Limited::Deactivate, at(4)).await.unwrap(), 0);
    let Stepped::Send(_) = gated(&store, ann.token, create("x"), 0, at(4)).await else { panic!("is not limited") };
    // An hour later the limit has room again.
    assert_eq!(done(at(3_604)).await, 0);
    assert!(matches!(gated(&store, ann.token, out, 2, at(3_604)).await, Stepped::Send(_)));
}

pub async fn operations_past_a_limit_wait_for_a_decision(store: World) {
    let gate = ApprovalKind::SafetyLimit(Limited::Deactivate);
    let mut set = 0;
    for name in ["ann", "bob"] {
        let claimed = store.work(&user(name), at(1)).await;
        let held = vec![hold(gate, "deactivate", "f1"), hold(ApprovalKind::Adoption, "adopt", "f1")];
        store.complete(claimed.token, Step::default(), held, at(9), at(1)).await.unwrap();
        assert!(store.has_open_items(&pair(), gate).await.unwrap());
    }
    // One open approval per kind; later items are added to it.
    let sets = store.approvals(true).await.unwrap();
    assert_eq!(sets.len(), 2);
    for one in &sets {
        assert_eq!((one.pair.clone(), one.open, one.open_items, one.items), (pair(), true, 2, 2));
        if one.kind == gate {
            set = one.id;
        }
    }
    assert!(!store.has_open_items(&pair(), ApprovalKind::SafetyLimit(Limited::RemoveMember)).await.unwrap());
    assert_eq!(store.counts(&pair(), at(1)).await.unwrap().held, 4);
    // The same items again change nothing; unneeded items are withdrawn.
    let ann = store.work(&user("ann"), at(2)).await;
    assert!(ann.decided.is_empty());
    store.complete(ann.token, Step::default(), vec![hold(gate, "deactivate", "f2")], at(9), at(2)).await.unwrap();
    let (one, items) = store.approval(set).await.unwrap();
    assert_eq!((one.open_items, items.len()), (2, 2));
    assert_eq!((items[0].subject.clone(), items[0].item.fingerprint.as_str()), (user("ann"), "f2"));

    // One item at a time, once.
    assert_eq!(approve(&store, set, vec![items[0].id], true, at(3)).await, 1);
    assert_eq!(approve(&store, set, vec![items[0].id], false, at(3)).await, 0);
    assert_eq!(approve(&store, set, vec![4711], true, at(3)).await, 0);
    let (one, again) = store.approval(set).await.unwrap();
    assert!(one.open && again[0].subject == user("bob"), "open ones come first");
    assert!(one.decision.unwrap().contains("approved (1 of 2) by eve"));
    // An approval raises the task; it is used once, and counts for no limit.
    let ann = store.claims(&user("ann"), at(3)).await;
    assert_eq!(store.task(&user("ann")).await.unwrap().priority, Priority::Retry);
    assert_eq!((ann.decided.len(), ann.decided[0].state), (1, ApprovalItemState::Approved));
    let approved = |item| NewIntent { approved_by: Some(item), ..intent(deactivate("a1", "ann"), at(9)) };
    let wrong = Step { next: vec![approved(items[1].id)], ..Step::default() };
    assert!(matches!(store.step(ann.token, wrong, at(3)).await, Err(StoreError::NotFound(_))));
    let step = Step { next: vec![approved(items[0].id)], ..Step::default() };
    let Stepped::Send(id) = store.step(ann.token, step.clone(), at(3)).await.unwrap() else { panic!("sent") };
    assert_eq!(store.done_in_last_hour(&pair(), Limited::Deactivate, at(3)).await.unwrap(), 0);
    assert!(matches!(store.step(ann.token, step, at(3)).await, Err(StoreError::NotFound(_))));
    store.resolve(ann.token, id[0], ChangeOutcome::Done, at(4)).await;
    assert_eq!(store.done_in_last_hour(&pair(), Limited::Deactivate, at(4)).await.unwrap(), 0);
    assert!(store.changes(&ChangeFilter::default()).await.unwrap()[0].approved);
    store.done(ann.token, at(4)).await;

    // The rest at once; an approval without waiting items is closed, and a later item opens another.
    assert_eq!(approve(&store, set, vec![], false, at(5)).await, 1);
    assert!(!store.approval(set).await.unwrap().0.open);
    assert!(!store.has_open_items(&pair(), gate).await.unwrap());
    assert_eq!(approve(&store, set, vec![], true, at(5)).await, 0);
    assert!(store.claim_one(at(5)).await.is_none(), "a rejection raises nothing");
    let states: Vec<_> = store.approval(set).await.unwrap().1.iter().map(|item| item.state).collect();
    assert_eq!(states, [ApprovalItemState::Done, ApprovalItemState::Rejected]);
    assert!(matches!(store.approval(99).await, Err(StoreError::NotFound(_))));
    let nothing = Decision { set: 99, items: vec![], approve: true, by: "eve".into(), note: None };
    assert!(matches!(store.decide(&nothing, at(5)).await, Err(StoreError::NotFound(_))));
}

pub async fn an_approval_is_used_up_by_success_or_a_refusal_for_good(store: World) {
    let refused = |permanent| ChangeOutcome::Refused { why: "no".into(), permanent };
    let stays = [Some(refused(false)), Some(ChangeOutcome::FoundNotDone), Some(ChangeOutcome::NotSeen), None];
    let ends = [
        (ChangeOutcome::Done, ApprovalItemState::Done),
        (ChangeOutcome::FoundDone, ApprovalItemState::Done),
        (refused(true), ApprovalItemState::Refused),
    ];
    for (nth, (outcome, state)) in ends.into_iter().enumerate() {
        let name = format!("ann{nth}");
        let subject = user(&name);
        let ann = store.work(&subject, at(1)).await;
        let held = vec![hold(ApprovalKind::SafetyLimit(Limited::Deactivate), "deactivate", "f1")];
        store.complete(ann.token, Step::default(), held, at(9), at(1)).await.unwrap();
        let set = store.approvals(true).await.unwrap()[0].id;
        assert_eq!(approve(&store, set, vec![], true, at(2)).await, 1);
        for attempt in stays.iter().cloned().chain([Some(outcome)]) {
            let ann = store.claims(&subject, at(3)).await;
            assert_eq!(ann.decided.len(), 1, "{attempt:?}");
            let item = ann.decided[0].id;
            let next = NewIntent { approved_by: Some(item), ..intent(deactivate("a1", "ann"), at(4)) };
            let step = Step { next: vec![next], ..Step::default() };
            let Stepped::Send(ids) = store.step(ann.token, step, at(3)).await.unwrap() else { panic!("sent") };
            let ended = match attempt {
                Some(outcome) => Step { resolved: vec![IntentOutcome { intent: ids[0], outcome }], ..Step::default() },
                None => Step { unsent: ids, ..Step::default() },
            };
            store.step(ann.token, ended, at(3)).await.unwrap();
            store.defer(ann.token, at(3), None, at(3)).await.unwrap();
        }
        let ann = store.claims(&subject, at(3)).await;
        assert!(ann.decided.is_empty(), "{:?}", ann.decided);
        store.done(ann.token, at(3)).await;
        assert_eq!(store.approval(set).await.unwrap().1[0].state, state);
    }
}

pub async fn an_adoption_uses_its_approval_up(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    store
        .complete(ann.token, Step::default(), vec![hold(ApprovalKind::Adoption, "adopt:a1", "f1")], at(9), at(1))
        .await
        .unwrap();
    let set = store.approvals(true).await.unwrap()[0].id;
    assert_eq!(approve(&store, set, vec![], true, at(2)).await, 1);
    let ann = store.claims(&user("ann"), at(2)).await;
    assert_eq!(store.adopt(ann.token, link("ann", "a1"), None, at(2)).await.unwrap(), Adopted::Linked);
    store.done(ann.token, at(2)).await;
    assert_eq!(store.approval(set).await.unwrap().1[0].state, ApprovalItemState::Done);
}

pub async fn a_withdrawn_rejection_makes_its_subject_due(store: World) {
    let gate = ApprovalKind::SafetyLimit(Limited::Deactivate);
    for name in ["ann", "bob"] {
        let claimed = store.work(&user(name), at(1)).await;
        store
            .complete(claimed.token, Step::default(), vec![hold(gate, "deactivate", "f1")], at(9), at(1))
            .await
            .unwrap();
    }
    let set = store.approvals(true).await.unwrap()[0].id;
    let withdraw = async |items: &[i64]| store.withdraw_rejections(set, items, "eve", at(3)).await.unwrap();
    assert_eq!(withdraw(&[]).await, 0, "what waits is not rejected");
    assert_eq!(approve(&store, set, vec![], false, at(2)).await, 2);
    let (rejected, items) = store.approval(set).await.unwrap();
    assert_eq!((rejected.open, rejected.rejected_items), (false, 2));
    assert_eq!(store.standing_items(&pair()).await.unwrap().len(), 2);
    assert_eq!(withdraw(&[items[0].id]).await, 1);
    assert_eq!(withdraw(&[items[0].id]).await, 0);
    let ann = store.claims(&user("ann"), at(3)).await;
    assert!(ann.decided.is_empty());
    store.done(ann.token, at(3)).await;
    assert!(store.claim_one(at(3)).await.is_none());
    assert_eq!(store.approval(set).await.unwrap().0.rejected_items, 1);
    assert!(store.audit(None, 1).await.unwrap()[0].what.contains("withdrew 1 rejection of approval"));
    assert!(matches!(store.withdraw_rejections(99, &[], "eve", at(4)).await, Err(StoreError::NotFound(_))));
}

pub async fn a_rejection_is_kept_while_the_same_is_planned(store: World) {
    let kind = ApprovalKind::Adoption;
    let ann = store.work(&user("ann"), at(1)).await;
    store.complete(ann.token, Step::default(), vec![hold(kind, "adopt", "f1")], at(9), at(1)).await.unwrap();
    let set = store.approvals(true).await.unwrap()[0].id;
    assert_eq!(approve(&store, set, vec![], false, at(2)).await, 1);
    for held in [vec![hold(kind, "adopt", "f1")], vec![hold(kind, "adopt", "f1")]] {
        let ann = store.work(&user("ann"), at(3)).await;
        assert_eq!((ann.decided.len(), ann.decided[0].state), (1, ApprovalItemState::Rejected));
        store.complete(ann.token, Step::default(), held, at(9), at(3)).await.unwrap();
        assert!(store.approvals(true).await.unwrap().is_empty());
    }
    let ann = store.work(&user("ann"), at(4)).await;
    store.complete(ann.token, Step::default(), vec![hold(kind, "adopt", "f2")], at(9), at(4)).await.unwrap();
    let open = store.approvals(true).await.unwrap();
    assert_eq!((open.len(), open[0].open_items), (1, 1));
    assert_ne!(open[0].id, set);
    // A rejection ends when the item is no longer planned; a new plan asks again.
    assert_eq!(approve(&store, open[0].id, vec![], false, at(5)).await, 1);
    let ann = store.work(&user("ann"), at(5)).await;
    assert_eq!(ann.decided.len(), 1);
    store.done(ann.token, at(5)).await;
    assert!(store.work(&user("ann"), at(6)).await.decided.is_empty());
}

pub async fn an_approval_that_is_needed_no_more_is_withdrawn(store: World) {
    let ann = store.work(&user("ann"), at(1)).await;
    store
        .complete(ann.token, Step::default(), vec![hold(ApprovalKind::Activation, "activate", "f1")], at(9), at(1))
        .await
        .unwrap();
    let set = store.approvals(true).await.unwrap()[0].id;
    assert_eq!(approve(&store, set, vec![], true, at(2)).await, 1);
    let ann = store.claims(&user("ann"), at(2)).await;
    assert_eq!(ann.decided[0].state, ApprovalItemState::Approved);
    store.done(ann.token, at(2)).await;
    assert!(store.work(&user("ann"), at(3)).await.decided.is_empty());
    assert_eq!(store.approval(set).await.unwrap().1[0].state, ApprovalItemState::Withdrawn);
}

pub async fn a_first_run_waits_for_approval(store: World) {
    store.ensure_pairs(&[pair()], at(0)).await.unwrap();
    let first = store.hold_first_run(&pair(), serde_json::json!({"create": 3}), at(1)).await.unwrap();
    assert_eq!(store.pair_state(&pair()).await.unwrap(), PairState::Held);
    let again = store.hold_first_run(&pair(), serde_json::json!({"create": 4}), at(2)).await.unwrap();
    assert_eq!(first, again);
    let (set, items) = store.approval(first).await.unwrap();
    assert_eq!((set.kind, set.summary, items.len()), (ApprovalKind::FirstRun, serde_json::json!({"create": 4}), 0));
    // Other decisions leave it open.
    let ann = store.work(&user("ann"), at(2)).await;
    store
        .complete(ann.token, Step::default(), vec![hold(ApprovalKind::Adoption, "adopt", "f")], at(9), at(2))
        .await
        .unwrap();
    let other = store.approvals(true).await.unwrap()[0].id;
    assert_eq!(approve(&store, other, vec![], true, at(3)).await, 1);
    assert!(store.approval(first).await.unwrap().0.open);
    assert_eq!(approve(&store, first, vec![], true, at(4)).await, 1);
    assert_eq!(approve(&store, first, vec![], true, at(4)).await, 0);
    assert_eq!(store.pair_state(&pair()).await.unwrap(), PairState::Approved);
    assert!(store.approvals(true).await.unwrap().is_empty());
    assert_eq!(store.approvals(false).await.unwrap().len(), 2);
    assert!(store.audit(None, 1).await.unwrap()[0].what.contains("approved: fine"));
    // After a rejection it stays held; the next plan opens another approval.
    store.set_pair_state(&pair(), PairState::Held, at(5)).await.unwrap();
    let next = store.hold_first_run(&pair(), serde_json::Value::Null, at(5)).await.unwrap();
    assert_eq!(approve(&store, next, vec![], false, at(6)).await, 1);
    assert_eq!(store.pair_state(&pair()).await.unwrap(), PairState::Held);
    assert!(store.hold_first_run(&pair(), serde_json::Value::Null, at(7)).await.unwrap() > next);
}

pub async fn an_approved_adopted_group_may_lose_members(store: World) {
    let group = Subject::group("g1");
    let claimed = store.work(&group, at(1)).await;
    let managed =
        ManagedGroup { id: "t1".into(), name: "devs".into(), adopted: true, removals_approved: false, sources: vec![] };
    let manage = GroupWrite::Manage {
        source: "g1".into(),
        name: "devs".into(),
        group: managed,
        named: NameFrom::Target,
        shared: false,
    };
    store.step(claimed.token, Step { group: Some(manage.clone()), ..Step::default() }, at(1)).await.unwrap();
    store.done(claimed.token, at(1)).await;
    let ann = store.work(&user("ann"), at(2)).await;
    store
        .complete(
            ann.token,
            Step::default(),
            vec![hold(ApprovalKind::AdoptedGroup, "remove_member:t1", "f")],
            at(9),
            at(2),
        )
        .await
        .unwrap();
    let set = store.approvals(true).await.unwrap()[0].id;
    assert!(!store.managed_groups(&target()).await.unwrap()[0].removals_approved);
    assert_eq!(approve(&store, set, vec![], true, at(3)).await, 1);
    assert!(store.managed_groups(&target()).await.unwrap()[0].removals_approved);
    // An older read of the group does not undo it.
    let claimed = {
        let ann = store.claims(&user("ann"), at(3)).await;
        store.done(ann.token, at(3)).await;
        store.work(&group, at(3)).await
    };
    store.step(claimed.token, Step { group: Some(manage), ..Step::default() }, at(3)).await.unwrap();
    assert!(store.managed_groups(&target()).await.unwrap()[0].removals_approved);
}
