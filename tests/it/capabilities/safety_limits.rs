//! Safety limits, and the decisions about the operations that they hold.

use jiff::Timestamp;
use usersync::{
    demo::stack::Stack,
    model::{ApprovalItemState, ApprovalKind, FirstRun, Limited},
    store::{EngineStore, OperatorStore, StoreReads},
};
use usersync_simulators::{
    Fault,
    jira::NewAccount,
    keycloak::{NewUser, UserChange},
};

use super::{
    runs::waits_for_approval,
    support::{World, policy, servers, world},
};

/// Starts a world in which six users were disabled without an event: one more than the limit.
async fn six_disabled() -> World {
    let w = world().await;
    w.realm().switch_webhook(false);
    for number in 0..6 {
        w.realm().update_user(&w.id(&format!("staff{number}")), UserChange::enabled(false)).await.unwrap();
    }
    w
}

#[tokio::test]
async fn past_a_limit_the_whole_kind_waits_for_approval_and_the_rest_continues() {
    let w = six_disabled().await;
    w.realm().update_user(&w.id("staff8"), UserChange::email("eight@example.com")).await.unwrap();
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    let report = w.run().await;
    assert_eq!(report.limits_reached, [Limited::Deactivate]);
    assert_eq!(report.limits[&Limited::Deactivate], (6, 5));
    let kind = ApprovalKind::SafetyLimit(Limited::Deactivate);
    assert_eq!(w.waiting(kind).await.len(), 6);
    assert!((0..6).all(|number| w.account(&format!("staff{number}")).active));
    assert_eq!(w.account("staff8").email, "eight@example.com");
    assert!(w.has_account("alice"));

    // From there on events hold their operations too, and add them to the approval.
    w.realm().switch_webhook(true);
    w.realm().update_user(&w.id("staff9"), UserChange::enabled(false)).await.unwrap();
    w.settled().await;
    assert_eq!(w.waiting(kind).await.len(), 7);

    // Approves one item, once.
    let (set, items) = w.held(kind).await.unwrap();
    let one = items.iter().find(|item| item.item.what.contains("staff3")).unwrap().id;
    w.decide_items(set.id, vec![one], true).await;
    assert!(!w.account("staff3").active);
    assert_eq!(w.waiting(kind).await.len(), 6);
    w.run().await;
    assert_eq!(w.waiting(kind).await.len(), 6);

    // A user that returns at the source waits no longer.
    w.realm().update_user(&w.id("staff4"), UserChange::enabled(true)).await.unwrap();
    w.settled().await;
    assert_eq!(w.waiting(kind).await.len(), 5);

    // Approves the rest as a whole.
    w.decide(kind, true).await;
    assert_eq!(w.waiting(kind).await, Vec::<String>::new());
    w.agrees();
}

#[tokio::test]
async fn a_rejection_is_kept_while_the_operation_would_do_the_same() {
    let w = six_disabled().await;
    w.run().await;
    let kind = ApprovalKind::SafetyLimit(Limited::Deactivate);
    w.decide(kind, false).await;
    let written = w.written_by(async {
        w.run().await;
        w.run().await;
    });
    assert_eq!(written.await, Vec::<String>::new());
    assert_eq!(w.waiting(kind).await, Vec::<String>::new(), "what was rejected is not asked again");
    assert!(w.account("staff0").active);
    w.realm().switch_webhook(true);
    w.realm().update_user(&w.id("staff0"), UserChange::email("zero@example.com")).await.unwrap();
    w.settled().await;
    assert_eq!(w.account("staff0").email, "staff0@example.org");
    assert!(w.account("staff0").active, "another address changes nothing of what was rejected");
    // A user enabled and disabled again is a new deactivation.
    w.realm().update_user(&w.id("staff0"), UserChange::enabled(true)).await.unwrap();
    w.settled().await;
    w.realm().update_user(&w.id("staff0"), UserChange::enabled(false)).await.unwrap();
    w.settled().await;
    assert!(!w.account("staff0").active, "alone it is within the limit");
    assert!(w.account("staff1").active);
}

#[tokio::test]
async fn a_run_withdraws_a_rejection_that_is_about_nothing_any_more() {
    let w = six_disabled().await;
    w.run().await;
    w.decide(ApprovalKind::SafetyLimit(Limited::Deactivate), false).await;
    w.realm().update_user(&w.id("staff0"), UserChange::enabled(true)).await.unwrap();
    w.run().await;
    let standing = w.stack.store.standing_items(&Stack::pair()).await.unwrap();
    assert_eq!(standing.len(), 5, "{standing:?}");
}

#[tokio::test]
async fn what_was_rejected_counts_towards_no_limit_and_is_not_planned() {
    let w = six_disabled().await;
    w.run().await;
    let kind = ApprovalKind::SafetyLimit(Limited::Deactivate);
    w.decide(kind, false).await;
    w.realm().update_user(&w.id("staff9"), UserChange::enabled(false)).await.unwrap();
    let plan = w.dry_run().await;
    assert_eq!((plan.planned_total(), plan.held, plan.rejected), (1, 0, 6), "{plan:?}");
    let report = w.run().await;
    assert_eq!((report.limits_reached.len(), report.held, report.rejected), (0, 0, 6), "{report:?}");
    assert!(!w.account("staff9").active, "one alone is within the limit");
    assert!((0..6).all(|number| w.account(&format!("staff{number}")).active));
}

#[tokio::test]
async fn a_rejection_that_is_withdrawn_is_planned_again() {
    let w = six_disabled().await;
    w.run().await;
    let kind = ApprovalKind::SafetyLimit(Limited::Deactivate);
    let (set, items) = w.held(kind).await.unwrap();
    w.decide(kind, false).await;
    let staff2 = items.iter().find(|item| item.item.what.contains("staff2")).unwrap().id;
    assert_eq!(w.stack.store.withdraw_rejections(set.id, &[staff2], "ann", Timestamp::now()).await.unwrap(), 1);
    w.calm().await;
    assert!(!w.account("staff2").active, "alone it is within the limit");
    assert!(w.account("staff1").active);
    assert_eq!(w.dry_run().await.rejected, 5);
}

#[tokio::test]
async fn an_approval_outlasts_a_target_that_refuses_for_a_while() {
    for fault in [Fault::unavailable(), Fault::too_many(0), Fault::status(500, "{}"), Fault::cut()] {
        let w = world().await;
        w.realm().switch_webhook(false);
        for number in 0..6 {
            w.realm().update_user(&w.id(&format!("staff{number}")), UserChange::enabled(false)).await.unwrap();
        }
        w.run().await;
        let kind = ApprovalKind::SafetyLimit(Limited::Deactivate);
        let name = format!("{fault:?}");
        w.jira().faults.add(fault.method("PUT").times(12));
        w.decide(kind, true).await;
        w.jira().faults.clear();
        w.settled().await;
        assert_eq!(w.waiting(kind).await, Vec::<String>::new(), "{name}");
        let left: Vec<_> = (0..6).filter(|number| w.account(&format!("staff{number}")).active).collect();
        assert_eq!(left, Vec::<i32>::new(), "{name}");
        w.agrees();
    }
}

#[tokio::test]
async fn an_approval_is_used_up_by_a_refusal_for_good() {
    let w = world().await;
    w.realm().switch_webhook(false);
    w.jira().set_project_lead("ALPHA", "staff3");
    for number in 0..6 {
        w.realm().update_user(&w.id(&format!("staff{number}")), UserChange::enabled(false)).await.unwrap();
    }
    w.run().await;
    let kind = ApprovalKind::SafetyLimit(Limited::Deactivate);
    let (set, _) = w.held(kind).await.unwrap();
    w.decide(kind, true).await;
    let (_, items) = w.stack.store.approval(set.id).await.unwrap();
    let refused: Vec<_> =
        items.iter().filter(|one| one.state == ApprovalItemState::Refused).map(|one| one.item.what.as_str()).collect();
    assert_eq!(refused, ["deactivate staff3"]);
    assert!(
        items.iter().all(|one| matches!(one.state, ApprovalItemState::Refused | ApprovalItemState::Done)),
        "{items:?}"
    );
}

#[tokio::test]
async fn events_and_runs_share_the_rolling_hour() {
    let w = world().await;
    for number in 0..4 {
        w.realm().update_user(&w.id(&format!("staff{number}")), UserChange::enabled(false)).await.unwrap();
    }
    w.settled().await;
    assert!((0..4).all(|number| !w.account(&format!("staff{number}")).active));
    w.realm().switch_webhook(false);
    for number in 4..6 {
        w.realm().update_user(&w.id(&format!("staff{number}")), UserChange::enabled(false)).await.unwrap();
    }
    let report = w.run().await;
    assert_eq!(report.limits_reached, [Limited::Deactivate], "{report:?}");
    assert!(w.account("staff4").active && w.account("staff5").active);
}

#[tokio::test]
async fn a_flood_of_events_stops_at_the_limit() {
    let w = world().await;
    for number in 0..9 {
        w.realm().delete_user(&w.id(&format!("staff{number}"))).await.unwrap();
    }
    w.settled().await;
    let gone = (0..9).filter(|number| !w.account(&format!("staff{number}")).active).count();
    assert!(gone <= 5, "{gone} were deactivated");
    assert_eq!(w.waiting(ApprovalKind::SafetyLimit(Limited::Deactivate)).await.len(), 9 - gone);
    w.decide(ApprovalKind::SafetyLimit(Limited::Deactivate), true).await;
    w.agrees();
}

#[tokio::test]
async fn the_limit_that_a_first_plan_shows_is_the_one_that_applies() {
    let servers = servers(policy(|policy| policy.first_run = FirstRun::Hold)).await;
    for number in 0..9 {
        let name = format!("staff{number}");
        servers.jira.add_account(NewAccount { email: format!("{name}@old.example"), ..NewAccount::named(&name) });
    }
    let stack = servers.build().await.unwrap();
    let w = World { servers, stack };
    let set = waits_for_approval(&w).await;
    let (summary, _) = w.stack.store.approval(set).await.unwrap();
    // Nine are adopted and one is created: half of ten.
    assert_eq!(summary.summary["limits"]["change_email"], serde_json::json!([9, 5]));
    assert_eq!(summary.summary["held"], 9);
    w.decide_items(set, Vec::new(), true).await;
    w.stack.in_service().await.unwrap();
    let run = w.stack.store.runs(Some(&Stack::pair()), 1).await.unwrap().pop().unwrap();
    assert_eq!(run.report["limits"]["change_email"], serde_json::json!([9, 5]));
    w.calm().await;
    assert_eq!(w.waiting(ApprovalKind::SafetyLimit(Limited::ChangeEmail)).await.len(), 9);
}
