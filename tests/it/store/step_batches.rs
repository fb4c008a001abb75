//! Steps that the store writes in batches have the same results as steps that it writes one by one.

use std::{collections::BTreeMap, path::Path};

use futures::future;
use jiff::Timestamp;
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use usersync::{
    model::*,
    store::{sqlite::*, *},
};

use super::{reference::Jitter, world::*};

/// Number of users whose steps are written at once.
const USERS: i64 = 60;
const SEEDS: u64 = 40;

/// A user's claim and how its work goes.
struct Worked {
    name: String,
    token: Token,
    kind: i64,
    sent: Vec<IntentId>,
}

fn account(worked: &Worked) -> String {
    format!("account-{}", worked.name)
}

/// Returns the first step. The kinds 0 to 4 are the common ones; each of the others needs more than they do.
fn first_step(worked: &Worked, now: Timestamp) -> Step {
    let (name, own) = (worked.name.as_str(), account(worked));
    let given = |groups: &[&str]| groups.iter().map(|group| TargetGroupId::from(*group)).collect();
    let put = |account: &str| {
        let link = Link { given: given(&["g1", "g2"]), seen_alive: Some(now), ..link(name, account) };
        Some(LinkWrite::Put(link))
    };
    let send = |operations: Vec<Operation>| operations.into_iter().map(|one| intent(one, later(now, 9))).collect();
    let additions = send(["g3", "g4"].map(|group| join(&own, name, group)).to_vec());
    match worked.kind {
        0 | 1 => Step { link: put(&own), next: additions, ..Step::default() },
        2 => Step { next: send(vec![create(name)]), ..Step::default() },
        3 => Step { link: put(&own), ..Step::default() },
        4 => Step::default(),
        5 => Step { link: put("account-of-another"), ..Step::default() },
        6 => Step { link: put(&own), raise: vec![user("raised")], next: additions, ..Step::default() },
        7 => Step { link: put(&own), next: send(vec![rename(&own, name, &format!("{name}-2"))]), ..Step::default() },
        8 => {
            let limited = NewIntent { limit: Some(1), ..intent(deactivate(&own, name), later(now, 9)) };
            Step { link: put(&own), next: vec![limited], ..Step::default() }
        }
        _ => {
            let remove = Operation::RemoveMember {
                group: "g1".into(),
                group_name: "g1".into(),
                account: own.as_str().into(),
                name: name.into(),
            };
            Step { link: put(&own), next: send(vec![remove]), ..Step::default() }
        }
    }
}

/// Returns the last step with the operations that wait for approval.
fn last_step(worked: &Worked, now: Timestamp) -> (Step, Vec<NewApprovalItem>) {
    let groups = if worked.kind == 1 { vec!["g3"] } else { vec!["g1", "g2", "g3", "g4"] };
    let given = groups.into_iter().map(TargetGroupId::from).collect();
    let link = Link { given, ..link(&worked.name, &account(worked)) };
    let outcome = |nth| match (worked.kind, nth) {
        (1, 1) => ChangeOutcome::Refused { why: "no".into(), permanent: true },
        _ => ChangeOutcome::Done,
    };
    let mut resolved: Vec<_> = worked
        .sent
        .iter()
        .enumerate()
        .map(|(nth, intent)| IntentOutcome { intent: *intent, outcome: outcome(nth) })
        .collect();
    let unsent = if worked.kind == 0 { resolved.pop().map(|one| one.intent) } else { None };
    let link = matches!(worked.kind, 0..=3).then_some(LinkWrite::Put(link));
    let held = match worked.kind {
        6 => vec![hold(ApprovalKind::SafetyLimit(Limited::Deactivate), "deactivate", "f")],
        _ => Vec::new(),
    };
    let due_again = (worked.kind == 9).then(|| later(now, 600));
    (Step { resolved, unsent: unsent.into_iter().collect(), link, due_again, ..Step::default() }, held)
}

/// A store, and whether it receives all steps at once or one by one.
struct Side {
    store: SqliteStore,
    at_once: bool,
}

impl Side {
    async fn all<T>(&self, steps: Vec<impl Future<Output = T>>) -> Vec<T> {
        if self.at_once {
            return future::join_all(steps).await;
        }
        let mut results = Vec::new();
        for step in steps {
            results.push(step.await);
        }
        results
    }

    /// Works all users with the steps of one seed; returns every answer.
    async fn work(&self, seed: u64) -> Vec<String> {
        let (store, mut jitter) = (&self.store, Jitter(seed));
        store.ensure_pairs(&[pair()], at(0)).await.unwrap();
        let run = store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(1)).await.unwrap();
        let claim = async |name: &str, now| {
            let observation = store.next_observation().await.unwrap();
            let wanted = planned(&user(name), observation, None);
            store.claim_planned(&pair(), run, wanted, now).await.unwrap().expect("stands").token
        };
        let other = claim("another", at(1)).await;
        let put = Step { link: Some(LinkWrite::Put(link("another", "account-of-another"))), ..Step::default() };
        store.step(other, put, at(1)).await.unwrap();
        let mut users = Vec::new();
        for nth in 0..USERS {
            let name = format!("user-{nth:02}");
            // Every user of some seeds is a common one, so that long rows of them are tried.
            let kind = if seed.is_multiple_of(4) { jitter.roll(5) } else { jitter.roll(10) };
            users.push(Worked { token: claim(&name, at(2)).await, name, kind, sent: Vec::new() });
        }
        // The claims of some have ended, others have a newer task.
        for worked in &users {
            match jitter.roll(30) {
                0 => store.fail(worked.token, failure(None), at(3)).await.unwrap(),
                1 => {
                    let subject = [user(&worked.name)];
                    store.raise(&pair(), &subject, Priority::Event, &because("test"), at(3)).await.unwrap();
                }
                _ => {}
            }
        }
        let firsts = users.iter().map(|worked| store.step(worked.token, first_step(worked, at(4)), at(4))).collect();
        let firsts = self.all(firsts).await;
        for (worked, stepped) in users.iter_mut().zip(&firsts) {
            if let Ok(Stepped::Send(ids)) = stepped {
                worked.sent.clone_from(ids);
            }
        }
        let lasts = users.iter().map(|worked| {
            let (step, held) = last_step(worked, at(5));
            store.complete(worked.token, step, held, at(20), at(5))
        });
        let lasts = self.all(lasts.collect()).await;
        firsts.into_iter().chain(lasts).map(|answer| format!("{answer:?}")).collect()
    }
}

/// Returns every row of every table.
async fn rows(file: &Path) -> BTreeMap<String, Vec<String>> {
    let mut conn: SqliteConnection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            .fetch_all(&mut conn)
            .await
            .unwrap();
    let mut all = BTreeMap::new();
    for table in tables.into_iter().filter(|table| !matches!(table.as_str(), "_sqlx_migrations" | "hex_byte")) {
        let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?1)")
            .bind(&table)
            .fetch_all(&mut conn)
            .await
            .unwrap();
        let quoted: Vec<String> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
        let sql = format!("SELECT concat_ws('|', {}) FROM \"{table}\" ORDER BY 1", quoted.join(", "));
        let found = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap();
        all.insert(table, found);
    }
    all
}

#[tokio::test]
async fn steps_in_batches_do_what_they_do_alone() {
    for seed in 1..=SEEDS {
        let mut sides = Vec::new();
        for at_once in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("store.db");
            let store = SqliteStore::open(&file, OpenOptions::simulation(at(0))).await.unwrap();
            let side = Side { store, at_once };
            let answers = side.work(seed).await;
            side.store.close().await;
            sides.push((answers, rows(&file).await));
        }
        let [(alone, alone_rows), (batched, batched_rows)] = &sides[..] else { panic!("two sides") };
        assert_eq!(alone, batched, "seed {seed}");
        for (table, rows) in alone_rows {
            assert_eq!(rows, &batched_rows[table], "table {table} with seed {seed}");
        }
        assert!(!alone_rows["change"].is_empty() && !alone_rows["link"].is_empty() && !alone_rows["task"].is_empty());
    }
}
