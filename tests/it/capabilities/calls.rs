//! Number of calls per run and per change for each product; source of the table in the documentation.

use std::fmt::Write as _;

use jiff::SignedDuration;
use usersync::{
    demo::{
        stack::{CONNECTOR, StackOptions, TARGET},
        targets,
    },
    engine::RunOptions,
    model::{Pair, RunTrigger},
};
use usersync_simulators::{
    Journal,
    keycloak::{NewUser, UserChange},
};

use super::support::{World, id_of, options, servers};

const PAGE: &str = "docs/targets/README.md";
const PEOPLE: usize = 120;
/// Each group has half of the users; one more group has all staff.
const GROUPS: usize = 24;

fn people() -> impl Iterator<Item = NewUser> {
    (0..PEOPLE).map(|person| {
        let own = (0..GROUPS).filter(|group| (person + group).is_multiple_of(2)).map(|group| format!("/g{group}"));
        let own: Vec<String> = own.collect();
        NewUser::named(format!("person{person}")).in_groups(&own.iter().map(String::as_str).collect::<Vec<_>>())
    })
}

struct Counted {
    name: &'static str,
    pair: Pair,
    journal: Journal,
}

/// Returns the calls that each product got during the work.
async fn counted<T>(products: &[Counted], work: impl Future<Output = T>) -> Vec<usize> {
    for product in products {
        product.journal.clear();
    }
    work.await;
    products.iter().map(|product| product.journal.len()).collect()
}

async fn run(w: &World, products: &[Counted], trigger: RunTrigger) {
    for product in products {
        let options = RunOptions::apply(trigger.clone());
        let (_, report) = Box::pin(w.stack.engine.run(&product.pair, &options)).await.expect("a run");
        assert!(report.planned.is_empty() && report.incomplete.is_none(), "{}: {report:?}", product.name);
    }
    w.calm().await;
}

#[tokio::test]
async fn the_table_of_calls_is_true() {
    let others = targets::all().await.expect("they start");
    let other_targets = others.iter().map(|other| other.other_target().expect("an address")).collect();
    let mut options = StackOptions { other_targets, ..options() };
    // No health probe runs in between.
    options.times.contact = SignedDuration::from_hours(10);
    let servers = servers(options).await;
    servers.realm.import_users(people()).expect("imported");
    let stack = servers.build().await.expect("the stack stands");
    // Four first runs with thousands of memberships take a busy machine longer than one wait.
    for _ in 0..10 {
        if stack.in_service().await.is_ok() {
            break;
        }
    }
    let w = World { servers, stack };
    w.settled().await;
    let mut products =
        vec![Counted { name: "Jira", pair: Pair::new(CONNECTOR, TARGET), journal: w.jira().journal.clone() }];
    products.extend(others.iter().map(|other| Counted {
        name: other.product.name(),
        pair: Pair { connector: CONNECTOR.into(), target: other.product.target_name() },
        journal: other.journal.clone(),
    }));
    // From here on, first-time reads are done and their results cached.
    run(&w, &products, RunTrigger::Schedule).await;
    let id = |login: &str| id_of(w.realm(), login);
    let group = |name: &str| w.realm().snapshot().group(name).expect("there").id.clone();
    for (login, change) in [("person0", UserChange::enabled(false)), ("person0", UserChange::email("zero@example.com"))]
    {
        w.realm().update_user(&id(login), change).await.unwrap();
        w.calm().await;
    }
    w.realm().leave(&id("person2"), &group("/g0")).await.unwrap();
    w.calm().await;
    w.realm().join(&id("person2"), &group("/g0")).await.unwrap();
    w.calm().await;
    run(&w, &products, RunTrigger::Schedule).await;

    let change = async |login: &str, change: UserChange| {
        w.realm().update_user(&id(login), change).await.unwrap();
        w.settled().await;
    };
    let mut rows = vec![
        ("a scheduled run", counted(&products, run(&w, &products, RunTrigger::Schedule)).await),
        ("a run that an operator starts", counted(&products, run(&w, &products, RunTrigger::Operator)).await),
        ("a user is disabled", counted(&products, change("person4", UserChange::enabled(false))).await),
        (
            "an e-mail address changes",
            counted(&products, change("person6", UserChange::email("six@example.com"))).await,
        ),
    ];
    let leave = async {
        w.realm().leave(&id("person8"), &group("/g0")).await.unwrap();
        w.settled().await;
    };
    rows.push(("a membership is removed", counted(&products, leave).await));
    let join = async {
        w.realm().join(&id("person8"), &group("/g0")).await.unwrap();
        w.settled().await;
    };
    rows.push(("a membership is added", counted(&products, join).await));

    let names: Vec<&str> = products.iter().map(|product| product.name).collect();
    let mut table = format!("| calls for | {} |\n|{}\n", names.join(" | "), " --- |".repeat(names.len() + 1));
    for (what, calls) in &rows {
        let cells: Vec<String> = calls.iter().map(ToString::to_string).collect();
        writeln!(table, "| {what} | {} |", cells.join(" | ")).expect("a text");
    }
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    assert!(page.contains(&table), "{PAGE} should hold this table:\n\n{table}");
    // One call per group, and the accounts.
    let idle = rows[0].1[0];
    assert!(idle <= GROUPS + 20, "Jira: {idle} calls for {GROUPS} groups");
}
