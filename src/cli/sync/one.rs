//! Reconciles one user now.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use super::{Work, kept_from};
use crate::{
    cli::{
        exit::{Exit, Failure, Outcome},
        explain::{Undone, undone},
        find_users,
        status::exit_of as exit_of_condition,
        stop,
        words::count,
    },
    model::{
        ApprovalItem, ApprovalItemState, Cause, Change, ChangeOutcome, ConnectorName, Pair, Priority, Subject,
        TaskRecord, TaskState,
    },
    store::{ChangeFilter, EngineStore, PairState, StoreReads, TaskFilter},
};

/// Polling interval for a running server's work; `WAIT` is the timeout.
const EVERY: Duration = Duration::from_millis(150);
const WAIT: Duration = Duration::from_secs(30);

/// The result for one user on one target.
#[derive(Serialize)]
struct Worked {
    #[serde(flatten)]
    pair: Pair,
    subject: Subject,
    login: Option<String>,
    changes: Vec<Change>,
    /// The remaining task; `None`: nothing is left to do.
    task: Option<TaskRecord>,
    /// Items that wait for approval, each with its approval id.
    held: Vec<(i64, ApprovalItem)>,
    /// Wanted changes that are not done, read from both sides afterwards. Empty if the task or an approval explains
    /// them.
    undone: Undone,
}

pub(super) async fn sync(work: &Work<'_>, pairs: &[Pair], name: &str, no_wait: bool) -> Outcome {
    let out = &work.context.out;
    let connectors: BTreeSet<ConnectorName> = pairs.iter().map(|pair| pair.connector.clone()).collect();
    let connectors: Vec<ConnectorName> = connectors.into_iter().collect();
    let people = find_users::find(work.opened.store.as_ref(), work.sides, &connectors, name).await?;
    if let Some(trouble) = people.iter().find_map(|person| person.trouble.clone()) {
        return Err(Failure::unreachable(trouble));
    }
    let stop = stop::on_signal(out);
    let mut exit = Exit::Done;
    let mut all = Vec::new();
    'pairs: for pair in pairs {
        for person in people.iter().filter(|person| person.connector == pair.connector) {
            if let Some(failure) = not_now(work, pair).await? {
                out.error(&failure);
                exit = exit.and(failure.exit);
                break;
            }
            let subject = Subject::User(person.id.clone());
            let login = person.user.as_ref().map(|user| user.username.clone());
            let newest = newest_change(work, pair, &subject).await?;
            let cause = Cause::Other { what: format!("requested by {}", work.context.by()) };
            let store = &work.opened.store;
            store.raise(pair, std::slice::from_ref(&subject), Priority::Event, &cause, Timestamp::now()).await?;
            if work.opened.server.is_none() {
                let engine = work.sides.engine(work.config, store.clone());
                engine.recall().await?;
                engine.try_again().await;
                engine.work_until(pair, &subject, &stop.token).await?;
                engine.keep_conditions().await?;
                for condition in engine.conditions().all().iter().filter(|one| one.about.concerns(pair)) {
                    out.error(format!("{pair}: {}", condition.text));
                    exit = exit.and(exit_of_condition(condition.code));
                }
            } else if no_wait {
                out.say(format!(
                    "{pair}: requested a reconcile of {name} from the running server. See: usersync explain {name}"
                ));
                continue;
            } else {
                wait(work, pair, &subject, &stop.token).await?;
            }
            let task = task(work, pair, &subject).await?;
            let held = held(work, pair, &subject).await?;
            let ended = task.as_ref().is_none_or(is_put_off);
            let undone = if ended && held.is_empty() {
                let (store, user) = (work.opened.store.as_ref(), person.user.as_ref());
                undone(work.config, work.sides, store, pair, &person.id, user).await?
            } else {
                Undone::default()
            };
            let worked = Worked {
                changes: changes_since(work, pair, &subject, newest).await?,
                task,
                held,
                undone,
                pair: pair.clone(),
                subject,
                login,
            };
            exit = exit.and(exit_of(&worked));
            if !out.json {
                show(work, name, &worked);
            }
            let changes = worked.changes.len();
            all.push(worked);
            if let Some(signal) = stop.by() {
                exit = exit.and(signal);
                out.error(what_was_done(work, name, signal, changes));
                break 'pairs;
            }
        }
    }
    if out.json {
        out.document(&serde_json::json!({ "people": all }));
    }
    Ok(exit)
}

/// Describes what a stopped command has done, and what is left.
fn what_was_done(work: &Work<'_>, name: &str, signal: Exit, changes: usize) -> String {
    let changes = match changes {
        0 => "nothing was changed".to_owned(),
        changes => format!("{} written", count(changes, "change was", "changes were")),
    };
    let left = match &work.opened.server {
        Some(pid) => format!("The running server (pid {pid}) does the rest: usersync explain {name}"),
        None => format!("To do the rest: usersync sync {name}"),
    };
    format!("Stopped by {}: {changes}. {left}", stop::signal_name(signal))
}

/// Returns why no user of this pair is worked now; `None`: users are worked.
async fn not_now(work: &Work<'_>, pair: &Pair) -> Result<Option<Failure>, Failure> {
    if let Some(failure) = kept_from(work.config, work.opened.store.as_ref(), pair).await? {
        return Ok(Some(failure));
    }
    if work.opened.store.pair_state(pair).await? == PairState::InService {
        return Ok(None);
    }
    let text =
        format!("{pair}: its first run has to be approved and done first: usersync sync, usersync approvals list");
    Ok(Some(Failure::held(text)))
}

fn of(pair: &Pair, subject: &Subject) -> ChangeFilter {
    ChangeFilter {
        connector: Some(pair.connector.clone()),
        target: Some(pair.target.clone()),
        subject: Some(subject.clone()),
        ..ChangeFilter::default()
    }
}

async fn newest_change(work: &Work<'_>, pair: &Pair, subject: &Subject) -> Result<i64, Failure> {
    let filter = ChangeFilter { limit: 1, ..of(pair, subject) };
    Ok(work.opened.store.changes(&filter).await?.first().map_or(0, |change| change.id))
}

async fn changes_since(work: &Work<'_>, pair: &Pair, subject: &Subject, id: i64) -> Result<Vec<Change>, Failure> {
    let filter = ChangeFilter { limit: 100, ..of(pair, subject) };
    let mut changes = work.opened.store.changes(&filter).await?;
    changes.retain(|change| change.id > id);
    changes.reverse();
    Ok(changes)
}

async fn task(work: &Work<'_>, pair: &Pair, subject: &Subject) -> Result<Option<TaskRecord>, Failure> {
    let filter = TaskFilter {
        connector: Some(pair.connector.clone()),
        target: Some(pair.target.clone()),
        subject: Some(subject.clone()),
        limit: 1,
        ..TaskFilter::default()
    };
    Ok(work.opened.store.tasks(&filter).await?.pop())
}

/// Returns the subject's open items, each with its approval id.
async fn held(work: &Work<'_>, pair: &Pair, subject: &Subject) -> Result<Vec<(i64, ApprovalItem)>, Failure> {
    let mut open = Vec::new();
    let store = &work.opened.store;
    for set in store.approvals(true).await?.into_iter().filter(|set| set.pair == *pair) {
        let (_, items) = store.approval(set.id).await?;
        let ours = items.into_iter().filter(|item| item.subject == *subject && item.state == ApprovalItemState::Open);
        open.extend(ours.map(|item| (set.id, item)));
    }
    Ok(open)
}

/// Waits until the server has worked the task, the task failed, the wait is cancelled, or it times out.
async fn wait(
    work: &Work<'_>,
    pair: &Pair,
    subject: &Subject,
    cancel: &tokio_util::sync::CancellationToken,
) -> Result<(), Failure> {
    let began = std::time::Instant::now();
    while began.elapsed() < WAIT && !cancel.is_cancelled() {
        match task(work, pair, subject).await? {
            None => return Ok(()),
            Some(task) if task.error.is_some() && task.not_before > Timestamp::now() => return Ok(()),
            Some(task) if task.state == TaskState::Dead || is_put_off(&task) => return Ok(()),
            Some(_) => tokio::time::sleep(EVERY).await,
        }
    }
    Ok(())
}

/// Returns whether a task was put off to a later date, when it counts as raised.
fn is_put_off(task: &TaskRecord) -> bool {
    task.since > Timestamp::now()
}

fn exit_of(worked: &Worked) -> Exit {
    let refused = worked.changes.iter().any(|change| matches!(change.outcome, ChangeOutcome::Refused { .. }));
    if let Some(TaskRecord { error: Some((class, _)), .. }) = &worked.task {
        Exit::of_task(*class)
    } else if worked.undone.trouble.is_some() {
        Exit::Unreachable
    } else if worked.task.as_ref().is_some_and(|task| !is_put_off(task)) || refused || !worked.undone.planned.is_empty()
    {
        Exit::Problems
    } else if !worked.held.is_empty() {
        Exit::Held
    } else {
        Exit::Done
    }
}

fn show(work: &Work<'_>, name: &str, worked: &Worked) {
    let out = &work.context.out;
    let who = worked.login.as_deref().unwrap_or(name);
    let pair = &worked.pair;
    for change in &worked.changes {
        let refused = match &change.outcome {
            ChangeOutcome::Refused { why, .. } => format!(": refused: {why}"),
            ChangeOutcome::DoneWith { also } => format!("; {also}"),
            _ => String::new(),
        };
        out.prose(2, format!("{pair}: {}{refused}", crate::cli::changes::sentence(change)));
    }
    match &worked.task {
        Some(TaskRecord { error: Some((class, text)), not_before, .. }) => {
            let again = match &work.opened.server {
                Some(_) => format!("next attempt {}", out.when(*not_before)),
                None => format!("no server runs to retry it: usersync sync {name}"),
            };
            let text = text.trim_end_matches('.');
            out.error(format!("{pair}: {who}: {text} ({}); {again}", class.as_str()));
        }
        Some(TaskRecord { state: TaskState::Waiting { on }, .. }) => {
            out.error(format!("{pair}: {who} waits for {on}: usersync tasks"));
        }
        // The reasons below name the date.
        Some(task) if is_put_off(task) => {}
        Some(task) => {
            let again = match &work.opened.server {
                Some(_) => format!("; re-read {}", out.when(task.not_before)),
                None => format!(": usersync sync {name}"),
            };
            out.error(format!("{pair}: {who} is not done yet{again}"));
        }
        None if worked.changes.is_empty() && worked.held.is_empty() && worked.undone.is_empty() => {
            out.say(format!("{pair}: {who} is in sync; nothing to do."));
        }
        None => {}
    }
    for (set, item) in &worked.held {
        let (what, why) = (&item.item.what, crate::cli::report::why(item.item.kind));
        out.error(format!(
            "{pair}: {who}: {what}: waits for approval ({why}). Approve: usersync approvals approve {set} --item {}",
            item.id
        ));
    }
    for what in &worked.undone.planned {
        out.error(format!(
            "{pair}: {who}: planned, but not done, and no error was reported: {what}. See: usersync explain {who}"
        ));
    }
    for why in &worked.undone.reasons {
        out.prose(2, format!("{pair}: {who}: {why}"));
    }
    if let Some(trouble) = &worked.undone.trouble {
        out.error(format!("{pair}: {who} cannot be read afterwards: {trouble}"));
    }
}
