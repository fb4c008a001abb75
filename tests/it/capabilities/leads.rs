//! Leavers who lead projects or components in Jira, which refuses to deactivate or delete them.

use jiff::{SignedDuration, Timestamp};
use usersync::{
    demo::stack::{Stack, StackOptions},
    model::{ChangeOutcome, ErrorClass, Operation},
    store::StoreReads,
    targets::{Applied, Target, TargetErrorKind},
};
use usersync_simulators::{Fault, jira::NewAccount, keycloak::UserChange};

use super::support::{World, options, world, world_with};

/// Options with this account as the new lead.
fn handing_over(new_lead: &str) -> StackOptions {
    StackOptions { new_lead: Some(new_lead.to_owned()), ..options() }
}

impl World {
    async fn leaves(&self, login: &str) {
        self.realm().update_user(&self.id(login), UserChange::enabled(false)).await.unwrap();
        self.calm().await;
    }

    fn lead(&self, of: &str) -> String {
        self.jira().leads().remove(of).unwrap_or_else(|| panic!("{of} exists"))
    }

    /// Returns the reasons of operations that the target does not support.
    async fn unsupported(&self) -> Vec<String> {
        let known = self.stack.store.unsupported(&Stack::pair()).await.unwrap();
        known.into_iter().map(|one| one.why).collect()
    }

    async fn last_outcome(&self, login: &str) -> ChangeOutcome {
        self.changes_of(&self.id(login)).await.pop().expect("a change").outcome
    }

    fn reads_of_projects(&self) -> usize {
        self.jira().journal.count("GET", "/project")
    }
}

#[tokio::test]
async fn without_a_new_lead_the_refusal_names_what_the_leaver_leads_and_what_to_do() {
    let w = world().await;
    for number in 0..12 {
        w.jira().set_project_lead(&format!("P{number:02}"), "staff1");
    }
    w.jira().add_component("P00", "web shop", "staff1");
    w.jira().set_project_lead("OTHER", "staff2");
    let written = w.written_by(w.leaves("staff1")).await;
    assert_eq!(written, ["PUT /rest/api/2/user?key=".to_owned() + &w.account("staff1").key]);
    assert!(w.account("staff1").active);
    let reasons = w.unsupported().await;
    let [reason] = reasons.as_slice() else { panic!("{reasons:?}") };
    assert!(reason.starts_with("deactivating staff1: Jira refuses, saying"), "{reason}");
    let led =
        "It leads projects P00, P01, P02, P03, P04, P05, P06, P07, P08, P09 and 2 others and component P00/web shop.";
    assert!(reason.contains(led), "{reason}");
    let advice = "Set another lead in Jira, or new_lead of the target, then: usersync dead replay --all";
    assert!(reason.ends_with(advice), "{reason}");
    // It is permanent: neither an event nor a run sends it again, and a run reports it.
    let report = w.run().await;
    assert!(report.unsupported.iter().any(|why| why.contains("It leads projects P00")), "{report:?}");
    assert_eq!(w.reads_of_projects(), 14);
}

#[tokio::test]
async fn the_new_lead_takes_over_and_the_account_is_deactivated() {
    let w = world_with(handing_over("admin")).await;
    w.jira().set_project_lead("ALPHA", "staff1");
    w.jira().set_project_lead("BETA", "staff2");
    w.jira().add_component("ALPHA", "web", "staff1");
    w.jira().add_component("BETA", "app", "staff1");
    w.jira().add_component("BETA", "api", "staff2");
    w.leaves("staff1").await;
    assert!(!w.account("staff1").active);
    assert_eq!(
        ["ALPHA", "ALPHA/web", "BETA", "BETA/app", "BETA/api"].map(|of| w.lead(of)),
        ["admin", "admin", "staff2", "admin", "staff2"]
    );
    let also = "admin was made the lead of project ALPHA and components ALPHA/web and BETA/app".to_owned();
    assert_eq!(w.last_outcome("staff1").await, ChangeOutcome::DoneWith { also });
    assert_eq!((w.unsupported().await, w.dead().await), (vec![], vec![]));
    w.agrees();
}

#[tokio::test]
async fn a_run_does_the_same_and_reports_it_and_a_plan_sends_nothing() {
    let w = world_with(handing_over("admin")).await;
    w.realm().switch_webhook(false);
    w.jira().set_project_lead("ALPHA", "staff1");
    w.leaves("staff1").await;
    let written = w.written_by(async {
        let plan = w.dry_run().await;
        assert_eq!((plan.planned.get("deactivate"), plan.unsupported.len()), (Some(&1), 0), "{plan:?}");
    });
    assert_eq!((written.await, w.lead("ALPHA").as_str()), (vec![], "staff1"));
    let report = w.run().await;
    let also: Vec<&str> = report.also_done.iter().map(String::as_str).collect();
    assert_eq!(also, ["deactivate staff1: admin was made the lead of project ALPHA"]);
    assert!(!report.has_problems() && !w.account("staff1").active, "{report:?}");
    w.agrees();
}

#[tokio::test]
async fn a_leaver_who_leads_nothing_costs_no_call_more() {
    let count = async |options: StackOptions| {
        let w = world_with(options).await;
        w.jira().set_project_lead("ALPHA", "staff2");
        let before = w.jira().journal.len();
        w.leaves("staff1").await;
        assert!(!w.account("staff1").active);
        assert_eq!(w.reads_of_projects(), 0);
        w.jira().journal.len() - before
    };
    assert_eq!(count(handing_over("admin")).await, count(options()).await);
}

#[tokio::test]
async fn a_new_lead_that_cannot_take_over_is_a_clear_failure_and_nothing_is_changed() {
    for (new_lead, why) in
        [("nobody", "does not exist in Jira"), ("left", "is inactive in Jira"), ("staff1", "is this account")]
    {
        let w = world_with(handing_over(new_lead)).await;
        w.jira().add_account(NewAccount::named("left").inactive());
        w.jira().set_project_lead("ALPHA", "staff1");
        w.leaves("staff1").await;
        assert_eq!((w.account("staff1").active, w.lead("ALPHA").as_str()), (true, "staff1"));
        let dead = w.dead().await;
        let [text] = dead.as_slice() else { panic!("{new_lead}: {dead:?}") };
        let expected = format!(
            "deactivating staff1: it leads project ALPHA, but new_lead of the target, {new_lead}, {why}. Set another \
             new_lead"
        );
        assert!(text.contains(&expected), "{text}");
    }
}

#[tokio::test]
async fn a_missing_right_is_reported_with_what_was_handed_over_before() {
    let w = world_with(handing_over("admin")).await;
    w.jira().set_project_lead("ALPHA", "staff1");
    w.jira().set_project_lead("BETA", "staff1");
    let refusal = r#"{"errorMessages": ["You cannot edit the configuration of this project."], "errors": {}}"#;
    let fault = w.jira().faults.add(Fault::status(403, refusal).method("PUT").path("/project/BETA"));
    w.leaves("staff1").await;
    assert_eq!(
        (w.account("staff1").active, w.lead("ALPHA").as_str(), w.lead("BETA").as_str()),
        (true, "admin", "staff1")
    );
    let dead = w.dead().await;
    let [text] = dead.as_slice() else { panic!("{dead:?}") };
    assert!(text.contains("giving project BETA the lead admin: Jira answered 403"), "{text}");
    assert!(text.contains("lacks the permission"), "{text}");
    let refusals = w.changes_of(&w.id("staff1")).await.into_iter().filter_map(|change| match change.outcome {
        ChangeOutcome::Refused { why, .. } => Some(why),
        _ => None,
    });
    assert!(refusals.into_iter().any(|why| why.contains("Handed over before: project ALPHA.")), "the first attempt");
    w.jira().faults.remove(fault);
    w.replay_dead().await;
    assert_eq!((w.account("staff1").active, w.lead("BETA").as_str()), (false, "admin"));
}

#[tokio::test]
async fn a_lost_answer_of_a_project_is_read_again_and_the_leaver_is_deactivated() {
    for fault in [Fault::cut(), Fault::cut_after(), Fault::status(503, "")] {
        let w = world_with(handing_over("admin")).await;
        w.jira().set_project_lead("ALPHA", "staff1");
        w.jira().faults.add(fault.method("PUT").path("/project/").once());
        w.leaves("staff1").await;
        assert_eq!((w.account("staff1").active, w.lead("ALPHA").as_str()), (false, "admin"));
        w.agrees();
    }
}

#[tokio::test]
async fn projects_that_are_not_visible_are_not_named_and_the_advice_says_why() {
    for options in [options(), handing_over("admin")] {
        let w = world_with(options).await;
        w.jira().set_project_lead("ALPHA", "staff1");
        w.jira().set_browse_projects(false);
        w.leaves("staff1").await;
        let reasons = w.unsupported().await;
        let [reason] = reasons.as_slice() else { panic!("{reasons:?}") };
        assert!(reason.contains("projects or components that usersync's account may not browse"), "{reason}");
        assert!(!reason.contains("It leads"), "{reason}");
    }
}

#[tokio::test]
async fn unreadable_components_are_reported_and_projects_are_handed_over_all_the_same() {
    let w = world_with(handing_over("admin")).await;
    w.jira().set_project_lead("ALPHA", "staff1");
    w.jira().faults.add(Fault::status(403, "{}").path("/components"));
    w.leaves("staff1").await;
    assert_eq!((w.account("staff1").active, w.lead("ALPHA").as_str()), (false, "admin"));
    let ChangeOutcome::DoneWith { also } = w.last_outcome("staff1").await else { panic!("it was handed over") };
    assert!(also.starts_with("admin was made the lead of project ALPHA. Components were not all read: "), "{also}");
}

#[tokio::test]
async fn a_lead_of_components_alone_is_handled_where_jira_refuses_it() {
    for refuses in [false, true] {
        let w = world_with(handing_over("admin")).await;
        w.jira().refuse_leads(true, refuses);
        w.jira().set_project_lead("ALPHA", "staff2");
        w.jira().add_component("ALPHA", "web", "staff1");
        w.leaves("staff1").await;
        let lead = if refuses { "admin" } else { "staff1" };
        assert_eq!((w.account("staff1").active, w.lead("ALPHA/web").as_str()), (false, lead), "{refuses}");
    }
}

#[tokio::test]
async fn a_deletion_hands_over_and_says_so_if_it_is_refused_for_another_reason() {
    let w = world_with(handing_over("admin")).await;
    let target = w.servers.place().target().expect("good settings");
    let delete = |login: &str| {
        let account = w.account(login);
        Operation::DeleteUser { account: account.key.into(), name: account.name }
    };
    let soon = || Timestamp::now() + SignedDuration::from_secs(10);
    w.jira().set_project_lead("ALPHA", "staff1");
    let also = "admin was made the lead of project ALPHA".to_owned();
    assert_eq!(target.apply(&delete("staff1"), soon()).await, Ok(Applied::DoneWith(also)));
    assert!(!w.has_account("staff1"));
    w.jira().set_project_lead("BETA", "staff2");
    w.jira().set_content("staff2", true);
    let error = target.apply(&delete("staff2"), soon()).await.expect_err("it has content");
    assert_eq!((error.kind, w.lead("BETA").as_str()), (TargetErrorKind::Unsupported, "admin"));
    assert!(error.text.starts_with("deleting staff2: Jira refuses, saying \"Cannot delete user"), "{}", error.text);
    assert!(error.text.ends_with("Before, admin was made the lead of project BETA."), "{}", error.text);
}

#[tokio::test]
async fn another_new_lead_after_a_failure_is_used_by_a_replay() {
    let w = world_with(handing_over("helper")).await;
    w.jira().set_project_lead("ALPHA", "staff1");
    w.leaves("staff1").await;
    assert_eq!(
        w.tasks().await.iter().filter_map(|task| task.error.as_ref()).map(|(class, _)| *class).collect::<Vec<_>>(),
        [ErrorClass::Permanent]
    );
    w.jira().add_account(NewAccount::named("helper"));
    w.replay_dead().await;
    assert_eq!((w.account("staff1").active, w.lead("ALPHA").as_str()), (false, "helper"));
}
