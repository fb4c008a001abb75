//! Redirects: maintenance or a temporary sign-in page removes nothing.

use std::time::Duration;

use usersync::{
    engine::ATTEMPTS,
    model::{ErrorClass, TaskRecord},
};
use usersync_simulators::{Fault, keycloak::UserChange};

use super::support::world;

#[tokio::test]
async fn a_leaver_outlives_more_redirects_than_a_task_has_attempts() {
    let w = world().await;
    // Only the write is redirected, so that the first contact succeeds and nothing stops the work.
    let away = Fault::login_redirect("https://login.example.org/maintenance").method("PUT");
    let fault = w.jira().faults.add(away);
    w.realm().update_user(&w.id("staff1"), UserChange::enabled(false)).await.unwrap();
    let more = u64::from(ATTEMPTS) + 3;
    for _ in 0..1_200 {
        if w.jira().faults.hits(fault) >= more {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(w.jira().faults.hits(fault) >= more, "{:#?}", w.tasks().await);
    assert_eq!(w.dead().await, Vec::<String>::new());
    let shown = |task: &TaskRecord| task.error.as_ref().is_some_and(|(class, _)| *class == ErrorClass::Maintenance);
    assert!(w.tasks().await.iter().all(shown), "an operator sees what it waits for");
    w.jira().faults.clear();
    w.calm().await;
    assert!(!w.account("staff1").active);
}

#[tokio::test]
async fn two_sign_in_pages_stop_no_target() {
    let w = world().await;
    w.jira().faults.add(Fault::login_redirect("/login.jsp").times(2));
    w.realm().update_user(&w.id("staff1"), UserChange::enabled(false)).await.unwrap();
    w.calm().await;
    assert!(!w.account("staff1").active);
    assert_eq!(w.dead().await, Vec::<String>::new());
}
