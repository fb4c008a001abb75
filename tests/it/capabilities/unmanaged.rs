//! Members of managed groups that no user is linked to, where the policy removes them.

use serde_json::json;
use usersync::model::{ApprovalItemState, ApprovalKind, ChangeOutcome, FirstRun, Limited, Policy, RunOutcome, Subject};
use usersync::store::StoreReads;
use usersync_simulators::{Fault, jira::NewAccount, keycloak::NewUser};

use super::{
    group_rules::{group, ruled, ruled_with, rules},
    support::{World, on, policy, servers},
};

const REMOVE: &str = r#"{"named_by": "path", "unmanaged_members": "remove"}"#;
/// The login that usersync signs in to the simulated Jira with.
const OWN: &str = "admin";
const LIMITED: ApprovalKind = ApprovalKind::SafetyLimit(Limited::RemoveMember);

/// Starts a realm with this many visitors in the group `eng` of the target.
async fn with_visitors(json: &str, visitors: usize) -> World {
    let w = ruled(json).await;
    w.run().await;
    visit(&w, visitors);
    w
}

fn visit(w: &World, visitors: usize) {
    let visitor = |number| NewAccount::named(format!("visitor{number:02}")).in_groups(&["eng"]);
    w.jira().add_accounts((0..visitors).map(visitor));
}

fn visitors(w: &World) -> Vec<String> {
    w.members("eng").into_iter().filter(|name| name.starts_with("visitor")).collect()
}

#[tokio::test]
async fn a_full_reconcile_removes_members_that_no_user_is_linked_to() {
    let w = with_visitors(REMOVE, 2).await;
    let plan = w.dry_run().await;
    let lines: Vec<_> = plan.lines.iter().map(|line| (line.operation.to_string(), line.cause.clone())).collect();
    let because = Some("not linked to a user (groups.unmanaged_members = \"remove\")".to_owned());
    let expected = ["visitor00", "visitor01"].map(|name| (format!("remove {name} from eng"), because.clone()));
    assert_eq!((lines, visitors(&w).len()), (expected.to_vec(), 2));
    let report = w.run().await;
    assert!(!report.has_problems(), "{report:?}");
    assert_eq!((report.planned["remove_member"], report.done["remove_member"]), (2, 2), "{report:?}");
    assert!(report.tally.adds_up() && report.kept.is_empty(), "{report:?}");
    assert_eq!(w.members("eng"), ["ann", "ben"]);
    assert!(w.has_account("visitor00"), "the account stays");
    let changes = w.changes().await;
    let removed = changes.iter().filter(|change| change.verb == "remove_member").collect::<Vec<_>>();
    assert!(removed.iter().all(|change| change.subject == Subject::group(group(&w, "/eng"))), "{removed:?}");
    let again = w.run().await;
    assert!(again.planned.is_empty() && again.raised == 0 && !again.has_problems(), "{again:?}");
}

#[tokio::test]
async fn members_stay_in_groups_for_which_the_policy_says_so() {
    let json = r#"{"named_by": "path", "overrides": [{"path": "/eng", "unmanaged_members": "remove"}]}"#;
    let w = with_visitors(json, 1).await;
    w.jira().add_member("ops", "visitor00");
    let report = w.run().await;
    assert_eq!((visitors(&w), w.members("ops")), (vec![], vec!["visitor00".into()]), "{report:?}");
    assert!(report.kept.is_empty(), "{report:?}");
}

#[tokio::test]
async fn removals_above_the_safety_limit_wait_for_approval_each_by_itself() {
    let w = with_visitors(REMOVE, 30).await;
    let plan = w.dry_run().await;
    let report = w.run().await;
    assert_eq!((plan.held, report.held, visitors(&w).len()), (30, 30, 30), "{report:?}");
    assert_eq!(report.limits_reached, [Limited::RemoveMember]);
    let waiting = w.waiting(LIMITED).await;
    assert_eq!((waiting.len(), waiting[0].as_str()), (30, "remove visitor00 from eng"));
    let (set, items) = w.held(LIMITED).await.expect("they wait");
    let item = |name: &str| items.iter().find(|item| item.item.what.contains(name)).expect("it waits").id;
    w.decide_items(set.id, vec![item("visitor00")], true).await;
    w.decide_items(set.id, vec![item("visitor01")], false).await;
    assert_eq!(visitors(&w).len(), 29);
    assert!(!w.members("eng").contains(&"visitor00".to_owned()));
    assert_eq!(w.waiting(LIMITED).await.len(), 28, "the work on the group withdraws nothing");
    w.jira().remove_member("eng", "visitor02");
    let report = w.run().await;
    assert_eq!((report.rejected, w.waiting(LIMITED).await.len()), (1, 27), "{report:?}");
    // An event of the group leaves the other decisions as they are.
    w.realm().rename_group(&group(&w, "/eng"), "eng").await.expect("named");
    w.calm().await;
    w.decide(LIMITED, true).await;
    assert_eq!(visitors(&w), ["visitor01"]);
    let report = w.run().await;
    assert_eq!((report.rejected, report.planned.len(), visitors(&w)), (1, 0, vec!["visitor01".into()]), "{report:?}");
    let (_, items) = w.stack.store.approval(set.id).await.expect("readable");
    let states = |state| items.iter().filter(|item| item.state == state).count();
    let states = [ApprovalItemState::Done, ApprovalItemState::Rejected, ApprovalItemState::Withdrawn].map(states);
    assert_eq!(states, [28, 1, 1]);
}

#[tokio::test]
async fn removals_that_wait_are_withdrawn_once_the_policy_keeps_members() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = policy(|policy| policy.groups = rules(REMOVE));
    options.store = Some(folder.path().join("usersync.db"));
    let w = ruled_with(options).await;
    w.run().await;
    visit(&w, 30);
    w.run().await;
    assert_eq!(w.waiting(LIMITED).await.len(), 30);
    let World { mut servers, stack } = w;
    stack.stop().await;
    servers.set_policy(Policy {
        first_run: FirstRun::Apply,
        groups: rules(r#"{"named_by": "path"}"#),
        ..Policy::default()
    });
    let w = on(servers).await;
    let run = w.run_of_changed_policy().await;
    assert_eq!((run.outcome, w.waiting(LIMITED).await.len(), visitors(&w).len()), (RunOutcome::Done, 0, 30));
}

#[tokio::test]
async fn administrators_our_own_account_and_protected_groups_stay() {
    let w = with_visitors(REMOVE, 1).await;
    w.jira().add_account(NewAccount::named("boss").in_groups(&["eng", "jira-administrators"]));
    w.jira().add_member("eng", OWN);
    let admins = w.members("jira-administrators");
    let report = w.run().await;
    assert_eq!(visitors(&w), Vec::<String>::new());
    let left = w.members("eng");
    assert!(left.contains(&"boss".to_owned()) && left.contains(&OWN.to_owned()), "{left:?}");
    let kept: Vec<_> = report.kept.keys().cloned().collect();
    assert!(kept.iter().any(|line| line.starts_with("eng: unmanaged members stay, because ")), "{kept:?}");
    assert!(kept.iter().any(|line| line.ends_with(": boss")), "{kept:?}");
    assert_eq!((w.members("jira-administrators"), w.waiting(LIMITED).await.len()), (admins, 0));
    let again = w.run().await;
    assert!(again.planned.is_empty(), "{again:?}");
}

#[tokio::test]
async fn members_of_a_constant_group_stay() {
    let w = ruled(r#"{"unmanaged_members": "remove", "constant": [{"name": "everyone"}], "excluded": ["/*/admins"]}"#)
        .await;
    w.run().await;
    w.jira().add_account(NewAccount::named("visitor").in_groups(&["everyone"]));
    let report = w.run().await;
    assert!(w.members("everyone").contains(&"visitor".to_owned()));
    let why = "everyone: unmanaged members stay, because groups.constant of the policy grants the group: visitor";
    assert_eq!(report.kept.get(why), Some(&1), "{report:?}");
}

#[tokio::test]
async fn after_an_incomplete_read_nobody_is_removed() {
    let w = with_visitors(REMOVE, 2).await;
    let lacks_one = Fault::edit(|page| {
        if let Some(accounts) = page["values"].as_array_mut() {
            accounts.retain(|account| account["name"] != OWN);
        }
    });
    let lacks = w.jira().faults.add(lacks_one.path("/user/list"));
    let report = w.run().await;
    assert!(report.incomplete.is_some(), "{report:?}");
    assert_eq!((report.planned.get("remove_member"), visitors(&w).len()), (None, 2), "{report:?}");
    let kept = "eng: unmanaged members stay, because the read is incomplete: visitor00, visitor01";
    assert_eq!(report.kept.get(kept), Some(&2), "{report:?}");
    w.jira().faults.remove(lacks);
    w.run().await;
    assert_eq!(visitors(&w).len(), 0);
}

#[tokio::test]
async fn an_account_that_waits_for_its_adoption_stays() {
    let w = with_visitors(REMOVE, 0).await;
    w.jira().add_account(NewAccount::named("late").in_groups(&["eng"]));
    w.realm().create_user(NewUser::named("late")).await.expect("created");
    w.calm().await;
    assert_eq!(w.waiting(ApprovalKind::Adoption).await.len(), 1);
    for _ in 0..2 {
        let report = w.run().await;
        assert!(w.members("eng").contains(&"late".to_owned()), "{report:?}");
    }
}

#[tokio::test]
async fn a_member_is_removed_only_if_a_second_read_still_shows_it() {
    let w = with_visitors(REMOVE, 1).await;
    // The walk reads the visitor as a member. It is none by the time of the second read.
    let member = Fault::edit(|page| {
        if let Some(values) = page["values"].as_array_mut() {
            values.retain(|one| one["name"] != "visitor00");
            page["total"] = json!(2);
        }
    });
    let second = w.jira().faults.add(member.path("/group/member").path("groupname=eng").after(1));
    let report = w.run().await;
    assert!(w.jira().faults.hits(second) > 0, "it is read a second time");
    assert_eq!(visitors(&w).len(), 1);
    assert_eq!((report.done.get("remove_member"), report.errors.total()), (None, 0), "{report:?}");
    assert_eq!((report.tally.planned, report.tally.obsolete), (1, 1), "{report:?}");
}

#[tokio::test]
async fn an_incomplete_second_read_removes_nobody() {
    let w = with_visitors(REMOVE, 2).await;
    let lacks = Fault::edit(|page| {
        if let Some(values) = page["values"].as_array_mut() {
            values.retain(|one| one["name"] != "visitor00");
        }
    });
    // After the read of the walk and that of the group itself.
    w.jira().faults.add(lacks.path("/group/member").path("groupname=eng").after(2).once());
    let report = w.try_run().await.expect("the run ends");
    assert!(report.errors.iter().any(|why| why.contains("the list of members of eng is incomplete")), "{report:?}");
    assert_eq!(visitors(&w).len(), 2);
    w.calm().await;
    w.run().await;
    assert_eq!(visitors(&w).len(), 0);
}

#[tokio::test]
async fn a_removal_whose_answer_is_lost_is_recovered_by_the_groups_task() {
    for (fault, expected) in
        [(Fault::cut_after(), ChangeOutcome::FoundDone), (Fault::cut(), ChangeOutcome::FoundNotDone)]
    {
        let w = with_visitors(REMOVE, 1).await;
        let cut = w.jira().faults.add(fault.method("DELETE").path("/group/user").once());
        w.try_run().await.ok();
        w.calm().await;
        assert_eq!(w.jira().faults.hits(cut), 1);
        let changes = w.changes().await;
        let removed = changes.iter().rfind(|change| change.verb == "remove_member").expect("it is recorded");
        assert_eq!((&removed.outcome, &removed.subject), (&expected, &Subject::group(group(&w, "/eng"))));
        w.run().await;
        assert_eq!(visitors(&w), Vec::<String>::new());
        assert!(w.run().await.planned.is_empty());
    }
}

#[tokio::test]
async fn an_open_removal_is_recovered_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = policy(|policy| policy.groups = rules(REMOVE));
    options.store = Some(folder.path().join("usersync.db"));
    let w = ruled_with(options).await;
    w.run().await;
    visit(&w, 1);
    let cut = w.jira().faults.add(Fault::cut_after().method("DELETE").path("/group/user").once());
    w.try_run().await.ok();
    assert_eq!(w.jira().faults.hits(cut), 1);
    let World { servers, stack } = w;
    stack.stop().await;
    let w = on(servers).await;
    w.calm().await;
    let changes = w.changes().await;
    let outcomes: Vec<_> =
        changes.iter().filter(|change| change.verb == "remove_member").map(|change| &change.outcome).collect();
    assert_eq!((outcomes, visitors(&w).len()), (vec![&ChangeOutcome::FoundDone], 0));
}

#[tokio::test]
async fn from_an_adopted_group_unmanaged_members_are_removed_once_an_operator_approves() {
    let servers = servers(policy(|policy| policy.groups = rules(r#"{"unmanaged_members": "remove"}"#))).await;
    servers.jira.add_account(NewAccount::named("visitor"));
    servers.jira.add_group("old");
    servers.jira.add_member("old", "visitor");
    servers.realm.import_users([NewUser::named("newcomer").in_groups(&["/old"])]).expect("imported");
    let w = on(servers).await;
    w.settled().await;
    assert_eq!(w.members("old"), ["newcomer", "visitor"]);
    let plan = w.dry_run().await;
    let report = w.run().await;
    assert_eq!((plan.held, report.held), (1, 1), "{report:?}");
    assert_eq!(w.waiting(ApprovalKind::AdoptedGroup).await, ["remove visitor from old"]);
    w.decide(ApprovalKind::AdoptedGroup, true).await;
    assert_eq!(w.members("old"), ["newcomer"]);
    w.jira().add_member("old", "visitor");
    w.run().await;
    assert_eq!(w.members("old"), ["newcomer"], "the group was approved");
}

#[tokio::test]
async fn a_refused_removal_is_reported_and_not_repeated() {
    let w = with_visitors(REMOVE, 2).await;
    w.jira().set_group_read_only("eng", true);
    let report = w.run().await;
    assert_eq!(visitors(&w).len(), 2);
    assert!(report.unsupported.total() > 0 || report.errors.total() > 0, "{report:?}");
    let writes = w.written_by(w.run()).await;
    assert_eq!(writes, Vec::<String>::new());
}
