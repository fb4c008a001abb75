//! What the commands report about leavers who lead projects, and about the seats that a plan needs.

use usersync::demo::stack::{SimulatedServers, StackOptions};
use usersync_simulators::keycloak::{NewUser, UserChange};

use super::place::Place;

/// Starts a realm in sync with four users, whose staff1 leads a project; `new_lead` takes over.
async fn started(new_lead: &str) -> (SimulatedServers, Place) {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    servers.realm.import_users((0..4).map(|number| NewUser::named(format!("staff{number}")))).expect("imported");
    let place = Place::at(&servers);
    let lead = format!("kind = \"jira\"\nnew_lead = \"{new_lead}\"");
    place.configure(|text| text.replace("kind = \"jira\"", &lead) + "\n[connector.policy]\nfirst_run = \"apply\"\n");
    place.run(&["sync"]).await.ended(0);
    servers.jira.set_project_lead("ALPHA", "staff1");
    (servers, place)
}

#[tokio::test]
async fn what_was_handed_over_is_shown_by_check_runs_changes_and_explain() {
    let (servers, place) = started("admin").await;
    let handed_over = "admin was made the lead of project ALPHA";
    place.run(&["check"]).await.says("admin takes over projects and components");
    let id = servers.realm.snapshot().user("staff1").expect("there").id.clone();
    servers.realm.change_without_event(&id, &UserChange::enabled(false)).expect("disabled");
    place.run(&["plan"]).await.ended(0).says("deactivate");
    assert_eq!(servers.jira.leads()["ALPHA"], "staff1");
    place.run(&["sync"]).await.ended(0).says("also done").says(handed_over);
    place.run(&["runs", "show", "2"]).await.ended(0).says(handed_over);
    place.run(&["changes"]).await.ended(0).says(handed_over);
    place.run(&["explain", "staff1"]).await.ended(0).says(handed_over);
    let (_, changes) = place.json(&["changes", "--limit", "1"]).await;
    let change = &changes["changes"][0];
    assert_eq!((change["outcome"].as_str(), change["also"].as_str()), (Some("done_with"), Some(handed_over)));
    let (_, run) = place.json(&["runs", "show", "2"]).await;
    assert!(run.to_string().contains(&format!("deactivate staff1: {handed_over}")), "{run}");
}

#[tokio::test]
async fn a_new_lead_that_does_not_exist_is_a_problem_of_check() {
    let (_servers, place) = started("nobody").await;
    place.run(&["check"]).await.ended(1).says("new_lead nobody does not exist in Jira");
}

#[tokio::test]
async fn check_reports_an_anonymization_that_usersync_may_not_do() {
    let (servers, place) = started("admin").await;
    let anonymizes = "\n[connector.policy.leavers]\ndeleted = \"anonymize\"\ngrace = \"30d\"\n";
    place.configure(|text| text.to_owned() + anonymizes);
    place.run(&["config", "check"]).await.ended(0);
    let problem = "the policy of acme anonymizes accounts, which needs Jira 8.7 or later and a system administrator";
    assert!(!place.run(&["check"]).await.out.contains(problem));
    servers.jira.set_admin_group("jira-administrators", false, true);
    servers.jira.set_admin_group("jira-administrators", true, false);
    place.run(&["check"]).await.ended(1).says(problem);
}

#[tokio::test]
async fn a_plan_with_too_few_seats_says_so_and_ends_with_a_problem() {
    let (servers, place) = started("admin").await;
    servers.realm.import_users((0..3).map(|number| NewUser::named(format!("new{number}")))).expect("imported");
    // The administrator and four users have seats.
    servers.jira.set_seats("jira-software", Some(8));
    let enough = "3 seats remain; the plan creates or activates 3 users";
    place.run(&["plan"]).await.ended(0).says(enough);
    servers.jira.set_seats("jira-software", Some(6));
    let short = "1 seat remains, but the plan creates or activates 3 users: 2 have no seat.";
    place.run(&["plan"]).await.ended(1).says(short);
    let (_, plans) = place.json(&["plan"]).await;
    assert_eq!(plans["plans"][0]["report"]["seats"], serde_json::json!({ "remaining": 1, "needed": 3 }));
}
