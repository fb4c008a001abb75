//! `usersync connector`: list, pause, resume, confirm, retry, rename, remove.

use crate::store::OperatorStore;
use crate::store::StoreReads;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Context, app,
    args::PairArgs,
    contact_now,
    exit::{Exit, Outcome},
    renames,
    table::column,
    words::ago,
};
use crate::model::{About, ConnectorName, Declared};

/// Show connectors, pause them, confirm another realm, contact one at once, rename and remove them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usersync connector list
  usersync connector pause acme      events are stored, nothing is written
  usersync connector resume acme
  usersync connector confirm acme    confirm that this is another realm
  usersync connector retry acme      contact its Keycloak at once, with the same secret
  usersync connector rename acme corp")]
pub(super) struct ConnectorArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the connectors of the configuration
    #[command(after_help = "Example:\n  usersync connector list --json")]
    List,
    /// Pause a connector: events are stored, and nothing is written until it is resumed
    #[command(after_help = "Example:\n  usersync connector pause acme")]
    Pause {
        /// Connector name
        name: ConnectorName,
    },
    /// Resume a paused connector
    #[command(after_help = "Example:\n  usersync connector resume acme")]
    Resume {
        /// Connector name
        name: ConnectorName,
    },
    /// Confirm a different realm; its first runs are planned again and wait for approval
    #[command(after_help = "Example:\n  usersync connector confirm acme")]
    Confirm {
        /// Connector name
        name: ConnectorName,
    },
    /// Contact a connector's Keycloak at once, and retry a refused client secret
    ///
    /// usersync retries a refused secret after 1, 5 and 15 minutes, then every hour. Work continues as soon as Keycloak
    /// answers.
    #[command(after_help = "Example:\n  usersync connector retry acme")]
    Retry {
        /// Connector name
        name: ConnectorName,
    },
    /// Rename a connector; its links, managed groups and history are kept
    ///
    /// Stop the server, run this command, write the new name into the configuration, start the server.
    #[command(after_help = "Example:\n  usersync connector rename acme acme-2")]
    Rename {
        /// Current name
        name: ConnectorName,
        /// New name
        to: String,
    },
    /// Remove a connector for good; accounts and groups stay unchanged, and another connector can adopt them
    ///
    /// Stop the server, remove the connector from the configuration, run this command, start the server.
    #[command(after_help = "Example:\n  usersync connector remove acme")]
    Remove {
        /// Connector name
        name: ConnectorName,
    },
}

impl ConnectorArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        match self.command {
            Command::List => list(context).await,
            Command::Pause { name } => pause(context, name, true).await,
            Command::Resume { name } => pause(context, name, false).await,
            Command::Confirm { name } => confirm(context, name).await,
            Command::Rename { name, to } => renames::rename(context, Declared::Connector(name), &to).await,
            Command::Remove { name } => renames::remove(context, Declared::Connector(name)).await,
            Command::Retry { name } => {
                app::known_connector(&context.config()?, &name)?;
                contact_now::contact(context, About::source(&name)).await
            }
        }
    }
}

async fn list(context: &Context) -> Outcome {
    let config = context.config()?;
    let opened = app::open_for_reading(context, &config).await?;
    let paused = opened.store.paused().await?;
    let out = &context.out;
    let mut documents = Vec::new();
    let mut rows = Vec::new();
    for connector in &config.connectors {
        let pushed = opened.store.event_counts(&connector.name).await?.last;
        let last_event = pushed.max(opened.store.polled_events(&connector.name).await?.last);
        let targets: Vec<&str> = connector.targets.iter().map(crate::model::TargetName::as_str).collect();
        let state = match (connector.enabled, paused.contains(&connector.name)) {
            (false, _) => "switched off",
            (true, true) => "paused",
            (true, false) => "active",
        };
        let next = connector.schedule.as_ref().and_then(|schedule| schedule.next_after(out.now));
        documents.push(json!({
            "name": connector.name, "url": connector.url, "realm": connector.realm, "targets": targets,
            "enabled": connector.enabled, "paused": paused.contains(&connector.name), "last_event": last_event,
            "next_run": next, "schedule": connector.schedule.as_ref().map(ToString::to_string),
        }));
        rows.push(vec![
            connector.name.to_string(),
            state.to_owned(),
            connector.url.to_string(),
            connector.realm.clone(),
            targets.join(", "),
            last_event.map_or_else(|| "none yet".to_owned(), |at| ago(at, out.now)),
            next.map_or_else(|| "off".to_owned(), |at| ago(at, out.now)),
        ]);
    }
    if out.json {
        out.document(&json!({ "connectors": documents }));
    } else if rows.is_empty() {
        out.say("0 connectors: the configuration has none. See: usersync config example");
    } else {
        let columns = [
            column("connector"),
            column("state"),
            column("address"),
            column("realm").spared(),
            column("targets"),
            column("last event"),
            column("next run"),
        ];
        out.table(&columns, rows);
    }
    Ok(Exit::Done)
}

async fn pause(context: &Context, name: ConnectorName, paused: bool) -> Outcome {
    let config = context.config()?;
    app::known_connector(&config, &name)?;
    let opened = app::intend(context, &config).await?;
    let before = opened.store.paused().await?.contains(&name);
    opened.store.set_paused(&name, paused, &context.by(), context.out.now).await?;
    opened.store.close().await;
    let out = &context.out;
    if out.json {
        out.document(&json!({ "connector": name, "paused": paused, "changed": before != paused }));
        return Ok(Exit::Done);
    }
    match (paused, before) {
        (true, true) => out.say(format!("{name} is paused already.")),
        (true, false) => out.say(format!(
            "{name} is paused: its events are stored, nothing is written. Resume: usersync connector resume {name}"
        )),
        (false, false) => out.say(format!("{name} was not paused.")),
        (false, true) => {
            out.say(format!("{name} is resumed; waiting tasks are worked first."));
            out.say(app::when_worked(opened.server.as_deref()));
        }
    }
    Ok(Exit::Done)
}

async fn confirm(context: &Context, name: ConnectorName) -> Outcome {
    let config = context.config()?;
    app::known_connector(&config, &name)?;
    let pairs = app::pairs(&config, &PairArgs { connector: Some(name.clone()), target: None })?;
    let opened = app::intend(context, &config).await?;
    opened.store.confirm_identity(Some(&name), None, &context.by(), context.out.now).await?;
    opened.store.close().await;
    app::confirmed(&context.out, &format!("connector {name}"), "realm", &pairs);
    Ok(Exit::Done)
}
