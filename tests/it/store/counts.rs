//! The stored counts of a pair agree with a full count, whatever happened.

use std::path::Path;

use jiff::Timestamp;
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use usersync::{
    model::*,
    store::{sqlite::*, *},
};

use super::{reference::Jitter, world::*};

/// More tasks than one transaction raises.
const MANY: usize = 2_500;

fn pairs() -> [Pair; 2] {
    [pair(), Pair::new("other", "jira")]
}

/// Picks one of several with equal probability.
fn pick<T: Clone>(jitter: &mut Jitter, of: &[T]) -> T {
    of[usize::try_from(jitter.roll(i64::try_from(of.len()).unwrap())).unwrap()].clone()
}

/// Numbers of rows, and the earliest times of tasks.
type Row = (i64, i64, Option<i64>, i64, i64, i64, i64, i64, i64, Option<i64>);

/// Counts the rows.
async fn counted(conn: &mut SqliteConnection, pair: &Pair, now: Timestamp) -> PairCounts {
    let row: Row = sqlx::query_as(
        "WITH p AS (SELECT p.no FROM pair p JOIN connector c ON c.no = p.connector WHERE c.name = ?1)
         SELECT (SELECT count(*) FROM task, p WHERE pair = no AND dead = 0),
            (SELECT count(*) FROM task, p WHERE pair = no AND dead = 0 AND not_before <= ?2),
            (SELECT min(since) FROM task, p WHERE pair = no AND dead = 0 AND since <= ?2),
            (SELECT count(*) FROM task, p WHERE pair = no AND dead = 1),
            (SELECT count(*) FROM link, p WHERE pair = no AND missing_since IS NOT NULL),
            (SELECT count(*) FROM link, p WHERE pair = no),
            (SELECT count(DISTINCT managed) FROM source_group, p WHERE pair = no),
            (SELECT count(*) FROM approval_item, p WHERE pair = no AND state = 'open'),
            (SELECT count(*) FROM task, p WHERE pair = no AND dead = 0 AND since > ?2),
            (SELECT min(since) FROM task, p WHERE pair = no AND dead = 0 AND since > ?2)",
    )
    .bind(pair.connector.as_str())
    .bind(now.as_millisecond())
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    let (active, memberships): (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE NOT deactivated), coalesce(sum(given_count), 0) FROM link k
         JOIN pair p ON p.no = k.pair JOIN connector c ON c.no = p.connector WHERE c.name = ?1",
    )
    .bind(pair.connector.as_str())
    .fetch_one(conn)
    .await
    .unwrap();
    PairCounts {
        tasks: row.0.unsigned_abs(),
        due: row.1.unsigned_abs(),
        oldest: row.2.map(|at| Timestamp::from_millisecond(at).unwrap()),
        dead: row.3.unsigned_abs(),
        missing: row.4.unsigned_abs(),
        links: row.5.unsigned_abs(),
        active_links: active.unsigned_abs(),
        memberships: memberships.unsigned_abs(),
        managed_groups: row.6.unsigned_abs(),
        held: row.7.unsigned_abs(),
        last_change: None,
        last_successful_run: None,
        leaving: row.8.unsigned_abs(),
        leaves_at: row.9.map(|at| Timestamp::from_millisecond(at).unwrap()),
    }
}

async fn open(file: &Path) -> SqliteStore {
    SqliteStore::open(file, OpenOptions::simulation(at(0))).await.unwrap()
}

async fn connect(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// Returns a worker's writes about its subject.
fn step(jitter: &mut Jitter, claimed: &Claimed, now: Timestamp) -> Step {
    if let Some(user) = claimed.subject.as_user() {
        let account = format!("{}-{user}", claimed.pair.connector);
        let groups = (0..jitter.roll(4)).map(|nth| TargetGroupId::from(format!("t{nth}")));
        let link = Link {
            given: groups.collect(),
            deactivated_by_us: jitter.roll(2) == 0,
            missing_since: (jitter.roll(3) == 0).then_some(now),
            ..Link::new(user.clone(), account.as_str().into(), account.as_str())
        };
        let drop = LinkWrite::Drop { why: "gone".into(), limit: None, approved_by: None };
        let writes = [Some(LinkWrite::Put(link.clone())), Some(LinkWrite::Put(link)), Some(LinkWrite::Remove), None];
        let link = if claimed.link.is_some() && jitter.roll(6) == 0 { Some(drop) } else { pick(jitter, &writes) };
        return Step { link, ..Step::default() };
    }
    let Subject::Group(source) = claimed.subject.clone() else { panic!("a user or a group") };
    let name = format!("t{}", jitter.roll(3));
    let group = ManagedGroup {
        id: name.as_str().into(),
        name: name.clone(),
        adopted: false,
        removals_approved: false,
        sources: Vec::new(),
    };
    let manage = GroupWrite::Manage {
        source: source.clone(),
        name: name.clone(),
        group,
        named: NameFrom::Target,
        shared: false,
    };
    let unmap = GroupWrite::Unmap { source: source.clone(), name, why: "a test".into() };
    Step {
        group: Some(pick(jitter, &[manage.clone(), manage, unmap, GroupWrite::Forget { source }])),
        ..Step::default()
    }
}

/// Claims due work, writes something about it, and ends the claim in one of the ways.
async fn work(store: &SqliteStore, jitter: &mut Jitter, now: Timestamp) {
    let connectors = pairs().map(|pair| pair.connector);
    let Some(claimed) = store.claim(&target(), &connectors, now).await.unwrap() else { return };
    store.step(claimed.token, step(jitter, &claimed, now), now).await.unwrap();
    match jitter.roll(6) {
        0 => store.fail(claimed.token, failure(None), now).await.unwrap(),
        1 => store.fail(claimed.token, failure(Some(later(now, jitter.roll(9)))), now).await.unwrap(),
        2 => store.defer(claimed.token, later(now, jitter.roll(9)), None, now).await.unwrap(),
        _ => {
            let kinds = [ApprovalKind::Adoption, ApprovalKind::SafetyLimit(Limited::Deactivate)];
            let held = (0..jitter.roll(3)).map(|nth| hold(pick(jitter, &kinds), &format!("k{nth}"), "f")).collect();
            store.complete(claimed.token, Step::default(), held, later(now, 5), now).await.unwrap();
        }
    }
}

/// Makes changes of operators and the server, beside the workers.
async fn beside(store: &SqliteStore, jitter: &mut Jitter, now: Timestamp) {
    match jitter.roll(4) {
        0 => drop(store.replay_dead(&TaskFilter::default(), "eve", now).await.unwrap()),
        1 => store.crash(now).await.unwrap(),
        2 => drop(store.prune(now, 10).await.unwrap()),
        _ => {
            let sets = store.approvals(true).await.unwrap();
            let Some(set) = sets.first().map(|set| set.id) else { return };
            let decision = Decision { set, items: vec![], approve: jitter.roll(2) == 0, by: "eve".into(), note: None };
            store.decide(&decision, now).await.unwrap();
        }
    }
}

#[tokio::test]
async fn counts_agree_with_a_full_count_after_random_steps() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usersync.db");
    let store = open(&file).await;
    let mut conn = connect(&file).await;
    let subjects: Vec<Subject> =
        (0..9).map(|nth| user(&format!("u{nth}"))).chain((0..5).map(|nth| Subject::group(format!("g{nth}")))).collect();
    let priorities = [Priority::Removal, Priority::Event, Priority::Retry, Priority::FanOut, Priority::Run];
    let (mut jitter, mut now) = (Jitter(0x9e37_79b9_7f4a_7c15), at(0));
    let mut largest = PairCounts::default();
    for nth in 0..1_500 {
        now = later(now, jitter.roll(3));
        match jitter.roll(10) {
            0..=3 => {
                let (pair, subject) = (pick(&mut jitter, &pairs()), pick(&mut jitter, &subjects));
                let when = later(now, jitter.roll(4));
                store.raise(&pair, &[subject], pick(&mut jitter, &priorities), &because("x"), when).await.unwrap();
            }
            4..=8 => work(&store, &mut jitter, now).await,
            _ => beside(&store, &mut jitter, now).await,
        }
        for pair in pairs() {
            let kept = PairCounts { last_change: None, ..store.counts(&pair, now).await.unwrap() };
            assert_eq!(kept, counted(&mut conn, &pair, now).await, "step {nth}");
            for (most, one) in [
                (&mut largest.tasks, kept.tasks),
                (&mut largest.dead, kept.dead),
                (&mut largest.missing, kept.missing),
                (&mut largest.memberships, kept.memberships),
                (&mut largest.managed_groups, kept.managed_groups),
                (&mut largest.held, kept.held),
            ] {
                *most = one.max(*most);
            }
            let totals = store.totals(&pair).await.unwrap();
            assert_eq!(totals.managed_groups, kept.managed_groups);
        }
    }
    // Some of everything occurred.
    let PairCounts { tasks, dead, missing, memberships, managed_groups, held, .. } = largest;
    assert!([tasks, dead, missing, memberships, managed_groups, held].iter().all(|most| *most >= 2), "{largest:?}");
}

#[tokio::test]
async fn counts_of_an_older_store_are_created_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usersync.db");
    let store = open(&file).await;
    let mut jitter = Jitter(7);
    for nth in 0..300 {
        let subject = if nth % 3 == 0 { Subject::group(format!("g{nth}")) } else { user(&format!("u{nth}")) };
        store.raise(&pair(), &[subject], Priority::Event, &because("x"), at(nth)).await.unwrap();
        if nth % 5 > 0 {
            work(&store, &mut jitter, at(nth)).await;
        }
    }
    let kept = store.counts(&pair(), at(300)).await.unwrap();
    assert!(kept.tasks > 0 && kept.dead > 0 && kept.links > 0 && kept.managed_groups > 0, "{kept:?}");
    store.close().await;
    // As the previous schema stored it.
    let mut conn = connect(&file).await;
    let triggers: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name NOT IN ('link_added', 'link_changed', 'link_removed')",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let mut undo: Vec<String> = triggers.iter().map(|name| format!("DROP TRIGGER {name}")).collect();
    for column in ["tasks", "dead_tasks", "missing_links", "open_items", "managed_groups"] {
        undo.push(format!("ALTER TABLE pair DROP COLUMN {column}"));
    }
    undo.push("DROP INDEX task_oldest".into());
    for table in ["fan_out", "write_probe", "members_read", "contact_order", "event_poll", "alert"] {
        undo.push(format!("DROP TABLE {table}"));
    }
    undo.push("ALTER TABLE event DROP COLUMN polled".into());
    undo.extend(["cancelled_by", "progress"].map(|column| format!("ALTER TABLE run DROP COLUMN {column}")));
    undo.push("ALTER TABLE target DROP COLUMN base_url".into());
    undo.push("ALTER TABLE link DROP COLUMN leaving_since".into());
    undo.push("ALTER TABLE link DROP COLUMN matched_by".into());
    undo.push("ALTER TABLE condition DROP COLUMN again_at".into());
    undo.push("ALTER TABLE pair DROP COLUMN stopped_from".into());
    undo.push("ALTER TABLE source_group DROP COLUMN path".into());
    let former = [
        "ALTER TABLE task RENAME COLUMN recheck TO settle",
        "ALTER TABLE approval_item RENAME COLUMN approval TO held_set",
        "ALTER TABLE approval_item RENAME TO held_item",
        "ALTER TABLE approval RENAME TO held_set",
        "ALTER TABLE unsupported RENAME TO not_possible",
        "ALTER TABLE observation RENAME TO look",
        "DROP INDEX approval_open",
        "CREATE UNIQUE INDEX held_set_open ON held_set (pair, kind) WHERE open = 1",
        "DROP INDEX approval_item_approval",
        "CREATE INDEX held_item_set ON held_item (held_set, state)",
        "DROP INDEX approval_item_subject",
        "CREATE INDEX held_item_subject ON held_item (pair, subject)",
        "DROP INDEX approval_item_standing",
        "CREATE INDEX held_item_standing ON held_item (pair, subject)",
    ];
    undo.extend(former.map(str::to_owned));
    undo.push("DELETE FROM _sqlx_migrations WHERE version >= 13".into());
    sqlx::raw_sql(sqlx::AssertSqlSafe(undo.join(";"))).execute(&mut conn).await.unwrap();
    sqlx::Connection::close(conn).await.unwrap();
    let store = open(&file).await;
    assert_eq!(store.counts(&pair(), at(300)).await.unwrap(), kept);
}

#[tokio::test]
async fn many_subjects_are_raised_in_parts_and_each_is_counted_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usersync.db");
    let store = open(&file).await;
    let many: Vec<Subject> = (0..MANY).map(|nth| user(&format!("u{nth}"))).collect();
    // A command beside the server stores them; the server raises them, here after its start.
    store.close().await;
    let beside = SqliteStore::open_beside(&file, OpenOptions::simulation(at(0))).await.unwrap();
    let raised = beside.raise(&pair(), &many, Priority::FanOut, &because("x"), at(1)).await.unwrap();
    assert_eq!(raised, MANY);
    let counts = beside.counts(&pair(), at(2)).await.unwrap();
    let all = u64::try_from(MANY).unwrap();
    assert_eq!((counts.tasks, counts.due, counts.oldest), (all, all, Some(at(1))));
    assert_eq!(beside.tasks(&TaskFilter::default()).await.unwrap().len(), 1_000);
    beside.close().await;

    let store = open(&file).await;
    let mut claimed = std::collections::HashSet::new();
    while claimed.len() < MANY {
        let mut found = Vec::new();
        while let Some(one) = store.claim(&target(), &[connector()], at(3)).await.unwrap() {
            assert_eq!(one.cause, because("x"));
            store.complete(one.token, Step::default(), Vec::new(), at(9), at(3)).await.unwrap();
            found.push(one.subject);
        }
        assert!(claimed.len() + found.len() <= MANY);
        claimed.extend(found);
    }
    assert_eq!(store.counts(&pair(), at(4)).await.unwrap().tasks, 0);
}
