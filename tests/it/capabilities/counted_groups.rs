//! Unchanged groups are counted, not read.

use jiff::{SignedDuration, Timestamp};
use usersync::{
    demo::stack::Stack,
    engine::Report,
    store::{EngineStore, MembersRead},
};
use usersync_simulators::{jira::NewAccount, keycloak::NewUser};

use super::support::{World, on, options, servers};

/// Members of the group: four pages of them.
const MEMBERS: usize = 160;

impl World {
    /// Makes a scheduled run; returns its report and the number of member pages that it read.
    async fn counted_run(&self) -> (Report, usize) {
        self.jira().journal.clear();
        let report = self.run().await;
        let pages = self.jira().journal.matching(|entry| {
            entry.path.ends_with("/group/member")
                && entry.query.contains("groupname=big")
                && entry.query.contains("true")
        });
        (report, pages.len())
    }

    /// Moves the recorded times back by a day.
    async fn a_day_later(&self) {
        let pair = Stack::pair();
        let old = |one: MembersRead| MembersRead { at: one.at - SignedDuration::from_hours(25), ..one };
        let read: Vec<_> = self.stack.store.members_read(&pair, None).await.unwrap().into_iter().map(old).collect();
        assert!(!read.is_empty());
        let ever = Timestamp::now() - SignedDuration::from_hours(1_000);
        self.stack.store.keep_members_read(&pair, &read, ever).await.unwrap();
    }
}

/// Returns a stack that has read the complete group once.
async fn settled() -> World {
    let servers = servers(options()).await;
    let members = (0..MEMBERS).map(|number| NewUser::named(format!("p{number:03}")).in_groups(&["/big"]));
    servers.realm.import_users(members).expect("imported");
    let w = on(servers).await;
    w.realm().switch_webhook(false);
    let (report, pages) = w.counted_run().await;
    assert_eq!((report.counted, pages), (0, 4), "read whole once: {report:?}");
    w
}

#[tokio::test]
async fn a_group_whose_count_is_the_same_is_not_read_again() {
    let w = settled().await;
    for _ in 0..2 {
        let (report, pages) = w.counted_run().await;
        assert_eq!((report.counted, pages), (1, 1), "{report:?}");
        assert!(report.planned.is_empty() && report.unchanged > MEMBERS, "{report:?}");
    }
    // usersync's own changes are known.
    w.realm().switch_webhook(true);
    w.realm().create_user(NewUser::named("newcomer").in_groups(&["/big"])).await.unwrap();
    w.calm().await;
    assert!(w.members("big").contains(&"newcomer".to_owned()));
    let (report, pages) = w.counted_run().await;
    assert_eq!((report.counted, pages), (1, 1), "{report:?}");
    w.agrees();
}

#[tokio::test]
async fn a_change_by_hand_changes_the_count_and_is_found_at_once() {
    let w = settled().await;
    w.jira().remove_member("big", "p007");
    w.jira().add_account(NewAccount::named("stranger"));
    let (report, pages) = w.counted_run().await;
    assert_eq!((report.counted, pages), (0, 4), "{report:?}");
    assert!(w.members("big").contains(&"p007".to_owned()), "{report:?}");
    w.counted_run().await;
    assert_eq!(w.counted_run().await.1, 1);
    // A manual change: a user of Keycloak is removed again; an unmanaged account stays and is counted from then on.
    w.jira().add_member("big", "staff1");
    assert_eq!(w.counted_run().await.1, 4);
    assert!(!w.members("big").contains(&"staff1".to_owned()));
    w.jira().add_member("big", "stranger");
    assert_eq!(w.counted_run().await.1, 4);
    let (report, pages) = w.counted_run().await;
    assert_eq!((report.counted, pages), (1, 1), "{report:?}");
    assert!(w.members("big").contains(&"stranger".to_owned()));
    w.agrees_but_for(&["stranger"]);
}

#[tokio::test]
async fn a_swap_behind_the_first_page_is_found_within_a_day_and_on_request() {
    let w = settled().await;
    w.jira().remove_member("big", "p150");
    w.jira().add_member("big", "staff1");
    let (report, pages) = w.counted_run().await;
    assert_eq!((report.counted, pages), (1, 1), "{report:?}");
    assert!(report.planned.is_empty(), "{report:?}");
    let plan = w.dry_run().await;
    assert_eq!((plan.planned.get("add_member"), plan.planned.get("remove_member")), (Some(&1), Some(&1)), "{plan:?}");
    w.a_day_later().await;
    let (report, pages) = w.counted_run().await;
    assert_eq!((report.counted, pages), (0, 4), "{report:?}");
    assert!(w.members("big").contains(&"p150".to_owned()) && !w.members("big").contains(&"staff1".to_owned()));
    w.agrees();
}

#[tokio::test]
async fn a_swap_on_the_first_page_is_found_at_once() {
    let w = settled().await;
    w.jira().remove_member("big", "p100");
    w.jira().add_account(NewAccount::named("aaa"));
    w.jira().add_member("big", "aaa");
    let (report, pages) = w.counted_run().await;
    assert_eq!((report.counted, pages), (0, 4), "{report:?}");
    assert!(w.members("big").contains(&"p100".to_owned()));
}
