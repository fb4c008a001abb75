//! Accounts of leavers that are anonymized after the grace period.

use jiff::SignedDuration;
use usersync::{
    demo::stack::{Stack, StackOptions},
    model::{ChangeOutcome, LeaverAction, Limited},
    store::StoreReads,
};
use usersync_simulators::{Fault, jira::AccountState, keycloak::UserChange};

use super::support::{World, policy, world_with};

const START: &str = "/user/anonymization";
const PROGRESS: &str = "/user/anonymization/progress";

fn anonymizing() -> StackOptions {
    policy(|policy| {
        policy.leavers.disabled = LeaverAction::Anonymize;
        policy.leavers.grace = SignedDuration::from_millis(1);
    })
}

impl World {
    /// Disables staff1, and waits until all is done. Returns the account's state, found by its key.
    async fn staff1_is_disabled(&self) -> AccountState {
        let key = self.account("staff1").key;
        self.realm().change_without_event(&self.id("staff1"), &UserChange::enabled(false)).expect("disabled");
        // The first run deactivates the account. By the second one, the grace period has ended.
        for _ in 0..2 {
            self.try_run().await.expect("the run ends well");
        }
        self.calm().await;
        self.jira().snapshot().accounts.remove(&key).expect("the account stays")
    }

    async fn done(&self) -> Vec<(String, ChangeOutcome)> {
        let changes = self.changes_of(&self.id("staff1")).await;
        let ends = changes.into_iter().filter(|change| change.verb == "anonymize");
        ends.map(|change| (change.verb, change.outcome)).collect()
    }
}

fn is_anonymous(account: &AccountState) -> bool {
    !account.active && account.name == account.key.to_lowercase() && account.email.ends_with("@jira.invalid")
}

#[tokio::test]
async fn an_account_is_deactivated_at_once_and_anonymized_after_the_grace_period() {
    let w = world_with(StackOptions { new_lead: Some("admin".into()), ..anonymizing() }).await;
    w.jira().refuse_leads(false, false);
    w.jira().set_project_lead("ALPHA", "staff1");
    let account = w.staff1_is_disabled().await;
    assert!(is_anonymous(&account), "{account:?}");
    assert_eq!(w.jira().leads()["ALPHA"], "admin");
    let changes = w.changes_of(&w.id("staff1")).await;
    let verbs: Vec<&str> = changes.iter().map(|change| change.verb.as_str()).collect();
    assert!(verbs.ends_with(&["deactivate", "anonymize"]), "{verbs:?}");
    let last = changes.last().expect("a change");
    assert_eq!((last.limited, &last.before), (Some(Limited::Delete), &serde_json::json!({ "active": false })));
    assert_eq!(w.stack.store.link(&Stack::pair(), &w.id("staff1").as_str().into()).await.expect("readable"), None);
    // It counts as deleted: nothing is left to do, and a user who returns gets a new account.
    let plan = w.dry_run().await;
    assert!(plan.planned.is_empty() && !plan.has_problems() && plan.incomplete.is_none(), "{plan:?}");
    w.realm().update_user(&w.id("staff1"), UserChange::enabled(true)).await.unwrap();
    w.settled().await;
    assert!(w.account("staff1").active && w.account("staff1").key != account.key);
    assert!(w.jira().snapshot().accounts.values().any(is_anonymous), "the former account stays anonymous");
}

#[tokio::test]
async fn a_plan_names_the_anonymization_and_writes_nothing() {
    let options = policy(|policy| {
        policy.leavers.disabled = LeaverAction::Anonymize;
        policy.leavers.grace = SignedDuration::from_hours(24);
    });
    let w = world_with(options).await;
    let account = w.staff1_is_disabled().await;
    assert!(!account.active && account.name == "staff1");
    let plan = w.dry_run().await;
    let leaving: Vec<&str> = plan.leaving.iter().map(String::as_str).collect();
    assert!(leaving[0].contains("its account is anonymized on 20"), "{leaving:?}");
    assert_eq!(w.jira().journal.count("POST", START), 0);
}

#[tokio::test]
async fn jira_is_asked_until_it_has_ended_the_task() {
    let w = world_with(anonymizing()).await;
    let running = r#"{"errors": {}, "status": "IN_PROGRESS", "progressUrl": ""}"#;
    w.jira().faults.add(Fault::status(200, running).path(PROGRESS).once());
    assert!(is_anonymous(&w.staff1_is_disabled().await));
    let reads: Vec<String> = w
        .jira()
        .journal
        .entries()
        .into_iter()
        .filter(|one| one.path.ends_with(PROGRESS))
        .map(|one| one.target())
        .collect();
    assert_eq!(reads.len(), 2, "{reads:?}");
    assert!(reads[0].ends_with("taskId=10100") && reads[1].ends_with("taskId=10100"), "{reads:?}");
    assert_eq!(w.done().await, [("anonymize".to_owned(), ChangeOutcome::Done)]);
}

#[tokio::test]
async fn a_lost_answer_is_recovered_and_a_busy_jira_is_asked_again() {
    for (fault, found) in [
        (Fault::cut_after(), ChangeOutcome::FoundDone),
        (Fault::status(409, r#"{"errorMessages": ["One is running."], "errors": {}}"#), ChangeOutcome::Done),
    ] {
        let w = world_with(anonymizing()).await;
        w.jira().faults.add(fault.method("POST").path(START).once());
        assert!(is_anonymous(&w.staff1_is_disabled().await));
        assert_eq!(w.done().await.last(), Some(&("anonymize".to_owned(), found)));
        assert_eq!(w.dead().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_steps_and_is_permanent() {
    let refused = r#"{"errors": {"USER_DISABLE": {"errorMessages": ["The directory is read-only."], "errors": {}}}}"#;
    let failed =
        r#"{"status": "COMPLETED", "errors": {"USER_DISABLE": {"errorMessages": ["The directory is read-only."]}}}"#;
    for (fault, method) in [(Fault::status(400, refused), "POST"), (Fault::status(202, failed), "POST")] {
        let w = world_with(anonymizing()).await;
        w.jira().faults.add(fault.method(method).path(START));
        let account = w.staff1_is_disabled().await;
        assert!(!account.active && account.name == "staff1");
        let known = w.stack.store.unsupported(&Stack::pair()).await.unwrap();
        let [one] = known.as_slice() else { panic!("{known:?}") };
        assert!(one.why.starts_with("anonymizing staff1: Jira refuses"), "{}", one.why);
        assert!(
            one.why.contains("saying \"The directory is read-only\". Anonymize the account manually"),
            "{}",
            one.why
        );
        let before = w.jira().journal.count("POST", START);
        w.run().await;
        assert_eq!(w.jira().journal.count("POST", START), before);
    }
}

#[tokio::test]
async fn without_a_system_administrator_the_account_stays_deactivated_and_the_reason_is_reported() {
    let w = world_with(anonymizing()).await;
    w.jira().set_admin_group("jira-administrators", false, true);
    w.jira().set_admin_group("jira-administrators", true, false);
    let account = w.staff1_is_disabled().await;
    assert!(!account.active && account.name == "staff1");
    let report = w.run().await;
    let mut reasons: Vec<String> = report.unsupported.iter().cloned().collect();
    reasons.extend(w.dead().await);
    assert!(reasons.iter().any(|why| why.contains("staff1") && why.contains("anonymiz")), "{reasons:?}");
}
