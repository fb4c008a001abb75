//! Ways in which a server can mislead usersync. Each row is a test: nothing is removed, one sentence reports it, and
//! when the server is right again, a real leaver is out. The document `docs/architecture.md` has the table.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use usersync_simulators::{
    Fault,
    keycloak::{NewUser, UserChange},
};

use super::support::{World, on, options, policy, servers, until, world, world_with};

/// A server that misleads.
enum Misled {
    /// Keycloak answers with these faults.
    Source(Vec<Fault>),
    /// Keycloak answers with faults that depend on its state.
    SourceOf(fn(&World) -> Vec<Fault>),
    /// Jira answers with these faults.
    Target(Vec<Fault>),
    /// A server is switched, and switched back.
    Switch(fn(&World), fn(&World)),
}

impl Misled {
    /// Runs and sends an event while the server misleads. Returns what usersync reported.
    async fn during(&self, w: &World) -> Vec<String> {
        let (faults, ids) = match self {
            Self::Source(faults) => (&w.servers.keycloak.faults, faults.clone()),
            Self::SourceOf(faults) => (&w.servers.keycloak.faults, faults(w)),
            Self::Target(faults) => (&w.jira().faults, faults.clone()),
            Self::Switch(on, _) => {
                on(w);
                (&w.jira().faults, Vec::new())
            }
        };
        let ids: Vec<_> = ids.into_iter().map(|fault| faults.add(fault)).collect();
        let reported = w.reported(w.try_run().await);
        assert!(ids.is_empty() || ids.iter().any(|id| faults.hits(*id) > 0), "no fault was met: {reported:#?}");
        for login in ["staff1", "other"] {
            w.realm().user_action(&w.id(login), "logout").await.unwrap();
        }
        w.realm().webhook_idle().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        reported
    }

    /// Ends it.
    fn end(&self, w: &World) {
        w.servers.keycloak.faults.clear();
        w.jira().faults.clear();
        if let Self::Switch(_, off) = self {
            off(w);
        }
    }
}

/// Returns what the users have in Jira: active accounts, groups and memberships, without those of one login.
fn granted(w: &World, without: &str) -> BTreeSet<String> {
    let jira = w.jira().snapshot();
    let accounts = jira.accounts.values().filter(|account| account.active && account.name != without);
    let accounts = accounts.map(|account| format!("active {} {}", account.name, account.key));
    let groups = jira.groups.keys().map(|group| format!("group {group}"));
    let members = jira.groups.iter().flat_map(|(group, members)| {
        members.iter().filter(|one| *one != without).map(move |one| format!("{one} in {group}"))
    });
    accounts.chain(groups).chain(members).collect()
}

/// Returns the requests that removed something from Jira.
fn deletions(w: &World) -> Vec<String> {
    let writes = w.writes();
    writes.iter().filter(|one| one.method == "DELETE").map(|one| format!("{} {}", one.method, one.target())).collect()
}

/// The promise of each row. `sentence`: words of one sentence that is reported.
async fn removes_nothing(misled: Misled, sentence: &[&str]) {
    let servers = servers(options()).await;
    let two = ["leaver", "other"].map(|name| NewUser::named(name).in_groups(&["/staff", "/extra"]));
    servers.realm.import_users(two).unwrap();
    let w = on(servers).await;
    w.agrees();
    let before = granted(&w, "");
    let mut reported = misled.during(&w).await;
    let lost: Vec<String> = before.difference(&granted(&w, "")).cloned().collect();
    assert_eq!((lost, deletions(&w)), (Vec::new(), Vec::new()), "{reported:#?}");

    // A user really leaves meanwhile: it may be confirmed by id. Nobody else loses anything.
    w.realm().delete_user_without_event(&w.id("leaver")).unwrap();
    let before = granted(&w, "leaver");
    misled.end(&w);
    reported.extend(misled.during(&w).await);
    let lost: Vec<String> = before.difference(&granted(&w, "leaver")).cloned().collect();
    assert_eq!(lost, Vec::<String>::new(), "{reported:#?}");
    let is_such = |text: &String| sentence.iter().all(|words| text.contains(words));
    assert!(reported.iter().any(is_such), "{sentence:?} in {reported:#?}");

    misled.end(&w);
    for _ in 0..50 {
        if w.try_run().await.is_ok() && !w.account("leaver").active {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    w.calm().await;
    assert!(!w.account("leaver").active, "the leaver is out");
    let report = w.run().await;
    assert_eq!((report.incomplete.clone(), report.errors.total()), (None, 0), "{report:?}");
    w.agrees();
}

fn json_of(body: &Value) -> Fault {
    Fault::status(200, body.to_string()).header("content-type", "application/json")
}

fn refused(status: u16, error: &str) -> Fault {
    Fault::status(status, json!({ "error": error }).to_string()).header("content-type", "application/json")
}

pub fn sign_in() -> Fault {
    Fault::html(200, "<html><body>Sign in</body></html>")
}

/// Keeps the first entries of a list.
fn first(entries: usize) -> Fault {
    Fault::edit(move |list| {
        if let Some(list) = list.as_array_mut() {
            list.truncate(entries);
        }
    })
}

/// Leaves out the entries with these names, as permissions do that hide them.
fn without(names: &[&'static str]) -> Fault {
    let names = names.to_vec();
    Fault::edit(move |list| {
        if let Some(list) = list.as_array_mut() {
            list.retain(|one| !names.iter().any(|name| one["username"] == *name || one["name"] == *name));
        }
    })
}

/// Returns every entry of a list twice.
fn twice() -> Fault {
    Fault::edit(|list| {
        if let Some(list) = list.as_array_mut() {
            list.extend(list.clone());
        }
    })
}

/// Changes the entries of a page of Jira.
fn values(change: fn(&mut Vec<Value>)) -> Fault {
    Fault::edit(move |page| {
        for field in ["values", "users", "groups"] {
            if let Some(entries) = page[field].as_array_mut() {
                change(entries);
            }
        }
    })
}

pub fn half(entries: &mut Vec<Value>) {
    entries.truncate(entries.len() / 2);
}

fn second_half(entries: &mut Vec<Value>) {
    entries.drain(..entries.len() / 2);
}

fn source<const N: usize>(faults: [Fault; N]) -> Misled {
    Misled::Source(faults.into())
}

fn target<const N: usize>(faults: [Fault; N]) -> Misled {
    Misled::Target(faults.into())
}

/// The roles of the client of usersync become these.
fn roles(w: &World, roles: &[&str]) {
    w.realm().set_client_roles("usersync", roles);
    w.servers.keycloak.revoke_tokens();
}

fn all_roles(w: &World) {
    roles(w, &["view-users", "view-events"]);
}

macro_rules! rows {
    ($($name:ident: $misled:expr => $sentence:expr;)*) => {
        $(#[tokio::test]
        async fn $name() {
            Box::pin(removes_nothing($misled, &$sentence)).await;
        })*
    };
}

// Keycloak.
rows! {
    an_empty_list_of_users: source([json_of(&json!([])).path("/users?")]) => ["the listing of users is empty, but Keycloak counts 12"];
    an_empty_list_of_users_that_are_counted_as_none:
        source([json_of(&json!([])).path("/users?"), json_of(&json!(0)).path("/users/count")]) => ["no users were read, but 12 are linked"];
    half_a_list_of_users: source([first(6).path("/users?")]) => ["6 users were read, but Keycloak counts 12"];
    half_a_list_of_users_that_is_counted_so:
        source([first(6).path("/users?"), json_of(&json!(6)).path("/users/count")]) => ["Keycloak's listing and count lack", "whom it returns by their ids"];
    users_hidden_by_permissions: Misled::SourceOf(|w| {
        let hidden = ["staff1", "staff2", "other"];
        let count = w.realm().snapshot().users.len() - hidden.len();
        let mut faults = vec![without(&hidden).path("/acme/users?"), without(&hidden).path("/members")];
        faults.push(json_of(&json!(count)).path("/users/count"));
        faults.extend(hidden.map(|name| refused(403, "HTTP 403 Forbidden").path(format!("/users/{}", w.id(name)))));
        faults
    }) => ["other: not listed by Keycloak, but the listing is incomplete"];
    a_count_of_users_that_is_too_high: source([json_of(&json!(40)).path("/users/count")]) => ["12 users were read, but Keycloak counts 40"];
    a_count_of_users_that_is_no_number: source([json_of(&json!({ "count": "all" })).path("/users/count")]) => ["count of users is not a number"];
    a_list_of_users_with_every_user_twice: source([twice().path("/users?")]) => ["the pages of the users at /users are inconsistent"];
    a_list_of_users_that_is_cut_off: source([Fault::truncate(300).path("/users?")]) => ["the answer when reading users ends too early"];
    a_list_of_users_that_holds_an_error: source([json_of(&json!({ "error": "unknown_error" })).path("/users?")]) => ["the answer when reading users has an unexpected format"];
    a_list_of_users_that_is_null: source([json_of(&Value::Null).path("/users?")]) => ["the answer when reading users has an unexpected format"];
    a_sign_in_page_instead_of_users: source([sign_in().path("/users?")]) => ["no JSON when reading users", "Sign in"];
    a_sign_in_page_instead_of_keycloak: source([sign_in().path("/admin/realms/")]) => ["no JSON when reading users", "Sign in"];
    no_users_behind_a_proxy: source([Fault::html(404, "<html>Not here</html>").path("/users?")]) => ["404 when reading users", "it confirms no deletion"];
    a_wrong_path_behind_which_every_user_is_404: source([
        refused(404, "User not found").path("/users?"),
        refused(404, "User not found").path("/users/"),
    ]) => ["404 when reading users", "it confirms no deletion"];
    every_user_404_though_none_is_listed: Misled::SourceOf(|w| {
        let users = w.realm().snapshot().users;
        let mut faults = vec![json_of(&json!([])).path("/users?"), json_of(&json!(0)).path("/users/count")];
        let gone = |user: &str| refused(404, "User not found").path(format!("/users/{user}"));
        faults.extend(users.keys().map(|user| gone(user)));
        faults
    }) => ["as gone, but no other user can be read. The absence is not confirmed"];
    a_list_of_users_without_an_answer: source([Fault::cut_after().path("/users?")]) => ["the connection was cut"];
    a_list_of_users_that_times_out: source([Fault::delay_after(Duration::from_secs(3)).path("/users?")]) => ["no complete answer within 2 s"];
    an_unavailable_list_of_users: source([Fault::unavailable().path("/users?")]) => ["503 when reading users"];
    an_empty_list_of_groups: source([json_of(&json!([])).path("/acme/groups?")]) => ["the listing of groups is empty, but Keycloak counts 2"];
    an_empty_list_of_groups_that_are_counted_as_none: source([
        json_of(&json!([])).path("/acme/groups?"), json_of(&json!({ "count": 0 })).path("/groups/count"),
    ]) => ["group /staff: Keycloak's listing and count lack it", "Its members stay"];
    half_a_list_of_groups: source([first(1).path("/acme/groups?")]) => ["group staff: not listed by Keycloak, but the listing is incomplete. This group is not changed"];
    a_group_hidden_by_permissions: Misled::SourceOf(|w| {
        let group = w.realm().snapshot().group("/extra").unwrap().id.clone();
        vec![
            without(&["extra"]).path("/groups?"),
            json_of(&json!({ "count": 1 })).path("/groups/count"),
            refused(403, "HTTP 403 Forbidden").path(format!("/groups/{group}")),
        ]
    }) => ["403 when reading groups", "lacks the role view-users"];
    a_group_hidden_from_a_user_with_another_change: Misled::SourceOf(|w| {
        let group = w.realm().snapshot().group("/extra").unwrap().id.clone();
        let title = if w.account("other").email == "one@example.com" { "two@example.com" } else { "one@example.com" };
        w.realm().change_without_event(&w.id("other"), &UserChange::email(title)).unwrap();
        vec![
            without(&["extra"]).path("/groups?"),
            json_of(&json!({ "count": 1 })).path("/groups/count"),
            refused(403, "HTTP 403 Forbidden").path(format!("/groups/{group}")),
        ]
    }) => ["group extra: Keycloak does not show it to usersync's client (403), so nobody is removed from it"];
    a_sign_in_page_instead_of_groups: source([sign_in().path("/groups?")]) => ["no JSON when reading groups", "Sign in"];
    a_list_of_groups_that_is_cut_off: source([Fault::truncate(60).path("/groups?")]) => ["the answer when reading groups ends too early"];
    a_list_of_groups_with_every_group_twice: source([twice().path("/groups?")]) => ["the pages of the groups at /groups are inconsistent"];
    an_empty_list_of_members: source([json_of(&json!([])).path("/members")]) => ["group /staff: Keycloak's member list lacks", "These memberships are kept"];
    half_a_list_of_members: source([first(1).path("/members")]) => ["group /staff: Keycloak's member list lacks", "These memberships are kept"];
    no_members_and_no_groups_of_users: source([
        json_of(&json!([])).path("/members"),
        Fault::edit(|list| *list = json!([])).path("/groups?").after(1),
    ]) => ["safety limit reached: RemoveMember"];
    members_that_are_forbidden: source([refused(403, "HTTP 403 Forbidden").path("/members")]) => ["403 when reading groups", "lacks the role view-users"];
    a_group_gone_before_its_members_are_read:
        source([refused(404, "Could not find group by id").path("/members")]) => ["group /staff: Keycloak's member list lacks", "These memberships are kept"];
    a_sign_in_page_instead_of_members: source([sign_in().path("/members")]) => ["group /staff: the list of its members is incomplete", "no JSON when reading groups"];
    members_that_are_cut_off: source([Fault::truncate(200).path("/members")]) => ["group /staff: the list of its members is incomplete", "ends too early"];
    members_without_an_answer: source([Fault::cut_after().path("/members")]) => ["group /staff: the list of its members is incomplete", "the connection was cut"];
    members_that_hold_an_error: source([json_of(&json!({ "error": "unknown_error" })).path("/members")]) => ["group /staff: the list of its members is incomplete", "unexpected format"];
    a_token_that_may_only_query_users:
        Misled::Switch(|w| roles(w, &["query-users", "query-groups"]), all_roles) => ["the listing of users is empty, but Keycloak counts 12: the role view-users is missing"];
    a_token_without_rights: Misled::Switch(|w| roles(w, &[]), all_roles) => ["403 when reading users", "lacks the role view-users"];
    a_realm_that_is_gone:
        Misled::Switch(|w| w.realm().set_realm_gone(true), |w| w.realm().set_realm_gone(false)) => ["has no such realm"];
}

#[tokio::test]
async fn groups_of_a_user_that_are_empty_while_a_group_lists_it() {
    let w = world().await;
    let (user, group) = (w.id("staff1"), w.realm().snapshot().group("/staff").unwrap().id.clone());
    let faults = &w.servers.keycloak.faults;
    faults.add(json_of(&json!([])).path(format!("/users/{user}/groups?")));
    w.realm().update_user(&user, UserChange::email("one@example.com")).await.unwrap();
    let text = failed_task(&w).await;
    let expected =
        "staff1, group staff: Keycloak's list of its members has the user, but the user's own list of groups";
    assert!(text.contains(expected), "{text}");
    assert!(w.members("staff").contains(&"staff1".to_owned()));
    assert_eq!(deletions(&w), Vec::<String>::new());
    assert_eq!(w.account("staff1").email, "one@example.com", "all else is done");
    faults.clear();
    w.calm().await;
    w.agrees();

    // The count includes groups that are never listed, such as those of organizations: the members decide, if all are read.
    let count = faults.add(json_of(&json!({ "count": 5 })).path(format!("/users/{user}/groups/count")));
    let repeated = faults.add(twice().path("/members"));
    w.realm().leave(&user, &group).await.unwrap();
    let text = failed_task(&w).await;
    assert!(text.contains("not all members of the group were read. The membership stays"), "{text}");
    assert!(w.members("staff").contains(&"staff1".to_owned()));
    faults.remove(repeated);
    w.calm().await;
    assert!(!w.members("staff").contains(&"staff1".to_owned()));
    assert!(faults.hits(count) > 0);
}

#[tokio::test]
async fn groups_of_a_user_that_lack_a_required_group_while_the_group_lists_it() {
    let scope = serde_json::from_str(r#"{"required_groups": ["/staff"]}"#).expect("a scope");
    let w = world_with(policy(|policy| policy.scope = scope)).await;
    let (user, group) = (w.id("staff1"), w.realm().snapshot().group("/staff").unwrap().id.clone());
    let faults = &w.servers.keycloak.faults;
    let empty = faults.add(json_of(&json!([])).path(format!("/users/{user}/groups?")));
    w.realm().update_user(&user, UserChange::email("one@example.com")).await.unwrap();
    let text = failed_task(&w).await;
    let expected =
        "staff1, group /staff: Keycloak's list of its members has the user, but the user's own list of groups";
    assert!(text.contains(expected) && text.ends_with("The user stays in scope"), "{text}");
    w.try_run().await.expect("the run goes on");
    assert!(w.account("staff1").active && w.members("staff").contains(&"staff1".to_owned()));
    assert_eq!(deletions(&w), Vec::<String>::new());
    assert!(faults.hits(empty) > 0);

    // A disabled user leaves all the same.
    w.realm().update_user(&user, UserChange::enabled(false)).await.unwrap();
    until("the deactivation", async || !w.account("staff1").active).await;
    w.realm().update_user(&user, UserChange::enabled(true)).await.unwrap();
    faults.clear();
    w.calm().await;
    w.run().await;
    assert!(w.account("staff1").active);

    // The count includes groups that are never listed, such as those of organizations.
    let count = faults.add(json_of(&json!({ "count": 5 })).path(format!("/users/{user}/groups/count")));
    w.realm().leave(&user, &group).await.unwrap();
    until("the deactivation", async || !w.account("staff1").active).await;
    assert!(faults.hits(count) > 0);
}

/// Returns the error of the first task that fails.
async fn failed_task(w: &World) -> String {
    for _ in 0..1_000 {
        if let Some((_, text)) = w.tasks().await.into_iter().find_map(|task| task.error) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no task failed");
}

// Jira.
rows! {
    an_empty_list_of_accounts: target([values(Vec::clear).path("/user/list")]) => ["the listing lacks usersync's own account"];
    half_a_list_of_accounts: target([values(second_half).path("/user/list")]) => ["the listing lacks usersync's own account"];
    accounts_that_are_listed_twice:
        target([values(|entries| entries.extend(entries.clone())).path("/user/list")]) => ["the listing returned entries twice"];
    a_list_of_accounts_that_is_cut_off: target([Fault::truncate(300).path("/user/list")]) => ["listing all accounts: Jira's answer cannot be read (truncated JSON"];
    a_sign_in_page_instead_of_accounts: target([sign_in().path("/user/list")]) => ["received an HTML page instead of JSON"];
    an_unavailable_list_of_accounts: target([Fault::unavailable().path("/user/list")]) => ["Jira answered 503"];
    a_list_of_accounts_without_an_answer: target([Fault::cut_after().path("/user/list")]) => ["broke before the answer was complete"];
    an_empty_list_of_members_in_jira: target([values(Vec::clear).path("groupname=staff").method("GET")]) => ["not all members of staff were read", "0 of 12 members"];
    half_a_list_of_members_in_jira: target([values(half).path("groupname=staff").method("GET")]) => ["not all members of staff were read", "6 of 12 members"];
    members_in_jira_that_are_forbidden: target([refused(403, "forbidden").path("/group/member").method("GET")]) => ["Jira answered 403", "lacks the permission"];
    a_group_in_jira_that_is_not_found_for_a_while:
        target([refused(404, "The group named 'staff' does not exist").path("/group/member").method("GET")]) => ["the answer 404 does not come from Jira, so nothing is treated as deleted"];
    a_sign_in_page_instead_of_members_in_jira: target([sign_in().path("/group/member").method("GET")]) => ["received an HTML page instead of JSON"];
    a_list_of_members_in_jira_that_is_cut_off:
        target([Fault::truncate(100).path("/group/member").method("GET")]) => ["Jira's answer cannot be read (truncated JSON"];
    accounts_that_are_not_found_one_by_one: target([
        values(Vec::clear).path("/user/list"), refused(404, "The user does not exist").path("/user?").method("GET"),
    ]) => ["reading account", "the answer 404 does not come from Jira, so nothing is treated as deleted"];
    a_search_index_that_is_rebuilt: target([
        values(Vec::clear).path("/user/list"),
        json_of(&json!([])).path("/user/search"),
        values(Vec::clear).path("/groups/picker"),
    ]) => ["the listing lacks usersync's own account"];
}
