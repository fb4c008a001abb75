//! Users of a federation such as LDAP: nobody loses anything because their provider cannot confirm it, and real leavers
//! are out.

use std::time::Duration;

use jiff::SignedDuration;
use usersync::{
    demo::stack::Stack,
    engine::{Report, WorkError},
    model::{About, ApprovalKind, ConditionCode, LeaverAction, Policy},
    store::StoreReads,
};
use usersync_simulators::{
    Fault,
    jira::NewAccount,
    keycloak::{FederationState, GroupMapper, NewUser, UserChange},
};

use super::support::{STAFF, World, on, options, policy, servers, until};

/// Number of LDAP users.
const LDAP: usize = 6;

/// The kinds of providers: whether Keycloak stores their users.
const KINDS: [bool; 2] = [true, false];

/// A world with LDAP users, which checks them.
async fn ldap_with(imported: bool, change: impl FnOnce(&mut Policy)) -> World {
    let mut options = policy(change);
    options.federation_check = Some(SignedDuration::from_millis(50));
    let servers = servers(options).await;
    servers.realm.import_users(ldap_users(imported)).unwrap();
    let w = on(servers).await;
    assert_eq!(w.agrees().users, STAFF + LDAP);
    w
}

async fn ldap(imported: bool) -> World {
    ldap_with(imported, |_| {}).await
}

/// A world without the check of federated users.
async fn unchecked_ldap(imported: bool) -> World {
    let servers = servers(options()).await;
    servers.realm.import_users(ldap_users(imported)).unwrap();
    on(servers).await
}

/// LDAP users in the group staff, and in the group `crew` that LDAP maps.
fn ldap_users(imported: bool) -> impl Iterator<Item = NewUser> {
    (0..LDAP).map(move |number| {
        let user = NewUser::named(format!("ldap{number}")).in_groups(&["/staff", "/crew"]);
        if imported { user.federated("corp") } else { user.not_imported("corp") }
    })
}

/// Sends an event about a user without changing it, and waits for its work.
async fn event(w: &World, login: &str) {
    // The id of a user that Keycloak does not show now.
    w.realm().user_action(&w.id(login), "logout").await.unwrap();
    w.realm().webhook_idle().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
}

fn condition(w: &World) -> Option<String> {
    let conditions = w.stack.engine.conditions().all();
    let of_pair = |about: &About| matches!(about, About::Pair(_));
    conditions
        .into_iter()
        .find(|one| one.code == ConditionCode::FederationUnconfirmed && of_pair(&one.about))
        .map(|one| one.text)
}

#[tokio::test]
async fn a_provider_that_cannot_confirm_its_users_removes_nothing_and_changes_arrive_afterwards() {
    let states = [
        (FederationState::Unreachable, "cannot be asked"),
        (FederationState::Frozen(Duration::from_millis(50)), "cannot be asked"),
        (FederationState::Misconfigured, "cannot be asked"),
        (FederationState::MisconfiguredUnpaged, "cannot be asked"),
        (FederationState::Disabled, "has none of its known users"),
        (FederationState::Empty, "has none of its known users"),
    ];
    for imported in KINDS {
        for (state, sentence) in states {
            let at = format!("imported: {imported}, {state:?}");
            // A check that is reading users when their provider becomes empty deletes them; only runs read them here.
            let is_deleting = imported && state == FederationState::Empty;
            let w = if is_deleting { unchecked_ldap(imported).await } else { ldap(imported).await };
            let (before, users) = (w.jira().snapshot(), w.realm().snapshot().users.len());
            w.realm().set_federation("corp", state);
            let outcome = w.try_run().await;
            until(&format!("{at}: a condition"), async || condition(&w).is_some()).await;
            let text = condition(&w).unwrap();
            assert!(text.contains(sentence) && text.contains("Nothing is removed for its 6 users"), "{at}: {text}");
            event(&w, "ldap1").await;
            w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.unwrap();
            w.realm().webhook_idle().await;
            until(&format!("{at}: users of Keycloak are synced"), async || {
                w.account("staff1").email == "one@example.com"
            })
            .await;
            let mut after = w.jira().snapshot();
            let staff1 = after.accounts.values_mut().find(|account| account.name == "staff1").unwrap();
            staff1.email.clone_from(&before.account("staff1").unwrap().email);
            assert_eq!(after, before, "{at}: {outcome:?}");
            let left = w.realm().snapshot().users.len();
            assert!(left + 1 >= users, "{at}: at most the user of the event is deleted by reading: {left} of {users}");

            w.realm().set_federation("corp", FederationState::Available);
            if is_deleting {
                w.run().await;
            }
            until(&format!("{at}: no condition"), async || condition(&w).is_none()).await;
            w.realm().update_user(&w.id("staff2"), UserChange::email("two@example.com")).await.unwrap();
            w.calm().await;
            w.run().await;
            w.calm().await;
            w.agrees();
            assert_eq!(w.account("ldap1").key, before.account("ldap1").unwrap().key, "{at}: the same account");
        }
    }
}

#[tokio::test]
async fn real_leavers_are_out_at_once() {
    for imported in KINDS {
        let w = ldap(imported).await;
        // Deleted in LDAP.
        w.realm().remove_from_ldap(&w.id("ldap1")).unwrap();
        event(&w, "ldap1").await;
        w.calm().await;
        assert!(!w.account("ldap1").active, "imported: {imported}");
        // Left a group in LDAP, found by a run.
        let crew = w.realm().snapshot().group("/crew").unwrap().id.clone();
        w.realm().set_member_in_ldap(&w.id("ldap2"), &crew, false).unwrap();
        w.run().await;
        assert!(!w.members("crew").contains(&"ldap2".to_owned()), "imported: {imported}");
        assert!(w.members("staff").contains(&"ldap2".to_owned()), "imported: {imported}");
        // Deleted in LDAP, found by a run.
        w.realm().remove_from_ldap(&w.id("ldap3")).unwrap();
        w.run().await;
        assert!(!w.account("ldap3").active, "imported: {imported}");
        w.calm().await;
        let others = ["ldap0", "ldap4", "ldap5"];
        assert!(others.iter().all(|login| w.account(login).active), "imported: {imported}");
    }
}

#[tokio::test]
async fn a_user_that_is_disabled_in_keycloak_is_out_while_ldap_is_down() {
    let w = ldap(true).await;
    w.realm().set_federation("corp", FederationState::Unreachable);
    w.realm().update_user(&w.id("ldap1"), UserChange::enabled(false)).await.unwrap();
    w.calm().await;
    assert!(!w.account("ldap1").active);
    assert!(w.account("ldap2").active);
}

#[tokio::test]
async fn a_user_out_of_scope_stays_while_ldap_is_down_unless_it_is_disabled() {
    let w = ldap_with(true, |policy| {
        policy.scope.required_groups = ["/crew", "/staff"].map(|path| path.to_owned().try_into().unwrap()).to_vec();
        policy.leavers.out_of_scope = LeaverAction::Delete;
    })
    .await;
    w.realm().set_federation("corp", FederationState::Unreachable);
    event(&w, "ldap1").await;
    assert!(w.account("ldap1").active);
    w.realm().update_user(&w.id("ldap1"), UserChange::enabled(false)).await.unwrap();
    w.calm().await;
    assert!(!w.account("ldap1").active, "deactivated as a disabled user, not deleted as one out of scope");
}

#[tokio::test]
async fn the_removal_of_a_provider_waits_for_approval() {
    for imported in KINDS {
        let w = ldap(imported).await;
        let before = w.jira().snapshot();
        w.realm().set_federation("corp", FederationState::Removed);
        w.run().await;
        w.calm().await;
        assert_eq!(w.jira().snapshot(), before, "imported: {imported}");
        assert_eq!(w.waiting(ApprovalKind::Federation).await.len(), LDAP, "imported: {imported}");
        until("a condition", async || condition(&w).is_some()).await;
        let text = condition(&w).unwrap();
        assert!(text.contains("is removed from Keycloak"), "{text}");
        w.decide(ApprovalKind::Federation, true).await;
        w.calm().await;
        assert!((0..LDAP).all(|number| !w.account(&format!("ldap{number}")).active), "imported: {imported}");
    }
}

#[tokio::test]
async fn users_that_are_unlinked_from_their_provider_keep_their_groups_until_that_is_approved() {
    let w = ldap(true).await;
    let before = w.jira().snapshot();
    w.realm().unlink_users("corp").unwrap();
    w.run().await;
    w.run().await;
    w.calm().await;
    assert_eq!(w.jira().snapshot(), before);
    // A question about one of them has linked that user again, as in Keycloak. Each lost two groups.
    let linked = (0..LDAP)
        .filter(|number| w.realm().snapshot().user(&format!("ldap{number}")).unwrap().federation_link.is_some());
    assert_eq!(linked.count(), 1);
    assert_eq!(w.waiting(ApprovalKind::Federation).await.len(), 2 * (LDAP - 1));
    w.decide(ApprovalKind::Federation, true).await;
    w.calm().await;
    assert_eq!(w.members("crew").len(), 1);
    w.agrees();
}

#[tokio::test]
async fn users_that_are_imported_again_keep_their_accounts() {
    let w = ldap(true).await;
    let key = w.account("ldap1").key;
    w.realm().remove_imported_users("corp").unwrap();
    w.run().await;
    w.calm().await;
    w.run().await;
    w.calm().await;
    assert_eq!(w.account("ldap1").key, key);
    w.agrees();
}

#[tokio::test]
async fn a_group_mapper_that_points_nowhere_removes_nothing() {
    for imported in KINDS {
        let w = ldap(imported).await;
        let before = w.jira().snapshot();
        w.realm().set_group_mapper("corp", GroupMapper::Missing).unwrap();
        let outcome = w.try_run().await;
        w.realm().webhook_idle().await;
        assert_eq!(w.jira().snapshot(), before, "imported: {imported}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_dry_run_shows_what_the_provider_confirms() {
    for imported in KINDS {
        let w = unchecked_ldap(imported).await;
        w.realm().switch_webhook(false);
        w.realm().remove_from_ldap(&w.id("ldap1")).unwrap();
        let planned = |report: &Report| {
            report.lines.iter().filter(|line| line.operation.to_string().contains("deactivate ldap1")).count()
        };
        let report = w.dry_run().await;
        assert_eq!(planned(&report), 1, "imported: {imported}: {report:?}");
        w.realm().set_federation("corp", FederationState::Unreachable);
        let report = w.dry_run().await;
        assert_eq!(planned(&report), 0, "imported: {imported}: {report:?}");
        assert!(w.account("ldap1").active);
    }
}

#[tokio::test]
async fn a_run_reads_no_users_if_keycloak_would_delete_them() {
    let w = unchecked_ldap(true).await;
    let users = w.realm().snapshot().users.len();
    w.realm().switch_webhook(false);
    w.realm().set_federation("corp", FederationState::Empty);
    let error = w.try_run().await.unwrap_err();
    assert!(matches!(error, WorkError::Unconfirmed(_)), "{error}");
    assert!(error.to_string().contains("Keycloak would delete"), "{error}");
    assert_eq!(w.realm().snapshot().users.len(), users);
}

#[tokio::test]
async fn the_only_user_of_a_provider_waits_for_approval() {
    let servers = servers(options()).await;
    servers.realm.import_users([NewUser::named("solo").federated("corp")]).unwrap();
    let w = on(servers).await;
    w.realm().remove_from_ldap(&w.id("solo")).unwrap();
    event(&w, "solo").await;
    w.calm().await;
    assert!(w.account("solo").active);
    assert_eq!(w.waiting(ApprovalKind::Federation).await, ["deactivate solo"]);
}

#[tokio::test]
async fn leavers_without_an_event_are_found_by_the_check_of_federated_users() {
    for imported in KINDS {
        let w = ldap(imported).await;
        w.realm().remove_from_ldap(&w.id("ldap1")).unwrap();
        until(&format!("imported: {imported}: ldap1 is out"), async || !w.account("ldap1").active).await;
        assert!((2..LDAP).all(|number| w.account(&format!("ldap{number}")).active));
        // A leaver is reported once.
        w.calm().await;
        let changes = w.changes().await.len();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!((w.tasks().await.len(), w.changes().await.len()), (0, changes));
    }
    let w = ldap(true).await;
    // A synchronization stores that LDAP has disabled the user.
    let id = w.id("ldap2");
    w.realm().change_in_ldap(&id, &UserChange::enabled(false)).unwrap();
    w.realm().sync_federation("corp").unwrap();
    until("ldap2 is out", async || !w.account("ldap2").active).await;
}

#[tokio::test]
async fn users_that_are_unlinked_while_ldap_is_down_keep_their_groups_afterwards() {
    let w = unchecked_ldap(true).await;
    let before = w.jira().snapshot();
    w.realm().switch_webhook(false);
    w.realm().set_federation("corp", FederationState::Unreachable);
    w.realm().unlink_users("corp").unwrap();
    w.run().await;
    w.run().await;
    w.realm().set_federation("corp", FederationState::Available);
    w.run().await;
    w.run().await;
    w.calm().await;
    assert_eq!(w.jira().snapshot(), before);
    assert_eq!(w.waiting(ApprovalKind::Federation).await.len(), 2 * (LDAP - 1));
}

#[tokio::test]
async fn a_user_with_the_login_of_one_that_is_only_invisible_does_not_get_its_account() {
    let w = unchecked_ldap(true).await;
    let before = w.account("ldap1");
    let id = w.id("ldap1");
    w.realm().set_federation("corp", FederationState::Empty);
    // The read of its work deletes the user in Keycloak, and the login becomes free.
    w.realm().user_action(&id, "logout").await.unwrap();
    w.calm().await;
    let local = w.realm().create_user(NewUser::named("ldap1")).await.unwrap();
    w.calm().await;
    assert_ne!(local, id);
    assert_eq!(w.account("ldap1"), before);
    let linked = async |user: &str| w.stack.store.link(&Stack::pair(), &user.into()).await.unwrap().is_some();
    assert!(linked(&id).await && !linked(&local).await);
}

#[tokio::test]
async fn a_user_that_is_renamed_in_ldap_is_not_taken_for_a_leaver() {
    let w = unchecked_ldap(false).await;
    let renamed = w.realm().rename_in_ldap(&w.id("ldap1"), "renamed").unwrap();
    w.run().await;
    w.calm().await;
    assert!(w.account("ldap1").active, "{renamed}");
}

#[tokio::test]
async fn unmanaged_members_are_not_removed_while_ldap_is_down() {
    let mut options = policy(|policy| policy.groups.unmanaged_members = usersync::model::UnmanagedMembers::Remove);
    options.federation_check = None;
    let servers = servers(options).await;
    servers.realm.import_users(ldap_users(false)).unwrap();
    let w = on(servers).await;
    w.jira().add_account(NewAccount::named("unlinked"));
    w.jira().add_member("staff", "unlinked");
    w.realm().set_federation("corp", FederationState::Unreachable);
    w.run().await;
    w.calm().await;
    assert!(w.members("staff").contains(&"unlinked".to_owned()));
}

#[tokio::test]
async fn a_keycloak_that_finds_nobody_by_several_ids_causes_no_work() {
    let mut options = options();
    options.federation_check = Some(SignedDuration::from_millis(50));
    let servers = servers(options).await;
    servers.realm.import_users(ldap_users(true)).unwrap();
    // As Keycloak 26.0 answers.
    let nobody = Fault::status(200, "[]").header("content-type", "application/json").path("search=id");
    let nobody = servers.keycloak.faults.add(nobody);
    let w = on(servers).await;
    w.calm().await;
    let own = format!("/users/{}", w.id("ldap1"));
    let reads = || w.servers.keycloak.journal.entries().iter().filter(|one| one.path.ends_with(&own)).count();
    let (before, searches) = (reads(), w.servers.keycloak.faults.hits(nobody));
    until("two checks", async || w.servers.keycloak.faults.hits(nobody) >= searches + 2).await;
    assert_eq!(reads(), before);
    assert_eq!(w.tasks().await.len(), 0);
}
