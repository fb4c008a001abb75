//! How `runs show` and `sync` print the evidence and the cost of a run.

use usersync::demo::stack::{SimulatedServers, StackOptions};
use usersync_simulators::{Fault, keycloak::NewUser};

use super::{place::Place, schemas::assert_valid};

/// Returns the words of the line that begins with these.
fn line<'a>(text: &'a str, begins: &str) -> Vec<&'a str> {
    let found = text.lines().find(|line| line.trim_start().starts_with(begins));
    found.unwrap_or_else(|| panic!("no line begins with {begins}:\n{text}")).split_whitespace().collect()
}

#[tokio::test]
async fn e8_runs_show_prints_how_both_sides_were_read() {
    let servers = SimulatedServers::prepare(StackOptions::default()).await.expect("the simulators start");
    let users = ["alice", "bob", "carol"].map(|name| NewUser::named(name).in_groups(&["/staff"]));
    servers.realm.import_users(users).expect("imported");
    let place = Place::at(&servers);
    place.run(&["sync"]).await.ended(3);
    place.run(&["approvals", "approve", "1"]).await.ended(0);
    let synced = place.run(&["sync"]).await;
    synced.ended(0).says("cost    source: ");
    place.run(&["sync"]).await.ended(0).says("Nothing to do: all 3 users are in sync.");
    let id = servers.realm.snapshot().user("bob").expect("bob is in Keycloak").id.clone();
    servers.realm.delete_user_without_event(&id).expect("deleted");
    servers.keycloak.faults.add(Fault::edit(|count| *count = 2.into()).path("/users/count").once());
    place.run(&["sync"]).await.ended(0);

    let (code, document) = place.json(&["runs"]).await;
    assert_eq!(code, 0);
    let last = document["runs"][0]["id"].to_string();
    let shown = place.run(&["runs", "show", &last]).await;
    shown.ended(0);
    shown.says("at the source  count before  read  count after  pages  repeats  last good");
    assert_eq!(line(&shown.out, "users"), ["users", "2", "2", "2", "1", "0", "3"]);
    assert_eq!(line(&shown.out, "groups"), ["groups", "1", "1", "1", "1", "0", "1"]);
    assert_eq!(line(&shown.out, "accounts"), ["accounts", "-", "4", "-", "1", "0", "4"]);
    shown.says("1 user read by id: 1 gone.").says("Rights at the source: ").says("Rights at the target: ");
    assert!(
        shown.out.lines().filter(|line| line.starts_with("  ")).all(|line| line.chars().count() <= 80),
        "{}",
        shown.out
    );

    let (_, document) = place.json(&["runs", "show", &last]).await;
    assert_valid(&["runs", "show"], &document);
    let evidence = &document["run"]["report"]["evidence"];
    assert_eq!(evidence["source"]["read"]["users"]["by_id"]["gone"], 1, "{evidence}");
    assert!(evidence["target"]["cost"]["calls"].as_u64().is_some_and(|calls| calls > 0), "{evidence}");
    // The run before it did nothing, and has its reason.
    let (_, document) = place.json(&["runs", "show", &(last.parse::<i64>().expect("an id") - 1).to_string()]).await;
    assert_eq!(document["run"]["report"]["nothing_done"], "Nothing to do: all 3 users are in sync.");
}
