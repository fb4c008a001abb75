//! `usersync held`: what waits for a person.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Context, app,
    exit::{Exit, Failure, Outcome},
    out::Out,
    report,
    words::{count, thin},
};
use crate::{
    engine::Report,
    model::{HeldItem, HeldItemState, HeldKind, HeldSet},
    store::{Decision, Store},
};

/// Items that are shown without `--limit`.
const SHOWN: usize = 50;

/// Show what waits for a person, and decide
#[derive(Debug, Args)]
#[command(
    long_about = "\
Show what waits for a person, and decide.

Held are: a connector's first run on a target, whatever goes past a limit of the safety gate, accounts and groups that \
were there before, inactive accounts, administrators who left. Everything else goes on meanwhile.

An approval is used up once the target did the operation or refused it for good; after a timeout, 429 or 5xx it still \
stands. A rejection stands until the operation would do something else, or is not needed any more. A rejected operation \
counts towards no limit. To end a rejection: usersync held withdraw ID.",
    after_help = "\
Examples:
  usersync held list
  usersync held show 41
  usersync held approve 41 --note 'the whole department moved'
  usersync held approve 41 --item 7 --item 9
  usersync held reject 41 --item 8
  usersync held withdraw 41 --item 8"
)]
pub(super) struct HeldArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show held sets that wait, and those with rejections that stand; the newest first
    #[command(after_help = "Example:\n  usersync held list --all")]
    List {
        /// Also those that are over
        #[arg(long)]
        all: bool,
    },
    /// Show one set and its items
    #[command(after_help = "Example:\n  usersync held show 41 --limit 0")]
    Show {
        /// Its id
        id: i64,
        /// At most so many items; 0 for all
        #[arg(long, value_name = "N", default_value_t = SHOWN)]
        limit: usize,
    },
    /// Let what is held be done, once
    #[command(after_help = "\
Examples:
  usersync held approve 41
  usersync held approve 41 --item 7 --item 9 --note 'left the company'")]
    Approve(DecideArgs),
    /// Leave it undone while it would do the same
    #[command(after_help = "Example:\n  usersync held reject 41 --item 8 --note 'is on leave'")]
    Reject(DecideArgs),
    /// Withdraw rejections, so that the operations are planned again
    #[command(after_help = "Example:\n  usersync held withdraw 41 --item 8")]
    Withdraw {
        /// The set's id
        id: i64,
        /// Only this item; may be given several times
        #[arg(long = "item", value_name = "N")]
        items: Vec<i64>,
    },
}

#[derive(Debug, Args)]
struct DecideArgs {
    /// The set's id
    id: i64,
    /// Only this item; may be given several times
    #[arg(long = "item", value_name = "N")]
    items: Vec<i64>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl HeldArgs {
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

/// Why a set is held, in words.
pub(super) fn why(kind: HeldKind) -> String {
    match kind {
        HeldKind::Gate(kind) => format!("past the safety gate: {}", report::limited(kind)),
        HeldKind::FirstRun => "first run".to_owned(),
        HeldKind::Adoption => "was there before us".to_owned(),
        HeldKind::Activation => "inactive account".to_owned(),
        HeldKind::ProtectedLeaver => "an administrator, or a member of a frozen group, left".to_owned(),
        HeldKind::AdoptedGroup => "members of a group that was there before us".to_owned(),
    }
}

/// How much it is about.
pub(super) fn size(set: &HeldSet) -> String {
    if set.kind == HeldKind::FirstRun {
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
    let opened = app::look(context, &config).await?;
    let mut sets = opened.store.held_sets(false).await?;
    sets.retain(|set| all || set.open || set.rejected_items > 0);
    let out = &context.out;
    if out.json {
        out.document(&json!({ "held": sets }));
    } else if sets.is_empty() {
        out.say("0 held sets: nothing waits for a person.");
    } else {
        let rows = sets.iter().map(|set| {
            vec![set.id.to_string(), set.pair.to_string(), why(set.kind), size(set), out.when(set.since), state(set)]
        });
        out.table(&["id", "where", "why", "what", "since", "state"], &[0], rows.collect());
        out.say("Show one: usersync held show ID   Decide: usersync held approve ID, usersync held reject ID");
        if sets.iter().any(|set| set.rejected_items > 0) {
            out.say("End a rejection: usersync held withdraw ID");
        }
    }
    let open = sets.iter().any(|set| set.open);
    Ok(if open { Exit::Held } else { Exit::Done })
}

fn state(set: &HeldSet) -> String {
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
    let opened = app::look(context, &config).await?;
    let (set, items) = opened.store.held_set(id).await.map_err(|error| unknown(id, error))?;
    let out = &context.out;
    if out.json {
        out.document(&json!({ "held": set, "items": items }));
    } else {
        whole(out, &set, &items, limit);
    }
    Ok(if set.open { Exit::Held } else { Exit::Done })
}

fn unknown(id: i64, error: crate::store::StoreError) -> Failure {
    match error {
        crate::store::StoreError::NotFound(_) => {
            Failure::usage(format!("{id}: there is no such held set. Those that wait: usersync held list"))
        }
        error => error.into(),
    }
}

fn whole(out: &Out, set: &HeldSet, items: &[HeldItem], limit: usize) {
    out.line(format!("set {}    {}    {}    since {}", set.id, set.pair, why(set.kind), out.when(set.since)));
    if let Some(decision) = &set.decision {
        out.line(format!("decided    {decision}"));
    }
    if let (HeldKind::FirstRun, Ok(report)) = (set.kind, serde_json::from_value::<Report>(set.summary.clone())) {
        report::head(out, &set.pair, &report);
        report::counts(out, &report.planned, &report.lines);
        report::findings(out, &report, limit == 0);
        if let Some(why) = report::why_nothing(&report) {
            out.line(why);
        }
    }
    let most = if limit == 0 { items.len() } else { limit };
    if !items.is_empty() {
        let rows = items.iter().take(most).map(|item| {
            let state = match item.state {
                HeldItemState::Open => "waits",
                HeldItemState::Approved => "approved, not done yet",
                HeldItemState::Rejected => "rejected",
                HeldItemState::Done => "done",
                HeldItemState::Refused => "approved, refused by the target",
                HeldItemState::Withdrawn => "withdrawn",
            };
            vec![
                item.id.to_string(),
                item.item.what.clone(),
                state.to_owned(),
                out.ago(item.since),
                item.subject.to_string(),
            ]
        });
        out.table(&["item", "what would be done", "state", "since", "subject"], &[0], rows.collect());
    }
    if items.len() > most {
        out.say(format!("and {} more: --limit 0", thin(items.len() - most)));
    }
    if set.rejected_items > 0 {
        out.say(format!("End the rejections: usersync held withdraw {0}   One item only: --item N", set.id));
    }
    if set.open {
        out.say(format!(
            "Do it: usersync held approve {0}   Leave it: usersync held reject {0}   One of them: --item N",
            set.id
        ));
    }
}

/// An error where the set lacks one of these items.
fn known_items(id: i64, items: &[i64], known: &[HeldItem]) -> Result<(), Failure> {
    match items.iter().find(|item| !known.iter().any(|known| known.id == **item)) {
        None => Ok(()),
        Some(other) => Err(Failure::usage(format!(
            "{other}: set {id} has no such item. Those that it has: usersync held show {id}"
        ))),
    }
}

async fn withdraw(context: &Context, id: i64, items: Vec<i64>) -> Outcome {
    let config = context.config()?;
    let opened = app::intend(context, &config).await?;
    let (set, known) = opened.store.held_set(id).await.map_err(|error| unknown(id, error))?;
    known_items(id, &items, &known)?;
    let withdrawn = opened.store.withdraw_rejections(id, &items, &context.by(), context.out.now).await?;
    opened.store.close().await;
    let out = &context.out;
    if out.json {
        out.document(&json!({ "set": id, "withdrawn": withdrawn, "server": opened.server }));
    } else if withdrawn == 0 {
        out.say(format!("Set {id}: no rejection stands there; nothing was withdrawn. See: usersync held show {id}"));
    } else {
        out.say(format!("Withdrew {} of set {id} ({}).", count(withdrawn, "rejection", "rejections"), set.pair));
        out.say("Within the limits the operations are done; past a limit they wait for approval again.");
        out.say(app::who_works(opened.server.as_deref()));
    }
    Ok(if withdrawn == 0 { Exit::Problems } else { Exit::Done })
}

async fn decide(context: &Context, args: DecideArgs, approve: bool) -> Outcome {
    let config = context.config()?;
    let opened = app::intend(context, &config).await?;
    let DecideArgs { id, items, note } = args;
    let (set, known) = opened.store.held_set(id).await.map_err(|error| unknown(id, error))?;
    if !set.open {
        let decision = set.decision.unwrap_or_else(|| "nothing waits in it any more".to_owned());
        return Err(Failure::usage(format!(
            "{id}: this set is closed: {decision}. Those that wait: usersync held list"
        )));
    }
    known_items(id, &items, &known)?;
    let decision = Decision { set: id, items, approve, by: context.by(), note };
    let decided = opened.store.decide(&decision, context.out.now).await?;
    opened.store.close().await;
    let out = &context.out;
    if out.json {
        out.document(&json!({ "set": id, "approved": approve, "decided": decided, "server": opened.server }));
        return Ok(Exit::Done);
    }
    let word = if approve { "Approved" } else { "Rejected" };
    if set.kind == HeldKind::FirstRun {
        out.say(format!("{word}: the first run of {}, {}.", set.pair, size(&set)));
    } else if decided == 0 {
        out.say("0 items were open: nothing was decided.");
        return Ok(Exit::Problems);
    } else {
        out.say(format!(
            "{word}: {} of set {id} ({}, {}).",
            count(decided, "operation", "operations"),
            set.pair,
            why(set.kind)
        ));
    }
    match (approve, &opened.server) {
        (false, _) if set.kind == HeldKind::FirstRun => {
            out.say("The connector stays out of service on this target. To plan anew: usersync sync");
        }
        (false, _) => out.say(format!(
            "A rejection stands while the operation would do the same. To end it: usersync held withdraw {id}"
        )),
        (true, Some(pid)) => out.say(format!("The running server (pid {pid}) does it now, from a fresh look.")),
        (true, None) => out.say("No server runs: it is done, from a fresh look, by: usersync sync"),
    }
    Ok(Exit::Done)
}
