//! Generates the table of capabilities in the documentation from the code.

use std::fmt::Write as _;

use usersync::{model::Operation, targets::Applied};

use super::places::{Place, bitbucket, confluence, crowd, fields, jira, scim, soon};

const PAGE: &str = "docs/targets/README.md";

/// Returns the number of calls to create an account in five groups, after the first contact.
async fn calls_for_a_new_account(place: &Place) -> usize {
    let mut groups = Vec::new();
    for number in 0..5 {
        groups.push(place.group(&format!("calls-{number}")).await);
    }
    let mut calls = 0;
    for login in ["first", "second", "third"] {
        let before = place.journal.entries().len();
        let create =
            Operation::CreateUser { name: login.to_owned(), fields: fields("Some Body", login), external_id: None };
        let Ok(Applied::Account(account)) = place.apply(&create).await else { panic!("{login} is made") };
        if account.groups.is_none() {
            place.account(&account.id).await;
        }
        if place.info.capabilities.groups_at_once > 1 {
            let groups: Vec<_> = groups.iter().map(|group| (&group.id, group.name.as_str())).collect();
            place.target.add_to_groups(&account.id, &account.name, &groups, soon()).await.expect("joined");
        } else {
            for group in &groups {
                place.join(&account, group).await;
            }
        }
        calls = place.journal.entries().len() - before;
    }
    calls
}

#[tokio::test]
async fn the_table_of_capabilities_is_true() {
    let places: Vec<(&str, Place)> = vec![
        ("Jira", jira().await),
        ("Confluence", confluence().await),
        ("Bitbucket", bitbucket().await),
        ("Crowd", crowd().await),
        ("SCIM", scim().await),
    ];
    let names: Vec<&str> = places.iter().map(|(name, _)| *name).collect();
    let mut table = format!("| | {} |\n|{}\n", names.join(" | "), " --- |".repeat(names.len() + 1));
    let versions: Vec<&str> = places.iter().map(|(_, place)| place.info.product.as_str()).collect();
    writeln!(table, "| as found on | {} |", versions.join(" | ")).expect("a text");
    let rows: Vec<_> = places.iter().map(|(_, place)| place.info.capabilities.rows()).collect();
    for (nth, (what, _)) in rows[0].iter().enumerate() {
        let cells: Vec<&str> = rows.iter().map(|rows| rows[nth].1.as_str()).collect();
        writeln!(table, "| {what} | {} |", cells.join(" | ")).expect("a text");
    }
    let mut calls = Vec::new();
    for (_, place) in &places {
        calls.push(calls_for_a_new_account(place).await.to_string());
    }
    writeln!(table, "| calls for a new account in 5 groups | {} |", calls.join(" | ")).expect("a text");
    let reported: Vec<String> = names.iter().zip(&calls).map(|(name, calls)| format!("{name} {calls}")).collect();
    let reported = format!("Calls to create an account with 5 groups in a full reconcile: {}.", reported.join(", "));
    let readme = std::fs::read_to_string("README.md").expect("it is there");
    assert!(readme.contains(&reported), "README.md should say:\n\n{reported}");
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    assert!(page.contains(&table), "{PAGE} should hold this table:\n\n{table}");
}
