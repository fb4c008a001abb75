//! Every command at 80 and at 120 columns, and with unknown width, with long names.

use serde_json::json;
use usersync::{
    demo::stack::{SimulatedServers, Stack, StackOptions},
    model::{ApprovalKind, Cause, Limited, NewApprovalItem, Priority, Subject},
    store::{EngineStore, Step},
};
use usersync_simulators::keycloak::NewUser;

use super::{place::Place, without_server};

const LONG: &str = "maximiliane.von-und-zu-hohenstein-oberkirchberg-langenfeld";

/// Fills a store with one of everything, with long names.
async fn long_names(place: &Place) {
    without_server::full(place).await;
    let store = place.store().await;
    let now = jiff::Timestamp::now();
    let mut event = without_server::event(&format!("event-of-{LONG}-{LONG}"), LONG, false);
    event.body = json!({ "details": { "username": LONG } }).to_string();
    store.append_events(&"acme".into(), &["jira".into()], vec![event], now).await.expect("stored");
    let claimed = without_server::claim(&store).await;
    let held = NewApprovalItem {
        kind: ApprovalKind::SafetyLimit(Limited::RemoveMember),
        what: format!("remove {LONG} from {LONG}"),
        key: "remove_member:1".into(),
        fingerprint: "1".into(),
    };
    store.complete(claimed.token, Step::default(), vec![held], now, now).await.expect("completes");
    let cause = Cause::Other { what: format!("replayed by {LONG} and {LONG}") };
    let long = Subject::user(format!("{LONG}-{LONG}").as_str());
    store.raise(&Stack::pair(), &[long], Priority::Event, &cause, now).await.expect("raised");
    let short = Cause::Other { what: "asked for".into() };
    store.raise(&Stack::pair(), &[Subject::user("short")], Priority::Event, &short, now).await.expect("raised");
    store.close().await;
}

const CALLS: &[&[&str]] = &[
    &["status"],
    &["check"],
    &["plan"],
    &["events"],
    &["changes"],
    &["audit"],
    &["tasks"],
    &["dead", "list"],
    &["runs"],
    &["runs", "show", "1"],
    &["approvals", "list"],
    &["approvals", "show", "1"],
    &["connector", "list"],
    &["target", "list"],
    &["explain", "alice"],
];

/// Returns lines that are too long, except single words such as a URL, a path or an id.
fn too_long(text: &str, width: usize) -> Vec<&str> {
    let long = |line: &&str| line.chars().count() > width && line.split_whitespace().count() > 1;
    let word = |line: &&str| line.split_whitespace().all(|word| word.chars().count() + 25 < width);
    text.lines().filter(long).filter(word).collect()
}

async fn at(place: &Place, args: &[&str], columns: Option<usize>) -> String {
    let mut command = place.command(args);
    match columns {
        Some(columns) => command.env("COLUMNS", columns.to_string()),
        None => command.env_remove("COLUMNS"),
    };
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs");
    place.read(args, &output).out
}

#[tokio::test]
async fn e8_every_command_fits_its_width() {
    let offline = Place::nowhere();
    long_names(&offline).await;
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    servers.realm.import_group(&format!("/{LONG}")).expect("made");
    let users = [LONG, "alice"].map(|name| NewUser::named(name).in_groups(&[&format!("/{LONG}")]));
    servers.realm.import_users(users).expect("imported");
    let online = Place::at(&servers);
    online.run(&["sync"]).await.ended(3);
    for place in [&offline, &online] {
        for call in CALLS {
            for width in [80, 120] {
                let text = at(place, call, Some(width)).await;
                assert_eq!(too_long(&text, width), Vec::<&str>::new(), "{call:?} at {width}:\n{text}");
            }
        }
    }
}

#[tokio::test]
async fn e8_tables_keep_one_line_a_row_also_where_the_width_is_unknown() {
    let place = Place::nowhere();
    long_names(&place).await;
    for (call, rows) in [
        (&["events"][..], 4),
        (&["changes"], 1),
        (&["tasks"], 3),
        (&["runs"], 1),
        (&["approvals", "list"], 1),
        (&["target", "list"], 1),
    ] {
        for width in [None, Some(80), Some(120)] {
            let text = at(&place, call, width).await;
            let table: Vec<&str> = text.lines().take_while(|line| !line.starts_with("Show one")).collect();
            assert_eq!(table.len(), rows + 1, "{call:?} at {width:?}:\n{text}");
            let widest = table.iter().map(|line| line.chars().count()).max().unwrap_or_default();
            assert!(widest <= width.unwrap_or(80), "{call:?} at {width:?}:\n{text}");
        }
        let whole = at(&place, &[call, &["--wide"]].concat(), None).await;
        assert!(!whole.contains('…'), "{whole}");
    }
    let wide = at(&place, &["tasks", "--wide"], None).await;
    assert!(wide.contains(&format!("user:{LONG}-{LONG}")), "{wide}");
    let other = wide.lines().find(|line| line.contains("user:short")).expect("a row");
    assert!(other.chars().count() < 120, "a long cell pads no other row: {wide}");
}

#[tokio::test]
async fn e9_events_show_the_login_and_changes_their_cause_in_words() {
    let place = Place::nowhere();
    long_names(&place).await;
    place.run(&["events"]).await.ended(0).says(LONG).says("login");
    place.run(&["events", "show", "4"]).await.ended(0).says(&format!("login        {LONG}"));
    place.run(&["changes"]).await.ended(0).says("user updated in Keycloak (event 1)");
    place.run(&["tasks"]).await.ended(0).says("replayed by");
}
