//! Slowdown of claim, step, completion and the counts of `status` as tasks, links and memberships grow: `cargo bench
//! --bench store_growth`, with `SMALL`, `LARGE` and `TIMES` in the environment. The goal is a ratio of at most 1.5.

mod support;

use std::{path::Path, time::Instant};

use jiff::{SignedDuration, Timestamp};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use usersync::{
    model::{ChangeOutcome, Limited, Operation, Pair, Subject},
    store::{
        EngineStore, IntentOutcome, NewIntent, Step, Stepped, StoreReads,
        sqlite::{OpenOptions, SqliteStore},
    },
};

/// Target groups; those from 110 on have no members.
const GROUPS: usize = 200;

fn pair() -> Pair {
    Pair::new("corp", "jira")
}

/// Fills a store with this many tasks and links, each link with ten memberships, and as many changes.
async fn fill(file: &Path, rows: usize) {
    let mut conn = SqliteConnectOptions::new().filename(file).connect().await.expect("opened");
    // Ten consecutive group numbers; the packed form of each is one byte.
    let sql = format!(
        "INSERT INTO target_group (target, id)
            WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {GROUPS})
            SELECT 1, 'g' || i FROM n;
         CREATE TEMP TABLE numbers AS
            WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n;
         INSERT INTO task (pair, subject, priority, not_before, since, cause, caused_at, last_cause, last_at)
            SELECT 1, 'user:u' || i, 3, i, i, cause, 0, cause, 0 FROM numbers,
                (SELECT '{{\"by\":\"other\",\"what\":\"measured\"}}' AS cause);
         INSERT INTO link (id, pair, target, user, account, name, folded, seen_alive, written, deactivated, adopted, given,
                given_count)
            SELECT i, 1, 1, 'u' || i, 'a' || i, 'n' || i, 'n' || i, i, '{{}}', 0, 0,
                unhex(printf('%02X', 1 + i % 100) || '010101010101010101'), 10 FROM numbers;
         INSERT INTO membership (grp, link)
            SELECT 1 + i % 100 + offset, i FROM numbers, (SELECT value AS offset FROM json_each('[0,1,2,3,4,5,6,7,8,9]'))
            ORDER BY 1, 2;
         INSERT INTO change (at, pair, subject, verb, name, before, after, approved, counts, cause, outcome)
            SELECT i, 1, 'user:u' || i, 'update', 'n' || i, 'null', 'null', 0, 0, '{{}}', '{{}}' FROM numbers;"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.expect("filled");
    conn.close().await.expect("closed");
}

/// Returns median durations in milliseconds: a claim, a step with its limit, a completion, a group's members, and the
/// counts for `status` and metrics.
async fn measure(folder: &Path, rows: usize, times: usize) -> [f64; 5] {
    let file = folder.join(format!("{rows}.db"));
    let options = || OpenOptions { durable: false, ..OpenOptions::new(Timestamp::now()) };
    let store = SqliteStore::open(&file, options()).await.expect("a store");
    store.ensure_pairs(&[pair()], Timestamp::now()).await.expect("a pair");
    store.close().await;
    fill(&file, rows).await;
    let store = SqliteStore::open(&file, options()).await.expect("a store");
    let (pair, now) = (pair(), Timestamp::now());
    let mut took: [Vec<f64>; 5] = Default::default();
    for _ in 0..times {
        let began = Instant::now();
        let claimed = store.claim(&pair.target, std::slice::from_ref(&pair.connector), now).await;
        let claimed = claimed.expect("claimed").expect("a task");
        took[0].push(support::ms(began.elapsed()));
        let link = claimed.link.expect("linked");
        let began = Instant::now();
        store
            .has_open_items(&pair, usersync::model::ApprovalKind::SafetyLimit(Limited::RemoveMember))
            .await
            .expect("read");
        store.totals(&pair).await.expect("read");
        let next = NewIntent {
            operation: Operation::DeactivateUser { account: link.account.clone(), name: link.name, takes: Vec::new() },
            before: serde_json::Value::Null,
            arrives_until: now + SignedDuration::from_secs(1),
            limit: Some(u32::MAX),
            approved_by: None,
        };
        let stepped = store.step(claimed.token, Step { next: vec![next], ..Step::default() }, now).await;
        let Ok(Stepped::Send(intents)) = stepped else { panic!("{stepped:?}") };
        took[1].push(support::ms(began.elapsed()));
        let began = Instant::now();
        let settled = vec![IntentOutcome { intent: intents[0], outcome: ChangeOutcome::Done }];
        let last = Step { resolved: settled, ..Step::default() };
        store.complete(claimed.token, last, Vec::new(), now, now).await.expect("completed");
        took[2].push(support::ms(began.elapsed()));
    }
    // Reads the members that were added to a group, here one without members; each deletion or move of a group reads
    // them.
    for nth in 0..times {
        let began = Instant::now();
        store.given(&pair, &format!("g{}", 150 + nth % 50).into()).await.expect("read");
        took[3].push(support::ms(began.elapsed()));
    }
    for _ in 0..times {
        let began = Instant::now();
        let counts = store.counts(&pair, now).await.expect("read");
        took[4].push(support::ms(began.elapsed()));
        assert_eq!(counts.links, u64::try_from(rows).expect("a number"));
    }
    assert!(store.link(&pair, &"u1".into()).await.expect("read").is_some(), "{:?}", Subject::user("u1"));
    store.close().await;
    took.map(|values| support::quantile(&values, 0.5))
}

fn main() {
    let smoke = support::is_smoke();
    let number =
        |name: &str, usual: usize, smallest: usize| support::number(name, if smoke { smallest } else { usual });
    let (small, large) = (number("SMALL", 10_000, 500), number("LARGE", 1_000_000, 1_000));
    let times = number("TIMES", 400, 20);
    support::runtime().block_on(async {
        let folder = support::folder();
        let few = measure(folder.path(), small, times).await;
        let many = measure(folder.path(), large, times).await;
        for (what, (few, many)) in
            ["claim", "step", "complete", "given", "counts"].iter().zip(few.into_iter().zip(many))
        {
            println!("{what}: {few:.3} ms with {small}, {many:.3} ms with {large}");
            println!("ratio store_growth_{what} {:.2}", many / few);
        }
    });
}
