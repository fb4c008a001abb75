//! `usersync plan`: shows what a run would do. It writes nothing, neither to a target nor to the store.

mod compared;

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use serde::Serialize;

use super::{
    Context,
    app::{self, Sides},
    args::PairArgs,
    exit::{Exit, Failure, Outcome},
    progress::Shown,
    read_only_store::ReadOnlyStore,
    report,
    words::thin,
};
use crate::{
    engine::{Report, RunOptions},
    model::{ApprovalKind, Pair, RunTrigger},
    store::{PairState, Store},
};

/// Maximum number of entries kept for each list that is only partly shown.
const KEPT: usize = 1_000;

/// Show what a full reconcile would do, without doing it
#[derive(Debug, Args)]
#[command(
    long_about = "\
Show what a full reconcile would do, without doing it.

Reads both sides completely and plans with the same functions as the run itself. Nothing is written, neither to a \
target nor to the store, so it can run at any time, even beside a running server. With --list or --json the plan is \
complete: every operation with its cause, and for each adoption both sides. Exit code 3: a part of the plan would \
wait for approval.

With --policy, both sides are planned with the current policy and with that of another configuration file, and only the \
difference is shown: users who come into the scope or leave it, changed memberships, names and attributes.",
    after_help = "\
Examples:
  usersync plan
  usersync plan --connector acme --target jira-prod --list
  usersync plan --json | jq '.plans[].report.planned'
  usersync plan --policy new.toml --list"
)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pair: PairArgs,
    /// Show every operation, one a line
    #[arg(long)]
    list: bool,
    /// Compare with the policy of this configuration file
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

#[derive(Serialize)]
struct Planned {
    #[serde(flatten)]
    pair: Pair,
    /// Whether this would be the pair's first run, which waits for approval.
    first_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl PlanArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        if let Some(file) = &self.policy {
            return self.compare(context, file).await;
        }
        let config = context.config()?;
        let pairs = app::pairs(&config, &self.pair)?;
        let opened = app::open_for_reading(context, &config).await?;
        let store: Arc<dyn Store> = opened.store;
        let engine = Sides::new(&config)?.engine(&config, Arc::new(ReadOnlyStore::new(Arc::clone(&store))));
        let mut exit = Exit::Done;
        let mut plans = Vec::new();
        for pair in pairs {
            let state = store.pair_state(&pair).await?;
            let first_run =
                matches!(state, PairState::New | PairState::NoUsers | PairState::Held | PairState::Approved);
            let shown = Shown::new(&context.out, pair.to_string());
            let options = RunOptions {
                first: first_run,
                progress: Some(shown.sender.clone()),
                keep: if self.list || context.out.json { usize::MAX } else { KEPT },
                ..RunOptions::dry(RunTrigger::Operator)
            };
            let planned = engine.run(&pair, &options).await;
            drop(shown);
            let mut plan = Planned { pair, first_run, report: None, error: None };
            match planned {
                Ok((_, report)) => {
                    exit = exit.and(exit_of(&report));
                    if !context.out.json {
                        self.show(context, &plan, &report);
                        if first_run {
                            context.out.say(about_first_run(store.as_ref(), &plan.pair, state, &report).await?);
                        }
                        if report.planned_total() > 0 {
                            let show = if self.list { "" } else { "Show them: --list   " };
                            context.out.say(format!("{show}As JSON: --json   Apply it: usersync sync"));
                        }
                    }
                    plan.report = Some(report);
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    exit = exit.and(failure.exit);
                    context.out.error(format!("{}: {failure}", plan.pair));
                    plan.error = Some(failure.text);
                }
            }
            plans.push(plan);
        }
        if context.out.json {
            context.out.document(&serde_json::json!({ "plans": plans }));
        }
        Ok(exit)
    }

    fn show(&self, context: &Context, plan: &Planned, report: &Report) {
        let out = &context.out;
        report::head(out, &plan.pair, report);
        if self.list {
            report::list(out, &report.lines);
        }
        report::counts(out, &report.planned, &report.lines);
        if report.held > 0 {
            out.prose(4, format!("  {:<12} {:<20} of these wait for approval", "hold", thin(report.held)));
        }
        report::findings(out, report, self.list);
        report::nothing_done(out, report);
        out.prose(
            4,
            format!(
                "unchanged {}.  Protected {}.  {}",
                thin(report.unchanged),
                thin(report.protected),
                report::safety_limits(report)
            ),
        );
    }
}

/// Describes what a first run waits for.
async fn about_first_run(store: &dyn Store, pair: &Pair, state: PairState, report: &Report) -> Result<String, Failure> {
    let sets = if state == PairState::Held { store.approvals(true).await? } else { Vec::new() };
    let held = sets.iter().find(|set| set.pair == *pair && set.kind == ApprovalKind::FirstRun);
    Ok(match held {
        Some(set) => format!(
            "This would be the first run. Nothing is written before it is approved: usersync approvals approve {}",
            set.id
        ),
        None if state == PairState::Approved => "This would be the first run. It is approved.".to_owned(),
        None if report.finds_no_users() => {
            "This would be the first run. The realm has no users in scope yet, so nothing is in service. It is planned \
             again once there are users, and waits for approval."
                .to_owned()
        }
        None if report.needs_no_approval() => {
            "This would be the first run. It has no operations, so it needs no approval.".to_owned()
        }
        None => format!(
            "This would be the first run: sync plans it and holds it until it is approved: usersync approvals approve \
             --connector {}",
            pair.connector
        ),
    })
}

fn exit_of(report: &Report) -> Exit {
    let lacks_seats = report.seats.is_some_and(|seats| seats.missing() > 0);
    if report.has_problems() || lacks_seats {
        Exit::Problems
    } else if report.held > 0 {
        Exit::Held
    } else {
        Exit::Done
    }
}
