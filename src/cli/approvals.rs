//! `usersync approvals`: operations that wait for an operator's decision.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Context,
    app::{self, Opened},
    args::PairArgs,
    exit::{Exit, Failure, Outcome},
    out::Out,
    report,
    table::column,
    words::{count, thin},
};
use crate::{
    engine::Report,
    model::{
        Approval, ApprovalItem, ApprovalItemState, ApprovalKind, ConnectorName, Pair, RunMode, RunRecord, TargetName,
    },
    store::{Decision, OperatorStore, StoreReads},
};

/// Number of full reconciles among which one with a changed policy is looked for.
const RUNS_LOOKED_AT: usize = 200;
/// Number of items shown without `--limit`.
const SHOWN: usize = 50;

/// Show operations that wait for approval, and decide on them
#[derive(Debug, Args)]
#[command(
    long_about = "\
Show operations that wait for approval, and decide on them.

An approval is required for: a connector's first run on a target, operations above a safety limit, accounts and groups \
that existed before usersync, inactive accounts, administrators who left. All other operations continue.

An approval is used up once the target did the operation or refused it for good; after a timeout, 429 or 5xx it \
remains valid. A rejection remains valid until the operation would do something else, or is no longer needed. A \
rejected operation counts towards no limit. To end a rejection: usersync approvals withdraw ID.",
    after_help = "\
Examples:
  usersync approvals list
  usersync approvals show 41
  usersync approvals approve 41 --note 'the whole department moved'
  usersync approvals approve 41 --item 7 --item 9
  usersync approvals approve --connector acme
  usersync approvals reject 41 --item 8
  usersync approvals withdraw 41 --item 8"
)]
pub(super) struct ApprovalsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show open approvals, and approvals with standing rejections; newest first
    #[command(after_help = "Example:\n  usersync approvals list --all")]
    List {
        /// Include closed approvals
        #[arg(long)]
        all: bool,
    },
    /// Show one approval and its items
    #[command(after_help = "Example:\n  usersync approvals show 41 --limit 0")]
    Show {
        /// Approval id
        id: i64,
        /// Maximum number of items; 0 for all
        #[arg(long, value_name = "N", default_value_t = SHOWN)]
        limit: usize,
    },
    /// Approve held operations, once
    #[command(after_help = "\
Examples:
  usersync approvals approve 41
  usersync approvals approve 41 --item 7 --item 9 --note 'left the company'
  usersync approvals approve --connector acme         all open approvals of the connector, on all its targets")]
    Approve(DecideArgs),
    /// Reject held operations until they would do something else
    #[command(after_help = "\
Examples:
  usersync approvals reject 41 --item 8 --note 'is on leave'
  usersync approvals reject --connector acme --target jira-prod")]
    Reject(DecideArgs),
    /// Withdraw rejections, so that the operations are planned again
    #[command(after_help = "Example:\n  usersync approvals withdraw 41 --item 8")]
    Withdraw {
        /// Approval id
        id: i64,
        /// Only this item; may be given several times
        #[arg(long = "item", value_name = "N")]
        items: Vec<i64>,
    },
}

#[derive(Debug, Args)]
struct DecideArgs {
    /// Approval id
    #[arg(conflicts_with = "connector")]
    id: Option<i64>,
    /// Only this item; may be given several times
    #[arg(long = "item", value_name = "N", conflicts_with = "connector")]
    items: Vec<i64>,
    /// All open approvals of this connector; they are shown first
    #[arg(long, value_name = "NAME")]
    connector: Option<ConnectorName>,
    /// With --connector: only approvals for this target
    #[arg(long, value_name = "NAME", requires = "connector")]
    target: Option<TargetName>,
    /// Reason, for the record
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl ApprovalsArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        match self.command {
            Command::List { all } => list(context, all).await,
            Command::Show { id, limit } => show(context, id, limit).await,
            Command::Approve(args) => decide(context, args, true).await,
            Command::Reject(args) => decide(context, args, false).await,
            Command::Withdraw { id, items } => withdraw(context, id, items).await,
        }
    }
}

/// Describes the number of operations in an approval.
pub(super) fn size(set: &Approval) -> String {
    if set.kind == ApprovalKind::FirstRun {
        let report = serde_json::from_value::<Report>(set.summary.clone()).unwrap_or_default();
        return count(report.planned_total(), "operation", "operations");
    }
    match (set.open_items, set.items) {
        (open, all) if open == all => count(open, "operation", "operations"),
        (open, all) => format!("{} of {} open", thin(open), thin(all)),
    }
}

async fn list(context: &Context, all: bool) -> Outcome {
    let config = context.config()?;
    let opened = app::open_for_reading(context, &config).await?;
    let mut sets = opened.store.approvals(false).await?;
    sets.retain(|set| all || set.open || set.rejected_items > 0);
    let out = &context.out;
    if out.json {
        out.document(&json!({ "approvals": sets }));
    } else if sets.is_empty() {
        out.say("Nothing waits for approval.");
    } else {
        let rows = sets.iter().map(|set| {
            vec![
                set.id.to_string(),
                set.pair.to_string(),
                report::why(set.kind),
                size(set),
                out.when(set.since),
                state(set),
            ]
        });
        let columns = [
            column("id").right(),
            column("where"),
            column("why"),
            column("what"),
            column("since").spared(),
            column("state"),
        ];
        out.table(&columns, rows.collect());
        out.say("Show one: usersync approvals show ID   Decide: usersync approvals approve ID, usersync approvals reject ID");
        let changed = after_change(opened.store.as_ref(), &sets).await?;
        if !changed.is_empty() {
            out.say(format!("Requested after the policy was changed: {}", changed.join(", ")));
        }
        if sets.iter().any(|set| set.rejected_items > 0) {
            out.say("End a rejection: usersync approvals withdraw ID");
        }
    }
    let open = sets.iter().any(|set| set.open);
    Ok(if open { Exit::Held } else { Exit::Done })
}

/// Returns the ids of open approvals that were requested since the policy was last changed.
async fn after_change(store: &dyn StoreReads, sets: &[Approval]) -> Result<Vec<String>, Failure> {
    let mut changes = BTreeMap::new();
    let mut after = Vec::new();
    for set in sets.iter().filter(|set| set.open) {
        if !changes.contains_key(&set.pair) {
            changes.insert(set.pair.clone(), policy_change(store, &set.pair).await?);
        }
        let change = changes.get(&set.pair).and_then(Option::as_ref);
        if change.is_some_and(|run| run.started_at <= set.since) {
            after.push(set.id.to_string());
        }
    }
    Ok(after)
}

fn state(set: &Approval) -> String {
    let rejected = match set.rejected_items {
        0 => None,
        rejected => Some(format!("{} rejected", thin(rejected))),
    };
    match (set.open, rejected) {
        (true, None) => "waits".to_owned(),
        (true, Some(rejected)) => format!("waits, {rejected}"),
        (false, Some(rejected)) => rejected,
        (false, None) => set.decision.clone().unwrap_or_else(|| "closed".to_owned()),
    }
}

async fn show(context: &Context, id: i64, limit: usize) -> Outcome {
    let config = context.config()?;
    let opened = app::open_for_reading(context, &config).await?;
    let (set, items) = opened.store.approval(id).await.map_err(|error| unknown(id, error))?;
    let out = &context.out;
    if out.json {
        out.document(&json!({ "approval": set, "items": items }));
    } else {
        whole(out, &set, &items, limit);
        let newest = items.iter().map(|item| item.since).max().unwrap_or(set.since);
        if let Some(run) = policy_change(opened.store.as_ref(), &set.pair).await?.filter(|run| run.started_at <= newest)
        {
            out.prose(
                0,
                format!(
                    "The policy was changed before full reconcile {}, started {}. Operations that have been waiting since \
                     then may be due to the change. Show the run: usersync runs show {}",
                    run.id,
                    out.when(run.started_at),
                    run.id
                ),
            );
        }
    }
    Ok(if set.open { Exit::Held } else { Exit::Done })
}

/// Returns the newest full reconcile whose policy differed from the one before.
async fn policy_change(store: &dyn StoreReads, pair: &Pair) -> Result<Option<RunRecord>, Failure> {
    let runs = store.runs(Some(pair), RUNS_LOOKED_AT).await?;
    let changed = |run: &RunRecord| run.mode == RunMode::Apply && run.report["policy_changed"] == json!(true);
    Ok(runs.into_iter().find(changed))
}

fn unknown(id: i64, error: crate::store::StoreError) -> Failure {
    match error {
        crate::store::StoreError::NotFound(_) => {
            Failure::usage(format!("{id}: there is no such approval. Open approvals: usersync approvals list"))
        }
        error => error.into(),
    }
}

fn whole(out: &Out, set: &Approval, items: &[ApprovalItem], limit: usize) {
    contents(out, set, items, limit);
    if set.rejected_items > 0 {
        out.say(format!("End the rejections: usersync approvals withdraw {0}   One item only: --item N", set.id));
    }
    if set.open {
        out.say(format!(
            "Approve: usersync approvals approve {0}   Reject: usersync approvals reject {0}   One item only: --item N",
            set.id
        ));
    }
}

/// Prints an approval and its items.
fn contents(out: &Out, set: &Approval, items: &[ApprovalItem], limit: usize) {
    out.prose(
        4,
        format!("approval {}    {}    {}    since {}", set.id, set.pair, report::why(set.kind), out.when(set.since)),
    );
    if let Some(decision) = &set.decision {
        out.prose(4, format!("decided    {decision}"));
    }
    if let (ApprovalKind::FirstRun, Ok(report)) = (set.kind, serde_json::from_value::<Report>(set.summary.clone())) {
        report::head(out, &set.pair, &report);
        report::counts(out, &report.planned, &report.lines);
        report::findings(out, &report, limit == 0);
        report::nothing_done(out, &report);
    }
    let most = if limit == 0 { items.len() } else { limit };
    if !items.is_empty() {
        let rows = items.iter().take(most).map(|item| {
            let state = match item.state {
                ApprovalItemState::Open => "waits",
                ApprovalItemState::Approved => "approved, not done yet",
                ApprovalItemState::Rejected => "rejected",
                ApprovalItemState::Done => "done",
                ApprovalItemState::Refused => "approved, refused by the target",
                ApprovalItemState::Withdrawn => "withdrawn",
            };
            vec![
                item.id.to_string(),
                item.item.what.clone(),
                state.to_owned(),
                out.ago(item.since),
                item.subject.to_string(),
            ]
        });
        let columns = [
            column("item").right(),
            column("what would be done"),
            column("state"),
            column("since").spared(),
            column("subject").spared(),
        ];
        out.table(&columns, rows.collect());
    }
    if items.len() > most {
        out.say(format!("and {} more: usersync approvals show {} --limit 0", thin(items.len() - most), set.id));
    }
}

/// Returns an error if the approval lacks one of these items.
fn known_items(id: i64, items: &[i64], known: &[ApprovalItem]) -> Result<(), Failure> {
    match items.iter().find(|item| !known.iter().any(|known| known.id == **item)) {
        None => Ok(()),
        Some(other) => Err(Failure::usage(format!(
            "{other}: approval {id} has no such item. Its items: usersync approvals show {id}"
        ))),
    }
}

async fn withdraw(context: &Context, id: i64, items: Vec<i64>) -> Outcome {
    let config = context.config()?;
    let opened = app::intend(context, &config).await?;
    let (set, known) = opened.store.approval(id).await.map_err(|error| unknown(id, error))?;
    known_items(id, &items, &known)?;
    let withdrawn = opened.store.withdraw_rejections(id, &items, &context.by(), context.out.now).await?;
    opened.store.close().await;
    let out = &context.out;
    if out.json {
        out.document(&json!({ "approval": id, "withdrawn": withdrawn, "server": opened.server }));
    } else if withdrawn == 0 {
        out.say(format!("Approval {id} has no rejections; nothing was withdrawn. See: usersync approvals show {id}"));
    } else {
        out.say(format!("Withdrew {} of approval {id} ({}).", count(withdrawn, "rejection", "rejections"), set.pair));
        out.say("The operations are planned again. Above a safety limit they wait for approval.");
        out.say(app::when_worked(opened.server.as_deref()));
    }
    Ok(if withdrawn == 0 { Exit::Problems } else { Exit::Done })
}

async fn decide(context: &Context, args: DecideArgs, approve: bool) -> Outcome {
    let config = context.config()?;
    if args.id.is_none() && args.connector.is_none() {
        return Err(which_set());
    }
    if let Some(connector) = &args.connector {
        app::pairs(&config, &PairArgs { connector: Some(connector.clone()), target: args.target.clone() })?;
    }
    let opened = app::intend(context, &config).await?;
    let ended = match (args.id, &args.connector) {
        (Some(id), _) => decide_set(context, &opened, id, args, approve).await,
        (None, Some(connector)) => decide_all(context, &opened, connector, &args, approve).await,
        (None, None) => Err(which_set()),
    };
    opened.store.close().await;
    ended
}

fn which_set() -> Failure {
    Failure::usage("Which approval? Give its id (usersync approvals list), or --connector NAME.")
}

/// Decides one approval, or some of its items.
async fn decide_set(context: &Context, opened: &Opened, id: i64, args: DecideArgs, approve: bool) -> Outcome {
    let (set, known) = opened.store.approval(id).await.map_err(|error| unknown(id, error))?;
    if !set.open {
        let decision = set.decision.unwrap_or_else(|| "it has no open items".to_owned());
        return Err(Failure::usage(format!(
            "{id}: this approval is closed: {decision}. Open approvals: usersync approvals list"
        )));
    }
    known_items(id, &args.items, &known)?;
    let decision = Decision { set: id, items: args.items, approve, by: context.by(), note: args.note };
    let decided = opened.store.decide(&decision, context.out.now).await?;
    let out = &context.out;
    if out.json {
        out.document(&json!({ "approval": id, "approved": approve, "decided": decided, "server": opened.server }));
        return Ok(Exit::Done);
    }
    if decided == 0 {
        out.say("0 items were open: nothing was decided.");
        return Ok(Exit::Problems);
    }
    say_decided(out, &set, decided, approve);
    match (approve, set.kind) {
        (true, _) => print_when_applied(out, opened),
        (false, ApprovalKind::FirstRun) => say_out_of_service(out),
        (false, _) => out.say(format!(
            "A rejection stands until the operation would do something else. \
             To end it: usersync approvals withdraw {id}"
        )),
    }
    Ok(Exit::Done)
}

/// Decides all open approvals of a connector, after they are shown.
async fn decide_all(
    context: &Context,
    opened: &Opened,
    connector: &ConnectorName,
    args: &DecideArgs,
    approve: bool,
) -> Outcome {
    let out = &context.out;
    let mut sets = opened.store.approvals(true).await?;
    sets.retain(|set| {
        set.pair.connector == *connector && args.target.as_ref().is_none_or(|target| *target == set.pair.target)
    });
    // Oldest approval first.
    sets.sort_by_key(|set| set.id);
    let mut shown = Vec::with_capacity(sets.len());
    for set in &sets {
        let (set, items) = opened.store.approval(set.id).await?;
        if !out.json {
            contents(out, &set, &items, SHOWN);
        }
        shown.push(set);
    }
    let mut decided = Vec::with_capacity(shown.len());
    for set in &shown {
        let (by, note) = (context.by(), args.note.clone());
        let decision = Decision { set: set.id, items: Vec::new(), approve, by, note };
        let items = opened.store.decide(&decision, out.now).await?;
        if items > 0 && !out.json {
            say_decided(out, set, items, approve);
        }
        decided.push(json!({ "approval": set.id, "target": set.pair.target, "decided": items }));
    }
    if out.json {
        out.document(&json!({
            "connector": connector, "approved": approve, "sets": decided, "server": opened.server,
        }));
    } else if shown.is_empty() {
        out.say(format!("Nothing of connector {connector} waits for approval."));
    } else if approve {
        print_when_applied(out, opened);
    } else {
        if shown.iter().any(|set| set.kind == ApprovalKind::FirstRun) {
            say_out_of_service(out);
        }
        out.say(
            "A rejection stands until the operation would do something else. \
             To end it: usersync approvals withdraw ID",
        );
    }
    Ok(Exit::Done)
}

fn say_decided(out: &Out, set: &Approval, decided: usize, approve: bool) {
    let word = if approve { "Approved" } else { "Rejected" };
    if set.kind == ApprovalKind::FirstRun {
        return out.say(format!("{word}: the first run of {}, {}.", set.pair, size(set)));
    }
    let operations = count(decided, "operation", "operations");
    out.say(format!("{word}: {operations} of approval {} ({}, {}).", set.id, set.pair, report::why(set.kind)));
}

fn say_out_of_service(out: &Out) {
    out.say("The connector stays out of service on this target. To plan again: usersync sync");
}

fn print_when_applied(out: &Out, opened: &Opened) {
    match &opened.server {
        Some(pid) => out.say(format!("The running server (pid {pid}) re-reads both sides and applies it now.")),
        None => out.say("No server runs. To re-read both sides and apply it: usersync sync"),
    }
}
