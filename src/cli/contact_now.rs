//! `usersync target retry` and `usersync connector retry`: contact a target or a source at once.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use super::{
    Context, app,
    app::{Opened, Sides},
    exit::{Exit, Failure, Outcome},
    stop,
};
use crate::{
    config::Config,
    model::About,
    store::{OperatorStore, OrderEnd, Store, StoreError},
};

/// Polling interval for the running server's answer; `WAIT` is the timeout.
const EVERY: Duration = Duration::from_millis(150);
const WAIT: Duration = Duration::from_mins(1);

/// Contacts a source or target, through the running server if there is one, and reports the result.
pub(super) async fn contact(context: &Context, about: About) -> Outcome {
    let config = context.config()?;
    let sides = Sides::new(&config)?;
    let opened = app::work(context, &config).await?;
    let ended = carry_out(context, &config, &sides, &opened, &about).await;
    opened.store.close().await;
    let (out, server) = (&context.out, opened.server.as_deref());
    let (ended, stopped) = ended?;
    if out.json {
        out.document(&json!({
            "connector": about.connector_name(), "target": about.target_name(), "server": server, "end": ended,
        }));
    }
    match ended {
        Some(OrderEnd::Done) => {
            out.say(format!("{about} answers, and accepts usersync's credentials."));
            out.say(match server {
                Some(pid) => format!("The running server (pid {pid}) continues with the waiting tasks."),
                None => "No server runs: waiting tasks are worked when it starts, or by: usersync sync".to_owned(),
            });
            Ok(Exit::Done)
        }
        Some(OrderEnd::Refused { why }) => Err(Failure::unreachable(why)),
        None => {
            let text = format!("{about}: the server has not answered yet. The request is kept; see: usersync status");
            Err(Failure::new(stopped.unwrap_or(Exit::Problems), text))
        }
    }
}

/// Orders the contact and waits until it is carried out. Returns the result (`None`: not yet) and the exit code of the
/// signal that ended the wait.
async fn carry_out(
    context: &Context,
    config: &Config,
    sides: &Sides,
    opened: &Opened,
    about: &About,
) -> Result<(Option<OrderEnd>, Option<Exit>), Failure> {
    let store = &opened.store;
    store.order_contact(about, &context.by(), Timestamp::now()).await?;
    if opened.server.is_none() {
        let engine = sides.engine(config, store.clone());
        engine.recall().await?;
        engine.carry_out_contacts().await?;
        engine.keep_conditions().await?;
    }
    let stop = stop::on_signal(&context.out);
    let began = Instant::now();
    loop {
        let ended = ended(store.as_ref(), about).await?;
        let waits = opened.server.is_some() && began.elapsed() < WAIT && stop.by().is_none();
        if ended.is_some() || !waits {
            return Ok((ended, stop.by()));
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.token.cancelled() => {}
        }
    }
}

async fn ended(store: &dyn Store, about: &About) -> Result<Option<OrderEnd>, StoreError> {
    let orders = store.contact_orders().await?;
    Ok(orders.into_iter().find(|order| order.about == *about).and_then(|order| order.ended))
}
