//! `usersync alert`: test.

use std::time::Instant;

use clap::{Args, Subcommand};
use jiff::SignedDuration;
use serde_json::json;

use super::{
    Context, app,
    exit::{Exit, Failure, Outcome},
    out::State,
    words::took,
};
use crate::{
    alerts::{Channel, Notice, test_alert},
    config::AlertConfig,
    engine::SystemClock,
};

/// Test alerts
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usersync alert test
  usersync alert test ops")]
pub(super) struct AlertArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send a test alert to each alert of the configuration, or to one of them
    ///
    /// The test is sent once, with a wait of at most the alert's timeout, and is not retried. Undelivered alerts of a
    /// running server are retried at their own time.
    #[command(after_help = "Example:\n  usersync alert test ops")]
    Test {
        /// Alert name; default: all
        name: Option<String>,
    },
}

impl AlertArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let Command::Test { name } = self.command;
        test(context, name.as_deref()).await
    }
}

async fn test(context: &Context, name: Option<&str>) -> Outcome {
    let config = context.config()?;
    if config.alerts.is_empty() {
        return Err(Failure::usage("the configuration has no [[alert]]. Add one: usersync config example --full"));
    }
    if let Some(name) = name {
        let names: Vec<&str> = config.alerts.iter().map(|one| one.name.as_str()).collect();
        app::known("alert", &names, name)?;
    }
    let out = &context.out;
    let (mut documents, mut exit) = (Vec::new(), Exit::Done);
    for alert in config.alerts.iter().filter(|one| name.is_none_or(|name| *name == one.name)) {
        let began = Instant::now();
        let error = deliver(context, alert).await.err();
        let took_of = SignedDuration::try_from(began.elapsed()).unwrap_or_default();
        let (state, text) = match &error {
            None => (State::Ok, format!("The test alert was delivered in {}.", took(took_of))),
            Some(why) => (State::No, format!("The test alert was not delivered: {}.", why.trim_end_matches('.'))),
        };
        if error.is_some() {
            exit = Exit::Problems;
        }
        documents.push(json!({ "name": alert.name, "delivered": error.is_none(), "error": error }));
        if !out.json && (error.is_some() || !out.quiet) {
            let place = out.strong(&format!("alert {}", alert.name));
            out.prose(6, format!("{}  {place}    {text}", out.state(state)));
        }
    }
    if out.json {
        out.document(&json!({ "alerts": documents }));
    }
    Ok(exit)
}

async fn deliver(context: &Context, alert: &AlertConfig) -> Result<(), String> {
    let test = test_alert(context.out.now);
    Channel::new(alert)?.deliver(Notice::Alert(&test), &SystemClock).await.map_err(|failed| failed.why)
}
