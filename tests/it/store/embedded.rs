//! Further guarantees of the embedded store: durability, a single engine, a private file.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use usersync::{
    model::*,
    store::{sqlite::*, *},
};

use super::world::*;

async fn open(file: &Path) -> StoreResult<SqliteStore> {
    SqliteStore::open(file, OpenOptions { poll: None, ..OpenOptions::new(at(0)) }).await
}

/// Opens the file after the previous process or store has released it.
async fn reopen(file: &Path, now: jiff::Timestamp) -> SqliteStore {
    for _ in 0..10_000 {
        let options = OpenOptions { poll: None, ..OpenOptions::new(now) };
        match SqliteStore::open(file, options).await {
            Ok(store) => return store,
            Err(StoreError::Unavailable(why)) if why.contains("has this store open") => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the lock was not released");
}

/// Runs SQL on the file, as another program would.
async fn meddle(file: &Path, sql: &str) {
    let mut conn = SqliteConnectOptions::new().filename(file).create_if_missing(true).connect().await.unwrap();
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

fn world(store: SqliteStore) -> World {
    let store = Arc::new(store);
    World { inner: Arc::clone(&store) as _, store, crash: |_, _| Box::pin(async {}) }
}

/// The program that the next test starts and kills: appends events endlessly, and prints the acknowledged ones.
#[tokio::test]
async fn append_until_killed() {
    let Some(file) = std::env::var_os("USERSYNC_TEST_STORE") else { return };
    let store = open(Path::new(&file)).await.unwrap();
    let round = std::env::var("USERSYNC_TEST_ROUND").unwrap();
    for nth in 0.. {
        let id = format!("{round}-{nth}");
        store.append_events(&connector(), &[target()], vec![event(&id, &[user(&id)])], at(1)).await.unwrap();
        println!("stored {id}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usersync.db");
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::embedded::append_until_killed", "--nocapture"])
            .env("USERSYNC_TEST_STORE", &file)
            .env("USERSYNC_TEST_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines {
            let line = line.unwrap();
            // The test harness may write before it on the line.
            if let Some((_, id)) = line.split_once("stored ") {
                acknowledged.push(id.to_owned());
            }
            if acknowledged.len() >= 40 * (round + 1) {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = reopen(&file, at(2)).await;
        let stored = store.events(&EventFilter::default()).await.unwrap();
        let tasks = store.tasks(&TaskFilter::default()).await.unwrap();
        for id in &acknowledged {
            assert_eq!(stored.iter().filter(|event| event.id == *id).count(), 1, "{id}");
            assert!(tasks.iter().any(|task| task.subject == user(id)), "{id}");
        }
        store.close().await;
    }
    assert!(acknowledged.len() >= 120);
}

#[tokio::test]
async fn tasks_left_open_by_an_ended_process_are_due() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usersync.db");
    let store = world(open(&file).await.unwrap());
    let observation = store.next_observation().await.unwrap();
    let run = store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(1)).await.unwrap();
    let ann =
        store.claim_planned(&pair(), run, planned(&user("ann"), observation, None), at(1)).await.unwrap().unwrap();
    store.intend(ann.token, create("ann"), at(9), at(1)).await;
    let bob = store.work(&user("bob"), at(1)).await;
    store.set_paused(&connector(), true, "eve", at(1)).await.unwrap();
    let last = store.next_observation().await.unwrap();
    drop(store);

    let store = world(reopen(&file, at(5)).await);
    assert_eq!(store.runs(None, 1).await.unwrap()[0].outcome, RunOutcome::Stopped);
    assert_eq!(store.runs(None, 1).await.unwrap()[0].ended_at, Some(at(5)));
    assert_eq!(store.paused().await.unwrap(), [connector()].into());
    assert!(store.next_observation().await.unwrap() > last, "looks are never given twice");
    assert_eq!(store.defer(bob.token, at(9), None, at(5)).await, Err(StoreError::ClaimEnded));
    let again = store.claims(&user("bob"), at(8)).await;
    assert!(again.token > bob.token);
    assert!(store.claim_one(at(8)).await.is_none());
    assert_eq!(store.claims(&user("ann"), at(9)).await.intents.len(), 1);
}

#[tokio::test]
async fn only_one_engine_works_with_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usersync.db");
    let first = open(&file).await.unwrap();
    let second = open(&file).await.err().unwrap().to_string();
    let expected = format!("another usersync process (pid {}) has this store open", std::process::id());
    assert!(second.contains(&expected), "{second}");
    first.close().await;
    assert!(matches!(first.check().await, Err(StoreError::Unavailable(_))));
    assert!(first.tasks(&TaskFilter::default()).await.is_err());
    open(&file).await.unwrap().close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn its_files_are_readable_by_the_owner_only() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("made");
    let file = inner.join("usersync.db");
    let store = open(&file).await.unwrap();
    assert_eq!(std::fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(&inner).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        files += 1;
    }
    assert!(files >= 3, "the database, its log, the lock");
    store.close().await;

    if std::fs::metadata(&file).unwrap().uid() != 0 {
        println!("not root, so that nothing can be given to somebody else: skipped");
        return;
    }
    std::os::unix::fs::chown(&file, Some(65_534), None).unwrap();
    let why = open(&file).await.err().unwrap().to_string();
    assert!(why.contains("belongs to another user") && why.contains("65534"), "{why}");
    std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    std::os::unix::fs::chown(&inner, Some(65_534), None).unwrap();
    let why = SqliteStore::open_beside(&file, OpenOptions::new(at(0))).await.err().unwrap().to_string();
    assert!(why.contains("folder") && why.contains("belongs to another user"), "{why}");
}

#[tokio::test]
async fn an_older_schema_is_copied_before_it_is_changed_and_a_newer_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usersync.db");
    open(&file).await.unwrap().close().await;
    assert!(!folder.path().join("usersync.db.before-2").exists(), "there was nothing to copy");

    meddle(
        &file,
        "INSERT INTO _sqlx_migrations SELECT 999, 'later', installed_on, 1, checksum, 1 FROM _sqlx_migrations LIMIT 1",
    )
    .await;
    for opened in [open(&file).await, SqliteStore::open_beside(&file, OpenOptions::new(at(0))).await] {
        let why = opened.err().unwrap().to_string();
        assert!(why.contains("schema 999 is newer"), "{why}");
    }

    // A store older than the first schema, as far as this binary can see.
    let old = folder.path().join("old.db");
    meddle(
        &old,
        "CREATE TABLE kept (x); INSERT INTO kept VALUES (7); \
         CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
         execution_time BIGINT NOT NULL)",
    )
    .await;
    open(&old).await.unwrap().close().await;
    let copies = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let copy = copies.into_iter().find(|path| path.to_string_lossy().contains("old.db.before-")).unwrap();
    let mut conn = SqliteConnectOptions::new().filename(&copy).connect().await.unwrap();
    let kept: i64 = sqlx::query_scalar("SELECT x FROM kept").fetch_one(&mut conn).await.unwrap();
    assert_eq!(kept, 7);
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'task'")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(tables, 0, "the copy is from before");
}

#[tokio::test]
async fn requested_runs_are_kept_over_an_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usersync.db");
    let store = open(&file).await.unwrap();
    let wiki = Pair::new("corp", "wiki");
    let pairs = [pair(), wiki.clone(), Pair::new("other", "jira")];
    store.ensure_pairs(&pairs, at(0)).await.unwrap();
    store.close().await;
    // As the second schema stored it.
    let old = folder.path().join("old.db");
    let schema = [
        include_str!("../../../src/store/sqlite/migrations/0001_initial.sql"),
        include_str!("../../../src/store/sqlite/migrations/0002_not_possible.sql"),
    ];
    let kept = format!(
        r#"ATTACH '{}' AS new;
        CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
            installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL,
            execution_time BIGINT NOT NULL);
        INSERT INTO _sqlx_migrations SELECT * FROM new._sqlx_migrations WHERE version < 3;
        INSERT INTO connector (no, name) SELECT no, name FROM new.connector;
        INSERT INTO target (no, name) SELECT no, name FROM new.target;
        INSERT INTO pair (no, connector, target) SELECT no, connector, target FROM new.pair;
        INSERT INTO request (ask) VALUES
            ('{{"ask":"run","connector":"corp","target":"wiki","trigger":"person"}}'),
            ('{{"ask":"run","connector":"corp","target":null,"trigger":"event"}}'),
            ('{{"ask":"run","connector":"gone","target":null,"trigger":"event"}}')"#,
        file.display()
    );
    meddle(&old, &format!("{}{kept}", schema.concat())).await;
    let store = open(&old).await.unwrap();
    let mut asked = Vec::new();
    for pair in &pairs {
        asked.push(store.requested_run(pair).await.unwrap());
    }
    assert_eq!(asked, [Some(RunTrigger::Event), Some(RunTrigger::Operator), None]);
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_is_reported_and_recovered_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usersync.db");
    let store = world(open(&file).await.unwrap());
    store.event("first", &[user("ann")], at(1)).await;
    let ann = store.claims(&user("ann"), at(1)).await;
    let sqlite = Arc::clone(&store.inner).downcast::<SqliteStore>().unwrap();
    sqlite.limit_pages(Some(1)).await.unwrap();

    let big = NewEvent { body: format!("\"{}\"", "x".repeat(400_000)), ..event("big", &[user("bob")]) };
    let full = store.append_events(&connector(), &[target()], vec![big.clone()], at(2)).await;
    assert_eq!(full, Err(StoreError::Unavailable("the disk is full".into())));
    // In one commit with others: a lost caller gets an error, and nothing of it is stored.
    let subjects: Vec<Subject> = (0..20_000).map(|nth| user(&format!("u{nth}"))).collect();
    let (raised, appended, completed) = tokio::join!(
        async { store.raise(&pair(), &subjects, Priority::Run, &because("x"), at(2)).await },
        async { store.append_events(&connector(), &[target()], vec![big.clone()], at(2)).await },
        async { store.complete(ann.token, Step::default(), vec![], at(9), at(2)).await },
    );
    assert!(matches!(raised, Err(StoreError::Unavailable(_))), "{raised:?}");
    assert!(matches!(appended, Err(StoreError::Unavailable(_))), "{appended:?}");
    assert_eq!(store.still_held(ann.token).await.unwrap(), completed.is_err(), "memory is as the file: {completed:?}");
    assert!(store.task(&user("u1")).await.is_none() && store.task(&user("bob")).await.is_none());
    assert_eq!(store.events(&EventFilter::default()).await.unwrap().len(), 1);

    sqlite.limit_pages(None).await.unwrap();
    assert_eq!(store.append_events(&connector(), &[target()], vec![big], at(3)).await.unwrap().stored, 1);
    if completed.is_err() {
        store.done(ann.token, at(3)).await;
    }
    store.claims(&user("bob"), at(3)).await;
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_command_of_another_process_takes_effect_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usersync.db");
    let missing = SqliteStore::open_beside(&file, OpenOptions::new(at(0))).await.err().unwrap();
    assert!(missing.to_string().contains("there is no store"), "{missing}");
    let options = OpenOptions { poll: Some(Duration::from_millis(1)), ..OpenOptions::new(at(0)) };
    let server = world(SqliteStore::open(&file, options).await.unwrap());
    server.ensure_pairs(&[pair()], at(0)).await.unwrap();
    let seen = 0;

    let command = SqliteStore::open_beside(&file, OpenOptions::new(at(1))).await.unwrap();
    command.raise(&pair(), &[user("ann")], Priority::Event, &because("sync"), at(1)).await.unwrap();
    let seen = server.wait_for_work(seen).await;
    let ann = server.claims(&user("ann"), at(1)).await;
    // The server does not cache anything that a command changes.
    let run = Request::Run { connector: connector(), target: None, trigger: RunTrigger::Operator };
    command.request(&run, "eve", at(2)).await.unwrap();
    command.set_paused(&connector(), true, "eve", at(2)).await.unwrap();
    command.raise(&pair(), &[user("ann")], Priority::Event, &because("sync"), at(2)).await.unwrap();
    server.wait_for_work(seen).await;
    assert_eq!(server.requested_run(&pair()).await.unwrap(), Some(RunTrigger::Operator));
    assert_eq!(server.paused().await.unwrap(), [connector()].into());
    server.done(ann.token, at(3)).await;
    server.claims(&user("ann"), at(3)).await;

    // It can neither claim nor take an observation.
    assert!(command.claim(&target(), &[connector()], at(9)).await.is_err());
    assert!(command.next_observation().await.is_err());
    command.close().await;
}

#[tokio::test]
async fn a_claim_whose_caller_was_dropped_is_released() {
    let store = world(SqliteStore::open_temporary(OpenOptions::simulation(at(0))).await.unwrap());
    store.raise(&pair(), &[user("ann")], Priority::Event, &because("x"), at(1)).await.unwrap();
    for _ in 0..20 {
        // Requested, and dropped before the answer.
        let asked = store.claim_one(at(1));
        let _ = futures::poll!(std::pin::pin!(asked));
    }
    store.check().await.unwrap();
    store.claims(&user("ann"), at(1)).await;
}

#[tokio::test]
async fn a_temporary_store_leaves_nothing() {
    let before = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("usersync-");
    let store = SqliteStore::open_temporary(OpenOptions::simulation(at(0))).await.unwrap();
    let folder = store.folder().to_owned();
    assert!(folder.exists() && before(folder.file_name().unwrap()));
    store.close().await;
    drop(store);
    assert!(!folder.exists());
}

/// Opens a store with claims that are abandoned while it cannot be written, from `block` to `release`.
async fn abandoned_while_it_cannot_be_written<B>(
    options: OpenOptions,
    block: impl AsyncFnOnce(&SqliteStore, &std::path::Path) -> B,
    release: impl AsyncFnOnce(&SqliteStore, B),
) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usersync.db");
    let store = world(SqliteStore::open(&file, options).await.unwrap());
    store.linked("eve", "a1", at(1)).await;
    let mut claims = Vec::new();
    for login in ["ann", "bob", "eve"] {
        claims.push(store.work(&user(login), at(1)).await);
    }
    let id = store.intend(claims[2].token, deactivate("a1", "eve"), at(9), at(1)).await;
    let sqlite = Arc::clone(&store.inner).downcast::<SqliteStore>().unwrap();
    let blocked = block(&sqlite, &file).await;

    // Long enough that it needs space.
    let failure = Failure { text: "x".repeat(400_000), ..failure(None) };
    for claim in &claims {
        let failed = store.fail(claim.token, failure.clone(), at(2)).await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
        assert!(store.still_held(claim.token).await.unwrap(), "what was not written has not happened");
        store.abandon(claim.token, at(2));
    }
    release(&sqlite, blocked).await;

    // When the store is writable all are due again, without a restart.
    store.check().await.unwrap();
    for claim in &claims {
        assert!(!store.still_held(claim.token).await.unwrap());
    }
    for login in ["ann", "bob"] {
        let again = store.claims(&user(login), at(3)).await;
        store.done(again.token, at(3)).await;
    }
    // The open intent protects its account until its request can no longer arrive.
    assert!(store.claim_one(at(8)).await.is_none());
    let eve = store.claims(&user("eve"), at(9)).await;
    assert_eq!(eve.intents.iter().map(|intent| intent.id).collect::<Vec<_>>(), [id]);
    // Abandoning an ended claim changes nothing.
    store.abandon(claims[0].token, at(9));
    store.check().await.unwrap();
    assert!(store.task(&user("ann")).await.is_none());
}

#[tokio::test]
async fn claims_abandoned_while_another_process_holds_the_lock_are_due_once_it_is_free() {
    let options = OpenOptions { busy: Duration::from_millis(20), ..OpenOptions::new(at(0)) };
    abandoned_while_it_cannot_be_written(
        options,
        async |_, file| {
            let mut conn = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
            sqlx::query("BEGIN IMMEDIATE").execute(&mut conn).await.unwrap();
            conn
        },
        async |_, mut conn| {
            sqlx::query("ROLLBACK").execute(&mut conn).await.unwrap();
        },
    )
    .await;
}

#[tokio::test]
async fn claims_abandoned_while_the_disk_is_full_are_due_once_there_is_room() {
    abandoned_while_it_cannot_be_written(
        OpenOptions::new(at(0)),
        async |sqlite, _| sqlite.limit_pages(Some(1)).await.unwrap(),
        async |sqlite, ()| sqlite.limit_pages(None).await.unwrap(),
    )
    .await;
}
