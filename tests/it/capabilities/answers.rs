//! Answers of targets with null, missing, empty or mistyped fields never cause a panic or a removal. A bad account or
//! group affects only itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use usersync::{
    demo::{
        stack::{Stack, StackOptions},
        targets::Product,
    },
    engine::{RunOptions, WorkError},
    model::{Pair, RunTrigger},
};
use usersync_simulators::{
    Fault,
    agree::{Held, Holds},
    fault::{Faults, Kind, Mangle},
    journal::Journal,
    keycloak::NewUser,
};

use super::support::{World, on, options, servers};

/// Places where a server reports its identity, usersync's account, and global permissions. Without these no write is
/// allowed, so a run ends with an error.
const IDENTITY: [&str; 7] = [
    "/myself",
    "/user/current",
    "/serverInfo",
    "/manifest",
    "/application-properties",
    "/admin/license",
    "/admin/permissions/",
];
/// The same for servers that report it in every account.
const OWN_ACCOUNT: [&str; 3] = ["reading admin:", "reading usersync's own account", "reading the groups of admin"];

/// Returns all fields that a run and an event read: place, field, and a value.
fn fields(journal: &Journal) -> Vec<(String, String, Value)> {
    fn collect(
        at: &str,
        value: &Value,
        seen: &mut BTreeSet<(String, String)>,
        found: &mut Vec<(String, String, Value)>,
    ) {
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    if seen.insert((at.to_owned(), name.clone())) {
                        found.push((at.to_owned(), name.clone(), value.clone()));
                    }
                    collect(at, value, seen, found);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(at, value, seen, found)),
            _ => {}
        }
    }
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for entry in journal.matching(|entry| entry.method == "GET") {
        let at = if entry.query.is_empty() { entry.path.clone() } else { format!("{}?", entry.path) };
        if let Ok(answer) = serde_json::from_slice::<Value>(&entry.answer) {
            collect(&at, &answer, &mut seen, &mut found);
        }
    }
    found
}

/// Returns the replacements of a value.
fn mangled(value: &Value) -> Vec<Option<Value>> {
    let (empty, other) = match value {
        Value::String(_) => (json!(""), json!(7)),
        Value::Array(_) => (json!([]), json!("x")),
        Value::Object(_) => (json!({}), json!([7])),
        Value::Bool(_) | Value::Number(_) | Value::Null => (json!(""), json!({ "x": [] })),
    };
    vec![Some(Value::Null), None, Some(empty), Some(other)]
}

fn removed(before: &Held, after: &Held) -> Vec<String> {
    let accounts = before
        .accounts
        .iter()
        .filter(|(login, account)| account.active && !after.accounts.get(*login).is_some_and(|now| now.active));
    let mut gone: Vec<String> = accounts.map(|(login, _)| login.clone()).collect();
    for (group, members) in &before.groups {
        let now = after.groups.get(group);
        let lost = members.iter().filter(|login| !now.is_some_and(|now| now.contains(*login)));
        gone.extend(lost.map(|login| format!("{login} in {group}")));
    }
    gone
}

struct Side<'a> {
    w: &'a World,
    pair: Pair,
    faults: &'a Faults,
    journal: &'a Journal,
    server: &'a dyn Holds,
}

impl Side<'_> {
    async fn run(&self) -> Result<usersync::engine::Report, WorkError> {
        let options = RunOptions::apply(RunTrigger::Schedule);
        Box::pin(self.w.stack.engine.run(&self.pair, &options)).await.map(|(_, report)| report)
    }

    /// Runs a full reconcile, and an event of one user beside it.
    async fn work(&self) -> Result<usersync::engine::Report, WorkError> {
        self.w.realm().user_action(&self.w.id("alice"), "logout").await.expect("an event");
        self.w.realm().webhook_idle().await;
        let outcome = self.run().await;
        tokio::task::yield_now().await;
        outcome
    }

    async fn every_field_of_every_answer(&self) {
        self.journal.clear();
        self.work().await.expect("all is well");
        self.w.calm().await;
        let fields = fields(self.journal);
        assert!(fields.len() > 10, "{fields:?}");
        let before = self.server.held();
        let mut wrong = Vec::new();
        // Faults that stop a target for good come last.
        let reported = |at: &str| IDENTITY.iter().any(|own| at.contains(own));
        let (identity, other): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(at, ..)| reported(at));
        let last = other.len();
        for (number, (at, field, value)) in other.into_iter().chain(identity).enumerate() {
            if number == last {
                self.w.replay_dead().await;
                self.run().await.expect("all is well again");
            }
            for into in mangled(&value) {
                for first_only in [true, false] {
                    // One bad entry among good ones: null represents the other values.
                    if first_only && into != Some(Value::Null) {
                        continue;
                    }
                    let shown = into.as_ref().map_or_else(|| "missing".to_owned(), Value::to_string);
                    let case = format!("{at} {field}: {shown}{}", if first_only { ", the first" } else { "" });
                    let mangle = Mangle { field: field.clone(), into: into.clone(), first_only };
                    let fault = self.faults.add(Fault::new(Kind::Mangle(mangle)).method("GET").path(at.clone()));
                    let outcome = self.work().await;
                    self.faults.remove(fault);
                    let identity = reported(&at);
                    match outcome {
                        Err(WorkError::Bug) => wrong.push(format!("{case}: a panic")),
                        Err(error) if !identity && !OWN_ACCOUNT.iter().any(|own| error.to_string().contains(own)) => {
                            wrong.push(format!("{case}: the run ended: {error}"));
                        }
                        Ok(report) if report.errors.iter().any(|text| text.contains("internal error of usersync")) => {
                            wrong.push(format!("{case}: a panic in {report:?}"));
                        }
                        Ok(_) | Err(_) => {}
                    }
                    let gone = removed(&before, &self.server.held());
                    if !gone.is_empty() {
                        wrong.push(format!("{case}: removed {gone:?}"));
                        break;
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    }
}

async fn people(options: StackOptions) -> World {
    let servers = servers(options).await;
    let alice = NewUser::named("alice").in_groups(&["/staff", "/team"]);
    servers.realm.import_users([alice, NewUser::named("bob").in_groups(&["/team"])]).expect("imported");
    let w = on(servers).await;
    w.calm().await;
    w
}

async fn beside(product: Product) {
    let simulator = product.simulate().await.expect("it starts");
    let other_targets = vec![simulator.other_target().expect("a client")];
    let w = people(StackOptions { other_targets, ..options() }).await;
    let pair = Pair { target: product.target_name(), ..Stack::pair() };
    let (faults, journal, server) = (&simulator.faults, &simulator.journal, &*simulator.server);
    Side { w: &w, pair, faults, journal, server }.every_field_of_every_answer().await;
}

#[tokio::test]
async fn odd_answers_of_jira_harm_no_user() {
    let w = people(options()).await;
    let jira = w.jira();
    let side = Side { w: &w, pair: Stack::pair(), faults: &jira.faults, journal: &jira.journal, server: jira };
    side.every_field_of_every_answer().await;
}

#[tokio::test]
async fn odd_answers_of_confluence_harm_no_user() {
    Box::pin(beside(Product::Confluence)).await;
}

#[tokio::test]
async fn odd_answers_of_bitbucket_harm_no_user() {
    Box::pin(beside(Product::Bitbucket)).await;
}

#[tokio::test]
async fn odd_answers_of_crowd_harm_no_user() {
    Box::pin(beside(Product::Crowd)).await;
}
