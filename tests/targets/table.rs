//! The table of capabilities in the documentation is made from the code.

use std::fmt::Write as _;

use usersync::target::{Capabilities, CaseRule, Deactivation};

use crate::places::{Place, bitbucket, confluence, crowd, jira, scim};

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
    ("demands an e-mail address", |can| yes(can.email_required)),
    ("tells e-mail addresses", |can| yes(can.reads_email)),
    ("logins", |can| case(can.login_case)),
    ("characters of logins", |can| forbidden(&can.login_forbids)),
    ("group names", |can| case(can.group_case)),
    ("characters of group names", |can| forbidden(&can.group_forbids)),
];

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
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    assert!(page.contains(&table), "{PAGE} should hold this table:\n\n{table}");
}
