//! A leaver's open sessions are ended, if the product supports it.

use usersync::{
    demo::stack::{Stack, StackOptions},
    model::ChangeOutcome,
    store::StoreReads,
};
use usersync_simulators::{Fault, JiraOptions, keycloak::UserChange};

use super::support::{World, options, world, world_with};

const END: &str = "/user/session/";

impl World {
    async fn staff1_leaves(&self) {
        self.jira().open_session("staff1");
        self.realm().update_user(&self.id("staff1"), UserChange::enabled(false)).await.unwrap();
        self.calm().await;
        assert!(!self.account("staff1").active);
    }

    fn asked(&self) -> usize {
        self.jira().journal.count("DELETE", END)
    }
}

#[tokio::test]
async fn the_sessions_of_a_leaver_end() {
    let w = world().await;
    w.jira().open_session("staff2");
    w.staff1_leaves().await;
    assert_eq!((w.jira().sessions("staff1"), w.jira().sessions("staff2"), w.asked()), (0, 1, 1));
}

#[tokio::test]
async fn the_call_is_sent_again_after_a_lost_answer() {
    let w = world().await;
    w.jira().faults.add(Fault::cut().path(END).once());
    w.staff1_leaves().await;
    assert_eq!((w.jira().sessions("staff1"), w.asked()), (0, 2));
}

#[tokio::test]
async fn a_deactivation_whose_answer_is_lost_ends_them_all_the_same() {
    let w = world().await;
    w.jira().faults.add(Fault::cut_after().method("PUT").once());
    w.staff1_leaves().await;
    assert_eq!(w.jira().sessions("staff1"), 0);
    let outcomes: Vec<ChangeOutcome> =
        w.changes_of(&w.id("staff1")).await.into_iter().map(|change| change.outcome).collect();
    assert!(outcomes.contains(&ChangeOutcome::FoundDone), "{outcomes:?}");
}

#[tokio::test]
async fn a_refusal_is_reported_and_the_deactivation_is_kept() {
    let w = world().await;
    let refusal = r#"{"errorMessages": ["You may not end sessions."], "errors": {}}"#;
    w.jira().faults.add(Fault::status(403, refusal).path(END));
    w.staff1_leaves().await;
    assert_eq!((w.jira().sessions("staff1"), w.asked()), (1, 1), "a refusal is not sent again");
    let changes = w.changes_of(&w.id("staff1")).await;
    let last = changes.last().expect("a change");
    assert_eq!((last.verb.as_str(), &last.outcome), ("deactivate", &ChangeOutcome::Done));
    assert_eq!(w.dead().await, Vec::<String>::new());
    let known = w.stack.store.unsupported(&Stack::pair()).await.unwrap();
    let [reported] = known.as_slice() else { panic!("{known:?}") };
    assert!(reported.why.contains("staff1 is deactivated at jira, but its sessions were not ended"), "{reported:?}");
    assert!(reported.why.contains("You may not end sessions"), "{reported:?}");
}

#[tokio::test]
async fn a_version_without_the_call_deactivates_without_it() {
    for version in ["8.20.30", "9.4.0"] {
        let jira = JiraOptions::version(version);
        let w = world_with(StackOptions { jira, ..options() }).await;
        w.staff1_leaves().await;
        assert_eq!((w.jira().sessions("staff1"), w.asked()), (1, 1), "{version}");
        assert_eq!(w.stack.store.unsupported(&Stack::pair()).await.unwrap(), []);
    }
}
