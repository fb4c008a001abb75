//! Tests of transactions: the number of rows that one writes, batches of steps, and refused jobs.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::*;
use crate::{
    model::{Cause, EventOutcome, GroupId, Link, NewEvent, Pair, RunId, Subject},
    store::{
        GroupWrite, LinkWrite, Planned, Step, Stepped,
        sqlite::{OpenOptions, open, tasks::PART},
    },
};

/// Number of members of the deleted group, all of them linked and members of its group at the target.
const MEMBERS: usize = 20_000;
/// Number of groups below it.
const GROUPS: usize = 500;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn pair() -> Pair {
    Pair::new("corp", "jira")
}

async fn tx(folder: &tempfile::TempDir) -> Tx {
    let file = folder.path().join("usersync.db");
    let mut conn = open::writer(&file, &OpenOptions::simulation(now()), true).await.unwrap();
    open::migrate(&mut conn, &file).await.unwrap();
    Tx::new(conn, Arc::new(Memory::new(1)))
}

/// Runs a job in its own transaction; returns its result and the number of rows written.
async fn in_one<T: Send + 'static>(
    tx: &mut Tx,
    job: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, StoreResult<T>> + Send + 'static,
) -> (T, i64) {
    let before = changes(tx).await.unwrap();
    let (reply, mut result) = oneshot::channel();
    let work: Work = Box::new(move |tx| {
        Box::pin(async move {
            assert!(reply.send(job(tx.unwrap()).await.unwrap()).is_ok());
            Done { failed: None, answer: Box::new(Result::unwrap) }
        })
    });
    assert!(commit_batch(tx, Vec::new(), vec![Queued::One(work)]).await.committed);
    (result.try_recv().unwrap(), changes(tx).await.unwrap() - before)
}

async fn number(tx: &mut Tx, sql: &'static str) -> usize {
    let number: i64 = sqlx::query_scalar(sql).fetch_one(&mut tx.conn).await.unwrap();
    usize::try_from(number).unwrap()
}

/// Creates and claims a group that feeds group 1 of the target, with all users as members.
async fn claimed_group(tx: &mut Tx) -> crate::model::Token {
    let (claimed, _) = in_one(tx, |tx| {
        Box::pin(async move {
            tx.ensure_pairs(&[pair()], now()).await?;
            let no = tx.pair(&pair()).await?;
            tx.raise(no, [&Subject::group("top")], Priority::Event, &Cause::Event { id: "e".into() }, now()).await?;
            let pair = pair();
            tx.claim(&pair.target, &[pair.connector], now()).await
        })
    })
    .await;
    let fill = format!(
        "INSERT INTO target_group (no, target, id) VALUES (1, 1, 'g1');
         INSERT INTO managed_group (no, target, name, adopted, removals_approved) VALUES (1, 1, 'top', 0, 0);
         INSERT INTO source_group (pair, source, name, managed) VALUES (1, 'top', 'top', 1);
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {MEMBERS})
         INSERT INTO link (id, pair, target, user, account, name, folded, written, deactivated, adopted, given, given_count)
            SELECT i, 1, 1, 'u' || i, 'a' || i, 'n' || i, 'n' || i, '{{}}', 0, 0, x'01', 1 FROM n;
         INSERT INTO membership (grp, link) SELECT 1, id FROM link;"
    );
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut tx.conn).await.unwrap();
    claimed.unwrap().token
}

#[tokio::test]
async fn a_deleted_tree_of_groups_becomes_tasks_in_bounded_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let mut tx = tx(&folder).await;
    let token = claimed_group(&mut tx).await;
    // As when the task of the deleted group ends: its members and all groups below it are read again.
    let (stepped, rows) = in_one(&mut tx, move |tx| {
        let raise = (0..GROUPS).map(|nth| Subject::Group(GroupId::from(format!("below-{nth}")))).collect();
        let group = Some(GroupWrite::Forget { source: "top".into() });
        Box::pin(tx.step(token, Step { group, raise, ..Step::default() }, now()))
    })
    .await;
    assert_eq!(stepped, Stepped::Written);
    // Each task writes two rows: its own, and the count of its pair.
    let most = i64::try_from(2 * PART + 100).unwrap();
    assert!(rows <= most, "{rows} rows in the transaction of the step");
    let subjects = MEMBERS + GROUPS + 1;
    assert!(number(&mut tx, "SELECT count(*) FROM task").await <= PART + 1);

    let mut transactions = 0;
    while tx.parts_wait {
        // Between two parts the writer takes any pending job, such as an event.
        let before = changes(&mut tx).await.unwrap();
        assert!(raise_next_part(&mut tx).await);
        let rows = changes(&mut tx).await.unwrap() - before;
        assert!(rows <= most, "{rows} rows in the transaction of a part");
        transactions += 1;
    }
    // The last call finds no more parts.
    assert_eq!(transactions, (subjects - 1).div_ceil(PART));
    assert_eq!(number(&mut tx, "SELECT count(*) FROM task").await, subjects);
    assert_eq!(number(&mut tx, "SELECT tasks FROM pair").await, subjects);
    assert_eq!(number(&mut tx, "SELECT count(*) FROM fan_out").await, 0);
}

#[test]
fn events_of_many_callers_are_written_in_bounded_transactions() {
    let event = NewEvent {
        id: "e".into(),
        kind: String::new(),
        about: String::new(),
        occurred_at: None,
        body: String::new(),
        hints: Vec::new(),
        may_remove: false,
        wants_run: false,
        recheck: false,
        polled: false,
        outcome: EventOutcome::Accepted,
    };
    let append = |events: usize| Append {
        connector: "corp".into(),
        targets: Vec::new(),
        events: vec![event.clone(); events],
        now: now(),
        reply: oneshot::channel().0,
    };
    let sizes = |appends: &[usize]| -> Vec<usize> {
        let all = by_size(appends.iter().copied().map(append).collect(), Vec::new());
        all.iter().map(|(appends, _)| appends.iter().map(|append| append.events.len()).sum()).collect()
    };
    assert_eq!(sizes(&[]), [0; 0]);
    assert_eq!(sizes(&[1, 2, 3]), [6]);
    assert_eq!(sizes(&[EVENTS, 1]), [EVENTS, 1]);
    assert_eq!(sizes(&[1, EVENTS + 5, 2, 3]), [1, EVENTS + 5, 5]);
    assert_eq!(sizes(&[EVENTS / 2; 6]), [EVENTS; 3]);
}

#[tokio::test]
async fn a_step_of_an_ended_claim_is_no_sign_that_the_store_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut tx = tx(&folder).await;
    let (reply, mut result) = oneshot::channel();
    let step = StepJob { token: Token(1), step: Step::default(), end: None, now: now(), reply, is_alone: false };
    let ended = commit_batch(&mut tx, Vec::new(), vec![Queued::Steps(VecDeque::from([step]))]).await;
    assert_eq!(result.try_recv().unwrap(), Err(StoreError::ClaimEnded));
    assert!(!ended.committed);
    assert_eq!(ended.unwritten, None);
}

/// Claims this many users as a run does.
async fn claimed_users(tx: &mut Tx, users: usize) -> Vec<Token> {
    let (tokens, _) = in_one(tx, move |tx| {
        Box::pin(async move {
            tx.ensure_pairs(&[pair()], now()).await?;
            let mut tokens = Vec::new();
            for nth in 0..users {
                let observation = tx.memory.next_observation();
                let planned = Planned { subject: Subject::user(format!("u{nth}")), observation, account: None };
                tokens.push(tx.claim_planned(&pair(), RunId(1), &planned, now()).await?.unwrap().token);
            }
            Ok(tokens)
        })
    })
    .await;
    tokens
}

fn link_of(nth: usize) -> Link {
    Link::new(format!("u{nth}").as_str().into(), format!("a{nth}").as_str().into(), format!("n{nth}"))
}

/// Returns the job that puts the link of a claimed user, and ends its claim.
fn last_step(token: Token, nth: usize) -> (StepJob, oneshot::Receiver<StoreResult<Stepped>>) {
    let (reply, result) = oneshot::channel();
    let step = Step { link: Some(LinkWrite::Put(link_of(nth))), ..Step::default() };
    let end = Some(Ending { held: Vec::new(), recheck_at: now() });
    (StepJob { token, step, end, now: now(), reply, is_alone: false }, result)
}

#[tokio::test]
async fn steps_that_leave_nothing_else_are_one_batch_and_others_are_written_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut tx = tx(&folder).await;
    let tokens = claimed_users(&mut tx, 5).await;
    // The third user has a dead letter.
    sqlx::query(
        "INSERT INTO task (pair, subject, priority, not_before, dead, since, cause, caused_at, last_cause, last_at) \
         SELECT no, 'user:u2', 1, 0, 1, 0, '{\"other\":{\"what\":\"x\"}}', 0, '{\"other\":{\"what\":\"x\"}}', 0 FROM pair",
    )
    .execute(&mut tx.conn)
    .await
    .unwrap();
    let steps = tokens.iter().enumerate().map(|(nth, token)| last_step(*token, nth));
    let (mut steps, mut results): (Vec<_>, Vec<_>) = steps.unzip();
    assert_eq!(tx.batchable(&mut steps).await.unwrap().len(), 2);
    let alone: Vec<bool> = steps.iter().map(|step| step.is_alone).collect();
    assert_eq!(alone, [false, false, true, false, false]);
    assert_eq!(tx.batchable(&mut steps[2..]).await.unwrap().len(), 0, "it is not read again");
    assert_eq!(tx.batchable(&mut steps[3..]).await.unwrap().len(), 2);
    let ended = commit_batch(&mut tx, Vec::new(), vec![Queued::Steps(steps.into())]).await;
    assert!(ended.committed);
    for result in &mut results {
        assert_eq!(result.try_recv().unwrap(), Ok(Stepped::Written));
    }
    assert_eq!(number(&mut tx, "SELECT count(*) FROM link").await, 5);
    assert_eq!(number(&mut tx, "SELECT count(*) FROM task").await, 0);
    assert!(tokens.iter().all(|token| !tx.memory.is_claimed(*token)));
}

#[tokio::test]
async fn a_batch_that_fails_is_written_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut tx = tx(&folder).await;
    let tokens = claimed_users(&mut tx, 3).await;
    // The link of the second user is refused, as one row of a batch.
    let refuse = "CREATE TEMP TRIGGER refuse BEFORE INSERT ON main.link WHEN new.user = 'u1' BEGIN \
                  SELECT RAISE(ABORT, 'refused'); END";
    sqlx::raw_sql(refuse).execute(&mut tx.conn).await.unwrap();
    let steps = tokens.iter().enumerate().map(|(nth, token)| last_step(*token, nth));
    let (mut steps, mut results): (Vec<_>, Vec<_>) = steps.unzip();
    assert_eq!(tx.batchable(&mut steps).await.unwrap().len(), 3);
    assert!(commit_batch(&mut tx, Vec::new(), vec![Queued::Steps(steps.into())]).await.committed);
    let answers: Vec<_> = results.iter_mut().map(|result| result.try_recv().unwrap().is_ok()).collect();
    assert_eq!(answers, [true, false, true]);
    let held: Vec<bool> = tokens.iter().map(|token| tx.memory.is_claimed(*token)).collect();
    assert_eq!(held, [false, true, false]);
    let account = |nth: usize| tx.memory.holds_account(1, &link_of(nth).account);
    assert_eq!([account(0), account(1), account(2)], [None; 3]);
    assert_eq!(number(&mut tx, "SELECT count(*) FROM link").await, 2);
}
