//! The table of capabilities in the documentation is made from the code.

use std::fmt::Write as _;

use usersync::{
    model::Operation,
    target::{Applied, Capabilities, CaseRule, Deactivation},
};

use crate::places::{Place, bitbucket, confluence, crowd, fields, jira, scim, soon};

const PAGE: &str = "docs/targets/README.md";

fn yes(can: bool) -> String {
    if can { "yes" } else { "no" }.to_owned()
}

fn case(rule: CaseRule) -> String {
    match rule {
        CaseRule::Lower => "lower case",
        CaseRule::Insensitive => "kept, compared without case",
        CaseRule::Sensitive => "kept and compared",
    }
    .to_owned()
}

fn forbidden(characters: &[char]) -> String {
    let named = characters.iter().map(|c| match c {
        ' ' => "space".to_owned(),
        '|' => "`\\|`".to_owned(),
        '`' => "`` ` ``".to_owned(),
        c if c.is_whitespace() => "white space".to_owned(),
        c => format!("`{c}`"),
    });
    let mut named: Vec<String> = named.collect();
    named.dedup();
    if named.is_empty() { "all".to_owned() } else { format!("all but {}", named.join(" ")) }
}

/// A line of the table.
type Row = (&'static str, fn(&Capabilities) -> String);

const ROWS: &[Row] = &[
    ("lists all accounts", |can| yes(can.list_all)),
    ("changes logins", |can| yes(can.rename)),
    ("deactivates", |can| {
        match can.deactivate {
            Deactivation::Never => "no",
            Deactivation::Switch => "yes",
            Deactivation::Access => "by taking licensed groups and permissions, which are given back",
        }
        .to_owned()
    }),
    ("deletes", |can| yes(can.delete)),
    ("renames groups", |can| yes(can.rename_group)),
    ("puts somebody into several groups by one call", |can| yes(can.bulk_members)),
    ("demands an e-mail address", |can| yes(can.email_required)),
    ("tells e-mail addresses", |can| yes(can.reads_email)),
    ("logins", |can| case(can.login_case)),
    ("characters of logins", |can| forbidden(&can.login_forbids)),
    ("group names", |can| case(can.group_case)),
    ("characters of group names", |can| forbidden(&can.group_forbids)),
];

/// How many calls it takes to make an account in five groups, once the place is known.
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
        if place.info.capabilities.bulk_members {
            let groups: Vec<_> = groups.iter().map(|group| (&group.id, group.name.as_str())).collect();
            place.target.join_groups(&account.id, &account.name, &groups, soon()).await.expect("joined");
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
    for (what, told) in ROWS {
        let cells: Vec<String> = places.iter().map(|(_, place)| told(&place.info.capabilities)).collect();
        writeln!(table, "| {what} | {} |", cells.join(" | ")).expect("a text");
    }
    let mut calls = Vec::new();
    for (_, place) in &places {
        calls.push(calls_for_a_new_account(place).await.to_string());
    }
    writeln!(table, "| calls for a new account in 5 groups | {} |", calls.join(" | ")).expect("a text");
    let told: Vec<String> = names.iter().zip(&calls).map(|(name, calls)| format!("{name} {calls}")).collect();
    let told = format!("A new account in 5 groups costs so many calls: {}.", told.join(", "));
    let readme = std::fs::read_to_string("README.md").expect("it is there");
    assert!(readme.contains(&told), "README.md should say:\n\n{told}");
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    assert!(page.contains(&table), "{PAGE} should hold this table:\n\n{table}");
}
