//! Changes in a target that did not come from usersync: each is listed, and mended or left as it is.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use usersync::{
    demo::{
        stack::{CONNECTOR, Stack, StackOptions},
        targets::Product,
    },
    engine::{DriftReport, Report, RunOptions},
    model::{ApprovalKind, DriftKind, DriftRule, Handling, Operation, Pair, RunTrigger, UserFields},
    store::StoreReads,
};
use usersync_simulators::keycloak::UserChange;

use super::{
    group_rules::group,
    support::{World, policy, until, world_with},
};

/// A change in Jira.
type Change = fn(&World);

/// The kinds that `drift = "report"` leaves, but for deleted accounts and groups.
const CHANGES: [(DriftKind, Change); 5] = [
    (DriftKind::DisplayName, |w| w.jira().set_display_name("staff1", "Another Name")),
    (DriftKind::Email, |w| w.jira().set_email("staff1", "else@example.org")),
    (DriftKind::Login, |w| w.jira().rename_account("staff1", "renamed")),
    (DriftKind::Deactivated, |w| w.jira().set_active("staff1", false)),
    (DriftKind::MemberRemoved, |w| assert!(w.jira().remove_member("staff", "staff1"))),
];

async fn world(drift: DriftRule) -> World {
    world_with(policy(|policy| policy.drift = drift)).await
}

/// Returns what each account of the staff has in Jira.
fn state(w: &World) -> BTreeMap<String, String> {
    let accounts = w.jira().snapshot().accounts.into_values().map(|account| {
        let state = format!("{} {} {} {:?}", account.name, account.display_name, account.email, account.groups);
        (account.key, format!("{state} active: {}", account.active))
    });
    accounts.collect()
}

/// Returns the drift of a report: its kind, name, attribute or group, and what became of it.
fn listed(drift: &DriftReport) -> Vec<(DriftKind, String, Option<String>, Handling)> {
    let line =
        |line: &usersync::engine::DriftLine| (line.drift.kind, line.name.clone(), line.drift.of.clone(), line.handling);
    let lines: Vec<_> = drift.found.iter().map(line).collect();
    let counted: u64 = drift.counts.values().flat_map(BTreeMap::values).sum();
    assert_eq!((counted, drift.total()), (lines.len() as u64, lines.len() as u64));
    lines
}

fn kinds(report: &Report) -> Vec<(DriftKind, Handling)> {
    listed(&report.drift).into_iter().map(|(kind, _, _, handling)| (kind, handling)).collect()
}

/// Sends an event of this user, and waits until it is worked.
async fn event(w: &World, login: &str) {
    w.realm().user_action(&w.id(login), "logout").await.expect("an event");
    w.calm().await;
}

#[tokio::test]
async fn a_run_mends_each_change_in_the_target_and_lists_it() {
    let w = world(DriftRule::Mend).await;
    let before = state(&w);
    assert_eq!(listed(&w.run().await.drift), []);
    for (kind, change) in CHANGES {
        change(&w);
        let plan = w.dry_run().await;
        assert_eq!(kinds(&plan), [(kind, Handling::Open)], "{plan:?}");
        let report = w.run().await;
        if kind == DriftKind::Deactivated {
            assert_eq!(kinds(&report), [(kind, Handling::Held)], "{report:?}");
            assert!(!w.account("staff1").active, "never activated without an approval");
            w.decide(ApprovalKind::Activation, true).await;
        } else {
            assert_eq!(kinds(&report), [(kind, Handling::Mended)], "{report:?}");
            assert!(!report.has_problems(), "{report:?}");
        }
        assert_eq!(state(&w), before, "{kind:?}");
        assert_eq!(kinds(&w.run().await), [], "{kind:?}");
    }
}

#[tokio::test]
async fn a_run_leaves_each_change_where_drift_is_only_reported_and_lists_it_again() {
    for (kind, change) in CHANGES {
        let w = world(DriftRule::Report).await;
        change(&w);
        let changed = state(&w);
        let plan = w.dry_run().await;
        assert_eq!((kinds(&plan), plan.planned_total()), (vec![(kind, Handling::Reported)], 0), "{plan:?}");
        let first = w.run().await;
        assert_eq!(kinds(&first), [(kind, Handling::Reported)], "{first:?}");
        assert!(!first.has_problems() && first.tally.adds_up() && first.held == 0, "{first:?}");
        let mut second = Report::default();
        let written = w.written_by(async { second = w.run().await }).await;
        assert_eq!((written, listed(&second.drift)), (vec![], listed(&first.drift)), "{kind:?}");
        assert_eq!(w.written_by(event(&w, "staff1")).await, Vec::<String>::new(), "{kind:?}");
        assert_eq!(state(&w), changed, "{kind:?}");
        // Each change at the source is still written.
        let other = UserChange {
            last_name: Some("New".into()),
            email: Some("new@example.org".into()),
            ..UserChange::default()
        };
        w.realm().update_user(&w.id("staff1"), other).await.expect("changed");
        w.settled().await;
        let id = w.id("staff1");
        let login = w.stack.store.link(&Stack::pair(), &id.as_str().into()).await.unwrap().unwrap().name;
        let account = w.account(&login);
        assert!(account.email == "new@example.org" && account.display_name.ends_with("New"), "{kind:?}: {account:?}");
    }
}

#[tokio::test]
async fn an_event_mends_each_change_in_the_target() {
    let w = world(DriftRule::Mend).await;
    let before = state(&w);
    for (kind, change) in CHANGES {
        change(&w);
        event(&w, "staff1").await;
        if kind == DriftKind::Deactivated {
            assert!(!w.account("staff1").active, "never activated without an approval");
            w.decide(ApprovalKind::Activation, true).await;
        }
        assert_eq!(state(&w), before, "{kind:?}");
    }
}

#[tokio::test]
async fn access_that_keycloak_does_not_grant_is_revoked_although_drift_is_only_reported() {
    let w = world(DriftRule::Report).await;
    // A leaver, although its account was changed.
    w.jira().set_display_name("staff2", "Another Name");
    w.realm().update_user(&w.id("staff2"), UserChange::enabled(false)).await.expect("disabled");
    w.settled().await;
    assert!(!w.account("staff2").active);
    // An administrator activates the account.
    w.jira().set_active("staff2", true);
    let report = w.run().await;
    assert_eq!(kinds(&report), [(DriftKind::Activated, Handling::Mended)], "{report:?}");
    assert!(!w.account("staff2").active);
    w.jira().set_active("staff2", true);
    event(&w, "staff2").await;
    assert!(!w.account("staff2").active);
    // A membership ends in Keycloak.
    w.realm().leave(&w.id("staff3"), &group(&w, "/staff")).await.expect("left");
    w.settled().await;
    assert!(!w.members("staff").contains(&"staff3".to_owned()));
    // It was added in the target.
    w.jira().add_member("staff", "staff3");
    let report = w.run().await;
    assert_eq!(kinds(&report), [(DriftKind::MemberAdded, Handling::Mended)], "{report:?}");
    assert!(!w.members("staff").contains(&"staff3".to_owned()));
}

#[tokio::test]
async fn a_membership_that_ended_on_both_sides_is_granted_again_when_keycloak_has_it_again() {
    let w = world(DriftRule::Report).await;
    let (user, staff) = (w.id("staff1"), group(&w, "/staff"));
    w.jira().remove_member("staff", "staff1");
    w.realm().leave(&user, &staff).await.expect("left");
    w.settled().await;
    w.realm().join(&user, &staff).await.expect("joined");
    w.settled().await;
    assert!(w.members("staff").contains(&"staff1".to_owned()));
    assert_eq!(kinds(&w.run().await), []);
}

#[tokio::test]
async fn a_changed_login_that_another_user_needs_is_mended_although_drift_is_only_reported() {
    let w = world(DriftRule::Report).await;
    w.jira().rename_account("staff1", "newcomer");
    w.realm().create_user(usersync_simulators::keycloak::NewUser::named("newcomer")).await.expect("created");
    w.settled().await;
    assert!(w.has_account("staff1") && w.has_account("newcomer"));
    assert_eq!(kinds(&w.run().await), []);
}

#[tokio::test]
async fn a_deleted_account_is_created_again_or_left() {
    for drift in [DriftRule::Mend, DriftRule::Report] {
        let w = world(drift).await;
        w.jira().remove_account("staff1");
        let handling = if drift == DriftRule::Mend { Handling::Mended } else { Handling::Reported };
        let found = std::sync::Mutex::new(Vec::new());
        until("it is listed", async || {
            let more = kinds(&w.run().await);
            found.lock().unwrap().extend(more);
            !found.lock().unwrap().is_empty() || w.has_account("staff1")
        })
        .await;
        if drift == DriftRule::Report {
            assert_eq!(*found.lock().unwrap(), [(DriftKind::AccountDeleted, handling)]);
            event(&w, "staff1").await;
            assert_eq!(kinds(&w.run().await), [(DriftKind::AccountDeleted, handling)]);
            // A user that has left needs no account.
            w.realm().update_user(&w.id("staff1"), UserChange::enabled(false)).await.expect("disabled");
            w.settled().await;
            assert_eq!(kinds(&w.run().await), []);
        }
        assert_eq!(w.has_account("staff1"), drift == DriftRule::Mend);
    }
}

#[tokio::test]
async fn a_deleted_group_is_created_again_or_left() {
    let w = world(DriftRule::Mend).await;
    let before = w.members("staff");
    w.jira().remove_group("staff");
    assert_eq!(kinds(&w.dry_run().await), [(DriftKind::GroupDeleted, Handling::Open)]);
    let report = w.run().await;
    assert_eq!(
        listed(&report.drift),
        [(DriftKind::GroupDeleted, "staff".to_owned(), None, Handling::Mended)],
        "{report:?}"
    );
    assert_eq!(w.members("staff"), before);

    let w = world(DriftRule::Report).await;
    w.jira().remove_group("staff");
    let plan = w.dry_run().await;
    assert_eq!(
        (kinds(&plan), plan.planned_total()),
        (vec![(DriftKind::GroupDeleted, Handling::Reported)], 0),
        "{plan:?}"
    );
    for _ in 0..2 {
        let report = w.run().await;
        assert_eq!(kinds(&report), [(DriftKind::GroupDeleted, Handling::Reported)], "{report:?}");
        assert!(report.done.is_empty() && !report.has_problems(), "{report:?}");
    }
    event(&w, "staff1").await;
    let path = group(&w, "/staff");
    w.realm().rename_group(&path, "staff").await.expect("an event");
    w.settled().await;
    let plan = w.dry_run().await;
    assert_eq!(
        (kinds(&plan), plan.planned_total()),
        (vec![(DriftKind::GroupDeleted, Handling::Reported)], 0),
        "{plan:?}"
    );
    assert!(w.members("staff").is_empty() && !w.jira().snapshot().groups.contains_key("staff"));
    // A new name at the source is a new group.
    w.realm().rename_group(&path, "crew").await.expect("renamed");
    w.settled().await;
    assert_eq!(w.members("crew"), before);
}

#[tokio::test]
async fn a_target_has_its_own_setting() {
    let json = r#"{"first_run": "apply", "drift": "report", "targets": {"jira": {"drift": "mend"}}}"#;
    let w = world_with(policy(|policy| *policy = serde_json::from_str(json).unwrap())).await;
    assert_eq!(Stack::pair().target.as_str(), "jira");
    w.jira().set_display_name("staff1", "Another Name");
    assert_eq!(kinds(&w.run().await), [(DriftKind::DisplayName, Handling::Mended)]);
}

/// Each product, besides Jira, with a changed display name and a removed membership.
#[tokio::test]
async fn all_products_mend_or_leave_drift() {
    for product in [Product::Confluence, Product::Bitbucket, Product::Crowd, Product::Scim] {
        for drift in [DriftRule::Mend, DriftRule::Report] {
            let server = product.simulate().await.expect("a free port");
            let admin = server.other_target().expect("an address").target;
            let other_targets = vec![server.other_target().expect("an address")];
            let options = StackOptions { other_targets, ..policy(|policy| policy.drift = drift) };
            let w = world_with(options).await;
            w.calm().await;
            let pair = Pair { connector: CONNECTOR.into(), target: product.target_name() };
            let run = async || {
                let options = RunOptions::apply(RunTrigger::Schedule);
                Box::pin(w.stack.engine.run(&pair, &options)).await.expect("the run ends").1
            };
            assert_eq!(kinds(&run().await), [], "{product:?}");
            let before = server.server.held();
            let account = admin.account_named("staff1").await.unwrap().expect("it exists");
            let staff = admin.group_named("staff").await.unwrap().expect("it exists");
            let (id, name) = (account.id.clone(), account.name.clone());
            let display_name = Some("Another Name".to_owned());
            let changes = [
                Operation::RemoveMember {
                    group: staff.id,
                    group_name: staff.name,
                    account: id.clone(),
                    name: name.clone(),
                },
                Operation::UpdateUser {
                    account: id,
                    name,
                    fields: UserFields { display_name, ..UserFields::default() },
                },
            ];
            let can_update = admin.probe().await.unwrap().capabilities.update;
            let changes = &changes[..if can_update { 2 } else { 1 }];
            for change in changes {
                admin.apply(change, Timestamp::now() + SignedDuration::from_secs(10)).await.expect("changed");
            }
            let changed = server.server.held();
            let handling = if drift == DriftRule::Mend { Handling::Mended } else { Handling::Reported };
            let expected: Vec<_> = [DriftKind::DisplayName, DriftKind::MemberRemoved][2 - changes.len()..]
                .iter()
                .map(|kind| (*kind, handling))
                .collect();
            let report = run().await;
            assert_eq!(kinds(&report), expected, "{product:?} {report:?}");
            let after = server.server.held();
            match drift {
                DriftRule::Mend => assert_eq!((after.accounts, after.groups), (before.accounts, before.groups)),
                DriftRule::Report => {
                    event(&w, "staff1").await;
                    assert_eq!(kinds(&run().await), expected, "{product:?}");
                    let after = server.server.held();
                    assert_eq!((after.accounts, after.groups), (changed.accounts, changed.groups));
                }
            }
        }
    }
}
