//! Each option of the policy on each product; source of the table in the documentation.

use std::fmt::Write as _;

use serde_json::{Value, json};
use usersync::{
    demo::{
        stack::{CONNECTOR, SimulatedServers, StackOptions, TARGET},
        targets,
    },
    engine::RunOptions,
    model::{FirstRun, Pair, Policy, RunTrigger, Safety},
    store::{StoreReads, TaskFilter},
};
use usersync_simulators::{
    agree::{Held, Holds},
    keycloak::{NewUser, UserChange},
};

use super::support::{World, id_of, options};

const PAGE: &str = "docs/targets/README.md";

/// A change in Keycloak after the first full reconcile.
#[derive(Clone, Copy)]
enum Change {
    None,
    /// This user is disabled.
    Disabled(&'static str),
    /// This user leaves the group.
    Left(&'static str, &'static str),
    /// This user gets another username.
    Renamed(&'static str, &'static str),
    /// This group gets another name.
    GroupRenamed(&'static str, &'static str),
}

/// An option, with a policy that uses it.
struct Row {
    what: &'static str,
    policy: Value,
    change: Change,
    /// Returns whether a target is as the option says. A product where it is not has to report why.
    works: fn(&Held) -> bool,
    /// The words for that.
    yes: &'static str,
}

fn row(what: &'static str, policy: Value, works: fn(&Held) -> bool) -> Row {
    Row { what, policy, change: Change::None, works, yes: "yes" }
}

fn is_active(held: &Held, login: &str) -> Option<bool> {
    held.accounts.get(login).map(|account| account.active)
}

fn is_in(held: &Held, login: &str, group: &str) -> bool {
    held.groups.get(group).is_some_and(|members| members.contains(login))
}

fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("`scope.required_groups`", json!({ "scope": { "required_groups": ["/eng"] } }), |held| {
            is_active(held, "alice") == Some(true) && is_active(held, "carl").is_none()
        }),
        row("`scope.condition`", json!({ "scope": { "condition": "{{ attributes.type != 'external' }}" } }), |held| {
            is_active(held, "alice") == Some(true) && is_active(held, "carl").is_none()
        }),
        row("`account.login`", json!({ "account": { "login": "{{ username }}.ext" } }), |held| {
            is_active(held, "alice.ext") == Some(true) && is_active(held, "alice").is_none()
        }),
        row(
            "`account.display_name`",
            json!({ "account": { "display_name": "{{ last_name }}, {{ first_name }}" } }),
            |held| held.accounts.get("alice").is_some_and(|account| account.display_name == "Example, alice"),
        ),
        row("`account.email`", json!({ "account": { "email": "{{ username }}@mail.example" } }), |held| {
            held.accounts.get("alice").is_some_and(|account| account.email == "alice@mail.example")
        }),
        row("`groups.only`", json!({ "groups": { "only": ["/guests"] } }), |held| {
            is_in(held, "carl", "guests") && !held.groups.contains_key("eng")
        }),
        row("`groups.named_by`, `prefix`", json!({ "groups": { "named_by": "path", "prefix": "kc-" } }), |held| {
            is_in(held, "alice", "kc-eng-platform")
        }),
        row("`groups.members`", json!({ "groups": { "members": "with_subgroups" } }), |held| {
            is_in(held, "alice", "eng")
        }),
        row("`groups.create = false`", json!({ "groups": { "create": false } }), |held| {
            is_active(held, "alice") == Some(true) && !held.groups.contains_key("eng")
        }),
        row("`groups.condition`", json!({ "groups": { "condition": "{{ path | matches('^/guests') }}" } }), |held| {
            is_in(held, "carl", "guests") && !held.groups.contains_key("eng")
        }),
        row("`groups.name`", json!({ "groups": { "name": "{{ names | join('.') | lower }}" } }), |held| {
            is_in(held, "alice", "eng.platform")
        }),
        row(
            "`groups.merged`",
            json!({ "groups": {
                "name": "{{ 'both' if name in ['platform', 'guests'] else name }}", "merged": ["both"],
            } }),
            |held| is_in(held, "alice", "both") && is_in(held, "carl", "both"),
        ),
        row(
            "`groups.overrides`",
            json!({ "groups": { "overrides": [{ "path": "/eng", "members": "with_subgroups" }] } }),
            |held| is_in(held, "alice", "eng"),
        ),
        row("`groups.constant`", json!({ "groups": { "constant": [{ "name": "licensed" }] } }), |held| {
            is_in(held, "alice", "licensed") && is_in(held, "carl", "licensed")
        }),
    ];
    let mut after = |what, policy, change, works| rows.push(Row { what, policy, change, works, yes: "yes" });
    let leavers = |action: &str| json!({ "leavers": { "disabled": action, "grace": "1s" } });
    let bob = Change::Disabled("bob");
    after("`leavers` = `deactivate`", json!({}), bob, |held| is_active(held, "bob") == Some(false));
    after("`leavers` = `nothing`", leavers("nothing"), bob, |held| {
        is_active(held, "bob") == Some(true) && is_in(held, "bob", "eng")
    });
    after("`leavers` = `remove_groups`", leavers("remove_groups"), bob, |held| {
        is_active(held, "bob") == Some(true) && !is_in(held, "bob", "eng")
    });
    after("`leavers` = `delete`", leavers("delete"), bob, |held| is_active(held, "bob").is_none());
    after("`leavers` = `anonymize`", leavers("anonymize"), bob, |held| is_active(held, "bob").is_none());
    let scope = json!({ "scope": { "required_groups": ["/eng"] } });
    after("a user leaves the scope", scope, Change::Left("bob", "/eng"), |held| is_active(held, "bob") == Some(false));
    after("a login changes", json!({}), Change::Renamed("bob", "robert"), |held| {
        is_active(held, "robert") == Some(true) && is_active(held, "bob").is_none()
    });
    rows.push(Row {
        what: "a group's name changes",
        policy: json!({}),
        change: Change::GroupRenamed("/eng", "engineering"),
        // The former group stays where it cannot be renamed.
        works: |held| is_in(held, "bob", "engineering") && !is_in(held, "bob", "eng"),
        yes: "members move",
    });
    rows
}

/// Users in scope of each row: enough for the safety limits.
fn users() -> impl Iterator<Item = NewUser> {
    let staff = (0..10).map(|number| NewUser::named(format!("staff{number}")).in_groups(&["/eng", "/all", "/more"]));
    let named = [
        NewUser::named("alice").in_groups(&["/eng/platform"]),
        NewUser::named("bob").in_groups(&["/eng"]),
        NewUser::named("carl").in_groups(&["/guests"]).attribute("type", "external"),
    ];
    staff.chain(named)
}

/// The products, and what each did with an option.
async fn cells(row: &Row) -> Vec<(&'static str, String)> {
    let others = targets::all().await.expect("they start");
    let other_targets = others.iter().map(|other| other.other_target().expect("an address")).collect();
    let policy: Policy = serde_json::from_value(row.policy.clone()).expect("a policy");
    let policy = Policy { first_run: FirstRun::Apply, safety: Safety { count: 100, ..Safety::default() }, ..policy };
    let servers = SimulatedServers::prepare(StackOptions { other_targets, policy, ..options() }).await;
    let servers = servers.expect("the simulators start");
    servers.realm.import_users(users()).expect("imported");
    let stack = servers.build().await.expect("the stack stands");
    // A busy machine needs more than one wait.
    for _ in 0..5 {
        if stack.in_service().await.is_ok() {
            break;
        }
    }
    let w = World { servers, stack };
    w.calm().await;
    make(&w, row.change).await;
    w.calm().await;
    let mut products: Vec<(&'static str, Pair, Held)> = vec![("Jira", Pair::new(CONNECTOR, TARGET), w.jira().held())];
    products.extend(others.iter().map(|other| {
        let pair = Pair { connector: CONNECTOR.into(), target: other.product.target_name() };
        (other.product.name(), pair, other.server.held())
    }));
    let mut cells = Vec::new();
    for (name, pair, held) in products {
        let cell = if (row.works)(&held) {
            row.yes.to_owned()
        } else {
            let why = reported(&w, &pair).await;
            assert!(!why.is_empty(), "{name}, {}: it does not work, and nothing is reported: {held:#?}", row.what);
            "no, reported".to_owned()
        };
        cells.push((name, cell));
    }
    cells
}

async fn make(w: &World, change: Change) {
    let id = |login: &str| id_of(w.realm(), login);
    let group = |path: &str| w.realm().snapshot().group(path).expect("it exists").id.clone();
    match change {
        Change::None => {}
        Change::Disabled(login) => w.realm().update_user(&id(login), UserChange::enabled(false)).await.unwrap(),
        Change::Left(login, path) => w.realm().leave(&id(login), &group(path)).await.unwrap(),
        Change::Renamed(login, to) => w.realm().update_user(&id(login), UserChange::username(to)).await.unwrap(),
        Change::GroupRenamed(path, to) => w.realm().rename_group(&group(path), to).await.unwrap(),
    }
}

/// Returns what usersync reports for a pair, in its state and in a full reconcile.
async fn reported(w: &World, pair: &Pair) -> Vec<String> {
    let store = &w.stack.store;
    let unsupported = store.unsupported(pair).await.expect("readable");
    let filter = TaskFilter { target: Some(pair.target.clone()), limit: 100, ..TaskFilter::default() };
    let tasks = store.tasks(&filter).await.expect("readable");
    let failed = tasks.into_iter().filter_map(|task| task.error.map(|(_, text)| text));
    let options = RunOptions::apply(RunTrigger::Schedule);
    let (_, report) = Box::pin(w.stack.engine.run(pair, &options)).await.expect("a full reconcile");
    let found = report.unsupported.iter().cloned();
    unsupported.into_iter().map(|one| one.why).chain(failed).chain(found).collect()
}

#[tokio::test]
async fn the_table_of_policy_options_is_true() {
    let mut table = String::new();
    for row in rows() {
        let cells = cells(&row).await;
        if table.is_empty() {
            let names: Vec<&str> = cells.iter().map(|(name, _)| *name).collect();
            let rule = " --- |".repeat(names.len() + 1);
            writeln!(table, "| policy | {} |\n|{rule}", names.join(" | ")).expect("a text");
        }
        let cells: Vec<&str> = cells.iter().map(|(_, cell)| cell.as_str()).collect();
        writeln!(table, "| {} | {} |", row.what, cells.join(" | ")).expect("a text");
    }
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    assert!(page.contains(&table), "{PAGE} should hold this table:\n\n{table}");
}
