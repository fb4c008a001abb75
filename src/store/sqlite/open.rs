//! Opens the store: checks the owner of its files, other processes, the `SQLite` version, and the schema.

use std::{
    fs::{self, File, TryLockError},
    io::{ErrorKind, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqlSafeStr as _, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::OpenOptions;
use crate::store::{StoreError, StoreResult};

/// The oldest `SQLite` whose write-ahead log does not lose commits when a checkpoint meets a writer.
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// Migrations of the schema, oldest first. A published migration is never changed.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "initial", include_str!("migrations/0001_initial.sql")),
    (2, "not possible", include_str!("migrations/0002_not_possible.sql")),
    (3, "asked for until it is run", include_str!("migrations/0003_asked_for_until_it_is_run.sql")),
    (4, "taken", include_str!("migrations/0004_taken.sql")),
    (5, "missing accounts", include_str!("migrations/0005_missing_accounts.sql")),
    (6, "removals first", include_str!("migrations/0006_removals_first.sql")),
    (7, "approvals", include_str!("migrations/0007_approvals.sql")),
    (8, "link orders", include_str!("migrations/0008_link_orders.sql")),
    (9, "unconfirmed links", include_str!("migrations/0009_unconfirmed_links.sql")),
    (10, "memberships", include_str!("migrations/0010_memberships.sql")),
    (11, "hook refusal", include_str!("migrations/0011_hook_refusal.sql")),
    (12, "conditions", include_str!("migrations/0012_condition.sql")),
    (13, "counts", include_str!("migrations/0013_counts.sql")),
    (14, "fan-out", include_str!("migrations/0014_fan_out.sql")),
    (15, "write probe", include_str!("migrations/0015_write_probe.sql")),
    (16, "base URLs", include_str!("migrations/0016_base_url.sql")),
    (17, "members read", include_str!("migrations/0017_members_read.sql")),
    (18, "contact orders", include_str!("migrations/0018_contact_order.sql")),
    // There is no 19.
    (20, "stopped from", include_str!("migrations/0020_stopped_from.sql")),
    (21, "standard terms", include_str!("migrations/0021_standard_terms.sql")),
    (22, "leaving since", include_str!("migrations/0022_leaving_since.sql")),
    (23, "group paths", include_str!("migrations/0023_group_paths.sql")),
    (24, "matched by", include_str!("migrations/0024_matched_by.sql")),
    (25, "event poll", include_str!("migrations/0025_event_poll.sql")),
    (26, "federated links", include_str!("migrations/0026_federated_links.sql")),
    (27, "run cancel", include_str!("migrations/0027_run_cancel.sql")),
    (28, "alerts", include_str!("migrations/0028_alert.sql")),
];

/// Maximum time that a write waits for another process's transaction.
pub(super) const BUSY: Duration = Duration::from_secs(5);

fn unavailable(what: String) -> StoreError {
    StoreError::Unavailable(what)
}

/// Returns the newest schema version of this binary.
fn newest() -> i64 {
    MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or(0)
}

/// Returns the folder of the store; creates a missing one that only this user may access.
pub(super) fn folder(file: &Path) -> StoreResult<PathBuf> {
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .recursive(true)
        .create(&folder)
        .map_err(|error| unavailable(format!("cannot create the folder {}: {error}", folder.display())))?;
    Ok(folder)
}

/// Refuses a file or folder of another user. The folder may be root's, because root has access anyway.
pub(super) fn check_owners(file: &Path, folder: &Path) -> StoreResult<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        // The owner of `/proc/self` is this process's user, read without a system call in this crate. Other systems
        // than Linux are not checked.
        let Ok(us) = fs::metadata("/proc/self").map(|own| own.uid()) else { return Ok(()) };
        if let Ok(meta) = fs::metadata(folder)
            && meta.uid() != 0
        {
            refuse_foreign("folder", folder, meta.uid(), us)?;
        }
        if let Ok(meta) = fs::metadata(file) {
            refuse_foreign("file", file, meta.uid(), us)?;
        }
    }
    Ok(())
}

/// Returns an error if `owner` is another user.
pub(super) fn refuse_foreign(what: &str, path: &Path, owner: u32, us: u32) -> StoreResult<()> {
    if owner == us {
        return Ok(());
    }
    Err(unavailable(format!(
        "the {what} {} belongs to another user (uid {owner}; usersync runs as uid {us}): run usersync as that user, \
         or change the owner with `chown`",
        path.display()
    )))
}

/// Opens or creates a file that only this user may read.
fn private(path: &Path) -> StoreResult<File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| {
        let hint = if error.kind() == ErrorKind::PermissionDenied { ": check its owner and permissions" } else { "" };
        unavailable(format!("{} cannot be opened: {error}{hint}", path.display()))
    })
}

/// Returns the path of a file beside the store's, with this ending.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Takes the engine's exclusive lock, which is held while the returned file is open.
pub(super) fn lock(file: &Path) -> StoreResult<File> {
    let path = beside(file, ".lock");
    let mut lock = private(&path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid);
            return Err(unavailable(format!("another usersync process (pid {}) has this store open", pid.trim())));
        }
        Err(TryLockError::Error(error)) => {
            return Err(unavailable(format!("{} cannot be locked: {error}", path.display())));
        }
    }
    let written = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
    written.map_err(|error| unavailable(format!("{} cannot be written: {error}", path.display())))?;
    Ok(lock)
}

/// Returns the id of the process that holds the engine's lock, if there is one.
pub(super) fn worked_by(file: &Path) -> Option<String> {
    let mut lock = File::open(beside(file, ".lock")).ok()?;
    // A shared lock: two commands that check at the same time do not take each other for the engine.
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid);
            Some(pid.trim().to_owned())
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// Opens the connection that writes.
pub(super) async fn writer(file: &Path, options: &OpenOptions, create: bool) -> StoreResult<SqliteConnection> {
    if create {
        drop(private(file)?);
    } else if !file.exists() {
        return Err(unavailable(format!("there is no store at {}", file.display())));
    }
    let connect_options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(if options.durable { SqliteSynchronous::Full } else { SqliteSynchronous::Off })
        .foreign_keys(true)
        .busy_timeout(options.busy)
        .statement_cache_capacity(512)
        .pragma("wal_autocheckpoint", "4000")
        .pragma("cache_size", "-16384")
        .pragma("temp_store", "MEMORY");
    let mut conn = connect(file, connect_options).await?;
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut conn).await?;
    check_sqlite(&version)?;
    Ok(conn)
}

/// Opens a connection that only reads.
pub(super) async fn reader(file: &Path) -> StoreResult<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .create_if_missing(false)
        .busy_timeout(BUSY)
        .pragma("temp_store", "MEMORY");
    connect(file, options).await
}

async fn connect(file: &Path, options: SqliteConnectOptions) -> StoreResult<SqliteConnection> {
    options
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|error| unavailable(format!("{} cannot be opened: {error}", file.display())))
}

/// Refuses a `SQLite` version that can lose commits.
pub(super) fn check_sqlite(version: &str) -> StoreResult<()> {
    let mut found = [0_u32; 3];
    for (part, text) in found.iter_mut().zip(version.split('.')) {
        *part = u32::from_str(text).unwrap_or(0);
    }
    // 3.52.0 was withdrawn and lacks the fix too.
    if found < OLDEST_SQLITE || found[..2] == [3, 52] {
        return Err(StoreError::Failed(format!(
            "SQLite {version} can lose commits; usersync has to be built with 3.51.3 or newer"
        )));
    }
    Ok(())
}

/// Migrates the schema to the newest version, after a backup of the existing file.
pub(super) async fn migrate(conn: &mut SqliteConnection, file: &Path) -> StoreResult<()> {
    let found = schema(conn).await?;
    refuse_newer(found)?;
    if found == newest() {
        return Ok(());
    }
    let empty: bool =
        sqlx::query_scalar("SELECT NOT EXISTS (SELECT 1 FROM sqlite_master)").fetch_one(&mut *conn).await?;
    if !empty {
        let copy = beside(file, &format!(".before-{}", newest()));
        private(&copy)?.set_len(0).map_err(|error| unavailable(format!("{}: {error}", copy.display())))?;
        sqlx::query("VACUUM INTO ?1").bind(copy.to_string_lossy().into_owned()).execute(&mut *conn).await?;
    }
    let migrations = MIGRATIONS
        .iter()
        .map(|&(version, name, sql)| {
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .collect();
    Migrator::with_migrations(migrations)
        .run_direct(None, conn, false)
        .await
        .map_err(|error| StoreError::Failed(format!("the schema cannot be brought up to date: {error}")))
}

/// Refuses any other schema version, because a command does not migrate beside a server.
pub(super) async fn expect_schema(conn: &mut SqliteConnection) -> StoreResult<()> {
    let found = schema(conn).await?;
    refuse_newer(found)?;
    if found < newest() {
        return Err(unavailable(format!(
            "its schema {found} is older than this usersync's {}: restart the server with this version first",
            newest()
        )));
    }
    Ok(())
}

fn refuse_newer(found: i64) -> StoreResult<()> {
    if found <= newest() {
        return Ok(());
    }
    Err(unavailable(format!(
        "its schema {found} is newer than this usersync's {}: use the newer version, or restore its backup \
         (`.before-N`)",
        newest()
    )))
}

/// Returns the schema version of the file; 0: it is empty.
async fn schema(conn: &mut SqliteConnection) -> StoreResult<i64> {
    let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations')")
        .fetch_one(&mut *conn)
        .await?;
    if !known {
        return Ok(0);
    }
    Ok(sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations").fetch_one(conn).await?)
}

/// Increments the number of openings, and returns it.
pub(super) async fn count_opening(conn: &mut SqliteConnection) -> StoreResult<i64> {
    let opened = sqlx::query_scalar("UPDATE meta SET value = value + 1 WHERE name = 'opened' RETURNING value")
        .fetch_one(conn)
        .await?;
    Ok(opened)
}

/// Closes a connection and ignores errors.
pub(super) async fn discard(conn: SqliteConnection) {
    let _ = conn.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_that_loses_commits_is_refused() {
        for old in ["3.7.0", "3.51.2", "3.52.0", "2.99.9", ""] {
            assert!(check_sqlite(old).is_err(), "{old}");
        }
        for new in ["3.51.3", "3.53.0", "3.54.1", "4.0.0"] {
            assert!(check_sqlite(new).is_ok(), "{new}");
        }
    }

    #[test]
    fn what_another_user_owns_is_refused_with_the_reason() {
        assert!(refuse_foreign("file", Path::new("/x/usersync.db"), 7, 7).is_ok());
        let why = refuse_foreign("file", Path::new("/x/usersync.db"), 7, 8).unwrap_err().to_string();
        assert!(why.contains("/x/usersync.db") && why.contains("uid 7") && why.contains("uid 8"), "{why}");
    }
}
