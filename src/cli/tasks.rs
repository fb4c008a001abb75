//! `usersync tasks`: tasks that wait to be worked, and what delays them.

use clap::Args;

use super::{
    Context, app,
    args::{LimitArgs, PairArgs, SubjectArgs},
    causes::Causes,
    exit::{Exit, Failure, Outcome},
    out::Out,
    table::column,
};
use crate::{
    model::{Condition, Priority, TaskRecord, TaskState},
    store::{Store, StoreReads, TaskFilter},
};

/// Show tasks that wait to be worked
#[derive(Debug, Args)]
#[command(
    long_about = "\
Show tasks that wait to be worked: one line for each subject on each target, the most urgent first.

A task that has used up its attempts is a dead letter: usersync dead list",
    after_help = "\
Examples:
  usersync tasks
  usersync tasks --target jira-prod
  usersync tasks --subject alice --json"
)]
pub(super) struct TasksArgs {
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    list: LimitArgs,
}

impl TasksArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let config = context.config()?;
        let opened = app::open_for_reading(context, &config).await?;
        let filter = TaskFilter {
            connector: self.pair.connector,
            target: self.pair.target,
            subject: self.subject.find(opened.store.as_ref()).await?,
            dead: Some(false),
            limit: self.list.limit,
            ..TaskFilter::default()
        };
        let tasks = opened.store.tasks(&filter).await?;
        let mut conditions = opened.store.conditions().await?;
        conditions.retain(|one| {
            let other_connector =
                one.about.connector_name().zip(filter.connector.as_ref()).is_some_and(|(a, b)| a != b);
            let other_target = one.about.target_name().zip(filter.target.as_ref()).is_some_and(|(a, b)| a != b);
            !other_connector && !other_target
        });
        let out = &context.out;
        if out.json {
            out.document(&serde_json::json!({ "tasks": tasks, "conditions": conditions }));
            return Ok(Exit::Done);
        }
        for condition in &conditions {
            let Condition { text, since, again_at, .. } = condition;
            let again = again_at.map(|at| format!(" Next attempt {}.", out.when(at))).unwrap_or_default();
            let text = text.trim_end_matches('.');
            out.prose(4, format!("Tasks wait: {}, since {}: {text}.{again}", condition.summary(), out.when(*since)));
        }
        if tasks.is_empty() {
            out.say("0 tasks: nothing waits to be worked.");
        } else {
            table(out, opened.store.as_ref(), &tasks).await?;
        }
        Ok(Exit::Done)
    }
}

/// Prints a table of tasks.
pub(super) async fn table(out: &Out, store: &dyn Store, tasks: &[TaskRecord]) -> Result<(), Failure> {
    let causes = Causes::read(store, tasks.iter().map(|task| &task.cause)).await?;
    let rows = tasks.iter().map(|task| {
        let error = task.error.as_ref().map(|(class, text)| format!("{}: {text}", class.as_str()));
        vec![
            task.subject.to_string(),
            task.pair.to_string(),
            state(out, task),
            out.ago(task.since),
            task.attempts.to_string(),
            error.unwrap_or_else(|| causes.because(&task.cause)),
        ]
    });
    let columns = [
        column("subject"),
        column("where"),
        column("state"),
        column("since").spared(),
        column("failed").right().spared(),
        column("last error, or why it was raised"),
    ];
    out.table(&columns, rows.collect());
    Ok(())
}

fn state(out: &Out, task: &TaskRecord) -> String {
    match &task.state {
        TaskState::Dead => "dead".to_owned(),
        TaskState::Waiting { on } => format!("waits for {on}"),
        TaskState::Ready if task.not_before > out.now => format!("retry {}", out.ago(task.not_before)),
        TaskState::Ready => match task.priority {
            Priority::Removal | Priority::Event => "due, first".to_owned(),
            Priority::Retry | Priority::Bulk | Priority::FanOut | Priority::Run => "due".to_owned(),
        },
    }
}
