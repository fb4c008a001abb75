//! `usersync runs cancel`: ends a run of the server before its end.

use std::time::{Duration, Instant};

use crate::{
    cli::{
        Context, app,
        exit::{Exit, Failure, Outcome},
        report,
        stop::{self, Stop},
    },
    engine::Report,
    model::{Pair, RunId, RunOutcome, RunRecord, RunTrigger},
    store::OperatorStore,
};

/// Polling interval for the end of the run.
const EVERY: Duration = Duration::from_millis(200);
/// Time after which the command returns although the run has not ended: writes in progress are completed.
const ENDS_WITHIN: Duration = Duration::from_mins(1);

pub(super) async fn cancel(context: &Context, id: i64) -> Outcome {
    let config = context.config()?;
    let opened = app::work(context, &config).await?;
    let cancelled = cancel_in(context, &opened, id).await;
    opened.store.close().await;
    cancelled
}

async fn cancel_in(context: &Context, opened: &app::Opened, id: i64) -> Outcome {
    let out = &context.out;
    let run = super::find(opened.store.as_ref(), id).await?;
    if let Some(why) = refusal(&run, opened.server.is_some()) {
        return Err(Failure::usage(why));
    }
    opened.store.cancel_run(RunId(id), &context.by(), out.now).await?;
    let stop = stop::on_signal(out);
    let Some(run) = ended(opened, id, &stop).await? else {
        if out.json {
            out.document(&serde_json::json!({ "run": super::find(opened.store.as_ref(), id).await? }));
        } else {
            out.say(format!(
                "Run {id} is being cancelled: the server completes the users in progress. Show it: usersync runs show {id}"
            ));
        }
        return Ok(stop.by().unwrap_or(Exit::Problems));
    };
    if out.json {
        out.document(&serde_json::json!({ "run": run }));
        return Ok(Exit::Done);
    }
    let (pair, outcome) = (&run.pair, super::outcome(&run));
    if run.outcome != RunOutcome::Stopped {
        out.say(format!("Run {id} of {pair} ended before it could be cancelled: {outcome}."));
        return Ok(Exit::Done);
    }
    out.say(format!("Run {id} of {pair}: {outcome}."));
    match serde_json::from_value::<Report>(run.report.clone()) {
        Ok(report) if report.tally.planned > 0 => report::outcome(out, &report),
        _ => out.say("It had written nothing."),
    }
    let Pair { connector, target } = pair;
    out.say(format!(
        "The next full reconcile does the rest. Start it now: usersync sync --connector {connector} --target {target}"
    ));
    Ok(Exit::Done)
}

/// Returns why a run cannot be cancelled.
fn refusal(run: &RunRecord, is_served: bool) -> Option<String> {
    let id = run.id;
    let connector = &run.pair.connector;
    if run.outcome != RunOutcome::Running {
        return Some(format!("run {id} has already ended: {}", super::outcome(run)));
    }
    if matches!(run.trigger, RunTrigger::First | RunTrigger::Approved) {
        return Some(format!(
            "run {id} is the first one of {}, which would start again. Pause the connector instead: usersync connector \
             pause {connector}",
            run.pair
        ));
    }
    (!is_served).then(|| {
        format!("run {id} cannot be cancelled: no server runs. Stop a run of usersync sync by Ctrl-C in its terminal")
    })
}

/// Waits until a run has ended; `None`: it has not within the time, or a signal came.
async fn ended(opened: &app::Opened, id: i64, stop: &Stop) -> Result<Option<RunRecord>, Failure> {
    let began = Instant::now();
    loop {
        let run = super::find(opened.store.as_ref(), id).await?;
        if run.outcome != RunOutcome::Running {
            return Ok(Some(run));
        }
        if began.elapsed() > ENDS_WITHIN {
            return Ok(None);
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.token.cancelled() => return Ok(None),
        }
    }
}
