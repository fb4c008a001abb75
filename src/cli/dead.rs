//! `usersync dead`: tasks that failed for good or used up their attempts.

use clap::{Args, Subcommand, ValueEnum};

use super::{
    Context, app,
    args::{LimitArgs, PairArgs},
    exit::{Exit, Failure, Outcome},
    tasks,
    words::count,
};
use crate::{
    model::{ErrorClass, Subject},
    store::{OperatorStore, StoreReads, TaskFilter},
};

/// Show dead letters, and replay them
#[derive(Debug, Args)]
#[command(
    long_about = "\
Show dead letters, and replay them.

A dead letter is a task that used up its attempts (about three days of retries), or that the target refused for \
good. It waits for a replay, which grants it new attempts.",
    after_help = "\
Examples:
  usersync dead list
  usersync dead replay --target jira-prod --reason 403
  usersync dead replay user:1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11
  usersync dead replay --all"
)]
pub(super) struct DeadArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show dead letters and the error of each
    #[command(after_help = "Example:\n  usersync dead list --class forbidden")]
    List {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        list: LimitArgs,
    },
    /// Replay dead letters with a new set of attempts
    #[command(after_help = "\
Examples:
  usersync dead replay --target jira-prod --reason 403
  usersync dead replay user:1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11
  usersync dead replay --all")]
    Replay {
        /// Only these subjects
        #[arg(value_name = "SUBJECT")]
        subjects: Vec<Subject>,
        #[command(flatten)]
        which: Which,
        /// All dead letters that match the filters
        #[arg(long, conflicts_with = "subjects")]
        all: bool,
    },
}

#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    pair: PairArgs,
    /// Only dead letters with this text in their last error
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only dead letters of this error class
    #[arg(long, value_name = "CLASS")]
    class: Option<Class>,
}

/// Error classes, as arguments of the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Class {
    Transient,
    Throttled,
    Credentials,
    Forbidden,
    Unconfirmed,
    Conflict,
    Permanent,
    Bug,
}

impl From<Class> for ErrorClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Transient => Self::Transient,
            Class::Throttled => Self::Throttled,
            Class::Credentials => Self::Credentials,
            Class::Forbidden => Self::Forbidden,
            Class::Unconfirmed => Self::Unconfirmed,
            Class::Conflict => Self::Conflict,
            Class::Permanent => Self::Permanent,
            Class::Bug => Self::Bug,
        }
    }
}

impl Which {
    fn narrows(&self) -> bool {
        self.pair.connector.is_some() || self.pair.target.is_some() || self.reason.is_some() || self.class.is_some()
    }

    fn filter(self, limit: usize) -> TaskFilter {
        TaskFilter {
            connector: self.pair.connector,
            target: self.pair.target,
            dead: Some(true),
            class: self.class.map(ErrorClass::from),
            reason: self.reason,
            limit,
            ..TaskFilter::default()
        }
    }
}

impl DeadArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        match self.command {
            Command::List { which, list: shown } => list(context, which.filter(shown.limit)).await,
            Command::Replay { subjects, which, all } => {
                if subjects.is_empty() && !all && !which.narrows() {
                    return Err(Failure::usage(
                        "Which dead letters? Name subjects (usersync dead list shows them), narrow with --reason, --class, \
                         --target or --connector, or use --all.",
                    ));
                }
                replay(context, which.filter(0), subjects).await
            }
        }
    }
}

async fn list(context: &Context, filter: TaskFilter) -> Outcome {
    let config = context.config()?;
    let opened = app::open_for_reading(context, &config).await?;
    let dead = opened.store.tasks(&filter).await?;
    let out = &context.out;
    if out.json {
        out.document(&serde_json::json!({ "dead": dead }));
    } else if dead.is_empty() {
        let all = TaskFilter { dead: filter.dead, limit: filter.limit, ..TaskFilter::default() };
        out.say(if filter == all {
            "No failed tasks."
        } else {
            "No dead letter matches the filters. All dead letters: usersync dead list"
        });
    } else {
        tasks::table(out, opened.store.as_ref(), &dead).await?;
        out.say("Replay them: usersync dead replay SUBJECT, or --reason TEXT, or --all");
    }
    Ok(Exit::Done)
}

async fn replay(context: &Context, filter: TaskFilter, subjects: Vec<Subject>) -> Outcome {
    let config = context.config()?;
    let opened = app::intend(context, &config).await?;
    let (by, now) = (context.by(), context.out.now);
    let mut replayed = 0;
    if subjects.is_empty() {
        replayed = opened.store.replay_dead(&filter, &by, now).await?;
    }
    for subject in subjects {
        let filter = TaskFilter { subject: Some(subject), ..filter.clone() };
        replayed += opened.store.replay_dead(&filter, &by, now).await?;
    }
    opened.store.close().await;
    let out = &context.out;
    if out.json {
        out.document(&serde_json::json!({ "replayed": replayed, "server": opened.server }));
    } else if replayed == 0 {
        out.say("No dead letter matches; nothing was replayed. See: usersync dead list");
    } else {
        out.say(format!("{} replayed.", count(replayed, "dead letter", "dead letters")));
        out.say(app::when_worked(opened.server.as_deref()));
    }
    Ok(Exit::Done)
}
