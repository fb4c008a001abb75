//! `usersync events`: events received from Keycloak.

use clap::{Args, Subcommand};

use super::{
    Context, app,
    args::{PageArgs, PeriodArgs, SubjectArgs},
    causes,
    exit::{Exit, Failure, Outcome},
    out::Out,
    table::column,
    words::{count, some},
};
use crate::{
    model::{ConnectorName, EventOutcome, EventRecord, Subject, TargetName},
    store::{EventFilter, OperatorStore, Store, StoreReads},
};

/// Show the events received from Keycloak, and replay them
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    long_about = "\
Show the events received from Keycloak, and replay them.

An event only names what to read again, so a replay is always safe: what is in sync stays unchanged.",
    after_help = "\
Examples:
  usersync events
  usersync events --subject alice --from 2h
  usersync events --ignored
  usersync events show 0198c2f4-5b1e-7c1d-9d37-0f1f4f1f2a11
  usersync events replay --from 09:00 --to 10:30"
)]
pub(super) struct EventsArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show events, newest first (the default subcommand)
    #[command(after_help = "Example:\n  usersync events list --connector acme --ignored")]
    List(ListArgs),
    /// Show one event in full
    #[command(after_help = "\
Examples:
  usersync events show 4711              by its number, which is faster
  usersync events show 0198c2f4-5b1e-7c1d-9d37-0f1f4f1f2a11")]
    Show {
        /// Event number or event id
        #[arg(value_name = "NO|ID")]
        id: String,
    },
    /// Reconcile the subjects of these events again
    #[command(after_help = "\
Examples:
  usersync events replay 0198c2f4-5b1e-7c1d-9d37-0f1f4f1f2a11
  usersync events replay --from 09:00 --to 10:30
  usersync events replay --failed        events with a dead letter for their subject")]
    Replay {
        /// Ids of the events
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// Only events of this connector
        #[arg(long, value_name = "NAME")]
        connector: Option<ConnectorName>,
        #[command(flatten)]
        period: PeriodArgs,
        /// Only events with a dead letter for their subject
        #[arg(long)]
        failed: bool,
    },
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only events of this connector
    #[arg(long, value_name = "NAME")]
    connector: Option<ConnectorName>,
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    period: PeriodArgs,
    /// Only ignored events, which raised no task
    #[arg(long)]
    ignored: bool,
    #[command(flatten)]
    page: PageArgs,
}

impl EventsArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        match self.command {
            None => list(context, self.list).await,
            Some(Command::List(args)) => list(context, args).await,
            Some(Command::Show { id }) => show(context, id).await,
            Some(Command::Replay { ids, connector, period, failed }) => {
                if ids.is_empty() && period.from().is_none() && period.to().is_none() && !failed {
                    return Err(Failure::usage(
                        "Which events? Name ids (usersync events shows them), --from and --to, or --failed.",
                    ));
                }
                let filter =
                    EventFilter { connector, from: period.from(), to: period.to(), failed, ..EventFilter::default() };
                replay(context, filter, ids).await
            }
        }
    }
}

async fn list(context: &Context, args: ListArgs) -> Outcome {
    let config = context.config()?;
    let opened = app::open_for_reading(context, &config).await?;
    let filter = EventFilter {
        connector: args.connector,
        subject: args.subject.find(opened.store.as_ref()).await?,
        from: args.period.from(),
        to: args.period.to(),
        ignored: args.ignored,
        before: args.page.before,
        limit: args.page.limit,
        ..EventFilter::default()
    };
    let events = opened.store.events(&filter).await?;
    let out = &context.out;
    if out.json {
        out.document(&serde_json::json!({ "events": events.iter().map(document).collect::<Vec<_>>() }));
        return Ok(Exit::Done);
    }
    if events.is_empty() {
        let only = EventFilter { limit: filter.limit, ..EventFilter::default() };
        out.say(if filter == only {
            "0 events: none received yet. usersync check shows whether the listener is turned on."
        } else {
            "0 events match the filters. All events: usersync events"
        });
        return Ok(Exit::Done);
    }
    let rows = events.iter().map(|event| {
        vec![
            event.seq.to_string(),
            out.exact(event.received_at),
            out.ago(event.received_at),
            event.connector.to_string(),
            event.kind.clone(),
            causes::login(event).unwrap_or_default(),
            event.about.clone(),
            outcome(event),
            event.id.clone(),
        ]
    });
    let columns = [
        column("no").right(),
        column("received"),
        column("").spared(),
        column("connector").spared(),
        column("kind"),
        column("login"),
        column("about"),
        column("outcome"),
        column("id").spared(),
    ];
    out.table(&columns, rows.collect());
    if let (true, Some(last)) = (args.page.is_full(events.len()), events.last()) {
        out.say(format!("Older ones: --before {}", last.seq));
    }
    Ok(Exit::Done)
}

/// Describes the outcome of an event in words.
pub(super) fn outcome(event: &EventRecord) -> String {
    match &event.outcome {
        EventOutcome::Ignored(why) => format!("ignored: {why}"),
        EventOutcome::Accepted if event.hints.is_empty() => "accepted".to_owned(),
        EventOutcome::Accepted => {
            let hints: Vec<String> = event.hints.iter().map(Subject::to_string).collect();
            format!("reconcile {}", some(hints.iter().map(String::as_str), 2, hints.len()))
        }
    }
}

/// Returns the event as JSON, with its body parsed if that is JSON.
fn document(event: &EventRecord) -> serde_json::Value {
    let mut value = serde_json::to_value(event).unwrap_or_default();
    if let (Some(body), Ok(parsed)) = (value.get_mut("body"), serde_json::from_str(&event.body)) {
        *body = parsed;
    }
    value
}

async fn show(context: &Context, id: String) -> Outcome {
    let config = context.config()?;
    let opened = app::open_for_reading(context, &config).await?;
    let mut events = numbered(opened.store.as_ref(), &id).await?;
    if events.is_empty() {
        let filter = EventFilter { id: Some(id.clone()), limit: 0, ..EventFilter::default() };
        events = opened.store.events(&filter).await?;
    }
    if events.is_empty() {
        let days = config.store.retention.as_hours() / 24;
        return Err(Failure::usage(format!(
            "{id}: there is no such event. Events are kept for {}. The newest: usersync events",
            count(days, "day", "days")
        )));
    }
    let out = &context.out;
    if out.json {
        out.document(&serde_json::json!({ "events": events.iter().map(document).collect::<Vec<_>>() }));
    } else {
        for event in &events {
            whole(out, event);
        }
    }
    Ok(Exit::Done)
}

/// Returns the event with this number; empty if `text` is no number or no event has it.
async fn numbered(store: &dyn Store, text: &str) -> Result<Vec<EventRecord>, Failure> {
    let Some((no, before)) = text.parse::<i64>().ok().and_then(|no| Some((no, no.checked_add(1)?))) else {
        return Ok(Vec::new());
    };
    let filter = EventFilter { before: Some(before), limit: 1, ..EventFilter::default() };
    let mut events = store.events(&filter).await?;
    events.retain(|event| event.seq == no);
    Ok(events)
}

fn whole(out: &Out, event: &EventRecord) {
    out.line(format!("{}    {}  {}", out.strong(&event.id), event.kind, event.about));
    let mut lines = vec![("connector", event.connector.to_string()), ("received", out.when(event.received_at))];
    lines.extend(causes::login(event).map(|login| ("login", login)));
    lines.extend(event.occurred_at.map(|at| ("occurred", out.when(at))));
    if event.duplicates > 0 {
        lines.push(("repeated", count(event.duplicates, "time", "times")));
    }
    lines.push(("outcome", outcome(event)));
    for (about, text) in lines {
        out.line(format!("  {about:<12} {text}"));
    }
    let body = serde_json::from_str::<serde_json::Value>(&event.body)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| event.body.clone());
    out.lines(body.lines().map(|line| format!("  {line}")));
}

async fn replay(context: &Context, filter: EventFilter, ids: Vec<String>) -> Outcome {
    let config = context.config()?;
    let opened = app::intend(context, &config).await?;
    let targets = |connector: &ConnectorName| -> Vec<TargetName> {
        config.connectors.iter().find(|one| one.name == *connector).map(|one| one.targets.clone()).unwrap_or_default()
    };
    let (by, now) = (context.by(), context.out.now);
    let (mut events, mut tasks) = (0, 0);
    let mut unknown = Vec::new();
    let filters: Vec<(Option<String>, EventFilter)> = if ids.is_empty() {
        vec![(None, filter)]
    } else {
        ids.into_iter().map(|id| (Some(id.clone()), EventFilter { id: Some(id), ..filter.clone() })).collect()
    };
    for (id, filter) in filters {
        let (found, raised) = opened.store.replay_events(&filter, &targets, &by, now).await?;
        (events, tasks) = (events + found, tasks + raised);
        unknown.extend(id.filter(|_| found == 0));
    }
    opened.store.close().await;
    let out = &context.out;
    if out.json {
        let document =
            serde_json::json!({ "events": events, "tasks": tasks, "unknown": unknown, "server": opened.server });
        out.document(&document);
    } else if events == 0 && unknown.is_empty() {
        out.say("0 events match; nothing was replayed. See: usersync events");
    } else if events > 0 {
        let raised = count(tasks, "subject is", "subjects are");
        out.say(format!("{} replayed: {raised} reconciled again.", count(events, "event", "events")));
        out.say(app::when_worked(opened.server.as_deref()));
    }
    for id in &unknown {
        out.error(format!("{id}: there is no such event, or it has no subject; nothing was replayed for it."));
    }
    Ok(if unknown.is_empty() { Exit::Done } else { Exit::Problems })
}
